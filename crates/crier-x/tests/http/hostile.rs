//! An X that means harm, or a gateway that has gone mad: bodies without an end, lengths that lie, JSON without a bottom.
//! Every call ends in time, with bounded memory and short words, and a post is only taken for made where an id says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crier_core::answer::CallFault;
use crier_core::verdict::{Action, Step, judge};
use crier_x::{AppCredentials, XClient};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::anything::{MOST, every_call};
use crate::server::{bearer, client, config, in_time, raw};

/// Bytes of one answer that a client may at most have taken: its own bound, and what sockets hold.
const MOST_TAKEN: u64 = 96 * 1024 * 1024;

/// What a server says after the first bytes.
#[derive(Debug, Clone, Copy)]
enum Then {
    Close,
    /// These bytes, for ever.
    Endless(&'static [u8]),
    /// One byte now and then, for ever.
    Drip,
}

/// Answers every request alike; the most bytes that one of them took.
async fn server(first: Vec<u8>, then: Then) -> (XClient, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap());
    config.connect_timeout = Duration::from_millis(900);
    config.timeout = Duration::from_millis(1_500);
    config.upload_timeout = Duration::from_millis(1_500);
    let most = Arc::new(AtomicU64::new(0));
    let (first, told) = (Arc::new(first), Arc::clone(&most));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (first, told) = (Arc::clone(&first), Arc::clone(&told));
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = stream.read(&mut request).await;
                let mut sent = 0;
                let mut next: &[u8] = &first;
                while stream.write_all(next).await.is_ok() {
                    sent += u64::try_from(next.len()).unwrap();
                    told.fetch_max(sent, Ordering::Relaxed);
                    next = match then {
                        Then::Close => break,
                        Then::Endless(bytes) => bytes,
                        Then::Drip => {
                            tokio::time::sleep(Duration::from_millis(40)).await;
                            b"x"
                        }
                    };
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    (XClient::new(config).unwrap(), most)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn whole(status: &str, body: &[u8]) -> Vec<u8> {
    answer(status, &format!("content-length: {}\r\n", body.len()), body)
}

fn cases() -> Vec<(&'static str, Vec<u8>, Then)> {
    const KB: &[u8] = &[b'7'; 1024];
    let deep = |open: &str, close: &str, levels: usize| {
        format!("{}{}", open.repeat(levels), close.repeat(levels)).into_bytes()
    };
    let huge_id = format!("{{\"data\":{{\"id\":\"{}\"}}}}", "9".repeat(1_000_000));
    let long_texts = json!({"title": "t".repeat(300_000), "detail": "d".repeat(300_000), "type": "x".repeat(100_000)});
    let many = json!({"errors": vec![json!({"message": "m", "code": 1}); 20_000]});
    let mut cases = Vec::new();
    for status in ["200 OK", "201 Created", "403 No", "429 Slow", "500 Oh"] {
        cases.extend([
            (
                "endless",
                answer(status, "", b"{\"data\":{\"id\":\""),
                Then::Endless(KB),
            ),
            (
                "endless chunks",
                answer(status, "transfer-encoding: chunked\r\n", b""),
                Then::Endless(b"1\r\nx\r\n"),
            ),
            (
                "drip",
                answer(status, "content-length: 100000\r\n", b"{"),
                Then::Drip,
            ),
            (
                "deep lists",
                whole(status, &deep("[", "]", 100_000)),
                Then::Close,
            ),
            (
                "deep objects",
                whole(status, &deep("{\"data\":", "}", 100_000)),
                Then::Close,
            ),
            (
                "deep errors",
                whole(status, &deep("{\"errors\":[", "]}", 40_000)),
                Then::Close,
            ),
            ("a huge id", whole(status, huge_id.as_bytes()), Then::Close),
            (
                "long texts",
                whole(status, long_texts.to_string().as_bytes()),
                Then::Close,
            ),
            (
                "many errors",
                whole(status, many.to_string().as_bytes()),
                Then::Close,
            ),
            (
                "no text",
                whole(
                    status,
                    b"{\"data\":{\"id\":\"\xff\xfe\"},\"title\":\"\xc3\x28\"}",
                ),
                Then::Close,
            ),
            (
                "numbers",
                whole(
                    status,
                    format!(
                        "{{\"data\":{{\"id\":1e999999,\"expires_after_secs\":{}}}}}",
                        "9".repeat(100_000)
                    )
                    .as_bytes(),
                ),
                Then::Close,
            ),
        ]);
    }
    let id = b"{\"data\":{\"id\":\"1\"}}";
    cases.extend([
        (
            "100 MB told",
            answer("200 OK", "content-length: 104857600\r\n", b"{"),
            Then::Endless(KB),
        ),
        (
            "too long told",
            answer("201 Created", "content-length: 99\r\n", id),
            Then::Close,
        ),
        (
            "cut short",
            answer("201 Created", "content-length: 9\r\n", id),
            Then::Close,
        ),
        (
            "two lengths",
            answer(
                "201 Created",
                "content-length: 19\r\ncontent-length: 5\r\n",
                id,
            ),
            Then::Close,
        ),
        (
            "a length below zero",
            answer("201 Created", "content-length: -1\r\n", id),
            Then::Close,
        ),
        (
            "a length beyond all",
            answer(
                "201 Created",
                "content-length: 99999999999999999999999\r\n",
                id,
            ),
            Then::Close,
        ),
        (
            "a chunk beyond all",
            answer(
                "201 Created",
                "transfer-encoding: chunked\r\n",
                b"FFFFFFFFFFFFFFFFF\r\n",
            ),
            Then::Endless(KB),
        ),
        (
            "a chunk with words",
            answer("201 Created", "transfer-encoding: chunked\r\n", b"1;"),
            Then::Endless(KB),
        ),
        (
            "one header",
            answer("200 OK", &format!("x: {}\r\n", "y".repeat(1_000_000)), id),
            Then::Close,
        ),
        (
            "many headers",
            answer("200 OK", &"x-rate-limit-reset: 1\r\n".repeat(10_000), id),
            Then::Close,
        ),
        (
            "headers without end",
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            Then::Endless(b"x-y: z\r\n"),
        ),
        (
            "a status without end",
            b"HTTP/1.1 200 ".to_vec(),
            Then::Endless(KB),
        ),
        (
            "wait on",
            b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
            Then::Endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        ),
        (
            "another protocol",
            answer("101 Switching", "upgrade: x\r\n", b"x"),
            Then::Endless(KB),
        ),
        ("nothing new", whole("304 Not Modified", b""), Then::Close),
        (
            "empty with a body",
            answer("204 No Content", "content-length: 19\r\n", id),
            Then::Close,
        ),
        ("999", whole("999 Hm", id), Then::Close),
        ("000", whole("000 Hm", id), Then::Close),
        (
            "a bomb",
            answer(
                "200 OK",
                "content-encoding: gzip\r\ncontent-length: 20\r\n",
                b"\x1f\x8b\x08\0\0\0\0\0\0\xff0123456789",
            ),
            Then::Close,
        ),
        (
            "elsewhere",
            answer(
                "307 There",
                "location: http://127.0.0.1:1/\r\ncontent-length: 0\r\n",
                b"",
            ),
            Then::Close,
        ),
        (
            "headers that act",
            answer(
                "403 No",
                "x-rate-limit-reset: \x1b[31m\r\nretry-after: é\r\ncontent-length: 0\r\n",
                b"",
            ),
            Then::Close,
        ),
        ("silence", Vec::new(), Then::Drip),
    ]);
    cases
}

#[tokio::test]
async fn whatever_x_answers_each_call_ends_with_bounded_memory_and_makes_up_no_post() {
    let one = |(name, first, then): (&'static str, Vec<u8>, Then)| async move {
        let status = String::from_utf8_lossy(&first[..first.len().min(20)]).into_owned();
        let (x, taken) = server(first, then).await;
        let ended = tokio::time::timeout(Duration::from_mins(2), every_call(&x)).await;
        for fault in ended.unwrap_or_else(|_| panic!("{name}: a call does not end")) {
            let shown = fault.to_string();
            assert!(shown.chars().count() <= MOST, "{name}: {shown}");
            assert!(!shown.chars().any(char::is_control), "{name}: {shown:?}");
            for step in Step::ALL {
                assert!(!judge(step, &fault).code.is_empty());
            }
        }
        let made = x
            .create_post(&bearer(), &json!({"text": "hi"}), &in_time())
            .await;
        let fault = made.expect_err(name);
        // A refusal is only what a status says that refuses; after all else there may be a post.
        let refuses =
            matches!(&fault, CallFault::Refused(answer) if (300..600).contains(&answer.status));
        if !refuses {
            assert_eq!(
                judge(Step::Publish, &fault).action,
                Action::Reconcile,
                "{name} {status}: {fault}"
            );
        }
        assert!(
            !matches!(fault, CallFault::NotSent { .. }),
            "{name}: {fault}"
        );
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken <= MOST_TAKEN, "{name}: {taken} bytes were taken");
    };
    let mut running = tokio::task::JoinSet::new();
    for case in cases() {
        running.spawn(one(case));
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_life_that_no_calendar_holds_is_cut() {
    let app = AppCredentials {
        client_id: "cid".into(),
        client_secret: None,
    };
    for life in [
        "18446744073709551615",
        "9223372036854775807",
        "\"99999999999999\"",
    ] {
        let body = format!(
            "{{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":{life},\"data\":{{\"id\":\"1\",\"expires_after_secs\":{life}}}}}"
        );
        let address = raw(whole("200 OK", body.as_bytes()).leak()).await;
        let x = client(address, crier_x::MediaEncoding::Json);
        let year = 366 * 86_400;
        let tokens = x
            .refresh(&app, &"r".into(), &in_time())
            .await
            .unwrap()
            .value;
        assert_eq!(tokens.expires_in_s, year, "{life}");
        let state = x.media_finalize(&bearer(), "1").await.unwrap().value;
        assert_eq!(state.expires_after_s, Some(year), "{life}");
    }
}
