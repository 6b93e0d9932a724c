//! Login by OAuth 1.0a: what is signed and sent, what is read, and what is not shown.

use crier_core::answer::CallFault;
use crier_x::{ConsumerCredentials, OUT_OF_BAND, RequestToken, Signing, XClient, XConfig};
use secrecy::ExposeSecret;
use url::Url;

use crate::server::{Server, oauth1};

fn consumer() -> ConsumerCredentials {
    ConsumerCredentials {
        key: "ck".into(),
        secret: "consumer-hunter22".into(),
    }
}

fn request() -> RequestToken {
    RequestToken {
        token: "request-hunter22".into(),
        secret: "request-secret-hunter22".into(),
    }
}

/// The header without its signature, and the signature that X would reckon.
fn checked(header: &str, path: &str, server: &Server, token: &RequestToken) {
    let fields: Vec<(String, String)> = header
        .strip_prefix("OAuth ")
        .unwrap()
        .split(", ")
        .map(|field| field.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let value = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        let value = found.map_or(String::new(), |(_, value)| format!("v={value}"));
        url::form_urlencoded::parse(value.as_bytes())
            .next()
            .map_or(String::new(), |(_, value)| value.into_owned())
    };
    let (nonce, key) = (value("oauth_nonce"), value("oauth_consumer_key"));
    let signing = Signing {
        consumer_key: &key,
        consumer_secret: "consumer-hunter22",
        token: token.token.expose_secret(),
        token_secret: token.secret.expose_secret(),
        nonce: &nonce,
        timestamp_s: value("oauth_timestamp").parse().unwrap(),
    };
    // A parameter of the header is signed as one of a form is.
    let more: Vec<(&str, String)> = ["oauth_callback", "oauth_verifier"]
        .into_iter()
        .map(|name| (name, value(name)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    assert_eq!(more.len(), 1, "{header}");
    let url = Url::parse(&format!("http://{}{path}", server.address)).unwrap();
    assert_eq!(
        value("oauth_signature"),
        signing.signature("POST", &url, &more)
    );
    assert_eq!(value("oauth_token"), token.token.expose_secret());
}

#[tokio::test]
async fn a_request_token_is_asked_for_with_the_callback_and_without_a_token() {
    let server = Server::answering(
        200,
        &[("content-type", "text/html;charset=utf-8")],
        "oauth_token=Z6eEdO8MOmk394WozF5oKyuAv855l4Mlqo7hhlSLik&oauth_token_secret=Kd75W4OQfb2oJTV0&oauth_callback_confirmed=true",
    )
    .await;
    let there = server.client();
    let token = there
        .request_token(&consumer(), "http://127.0.0.1:8723/call back?a=b")
        .await
        .unwrap()
        .value;
    assert_eq!(token.secret.expose_secret(), "Kd75W4OQfb2oJTV0");
    assert!(!format!("{token:?}").contains("Kd75"));
    let seen = server.only();
    assert_eq!(seen.line, "POST /oauth/request_token");
    assert!(seen.body.is_empty());
    let header = seen.header("authorization");
    assert!(!header.contains("oauth_token="), "{header}");
    let none = RequestToken {
        token: "".into(),
        secret: "".into(),
    };
    checked(header, "/oauth/request_token", &server, &none);
    assert_eq!(
        there.oauth1_consent_url(&token).as_str(),
        format!(
            "http://{}/oauth/authorize?oauth_token=Z6eEdO8MOmk394WozF5oKyuAv855l4Mlqo7hhlSLik",
            server.address
        )
    );
}

#[tokio::test]
async fn a_verifier_is_traded_for_the_tokens_of_the_account() {
    let server = Server::answering(
        200,
        &[],
        "oauth_token=7-at&oauth_token_secret=a%2Bts&user_id=7&screen_name=acme\n",
    )
    .await;
    let tokens = server
        .client()
        .access_token(&consumer(), &request(), &"9876543".into())
        .await
        .unwrap()
        .value;
    assert_eq!(
        (
            tokens.access_token.expose_secret(),
            tokens.access_token_secret.expose_secret(),
            tokens.user_id.as_str(),
            tokens.screen_name.as_str()
        ),
        ("7-at", "a+ts", "7", "acme")
    );
    assert!(!format!("{tokens:?}").contains("7-at"));
    let seen = server.only();
    assert_eq!(seen.line, "POST /oauth/access_token");
    checked(
        seen.header("authorization"),
        "/oauth/access_token",
        &server,
        &request(),
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_no_token_and_is_not_shown() {
    for body in [
        "",
        "<html>",
        "oauth_token=hunter22&oauth_token_secret=hunter22",
        "oauth_token=hunter22&oauth_token_secret=hunter22&oauth_callback_confirmed=false",
        "{\"oauth_token\":\"hunter22\"}",
        "oauth_token=hunter22&oauth_token_secret=hunter22&user_id=x&screen_name=hunter22",
    ] {
        let server = Server::answering(200, &[], body).await;
        let there = server.client();
        let first = there.request_token(&consumer(), OUT_OF_BAND).await;
        let last = there
            .access_token(&consumer(), &request(), &"pin-hunter22".into())
            .await;
        for fault in [
            first.map(|_| ()).unwrap_err(),
            last.map(|_| ()).unwrap_err(),
        ] {
            assert!(matches!(fault, CallFault::NoAnswer { .. }), "{fault:?}");
            assert!(
                !format!("{fault:?} {fault}").contains("hunter22"),
                "{fault}"
            );
        }
    }
    // A refusal that repeats what was sent.
    let body = r#"{"errors":[{"code":32,"message":"no consumer-hunter22, request-hunter22, pin-hunter22"}]}"#;
    let server = Server::answering(401, &[], body).await;
    let fault = server
        .client()
        .access_token(&consumer(), &request(), &"pin-hunter22".into())
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(!format!("{fault:?}").contains("hunter22"), "{fault:?}");
    let CallFault::Refused(answer) = fault else {
        unreachable!("{fault:?}")
    };
    assert_eq!(answer.codes, [32]);
}

#[tokio::test]
async fn a_token_of_an_account_signs_its_own_end() {
    let server = Server::answering(200, &[], r#"{"access_token":"token-hunter22"}"#).await;
    server.client().invalidate_token(&oauth1()).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.line, "POST /1.1/oauth/invalidate_token");
    assert!(
        seen.header("authorization")
            .contains("oauth_token=\"token-hunter22\"")
    );
}

#[tokio::test]
async fn the_page_of_consent_may_be_elsewhere() {
    let api = Url::parse("https://api.x.com").unwrap();
    let mut config = XConfig::new(api.clone(), api);
    let page = |config: &XConfig| {
        let there = XClient::new(config.clone()).unwrap();
        there.oauth1_consent_url(&request()).to_string()
    };
    assert_eq!(
        page(&config),
        "https://api.x.com/oauth/authorize?oauth_token=request-hunter22"
    );
    config.authorize_base = Some(Url::parse("https://gate.example/p/").unwrap());
    assert_eq!(
        page(&config),
        "https://gate.example/p/oauth/authorize?oauth_token=request-hunter22"
    );
    config.authorize_base = Some(Url::parse("http://gate.example").unwrap());
    assert!(XClient::new(config).is_err());
}
