//! v1.1: a post and its picture in one call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Request, Seen, User, X};
use crate::media_files::{gif, png, sha256};
use crate::sign::Keys;

const PATH: &str = "/1.1/statuses/update_with_media.json";

async fn send(x: &X, user: &User, parts: &[(&str, &str)], files: &[&[u8]]) -> Seen {
    let request = Request::new("POST", PATH).v1_form(parts, files);
    Keys::user(user).send(x, request, &[]).await
}

async fn say(x: &X, user: &User, status: &str) -> Seen {
    send(x, user, &[("status", status)], &[&png(600)]).await
}

fn allowance(seen: &Seen) -> (u32, u32, i64) {
    let of = |name: &str| {
        let header = seen.header(&format!("x-mediaratelimit-{name}"));
        header.unwrap().to_owned()
    };
    (
        of("limit").parse().unwrap(),
        of("remaining").parse().unwrap(),
        of("reset").parse().unwrap(),
    )
}

#[tokio::test]
async fn a_post_with_its_picture_is_answered_in_the_old_form() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let seen = send(
        &x,
        &acme,
        &[
            ("status", "Tom & Jerry https://example.com/x"),
            ("possibly_sensitive", "true"),
            ("lat", "37.5"),
            ("long", "-122.25"),
            ("display_coordinates", "true"),
            ("place_id", "df51dec6f4ee2b2c"),
        ],
        &[&png(700)],
    )
    .await;
    let tweet = seen.expect(200);
    assert_eq!(tweet["id"].as_u64().unwrap().to_string(), tweet["id_str"]);
    assert_eq!(tweet["user"]["id_str"], acme.id());
    assert_eq!(tweet["user"]["screen_name"], "acme");
    let text = tweet["text"].as_str().unwrap();
    assert!(text.starts_with("Tom &amp; Jerry https://t.co/"), "{text}");
    let media = &tweet["entities"]["media"][0];
    assert!(text.ends_with(media["url"].as_str().unwrap()), "{text}");
    assert_eq!(media["type"], "photo");
    assert_eq!(media["sizes"]["large"]["w"], 640);
    let url = &tweet["entities"]["urls"][0];
    assert_eq!(url["expanded_url"], "https://example.com/x");
    assert!(text.contains(url["url"].as_str().unwrap()));
    assert_eq!(url["indices"], json!([12, 35]));
    assert_eq!(tweet["possibly_sensitive"], true);
    assert_eq!(tweet["geo"]["coordinates"], json!([37.5, -122.25]));
    assert_eq!(tweet["coordinates"]["coordinates"], json!([-122.25, 37.5]));
    assert_eq!(tweet["place"]["id"], "df51dec6f4ee2b2c");

    let posts = x.look("/_sim/posts?full=1").await;
    assert_eq!(posts[0]["text"], "Tom & Jerry https://example.com/x");
    assert_eq!(posts[0]["media"][0]["sha256"], sha256(&png(700)));
    assert_eq!(posts[0]["media"][0]["bytes"], 700);
    assert_eq!(posts[0]["request"]["place_id"], "df51dec6f4ee2b2c");
    let path = format!("/2/tweets/{}", tweet["id_str"].as_str().unwrap());
    let read = x.send(acme.call("GET", &path)).await.expect(200);
    assert_eq!(read["data"]["text"], tweet["text"]);
}

#[tokio::test]
async fn pictures_may_be_raw_or_base64_and_keep_to_the_configuration() {
    let options = json!({"v1_max_media_per_upload": 2, "v1_photo_size_limit": 5_000_000});
    let x = X::with(&options).await;
    let acme = x.user("acme").await;
    let request = Request::new("GET", "/1.1/help/configuration.json");
    let seen = Keys::user(&acme).send(&x, request, &[]).await;
    let figures = seen.expect(200);
    assert_eq!(figures["max_media_per_upload"], 2);
    assert_eq!(figures["photo_size_limit"], 5_000_000);
    assert_eq!(figures["characters_reserved_per_media"], 24);
    assert_eq!(figures["short_url_length"], 23);
    assert_eq!(seen.header("x-rate-limit-limit"), Some("15"));

    let coded = STANDARD.encode(png(800));
    let both: [&[u8]; 2] = [&png(700), coded.as_bytes()];
    let tweet = send(&x, &acme, &[("status", "two")], &both)
        .await
        .expect(200);
    assert_eq!(tweet["entities"]["media"].as_array().unwrap().len(), 2);
    let posts = x.look("/_sim/posts").await;
    assert_eq!(posts[0]["media"][1]["sha256"], sha256(&png(800)));

    for (files, status, part) in [
        (vec![png(1), png(2), png(3)], 403, "max_media_per_upload"),
        (vec![png(5_000_001)], 403, "\"code\":193"),
        (vec![gif((3 << 20) + 1)], 403, "\"code\":193"),
        (vec![gif(900), png(900)], 403, "\"code\":323"),
        (vec![b"RIFF1234WEBP".to_vec()], 400, "\"code\":324"),
        (vec![b"no picture at all".to_vec()], 400, "\"code\":324"),
        (vec![], 403, "media[] parameter is missing"),
    ] {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        send(&x, &acme, &[("status", part)], &files)
            .await
            .says(status, part);
    }
    send(&x, &acme, &[], &[&png(600)])
        .await
        .says(403, "status parameter is missing");
    send(&x, &acme, &[("status", "gif")], &[&gif(3 << 20)])
        .await
        .expect(200);
    assert_eq!(x.posts().await, 2);
}

