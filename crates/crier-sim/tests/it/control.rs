//! The control paths, as other parts of the project rely on them.

use serde_json::{Value, json};

use crate::client::{Request, X};

#[tokio::test]
async fn an_account_comes_with_all_its_credentials() {
    let x = X::start().await;
    let seen = x
        .send(Request::new("POST", "/_sim/accounts").json(&json!({"username": "@Acme"})))
        .await;
    let made = seen.expect(201);
    assert_eq!(made["username"], "Acme");
    assert!(
        made["id"]
            .as_str()
            .unwrap()
            .bytes()
            .all(|b| b.is_ascii_digit())
    );
    for name in [
        "client_id",
        "client_secret",
        "access_token",
        "refresh_token",
        "scope",
    ] {
        assert!(made["oauth2"][name].is_string(), "{name}");
    }
    assert_eq!(made["oauth2"]["expires_in"], 7200);
    for name in [
        "consumer_key",
        "consumer_secret",
        "access_token",
        "access_token_secret",
    ] {
        assert!(made["oauth1"][name].is_string(), "{name}");
    }
    let other = x.user("other").await;
    assert_eq!(other.oauth2("client_id"), made["oauth2"]["client_id"]);
    assert_ne!(other.id(), made["id"]);
    let again = x.user("ACME").await;
    assert_eq!(again.id(), made["id"], "a handle has no case");
    let public = x
        .user_with(&json!({"username": "p", "public": true, "scope": "tweet.read"}))
        .await;
    assert!(public.0["oauth2"].get("client_secret").is_none());
    assert!(public.0["oauth2"].get("refresh_token").is_none());
}

#[tokio::test]
async fn the_shared_app_is_the_same_after_a_restart() {
    let (one, two) = (X::start().await, X::start().await);
    let (one, two) = (one.user("a").await, two.user("b").await);
    for name in ["client_id", "client_secret"] {
        assert_eq!(one.oauth2(name), two.oauth2(name));
    }
    assert_eq!(one.oauth1("consumer_key"), two.oauth1("consumer_key"));
    assert_ne!(one.oauth2("access_token"), two.oauth2("access_token"));
}

#[tokio::test]
async fn posts_are_listed_as_sent_in_order_without_the_deleted() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let first = x
        .send(acme.post("first & https://example.com"))
        .await
        .expect(201);
    x.send(other.post("second")).await.expect(201);
    x.send(acme.post("third")).await.expect(201);
    let posts = x.look("/_sim/posts").await;
    assert_eq!(posts[0]["text"], "first & https://example.com");
    assert_eq!(posts[0]["account"], "acme");
    assert_eq!(posts[0]["media"], json!([]));
    assert_eq!(posts[0]["reply_to"], Value::Null);
    assert_eq!(posts[0]["id"], first["data"]["id"]);
    assert!(posts[0]["received_at_us"].as_i64().unwrap() > 1_700_000_000_000_000);
    assert_eq!(posts[1]["text"], "second");
    let id = first["data"]["id"].as_str().unwrap();
    x.send(acme.call("DELETE", &format!("/2/tweets/{id}")))
        .await
        .expect(200);
    let posts = x.look("/_sim/posts").await;
    let texts: Vec<_> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| &post["text"])
        .collect();
    assert_eq!(texts, ["second", "third"]);
}

#[tokio::test]
async fn every_call_is_recorded_and_counted_and_control_calls_are_not() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.send(acme.call("GET", "/2/users/me?user.fields=id"))
        .await
        .expect(200);
    x.send(Request::new("GET", "/2/users/me")).await.expect(401);
    x.send(Request::new("GET", "/2/nothing")).await.expect(404);
    let all = x.look("/_sim/requests").await;
    assert_eq!(all.as_array().unwrap().len(), 3);
    assert_eq!(all[0]["method"], "GET");
    assert_eq!(all[0]["path"], "/2/users/me?user.fields=id");
    assert_eq!(all[0]["route"], "GET /2/users/me");
    assert_eq!(all[0]["account"], "acme");
    assert_eq!(all[0]["status"], 200);
    assert_eq!(all[0]["fault"], Value::Null);
    assert!(all[0]["received_at_us"].is_i64());
    assert_eq!(all[1]["account"], Value::Null);
    assert_eq!(all[1]["status"], 401);
    assert_eq!(all[2]["route"], Value::Null);
    let stats = x.look("/_sim/stats").await;
    assert_eq!(
        stats["routes"]["GET /2/users/me"],
        json!({"200": 1, "401": 1})
    );
    for name in [
        "refreshes",
        "posts",
        "appends",
        "resent_segments",
        "live_sessions",
    ] {
        assert_eq!(stats[name], 0, "{name}");
    }
}

