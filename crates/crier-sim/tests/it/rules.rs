//! What a post may hold and whom it may answer.

use serde_json::json;

use crate::client::{Request, User, X};
use crate::media_files::*;

fn reply(user: &User, text: &str, to: &str) -> Request {
    let body = json!({"text": text, "reply": {"in_reply_to_tweet_id": to}});
    user.call("POST", "/2/tweets").json(&body)
}

fn quote(user: &User, text: &str, of: &str) -> Request {
    user.call("POST", "/2/tweets")
        .json(&json!({"text": text, "quote_tweet_id": of}))
}

async fn post(x: &X, user: &User, text: &str) -> String {
    id_of(&x.send(user.post(text)).await.expect(201))
}

#[tokio::test]
async fn four_photos_or_one_gif_or_one_video() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let mut photos = Vec::new();
    for _ in 0..4 {
        photos.push(picture(&x, &acme).await);
    }
    let photos: Vec<&str> = photos.iter().map(String::as_str).collect();
    x.send(with_media(&acme, "four", &photos)).await.expect(201);
    let gif = id_of(&chunked(&x, &acme, "tweet_gif", "image/gif", &gif(9_000)).await);
    let film = film(&x, &acme, "tweet_video", 10).await;
    for mix in [
        &[photos[0], &gif][..],
        &[&film, photos[1]],
        &[&gif, &film],
        &[&film, &film],
    ] {
        x.send(with_media(&acme, "mixed", mix))
            .await
            .says(400, "or 1 video");
    }
    x.send(with_media(&acme, "gif", &[&gif])).await.expect(201);
    x.send(with_media(&acme, "film", &[&film]))
        .await
        .expect(201);
}

#[tokio::test]
async fn media_ids_must_be_real_and_ones_own() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let mine = picture(&x, &acme).await;
    let body = x
        .send(with_media(&other, "theirs", &[&mine, "42"]))
        .await
        .expect(400);
    assert_eq!(body["errors"][0]["message"], "Your media IDs are invalid.");
    assert_eq!(
        body["errors"][0]["parameters"]["media.media_ids"],
        json!([mine, "42"])
    );
    assert_eq!(body["title"], "Invalid Request");
    let open = open(&x, &acme, "tweet_image", "image/png", 10).await;
    x.send(with_media(&acme, "open", &[&open]))
        .await
        .expect(400);
    let private = id_of(&chunked(&x, &acme, "dm_image", "image/png", &png(2_000)).await);
    x.send(with_media(&acme, "dm", &[&private]))
        .await
        .expect(400);

    let file = png(2_000);
    let body = json!({
        "media_category": "tweet_image", "media_type": "image/png",
        "total_bytes": file.len(), "additional_owners": [other.id()],
    });
    let begun = x
        .send(acme.call("POST", "/2/media/upload/initialize").json(&body))
        .await
        .expect(200);
    let shared = id_of(&begun);
    x.send(append(&acme, &shared, 0, &file)).await.expect(200);
    x.send(finalize(&acme, &shared)).await.expect(200);
    x.send(with_media(&other, "ours", &[&shared]))
        .await
        .expect(201);
    x.send(with_media(&acme, "ours", &[&shared]))
        .await
        .expect(201);
}

#[tokio::test]
async fn long_videos_are_for_premium_and_ads() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let star = x
        .user_with(&json!({"username": "star", "premium": true}))
        .await;
    let short = film(&x, &acme, "tweet_video", 140).await;
    x.send(with_media(&acme, "short", &[&short]))
        .await
        .expect(201);
    let long = film(&x, &acme, "tweet_video", 141).await;
    x.send(with_media(&acme, "long", &[&long]))
        .await
        .says(403, "longer than 2 minutes");
    let advert = film(&x, &acme, "amplify_video", 600).await;
    x.send(with_media(&acme, "advert", &[&advert]))
        .await
        .expect(201);
    let long = film(&x, &star, "tweet_video", 600).await;
    x.send(with_media(&star, "long", &[&long]))
        .await
        .expect(201);
}

#[tokio::test]
async fn replies_go_to_oneself_or_when_summoned() {
    let x = X::start().await;
    let (acme, fan) = (x.user("acme").await, x.user("fan").await);
    let root = post(&x, &acme, "root").await;
    let second = id_of(&x.send(reply(&acme, "second", &root)).await.expect(201));
    x.send(reply(&acme, "third", &second)).await.expect(201);
    let posts = x.look("/_sim/posts").await;
    assert_eq!(posts[1]["reply_to"], root);
    assert_eq!(posts[2]["reply_to"], second);
    x.send(reply(&fan, "me too", &root))
        .await
        .says(403, "not allowed");
    let call = post(&x, &acme, "hello @Fan!").await;
    x.send(reply(&fan, "me too", &call)).await.expect(201);
    x.send(reply(&acme, "to nobody", "1"))
        .await
        .says(404, "resource-not-found");
    x.send(acme.call("DELETE", &format!("/2/tweets/{root}")))
        .await
        .expect(200);
    x.send(reply(&acme, "too late", &root)).await.expect(404);
}

#[tokio::test]
async fn quotes_are_for_enterprise_and_summon() {
    let x = X::start().await;
    let (acme, fan) = (x.user("acme").await, x.user("fan").await);
    let of = post(&x, &fan, "quotable").await;
    x.send(quote(&acme, "see", &of)).await.expect(403);
    x.control("POST", "/_sim/options", &json!({"self_serve": false}))
        .await;
    let quoting = id_of(&x.send(quote(&acme, "see", &of)).await.expect(201));
    x.send(quote(&acme, "see", "1")).await.expect(404);
    x.control("POST", "/_sim/options", &json!({"self_serve": true}))
        .await;
    x.send(reply(&fan, "thanks", &quoting)).await.expect(201);
}
