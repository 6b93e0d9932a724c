//! Chunked uploads, in both encodings, well and badly made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::client::X;
use crate::media_files::*;

#[tokio::test]
async fn a_picture_in_chunks_is_ready_at_once() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let file = png(2_500_000);
    let begun = x
        .send(initialize(&acme, "tweet_image", "image/png", file.len()))
        .await;
    assert_eq!(
        begun.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let begun = begun.expect(200);
    assert_eq!(begun["data"]["expires_after_secs"], 1_295_999);
    let id = id_of(&begun);
    assert_eq!(begun["data"]["media_key"], format!("3_{id}"));
    assert_eq!(x.look("/_sim/stats").await["live_sessions"], 1);
    for (index, segment) in file.chunks(1 << 20).enumerate() {
        let body = x.send(append(&acme, &id, index, segment)).await.expect(200);
        assert!(body["data"]["expires_at"].as_i64().unwrap() > 1_700_000_000);
    }
    let record = x.last_request().await;
    assert_eq!(record["route"], "POST /2/media/upload/{id}/append");
    assert_eq!(record["path"], format!("/2/media/upload/{id}/append"));
    assert_eq!(record["segment_index"], 2);
    assert_eq!(record["bytes"], 2_500_000 - (2 << 20));
    let done = x.send(finalize(&acme, &id)).await.expect(200)["data"].clone();
    assert_eq!(done["size"], 2_500_000);
    assert_eq!(done["expires_after_secs"], 86_400);
    assert_eq!(
        done["image"],
        json!({"image_type": "image/png", "w": 640, "h": 480})
    );
    assert!(done.get("processing_info").is_none());
    x.send(status(&acme, &id)).await.expect(400);
    x.send(with_media(&acme, "with a picture", &[&id]))
        .await
        .expect(201);
    let media = x.look("/_sim/posts").await[0]["media"].clone();
    assert_eq!(
        media,
        json!([{"sha256": sha256(&file), "bytes": 2_500_000, "category": "tweet_image", "alt_text": null}])
    );
    let stats = x.look("/_sim/stats").await;
    assert_eq!(
        (&stats["appends"], &stats["live_sessions"]),
        (&json!(3), &json!(0))
    );
}

#[tokio::test]
async fn segments_may_come_out_of_order_and_twice() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let file = png(300_000);
    let id = open(&x, &acme, "tweet_image", "image/png", file.len()).await;
    let parts: Vec<&[u8]> = file.chunks(100_000).collect();
    for (index, bytes) in [(2, parts[2]), (0, parts[1]), (1, parts[1]), (0, parts[0])] {
        x.send(append(&acme, &id, index, bytes)).await.expect(200);
    }
    x.send(finalize(&acme, &id)).await.expect(200);
    x.send(with_media(&acme, "", &[&id])).await.expect(201);
    assert_eq!(
        x.look("/_sim/posts").await[0]["media"][0]["sha256"],
        sha256(&file)
    );
    let stats = x.look("/_sim/stats").await;
    assert_eq!(
        (&stats["appends"], &stats["resent_segments"]),
        (&json!(4), &json!(1))
    );
}

#[tokio::test]
async fn segments_may_come_side_by_side_and_as_base64() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let file = png(1_000_000);
    let id = open(&x, &acme, "tweet_image", "image/png", file.len()).await;
    let sends = file.chunks(100_000).enumerate().map(|(index, segment)| {
        let request = if index % 2 == 0 {
            append(&acme, &id, index, segment)
        } else {
            acme.call("POST", &format!("/2/media/upload/{id}/append"))
                .json(&json!({"media": STANDARD.encode(segment), "segment_index": index}))
        };
        x.send(request)
    });
    for seen in futures_util::future::join_all(sends).await {
        seen.expect(200);
    }
    x.send(finalize(&acme, &id)).await.expect(200);
    x.send(with_media(&acme, "", &[&id])).await.expect(201);
    assert_eq!(
        x.look("/_sim/posts").await[0]["media"][0]["sha256"],
        sha256(&file)
    );
}

