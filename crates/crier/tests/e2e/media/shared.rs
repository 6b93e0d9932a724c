//! One upload for several accounts of a campaign, where the rows say so.

use serde_json::{Value, json};

use super::files::png;
use super::{APPEND, SOON, calls, list, setting};
use crate::support::Stage;

const INITIALIZE: &str = "POST /2/media/upload/initialize";

async fn x_id(stage: &Stage, handle: &str) -> String {
    let rows = stage
        .rows(&format!(
            "select x_user_id as id from crier.accounts where handle = '{handle}'"
        ))
        .await;
    rows[0]["id"].as_str().unwrap().to_owned()
}

async fn insert(stage: &Stage, account: &str, item: &Value) {
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text, media, run_at)
             values ('{account}', 'of {account}', '[{item}]', crier.now() + interval '20 minutes')"
        ))
        .await;
}

#[tokio::test]
async fn accounts_that_the_owner_names_use_its_upload_and_others_make_their_own() {
    // Slow enough for the borrowers to find it on its way.
    let slow = json!({"route": APPEND, "kind": "slow", "delay_ms": 1500});
    let (stage, files) = setting(&json!({"faults": [slow]})).await;
    for account in ["second", "third", "stranger", "other_words"] {
        stage.account(account).await;
    }
    let owners: Vec<String> = vec![
        x_id(&stage, "second").await,
        x_id(&stage, "third").await,
        x_id(&stage, "other_words").await,
    ];
    let sha = files.put("a.png", &png(300_000));
    let item = json!({"path": "a.png", "alt_text": "a cat", "shared": true});
    let mut lender = item.clone();
    lender["additional_owners"] = json!(owners);
    insert(&stage, "acme", &lender).await;
    let crier = files.start(&stage, "run");
    stage
        .until(
            "select exists (select 1 from crier.leases where kind = 'stage') as done",
            SOON,
        )
        .await;
    for account in ["second", "third", "stranger"] {
        insert(&stage, account, &item).await;
    }
    // A description belongs to the upload, so another one needs another upload.
    let mut other = item.clone();
    other["alt_text"] = json!("a dog");
    insert(&stage, "other_words", &other).await;
    stage
        .until("select count(*) = 5 and bool_and(held = 0 and warning is null and error is null) as done from crier.jobs", SOON)
        .await;
    assert_eq!(calls(&stage, INITIALIZE).await.len(), 3);
    stage
        .sql("update crier.clock set shift = shift + interval '20 minutes'")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts.len(), 5);
    for post in &posts {
        let alt = if post["account"] == "other_words" {
            "a dog"
        } else {
            "a cat"
        };
        assert_eq!(post["media"][0]["sha256"], json!(sha), "{post}");
        assert_eq!(post["media"][0]["alt_text"], alt, "{post}");
    }
    let ids = stage
        .rows("select count(distinct media_ids) as ids from crier.attempts where outcome = 'published'")
        .await;
    assert_eq!(ids, [json!({"ids": 3})]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_upload_that_x_does_not_let_the_borrower_use_is_made_anew() {
    // X refuses the borrower's post as it does for an id of somebody else.
    let refusal = json!({"route": "POST /2/tweets", "kind": "answer", "status": 400, "account": "second",
        "body": {"errors": [{"message": "Your media IDs are invalid."}], "title": "Invalid Request", "detail": "Your media IDs are invalid."}});
    let (stage, files) = setting(&json!({"faults": [refusal]})).await;
    stage.account("second").await;
    let sha = files.put("a.png", &png(30_000));
    let item = json!({"path": "a.png", "shared": true});
    let mut lender = item.clone();
    lender["additional_owners"] = json!([x_id(&stage, "second").await]);
    insert(&stage, "acme", &lender).await;
    let crier = files.start(&stage, "run");
    stage
        .until("select held = 0 as done from crier.jobs", SOON)
        .await;
    insert(&stage, "second", &item).await;
    stage
        .until(
            "select bool_and(held = 0) and count(*) = 2 as done from crier.jobs",
            SOON,
        )
        .await;
    assert_eq!(calls(&stage, INITIALIZE).await.len(), 1);
    stage
        .sql("update crier.clock set shift = shift + interval '20 minutes'")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    assert_eq!(
        calls(&stage, INITIALIZE).await.len(),
        2,
        "its own this time"
    );
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts.len(), 2);
    assert!(
        posts
            .iter()
            .all(|post| post["media"][0]["sha256"] == json!(sha))
    );
    crier.stop().await;
    stage.done().await;
}
