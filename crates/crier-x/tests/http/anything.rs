//! Whatever X, or somebody between us and X, answers: an error for people at worst, never a panic.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crier_core::answer::CallFault;
use crier_core::verdict::{Step, judge};
use crier_x::{AppCredentials, MediaEncoding, NewMedia, NewSubtitles, XClient};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{bearer, client, in_time};

/// Answers tried; each is read by every call.
const ANSWERS: usize = 150;
/// Most characters of a detail for people: X's own 1,000, its title, and our words around them.
pub(crate) const MOST: usize = 1_600;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,40}".prop_map(Value::from),
        "[0-9]{1,25}".prop_map(Value::from),
        "x{900,1200}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let names = "data|errors|error|title|detail|type|message|code|parameters|reason|period|scope|id|meta|result_count|username|\
                     next_token|text|processing_info|state|check_after_secs|expires_after_secs|access_token|expires_in|deleted|note_tweet|\
                     error_description|name|progress_percent|\\PC{0,5}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..7)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        // Cut in the middle, by whoever is in between.
        (any_json(), 0..100_usize).prop_map(|(value, left)| {
            let mut text = value.to_string().into_bytes();
            text.truncate(left);
            text
        }),
        "<(html|!DOCTYPE|title|script|style|/|<|>|é|\u{0}| ){0,20}".prop_map(String::into_bytes),
    ]
}

fn any_headers() -> impl Strategy<Value = Vec<u8>> {
    let names = prop_oneof![
        Just("x-rate-limit-limit"),
        Just("x-rate-limit-remaining"),
        Just("x-rate-limit-reset"),
        Just("x-user-limit-24hour-remaining"),
        Just("x-user-limit-24hour-reset"),
        Just("x-app-limit-24hour-reset"),
        Just("retry-after"),
        Just("date"),
        Just("content-type"),
    ];
    let bytes = prop_oneof![
        prop::collection::vec(prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..=255], 0..20),
        "-?[0-9]{1,25}".prop_map(String::into_bytes),
    ];
    prop::collection::vec((names, bytes), 0..5).prop_map(|pairs| {
        pairs
            .into_iter()
            .flat_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat())
            .collect()
    })
}

fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    (200_u16..600, any_headers(), any_body()).prop_map(|(status, headers, body)| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n");
        [head.as_bytes(), &headers, b"\r\n", &body].concat()
    })
}

/// A socket that answers every request with what it is told at the time.
async fn telling(told: Arc<Mutex<Vec<u8>>>) -> XClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let told = told.lock().unwrap().clone();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&told).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    client(address, MediaEncoding::Json)
}

/// Every call of the client; the faults that they end in.
pub(crate) async fn every_call(x: &XClient) -> Vec<CallFault> {
    let auth = bearer();
    let app = AppCredentials {
        client_id: "cid".into(),
        client_secret: None,
    };
    let media = NewMedia {
        media_category: "tweet_image".into(),
        media_type: "image/png".into(),
        total_bytes: 1,
        shared: false,
        additional_owners: Vec::new(),
    };
    let subtitles = NewSubtitles {
        media_id: "1".into(),
        media_category: "TweetVideo".into(),
        subtitles_id: "2".into(),
        language_code: "EN".into(),
        display_name: "English".into(),
    };
    let from = chrono::DateTime::UNIX_EPOCH;
    let token = "refresh-token".to_owned().into();
    [
        x.me(&auth).await.err(),
        x.create_post(&auth, &json!({"text": "hi"}), &in_time())
            .await
            .err(),
        x.user_posts(&auth, "1", from, None).await.err(),
        x.delete_post(&auth, "1").await.err(),
        x.media_initialize(&auth, &media).await.err(),
        x.media_append(&auth, "1", 0, Bytes::from_static(b"x"))
            .await
            .err(),
        x.media_finalize(&auth, "1").await.err(),
        x.media_status(&auth, "1").await.err(),
        x.media_metadata(&auth, "1", "alt").await.err(),
        x.media_subtitles(&auth, &subtitles).await.err(),
        x.refresh(&app, &token, &in_time()).await.err(),
        x.exchange_code(&app, &token, "http://127.0.0.1/", &token)
            .await
            .err(),
        x.revoke(&app, &token).await.err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn any_answer_is_read_by_every_call_without_a_panic() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let x = telling(told.clone()).await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..ANSWERS {
        let answer = any_answer().new_tree(&mut runner).unwrap().current();
        told.lock().unwrap().clone_from(&answer);
        for fault in every_call(&x).await {
            let shown = fault.to_string();
            assert!(shown.chars().count() <= MOST, "{shown}");
            assert!(!shown.contains("hunter22"), "{shown}");
            assert!(
                !matches!(fault, CallFault::NotSent { .. }),
                "it did leave: {shown}"
            );
            for step in Step::ALL {
                assert!(!judge(step, &fault).code.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn whatever_stands_beside_them_the_words_of_x_are_kept() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let x = telling(told.clone()).await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..ANSWERS {
        let mut body = any_json().new_tree(&mut runner).unwrap().current();
        if !body.is_object() {
            body = json!({"errors": [body]});
        }
        body["title"] = json!("The title");
        body["detail"] = json!("What X says of it.");
        body["type"] = json!("https://api.x.com/2/problems/usage-capped");
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 403 Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        told.lock().unwrap().clone_from(&answer.into_bytes());
        let Err(CallFault::Refused(said)) = x.me(&bearer()).await else {
            panic!("no refusal: {body}");
        };
        assert_eq!(
            (said.status, said.title.as_str(), said.problem.as_str()),
            (403, "The title", "usage-capped")
        );
        assert!(
            said.detail.starts_with("What X says of it."),
            "{}",
            said.detail
        );
    }
}
