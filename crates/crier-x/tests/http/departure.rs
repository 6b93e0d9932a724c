//! Calls that cannot be repeated, and when they may still leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use crier_core::answer::CallFault;
use crier_x::{Departure, MediaEncoding, Start, V1Media, XClient};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::server::{Server, bearer, client, config, in_time, oauth1};

fn missed() -> Departure {
    Departure::within(Start::now(), Duration::ZERO)
}

/// Answers nothing; what arrived is counted.
async fn mute() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&bodies);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            let text = String::from_utf8_lossy(&all);
            if let Some((_, body)) = text.split_once("\r\n\r\n") {
                counted.fetch_add(body.len(), Ordering::SeqCst);
            }
        }
    });
    (address, bodies)
}

#[tokio::test]
async fn a_call_that_is_late_sends_no_byte_of_its_body() {
    let (address, bodies) = mute().await;
    let there = client(address, MediaEncoding::Multipart);
    let departure = missed();
    let post = json!({"text": "too late"});
    let fault = there
        .create_post(&bearer(), &post, &departure)
        .await
        .unwrap_err();
    assert!(matches!(fault, CallFault::NotSent { .. }), "{fault:?}");
    assert!(departure.is_missed());
    let media = V1Media {
        media_type: "image/png".into(),
        bytes: Bytes::from_static(b"\x89PNG raw"),
    };
    let departure = missed();
    let fields = [("status", "too late".to_owned())];
    let fault = there
        .update_with_media(&oauth1(), &fields, vec![media], &departure)
        .await
        .unwrap_err();
    assert!(matches!(fault, CallFault::NotSent { .. }), "{fault:?}");
    assert!(departure.is_missed());
    // Both connections end with their calls.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_machine_that_slept_is_late_by_its_wall_clock_and_one_that_was_set_back_by_the_other() {
    let (address, bodies) = mute().await;
    let there = client(address, MediaEncoding::Multipart);
    let hour = Duration::from_hours(1);
    let (monotonic, before) = (Instant::now(), SystemTime::UNIX_EPOCH);
    let to_come = before + Duration::from_hours(24 * 365 * 1_000);
    for start in [
        Start::at(monotonic, before),
        Start::at(monotonic.checked_sub(hour).unwrap(), to_come),
    ] {
        let departure = Departure::within(start, Duration::from_mins(1));
        let fault = there
            .create_post(&bearer(), &json!({"text": "too late"}), &departure)
            .await
            .unwrap_err();
        assert!(matches!(fault, CallFault::NotSent { .. }), "{fault:?}");
        assert!(departure.is_missed());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_call_in_time_has_the_length_of_its_body_and_all_of_it() {
    let server = Server::answering(201, &[], r#"{"data":{"id":"1"}}"#).await;
    let departure = in_time();
    let post = json!({"text": "in time"});
    server
        .client()
        .create_post(&bearer(), &post, &departure)
        .await
        .unwrap();
    assert!(!departure.is_missed());
    let seen = server.only();
    assert_eq!(seen.json(), post);
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    assert_eq!(seen.header("transfer-encoding"), "");
}

#[tokio::test]
async fn what_a_peer_takes_nothing_of_is_given_up_by_the_system() {
    // It accepts and reads nothing, so that the window closes: nothing else ends such an upload before its own time.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap());
    config.connect_timeout = Duration::from_secs(1);
    config.timeout = Duration::from_secs(2);
    config.upload_timeout = Duration::from_mins(10);
    assert_eq!(config.delivered_within(), Duration::from_secs(1));
    let there = XClient::new(config).unwrap();
    let accepted = tokio::spawn(async move { listener.accept().await });
    let segment = Bytes::from(vec![7; 24 * 1024 * 1024]);
    let auth = bearer();
    let call = there.media_append(&auth, "1", 0, segment);
    let fault = tokio::time::timeout(Duration::from_mins(2), call)
        .await
        .expect("given up long before its own time")
        .unwrap_err();
    assert!(matches!(fault, CallFault::NoAnswer { .. }), "{fault:?}");
    drop(accepted);
}

#[test]
fn a_connection_and_a_delivery_take_no_longer_than_a_call() {
    let mut config = config("127.0.0.1:1".parse().unwrap());
    for (connect_s, call_s) in [(10, 30), (10, 10), (60, 4), (1, 30), (0, 1)] {
        config.connect_timeout = Duration::from_secs(connect_s);
        config.timeout = Duration::from_secs(call_s);
        let all = config.connect_within() + config.delivered_within();
        assert_eq!(all, config.timeout);
        assert!(config.delivered_within() >= config.timeout / 2);
    }
}
