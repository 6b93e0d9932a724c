//! The exporter over a real socket.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail the test they serve"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crier_metrics::exporter::{ExporterError, serve};
use crier_metrics::{BoxFuture, Gather, Health, Metrics, Missing, Reading, Ready, SourceError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    at: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ExporterError>>,
}

impl Running {
    async fn start(
        metrics: &Metrics,
        gather: Option<Arc<dyn Gather>>,
        ready: Option<Arc<dyn Ready>>,
        health: &Health,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(
            listener,
            metrics.clone(),
            gather,
            ready,
            health.clone(),
            stop.clone(),
        ));
        Self { at, stop, task }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path).await
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: crier\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

/// Answers its calls in turn with what the script says, and the last word for ever.
struct Script {
    calls: AtomicUsize,
    words: &'static [&'static str],
}

impl Script {
    fn new(words: &'static [&'static str]) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            words,
        })
    }

    fn next(&self) -> &'static str {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.words.get(call).or(self.words.last()).unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Gather for Script {
    fn gather(&self) -> BoxFuture<'_, Result<Reading, SourceError>> {
        Box::pin(async {
            match self.next() {
                "hang" => std::future::pending().await,
                "fail" => Err("connection refused".into()),
                "crash" => panic!("a bug in the source"),
                count => Ok(Reading {
                    due_unpublished: count.parse()?,
                    ..Reading::default()
                }),
            }
        })
    }
}

impl Ready for Script {
    fn missing(&self) -> BoxFuture<'_, Vec<Missing>> {
        Box::pin(async {
            match self.next() {
                "hang" => std::future::pending().await,
                "crash" => panic!("a bug in the source"),
                "ready" => Vec::new(),
                why => vec![Missing {
                    what: "database".to_owned(),
                    why: why.to_owned(),
                }],
            }
        })
    }
}

const PAUSE: Duration = Duration::from_millis(1050);

