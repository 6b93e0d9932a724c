//! Making and deleting posts: schema, text, duplicates.

use serde_json::json;

use crate::client::X;
use crate::media_files::{picture, with_media};

#[tokio::test]
async fn a_post_is_answered_as_x_shows_it() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let seen = x
        .send(acme.post("a & b: https://example.com/long?x=1"))
        .await;
    assert_eq!(
        seen.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert!(seen.header("date").unwrap().ends_with("GMT"));
    let data = seen.expect(201)["data"].clone();
    let id = data["id"].as_str().unwrap();
    assert_eq!(data["edit_history_tweet_ids"], json!([id]));
    let text = data["text"].as_str().unwrap();
    assert!(text.starts_with("a &amp; b: https://t.co/"), "{text}");
    assert_eq!(text.len(), "a &amp; b: ".len() + 23);
    let media = picture(&x, &acme).await;
    let shown = x
        .send(with_media(&acme, "look", &[&media]))
        .await
        .expect(201);
    assert!(
        shown["data"]["text"]
            .as_str()
            .unwrap()
            .starts_with("look https://t.co/")
    );
    let again = picture(&x, &acme).await;
    let alone = x.send(with_media(&acme, "", &[&again])).await.expect(201);
    assert!(
        alone["data"]["text"]
            .as_str()
            .unwrap()
            .starts_with("https://t.co/")
    );
    let later = x.send(acme.post("second")).await.expect(201);
    let (first, second): (u64, u64) = (
        id.parse().unwrap(),
        later["data"]["id"].as_str().unwrap().parse().unwrap(),
    );
    assert!(second > first);
}

#[tokio::test]
async fn the_schema_is_closed_at_every_level() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    for (body, path) in [
        (json!({"text": "a", "foo": 1}), "$.foo"),
        (json!({"text": 1}), "$.text"),
        (json!({"text": null}), "$.text"),
        (json!({"media": {}}), "$.media.media_ids"),
        (json!({"media": {"media_ids": []}}), "$.media.media_ids"),
        (
            json!({"media": {"media_ids": ["1", "2", "3", "4", "5"]}}),
            "$.media.media_ids",
        ),
        (json!({"media": {"media_ids": [1]}}), "$.media.media_ids"),
        (
            json!({"media": {"media_ids": ["1"], "alt": 1}}),
            "$.media.alt",
        ),
        (
            json!({"media": {"media_ids": ["1"], "tagged_user_ids": ["x"]}}),
            "$.media.tagged_user_ids",
        ),
        (
            json!({"media": {"media_ids": ["1"], "call_to_actions": {}}}),
            "$.media.call_to_actions",
        ),
        (
            json!({"media": {"media_ids": ["1"], "call_to_actions": {"visit_site": {}}}}),
            "visit_site.url",
        ),
        (
            json!({"text": "a", "reply": {}}),
            "$.reply.in_reply_to_tweet_id",
        ),
        (
            json!({"text": "a", "reply": {"in_reply_to_tweet_id": 1}}),
            "$.reply.in_reply_to_tweet_id",
        ),
        (
            json!({"text": "a", "reply": {"in_reply_to_tweet_id": "1", "x": 1}}),
            "$.reply.x",
        ),
        (
            json!({"text": "a", "poll": {"options": ["a"], "duration_minutes": 5}}),
            "$.poll.options",
        ),
        (
            json!({"text": "a", "poll": {"options": ["a", ""], "duration_minutes": 5}}),
            "$.poll.options",
        ),
        (
            json!({"text": "a", "poll": {"options": ["a", "b"], "duration_minutes": 4}}),
            "$.poll.duration",
        ),
        (
            json!({"text": "a", "poll": {"options": ["a", "b"]}}),
            "$.poll.duration",
        ),
        (
            json!({"text": "a", "reply_settings": "everyone"}),
            "$.reply_settings",
        ),
        (json!({"text": "a", "geo": {"place": "x"}}), "$.geo.place"),
        (json!({"text": "a", "community_id": "x"}), "$.community_id"),
        (
            json!({"text": "a", "made_with_ai": "yes"}),
            "$.made_with_ai",
        ),
        (
            json!({"text": "a", "quote_tweet_id": "12345678901234567890"}),
            "$.quote_tweet_id",
        ),
        (
            json!({"text": "a", "edit_options": {}}),
            "$.edit_options.previous_post_id",
        ),
    ] {
        let seen = x.send(acme.call("POST", "/2/tweets").json(&body)).await;
        seen.says(400, path);
        let answer = seen.json();
        assert!(answer["errors"][0]["parameters"].is_object(), "{answer}");
        assert_eq!(
            answer["type"],
            "https://api.x.com/2/problems/invalid-request"
        );
    }
    let both = json!({"text": 1, "foo": 2});
    let seen = x.send(acme.call("POST", "/2/tweets").json(&both)).await;
    assert_eq!(seen.json()["errors"].as_array().unwrap().len(), 2);
    let text = acme.call("POST", "/2/tweets").body("text/plain", "{}");
    x.send(text)
        .await
        .says(400, "content-type of application/json");
    x.send(acme.call("POST", "/2/tweets"))
        .await
        .says(400, "Request body must be a JSON object.");
    assert_eq!(x.posts().await, 0);
}

