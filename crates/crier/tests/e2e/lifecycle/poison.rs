//! A job that kills every worker that takes it, by SIGKILL: put aside after a bounded number, and harmful to nobody else.

use std::time::Duration;

use serde_json::json;

use crate::media::files::{Files, png};
use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(1);

/// A worker that looks for what may have gone out at once.
const LOOKS: [(&str, &str); 2] = [
    ("CRIER__WORKER__FIRST_LOOK_S", "1"),
    ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
];

#[tokio::test]
async fn a_job_that_kills_every_worker_is_quarantined_and_the_others_go_out() {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    for account in ["poison", "good", "fine"] {
        stage.account(account).await;
    }
    // Each attempt of this account, and of no other, needs a fresh token first: there its worker dies.
    stage
        .sql("update crier.credentials set access_expires_at = crier.now() - interval '1 minute' where account_id = 1")
        .await;
    stage
        .sql(
            "insert into crier.jobs (account, text) values ('poison', 'kills');
             insert into crier.jobs (account, text) select a, a || n from unnest(array['good', 'fine']) a, generate_series(1, 5) n",
        )
        .await;
    let scheduler = files.start(&stage, "scheduler");
    let point = "before call POST /2/oauth2/token";
    let done = "select state = 'failed' as done from crier.jobs where id = 1";
    assert_eq!(killed_until(&stage, &files, "worker", point, done).await, 3);
    let job = stage
        .rows("select attempts, error->>'code' as code, error->>'step' as step, error->>'detail' like '3 workers%' as told, error->>'hint' like '%crier.retry(1)%' as hint from crier.jobs where id = 1")
        .await;
    assert_eq!(
        job,
        [
            json!({"attempts": 0, "code": "quarantined", "step": "claim", "told": true, "hint": true})
        ]
    );
    // Some died in the middle of a call, by a clock that was minutes ahead of X's by then: they are found all the same.
    let worker = files.start_with(&stage, "worker", &LOOKS);
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs where id > 1",
            SOON,
        )
        .await;
    // A person lets it go again, and now nothing kills it.
    assert_eq!(stage.say(&["jobs", "retry", "1"]).await.0, Some(0));
    stage
        .until(
            "select state = 'published' and crashes = 0 as done from crier.jobs where id = 1",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 11, "{posts}");
    worker.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

/// Dies at this point, again and again, until the rows say `done`; answers how many times.
async fn killed_until(stage: &Stage, files: &Files, role: &str, point: &str, done: &str) -> usize {
    let order = format!("kill 1 {point}");
    let settings = [
        ("CRIER_FAILPOINT", order.as_str()),
        ("CRIER__WORKER__FIRST_LOOK_S", "1"),
        ("CRIER__WORKER__LOOK_WAITS_S", "[60, 60, 60, 60]"),
    ];
    for deaths in 0..9 {
        if stage.rows(done).await == [json!({"done": true})] {
            return deaths;
        }
        let mut doomed: Role = files.start_with(stage, role, &settings);
        // Its leases run out, by a clock that is moved.
        let mut waited = 0;
        loop {
            if stage.rows(done).await == [json!({"done": true})] {
                doomed.kill().await;
                return deaths;
            }
            if doomed.ended().is_some() {
                break;
            }
            waited += 1;
            assert!(waited < 1_200, "{point} is never reached, nor {done}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stage
            .sql("update crier.clock set shift = shift + interval '3 minutes'")
            .await;
        stage
            .until(
                "select not exists (select 1 from crier.leases where kind <> 'refresh' and expires_at < crier.now()) as done",
                SOON,
            )
            .await;
    }
    panic!("it kills for ever: {point}");
}

#[tokio::test]
async fn a_file_and_a_search_that_kill_every_worker_are_left_after_three() {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    files.put("p.png", &png(20_000));
    for account in ["acme", "other"] {
        stage.account(account).await;
    }
    let scheduler = files.start(&stage, "scheduler");
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'file', '[{"path": "p.png"}]');
                insert into crier.jobs (account, text) values ('acme', 'beside it')"#)
        .await;
    let point = "before call POST /2/media/upload/initialize";
    let done = "select state = 'failed' as done from crier.jobs where id = 1";
    assert_eq!(killed_until(&stage, &files, "worker", point, done).await, 3);
    let job = stage
        .rows("select error->>'code' as code, error->>'step' as step from crier.jobs where id = 1")
        .await;
    assert_eq!(job, [json!({"code": "quarantined", "step": "media"})]);
    // A worker that died in the middle of its create call left a search behind, which would be counted below.
    let worker = files.start_with(&stage, "worker", &LOOKS);
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'a worker is there')")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs where id in (2, 3)",
            SOON,
        )
        .await;
    worker.stop().await;

    let lost = r#"{"route": "POST /2/tweets", "kind": "answer_lost", "account": "other"}"#;
    stage.sim("POST", "/_sim/faults", lost).await;
    stage
        // Alone: whoever dies in the middle of another call leaves another search behind.
        .sql("insert into crier.jobs (account, text) values ('other', 'lost')")
        .await;
    let point = "before call GET /2/users/{id}/tweets";
    let done = "select state = 'unknown' and error->>'code' = 'quarantined' as done from crier.jobs where id = 4";
    assert_eq!(killed_until(&stage, &files, "worker", point, done).await, 3);
    let worker = files.start(&stage, "worker");
    stage
        .sql("insert into crier.jobs (account, text) values ('other', 'goes on'), ('acme', 'goes on')")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs where id not in (1, 4)",
            SOON,
        )
        .await;
    worker.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_row_that_kills_every_scheduler_ends_and_the_next_ones_are_served() {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    stage.account("acme").await;
    stage
        .sql("insert into crier.jobs (account, text, run_at) values ('acme', 'kills', crier.now() + interval '1 day')")
        .await;
    let point = "after statement take_in_hand";
    let done = "select state = 'failed' as done from crier.jobs where id = 1";
    assert_eq!(
        killed_until(&stage, &files, "scheduler", point, done).await,
        3
    );
    let job = stage
        .rows("select error->>'code' as code, error->>'step' as step from crier.jobs where id = 1")
        .await;
    assert_eq!(job, [json!({"code": "quarantined", "step": "check"})]);
    let crier = files.start(&stage, "run");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'goes out')")
        .await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs where id = 2",
            SOON,
        )
        .await;
    crier.stop().await;
    stage.done().await;
}
