//! OAuth 2.0: tokens, their rotation, codes with PKCE, scopes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::client::{Request, Seen, User, X};

pub(crate) fn basic(user: &User) -> String {
    let pair = format!(
        "{}:{}",
        user.oauth2("client_id"),
        user.oauth2("client_secret")
    );
    format!("Basic {}", STANDARD.encode(pair))
}

fn refresh(user: &User, token: &str) -> Request {
    Request::new("POST", "/2/oauth2/token")
        .header("authorization", &basic(user))
        .form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

#[tokio::test]
async fn a_refresh_rotates_and_spends() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let old = acme.oauth2("refresh_token").to_owned();
    let seen = x.send(refresh(&acme, &old)).await;
    let body = seen.expect(200);
    assert_eq!(
        seen.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["expires_in"], 7200);
    assert_eq!(body["scope"], acme.oauth2("scope"));
    let new = body["refresh_token"].as_str().unwrap();
    assert_ne!(new, old);
    let spent = x.send(refresh(&acme, &old)).await.expect(400);
    assert_eq!(
        spent,
        json!({"error": "invalid_request", "error_description": "Value passed for the token was invalid."})
    );
    let access = body["access_token"].as_str().unwrap();
    let me = |token: &str| Request::new("GET", "/2/users/me").bearer(token);
    x.send(me(access)).await.expect(200);
    x.send(me(acme.oauth2("access_token"))).await.expect(200);
    x.send(refresh(&acme, new)).await.expect(200);
    assert_eq!(x.look("/_sim/stats").await["refreshes"], 2);
}

#[tokio::test]
async fn the_app_must_prove_itself_before_the_token_counts() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let token = acme.oauth2("refresh_token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let bare = Request::new("POST", "/2/oauth2/token");
    let missing = x.send(bare.clone().form(&form)).await.expect(401);
    assert_eq!(
        missing,
        json!({"error": "unauthorized_client", "error_description": "Missing valid authorization header"})
    );
    let named = [form[0], form[1], ("client_id", acme.oauth2("client_id"))];
    let missing = x.send(bare.clone().form(&named)).await.expect(401);
    assert_eq!(missing["error"], "unauthorized_client");
    let wrong = bare
        .clone()
        .header("authorization", "Basic YTpi")
        .form(&form);
    assert_eq!(x.send(wrong).await.expect(401)["error"], "invalid_client");
    let none = bare
        .header("authorization", &basic(&acme))
        .json(&json!({"refresh_token": token}));
    x.send(none).await.says(400, "grant_type");
    let other = x
        .user_with(&json!({"username": "o", "client_id": "other"}))
        .await;
    x.send(refresh(&other, token))
        .await
        .says(400, "Value passed for the token");
    x.send(refresh(&acme, token)).await.expect(200);
}

#[tokio::test]
async fn a_public_client_names_itself_in_the_body() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "public": true}))
        .await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", acme.oauth2("refresh_token")),
        ("client_id", acme.oauth2("client_id")),
    ];
    let bare = Request::new("POST", "/2/oauth2/token");
    x.send(bare.clone().form(&form[..2])).await.expect(401);
    x.send(bare.form(&form)).await.expect(200);
}

#[tokio::test]
async fn access_tokens_expire_and_unknown_ones_are_refused_alike() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "expires_in": 60}))
        .await;
    let me = acme.call("GET", "/2/users/me");
    x.send(me.clone()).await.expect(200);
    x.advance(61).await;
    let expired = x.send(me).await;
    let unknown = x
        .send(Request::new("GET", "/2/users/me").bearer("nonsense"))
        .await;
    let none = x.send(Request::new("GET", "/2/users/me")).await;
    for seen in [expired, unknown, none] {
        assert_eq!(
            seen.expect(401),
            json!({"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"})
        );
    }
    let body = x
        .send(refresh(&acme, acme.oauth2("refresh_token")))
        .await
        .expect(200);
    assert_eq!(body["expires_in"], 60);
}

#[tokio::test]
async fn scopes_are_checked_by_route() {
    let x = X::start().await;
    let reader = x
        .user_with(&json!({"username": "r", "scope": "tweet.read users.read"}))
        .await;
    x.send(reader.call("GET", "/2/users/me")).await.expect(200);
    let no = x.send(reader.post("no")).await.expect(403);
    assert_eq!(
        (&no["type"], &no["title"]),
        (&json!("about:blank"), &json!("Forbidden"))
    );
    let writer = x
        .user_with(&json!({"username": "w", "scope": "tweet.read users.read tweet.write"}))
        .await;
    x.send(writer.post("yes")).await.expect(201);
    let media = writer
        .call("POST", "/2/media/upload/initialize")
        .json(&json!({}));
    x.send(media).await.expect(403);
}

