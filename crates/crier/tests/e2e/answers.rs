//! Every row of the table of verdicts in every step that it is about: X answers so, and the real worker does what the row
//! says. The examples are made from the rows, so that a new row is tried as it comes; one without an example fails.

mod cases;
mod effects;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::cases::{Case, Way, cases};
use self::effects::{Seen, unmet};
use crate::media::files::{Files, png};
use crate::support::Stage;

/// All cases go on at once; this is for a machine that is busy with other things.
const LONG: Duration = Duration::from_mins(2);

/// An account with an app of its own, a job, and the fault of its case.
async fn set_up(stage: &Stage, cases: &[Case]) {
    let mut made = Vec::new();
    for case in cases {
        let handle = case.handle();
        let wanted = json!({"username": handle, "client_id": format!("app-{handle}")});
        made.push(
            stage
                .sim("POST", "/_sim/accounts", &wanted.to_string())
                .await,
        );
        for fault in case.faults() {
            stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
        }
    }
    assert_eq!(stage.import(&Value::Array(made)).await.len(), cases.len());
    for case in cases.iter().filter(|case| case.way == Way::Token) {
        stage
            .sql(&format!(
                "update crier.credentials c set access_expires_at = crier.now() - interval '1 minute' from crier.accounts a
                  where a.id = c.account_id and a.handle = '{}'",
                case.handle()
            ))
            .await;
    }
    let rows: Vec<String> = cases
        .iter()
        .map(|case| {
            let media = match case.file() {
                Some(file) => json!([{"path": file}]),
                None => json!([]),
            };
            format!("('{}', 'case {}', '{media}')", case.handle(), case.number)
        })
        .collect();
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text, media) values {}",
            rows.join(", ")
        ))
        .await;
}

async fn seen(stage: &Stage) -> Vec<Seen> {
    let rows = stage
        .rows(
            "select a.handle, a.status as account_status, a.reason ->> 'code' as account_code, p.status as app_status,
                    p.reason ->> 'code' as app_code, j.state, j.attempts, j.error ->> 'code' as job_code, j.error ->> 'step' as job_step,
                    coalesce(extract(epoch from j.next_attempt_at - crier.now()), 0)::float8 as waits_s,
                    l.outcome, l.code, l.http_status, l.step, u.state as upload_state, coalesce(u.attempts, 0) as upload_attempts,
                    coalesce(extract(epoch from u.next_at - crier.now()), 0)::float8 as upload_waits_s, u.segment_bytes,
                    coalesce(c.version, 0) as version, coalesce(extract(epoch from r.next_at - crier.now()), 0)::float8 as look_waits_s,
                    coalesce(r.looks, 0) as looks,
                    exists (select 1 from crier.limit_windows w where w.owner_id = a.id and w.class = 'account' and w.remaining = 0
                               and w.resets_at > crier.now()) as closed
               from crier.accounts a join crier.jobs j on j.account_id = a.id
               left join crier.apps p on p.id = a.app_id left join crier.credentials c on c.account_id = a.id and c.kind = 'oauth2'
               left join crier.media_uploads u on u.job_id = j.id left join crier.reconciles r on r.job_id = j.id
               left join lateral (select * from crier.attempts t where t.job_id = j.id and t.outcome is not null order by t.id limit 1) l on true",
        )
        .await;
    rows.into_iter()
        .map(|row| serde_json::from_value(row).unwrap())
        .collect()
}

/// Waits until every case came to what its row says; what it came to once may pass, as a wait does.
async fn settle(stage: &Stage, cases: &[Case], exporter: &str) {
    let begin = Instant::now();
    let mut open: Vec<&Case> = cases.iter().collect();
    loop {
        let seen = seen(stage).await;
        let page = stage.page(exporter, "/metrics").await;
        let mut told = Vec::new();
        open.retain(|case| {
            let row = seen
                .iter()
                .find(|row| row.handle == case.handle())
                .expect("each case has its account");
            let why = unmet(case, row, &page);
            told.extend(
                why.iter()
                    .map(|why| format!("{case:?}\n  {why}\n  {row:?}")),
            );
            why.is_some()
        });
        if open.is_empty() {
            return;
        }
        assert!(
            begin.elapsed() < LONG,
            "{} of {} cases:\n{}",
            open.len(),
            cases.len(),
            told.join("\n")
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A free port: the role takes it a moment later.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn run_all(cases: Vec<Case>, x: Option<&str>) {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    files.put("small.png", &png(5_000));
    files.put("large.png", &png(200_000));
    set_up(&stage, &cases).await;
    let exporter = free_address();
    let root = files.folder();
    let mut settings = vec![
        ("CRIER__MEDIA__ROOT", root.as_str()),
        ("CRIER__MEDIA__UPLOADS", "16"),
        ("CRIER__MEDIA__SEGMENT_BYTES", "131072"),
        ("CRIER__WORKER__CONCURRENCY", "32"),
        ("CRIER__WORKER__POLL_MS", "50"),
        ("CRIER__WORKER__FIRST_LOOK_S", "0"),
        ("CRIER__WORKER__LOOK_WAITS_S", "[3600, 3600, 3600, 3600]"),
        ("CRIER__EXPORTER__LISTEN", exporter.as_str()),
        ("CRIER__LOG__FILTER", "error"),
    ];
    settings.extend(x.map(|x| ("CRIER__X__BASE_URL", x)));
    let crier = stage.start_with("run", &settings);
    settle(&stage, &cases, &exporter).await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn every_answer_in_every_step_has_the_effect_that_its_row_says() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| !case.is_unsendable())
        .collect();
    assert!(cases.len() > 100, "{}", cases.len());
    run_all(cases, None).await;
}

#[tokio::test]
async fn a_request_that_cannot_leave_is_repeated_in_every_step() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.is_unsendable() && case.way != Way::Read)
        .collect();
    assert_eq!(cases.len(), 3, "token, media and publish");
    // Nobody listens there. A job becomes unknown only while X can be reached, so that reading has a test of its own.
    run_all(cases, Some(&format!("http://{}", free_address()))).await;
}

#[tokio::test]
async fn a_look_that_cannot_leave_is_made_later_and_does_not_count() {
    let lost = json!({"route": "POST /2/tweets", "kind": "answer_lost"});
    let stage = Stage::new(&json!({"faults": [lost]})).await;
    stage.account("acme").await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'perhaps')")
        .await;
    let late = [("CRIER__WORKER__FIRST_LOOK_S", "3600")];
    let crier = stage.start_with("run", &late);
    stage
        .until("select state = 'unknown' as done from crier.jobs", LONG)
        .await;
    crier.stop().await;
    stage
        .sql("update crier.clock set shift = shift + interval '3601 seconds'")
        .await;
    let (exporter, nowhere) = (free_address(), format!("http://{}", free_address()));
    let settings = [
        ("CRIER__EXPORTER__LISTEN", exporter.as_str()),
        ("CRIER__X__BASE_URL", nowhere.as_str()),
    ];
    let crier = stage.start_with("run", &settings);
    let later = "select looks = 0 and next_at > crier.now() as done from crier.reconciles";
    stage.until(later, LONG).await;
    let page = stage.page(&exporter, "/metrics").await;
    let series = r#"crier_x_requests_total{code="not_sent",endpoint="GET /2/users/{id}/tweets",status="none"} "#;
    assert!(page.contains(series), "{page}");
    crier.stop().await;
    stage.done().await;
}
