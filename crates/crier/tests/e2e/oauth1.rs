//! Accounts of OAuth 1.0a alone: everything through v2, each call signed, and a revoked token told in words.

use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_secs(40);
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

async fn signer(stage: &Stage) {
    stage
        .account_without(&json!({"username": "acme"}), "oauth2")
        .await;
    let kinds = stage
        .rows("select string_agg(kind, ',') as kinds from crier.credentials")
        .await;
    assert_eq!(kinds, [json!({"kinds": "oauth1"})]);
}

async fn list(stage: &Stage, path: &str) -> Vec<Value> {
    stage.sim("GET", path, "").await.as_array().unwrap().clone()
}

#[tokio::test]
async fn an_account_of_oauth_1_0a_posts_uploads_and_looks_up_through_v2() {
    let stage = Stage::new(&json!({})).await;
    signer(&stage).await;
    let files = Files::new();
    let sha = files.put("a.png", &png(1_500_000));
    let crier = files.start_with(
        &stage,
        "run",
        &[
            ("CRIER__WORKER__FIRST_LOOK_S", "1"),
            ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
        ],
    );
    stage
        .sql(
            r#"insert into crier.jobs (account, text) values ('acme', 'signed & sent: 1 + 1 = 2');
               insert into crier.jobs (account, text, media) values ('acme', 'with a picture', '[{"path": "a.png", "alt_text": "a \"cat\""}]')"#,
        )
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "POST /2/tweets", "kind": "answer_lost"}"#,
        )
        .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'nobody heard of it')")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    let media: Vec<&Value> = posts
        .iter()
        .filter(|post| post["text"] == "with a picture")
        .map(|post| &post["media"][0])
        .collect();
    assert_eq!(
        media,
        [
            &json!({"sha256": sha, "bytes": 1_500_000, "category": "tweet_image", "alt_text": "a \"cat\""})
        ]
    );
    let calls = list(&stage, "/_sim/requests").await;
    let made = |route: &str| calls.iter().filter(|call| call["route"] == route).count();
    assert_eq!((posts.len(), made("POST /2/tweets")), (3, 3));
    assert!(made("GET /2/users/{id}/tweets") > 0, "it was looked up");
    assert_eq!(made("POST /2/oauth2/token"), 0, "nothing to refresh");
    let refused = calls.iter().filter(|call| call["status"] == 401).count();
    assert_eq!(refused, 0);
    let warned = stage
        .rows("select warning from crier.jobs where warning is not null")
        .await;
    assert_eq!(
        warned,
        [json!(null); 0],
        "scopes are no matter of OAuth 1.0a"
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn with_both_kinds_oauth_2_0_is_used_until_it_is_dead_and_oauth_1_0a_is_brought_anew() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // A spent refresh token ends the grant.
    stage
        .sql("update crier.credentials set access_expires_at = crier.now() - interval '1 minute' where kind = 'oauth2'")
        .await;
    let dead = r#"{"route": "POST /2/oauth2/token", "kind": "answer", "status": 400,
        "body": {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}}"#;
    stage.sim("POST", "/_sim/faults", dead).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'waits for a login')")
        .await;
    let crier = stage.start("run");
    stage
        .until(
            "select status = 'needs_login' as done from crier.accounts",
            SOON,
        )
        .await;
    signer(&stage).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let app = stage
        .rows("select p.kind, p.client_id like 'oauth1:%' as named from crier.accounts a join crier.apps p on p.id = a.app_id")
        .await;
    assert_eq!(app, [json!({"kind": "oauth1", "named": true})]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_revoked_oauth_1_0a_token_waits_for_a_login_and_says_so() {
    let revoked = json!({"route": "POST /2/tweets", "kind": "answer", "status": 401, "times": 3,
        "body": {"errors": [{"code": 89, "message": "Invalid or expired token."}]}});
    let stage = Stage::new(&json!({"faults": [revoked]})).await;
    signer(&stage).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'once again')")
        .await;
    let crier = stage.start("run");
    for tries in 1..=3 {
        stage
            .until(
                &format!("select count(*) = {tries} as done from crier.attempts where code = 'oauth1_refused'"),
                SOON,
            )
            .await;
        // One refusal is not believed: X has had outages that looked so.
        stage
            .sql("update crier.clock set shift = shift + interval '1 hour'")
            .await;
    }
    stage
        .until(
            "select status = 'needs_login' and reason->>'code' = 'oauth1_refused' and reason->>'detail' = 'Invalid or expired token.'
               and reason->>'hint' like '%authorise the account again%' as done from crier.accounts",
            SOON,
        )
        .await;
    let job = stage.rows("select state from crier.jobs").await;
    assert_eq!(job, [json!({"state": "scheduled"})], "its jobs wait");
    let calls = list(&stage, "/_sim/requests").await;
    assert_eq!(calls.len(), 3, "no refusal is repeated at once: {calls:?}");
    let shown = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(
        shown.contains("needs_login") && shown.contains("Invalid or expired token."),
        "{shown}"
    );
    // New tokens, and it goes on by itself.
    signer(&stage).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_app_without_credits_stops_its_oauth_1_0a_accounts_too() {
    let empty = json!({"route": "POST /2/tweets", "kind": "answer", "status": 402, "times": 1,
        "body": {"title": "CreditsDepleted", "detail": "credits depleted", "type": "https://api.x.com/2/problems/credits"}});
    let stage = Stage::new(&json!({"faults": [empty]})).await;
    signer(&stage).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'paid for')")
        .await;
    let crier = stage.start("run");
    stage
        .until(
            "select status = 'paused' and reason->>'code' = 'credits_depleted' as done from crier.apps",
            SOON,
        )
        .await;
    stage.done_by(&["accounts", "resume", "acme"]).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_during_uploads_waits_for_a_login_too() {
    let revoked = json!({"route": "POST /2/media/upload/initialize", "kind": "answer", "status": 401, "times": 3,
        "body": {"errors": [{"code": 89, "message": "Invalid or expired token."}]}});
    let stage = Stage::new(&json!({"faults": [revoked]})).await;
    signer(&stage).await;
    let files = Files::new();
    files.put("a.png", &png(70_000));
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'with a picture', '[{"path": "a.png"}]')"#)
        .await;
    let crier = files.start(&stage, "run");
    for tries in 1..=2 {
        stage
            .until(
                &format!("select attempts >= {tries} and error->>'code' = 'oauth1_refused' as done from crier.media_uploads"),
                SOON,
            )
            .await;
        stage
            .sql("update crier.clock set shift = shift + interval '1 hour'")
            .await;
    }
    stage
        .until(
            "select status = 'needs_login' and reason->>'detail' = 'Invalid or expired token.' as done from crier.accounts",
            SOON,
        )
        .await;
    let job = stage.rows("select state from crier.jobs").await;
    assert_eq!(job, [json!({"state": "scheduled"})], "its jobs wait");
    signer(&stage).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}