#[tokio::test]
async fn every_403_has_its_own_words() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    say(&x, &acme, "once").await.expect(200);
    say(&x, &acme, "once").await.says(403, "\"code\":187");
    say(&x, &acme, &"a".repeat(281))
        .await
        .says(403, "needs to be a bit shorter.\"");
    say(&x, &acme, &"a".repeat(257))
        .await
        .says(403, "cannot be appended without text truncation");
    say(&x, &acme, &"a".repeat(256)).await.expect(200);
    send(
        &x,
        &acme,
        &[("status", "x"), ("possibly_sensitive", "maybe")],
        &[&png(600)],
    )
    .await
    .says(400, "\"code\":44");

    let limit = json!({"account": "acme", "route": format!("POST {PATH}"), "media_24h": 4, "media_24h_remaining": 1});
    x.control("POST", "/_sim/limits", &limit).await;
    let last = say(&x, &acme, "the last picture").await;
    last.expect(200);
    let (limit, remaining, reset) = allowance(&last);
    assert_eq!((limit, remaining), (4, 0));
    let now = crate::sign::now_s(&x).await;
    assert!((now + 86_398..=now + 86_400).contains(&reset));
    let over = say(&x, &acme, "one too many").await;
    over.says(403, "over daily media upload limit");
    assert_eq!(allowance(&over), (4, 0, reset));
    x.advance(86_401).await;
    say(&x, &acme, "one too many").await.expect(200);

    let limit = json!({"account": "acme", "route": format!("POST {PATH}"), "user_24h": 9, "user_24h_remaining": 0});
    x.control("POST", "/_sim/limits", &limit).await;
    say(&x, &acme, "a status too many")
        .await
        .says(403, "\"code\":185");
    let limit = json!({"account": "acme", "route": format!("POST {PATH}"), "user_24h_remaining": 9, "limit": 1, "remaining": 0});
    x.control("POST", "/_sim/limits", &limit).await;
    let window = say(&x, &acme, "too soon").await;
    window.says(429, "\"code\":88");
    assert_eq!(window.header("x-rate-limit-remaining"), Some("0"));
}

#[tokio::test]
async fn a_reply_needs_the_mention_of_its_author() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let first = x.send(other.post("first")).await.expect(201);
    let id = first["data"]["id"].as_str().unwrap();
    let without = send(
        &x,
        &acme,
        &[("status", "no name"), ("in_reply_to_status_id", id)],
        &[&png(600)],
    )
    .await
    .expect(200);
    assert_eq!(without["in_reply_to_status_id"], Value::Null);
    let with = send(
        &x,
        &acme,
        &[("status", "hi @Other"), ("in_reply_to_status_id", id)],
        &[&png(600)],
    )
    .await
    .expect(200);
    assert_eq!(with["in_reply_to_status_id_str"], id);
    assert_eq!(with["in_reply_to_screen_name"], "other");
    assert_eq!(with["entities"]["user_mentions"][0]["id_str"], other.id());
    assert_eq!(x.look("/_sim/posts").await[2]["reply_to"], id);
    send(
        &x,
        &acme,
        &[("status", "@other"), ("in_reply_to_status_id", "1")],
        &[&png(600)],
    )
    .await
    .says(403, "\"code\":385");
}

#[tokio::test]
async fn only_oauth_1_opens_it_and_only_where_it_is_left() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let form = |request: Request| request.v1_form(&[("status", "hi")], &[&png(600)]);
    x.send(form(acme.call("POST", PATH)))
        .await
        .says(403, "\"code\":220");
    x.send(form(Request::new("POST", PATH)))
        .await
        .says(401, "\"code\":215");
    let reader = x
        .user_with(&json!({"username": "r", "client_id": "r", "oauth1_access": "read"}))
        .await;
    say(&x, &reader, "no").await.says(403, "\"code\":261");
    x.send(Request::new("GET", "/1.1/statuses/home_timeline.json"))
        .await
        .says(404, "\"code\":34");
    x.control("POST", "/_sim/options", &json!({"v1": false}))
        .await;
    say(&x, &acme, "no").await.says(403, "\"code\":453");
    assert_eq!(x.posts().await, 0);
}