#[tokio::test]
async fn the_pages_are_there_and_a_wrong_path_says_which() {
    let exporter = Running::start(&Metrics::new("1.2.3"), None, None, &Health::new()).await;
    let (status, answer) = exporter.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(
        answer.contains("crier_build_info{version=\"1.2.3\"} 1\n"),
        "{answer}"
    );
    let (status, answer) = exporter.get("/").await;
    assert!(
        status == 200 && answer.contains("<a href=\"/metrics\">"),
        "{answer}"
    );
    let (status, answer) = exporter.get("/healthz").await;
    assert!(
        status == 200 && answer.ends_with(r#"{"loops":0,"status":"ok"}"#),
        "{answer}"
    );
    let (status, answer) = exporter.get("/readyz").await;
    assert!(
        status == 200 && answer.ends_with(r#"{"status":"ready"}"#),
        "{answer}"
    );
    let (status, answer) = exporter.get("/metric?x=1").await;
    assert_eq!(status, 404);
    assert!(
        answer
            .ends_with("no page at `/metric`: this exporter has /metrics, /healthz and /readyz\n"),
        "{answer}"
    );

    exporter.stop.cancel();
    exporter.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body_and_nothing_can_be_written() {
    let exporter = Running::start(&Metrics::new("1.2.3"), None, None, &Health::new()).await;
    for path in ["/", "/metrics", "/healthz", "/readyz", "/nowhere"] {
        let (status, answer) = exporter.ask("HEAD", path).await;
        assert_eq!(status, exporter.get(path).await.0, "{path}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: "), "{head}");
        assert_eq!(body, "", "{path}");
        if path != "/nowhere" {
            assert_eq!(exporter.ask("POST", path).await.0, 405, "{path}");
        }
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_hold_up_the_stop() {
    let exporter = Running::start(&Metrics::new("1.2.3"), None, None, &Health::new()).await;
    let mut stream = TcpStream::connect(exporter.at).await.unwrap();
    stream.write_all(b"GET /metrics HT").await.unwrap();
    exporter.get("/healthz").await;
    exporter.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), exporter.task)
        .await
        .expect("it stops")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn scrapes_within_a_second_share_one_reading() {
    let source = Script::new(&["3", "4"]);
    let exporter = Running::start(
        &Metrics::new("1.2.3"),
        Some(source.clone()),
        None,
        &Health::new(),
    )
    .await;
    let ((_, one), (_, two)) = tokio::join!(exporter.get("/metrics"), exporter.get("/metrics"));
    assert!(
        one.contains("\ncrier_due_unpublished 3\n") && two.contains("\ncrier_due_unpublished 3\n")
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    exporter.get("/metrics").await;
    assert_eq!(source.calls(), 1);
    tokio::time::sleep(PAUSE).await;
    assert!(
        exporter
            .get("/metrics")
            .await
            .1
            .contains("\ncrier_due_unpublished 4\n")
    );
    assert_eq!(source.calls(), 2);
}

#[tokio::test]
async fn a_source_that_fails_leaves_the_last_good_values_and_is_counted() {
    let source = Script::new(&["3", "fail", "crash", "0"]);
    let exporter = Running::start(&Metrics::new("1.2.3"), Some(source), None, &Health::new()).await;
    for (due, errors) in [(3, 0), (3, 1), (3, 2), (0, 2)] {
        let (status, answer) = exporter.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(
            answer.contains(&format!("\ncrier_due_unpublished {due}\n")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("\ncrier_scrape_errors_total {errors}\n")),
            "{answer}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn a_source_that_hangs_is_waited_for_two_seconds_only() {
    let source = Script::new(&["hang"]);
    let exporter = Running::start(
        &Metrics::new("1.2.3"),
        Some(source.clone()),
        None,
        &Health::new(),
    )
    .await;
    let asked = Instant::now();
    // The second scraper waits with the first one, not after it.
    let ((status, answer), _) = tokio::join!(exporter.get("/metrics"), exporter.get("/metrics"));
    let took = asked.elapsed();
    assert!(
        Duration::from_secs(2) <= took && took < Duration::from_millis(3500),
        "{took:?}"
    );
    assert_eq!((status, source.calls()), (200, 1));
    assert!(
        answer.contains("\ncrier_scrape_errors_total 1\n"),
        "{answer}"
    );
    assert!(
        !answer.contains("crier_due_unpublished"),
        "never read, so not shown: {answer}"
    );
    let (status, _) = exporter.get("/healthz").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn readyz_says_what_is_missing_and_why_without_secrets() {
    let source = Script::new(&[
        "cannot connect to `postgres://crier:s3cr3t@db/crier`",
        "ready",
        "crash",
        "hang",
    ]);
    let exporter = Running::start(&Metrics::new("1.2.3"), None, Some(source), &Health::new()).await;
    let (status, answer) = exporter.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        answer.contains(
            r#""what":"database","why":"cannot connect to `postgres://crier:[redacted]@db"#
        ),
        "{answer}"
    );
    tokio::time::sleep(PAUSE).await;
    assert_eq!(exporter.get("/readyz").await.0, 200);
    tokio::time::sleep(PAUSE).await;
    let (status, answer) = exporter.get("/readyz").await;
    assert!(
        status == 503 && answer.contains("the check crashed"),
        "{answer}"
    );
    let (status, answer) = exporter.get("/readyz").await;
    assert!(
        status == 503 && answer.contains("no answer within 2 s"),
        "{answer}"
    );
}

#[tokio::test]
async fn healthz_names_the_loop_that_stands_still() {
    let health = Health::new();
    let exporter = Running::start(&Metrics::new("1.2.3"), None, None, &health).await;
    let steady = health.register("claim", Duration::from_mins(1));
    let stuck = health.register("renew", Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(80)).await;
    let (status, answer) = exporter.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(
        answer.contains(r#""name":"renew""#) && !answer.contains("claim"),
        "{answer}"
    );
    stuck.finish();
    let (status, answer) = exporter.get("/healthz").await;
    assert!(status == 200 && answer.contains(r#""loops":1"#), "{answer}");
    steady.finish();
}