#[tokio::test]
async fn the_clock_moves_whole() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let set = x
        .control(
            "POST",
            "/_sim/clock",
            &json!({"set_us": 1_900_000_000_000_000_i64}),
        )
        .await;
    assert!(set["now_us"].as_i64().unwrap() >= 1_900_000_000_000_000);
    x.send(acme.post("too late")).await.expect(401);
    let later = x.user("later").await;
    let seen = x.send(later.post("in 2030")).await;
    let id: u64 = seen.expect(201)["data"]["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let born_ms = (id >> 22) + 1_288_834_974_657;
    assert!((1_900_000_000_000..1_900_000_060_000).contains(&born_ms));
    assert_eq!(seen.header("date").unwrap().split(' ').nth(3), Some("2030"));
    let at = x.look("/_sim/posts").await[0]["received_at_us"]
        .as_i64()
        .unwrap();
    assert!((1_900_000_000_000_000..1_900_000_060_000_000).contains(&at));
    x.control("POST", "/_sim/clock", &json!({"advance_s": 0.5}))
        .await;
    for bad in [
        json!({}),
        json!({"set_us": -1}),
        json!({"advance_s": 1, "set_us": 1}),
    ] {
        x.send(Request::new("POST", "/_sim/clock").json(&bad))
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn a_reset_forgets_all_and_goes_on() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.send(acme.post("gone")).await.expect(201);
    x.fault(&json!({"route": "*", "kind": "request_lost", "times": 99}))
        .await;
    x.control("POST", "/_sim/reset", &Value::Null).await;
    assert_eq!(x.posts().await, 0);
    assert_eq!(x.look("/_sim/requests").await, json!([]));
    x.send(acme.post("still?")).await.expect(401);
    let acme = x.user("acme").await;
    x.send(acme.post("here")).await.expect(201);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_a_reason() {
    let x = X::start().await;
    for (path, body, part) in [
        ("/_sim/accounts", r#"{"username": "a b"}"#, "`a b`"),
        ("/_sim/accounts", r#"{"user": "a"}"#, "unknown field `user`"),
        (
            "/_sim/accounts",
            r#"{"username": "a", "limits": {"POST /2": {}}}"#,
            "`POST /2/tweets`",
        ),
        (
            "/_sim/faults",
            r#"{"route": "POST /2", "kind": "cut"}"#,
            "`POST /2/tweets`",
        ),
        (
            "/_sim/faults",
            r#"{"route": "*", "kind": "cat"}"#,
            "`request_lost`",
        ),
        (
            "/_sim/limits",
            r#"{"account": "nobody", "route": "POST /2/tweets"}"#,
            "nobody",
        ),
        ("/_sim/options", r#"{"speed": 1}"#, "`speed`"),
        ("/_sim/clock", "", "not usable"),
    ] {
        let request = Request::new("POST", path).body("application/json", body);
        x.send(request).await.says(400, part);
    }
    x.send(Request::new("GET", "/_sim/nowhere"))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_script_sets_up_accounts_faults_and_options() {
    let x = X::with(&json!({
        "accounts": [{"username": "acme", "access_token": "known", "refresh_token": "too"}],
        "faults": [{"route": "GET /2/users/me", "kind": "answer", "status": 503}],
        "too_long_is_forbidden": true,
    }))
    .await;
    let me = Request::new("GET", "/2/users/me").bearer("known");
    x.send(me.clone()).await.expect(503);
    assert_eq!(x.send(me).await.expect(200)["data"]["username"], "acme");
    let long = Request::new("POST", "/2/tweets").bearer("known");
    x.send(long.json(&json!({"text": "x".repeat(281)})))
        .await
        .expect(403);
    assert_eq!(x.look("/_sim/options").await["read_delay_ms"], 0);
    assert_eq!(x.look("/_sim/accounts").await[0]["username"], "acme");
}

#[tokio::test]
async fn the_readme_tells_every_option() {
    let x = X::start().await;
    let options = x.look("/_sim/options").await;
    let readme = include_str!("../../README.md");
    for name in options.as_object().unwrap().keys() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}
