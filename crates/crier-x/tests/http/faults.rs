//! Every way a call can fail, and that none of them says more than is known or shows a secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crier_core::answer::{Answer, CallFault};
use crier_core::limit::blocked_until;
use crier_x::{AppCredentials, MediaEncoding, XClient, XConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, TOKEN, bearer, client, config, in_time, oauth1, raw};

async fn create(client: &XClient) -> CallFault {
    let fault = client
        .create_post(&bearer(), &json!({"text": "hi"}), &in_time())
        .await
        .unwrap_err();
    assert!(
        !format!("{fault} {fault:?}").contains("hunter22"),
        "{fault:?}"
    );
    fault
}

async fn create_at(address: std::net::SocketAddr) -> CallFault {
    create(&client(address, MediaEncoding::Multipart)).await
}

#[track_caller]
fn refused(fault: CallFault) -> Answer {
    match fault {
        CallFault::Refused(answer) => answer,
        CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => panic!("{fault:?}"),
    }
}

#[track_caller]
fn no_answer(fault: CallFault) -> String {
    match fault {
        CallFault::NoAnswer { detail } => detail,
        CallFault::NotSent { .. } | CallFault::Refused(_) => panic!("{fault:?}"),
    }
}

#[track_caller]
fn not_sent(fault: CallFault) -> String {
    match fault {
        CallFault::NotSent { detail } => detail,
        CallFault::NoAnswer { .. } | CallFault::Refused(_) => panic!("{fault:?}"),
    }
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let detail = not_sent(create_at(address).await);
    assert!(
        detail.contains("POST /2/tweets") && detail.contains("refused"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_failed_handshake_was_not_sent() {
    let address = raw(b"this is not TLS\r\n").await;
    let base = url::Url::parse(&format!("https://{address}")).unwrap();
    not_sent(create(&XClient::new(XConfig::new(base.clone(), base)).unwrap()).await);
}

#[tokio::test]
async fn a_stalled_handshake_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = url::Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let mut stalled = XConfig::new(base.clone(), base);
    stalled.connect_timeout = Duration::from_millis(100);
    not_sent(create(&XClient::new(stalled).unwrap()).await);
}

#[tokio::test]
async fn an_unknown_name_was_not_sent() {
    let base = url::Url::parse("https://no-such-host.invalid").unwrap();
    not_sent(create(&XClient::new(XConfig::new(base.clone(), base)).unwrap()).await);
}

#[tokio::test]
async fn a_strange_id_is_not_sent() {
    let server = Server::ok(json!({})).await;
    for id in [
        "",
        "../2/tweets",
        "1/2",
        "..",
        "12345678901234567890",
        "1?x=y",
    ] {
        let detail = not_sent(
            server
                .client()
                .delete_post(&bearer(), id)
                .await
                .unwrap_err(),
        );
        assert!(detail.contains("no id of X"), "{detail}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_closed_connection_is_no_answer() {
    no_answer(create_at(raw(b"").await).await);
    no_answer(create_at(raw(b"HTTP/1.1 2").await).await);
    no_answer(create_at(raw(b"SSH-2.0-x\r\n\r\n").await).await);
}

#[tokio::test]
async fn a_cut_body_is_no_answer_whatever_the_status() {
    let detail = no_answer(
        create_at(
            raw(b"HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{\"data\":{\"id\":\"1\"}}")
                .await,
        )
        .await,
    );
    assert!(
        detail.contains("201") && detail.contains("broke off"),
        "{detail}"
    );
    no_answer(
        create_at(
            raw(b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"").await,
        )
        .await,
    );
}

#[tokio::test]
async fn a_silent_server_is_no_answer_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = config(listener.local_addr().unwrap());
    slow.timeout = Duration::from_millis(150);
    slow.connect_timeout = Duration::from_millis(100);
    let detail = no_answer(create(&XClient::new(slow).unwrap()).await);
    assert!(detail.contains("timed out"), "{detail}");
}

#[tokio::test]
async fn a_success_without_its_content_is_no_answer() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"data":{}}"#,
        r#"{"id":"1"}"#,
        r#"{"data":{"id":""}}"#,
        "<html>ok</html>",
    ] {
        let server = Server::answering(201, &[], body).await;
        let detail = no_answer(create(&server.client()).await);
        assert!(detail.contains("lacks `data.id`"), "{detail}");
        assert_eq!(server.count(), 1);
    }
    let body = json!({"errors": [{"title": "Not Found Error", "detail": "no such media"}]});
    let server = Server::ok(body).await;
    let detail = no_answer(
        server
            .client()
            .media_metadata(&bearer(), "1", "alt")
            .await
            .unwrap_err(),
    );
    assert!(
        detail.contains("Not Found Error: no such media"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_page_is_no_success_even_where_nothing_is_promised() {
    let server = Server::answering(
        200,
        &[],
        "\n<!DOCTYPE html><title>Sign in to the hotel</title>",
    )
    .await;
    let detail = no_answer(
        server
            .client()
            .media_metadata(&bearer(), "1", "alt")
            .await
            .unwrap_err(),
    );
    assert!(detail.contains("hotel"), "{detail}");
}

#[tokio::test]
async fn an_unreadable_grant_is_no_answer_and_not_shown() {
    let app = AppCredentials {
        client_id: "cid".into(),
        client_secret: None,
    };
    for body in [
        "access_token=fresh-hunter22",
        r#"{"detail":"fresh-hunter22","#,
        r#"{"detail":"fresh-hunter22"}"#,
    ] {
        let server = Server::answering(200, &[], body).await;
        let detail = no_answer(
            server
                .client()
                .refresh(&app, &"r-hunter22".into(), &in_time())
                .await
                .unwrap_err(),
        );
        assert!(
            !detail.contains("hunter22") && detail.contains("lacks an `access_token`"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn an_overlong_success_is_no_answer_and_an_overlong_page_a_refusal() {
    let long = format!(
        r#"{{"data":{{"id":"1","text":"{}"}}}}"#,
        "x".repeat(2 << 20)
    );
    no_answer(create(&Server::answering(201, &[], long.clone()).await.client()).await);
    let answer = refused(create(&Server::answering(500, &[], long).await.client()).await);
    assert_eq!((answer.status, answer.detail.len()), (500, 1000));
}

#[tokio::test]
async fn an_html_page_of_the_edge() {
    let page = "<html><head><title>520: unknown error</title></head><body><p>Ray &amp; co</p></body></html>";
    let answer = refused(
        create(
            &Server::answering(520, &[("content-type", "text/html")], page)
                .await
                .client(),
        )
        .await,
    );
    assert_eq!(
        (answer.status, answer.title.as_str()),
        (520, "520: unknown error")
    );
    assert_eq!(answer.detail, "520: unknown error Ray &amp; co");
}

#[tokio::test]
async fn an_empty_413() {
    let server = Server::answering(413, &[], "").await;
    let segment = bytes::Bytes::from_static(b"x");
    let answer = refused(
        server
            .client()
            .media_append(&bearer(), "1", 0, segment)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        answer,
        Answer {
            status: 413,
            title: "Payload Too Large".into(),
            ..Answer::default()
        }
    );
}

#[tokio::test]
async fn a_limit_with_its_windows() {
    let headers = [
        ("x-rate-limit-limit", "100"),
        ("x-rate-limit-remaining", "40"),
        ("x-rate-limit-reset", "1780000900"),
        ("x-user-limit-24hour-limit", "17"),
        ("x-user-limit-24hour-remaining", "0"),
        ("x-user-limit-24hour-reset", "1780080000"),
        ("retry-after", "60"),
    ];
    let body = r#"{"title":"Too Many Requests","detail":"Too Many Requests","type":"about:blank","status":429}"#;
    let answer = refused(create(&Server::answering(429, &headers, body).await.client()).await);
    assert_eq!(
        (answer.status, answer.problem.as_str(), answer.retry_after_s),
        (429, "about:blank", Some(60))
    );
    assert_eq!(answer.windows.len(), 2);
    assert_eq!(
        blocked_until(&answer.windows).map(|at| at.timestamp()),
        Some(1_780_080_000)
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::ok(json!({"data": {"id": "1"}})).await;
    let location = format!("http://{}/2/tweets", target.address);
    for status in [301, 307, 308] {
        let server = Server::answering(status, &[("location", &location)], "").await;
        assert_eq!(refused(create(&server.client()).await).status, status);
    }
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    for status in [408, 421, 425, 429, 500, 502, 503, 504] {
        let server = Server::answering(status, &[("retry-after", "0")], "").await;
        assert_eq!(refused(create(&server.client()).await).status, status);
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn a_request_lost_on_a_kept_connection_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        let mut first = true;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65_536];
            while stream.read(&mut request).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
                if !std::mem::take(&mut first) {
                    break;
                }
                let ok =
                    b"HTTP/1.1 201 Created\r\ncontent-length: 19\r\n\r\n{\"data\":{\"id\":\"1\"}}";
                stream.write_all(ok).await.unwrap();
            }
        }
    });
    let there = client(address, MediaEncoding::Multipart);
    there
        .create_post(&bearer(), &json!({"text": "one"}), &in_time())
        .await
        .unwrap();
    no_answer(create(&there).await);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_secret_that_comes_back_is_not_passed_on() {
    let body = json!({"error": "invalid_request", "error_description": format!("bad: {TOKEN} r-hunter22 secret-hunter22 token-hunter22")});
    let server = Server::answering(400, &[], body.to_string()).await;
    let there = server.client();
    let answer = refused(there.me(&bearer()).await.unwrap_err());
    assert!(answer.detail.starts_with("bad: [redacted] "), "{answer:?}");
    let answer = refused(there.me(&oauth1()).await.unwrap_err());
    assert!(
        !answer.detail.contains("secret-hunter22") && !answer.detail.contains("token-hunter22"),
        "{answer:?}"
    );
    let app = AppCredentials {
        client_id: "cid".into(),
        client_secret: None,
    };
    let answer = refused(
        there
            .refresh(&app, &"r-hunter22".into(), &in_time())
            .await
            .unwrap_err(),
    );
    assert_eq!(answer.title, "invalid_request");
    assert!(!answer.detail.contains("r-hunter22 "), "{answer:?}");
}

#[tokio::test]
async fn a_fault_names_no_query() {
    let at = chrono::DateTime::UNIX_EPOCH;
    let there = client(raw(b"").await, MediaEncoding::Multipart);
    let detail = no_answer(
        there
            .user_posts(&bearer(), "7", at, Some("private-page"))
            .await
            .unwrap_err(),
    );
    assert!(
        !detail.contains("private-page") && detail.contains("GET /2/users/{id}/tweets"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_refused_signature_of_another_time_is_told_as_such_and_the_next_is_dated_by_x() {
    let date = "Wed, 25 Nov 2026 12:00:00 GMT";
    let body =
        json!({"title": "Unauthorized", "detail": "Unauthorized", "status": 401}).to_string();
    let server = Server::answering(401, &[("date", date)], body).await;
    // Its clock stands in 2011.
    let client = server.client();
    let call = async || {
        client
            .create_post(&oauth1(), &json!({"text": "hi"}), &in_time())
            .await
    };
    let answer = refused(call().await.unwrap_err());
    assert!(
        answer.detail.contains("timestamp out of bounds")
            && answer.detail.contains("behind X's clock"),
        "{answer:?}"
    );
    let verdict = crier_core::verdict::judge(
        crier_core::verdict::Step::Publish,
        &CallFault::Refused(answer),
    );
    assert_eq!(
        verdict.code, "clock_skew",
        "and no account is stopped for it"
    );
    let answer = refused(call().await.unwrap_err());
    assert_eq!(answer.detail, "Unauthorized", "{answer:?}");
    let begin = 1_795_608_000_i64;
    let dated = |seen: &crate::server::Seen| {
        let header = seen.header("authorization");
        let (_, rest) = header.split_once("oauth_timestamp=\"").unwrap();
        rest.split_once('"').unwrap().0.parse::<i64>().unwrap()
    };
    let seen = server.all();
    assert_eq!(dated(&seen[0]), 1_318_622_958);
    assert!((begin..begin + 60).contains(&dated(&seen[1])));
    // Whoever knows better than this machine may say so beforehand.
    let client = server.client();
    client.told_the_time(chrono::DateTime::from_timestamp(begin, 0).unwrap());
    let answer = refused(
        client
            .create_post(&oauth1(), &json!({"text": "hi"}), &in_time())
            .await
            .unwrap_err(),
    );
    assert_eq!(answer.detail, "Unauthorized", "{answer:?}");
}