#[tokio::test]
async fn a_video_is_processed_over_time() {
    let x = X::with(&json!({"processing_delay_ms": 60_000})).await;
    let acme = x.user("acme").await;
    let done = chunked(&x, &acme, "tweet_video", "video/mp4", &mp4(3_000_000, 10)).await;
    let id = id_of(&done);
    assert_eq!(done["data"]["video"], json!({"video_type": "video/mp4"}));
    assert_eq!(
        done["data"]["processing_info"],
        json!({"state": "pending", "check_after_secs": 1})
    );
    let info = async |x: &X| {
        x.send(status(&acme, &id)).await.expect(200)["data"]["processing_info"].clone()
    };
    x.send(with_media(&acme, "too early", &[&id]))
        .await
        .says(400, "Your media IDs are invalid.");
    x.advance(30).await;
    let halfway = info(&x).await;
    assert_eq!(halfway["state"], "in_progress");
    assert_eq!(halfway["check_after_secs"], 1);
    assert!((49..=60).contains(&halfway["progress_percent"].as_u64().unwrap()));
    x.send(with_media(&acme, "too early", &[&id]))
        .await
        .expect(400);
    x.advance(30).await;
    assert_eq!(
        info(&x).await,
        json!({"state": "succeeded", "progress_percent": 100})
    );
    x.send(with_media(&acme, "now", &[&id])).await.expect(201);
}

#[tokio::test]
async fn processing_takes_a_moment_by_default_and_can_fail() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let id = id_of(&chunked(&x, &acme, "tweet_gif", "image/gif", &gif(5_000)).await);
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let seen = x.send(status(&acme, &id)).await.expect(200);
    assert_eq!(seen["data"]["processing_info"]["state"], "succeeded");

    let failure = json!({"code": 1, "name": "InvalidMedia", "message": "bad"});
    x.control(
        "POST",
        "/_sim/options",
        &json!({"processing_failure": failure}),
    )
    .await;
    let id = id_of(&chunked(&x, &acme, "tweet_video", "video/mp4", &mp4(5_000, 1)).await);
    x.advance(5).await;
    let info = x.send(status(&acme, &id)).await.expect(200)["data"]["processing_info"].clone();
    assert_eq!(
        (&info["state"], &info["error"]),
        (&json!("failed"), &failure)
    );
    x.send(with_media(&acme, "no", &[&id]))
        .await
        .says(400, "Your media IDs are invalid.");
}

#[tokio::test]
async fn initialize_keeps_to_its_schema() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let path = "/2/media/upload/initialize";
    let good =
        json!({"media_category": "tweet_image", "media_type": "image/png", "total_bytes": 10});
    for (name, value, part) in [
        ("media_category", json!("tweet_picture"), "must be one of"),
        ("media_category", json!("tweet_video"), "does not belong"),
        ("media_type", json!("image/svg+xml"), "must be one of"),
        ("total_bytes", json!("10"), "must be an integer"),
        (
            "total_bytes",
            json!((5 << 20) + 1),
            "exceeds the limit of 5242880 bytes",
        ),
        ("additional_owners", json!("1,2"), "must be an array"),
        ("additional_owners", json!([1]), "must be an array"),
        ("shared", json!("yes"), "must be a boolean"),
        ("alt_text", json!("x"), "additional properties"),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let seen = x.send(acme.call("POST", path).json(&body)).await;
        seen.says(400, part);
        let body = seen.json();
        assert_eq!(body["title"], "Invalid Request");
        assert_eq!(body["status"], 400);
        assert_eq!(body["type"], "https://api.x.com/2/problems/invalid-request");
    }
    for name in ["media_category", "media_type", "total_bytes"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        x.send(acme.call("POST", path).json(&body))
            .await
            .says(400, "is missing");
    }
    let form = acme
        .call("POST", path)
        .form(&[("media_category", "tweet_image")]);
    x.send(form).await.says(
        400,
        "Requests with bodies must have content-type of application/json.",
    );
    for (category, mime, most) in [
        ("tweet_gif", "image/gif", 15 << 20),
        ("tweet_video", "video/mp4", 512 << 20),
    ] {
        x.send(initialize(&acme, category, mime, most))
            .await
            .expect(200);
        x.send(initialize(&acme, category, mime, most + 1))
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn append_keeps_to_its_schema() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let id = open(&x, &acme, "tweet_image", "image/png", 100).await;
    let path = format!("/2/media/upload/{id}/append");
    let call = || acme.call("POST", &path);
    let bytes = Some(&b"abc"[..]);
    for (request, part) in [
        (call().multipart(bytes, &[], true), "segment_index"),
        (
            call().multipart(bytes, &[("segment_index", "1000")], true),
            "segment_index",
        ),
        (
            call().multipart(bytes, &[("segment_index", "-1")], true),
            "segment_index",
        ),
        (
            call().multipart(bytes, &[("segment_index", "1"), ("name", "x")], true),
            "additional properties",
        ),
        (
            call().multipart(
                bytes,
                &[("segment_index", "1"), ("segment_index", "1")],
                true,
            ),
            "twice",
        ),
        (
            call().multipart(None, &[("segment_index", "1")], true),
            "$.media: is missing",
        ),
        (
            call().json(&json!({"media": "YQ==", "segment_index": "1"})),
            "segment_index",
        ),
        (
            call().json(&json!({"media": "not base64!", "segment_index": 1})),
            "base64",
        ),
        (call().json(&json!({"media": "YQ=="})), "segment_index"),
        (
            call().json(&json!(["media"])),
            "Request body must be a JSON object.",
        ),
        (call().form(&[("segment_index", "1")]), "content-type"),
        (call().body("multipart/form-data", "x"), "boundary"),
    ] {
        x.send(request).await.says(400, part);
    }
    x.send(call().json(&json!({"media": "YQ==", "segment_index": 999})))
        .await
        .expect(200);
    x.send(append(&acme, "12a", 0, b"x"))
        .await
        .says(400, "does not match");
}

