//! Webhooks from end to end: real receivers that fail, hang and take what they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
/// Receivers of the tests are on this machine.
const INNER: [(&str, &str); 3] = [
    ("CRIER__WEBHOOKS__ALLOW_HTTP", "true"),
    ("CRIER__WEBHOOKS__ALLOW_PRIVATE", "true"),
    ("CRIER__WORKER__POLL_MS", "100"),
];

/// One call that a receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| {
            line.split_once(':')
                .is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        });
        line.and_then(|line| line.split_once(": "))
            .map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver that answers with these statuses, one after the other, and then with the last of them.
pub(crate) async fn receiver(statuses: &'static [u16]) -> (u16, Arc<Mutex<Vec<Heard>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let mut piece = [0; 4096];
            loop {
                let read = stream.read(&mut piece).await.unwrap_or(0);
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
                let Some((top, body)) = text.split_once("\r\n\r\n") else {
                    assert!(read > 0, "{text}");
                    continue;
                };
                let call = Heard {
                    head: top.to_owned(),
                    body: body.to_owned(),
                };
                let length: usize = call.header("content-length").parse().unwrap();
                if body.len() >= length {
                    log.lock().unwrap().push(call);
                    break;
                }
            }
            let status = statuses[number.min(statuses.len() - 1)];
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, heard)
}

/// Whether the signature is the one of the Standard Webhooks specification.
fn is_signed(heard: &Heard, secret: &str) -> bool {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let signed = format!(
        "{}.{}.{}",
        heard.header("webhook-id"),
        heard.header("webhook-timestamp"),
        heard.body
    );
    mac.update(signed.as_bytes());
    let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    heard.header("webhook-signature") == wanted
}