#[tokio::test]
async fn what_is_in_order_passes() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let body = json!({
        "text": "a poll", "reply_settings": "mentionedUsers", "made_with_ai": true,
        "paid_partnership": false, "nullcast": false, "geo": {"place_id": "df51dec6f4ee2b2c"},
        "poll": {"options": ["yes", "no"], "duration_minutes": 60, "reply_settings": "following"},
    });
    x.send(acme.call("POST", "/2/tweets").json(&body))
        .await
        .expect(201);
    let full = x.look("/_sim/posts?full=1").await;
    assert_eq!(full[0]["request"], body);
    assert!(x.look("/_sim/posts").await[0].get("request").is_none());
}

#[tokio::test]
async fn some_members_exclude_each_other() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let all = json!({
        "poll": {"options": ["a", "b"], "duration_minutes": 5},
        "media": {"media_ids": ["1"]},
        "quote_tweet_id": "1",
        "card_uri": "card://1",
        "direct_message_deep_link": "https://x.com/messages/compose?recipient_id=1",
    });
    let names: Vec<&String> = all.as_object().unwrap().keys().collect();
    for (at, one) in names.iter().enumerate() {
        for other in &names[at + 1..] {
            let mut body = json!({"text": "a"});
            body[one.as_str()] = all[one.as_str()].clone();
            body[other.as_str()] = all[other.as_str()].clone();
            let seen = x.send(acme.call("POST", "/2/tweets").json(&body)).await;
            seen.says(400, "Only one of");
        }
    }
}

#[tokio::test]
async fn text_is_weighed_and_needed() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.send(acme.post(&"x".repeat(280))).await.expect(201);
    x.send(acme.post(&"x".repeat(281)))
        .await
        .says(400, "Your Tweet text is too long.");
    x.send(acme.post(&"日".repeat(140))).await.expect(201);
    x.send(acme.post(&"日".repeat(141))).await.expect(400);
    let link = format!("https://example.com/{}", "y".repeat(300));
    x.send(acme.post(&format!("{} {link}", "x".repeat(256))))
        .await
        .expect(201);
    x.send(acme.post(&format!("{} {link}", "x".repeat(257))))
        .await
        .expect(400);
    for empty in ["", " \n ", "\u{200e}"] {
        x.send(acme.post(empty)).await.says(400, "$.text");
    }
    let star = x
        .user_with(&json!({"username": "star", "premium": true}))
        .await;
    x.send(star.post(&"x".repeat(25_000))).await.expect(201);
    x.send(star.post(&"x".repeat(25_001))).await.expect(400);
    x.send(acme.post("$AAPL and $aapl")).await.expect(201);
    x.send(acme.post("$AAPL and $MSFT"))
        .await
        .says(403, "cashtag");
}

