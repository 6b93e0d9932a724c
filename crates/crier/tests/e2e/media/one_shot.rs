//! A picture in one call, as X's quick start by curl shows it: OAuth 2.0, `POST /2/media/upload`, `POST /2/tweets`.

use std::time::Duration;

use serde_json::{Value, json};

use super::files::{mp4, png};
use super::{ALL_PUBLISHED, APPEND, SOON, calls, list, setting};

const ONE_SHOT: &str = "POST /2/media/upload";
const INITIALIZE: &str = "POST /2/media/upload/initialize";

async fn posted_by(encoding: &str, script: &Value) {
    let (stage, files) = setting(script).await;
    let picture = png(5 * 1024 * 1024);
    let sha = files.put("a.png", &picture);
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'look', '[{"path": "a.png", "alt_text": "a picture", "additional_owners": ["42", "43"]}]')"#)
        .await;
    let settings = [
        ("CRIER__X__MEDIA_UPLOAD", "one_shot"),
        ("CRIER__X__MEDIA_ENCODING", encoding),
    ];
    let crier = files.start_with(&stage, "run", &settings);
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(
        posts[0]["media"],
        json!([{"sha256": sha, "bytes": picture.len(), "category": "tweet_image", "alt_text": "a picture"}])
    );
    let made: Vec<(String, Value)> = list(&stage, "/_sim/requests")
        .await
        .into_iter()
        .filter(|call| call["method"] == "POST")
        .map(|call| {
            (
                call["route"].as_str().unwrap().to_owned(),
                call["status"].clone(),
            )
        })
        .collect();
    let wanted = [ONE_SHOT, "POST /2/media/metadata", "POST /2/tweets"];
    let routes: Vec<&str> = made.iter().map(|(route, _)| route.as_str()).collect();
    assert_eq!(routes, wanted);
    let media = list(&stage, "/_sim/media").await;
    assert_eq!(media[0]["additional_owners"], json!(["42", "43"]));
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_picture_is_posted_with_one_upload_and_one_create_call() {
    posted_by("multipart", &json!({})).await;
    posted_by("json", &json!({"unwrapped_media_replies": true})).await;
}

#[tokio::test]
async fn only_pictures_go_in_one_call() {
    let (stage, files) = setting(&json!({"processing_delay_ms": 200})).await;
    files.put("film.mp4", &mp4(100_000));
    files.put("shared.png", &png(9_000));
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values
                 ('acme', 'film', '[{"path": "film.mp4"}]'),
                 ('acme', 'shared', '[{"path": "shared.png", "shared": true}]')"#,
        )
        .await;
    let settings = [("CRIER__X__MEDIA_UPLOAD", "one_shot")];
    let crier = files.start_with(&stage, "run", &settings);
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage, ONE_SHOT).await.len(), 0);
    assert_eq!(calls(&stage, INITIALIZE).await.len(), 2);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn what_goes_wrong_with_one_call_never_costs_the_picture() {
    let refusal = "Requests with bodies must have content-type of application/json.";
    let faults = json!([
        {"route": ONE_SHOT, "kind": "answer", "status": 503},
        {"route": ONE_SHOT, "kind": "answer_lost"},
        {"route": ONE_SHOT, "kind": "answer", "status": 400, "body": {"title": "Invalid Request", "detail": refusal, "status": 400}},
        {"route": ONE_SHOT, "kind": "answer", "status": 413},
        // After these, the second picture's alt text has failed more often than one attempt bears.
        {"route": "POST /2/media/metadata", "kind": "answer", "status": 503, "times": 4},
    ]);
    let (stage, files) = setting(&json!({"faults": faults})).await;
    let shas = [
        files.put("a.png", &png(90_000)),
        files.put("b.png", &png(80_000)),
    ];
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'first', '[{"path": "a.png"}]')"#)
        .await;
    let settings = [("CRIER__X__MEDIA_UPLOAD", "one_shot")];
    let crier = files.start_with(&stage, "run", &settings);
    stage.until(ALL_PUBLISHED, Duration::from_mins(1)).await;
    // Too large for one call, it went in segments.
    let made = calls(&stage, ONE_SHOT).await;
    assert_eq!(made.len(), 4, "{made:#?}");
    assert_eq!(calls(&stage, APPEND).await.len(), 1);
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'second', '[{"path": "b.png", "alt_text": "b"}]')"#)
        .await;
    stage
        .until(
            "select attempts >= 1 as done from crier.media_uploads where job_id = 2",
            Duration::from_mins(1),
        )
        .await;
    stage
        .sql("update crier.clock set shift = shift + interval '2 minutes'")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage, ONE_SHOT).await.len(), 5, "it is at X already");
    assert_eq!(calls(&stage, APPEND).await.len(), 1);
    let posts = list(&stage, "/_sim/posts").await;
    for (post, sha) in posts.iter().zip(&shas) {
        assert_eq!(post["media"][0]["sha256"], json!(sha));
    }
    assert_eq!(posts[1]["media"][0]["alt_text"], "b");
    let stats = stage.sim("GET", "/_sim/stats", "").await;
    assert_eq!(stats["faults_fired"], 8, "{stats}");
    crier.stop().await;
    stage.done().await;
}