#[tokio::test]
async fn a_receiver_that_fails_is_told_again_under_the_same_id_and_signed() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let (port, heard) = receiver(&[500, 404, 200]).await;
    let (slack_port, slack) = receiver(&[200]).await;
    let url = format!("http://127.0.0.1:{port}/hooks/very-secret-path");
    let ports = format!("[{port},{slack_port}]");
    let with_ports = [
        INNER.as_slice(),
        &[("CRIER__WEBHOOKS__PORTS", ports.as_str())],
    ]
    .concat();
    let mut command = stage.command(&["--json", "webhooks", "add", "ops", &url]);
    let made = command
        .envs(with_ports.iter().copied())
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let url = format!("http://127.0.0.1:{slack_port}/slack");
    let mut command = stage.command(&[
        "webhooks", "add", "team", &url, "--form", "slack", "--events", "failed",
    ]);
    assert!(
        command
            .envs(with_ports.iter().copied())
            .status()
            .await
            .unwrap()
            .success()
    );

    let roles = [
        stage.start_with("scheduler", &with_ports),
        stage.start_with("worker", &with_ports),
    ];
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'We are live')")
        .await;
    // Waits between tries are moved through by the database's clock.
    let done = "select count(*) filter (where state = 'delivered') = 1 as done from crier.webhook_deliveries";
    for _ in 0..3 {
        stage
            .until("select count(*) > 0 as done from crier.webhook_deliveries where (attempts > 0 and worker is null) or state = 'delivered'", SOON)
            .await;
        stage
            .sql("update crier.clock set shift = shift + interval '30 seconds'")
            .await;
    }
    stage.until(done, SOON).await;
    let calls = heard.lock().unwrap().clone();
    assert_eq!(calls.len(), 3, "{calls:#?}");
    for call in &calls {
        assert!(is_signed(call, &secret), "{call:#?}");
        assert_eq!(call.header("webhook-id"), calls[0].header("webhook-id"));
        assert_eq!(call.body, calls[0].body);
    }
    let trace = stage
        .rows("select crier.trace_of(id, created_at, trace) as trace from crier.jobs")
        .await;
    let parents: Vec<&str> = calls
        .iter()
        .map(|call| call.header("traceparent"))
        .collect();
    for parent in &parents {
        assert_eq!(parent.get(3..35), trace[0]["trace"].as_str(), "{parent}");
    }
    assert_ne!(parents[0], parents[1], "each try has an id of its own");
    let told = calls[0].json();
    assert_eq!(told["type"], "published");
    assert_eq!(told["id"], calls[0].header("webhook-id"));
    assert_eq!(told["data"]["job"]["text"], "We are live");
    let url = told["data"]["job"]["post_url"].as_str().unwrap();
    assert!(url.starts_with("https://x.com/acme/status/"), "{told}");

    let too_long = "long ".repeat(80);
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text) values ('acme', '{too_long}')"
        ))
        .await;
    stage
        .until("select count(*) filter (where state = 'delivered') = 3 as done from crier.webhook_deliveries", SOON)
        .await;
    let said = slack.lock().unwrap()[0].json();
    let said = said["text"].as_str().unwrap();
    assert!(
        said.contains("has failed") && said.contains("400 weighted characters"),
        "{said}"
    );
    // Lists show hosts, and no secret.
    let mut listed = stage.done_by(&["webhooks", "list"]).await;
    listed += &stage.done_by(&["webhooks", "deliveries", "--json"]).await;
    assert!(listed.contains("127.0.0.1"), "{listed}");
    assert!(
        !listed.contains("very-secret-path") && !listed.contains(&secret),
        "{listed}"
    );
    for role in roles {
        role.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn an_inner_address_is_refused_when_it_is_added_and_when_it_is_called() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let (port, heard) = receiver(&[200]).await;
    let url = format!("http://127.0.0.1:{port}/x");
    let (code, _, words) = stage.say(&["webhooks", "add", "ops", &url]).await;
    assert_eq!(code, Some(1));
    assert!(words.contains("https"), "{words}");
    // A secret that anybody could guess signs nothing.
    let empty = std::env::temp_dir().join(format!("crier-e2e-{}", uuid::Uuid::new_v4()));
    let path = empty.to_str().unwrap();
    for (held, why) in [
        ("", "is empty"),
        ("whsec_", "it is empty"),
        ("whsec_?", "base64"),
    ] {
        std::fs::write(&empty, held).unwrap();
        let add = [
            "webhooks",
            "add",
            "ops",
            "https://hooks.example.com/x",
            "--secret-file",
            path,
        ];
        let (code, _, words) = stage.say(&add).await;
        assert_eq!(code, Some(1));
        assert!(words.contains(why), "{words}");
    }
    std::fs::remove_file(&empty).unwrap();
    for unknown in [
        ["webhooks", "redeliver", "ops"],
        ["webhooks", "deliveries", "ops"],
    ] {
        let (code, _, words) = stage.say(&unknown).await;
        assert_eq!(code, Some(1));
        assert!(words.contains("there is no webhook `ops`"), "{words}");
    }
    // One who was allowed to add it meets workers that are not allowed to call it.
    let ports = format!("[{port}]");
    let with_ports = [
        INNER.as_slice(),
        &[("CRIER__WEBHOOKS__PORTS", ports.as_str())],
    ]
    .concat();
    let mut command = stage.command(&["webhooks", "add", "ops", &url]);
    assert!(
        command
            .envs(with_ports.iter().copied())
            .status()
            .await
            .unwrap()
            .success()
    );
    let roles = [stage.start("scheduler"), stage.start("worker")];
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'We are live')")
        .await;
    stage
        .until("select count(*) = 1 as done from crier.webhook_deliveries where error ->> 'code' = 'webhook_refused'", SOON)
        .await;
    stage
        .until(
            "select count(*) = 1 as done from crier.jobs where state = 'published'",
            SOON,
        )
        .await;
    assert!(heard.lock().unwrap().is_empty(), "nothing was asked");
    for role in roles {
        role.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_keeps_no_stop_waiting() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ports = format!("[{port}]");
    let settings = [
        INNER.as_slice(),
        &[
            ("CRIER__WEBHOOKS__PORTS", ports.as_str()),
            ("CRIER__WEBHOOKS__TIMEOUT_S", "60"),
            ("CRIER__WORKER__STOP_GRACE_S", "4"),
        ],
    ]
    .concat();
    let url = format!("http://127.0.0.1:{port}/x");
    let mut command = stage.command(&["webhooks", "add", "silent", &url]);
    let added = command.envs(settings.iter().copied()).status().await;
    assert!(added.unwrap().success());
    let role = stage.start_with("run", &settings);
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'We are live')")
        .await;
    let (mut silent, _) = listener.accept().await.unwrap();
    let mut head = [0; 4];
    silent.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"POST");
    // It is told once more by somebody else, under the same id.
    role.stop().await;
    let waits = stage
        .rows("select state, attempts from crier.webhook_deliveries")
        .await;
    assert_eq!(waits, [json!({"state": "waiting", "attempts": 1})]);
    stage.done().await;
}
