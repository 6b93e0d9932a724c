//! Media from an address: fetched when it is staged, and from nowhere that it should not be.

use std::time::Duration;

use serde_json::json;

use super::files::{Files, mp4, png};
use super::web::Web;
use super::{ALL_PUBLISHED, APPEND, SOON, calls, list, setting};
use crate::support::{Role, Stage};

fn start(files: &Files, web: &Web, stage: &Stage, role: &str) -> Role {
    let spool = files.spool();
    let mut settings = web.settings();
    settings.push(("CRIER__MEDIA__SPOOL_DIR", spool));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    files.start_with(stage, role, &settings)
}

fn insert(text: &str, url: &str) -> String {
    format!(
        r#"insert into crier.jobs (account, text, media) values ('acme', '{text}', '[{{"url": "{url}"}}]')"#
    )
}

#[tokio::test]
async fn a_file_of_the_web_is_fetched_and_posted_by_its_bytes() {
    let (stage, files) = setting(&json!({})).await;
    let web = Web::new().await;
    let (picture, film) = (png(2_000_000), mp4(3 * 1024 * 1024));
    let shas = [
        files.put("picture.png", &picture),
        files.put("film.mp4", &film),
    ];
    web.put("/a.html", &picture);
    web.put("/b", &film);
    let to = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        web.url("/b")
    );
    web.answer("/moved", to.as_bytes());
    let left = std::path::PathBuf::from(files.spool());
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("crier-fetch-of-a-dead-worker"), b"x").unwrap();
    stage.sql(&insert("picture", &web.url("/a.html"))).await;
    stage.sql(&insert("film", &web.url("/moved"))).await;
    let crier = start(&files, &web, &stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    for (text, sha, category) in [
        ("picture", &shas[0], "tweet_image"),
        ("film", &shas[1], "tweet_video"),
    ] {
        let post = posts.iter().find(|post| post["text"] == text).unwrap();
        assert_eq!(post["media"][0]["sha256"], json!(sha));
        assert_eq!(post["media"][0]["category"], category);
    }
    assert_eq!((web.asked("/a.html"), web.asked("/b")), (1, 1));
    let spooled = std::fs::read_dir(&left).unwrap().count();
    assert_eq!(spooled, 0, "nothing is left, not even of a dead worker");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_address_inside_is_refused_within_seconds_and_never_asked() {
    let (stage, files) = setting(&json!({})).await;
    let web = Web::new().await;
    web.put("/a.png", &png(9_000));
    let crier = files.start(&stage, "run");
    for (text, url) in [
        ("loopback", web.url("/a.png").as_str()),
        ("named", "https://localhost/a.png"),
        ("metadata", "https://169.254.169.254/latest/meta-data"),
        ("mapped", "https://[::ffff:10.0.0.1]/a.png"),
        ("plain", "http://93.184.216.34/a.png"),
        ("port", "https://93.184.216.34:22/a.png"),
        ("user", "https://user:hunter22@93.184.216.34/a.png"),
    ] {
        let later = insert(text, url).replace("text, media)", "text, media, run_at)");
        let later = later.trim_end_matches(')');
        stage
            .sql(&format!("{later}, crier.now() + interval '1 day')"))
            .await;
    }
    let all_failed = "select bool_and(state = 'failed') as done from crier.jobs";
    stage.until(all_failed, Duration::from_secs(8)).await;
    let jobs = stage
        .rows(
            "select text, error->>'code' as code, error::text as error from crier.jobs order by id",
        )
        .await;
    for job in &jobs {
        let wanted = if job["text"] == "user" {
            "media_invalid"
        } else {
            "media_url_refused"
        };
        assert_eq!(job["code"], wanted, "{job}");
        assert!(!job["error"].as_str().unwrap().contains("hunter22"));
    }
    assert_eq!(web.asked("/a.png"), 0);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_worker_refuses_by_itself_what_no_check_has_seen() {
    let (stage, files) = setting(&json!({})).await;
    let web = Web::new().await;
    web.put("/a.png", &png(9_000));
    // The scheduler's rules are wider than the worker's.
    let scheduler = start(&files, &web, &stage, "scheduler");
    let worker = files.start(&stage, "worker");
    stage.sql(&insert("inner", &web.url("/a.png"))).await;
    stage
        .until(
            "select bool_and(state = 'failed' and error->>'code' = 'media_url_refused') as done from crier.jobs",
            SOON,
        )
        .await;
    assert_eq!(web.asked("/a.png"), 0);
    worker.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn what_an_address_answers_has_its_word_and_what_passes_is_tried_again() {
    let (stage, files) = setting(&json!({})).await;
    let web = Web::new().await;
    web.answer(
        "/down",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    );
    web.put("/page", b"<html>log in first</html>");
    web.put("/huge", &png(5 * 1024 * 1024 + 1));
    web.answer(
        "/lies",
        &[
            &b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"[..],
            &png(9_000),
        ]
        .concat(),
    );
    for text in ["gone", "page", "huge", "lies", "down"] {
        stage
            .sql(&insert(text, &web.url(&format!("/{text}"))))
            .await;
    }
    let crier = start(&files, &web, &stage, "run");
    stage
        .until(
            "select count(*) filter (where state = 'failed') = 4
                and bool_or(text = 'down' and state = 'scheduled' and error->>'code' = 'media_url_unreachable') as done
               from crier.jobs",
            SOON,
        )
        .await;
    let failed = stage
        .rows("select text, error->>'code' as code from crier.jobs where state = 'failed' order by id")
        .await;
    assert_eq!(
        failed,
        [
            json!({"text": "gone", "code": "media_url_status"}),
            json!({"text": "page", "code": "media_kind"}),
            json!({"text": "huge", "code": "media_too_large"}),
            json!({"text": "lies", "code": "media_too_large"}),
        ]
    );
    web.put("/down", &png(9_000));
    stage
        .sql("update crier.clock set shift = shift + interval '20 minutes'")
        .await;
    stage
        .until(
            "select state = 'published' and error is null as done from crier.jobs where text = 'down'",
            SOON,
        )
        .await;
    crier.stop().await;
    stage.done().await;
}

/// Kills a worker in the middle of a fetched film; what the address answers may change before the next one comes.
async fn killed_in_the_middle(then: Option<Vec<u8>>) -> (Vec<String>, usize, i64) {
    let slow = json!({"route": APPEND, "kind": "slow", "delay_ms": 60, "times": 1000});
    let (stage, files) = setting(&json!({"faults": [slow]})).await;
    let web = Web::new().await;
    web.put("/film", &mp4(24 * 1024 * 1024));
    let scheduler = start(&files, &web, &stage, "scheduler");
    let doomed = start(&files, &web, &stage, "worker");
    stage.sql(&insert("film", &web.url("/film"))).await;
    stage
        .until(
            "select segments_done > 5 as done from crier.media_uploads",
            SOON,
        )
        .await;
    doomed.kill().await;
    if let Some(other) = then {
        web.put("/film", &other);
    }
    let heir = start(&files, &web, &stage, "worker");
    stage
        .sql("update crier.clock set shift = shift + interval '2 minutes'")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(web.asked("/film"), 2, "fetched again");
    let posts = list(&stage, "/_sim/posts").await;
    let shas = posts
        .iter()
        .map(|post| post["media"][0]["sha256"].as_str().unwrap().to_owned())
        .collect();
    let begun = calls(&stage, "POST /2/media/upload/initialize").await.len();
    let sent = i64::try_from(calls(&stage, APPEND).await.len()).unwrap();
    heir.stop().await;
    scheduler.stop().await;
    stage.done().await;
    (shas, begun, sent)
}

#[tokio::test]
async fn a_fetched_file_goes_on_after_a_crash_only_if_its_bytes_are_the_same() {
    let files = Files::new();
    let sha = files.put("film.mp4", &mp4(24 * 1024 * 1024));
    let (shas, begun, sent) = killed_in_the_middle(None).await;
    assert_eq!((shas, begun), (vec![sha], 1));
    assert!((24..=25).contains(&sent), "{sent}");
    let other = mp4(24 * 1024 * 1024 + 1);
    let sha = files.put("other.mp4", &other);
    let (shas, begun, sent) = killed_in_the_middle(Some(other)).await;
    assert_eq!(
        (shas, begun),
        (vec![sha], 2),
        "the new file, from its start"
    );
    assert!(sent >= 25 + 6, "{sent}");
}
