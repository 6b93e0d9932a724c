//! The exact form of every call but those of media: method, path, query, headers, body; and what is read from its
//! success.

use chrono::{DateTime, Utc};
use crier_core::limit::{LimitClass, WindowLength};
use crier_core::v1::V1Limits;
use crier_x::{AppCredentials, PostId, SeenPost, Signing, V1Media, XClient, XConfig};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use crate::server::{Server, TOKEN, bearer, config, in_time, oauth1};

fn confidential() -> AppCredentials {
    AppCredentials {
        client_id: "cid".into(),
        client_secret: Some("csecret-hunter22".into()),
    }
}

fn public() -> AppCredentials {
    AppCredentials {
        client_id: "cid".into(),
        client_secret: None,
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn refresh_of_a_confidential_app() {
    let server = Server::ok(
        json!({"token_type": "bearer", "expires_in": 7199, "access_token": "new-a",
        "refresh_token": "new-r", "scope": "tweet.read media.write"}),
    )
    .await;
    let reply = server
        .client()
        .refresh(&confidential(), &"old+r/=".into(), &in_time())
        .await
        .unwrap();
    assert_eq!(reply.value.access_token.expose_secret(), "new-a");
    assert_eq!(
        reply.value.refresh_token.as_ref().unwrap().expose_secret(),
        "new-r"
    );
    assert_eq!(
        (reply.value.expires_in_s, reply.value.scope.as_str()),
        (7199, "tweet.read media.write")
    );
    assert!(!format!("{reply:?}").contains("new-"));
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/oauth2/token");
    assert_eq!(
        seen.header("authorization"),
        "Basic Y2lkOmNzZWNyZXQtaHVudGVyMjI="
    );
    assert_eq!(
        seen.form(),
        pairs(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", "old+r/=")
        ])
    );
    assert!(seen.header("user-agent").starts_with("crier/"));
}

#[tokio::test]
async fn refresh_of_a_public_app_and_a_sparse_answer() {
    let server = Server::ok(json!({"access_token": "new-a"})).await;
    let tokens = server
        .client()
        .refresh(&public(), &"old-r".into(), &in_time())
        .await
        .unwrap()
        .value;
    assert_eq!(
        (
            tokens.expires_in_s,
            tokens.refresh_token.is_none(),
            tokens.scope.as_str()
        ),
        (7200, true, "")
    );
    let seen = server.only();
    assert_eq!(seen.header("authorization"), "");
    assert_eq!(
        seen.form(),
        pairs(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", "old-r"),
            ("client_id", "cid")
        ])
    );
}

#[tokio::test]
async fn code_exchange_and_revoke() {
    let server = Server::ok(json!({"access_token": "a", "revoked": true})).await;
    let there = server.client();
    there
        .exchange_code(
            &public(),
            &"code".into(),
            "http://127.0.0.1/cb",
            &"ver".into(),
        )
        .await
        .unwrap();
    assert_eq!(
        server.only().form(),
        pairs(&[
            ("grant_type", "authorization_code"),
            ("code", "code"),
            ("redirect_uri", "http://127.0.0.1/cb"),
            ("code_verifier", "ver"),
            ("client_id", "cid"),
        ])
    );
    let server = Server::answering(200, &[], "").await;
    server
        .client()
        .revoke(&confidential(), &"tok".into())
        .await
        .unwrap();
    let seen = server.only();
    assert_eq!(
        (seen.line.as_str(), seen.form()),
        ("POST /2/oauth2/revoke", pairs(&[("token", "tok")]))
    );
}

