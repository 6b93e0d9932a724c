//! Files on their way to X: staged in pieces by processes that may die, whole or not at all, never left out.

mod addresses;
pub(crate) mod files;
mod kinds;
mod limits;
mod one_shot;
mod shared;
mod trouble;
mod web;

use std::time::Duration;

use serde_json::{Value, json};

use self::files::{Files, mp4, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
const APPEND: &str = "POST /2/media/upload/{id}/append";
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

async fn list(stage: &Stage, path: &str) -> Vec<Value> {
    stage.sim("GET", path, "").await.as_array().unwrap().clone()
}

async fn calls(stage: &Stage, route: &str) -> Vec<Value> {
    let mut calls = list(stage, "/_sim/requests").await;
    calls.retain(|call| call["route"] == route);
    calls
}

async fn setting(script: &Value) -> (Stage, Files) {
    let stage = Stage::new(script).await;
    stage.account("acme").await;
    (stage, Files::new())
}

#[tokio::test]
async fn pictures_go_out_in_order_with_their_alt_texts() {
    let (stage, files) = setting(&json!({})).await;
    let (first, second) = (png(2_500_000), png(70_000));
    let shas = [files.put("one.png", &first), files.put("two.png", &second)];
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values ('acme', 'look',
                 '[{"path": "one.png", "alt_text": "a \"cat\" — ü"}, {"path": "./two.png"}]');
               insert into crier.jobs (account, text) values ('acme', 'plain')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    let look = posts.iter().find(|post| post["text"] == "look").unwrap();
    assert_eq!(
        look["media"],
        json!([
            {"sha256": shas[0], "bytes": first.len(), "category": "tweet_image", "alt_text": "a \"cat\" — ü"},
            {"sha256": shas[1], "bytes": second.len(), "category": "tweet_image", "alt_text": null},
        ])
    );
    assert_eq!(posts[0]["text"], "plain", "no post waits behind an upload");
    assert_eq!(posts.len(), 2);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_video_is_sent_in_segments_processed_and_subtitled() {
    let (stage, files) = setting(&json!({"processing_delay_ms": 1500})).await;
    let film = mp4(12 * 1024 * 1024 + 5);
    let sha = files.put("film.mp4", &film);
    files.put("en.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n");
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values ('acme', 'film',
                 '[{"path": "film.mp4", "subtitles": [{"path": "en.srt", "language": "en", "name": "English"}]}]')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(
        posts[0]["media"],
        json!([{"sha256": sha, "bytes": film.len(), "category": "tweet_video", "alt_text": null}])
    );
    let sizes: Vec<u64> = calls(&stage, APPEND)
        .await
        .iter()
        .map(|call| call["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes[..12], [1024 * 1024; 12]);
    assert_eq!(sizes[12], 5);
    let media = list(&stage, "/_sim/media").await;
    let video = media
        .iter()
        .find(|m| m["category"] == "tweet_video")
        .unwrap();
    assert_eq!(video["subtitles"]["EN"]["display_name"], "English");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_killed_worker_s_upload_goes_on_with_the_segment_that_was_in_flight() {
    // Each segment takes a while, so that the kill falls into the middle of the file.
    let slow = json!({"route": APPEND, "kind": "slow", "delay_ms": 40, "times": 1000});
    let (stage, files) = setting(&json!({"faults": [slow]})).await;
    let film = mp4(64 * 1024 * 1024);
    let sha = files.put("film.mp4", &film);
    let scheduler = files.start(&stage, "scheduler");
    let doomed = files.start(&stage, "worker");
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'long', '[{"path": "film.mp4"}]')"#)
        .await;
    stage
        .until(
            "select segments_done > 20 as done from crier.media_uploads",
            SOON,
        )
        .await;
    doomed.kill().await;
    let done = stage
        .rows("select segments_done as n from crier.media_uploads")
        .await[0]["n"]
        .as_i64()
        .unwrap();
    assert!((21..60).contains(&done), "in the middle: {done}");
    let heir = files.start(&stage, "worker");
    // The dead worker's lease runs out by the database's clock.
    stage
        .sql("update crier.clock set shift = shift + interval '2 minutes'")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(
        (posts.len(), &posts[0]["media"][0]["sha256"]),
        (1, &json!(sha))
    );
    let begun = calls(&stage, "POST /2/media/upload/initialize").await;
    assert_eq!(begun.len(), 1, "one session to the end");
    let mut sent: Vec<i64> = calls(&stage, APPEND)
        .await
        .iter()
        .filter_map(|call| call["segment_index"].as_i64())
        .collect();
    let all = sent.len();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent, (0..64).collect::<Vec<i64>>());
    assert!(
        all <= 65,
        "at most what was in flight was sent again: {all}"
    );
    let crashes = stage
        .rows("select 1 from crier.media_uploads where crashes > 0")
        .await;
    assert!(crashes.is_empty(), "the heir ended the row of crashes");
    heir.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_hands_its_upload_over_at_once() {
    let slow = json!({"route": APPEND, "kind": "slow", "delay_ms": 100, "times": 1000});
    let (stage, files) = setting(&json!({"faults": [slow]})).await;
    files.put("film.mp4", &mp4(24 * 1024 * 1024));
    let scheduler = files.start(&stage, "scheduler");
    let first = files.start(&stage, "worker");
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'long', '[{"path": "film.mp4"}]')"#)
        .await;
    stage
        .until(
            "select segments_done > 3 as done from crier.media_uploads",
            SOON,
        )
        .await;
    first.stop().await;
    let left = stage
        .rows("select count(*) as leases from crier.leases")
        .await;
    assert_eq!(left, [json!({"leases": 0})]);
    let second = files.start(&stage, "worker");
    stage.until(ALL_PUBLISHED, SOON).await;
    let begun = calls(&stage, "POST /2/media/upload/initialize").await;
    assert_eq!(begun.len(), 1);
    let sent = calls(&stage, APPEND).await.len();
    assert!((24..=25).contains(&sent), "{sent}");
    second.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_missing_file_warns_until_its_time_and_fails_its_job_alone() {
    let (stage, files) = setting(&json!({})).await;
    files.put("here.png", &png(5_000));
    files.put("huge.png", &png(6 * 1024 * 1024));
    files.put("words.png", b"not a picture at all");
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media, run_at) values
                 ('acme', 'never', '[{"path": "never.png"}]', crier.now()),
                 ('acme', 'soon', '[{"path": "soon.png"}]', crier.now() + interval '40 seconds'),
                 ('acme', 'here', '[{"path": "here.png"}]', crier.now()),
                 ('acme', 'huge', '[{"path": "huge.png"}]', crier.now()),
                 ('acme', 'words', '[{"path": "words.png"}]', crier.now()),
                 ('acme', 'far', '[{"url": "https://127.0.0.1/a.png"}]', crier.now())"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage
        .until(
            "select count(*) filter (where state = 'failed') = 4 and count(*) filter (where state = 'published') = 1
                and bool_or(warning->>'code' = 'media_missing') as done from crier.jobs",
            SOON,
        )
        .await;
    files.put("soon.png", &png(9_000));
    stage
        .sql("update crier.clock set shift = shift + interval '41 seconds'")
        .await;
    stage
        .until(
            "select state = 'published' and warning is null and error is null as done from crier.jobs where text = 'soon'",
            SOON,
        )
        .await;
    let failed = stage
        .rows("select text, error->>'code' as code, error->>'hint' <> '' as hint from crier.jobs where state = 'failed' order by id")
        .await;
    let codes: Vec<_> = failed
        .iter()
        .map(|job| (job["text"].as_str().unwrap(), job["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        codes,
        [
            ("never", "media_missing"),
            ("huge", "media_too_large"),
            ("words", "media_kind"),
            ("far", "media_url_refused"),
        ]
    );
    assert!(failed.iter().all(|job| job["hint"] == true));
    assert_eq!(list(&stage, "/_sim/posts").await.len(), 2);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn whatever_the_media_endpoints_do_a_post_never_goes_out_bare() {
    let finalize = "POST /2/media/upload/{id}/finalize";
    let initialize = "POST /2/media/upload/initialize";
    let faults = json!([
        {"route": initialize, "kind": "answer", "status": 503},
        {"route": initialize, "kind": "answer_lost", "skip": 1},
        {"route": APPEND, "kind": "request_lost"},
        {"route": APPEND, "kind": "answer_lost", "skip": 2},
        {"route": APPEND, "kind": "answer", "status": 404, "skip": 3},
        {"route": APPEND, "kind": "answer", "status": 401, "skip": 4, "body": {"title": "Unauthorized", "status": 401}},
        {"route": APPEND, "kind": "answer", "status": 413, "skip": 5},
        {"route": finalize, "kind": "answer_lost"},
        {"route": finalize, "kind": "request_lost", "skip": 1},
        {"route": "POST /2/media/metadata", "kind": "answer", "status": 500},
        {"route": "POST /2/tweets", "kind": "answer", "status": 400,
         "body": {"errors": [{"message": "Your media IDs are invalid."}], "title": "Invalid Request", "detail": "Your media IDs are invalid."}},
    ]);
    let (stage, files) = setting(&json!({"faults": faults, "processing_delay_ms": 200})).await;
    let (film, picture) = (mp4(5 * 1024 * 1024), png(300_000));
    let shas = [files.put("film.mp4", &film), files.put("a.png", &picture)];
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values
                 ('acme', 'film', '[{"path": "film.mp4", "alt_text": "a film"}]'),
                 ('acme', 'picture', '[{"path": "a.png", "alt_text": "a picture"}]')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, Duration::from_mins(2)).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts.len(), 2, "{posts:?}");
    for (text, sha, alt) in [
        ("film", &shas[0], "a film"),
        ("picture", &shas[1], "a picture"),
    ] {
        let post = posts.iter().find(|post| post["text"] == text).unwrap();
        assert_eq!(post["media"][0]["sha256"], json!(sha));
        assert_eq!(post["media"][0]["alt_text"], alt);
    }
    let stats = stage.sim("GET", "/_sim/stats", "").await;
    assert_eq!(stats["faults_fired"], 11, "every fault struck: {stats}");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn what_x_cannot_process_fails_with_its_words() {
    let failure =
        json!({"code": 3, "name": "UnsupportedMedia", "message": "Duration exceeds max duration"});
    let (stage, files) =
        setting(&json!({"processing_delay_ms": 300, "processing_failure": failure})).await;
    files.put("film.mp4", &mp4(100_000));
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values ('acme', 'film', '[{"path": "film.mp4"}]');
               insert into crier.jobs (account, text, after) values ('acme', 'a reply to it', 1)"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage
        .until(
            "select bool_and(state = 'failed') as done from crier.jobs",
            SOON,
        )
        .await;
    let row = stage
        .rows("select error->>'code' as code, error->>'detail' as detail, error->>'step' as step from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        [
            json!({"code": "media_processing_failed", "detail": "code 3: UnsupportedMedia: Duration exceeds max duration", "step": "media"})
        ]
    );
    assert!(list(&stage, "/_sim/posts").await.is_empty());
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn ids_that_ran_out_before_the_post_are_made_anew_not_left_out() {
    let (stage, files) = setting(&json!({})).await;
    let sha = files.put("a.png", &png(5_000));
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media, run_at)
               values ('acme', 'later', '[{"path": "a.png"}]', crier.now() + interval '20 minutes')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage
        .until("select held = 0 as done from crier.jobs", SOON)
        .await;
    assert!(list(&stage, "/_sim/posts").await.is_empty());
    stage
        .sql(
            "update crier.media_uploads set expires_at = crier.now();
             update crier.clock set shift = shift + interval '21 minutes'",
        )
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    assert_eq!(posts[0]["media"][0]["sha256"], json!(sha));
    let codes = stage
        .rows("select code from crier.attempts order by id")
        .await;
    assert_eq!(
        codes,
        [json!({"code": "media_not_ready"}), json!({"code": null})]
    );
    crier.stop().await;
    stage.done().await;
}
