//! Rotations are a floor apart, by the count of calls at X.

use std::time::Duration;

use serde_json::json;

use super::{
    ALL_PUBLISHED, BLOCK, Folder, SOON, UNBLOCK, account, arm, asked, calls, settings, start,
};
use crate::support::Stage;

async fn ended(stage: &Stage, attempts: u32) {
    stage
        .until(
            &format!(
                "select count(*) >= {attempts} as done from crier.attempts where outcome = 'retry'"
            ),
            SOON,
        )
        .await;
}

#[tokio::test]
async fn a_token_that_x_lets_live_for_a_moment_is_not_rotated_over_and_over() {
    let (stage, folder) = (Stage::new(&json!({})).await, Folder::new());
    let brief = json!({"username": "acme", "expires_in": 1});
    stage.account_without(&brief, "oauth1").await;
    stage
        .sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 400) n")
        .await;
    // X's own clock goes on: what it gave a second ago is refused.
    stage
        .sim("POST", "/_sim/clock", r#"{"advance_s": 60}"#)
        .await;
    let workers = ["run", "worker"].map(|role| stage.start_with(role, &settings(folder.path())));
    asked(&stage, 1).await;
    stage
        .sim("POST", "/_sim/clock", r#"{"advance_s": 60}"#)
        .await;
    ended(&stage, 10).await;
    assert_eq!(calls(&stage).await, (1, 1));
    stage
        .sql("update crier.clock set shift = shift + interval '61 seconds'")
        .await;
    asked(&stage, 2).await;
    stage
        .sim("POST", "/_sim/clock", r#"{"advance_s": 60}"#)
        .await;
    let seen = stage
        .rows("select count(*) as n from crier.attempts where outcome = 'retry'")
        .await;
    let before = u32::try_from(seen[0]["n"].as_u64().unwrap()).unwrap();
    ended(&stage, before + 5).await;
    assert_eq!(calls(&stage).await, (2, 2));
    for worker in workers {
        worker.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn refusals_of_a_fresh_token_do_not_rotate_it_anew_and_a_person_is_asked_to_insist() {
    let (stage, folder) = (Stage::new(&json!({})).await, Folder::new());
    stage.account("acme").await;
    let refused = json!({"route": "POST /2/tweets", "kind": "answer", "status": 401, "times": 1000,
        "body": {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}});
    arm(&stage, &refused).await;
    stage
        .sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 8) n")
        .await;
    let crier = stage.start_with("run", &settings(folder.path()));
    ended(&stage, 8).await;
    assert_eq!(calls(&stage).await, (1, 1));
    let (code, out, err) = stage.say(&["auth", "refresh", "acme"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    for words in [
        "that was done a moment ago",
        "hint: `crier auth refresh acme --force` asks X all the same",
    ] {
        assert!(err.contains(words), "{err}");
    }
    assert_eq!(calls(&stage).await, (1, 1));
    // The jobs are tried again all the time, and each asks for the right to refresh.
    crier.stop().await;
    stage.done_by(&["auth", "refresh", "acme", "--force"]).await;
    assert_eq!(calls(&stage).await, (2, 2));
    stage.done().await;
}

#[tokio::test]
async fn a_clock_that_jumps_rotates_at_most_once_a_jump() {
    let (stage, folder) = (Stage::new(&json!({})).await, Folder::new());
    stage.account("acme").await;
    let crier = stage.start_with("run", &settings(folder.path()));
    let publish = async |n: usize, jump: &str| {
        stage
            .sql(&format!(
                "update crier.clock set shift = '{jump}'; insert into crier.jobs (account, text, run_at)
                   select 'acme', '{n} ' || k, crier.now() - interval '1 second' from generate_series(1, 5) k"
            ))
            .await;
        stage
            .until(
                &format!(
                    "select count(*) >= {} as done from crier.jobs where state = 'published'",
                    5 * n
                ),
                Duration::from_mins(1),
            )
            .await;
    };
    for (n, jump, most) in [
        (1, "3 hours", 1),
        (2, "-3 hours", 1),
        (3, "3 hours", 2),
        (4, "30 days", 3),
    ] {
        publish(n, jump).await;
        assert!(calls(&stage).await.0 <= most, "{jump}");
    }
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn who_holds_new_tokens_asks_for_no_others_however_long_the_database_takes_none() {
    let (stage, folder) = (super::stage().await, Folder::new());
    stage.sql(BLOCK).await;
    let crier = start(&stage, folder.path());
    folder.file().await;
    // The leases of the job and of the refresh are over, and the same process claims the job once more.
    stage
        .sql("update crier.clock set shift = shift + interval '3 minutes'")
        .await;
    let waits = "select exists (select 1 from crier.attempts where code = 'token_busy') as done";
    stage.until(waits, SOON).await;
    assert_eq!(calls(&stage).await, (1, 1));
    assert_eq!(account(&stage).await["status"], "active");
    stage.sql(UNBLOCK).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage).await, (1, 1));
    assert_eq!(account(&stage).await["version"], 2);
    crier.stop().await;
    stage.done().await;
}