#[tokio::test]
async fn tokens_go_to_the_token_base_and_prefixes_stay() {
    let api = Server::ok(json!({"data": {"id": "7", "username": "acme", "name": "Acme"}})).await;
    let token = Server::ok(json!({"access_token": "a"})).await;
    let base = |server: &Server, path: &str| {
        Url::parse(&format!("http://{}{path}", server.address)).unwrap()
    };
    let there = XClient::new(XConfig::new(base(&api, "/x/"), base(&token, "/t"))).unwrap();
    there
        .refresh(&public(), &"r".into(), &in_time())
        .await
        .unwrap();
    assert_eq!(there.me(&bearer()).await.unwrap().value.username, "acme");
    assert_eq!(token.only().line, "POST /t/2/oauth2/token");
    assert_eq!(api.only().line, "GET /x/2/users/me");
}

#[tokio::test]
async fn me_with_windows_and_date() {
    let headers = [
        ("x-rate-limit-limit", "75"),
        ("x-rate-limit-remaining", "74"),
        ("x-rate-limit-reset", "1780000000"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let server = Server::answering(200, &headers, r#"{"data":{"id":"7","username":"acme"}}"#).await;
    let reply = server.client().me(&bearer()).await.unwrap();
    assert_eq!((reply.value.id.as_str(), reply.status), ("7", 200));
    assert_eq!(reply.server_date, DateTime::from_timestamp(784_111_777, 0));
    let window = reply.windows[0];
    assert_eq!(
        (window.class, window.length),
        (LimitClass::Account, WindowLength::QuarterHour)
    );
    assert_eq!((window.limit, window.remaining), (Some(75), Some(74)));
    let seen = server.only();
    assert_eq!(seen.header("authorization"), format!("Bearer {TOKEN}"));
    assert!(seen.body.is_empty());
}

#[tokio::test]
async fn create_and_delete() {
    let body =
        r#"{"data":{"id":"1346889436626259968","text":"Hi"},"errors":[{"title":"partial"}]}"#;
    let server = Server::answering(201, &[], body).await;
    let post = json!({"text": "Hi", "media": {"media_ids": ["11"]}, "reply": {"in_reply_to_tweet_id": "9"}});
    let reply = server
        .client()
        .create_post(&bearer(), &post, &in_time())
        .await
        .unwrap();
    assert_eq!(
        (reply.value, reply.status),
        (PostId("1346889436626259968".into()), 201)
    );
    let seen = server.only();
    assert_eq!((seen.line.as_str(), seen.json()), ("POST /2/tweets", post));

    let server = Server::ok(json!({"data": {"deleted": true}})).await;
    assert!(
        server
            .client()
            .delete_post(&bearer(), "9")
            .await
            .unwrap()
            .value
    );
    assert_eq!(server.only().line, "DELETE /2/tweets/9");
}

#[tokio::test]
async fn user_posts_by_page() {
    let server = Server::ok(
        json!({"data": [{"id": "2", "text": "a &amp; b"}, {"id": "1", "text": ""}],
        "meta": {"result_count": 2, "next_token": "n+1"}}),
    )
    .await;
    let start = "2026-11-23T05:00:00.750Z".parse::<DateTime<Utc>>().unwrap();
    let page = server
        .client()
        .user_posts(&bearer(), "7", start, Some("t&k"))
        .await
        .unwrap()
        .value;
    let post = |id: &str, text: &str| SeenPost {
        id: id.into(),
        text: text.into(),
    };
    assert_eq!(page.posts, [post("2", "a &amp; b"), post("1", "")]);
    assert_eq!(page.next_token.as_deref(), Some("n+1"));
    assert_eq!(
        server.only().line,
        "GET /2/users/7/tweets?max_results=100&start_time=2026-11-23T05%3A00%3A00Z&pagination_token=t%26k"
    );
}

#[tokio::test]
async fn oauth1_signs_the_query_and_no_json() {
    let signing = Signing {
        consumer_key: "ck",
        consumer_secret: "consumer-hunter22",
        token: "token-hunter22",
        token_secret: "secret-hunter22",
        nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        timestamp_s: 1_318_622_958,
    };
    let server = Server::ok(json!({"data": {"id": "11"}})).await;
    server.client().media_status(&oauth1(), "11").await.unwrap();
    let url = Url::parse(&format!(
        "http://{}/2/media/upload?command=STATUS&media_id=11",
        server.address
    ))
    .unwrap();
    assert_eq!(
        server.only().header("authorization"),
        signing.header("GET", &url, &[])
    );

    let server = Server::ok(json!({"data": {"id": "11"}})).await;
    server
        .client()
        .create_post(&oauth1(), &json!({"text": "x"}), &in_time())
        .await
        .unwrap();
    let url = Url::parse(&format!("http://{}/2/tweets", server.address)).unwrap();
    assert_eq!(
        server.only().header("authorization"),
        signing.header("POST", &url, &[])
    );
}

#[test]
fn a_client_shows_no_secret_and_refuses_plain_http() {
    let there = XClient::new(config("127.0.0.1:1".parse().unwrap())).unwrap();
    assert!(format!("{there:?}").contains("127.0.0.1"));
    let far = Url::parse("http://api.x.com").unwrap();
    let error = XClient::new(XConfig::new(far.clone(), far)).unwrap_err();
    assert!(error.to_string().contains("not https"), "{error}");
}

#[tokio::test]
async fn a_post_of_v1_is_a_form_of_which_nothing_is_signed() {
    let id = 1_346_889_436_626_259_968_u64;
    let server = Server::answering(
        200,
        &[
            ("x-mediaratelimit-limit", "250"),
            ("x-mediaratelimit-remaining", "249"),
            ("x-mediaratelimit-reset", "1780000000"),
        ],
        json!({"id": id, "id_str": id.to_string(), "text": "hi https://t.co/x"}).to_string(),
    )
    .await;
    let media = V1Media {
        media_type: "image/png".into(),
        bytes: (&b"\x89PNG raw"[..]).into(),
    };
    let fields = [("status", "hi ü & =".to_owned()), ("lat", "1.5".to_owned())];
    let reply = server
        .client()
        .update_with_media(&oauth1(), &fields, vec![media.clone(), media], &in_time())
        .await
        .unwrap();
    assert_eq!(reply.value, PostId(id.to_string()));
    let window = reply.windows[0];
    assert_eq!(
        (window.class, window.length, window.remaining),
        (LimitClass::Account, WindowLength::Day, Some(249))
    );
    let seen = server.only();
    assert_eq!(seen.line, "POST /1.1/statuses/update_with_media.json");
    assert!(
        seen.header("content-type")
            .starts_with("multipart/form-data; boundary=")
    );
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    let body = String::from_utf8_lossy(&seen.body);
    assert!(
        body.contains("name=\"status\"\r\n\r\nhi ü & =\r\n"),
        "{body}"
    );
    assert_eq!(
        body.matches("name=\"media[]\"; filename=\"media").count(),
        2,
        "{body}"
    );
    assert_eq!(body.matches("Content-Type: image/png").count(), 2, "{body}");
    let url = Url::parse(&format!(
        "http://{}/1.1/statuses/update_with_media.json",
        server.address
    ))
    .unwrap();
    let signing = Signing {
        consumer_key: "ck",
        consumer_secret: "consumer-hunter22",
        token: "token-hunter22",
        token_secret: "secret-hunter22",
        nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        timestamp_s: 1_318_622_958,
    };
    assert_eq!(
        seen.header("authorization"),
        signing.header("POST", &url, &[]),
        "no part of the body is signed"
    );
}

#[tokio::test]
async fn the_figures_of_v1_are_read() {
    let server = Server::ok(json!({"characters_reserved_per_media": 23, "max_media_per_upload": 4, "photo_size_limit": 5_242_880})).await;
    let reply = server.client().v1_configuration(&oauth1()).await.unwrap();
    assert_eq!(
        reply.value,
        V1Limits {
            characters_reserved_per_media: 23,
            max_media_per_upload: 4,
            photo_size_limit: 5_242_880
        }
    );
    assert_eq!(server.only().line, "GET /1.1/help/configuration.json");
}
