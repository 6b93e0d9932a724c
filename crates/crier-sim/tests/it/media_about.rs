//! Uploads in one shot, and what is said about media: alt text, subtitles, status.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::X;
use crate::media_files::*;

#[tokio::test]
async fn one_shot_takes_raw_bytes_and_base64() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let file = png(100_000);
    let path = "/2/media/upload";
    let raw =
        acme.call("POST", path)
            .multipart(Some(&file), &[("media_category", "tweet_image")], false);
    let coded = acme
        .call("POST", path)
        .json(&json!({"media": STANDARD.encode(&file), "media_category": "tweet_image"}));
    for request in [raw, coded] {
        let data = x.send(request).await.expect(200)["data"].clone();
        assert_eq!(data["size"], 100_000);
        assert_eq!(data["image"]["image_type"], "image/png");
        x.send(with_media(&acme, "", &[data["id"].as_str().unwrap()]))
            .await
            .expect(201);
        assert_eq!(
            x.look("/_sim/posts").await[0]["media"][0]["sha256"],
            sha256(&file)
        );
    }
    for (parts, file, part) in [
        (&[][..], &file[..], "media_category"),
        (
            &[("media_category", "amplify_video")][..],
            &file[..],
            "media_category",
        ),
        (
            &[("media_category", "tweet_video")][..],
            &file[..],
            "media type unrecognized",
        ),
        (
            &[("media_category", "tweet_image")][..],
            b"hello",
            "media type unrecognized",
        ),
        (
            &[("media_category", "tweet_image"), ("shared", "true")][..],
            &file[..],
            "additional properties",
        ),
        (
            &[
                ("media_category", "tweet_image"),
                ("additional_owners", "1,x"),
            ][..],
            &file[..],
            "user ids",
        ),
    ] {
        let request = acme.call("POST", path).multipart(Some(file), parts, true);
        x.send(request).await.says(400, part);
    }
    let big = png((5 << 20) + 1);
    let request =
        acme.call("POST", path)
            .multipart(Some(&big), &[("media_category", "tweet_image")], true);
    x.send(request).await.says(400, "5242880");
}

#[tokio::test]
async fn answers_can_come_without_their_envelope() {
    let x = X::with(&json!({"unwrapped_media_replies": true, "empty_append_replies": true})).await;
    let acme = x.user("acme").await;
    let file = png(2_000);
    let begun = x
        .send(initialize(&acme, "tweet_image", "image/png", file.len()))
        .await
        .expect(200);
    let id = begun["id"].as_str().unwrap();
    let seen = x.send(append(&acme, id, 0, &file)).await;
    assert_eq!((seen.status, seen.body.len()), (204, 0));
    assert_eq!(x.send(finalize(&acme, id)).await.expect(200)["id"], id);
}

#[tokio::test]
async fn alt_text_is_kept_with_the_post() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let id = picture(&x, &acme).await;
    let path = "/2/media/metadata";
    let alt = |text: &str| json!({"id": id, "metadata": {"alt_text": {"text": text}}});
    let set = x
        .send(acme.call("POST", path).json(&alt("a cat")))
        .await
        .expect(200);
    assert_eq!(
        set["data"]["associated_metadata"]["alt_text"]["text"],
        "a cat"
    );
    x.send(with_media(&acme, "cat", &[&id])).await.expect(201);
    assert_eq!(
        x.look("/_sim/posts").await[0]["media"][0]["alt_text"],
        "a cat"
    );
    x.send(acme.call("POST", path).json(&alt(&"é".repeat(1_000))))
        .await
        .expect(200);
    x.send(acme.call("POST", path).json(&alt(&"é".repeat(1_001))))
        .await
        .says(400, "1000");
    x.send(other.call("POST", path).json(&alt("mine")))
        .await
        .expect(404);
    for (body, part) in [
        (json!({"metadata": {}}), "$.id: is missing"),
        (json!({"id": id, "alt": 1}), "additional properties"),
        (
            json!({"id": id, "metadata": {"alt": {}}}),
            "additional properties",
        ),
        (
            json!({"id": id, "metadata": {"alt_text": "x"}}),
            "must be an object",
        ),
        (
            json!({"id": id, "metadata": {"alt_text": {}}}),
            "$.metadata.alt_text.text: is missing",
        ),
        (json!({"id": 1}), "must be a string"),
    ] {
        x.send(acme.call("POST", path).json(&body))
            .await
            .says(400, part);
    }
}

#[tokio::test]
async fn subtitles_are_tied_to_a_video_and_taken_away() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let film = film(&x, &acme, "tweet_video", 1).await;
    let srt = b"1\n00:00:00,000 --> 00:00:01,000\nhello\n";
    let track = id_of(&chunked(&x, &acme, "subtitles", "text/srt", srt).await);
    let path = "/2/media/subtitles";
    let body = json!({
        "id": film, "media_category": "TweetVideo",
        "subtitles": {"id": track, "language_code": "EN", "display_name": "English"},
    });
    let set = x
        .send(acme.call("POST", path).json(&body))
        .await
        .expect(200);
    assert_eq!(set["data"]["id"], film);
    let listed = x.look("/_sim/media").await;
    assert_eq!(listed[0]["subtitles"]["EN"]["id"], track);
    for (pointer, value, status) in [
        ("/media_category", json!("tweet_video"), 400),
        ("/media_category", json!("AmplifyVideo"), 400),
        ("/subtitles/language_code", json!("en"), 400),
        ("/subtitles/id", json!(film), 404),
        ("/id", json!("1"), 404),
    ] {
        let mut body = body.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        x.send(acme.call("POST", path).json(&body))
            .await
            .expect(status);
    }
    let away = json!({"id": film, "media_category": "TweetVideo", "language_code": "EN"});
    let gone = x
        .send(acme.call("DELETE", path).json(&away))
        .await
        .expect(200);
    assert_eq!(gone["data"]["deleted"], true);
    let gone = x
        .send(acme.call("DELETE", path).json(&away))
        .await
        .expect(200);
    assert_eq!(gone["data"]["deleted"], false);
}

#[tokio::test]
async fn status_keeps_to_its_query() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    for (query, part) in [
        ("", "media_id"),
        ("?media_id=x", "media_id"),
        ("?media_id=1&command=INIT", "[STATUS]"),
        ("?media_id=1&verbose=1", "verbose"),
    ] {
        let seen = x
            .send(acme.call("GET", &format!("/2/media/upload{query}")))
            .await;
        seen.says(400, part);
    }
    let id = open(&x, &acme, "tweet_video", "video/mp4", 10).await;
    x.send(status(&acme, &id)).await.expect(400);
    assert_eq!(x.look("/_sim/requests").await.as_array().unwrap().len(), 6);
    assert_eq!(x.last_request().await["fault"], Value::Null);
}