#[tokio::test]
async fn revoking_ends_a_grant() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let revoke = |token: &str| {
        Request::new("POST", "/2/oauth2/revoke")
            .header("authorization", &basic(&acme))
            .form(&[("token", token), ("token_type_hint", "refresh_token")])
    };
    let body = x
        .send(revoke(acme.oauth2("refresh_token")))
        .await
        .expect(200);
    assert_eq!(body, json!({"revoked": true}));
    x.send(acme.call("GET", "/2/users/me")).await.expect(401);
    x.send(refresh(&acme, acme.oauth2("refresh_token")))
        .await
        .expect(400);
}

const CALLBACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-in-length";

/// Clicks through the page as a browser would and gives the code.
async fn consent(x: &X, user: &User, extra: &[(&str, &str)]) -> Seen {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", user.oauth2("client_id")),
        ("redirect_uri", CALLBACK),
        ("scope", "tweet.read users.read offline.access"),
        ("state", "st&te"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    query.retain(|(name, _)| extra.iter().all(|(other, _)| other != name));
    query.extend(extra);
    let encoded = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&query)
        .finish();
    let page = x
        .send(Request::new(
            "GET",
            &format!("/i/oauth2/authorize?{encoded}"),
        ))
        .await;
    if page.status != 200 {
        return page;
    }
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("Authorize app"), "{html}");
    let mut form: Vec<(String, String)> = Vec::new();
    for hidden in html.split("<input type=\"hidden\" name=\"").skip(1) {
        let (name, rest) = hidden.split_once("\" value=\"").unwrap();
        let value = rest.split('"').next().unwrap().replace("&amp;", "&");
        form.push((name.to_owned(), value));
    }
    form.push(("decision".to_owned(), "allow".to_owned()));
    let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    x.send(Request::new("POST", "/i/oauth2/authorize").form(&form))
        .await
}

fn code(seen: &Seen) -> String {
    let location = Url::parse(seen.header("location").unwrap()).unwrap();
    assert!(location.as_str().starts_with(CALLBACK));
    let of = |wanted: &str| {
        location
            .query_pairs()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    assert_eq!(of("state").unwrap(), "st&te");
    of("code").unwrap()
}

fn exchange(user: &User, code: &str, changes: &[(&str, &str)]) -> Request {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    for pair in &mut form {
        if let Some(change) = changes.iter().find(|(name, _)| *name == pair.0) {
            *pair = *change;
        }
    }
    Request::new("POST", "/2/oauth2/token")
        .header("authorization", &basic(user))
        .form(&form)
}

#[tokio::test]
async fn a_code_with_pkce_becomes_tokens_once() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    for method in ["s256", "S256"] {
        let seen = consent(&x, &acme, &[("code_challenge_method", method)]).await;
        assert_eq!(seen.status, 302);
        let code = code(&seen);
        x.send(exchange(&acme, &code, &[])).await.expect(200);
    }
    let seen = consent(&x, &acme, &[]).await;
    let code = code(&seen);
    let body = x.send(exchange(&acme, &code, &[])).await.expect(200);
    assert_eq!(body["scope"], "tweet.read users.read offline.access");
    let me = Request::new("GET", "/2/users/me").bearer(body["access_token"].as_str().unwrap());
    assert_eq!(x.send(me).await.expect(200)["data"]["id"], acme.id());
    x.send(exchange(&acme, &code, &[]))
        .await
        .says(400, "Value passed for the authorization code was invalid.");
}

#[tokio::test]
async fn a_code_is_bound_to_verifier_redirect_and_half_a_minute() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    for (changes, part) in [
        (&[("code_verifier", "another")][..], "code verifier"),
        (
            &[("redirect_uri", "http://127.0.0.1:9/other")][..],
            "redirect uri",
        ),
    ] {
        let code = code(&consent(&x, &acme, &[]).await);
        x.send(exchange(&acme, &code, changes))
            .await
            .says(400, part);
        x.send(exchange(&acme, &code, &[])).await.expect(400);
    }
    let late = code(&consent(&x, &acme, &[]).await);
    x.advance(31).await;
    x.send(exchange(&acme, &late, &[]))
        .await
        .says(400, "authorization code");
}

#[tokio::test]
async fn the_page_refuses_what_it_cannot_trust() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "redirect_uris": [CALLBACK]}))
        .await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "http://127.0.0.1:9/callback/"),
        ("response_type", "token"),
        ("scope", "tweet.read everything"),
        ("state", ""),
        ("code_challenge_method", "S512"),
        ("code_challenge", ""),
    ] {
        let seen = consent(&x, &acme, &[(name, value)]).await;
        assert_eq!(seen.status, 400, "{name}");
        assert!(seen.header("location").is_none());
    }
    assert_eq!(consent(&x, &acme, &[]).await.status, 302);
    x.user("second").await;
    assert_eq!(
        consent(&x, &acme, &[]).await.status,
        400,
        "which of the two?"
    );
    assert_eq!(
        consent(&x, &acme, &[("account", "acme")]).await.status,
        400,
        "the page does not carry it"
    );
}
