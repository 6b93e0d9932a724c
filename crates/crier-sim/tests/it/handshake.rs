//! OAuth 1.0a in three legs: question, page, answer, access token, end.

use serde_json::json;
use url::Url;

use crate::client::{Request, Seen, User, X};
use crate::sign::{Keys, now_s};

const CALLBACK: &str = "http://127.0.0.1:9/callback?mine=1";

/// A request token and its secret, or an access token and its own.
struct Pair {
    token: String,
    secret: String,
}

fn member(seen: &Seen, name: &str) -> String {
    url::form_urlencoded::parse(&seen.body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap()
}

#[track_caller]
fn pair(seen: &Seen) -> Pair {
    assert_eq!(
        seen.status,
        200,
        "{:?}",
        String::from_utf8_lossy(&seen.body)
    );
    Pair {
        token: member(seen, "oauth_token"),
        secret: member(seen, "oauth_token_secret"),
    }
}

async fn ask(x: &X, user: &User, extra: &[(&str, &str)]) -> Seen {
    let request = Request::new("POST", "/oauth/request_token");
    Keys::app(user).send(x, request, extra).await
}

async fn asked(x: &X, user: &User, callback: &str) -> Pair {
    let seen = ask(x, user, &[("oauth_callback", callback)]).await;
    let pair = pair(&seen);
    assert_eq!(member(&seen, "oauth_callback_confirmed"), "true");
    pair
}

async fn press(x: &X, token: &str, more: &[(&str, &str)]) -> Seen {
    let form = [&[("oauth_token", token)], more].concat();
    x.send(Request::new("POST", "/oauth/authorize").form(&form))
        .await
}

fn location(seen: &Seen) -> Url {
    assert_eq!(
        seen.status,
        302,
        "{:?}",
        String::from_utf8_lossy(&seen.body)
    );
    Url::parse(seen.header("location").unwrap()).unwrap()
}

fn in_query(url: &Url, name: &str) -> Option<String> {
    let found = url.query_pairs().find(|(key, _)| key == name)?;
    Some(found.1.into_owned())
}

fn pin(seen: &Seen) -> String {
    assert_eq!(seen.status, 200);
    let html = String::from_utf8_lossy(&seen.body).into_owned();
    let (_, rest) = html.split_once("id=\"pin\">").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

async fn redeem(x: &X, user: &User, asked: &Pair, extra: &[(&str, &str)]) -> Seen {
    let keys = Keys {
        token: &asked.token,
        token_secret: &asked.secret,
        ..Keys::app(user)
    };
    let request = Request::new("POST", "/oauth/access_token");
    keys.send(x, request, extra).await
}

#[tokio::test]
async fn a_callback_carries_a_verifier_that_becomes_a_token_once() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "redirect_uris": [CALLBACK]}))
        .await;
    x.user("other").await;
    let asked = asked(&x, &acme, CALLBACK).await;
    let path = format!(
        "/oauth/authenticate?oauth_token={}&force_login=true&screen_name=other",
        asked.token
    );
    let page = x.send(Request::new("GET", &path)).await;
    page.says(200, "<option value=\"other\" selected>");
    page.says(200, "Authorize app");
    press(&x, &asked.token, &[]).await.says(400, "`account`");
    let back = location(&press(&x, &asked.token, &[("account", "other")]).await);
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    assert_eq!(in_query(&back, "oauth_token").unwrap(), asked.token);
    let verifier = in_query(&back, "oauth_verifier").unwrap();
    press(&x, &asked.token, &[("account", "acme")])
        .await
        .says(400, "answered already");

    let seen = redeem(&x, &acme, &asked, &[("oauth_verifier", &verifier)]).await;
    let access = pair(&seen);
    assert_eq!(member(&seen, "screen_name"), "other");
    let other = x.look("/_sim/accounts").await[1]["id"].clone();
    assert_eq!(json!(member(&seen, "user_id")), other);
    redeem(&x, &acme, &asked, &[("oauth_verifier", &verifier)])
        .await
        .says(401, "\"code\":89");

    let keys = Keys {
        token: &access.token,
        token_secret: &access.secret,
        ..Keys::app(&acme)
    };
    let post = Request::new("POST", "/2/tweets").json(&json!({"text": "signed in three legs"}));
    keys.send(&x, post, &[]).await.expect(201);
    assert_eq!(x.look("/_sim/posts").await[0]["account"], "other");
}

