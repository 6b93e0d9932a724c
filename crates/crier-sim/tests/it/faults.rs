//! Each kind of fault: what the caller sees, and what was done behind it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Request, X};

#[tokio::test]
async fn a_lost_request_is_no_deed_and_no_byte() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.fault(&json!({"route": "POST /2/tweets", "kind": "request_lost"}))
        .await;
    let lost = x.attempt(&acme.post("hello")).await.unwrap_err();
    assert!(lost.received.is_empty());
    assert_eq!(x.posts().await, 0);
    let record = x.last_request().await;
    assert_eq!(record["fault"], "request_lost");
    assert_eq!(record["status"], 0);
    assert_eq!(record["account"], "acme");
    x.send(acme.post("hello")).await.expect(201);
}

#[tokio::test]
async fn a_lost_answer_is_a_deed_and_no_byte() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.fault(&json!({"route": "POST /2/tweets", "kind": "answer_lost"}))
        .await;
    let lost = x.attempt(&acme.post("hello")).await.unwrap_err();
    assert!(lost.received.is_empty());
    assert_eq!(x.posts().await, 1);
    let record = x.last_request().await;
    assert_eq!(record["fault"], "answer_lost");
    assert_eq!(record["status"], 201);
    x.send(acme.post("hello"))
        .await
        .says(403, "duplicate content");
}

#[tokio::test]
async fn a_cut_answer_is_a_deed_and_half_a_body() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.fault(&json!({"route": "POST /2/tweets", "kind": "cut"}))
        .await;
    let lost = x.attempt(&acme.post("hello")).await.unwrap_err();
    let text = String::from_utf8(lost.received).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    let announced = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let announced: usize = announced.parse().unwrap();
    assert!(!body.is_empty() && body.len() < announced, "{body}");
    assert_eq!(x.posts().await, 1);
}

#[tokio::test]
async fn an_armed_answer_takes_the_place_of_the_deed() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.fault(&json!({
        "route": "POST /2/tweets", "kind": "answer", "status": 402,
        "headers": {"x-note": "1", "retry-after": "7"},
        "body": {"title": "CreditsDepleted"},
    }))
    .await;
    let seen = x.send(acme.post("hello")).await;
    assert_eq!(seen.expect(402)["title"], "CreditsDepleted");
    assert_eq!(seen.header("x-note"), Some("1"));
    assert_eq!(seen.header("retry-after"), Some("7"));
    assert_eq!(x.posts().await, 0);
    x.fault(&json!({"route": "*", "kind": "answer", "status": 520, "body": "<h1>520</h1>"}))
        .await;
    let seen = x.send(acme.post("hello")).await;
    assert_eq!(
        (seen.status, seen.header("content-type")),
        (520, Some("text/html"))
    );
    assert_eq!(seen.body, b"<h1>520</h1>");
    x.fault(&json!({"route": "*", "kind": "answer", "status": 413}))
        .await;
    let big = acme
        .call("POST", "/2/tweets")
        .body("application/json", vec![b'x'; 3 << 20]);
    let seen = x.send(big).await;
    assert_eq!(
        (seen.status, seen.body.len()),
        (413, 0),
        "after reading the whole body"
    );
    let seen = x.send(acme.post("hello")).await;
    seen.expect(201);
}

#[tokio::test]
async fn a_slow_deed_is_done_even_if_the_caller_has_gone() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let fault = json!({"route": "POST /2/tweets", "kind": "slow", "delay_ms": 300});
    x.fault(&fault).await;
    let begun = Instant::now();
    x.send(acme.post("waits")).await.expect(201);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    x.fault(&fault).await;
    let leaves = acme.post("leaves");
    let impatient = tokio::time::timeout(Duration::from_millis(100), x.attempt(&leaves)).await;
    assert!(impatient.is_err());
    assert_eq!(x.posts().await, 1, "not yet");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(x.posts().await, 2);
    assert_eq!(x.last_request().await["status"], 201);
}

#[tokio::test]
async fn faults_pick_account_and_count_and_can_be_disarmed() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    x.fault(&json!({
        "route": "POST /2/tweets", "kind": "answer", "status": 503,
        "account": "@ACME", "skip": 1, "times": 2,
    }))
    .await;
    x.send(other.post("1")).await.expect(201);
    x.send(acme.post("1")).await.expect(201);
    x.send(acme.post("2")).await.expect(503);
    assert_eq!(x.look("/_sim/faults").await[0]["times_left"], 1);
    let gone = x.control("DELETE", "/_sim/faults", &Value::Null).await;
    assert_eq!(gone["disarmed"], 1);
    x.send(acme.post("2")).await.expect(201);
    assert_eq!(x.look("/_sim/stats").await["faults_fired"], 1);
}

#[tokio::test]
async fn an_outage_ends_by_the_simulators_clock() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    x.fault(&json!({"route": "*", "kind": "answer", "status": 503, "for_s": 600}))
        .await;
    for _ in 0..3 {
        x.send(acme.call("GET", "/2/users/me")).await.expect(503);
    }
    x.advance(601).await;
    x.send(acme.call("GET", "/2/users/me")).await.expect(200);
}

#[tokio::test]
async fn the_token_endpoint_fails_by_account_too() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let refresh = Request::new("POST", "/2/oauth2/token")
        .header("authorization", &crate::tokens::basic(&acme))
        .form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", acme.oauth2("refresh_token")),
        ]);
    x.fault(&json!({"route": "POST /2/oauth2/token", "kind": "answer_lost", "account": "acme"}))
        .await;
    assert!(x.attempt(&refresh).await.unwrap_err().received.is_empty());
    assert_eq!(x.look("/_sim/stats").await["refreshes"], 1);
    let record = x.last_request().await;
    assert_eq!(
        (&record["account"], &record["status"]),
        (&json!("acme"), &json!(200))
    );
    x.send(refresh)
        .await
        .says(400, "Value passed for the token was invalid.");
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let mut stream = TcpStream::connect(x.addr).await.unwrap();
    for _ in 0..2 {
        let request = format!(
            "GET /2/users/me HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            x.addr,
            acme.oauth2("access_token")
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..count].starts_with(b"HTTP/1.1 200"));
    }
}
