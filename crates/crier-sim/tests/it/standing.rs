//! Users and apps that X does not deal with, and consent that is taken back.

use serde_json::{Value, json};

use crate::client::{Request, User, X};
use crate::media_files::png;
use crate::sign::Keys;
use crate::tokens::basic;

async fn stand(x: &X, name: &str, who: &str, state: &str) {
    let body = json!({name: who, "state": state});
    x.control("POST", "/_sim/standing", &body).await;
}

fn me(user: &User) -> Request {
    user.call("GET", "/2/users/me")
}

fn v1() -> Request {
    Request::new("POST", "/1.1/statuses/update_with_media.json")
        .v1_form(&[("status", "hi")], &[&png(600)])
}

fn last_segment(body: &Value) -> &str {
    body["type"].as_str().unwrap().rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_suspended_or_locked_user_is_refused_everything_until_freed() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    stand(&x, "account", "@acme", "suspended").await;
    for request in [me(&acme), acme.post("no")] {
        let body = x.send(request).await.expect(403);
        assert_eq!(last_segment(&body), "user-suspended");
    }
    Keys::user(&acme)
        .send(&x, v1(), &[])
        .await
        .says(403, "\"code\":64");
    stand(&x, "account", "acme", "locked").await;
    x.send(acme.post("no")).await.says(403, "\"code\":326");
    Keys::user(&acme)
        .send(&x, v1(), &[])
        .await
        .says(403, "\"code\":326");
    x.send(other.post("yes")).await.expect(201);
    stand(&x, "account", "acme", "active").await;
    x.send(acme.post("yes")).await.expect(201);
}

#[tokio::test]
async fn a_restricted_user_reads_and_a_silenced_one_is_told_lies() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    stand(&x, "account", "acme", "read_only").await;
    x.send(me(&acme)).await.expect(200);
    x.send(acme.post("no"))
        .await
        .says(403, "You are not permitted to perform this action.");
    stand(&x, "account", "acme", "silenced").await;
    let body = x.send(acme.post("into the void")).await.expect(201);
    let path = format!("/2/tweets/{}", body["data"]["id"].as_str().unwrap());
    let read = x.send(acme.call("GET", &path)).await.expect(200);
    assert!(read["errors"].is_array());
    assert_eq!(x.posts().await, 0);
}

#[tokio::test]
async fn a_suspended_or_unenrolled_app_is_refused_for_all_its_users() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let other = x
        .user_with(&json!({"username": "o", "client_id": "other-app"}))
        .await;
    let app = acme.oauth2("client_id").to_owned();
    stand(&x, "client_id", &app, "not_enrolled").await;
    let body = x.send(acme.post("no")).await.expect(403);
    assert_eq!(last_segment(&body), "client-forbidden");
    assert_eq!(body["reason"], "client-not-enrolled");
    assert_eq!(body["client_id"], app);
    Keys::user(&acme)
        .send(&x, v1(), &[])
        .await
        .says(403, "\"code\":453");
    stand(&x, "client_id", &app, "suspended").await;
    let body = x.send(acme.post("no")).await.expect(403);
    assert_eq!(last_segment(&body), "app-suspended");
    let signed = || Request::new("GET", "/2/users/me");
    for request in [signed(), Request::new("POST", "/oauth/request_token")] {
        Keys::user(&acme)
            .send(&x, request, &[])
            .await
            .says(401, "\"code\":416");
    }
    x.send(other.post("yes")).await.expect(201);
    stand(&x, "client_id", &app, "active").await;
    x.send(acme.post("yes")).await.expect(201);
}

#[tokio::test]
async fn consent_taken_back_ends_every_token_of_the_user() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let elsewhere = x
        .user_with(&json!({"username": "acme", "client_id": "other-app"}))
        .await;
    let one = json!({"account": "acme", "client_id": acme.oauth2("client_id")});
    x.control("POST", "/_sim/revoke", &one).await;
    x.send(me(&acme)).await.expect(401);
    let refresh = Request::new("POST", "/2/oauth2/token")
        .header("authorization", &basic(&acme))
        .form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", acme.oauth2("refresh_token")),
        ]);
    x.send(refresh).await.says(400, "invalid_request");
    let signed = Request::new("GET", "/2/users/me");
    Keys::user(&acme)
        .send(&x, signed.clone(), &[])
        .await
        .says(401, "\"code\":89");
    x.send(me(&elsewhere)).await.expect(200);
    x.send(me(&other)).await.expect(200);
    x.control("POST", "/_sim/revoke", &json!({"account": "acme"}))
        .await;
    x.send(me(&elsewhere)).await.expect(401);
    let again = x.user("acme").await;
    x.send(me(&again)).await.expect(200);
}

#[tokio::test]
async fn controls_that_make_no_sense_are_refused() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let app = acme.oauth2("client_id");
    for (path, body, part) in [
        (
            "standing",
            json!({"account": "acme", "state": "sad"}),
            "`sad`",
        ),
        (
            "standing",
            json!({"client_id": app, "state": "locked"}),
            "`locked`",
        ),
        (
            "standing",
            json!({"account": "b", "state": "active"}),
            "`b`",
        ),
        (
            "standing",
            json!({"client_id": "b", "state": "active"}),
            "`b`",
        ),
        ("standing", json!({"state": "active"}), "give either"),
        ("credits", json!({"client_id": "b", "usd": 1}), "`b`"),
        (
            "credits",
            json!({"client_id": app, "usd": 1e300}),
            "usable number",
        ),
        ("credits", json!({"client_id": app, "owner": "b"}), "`b`"),
        ("revoke", json!({"account": "b"}), "`b`"),
    ] {
        let request = Request::new("POST", &format!("/_sim/{path}")).json(&body);
        x.send(request).await.says(400, part);
    }
}
