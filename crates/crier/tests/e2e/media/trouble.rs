//! Segments that X finds too large, and processing that says odd things.

use serde_json::{Value, json};

use super::files::{Files, mp4};
use super::{ALL_PUBLISHED, APPEND, SOON, calls, list, setting};
use crate::support::Stage;

const MIB: u64 = 1024 * 1024;

async fn film(stage: &Stage, files: &Files, text: &str) -> String {
    let sha = files.put(&format!("{text}.mp4"), &mp4(3 * 1024 * 1024));
    stage
        .sql(&format!(
            r#"insert into crier.jobs (account, text, media) values ('acme', '{text}', '[{{"path": "{text}.mp4"}}]')"#
        ))
        .await;
    sha
}

/// Sizes of the segments from the call numbered `from` on.
async fn sizes(stage: &Stage, from: usize) -> Vec<u64> {
    let calls = calls(stage, APPEND).await;
    let sizes = calls.iter().skip(from);
    sizes
        .map(|call| call["bytes"].as_u64().unwrap_or(0))
        .collect()
}

#[tokio::test]
async fn a_segment_that_is_too_large_is_halved_and_the_next_upload_begins_so() {
    for status in [413, 431] {
        let fault = json!({"route": APPEND, "kind": "answer", "status": status, "skip": 1});
        let (stage, files) = setting(&json!({"faults": [fault]})).await;
        let sha = film(&stage, &files, "first").await;
        let crier = files.start(&stage, "run");
        stage.until(ALL_PUBLISHED, SOON).await;
        // One went, one was refused; then all of it anew in halves.
        assert_eq!(sizes(&stage, 2).await, [MIB / 2; 6], "{status}");
        let begun = calls(&stage, "POST /2/media/upload/initialize").await;
        assert_eq!(begun.len(), 2, "halves have other numbers");
        crier.stop().await;
        // Another process remembers.
        let crier = files.start(&stage, "run");
        film(&stage, &files, "second").await;
        stage.until(ALL_PUBLISHED, SOON).await;
        assert_eq!(sizes(&stage, 8).await, [MIB / 2; 6]);
        // For a day.
        stage
            .sql("update crier.clock set shift = shift + interval '25 hours'")
            .await;
        film(&stage, &files, "third").await;
        stage.until(ALL_PUBLISHED, SOON).await;
        assert_eq!(sizes(&stage, 14).await, [MIB; 3]);
        let posts = list(&stage, "/_sim/posts").await;
        assert_eq!(posts[0]["media"][0]["sha256"], json!(sha));
        crier.stop().await;
        stage.done().await;
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_sent_anew_as_it_is_then() {
    let slow = json!({"route": APPEND, "kind": "slow", "delay_ms": 1_500, "times": 6});
    let (stage, files) = setting(&json!({"faults": [slow]})).await;
    let crier = files.start(&stage, "run");
    for text in ["written", "replaced"] {
        film(&stage, &files, text).await;
    }
    let begun =
        "select count(*) = 2 as done from crier.media_uploads where segments_done between 1 and 2";
    stage.until(begun, SOON).await;
    // Of the same size, and other bytes from the first segment to the last.
    let mut other = mp4(3 * 1024 * 1024);
    for byte in &mut other[100..3 * 1024 * 1024 - 1024] {
        *byte ^= 0xff;
    }
    let sha = files.put("written.mp4", &other);
    files.put("new.mp4", &other);
    let folder = std::path::PathBuf::from(files.folder());
    std::fs::rename(folder.join("new.mp4"), folder.join("replaced.mp4")).unwrap();
    stage.until(ALL_PUBLISHED, SOON).await;
    for post in list(&stage, "/_sim/posts").await {
        assert_eq!(post["media"][0]["sha256"], json!(sha), "{post}");
    }
    let begun = calls(&stage, "POST /2/media/upload/initialize").await;
    assert_eq!(begun.len(), 4, "each once more");
    let attempts = stage
        .rows("select max(attempts) as n from crier.jobs")
        .await;
    assert_eq!(attempts, [json!({"n": 1})], "it costs none");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn states_that_nobody_documents_are_waited_out() {
    let said = |info: Value| {
        json!({"route": "GET /2/media/upload", "kind": "answer", "status": 200,
        "body": {"data": {"id": "1", "processing_info": info}}})
    };
    let faults = json!([
        said(json!({"state": "uploading", "check_after_secs": 1})),
        said(json!({"state": "processing"})),
        said(json!({"check_after_secs": "1"})),
        said(json!({"state": 7, "progress_percent": "many"})),
    ]);
    let (stage, files) = setting(&json!({"faults": faults, "processing_delay_ms": 500})).await;
    let sha = film(&stage, &files, "film").await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts[0]["media"][0]["sha256"], json!(sha));
    let stats = stage.sim("GET", "/_sim/stats", "").await;
    assert_eq!(stats["faults_fired"], 4);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_error_beside_a_state_that_goes_on_ends_it() {
    let failure = json!({"code": 1, "name": "InvalidMedia", "message": "file is corrupt", "state": "in_progress"});
    let script = json!({"processing_delay_ms": 100, "processing_failure": failure});
    let (stage, files) = setting(&script).await;
    film(&stage, &files, "film").await;
    let crier = files.start(&stage, "run");
    stage
        .until("select state = 'failed' as done from crier.jobs", SOON)
        .await;
    let row = stage
        .rows("select error->>'code' as code, error->>'detail' as detail from crier.jobs")
        .await;
    let wanted = json!({"code": "media_processing_failed", "detail": "code 1: InvalidMedia: file is corrupt"});
    assert_eq!(row, [wanted]);
    assert!(list(&stage, "/_sim/posts").await.is_empty());
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_file_that_x_does_not_finish_is_uploaded_anew_after_the_deadline() {
    let (stage, files) = setting(&json!({"processing_delay_ms": 3_600_000})).await;
    let sha = film(&stage, &files, "film").await;
    let patience = [("CRIER__MEDIA__PROCESSING_TIMEOUT_S", "2")];
    let crier = files.start_with(&stage, "run", &patience);
    stage
        .until(
            "select error->>'code' = 'media_stuck' and state = 'scheduled' as done from crier.jobs",
            SOON,
        )
        .await;
    let quick = json!({"processing_delay_ms": 100}).to_string();
    stage.sim("POST", "/_sim/options", &quick).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts[0]["media"][0]["sha256"], json!(sha));
    let begun = calls(&stage, "POST /2/media/upload/initialize").await;
    assert!(begun.len() > 1, "{}", begun.len());
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_limit_of_uploads_is_waited_out_and_holds_no_plain_post_back() {
    let (stage, files) = setting(&json!({})).await;
    files.put("film.mp4", &mp4(6 * 1024 * 1024));
    let limit = json!({"account": "acme", "route": APPEND, "limit": 4, "window_s": 6});
    stage.sim("POST", "/_sim/limits", &limit.to_string()).await;
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values ('acme', 'film', '[{"path": "film.mp4"}]');
               insert into crier.jobs (account, text) values ('acme', 'plain')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let appends = calls(&stage, APPEND).await;
    let refused = appends.iter().filter(|call| call["status"] == 429).count();
    assert_eq!(
        (appends.len(), refused),
        (6, 0),
        "not one call before the reset"
    );
    let attempts = stage.rows("select attempts from crier.media_uploads").await;
    assert_eq!(
        attempts,
        [json!({"attempts": 0})],
        "a limit costs no attempt"
    );
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts[0]["text"], "plain");
    crier.stop().await;
    stage.done().await;
}