#[tokio::test]
async fn duplicates_are_refused_for_half_a_day() {
    let x = X::start().await;
    let (acme, other) = (
        x.user_with(&json!({"username": "acme", "expires_in": 999_999}))
            .await,
        x.user("other").await,
    );
    let first = x.send(acme.post("again")).await.expect(201);
    let refused = x.send(acme.post(" again\n")).await.expect(403);
    assert_eq!(refused["type"], "about:blank");
    assert_eq!(
        refused["detail"],
        "You are not allowed to create a Tweet with duplicate content."
    );
    x.send(other.post("again")).await.expect(201);
    x.send(acme.post("Again")).await.expect(201);
    let id = first["data"]["id"].as_str().unwrap();
    let answer = json!({"text": "again", "reply": {"in_reply_to_tweet_id": id}});
    x.send(acme.call("POST", "/2/tweets").json(&answer))
        .await
        .expect(201);
    x.send(acme.call("POST", "/2/tweets").json(&answer))
        .await
        .expect(403);
    let hidden = json!({"text": "again", "nullcast": true});
    x.send(acme.call("POST", "/2/tweets").json(&hidden))
        .await
        .expect(201);

    let (one, two) = (picture(&x, &acme).await, picture(&x, &acme).await);
    x.send(with_media(&acme, "again", &[&one]))
        .await
        .expect(201);
    x.send(with_media(&acme, "again", &[&one]))
        .await
        .expect(403);
    x.send(with_media(&acme, "again", &[&two]))
        .await
        .expect(201);

    let lifted = x.send(acme.post("lifted")).await.expect(201);
    let path = format!("/2/tweets/{}", lifted["data"]["id"].as_str().unwrap());
    x.send(acme.call("DELETE", &path)).await.expect(200);
    x.send(acme.post("lifted")).await.expect(201);

    x.advance(12 * 3_600 - 60).await;
    x.send(acme.post("lifted")).await.expect(403);
    x.advance(60).await;
    x.send(acme.post("lifted")).await.expect(201);
}

#[tokio::test]
async fn only_ones_own_posts_can_be_deleted() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let made = x.send(acme.post("mine")).await.expect(201);
    let path = format!("/2/tweets/{}", made["data"]["id"].as_str().unwrap());
    x.send(other.call("DELETE", &path)).await.expect(403);
    let gone = x.send(acme.call("DELETE", &path)).await.expect(200);
    assert_eq!(gone, json!({"data": {"deleted": true}}));
    x.send(acme.call("DELETE", &path)).await.expect(404);
    x.send(acme.call("DELETE", "/2/tweets/abc"))
        .await
        .expect(400);
}

#[tokio::test]
async fn premium_users_may_edit_for_an_hour() {
    let x = X::start().await;
    let star = x
        .user_with(&json!({"username": "star", "premium": true}))
        .await;
    let acme = x.user("acme").await;
    let id = |body: &serde_json::Value| body["data"]["id"].as_str().unwrap().to_owned();
    let edit = |user: &crate::client::User, text: &str, id: &str| {
        let body = json!({"text": text, "edit_options": {"previous_post_id": id}});
        user.call("POST", "/2/tweets").json(&body)
    };
    let first = id(&x.send(star.post("frist")).await.expect(201));
    x.send(edit(&acme, "hijack", &first)).await.expect(403);
    let edited = x.send(edit(&star, "first", &first)).await.expect(201);
    let second = id(&edited);
    assert_eq!(
        edited["data"]["edit_history_tweet_ids"],
        json!([first, second])
    );
    assert_eq!(x.look("/_sim/posts").await[0]["text"], "first");
    assert_eq!(x.posts().await, 1);
    x.advance(3_600).await;
    x.send(edit(&star, "late", &second)).await.expect(403);
    let own = id(&x.send(acme.post("plain")).await.expect(201));
    x.send(edit(&acme, "no premium", &own)).await.expect(403);
}
