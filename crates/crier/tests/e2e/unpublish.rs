//! Posts that are deleted again: by X's word only, once, and written down.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Stage;

const SOON: Duration = Duration::from_secs(20);
const DELETE: &str = "DELETE /2/tweets/{id}";

async fn setting(texts: &[&str]) -> Stage {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    for text in texts {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text, dedupe_key) values ('acme', '{text}', '{text}')"
            ))
            .await;
    }
    let crier = stage.start("run");
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    crier.stop().await;
    stage
}

async fn live(stage: &Stage) -> Vec<Value> {
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["text"].clone())
        .collect()
}

async fn deletes(stage: &Stage) -> usize {
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    calls
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["route"] == DELETE)
        .count()
}

async fn fault(stage: &Stage, fault: Value) {
    stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
}

#[tokio::test]
async fn a_post_is_deleted_once_and_its_job_keeps_it() {
    let stage = setting(&["one", "two"]).await;
    let (code, _, err) = stage.say(&["jobs", "unpublish", "1"]).await;
    assert!(code == Some(1) && err.contains("--yes"), "{err}");
    assert_eq!(deletes(&stage).await, 0, "nobody said yes");
    let said = stage.done_by(&["jobs", "unpublish", "1", "--yes"]).await;
    assert!(said.contains("of job 1 is deleted"), "{said}");
    assert_eq!(live(&stage).await, ["two"]);
    let row = stage
        .rows(
            "select j.state, j.post_id = p.post_id as own, p.deleted_at is not null as deleted
                 from crier.jobs j join crier.posts p on p.job_id = j.id order by j.id",
        )
        .await;
    assert_eq!(
        row,
        [
            json!({"state": "published", "own": true, "deleted": true}),
            json!({"state": "published", "own": true, "deleted": false})
        ]
    );
    let shown = stage.done_by(&["jobs", "show", "1"]).await;
    assert!(shown.contains("unpublished at"), "{shown}");
    let why = stage.done_by(&["jobs", "why", "1"]).await;
    assert!(why.contains("unpublish"), "{why}");
    let list = stage.done_by(&["jobs", "list"]).await;
    assert!(list.contains("deleted from X at"), "{list}");
    // Again: nothing is sent. And the job cannot be taken for one that may go out again.
    let said = stage.done_by(&["jobs", "unpublish", "1", "--yes"]).await;
    assert!(said.contains("was deleted at"), "{said}");
    assert_eq!(deletes(&stage).await, 1);
    let (code, _, err) = stage.say(&["jobs", "retry", "1"]).await;
    assert!(
        code == Some(1) && err.contains("its post was deleted") && err.contains("insert a new one"),
        "{err}"
    );
    let said = stage
        .done_by(&["post", "--account", "acme", "one", "--dedupe-key", "one"])
        .await;
    assert!(said.contains("was there already"), "{said}");
    // What crier does not know to be gone: X says so.
    stage
        .sql("update crier.posts set deleted_at = null where job_id = 1")
        .await;
    let said = stage
        .done_by(&["jobs", "unpublish", "1", "--yes", "--json"])
        .await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["outcome"], &said["error"]["code"]),
        (&json!("was_gone"), &json!("was_gone"))
    );
    stage.done().await;
}

#[tokio::test]
async fn a_deletion_that_nobody_heard_of_is_asked_for_again() {
    let stage = setting(&["one"]).await;
    fault(&stage, json!({"route": DELETE, "kind": "answer_lost"})).await;
    stage.done_by(&["jobs", "unpublish", "1", "--yes"]).await;
    assert_eq!(live(&stage).await, [json!(null); 0]);
    assert_eq!(deletes(&stage).await, 2);
    let ledger = stage
        .rows("select outcome, code from crier.attempts where step = 'unpublish'")
        .await;
    assert_eq!(
        ledger,
        [json!({"outcome": "unpublished", "code": "was_gone"})]
    );
    stage.done().await;
}

#[tokio::test]
async fn what_x_refuses_to_delete_stays_and_says_why() {
    let stage = setting(&["one", "two"]).await;
    // A fresh token mends a refusal of the old one.
    fault(
        &stage,
        json!({"route": DELETE, "kind": "answer", "status": 401}),
    )
    .await;
    fault(
        &stage,
        json!({"route": DELETE, "kind": "answer", "status": 403,
            "body": {"title": "Forbidden", "detail": "You are not authorized to delete this Tweet.", "type": "about:blank", "status": 403}}),
    )
    .await;
    let (code, out, err) = stage.say(&["jobs", "unpublish", "1", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(
        out.contains("delete_forbidden: You are not authorized to delete this Tweet.")
            && err.contains("its own posts only"),
        "{out}{err}"
    );
    // A gateway that has no such call says nothing of the post.
    fault(
        &stage,
        json!({"route": DELETE, "kind": "answer", "status": 404,
            "body": {"errors": [{"code": 34, "message": "Sorry, that page does not exist."}]}}),
    )
    .await;
    let (code, out, _) = stage.say(&["jobs", "unpublish", "1", "--yes"]).await;
    assert!(
        code == Some(1) && out.contains("stays: ") && out.contains("that page does not exist"),
        "{out}"
    );
    let reset = stage
        .rows("select (extract(epoch from now()) + 600)::bigint as s")
        .await[0]["s"]
        .to_string();
    fault(
        &stage,
        json!({"route": DELETE, "kind": "answer", "status": 429, "headers": {"x-rate-limit-limit": "50",
            "x-rate-limit-remaining": "0", "x-rate-limit-reset": reset}}),
    )
    .await;
    let before = deletes(&stage).await;
    let (code, out, err) = stage.say(&["jobs", "unpublish", "1", "2", "--yes"]).await;
    assert!(
        code == Some(1)
            && err.contains("2 of 2 posts were not deleted")
            && err.contains("ask again after"),
        "{out}{err}"
    );
    assert_eq!(live(&stage).await, ["one", "two"]);
    // The next one asks no more: the limit is known.
    let (_, out, _) = stage.say(&["jobs", "unpublish", "2", "--yes"]).await;
    assert!(out.contains("X's limit is used up"), "{out}");
    let outcomes = stage
        .rows("select count(*) as n from crier.attempts where step = 'unpublish' and outcome = 'failed'")
        .await;
    assert!(outcomes[0]["n"].as_i64().unwrap() >= 2);
    assert!(deletes(&stage).await > before);
    let (code, _, err) = stage.say(&["jobs", "unpublish", "99", "--yes"]).await;
    assert!(
        code == Some(1) && err.contains("there is no job 99"),
        "{err}"
    );
    stage
        .sql("insert into crier.jobs (account, text, run_at) values ('acme', 'later', crier.now() + interval '1 day')")
        .await;
    let (code, _, err) = stage.say(&["jobs", "unpublish", "3", "--yes"]).await;
    assert!(
        code == Some(1) && err.contains("has no post on X") && err.contains("crier jobs cancel 3"),
        "{err}"
    );
    stage.done().await;
}
