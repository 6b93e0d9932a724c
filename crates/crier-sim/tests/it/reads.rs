//! Reading back: what a reconciler sees.

use serde_json::{Value, json};

use crate::client::{Request, User, X};
use crate::media_files::{picture, with_media};

fn timeline(user: &User, query: &str) -> Request {
    user.call("GET", &format!("/2/users/{}/tweets{query}", user.id()))
}

fn texts(body: &Value) -> Vec<&str> {
    body["data"]
        .as_array()
        .map(|all| {
            all.iter()
                .map(|post| post["text"].as_str().unwrap())
                .collect()
        })
        .unwrap_or_default()
}

async fn many(x: &X, user: &User, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        let made = x.send(user.post(&format!("post {n}"))).await.expect(201);
        ids.push(made["data"]["id"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn a_timeline_is_newest_first_in_xs_own_form() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    x.send(acme.post("first <b> & https://example.com"))
        .await
        .expect(201);
    let media = picture(&x, &acme).await;
    x.send(with_media(&acme, "second", &[&media]))
        .await
        .expect(201);
    x.send(other.post("not mine")).await.expect(201);
    let body = x.send(timeline(&acme, "")).await.expect(200);
    let shown = texts(&body);
    assert!(shown[0].starts_with("second https://t.co/"), "{shown:?}");
    assert!(
        shown[1].starts_with("first &lt;b&gt; &amp; https://t.co/"),
        "{shown:?}"
    );
    let members: Vec<_> = body["data"][0].as_object().unwrap().keys().collect();
    assert_eq!(members.len(), 3, "id, text and history: {members:?}");
    assert_eq!(body["meta"]["result_count"], 2);
    assert_eq!(body["meta"]["newest_id"], body["data"][0]["id"]);
    assert_eq!(body["meta"]["oldest_id"], body["data"][1]["id"]);
    assert!(body["meta"].get("next_token").is_none());
    let theirs = acme.call("GET", &format!("/2/users/{}/tweets", other.id()));
    assert_eq!(texts(&x.send(theirs).await.expect(200)), ["not mine"]);
    let nobody = x.user("quiet").await;
    let empty = x.send(timeline(&nobody, "")).await.expect(200);
    assert_eq!(empty, json!({"meta": {"result_count": 0}}));
}

#[tokio::test]
async fn pages_go_both_ways_and_miss_nothing() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let ids = many(&x, &acme, 12).await;
    let newest_first: Vec<&String> = ids.iter().rev().collect();
    let mut seen = Vec::new();
    let mut query = "?max_results=5".to_owned();
    let mut previous = None;
    loop {
        let body = x.send(timeline(&acme, &query)).await.expect(200);
        for post in body["data"].as_array().unwrap() {
            seen.push(post["id"].as_str().unwrap().to_owned());
        }
        previous = body["meta"]["previous_token"]
            .as_str()
            .map(str::to_owned)
            .or(previous);
        match body["meta"]["next_token"].as_str() {
            Some(token) => query = format!("?max_results=5&pagination_token={token}"),
            None => break,
        }
    }
    assert_eq!(seen.iter().collect::<Vec<_>>(), newest_first);
    let back = format!("?max_results=5&pagination_token={}", previous.unwrap());
    let body = x.send(timeline(&acme, &back)).await.expect(200);
    assert_eq!(body["data"][0]["id"], *newest_first[5]);
    let whole = x
        .send(timeline(&acme, "?max_results=100"))
        .await
        .expect(200);
    assert_eq!(whole["meta"]["result_count"], 12);
    assert_eq!(
        x.send(timeline(&acme, "")).await.expect(200)["meta"]["result_count"],
        10
    );
}

#[tokio::test]
async fn ids_and_times_bound_a_timeline() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let mut ids = many(&x, &acme, 1).await;
    x.advance(60).await;
    let now = x.look("/_sim/clock").await["now_us"].as_i64().unwrap();
    let edge = chrono::DateTime::from_timestamp_micros(now).unwrap();
    let edge = edge.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    for text in ["a", "b"] {
        let made = x.send(acme.post(text)).await.expect(201);
        ids.push(made["data"]["id"].as_str().unwrap().to_owned());
    }
    let count = async |query: String| {
        x.send(timeline(&acme, &query)).await.expect(200)["meta"]["result_count"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count(format!("?start_time={edge}")).await, 2);
    assert_eq!(count(format!("?end_time={edge}")).await, 1);
    assert_eq!(count(format!("?since_id={}", ids[1])).await, 1);
    assert_eq!(count(format!("?until_id={}", ids[1])).await, 1);
    assert_eq!(
        count(format!("?since_id={}&start_time={edge}", ids[0])).await,
        2
    );
    assert_eq!(
        count(format!("?since_id=1&start_time={edge}")).await,
        3,
        "ids win over times"
    );
    let answer = json!({"text": "c", "reply": {"in_reply_to_tweet_id": ids[0]}});
    x.send(acme.call("POST", "/2/tweets").json(&answer))
        .await
        .expect(201);
    assert_eq!(count(String::new()).await, 4);
    assert_eq!(count("?exclude=replies,retweets".to_owned()).await, 3);
}

#[tokio::test]
async fn a_timeline_keeps_to_its_query() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    for query in [
        "max_results=4",
        "max_results=101",
        "max_results=x",
        "start_time=yesterday",
        "since_id=x",
        "exclude=quotes",
        "pagination_token=x",
        "limit=5",
    ] {
        let seen = x.send(timeline(&acme, &format!("?{query}"))).await;
        seen.says(400, query.split('=').next().unwrap());
    }
    x.send(timeline(
        &acme,
        "?tweet.fields=created_at&expansions=author_id",
    ))
    .await
    .expect(200);
    let unknown = acme.call("GET", "/2/users/1/tweets");
    let body = x.send(unknown).await.expect(200);
    assert_eq!(body["errors"][0]["resource_type"], "user");
}