#[tokio::test]
async fn too_large_a_segment_is_413_without_a_body() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let id = open(&x, &acme, "tweet_video", "video/mp4", 10 << 20).await;
    x.send(append(&acme, &id, 0, &vec![0; 4 << 20]))
        .await
        .expect(200);
    let seen = x.send(append(&acme, &id, 1, &vec![0; 5 << 20])).await;
    assert_eq!((seen.status, seen.body.len()), (413, 0));
    assert_eq!(x.look("/_sim/stats").await["appends"], 1);
    x.control("POST", "/_sim/options", &json!({"edge_limit_bytes": 1000}))
        .await;
    let seen = x.send(append(&acme, &id, 1, &[0; 1000])).await;
    assert_eq!((seen.status, seen.body.len()), (413, 0));
}

#[tokio::test]
async fn finalize_wants_an_object_all_bytes_and_the_announced_type() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let file = png(2_000);
    let id = open(&x, &acme, "tweet_image", "image/png", file.len()).await;
    let path = format!("/2/media/upload/{id}/finalize");
    x.send(acme.call("POST", &path))
        .await
        .says(400, "Request body must be a JSON object.");
    x.send(acme.call("POST", &path).json(&json!({"a": 1})))
        .await
        .expect(400);
    let sums = "Segments do not add up to provided total file size.";
    x.send(finalize(&acme, &id)).await.says(400, sums);
    x.send(append(&acme, &id, 1, &file)).await.expect(200);
    x.send(finalize(&acme, &id)).await.says(400, sums);
    x.send(append(&acme, &id, 0, &[])).await.expect(200);
    x.send(finalize(&acme, &id)).await.expect(200);

    let id = open(&x, &acme, "tweet_image", "image/jpeg", file.len()).await;
    x.send(append(&acme, &id, 0, &file)).await.expect(200);
    x.send(finalize(&acme, &id))
        .await
        .says(400, "media type unrecognized");
}

#[tokio::test]
async fn a_second_finalize_gives_the_same_answer_or_404() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let id = picture(&x, &acme).await;
    let again = x.send(finalize(&acme, &id)).await.expect(200);
    assert_eq!(id_of(&again), id);
    x.control(
        "POST",
        "/_sim/options",
        &json!({"refuse_second_finalize": true}),
    )
    .await;
    x.send(finalize(&acme, &id)).await.expect(404);
}

#[tokio::test]
async fn sessions_and_media_are_private_and_expire() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "expires_in": 9_999_999}))
        .await;
    let other = x.user("other").await;
    let file = png(2_000);
    let id = open(&x, &acme, "tweet_image", "image/png", file.len()).await;
    for (user, id) in [(&other, id.as_str()), (&acme, "123")] {
        for request in [
            append(user, id, 0, &file),
            finalize(user, id),
            status(user, id),
        ] {
            let body = x.send(request).await.expect(404);
            assert_eq!(
                body["type"],
                "https://api.x.com/2/problems/resource-not-found"
            );
            assert_eq!(body["resource_type"], "media");
        }
    }
    x.advance(1_295_990).await;
    x.send(append(&acme, &id, 0, &file)).await.expect(200);
    x.advance(10).await;
    x.send(append(&acme, &id, 0, &file)).await.expect(404);
    assert_eq!(x.look("/_sim/stats").await["live_sessions"], 0);
    let id = picture(&x, &acme).await;
    x.advance(86_400).await;
    x.send(with_media(&acme, "late", &[&id]))
        .await
        .says(400, "Your media IDs are invalid.");
}