#[tokio::test]
async fn without_a_callback_the_page_shows_a_pin() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let first = asked(&x, &acme, "oob").await;
    let number = pin(&press(&x, &first.token, &[]).await);
    assert!(number.len() == 7 && number.bytes().all(|byte| byte.is_ascii_digit()));
    // In the form as some clients send it, with the token beside it.
    let keys = Keys {
        token: &first.token,
        token_secret: &first.secret,
        ..Keys::app(&acme)
    };
    let form = Request::new("POST", "/oauth/access_token")
        .form(&[("oauth_verifier", &number), ("oauth_token", &first.token)]);
    let access = pair(&keys.send(&x, form, &[]).await);
    // A user has one token per app; it is shown again at the next login.
    assert_eq!(access.token, acme.oauth1("access_token"));

    let second = asked(&x, &acme, "oob").await;
    pin(&press(&x, &second.token, &[]).await);
    redeem(&x, &acme, &second, &[("oauth_verifier", "1")])
        .await
        .says(401, "oauth_verifier");
    let unanswered = asked(&x, &acme, "oob").await;
    redeem(&x, &acme, &unanswered, &[]).await.expect(401);
}

#[tokio::test]
async fn a_no_goes_back_as_a_no() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let with = asked(&x, &acme, CALLBACK).await;
    let back = location(&press(&x, &with.token, &[("decision", "deny")]).await);
    assert_eq!(in_query(&back, "denied").unwrap(), with.token);
    assert!(in_query(&back, "oauth_verifier").is_none());
    redeem(&x, &acme, &with, &[("oauth_verifier", "x")])
        .await
        .says(401, "\"code\":89");
    let without = asked(&x, &acme, "oob").await;
    press(&x, &without.token, &[("decision", "deny")])
        .await
        .says(200, "denied");
}

#[tokio::test]
async fn questions_that_cannot_be_trusted_are_refused_by_their_codes() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "redirect_uris": [CALLBACK]}))
        .await;
    ask(&x, &acme, &[]).await.says(403, "oauth_callback");
    for callback in ["http://127.0.0.1:9/other", "nonsense"] {
        ask(&x, &acme, &[("oauth_callback", callback)])
            .await
            .says(403, "\"code\":415");
    }
    let oob = [("oauth_callback", "oob")];
    let good = Keys::app(&acme);
    let request = || Request::new("POST", "/oauth/request_token");
    let wrong = Keys {
        secret: "wrong",
        ..good
    };
    wrong
        .send(&x, request(), &oob)
        .await
        .says(401, "\"code\":32");
    let unknown = Keys {
        key: "nobody",
        ..good
    };
    unknown
        .send(&x, request(), &oob)
        .await
        .says(401, "\"code\":32");
    let host = x.addr.to_string();
    let stale = good.sign(request(), &host, now_s(&x).await - 400, "old", &oob);
    x.send(stale).await.says(401, "\"code\":135");
    x.send(request()).await.says(401, "\"code\":215");
    let none = Keys {
        token: "nonsense",
        ..good
    };
    let access = Request::new("POST", "/oauth/access_token");
    none.send(&x, access, &[]).await.says(401, "\"code\":89");
    let late = asked(&x, &acme, "oob").await;
    x.advance(901).await;
    press(&x, &late.token, &[]).await.says(400, "too old");
}

#[tokio::test]
async fn a_read_only_app_hands_out_tokens_that_read() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let seen = ask(
        &x,
        &acme,
        &[("oauth_callback", "oob"), ("x_auth_access_type", "read")],
    )
    .await;
    let asked = pair(&seen);
    let number = pin(&press(&x, &asked.token, &[]).await);
    let access = pair(&redeem(&x, &acme, &asked, &[("oauth_verifier", &number)]).await);
    let keys = Keys {
        token: &access.token,
        token_secret: &access.secret,
        ..Keys::app(&acme)
    };
    let me = || Request::new("GET", "/2/users/me");
    keys.send(&x, me(), &[]).await.expect(200);
    let post = Request::new("POST", "/2/tweets").json(&json!({"text": "no"}));
    keys.send(&x, post, &[])
        .await
        .says(403, "oauth1-permissions");

    let invalidate = || {
        Request::new("POST", "/1.1/oauth/invalidate_token.json")
            .form(&[("access_token", &access.token)])
    };
    let body = keys.send(&x, invalidate(), &[]).await.expect(200);
    assert_eq!(body, json!({"access_token": access.token}));
    for request in [me(), invalidate()] {
        keys.send(&x, request, &[]).await.says(401, "\"code\":89");
    }
}
