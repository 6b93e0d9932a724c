//! Outcomes that nobody heard: whatever is lost and whoever dies, one post a job, and the job knows it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_secs(40);
/// Looks after one second and then each second: absence is believed after about five.
const FAST: [(&str, &str); 2] = [
    ("CRIER__WORKER__FIRST_LOOK_S", "1"),
    ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
];
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

async fn stage(script: &Value) -> Stage {
    let stage = Stage::new(script).await;
    stage.account("acme").await;
    stage
}

fn start(stage: &Stage) -> Role {
    stage.start_with("run", &FAST)
}

fn fault(kind: &str) -> Value {
    json!({"route": "POST /2/tweets", "kind": kind})
}

async fn list(stage: &Stage, path: &str) -> Vec<Value> {
    stage.sim("GET", path, "").await.as_array().unwrap().clone()
}

async fn creates(stage: &Stage) -> usize {
    list(stage, "/_sim/requests")
        .await
        .iter()
        .filter(|call| call["route"] == "POST /2/tweets")
        .count()
}

/// Every job holds the post of its own text, and X has no other.
async fn each_job_has_its_post(stage: &Stage) {
    let mut live: Vec<(String, String)> = list(stage, "/_sim/posts")
        .await
        .iter()
        .map(|post| {
            let word = |key: &str| post[key].as_str().unwrap().to_owned();
            (word("text"), word("id"))
        })
        .collect();
    live.sort();
    let mut held: Vec<(String, String)> = stage
        .rows("select text, post_id as id from crier.jobs where state = 'published'")
        .await
        .iter()
        .map(|job| {
            let word = |key: &str| job[key].as_str().unwrap().to_owned();
            (word("text"), word("id"))
        })
        .collect();
    held.sort();
    assert_eq!(live, held);
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_and_not_sent_again() {
    let stage = stage(&json!({"faults": [fault("answer_lost"), fault("cut")]})).await;
    stage
        .sql(
            "insert into crier.jobs (account, text) values
               ('acme', 'Tom & <Jerry> at https://example.com/a?b=c&d=e'), ('acme', 'cut off'), ('acme', 'heard')",
        )
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 3);
    let rows = stage
        .rows(
            "select attempts, error, (select count(*) from crier.leases) as leases from crier.jobs",
        )
        .await;
    assert_eq!(
        rows,
        vec![json!({"attempts": 1, "error": null, "leases": 0}); 3]
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_post_whose_request_was_lost_is_sent_again_once() {
    let stage = stage(&json!({"faults": [fault("request_lost")]})).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'never left'), ('acme', 'heard')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 3);
    let ledger = stage
        .rows("select step, outcome, code from crier.attempts where job_id = 1 order by id")
        .await;
    assert_eq!(
        ledger,
        [
            json!({"step": "publish", "outcome": "unknown", "code": "no_answer"}),
            json!({"step": "reconcile", "outcome": "retry", "code": "unknown_absent"}),
            json!({"step": "publish", "outcome": "published", "code": null}),
        ]
    );
    let reads = list(&stage, "/_sim/requests")
        .await
        .iter()
        .filter(|call| call["route"] == "GET /2/users/{id}/tweets")
        .count();
    assert_eq!(reads, 5, "absence is believed after all looks, and no more");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_worker_killed_while_the_call_hangs_leaves_one_post() {
    let mut slow = fault("slow");
    slow["delay_ms"] = json!(2_000);
    let stage = stage(&json!({"faults": [slow]})).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'hangs')")
        .await;
    let crier = start(&stage);
    stage
        .until(
            "select exists (select 1 from crier.leases where phase = 'sending') as done",
            SOON,
        )
        .await;
    // The intent is committed before the call leaves; give the call time to arrive.
    tokio::time::sleep(Duration::from_millis(500)).await;
    crier.kill().await;
    assert_eq!(list(&stage, "/_sim/posts").await, [json!(null); 0]);
    stage
        .sql("update crier.clock set shift = interval '2 minutes'")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_post_that_x_shows_late_is_waited_for() {
    let stage = stage(&json!({"read_delay_ms": 3_500, "faults": [fault("answer_lost")]})).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'shown late')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_post_shown_later_than_all_looks_is_caught_by_the_duplicate_rule() {
    let stage = stage(&json!({"read_delay_ms": 9_000, "faults": [fault("answer_lost")]})).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'shown much later')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 2);
    let refused = stage
        .rows("select http_status, outcome from crier.attempts where code = 'duplicate'")
        .await;
    assert_eq!(refused, [json!({"http_status": 403, "outcome": "unknown"})]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_true_duplicate_fails_in_xs_words_and_takes_no_post() {
    let stage = stage(&json!({})).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'twice'), ('acme', 'twice')")
        .await;
    let crier = start(&stage);
    stage
        .until(
            "select state = 'failed' as done from crier.jobs where id = 2",
            SOON,
        )
        .await;
    each_job_has_its_post(&stage).await;
    let row = stage
        .rows("select error->>'code' as code, error->>'detail' as detail, attempts from crier.jobs where id = 2")
        .await;
    assert_eq!(
        row,
        [json!({"code": "duplicate", "attempts": 1,
                "detail": "You are not allowed to create a Tweet with duplicate content."})]
    );
    assert_eq!(creates(&stage).await, 2);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_account_that_may_not_read_is_left_to_a_person() {
    let stage = stage(&json!({"faults": [
        fault("answer_lost"),
        {"route": "GET /2/users/{id}/tweets", "kind": "answer", "status": 403,
         "body": {"title": "Forbidden", "detail": "no reading here", "type": "about:blank", "status": 403}},
    ]}))
    .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'unseen')")
        .await;
    let crier = start(&stage);
    stage
        .until(
            "select error->>'code' = 'read_forbidden' as done from crier.jobs",
            SOON,
        )
        .await;
    let row = stage
        .rows("select state, error->>'detail' as detail, error->>'hint' like '%crier jobs settle 1 --published%' as hint from crier.jobs")
        .await;
    assert_eq!(
        row,
        [json!({"state": "unknown", "detail": "no reading here", "hint": true})]
    );
    assert_eq!(
        stage
            .rows("select next_at, (select count(*) from crier.leases) as leases from crier.reconciles")
            .await,
        [json!({"next_at": null, "leases": 0})]
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn reading_that_fails_is_not_taken_for_absence() {
    // Six failed looks are more than the five that prove an absence.
    let stage = stage(&json!({"faults": [
        fault("answer_lost"),
        {"route": "GET /2/users/{id}/tweets", "kind": "answer", "status": 503, "times": 6},
    ]}))
    .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'x is down')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, Duration::from_mins(1)).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(creates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_intent_that_took_too_long_to_record_is_not_sent_under_its_lease() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // The database is slow once, so that the step to `sending` begins in time and ends late.
    stage
        .sql(
            "create function crier.slow_once() returns trigger language plpgsql as $$
             begin
               if not exists (select 1 from crier.attempts) then perform pg_sleep(3); end if;
               return new;
             end $$;
             create trigger slow_once before insert on crier.attempts for each row execute function crier.slow_once();
             insert into crier.jobs (account, text) values ('acme', 'late intent')",
        )
        .await;
    let crier = stage.start("run");
    stage
        .until("select state = 'published' as done from crier.jobs", SOON)
        .await;
    let ledger = stage
        .rows("select outcome, code from crier.attempts order by id")
        .await;
    assert_eq!(
        ledger,
        [
            json!({"outcome": "snoozed", "code": "intent_slow"}),
            json!({"outcome": "published", "code": null})
        ]
    );
    let calls = stage.sim("GET", "/_sim/stats", "").await;
    assert_eq!(calls["posts"], 1, "{calls}");
    crier.stop().await;
    stage.done().await;
}
