//! What a row may ask for beside a file: subtitles in several languages, promoted video, tagged users.

use serde_json::{Value, json};

use super::files::{mp4, png};
use super::{ALL_PUBLISHED, SOON, calls, list, setting};

#[tokio::test]
async fn subtitles_come_in_several_languages_for_both_kinds_of_video() {
    let (stage, files) = setting(&json!({"processing_delay_ms": 200})).await;
    files.put("film.mp4", &mp4(200_000));
    files.put("en.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n");
    files.put(
        "de.vtt",
        b"\xef\xbb\xbfWEBVTT\n\n00:00.000 --> 00:01.000\nhallo\n",
    );
    files.put(
        "ja.srt",
        "1\n00:00:00,000 --> 00:00:01,000\nやあ\n".as_bytes(),
    );
    let item = |category: &str| {
        json!([{"path": "film.mp4", "category": category, "subtitles": [
            {"path": "en.srt", "language": "en", "name": "English"},
            {"path": "de.vtt", "language": "DE", "name": "Deutsch"},
            {"path": "ja.srt", "language": "ja"},
        ]}])
    };
    for category in ["tweet_video", "amplify_video"] {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text, media) values ('acme', '{category}', '{}')",
                item(category)
            ))
            .await;
    }
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    let media = list(&stage, "/_sim/media").await;
    for category in ["tweet_video", "amplify_video"] {
        let post = posts.iter().find(|post| post["text"] == category).unwrap();
        assert_eq!(post["media"][0]["category"], category);
        let video = media.iter().find(|m| m["category"] == category).unwrap();
        let named: Vec<(&str, &Value)> = video["subtitles"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(language, track)| (language.as_str(), &track["display_name"]))
            .collect();
        assert_eq!(
            named,
            [
                ("DE", &json!("Deutsch")),
                ("EN", &json!("English")),
                ("JA", &json!("JA"))
            ]
        );
    }
    let mut kinds: Vec<&str> = media
        .iter()
        .filter(|m| m["category"] == "subtitles")
        .map(|m| m["media_type"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "text/srt", "text/srt", "text/srt", "text/srt", "text/vtt", "text/vtt"
        ]
    );
    assert_eq!(calls(&stage, "POST /2/media/subtitles").await.len(), 6);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn users_are_tagged() {
    let (stage, files) = setting(&json!({})).await;
    files.put("a.png", &png(9_000));
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media, options) values
                 ('acme', 'with friends', '[{"path": "a.png"}]', '{"media": {"tagged_user_ids": ["42", "43"]}}')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts?full=1").await;
    let sent = &posts[0]["request"]["media"];
    assert_eq!(sent["tagged_user_ids"], json!(["42", "43"]));
    assert_eq!(sent["media_ids"].as_array().unwrap().len(), 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn every_field_of_initialize_reaches_x() {
    let (stage, files) = setting(&json!({})).await;
    let picture = png(9_000);
    files.put("a.png", &picture);
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'all', '[{"path": "a.png", "shared": true, "additional_owners": ["42"]}]')"#)
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let media = list(&stage, "/_sim/media").await;
    assert_eq!(media[0]["category"], "tweet_image");
    assert_eq!(media[0]["media_type"], "image/png");
    assert_eq!(media[0]["total_bytes"], picture.len());
    assert_eq!(media[0]["additional_owners"], json!(["42"]));
    crier.stop().await;
    stage.done().await;
}