#[tokio::test]
async fn new_posts_can_be_late_for_reads() {
    let x = X::with(&json!({"read_delay_ms": 20_000})).await;
    let acme = x.user("acme").await;
    let made = x.send(acme.post("soon")).await.expect(201);
    let one = format!("/2/tweets/{}", made["data"]["id"].as_str().unwrap());
    assert_eq!(
        x.send(timeline(&acme, "")).await.expect(200)["meta"]["result_count"],
        0
    );
    assert!(
        x.send(acme.call("GET", &one))
            .await
            .expect(200)
            .get("data")
            .is_none()
    );
    assert_eq!(x.posts().await, 1);
    x.advance(20).await;
    assert_eq!(
        texts(&x.send(timeline(&acme, "")).await.expect(200)),
        ["soon"]
    );
    assert_eq!(
        x.send(acme.call("GET", &one)).await.expect(200)["data"]["text"],
        "soon"
    );
}

#[tokio::test]
async fn long_posts_are_cut_unless_the_note_is_asked_for() {
    let x = X::start().await;
    let star = x
        .user_with(&json!({"username": "star", "premium": true}))
        .await;
    let long = "all work & no play. ".repeat(40);
    let made = x.send(star.post(&long)).await.expect(201);
    let id = made["data"]["id"].as_str().unwrap();
    let body = x
        .send(star.call("GET", &format!("/2/tweets/{id}")))
        .await
        .expect(200);
    let text = body["data"]["text"].as_str().unwrap();
    assert!(
        text.ends_with('…') && text.replace("&amp;", "&").chars().count() <= 280,
        "{text}"
    );
    assert!(body["data"].get("note_tweet").is_none());
    for (fields, note) in [("tweet.fields", "note_tweet"), ("post.fields", "note_post")] {
        let path = format!("/2/tweets/{id}?{fields}={note},created_at,author_id");
        let body = x.send(star.call("GET", &path)).await.expect(200);
        let whole = body["data"][note]["text"].as_str().unwrap();
        assert_eq!(whole, long.trim().replace('&', "&amp;"));
        assert_eq!(body["data"]["author_id"], star.id());
        assert!(body["data"]["created_at"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn posts_by_id_and_oneself() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "name": "Acme Inc"}))
        .await;
    let ids = many(&x, &acme, 2).await;
    let body = x
        .send(acme.call("GET", &format!("/2/tweets?ids={},{},7", ids[1], ids[0])))
        .await
        .expect(200);
    assert_eq!(texts(&body), ["post 1", "post 0"]);
    assert_eq!(body["errors"][0]["resource_id"], "7");
    x.send(acme.call("GET", "/2/tweets?ids=a"))
        .await
        .expect(400);
    x.send(acme.call("DELETE", &format!("/2/tweets/{}", ids[0])))
        .await
        .expect(200);
    let gone = x
        .send(acme.call("GET", &format!("/2/tweets/{}", ids[0])))
        .await
        .expect(200);
    assert_eq!(
        gone["errors"][0]["type"],
        "https://api.x.com/2/problems/resource-not-found"
    );
    assert_eq!(
        texts(&x.send(timeline(&acme, "")).await.expect(200)),
        ["post 1"]
    );
    let me = x.send(acme.call("GET", "/2/users/me")).await.expect(200);
    assert_eq!(
        me,
        json!({"data": {"id": acme.id(), "name": "Acme Inc", "username": "acme"}})
    );
}

#[tokio::test]
async fn nullcast_posts_are_in_no_timeline() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let body = json!({"text": "advert", "nullcast": true});
    x.send(acme.call("POST", "/2/tweets").json(&body))
        .await
        .expect(201);
    assert_eq!(
        x.send(timeline(&acme, "")).await.expect(200)["meta"]["result_count"],
        0
    );
    assert_eq!(x.posts().await, 1);
}

#[tokio::test]
async fn stored_text_is_cleaned_and_the_sent_text_is_kept() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let sent = " e\u{301}t\u{e9}\r\n\n\n\nend \u{200f}";
    x.send(acme.post(sent)).await.expect(201);
    assert_eq!(
        texts(&x.send(timeline(&acme, "")).await.expect(200)),
        ["été\n\nend"]
    );
    assert_eq!(x.look("/_sim/posts").await[0]["text"], sent);
}
