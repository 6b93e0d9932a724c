//! The real binary, as processes, against the real simulator and a real Postgres: rows in, posts out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod answers;
mod hostile;
mod kill;
mod lifecycle;
mod login;
mod looks;
mod lot;
mod media;
mod memory;
mod money;
mod oauth1;
mod postgres;
mod posts;
mod scheduler;
mod secrets;
mod support;
mod tokens;
mod trace;
mod unknown;
mod unpublish;
mod v1;
mod webhooks;

use std::time::Duration;

use serde_json::json;

use crate::support::Stage;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_row_becomes_a_post_and_a_thread_replies_in_order() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let crier = stage.start("run");
    stage
        .sql(
            "insert into crier.jobs (account, text, run_at) values ('@acme', 'in two seconds', crier.now() + interval '2 seconds');
             insert into crier.jobs (account, text) values ('@acme', 'now & here: 1 < 2');
             insert into crier.jobs (account, text, after) values ('@acme', 'a reply', 2)",
        )
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let seen: Vec<_> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["text"].as_str().unwrap(), &p["reply_to"]))
        .collect();
    assert_eq!(
        seen.iter().map(|s| s.0).collect::<Vec<_>>(),
        ["now & here: 1 < 2", "a reply", "in two seconds"]
    );
    assert_eq!(seen[1].1, &posts[0]["id"]);
    let ids = stage
        .rows("select post_id as id from crier.jobs order by published_at, id")
        .await;
    assert_eq!(
        ids.iter().map(|r| &r["id"]).collect::<Vec<_>>(),
        posts
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["id"])
            .collect::<Vec<_>>()
    );
    let early = stage
        .rows("select id from crier.jobs where published_at < run_at")
        .await;
    assert_eq!(early, [json!(null); 0]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_429_is_waited_out_by_its_reset() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let now = stage
        .rows("select (extract(epoch from now()) * 1000000)::bigint as us")
        .await;
    let opened_us = now[0]["us"].as_i64().unwrap();
    // One call left in a window of 20 s: the second post waits for the reset.
    stage
        .sim(
            "POST",
            "/_sim/limits",
            r#"{"account":"acme","route":"POST /2/tweets","limit":1,"window_s":20}"#,
        )
        .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'one'), ('acme', 'two')")
        .await;
    let crier = stage.start("run");
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            Duration::from_secs(40),
        )
        .await;
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let creates: Vec<_> = calls
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["route"] == "POST /2/tweets")
        .collect();
    assert!(
        creates.iter().filter(|c| c["status"] == 201).count() == 2,
        "{creates:?}"
    );
    // X said with the first answer that no call is left, and when: not one goes out before.
    assert_eq!(creates.len(), 2, "{creates:?}");
    let at = |n: usize| creates[n]["received_at_us"].as_i64().unwrap();
    // X names its resets in whole seconds.
    let reset_us = (opened_us / 1_000_000 + 20) * 1_000_000;
    assert!(at(1) >= reset_us, "{reset_us} {creates:?}");
    let attempts = stage
        .rows("select attempts from crier.jobs order by id")
        .await;
    assert_eq!(
        attempts,
        [json!({"attempts": 1}), json!({"attempts": 1})],
        "a limit costs no attempt"
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_lost_answer_is_never_sent_again_blindly() {
    let stage =
        Stage::new(&json!({"faults": [{"route": "POST /2/tweets", "kind": "answer_lost"}]})).await;
    stage.account("acme").await;
    stage.sql("insert into crier.jobs (account, text) values ('acme', 'perhaps'), ('acme', 'the next one')").await;
    let crier = stage.start("run");
    stage
        .until(
            "select state = 'published' as done from crier.jobs where id = 2",
            SOON,
        )
        .await;
    let row = stage
        .rows("select state, error->>'code' as code from crier.jobs where id = 1")
        .await;
    assert_eq!(row, [json!({"state": "unknown", "code": "no_answer"})]);
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 2, "{posts}");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_lane_whose_token_another_process_refreshes_waits_as_a_whole() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // The other process died in it, or takes its time.
    stage
        .sql(
            "update crier.credentials set rotated_at = crier.now() - interval '2 hours', access_expires_at = crier.now() - interval '1 minute';
             insert into crier.leases (kind, subject, account_id, worker, expires_at)
               select 'refresh', id, id, gen_random_uuid(), crier.now() + interval '1 hour' from crier.accounts;
             insert into crier.jobs (account, text) values ('acme', 'first'), ('acme', 'second'), ('acme', 'third')",
        )
        .await;
    let crier = stage.start("run");
    let waits = "select count(*) >= 3 as done from crier.attempts where code = 'token_busy'";
    stage.until(waits, SOON).await;
    let waiting = stage
        .rows(
            "select count(distinct job_id) as jobs,
                    (select count(*) from crier.jobs where next_attempt_at is not null) as put_off from crier.attempts",
        )
        .await;
    assert_eq!(waiting, [json!({"jobs": 1, "put_off": 0})]);
    stage
        .sql("delete from crier.leases where kind = 'refresh'")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let texts: Vec<_> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["first", "second", "third"]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_old_token_is_refreshed_once_by_two_workers() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    stage
        .sql("update crier.credentials set rotated_at = crier.now() - interval '2 hours', access_expires_at = crier.now() + interval '1 minute'")
        .await;
    stage.sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 10) n").await;
    let workers = [stage.start("run"), stage.start("worker")];
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let refreshes = calls
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["route"] == "POST /2/oauth2/token")
        .count();
    assert_eq!(refreshes, 1);
    for worker in workers {
        worker.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn sigterm_under_load_leaves_nothing_half_done() {
    let slow = json!({"route": "POST /2/tweets", "kind": "slow", "delay_ms": 150, "times": 1000});
    let stage = Stage::new(&json!({"faults": [slow]})).await;
    for account in ["a", "b", "c", "d"] {
        stage.account(account).await;
    }
    let scheduler = stage.start("scheduler");
    let (first, second) = (stage.start("worker"), stage.start("worker"));
    stage
        .sql(
            "insert into crier.jobs (account, text)
             select chr(97 + n % 4), 'post ' || n from generate_series(1, 60) n",
        )
        .await;
    let some = "select (select count(*) from crier.posts) > 8 as done";
    stage.until(some, SOON).await;
    // It answers only when the process has ended by itself.
    first.stop().await;
    let left = stage
        .rows("select id from crier.attempts where outcome is null and worker not in (select worker from crier.leases)")
        .await;
    assert_eq!(
        left,
        [json!(null); 0],
        "every attempt it made has its outcome"
    );
    let all = "select bool_and(state = 'published') as done from crier.jobs";
    stage.until(all, Duration::from_secs(40)).await;
    let jobs = stage
        .rows("select count(*) as n, max(attempts) as attempts, max(crashes) as crashes from crier.jobs")
        .await;
    assert_eq!(jobs, [json!({"n": 60, "attempts": 1, "crashes": 0})]);
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let texts: std::collections::BTreeSet<_> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["text"].as_str().unwrap())
        .collect();
    assert_eq!((texts.len(), posts.as_array().unwrap().len()), (60, 60));
    second.stop().await;
    scheduler.stop().await;
    stage.done().await;
}
