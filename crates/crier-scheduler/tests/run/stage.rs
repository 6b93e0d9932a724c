//! What a test of the scheduler stands on: a database, a scheduler in this process, a folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crier_core::fault::Fault;
use crier_core::media::{Measure, MediaKind};
use crier_metrics::{Health, Metrics};
use crier_scheduler::{MediaProbe, News, ProbedFile, Scheduler, SchedulerOptions};
use crier_store::{Import, OAuth2Tokens, SealKey, Store, StoreOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A database of its own for a test.
pub(crate) struct Db {
    pub(crate) store: Store,
    admin: Store,
    name: String,
}

/// A scheduler in this process.
pub(crate) struct Running {
    pub(crate) metrics: Metrics,
    stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("stops in time")
            .unwrap();
    }

    pub(crate) fn shows(&self, line: &str) -> bool {
        let page = self.metrics.render(Instant::now());
        page.lines().any(|shown| shown == line)
    }
}

async fn connect(url: String, connections: u32) -> Store {
    let options = StoreOptions {
        url: url.into(),
        max_connections: connections,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    };
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned();
    let key = SealKey::from_base64(&key.into()).unwrap();
    Store::connect(&options, Some(key)).await.unwrap()
}

impl Db {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's server is named by the script that started it"
    )]
    pub(crate) async fn new() -> Self {
        let url = std::env::var("CRIER_TEST_DATABASE_URL")
            .expect("run `make test`, or `scripts/with-postgres cargo test`");
        let admin = connect(url.clone(), 1).await;
        let name = format!("crier_scheduler_{}", Uuid::new_v4().simple());
        let create = format!("create database {name}");
        admin.run_outside_transaction(&create).await.unwrap();
        let store = connect(format!("{}/{name}", url.rsplit_once('/').unwrap().0), 5).await;
        store.migrate().await.unwrap();
        let db = Self { store, admin, name };
        let import = Import {
            x_user_id: "1".into(),
            handle: "acme".into(),
            oauth2: Some(OAuth2Tokens {
                client_id: "app".into(),
                client_secret: None,
                access_token: "access-token".to_owned().into(),
                refresh_token: None,
                expires_in_s: 7200,
                scopes: ["tweet.read", "tweet.write", "users.read", "media.write"]
                    .map(str::to_owned)
                    .into(),
            }),
            oauth1: None,
        };
        db.store.import_account(&import).await.unwrap();
        db
    }

    pub(crate) fn start(&self, options: SchedulerOptions) -> Running {
        let (metrics, stop) = (Metrics::new("0"), CancellationToken::new());
        let scheduler = Scheduler {
            store: self.store.clone(),
            metrics: metrics.clone(),
            id: Uuid::new_v4(),
            options,
            news: News::default(),
        };
        let heartbeat = Health::new().register("scheduler", Duration::from_mins(1));
        let task = tokio::spawn(scheduler.run(heartbeat, stop.clone()));
        Running {
            metrics,
            stop,
            task,
        }
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.store.run_script(sql).await.unwrap();
    }

    pub(crate) async fn one(&self, query: &str) -> Value {
        let mut rows = self.store.select_json(query).await.unwrap();
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.remove(0)
    }

    pub(crate) async fn until(&self, query: &str) {
        let begin = Instant::now();
        while self.one(&format!("select ({query}) as done")).await["done"] != json!(true) {
            assert!(begin.elapsed() < Duration::from_secs(15), "never: {query}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn drop(self) {
        self.store.close().await;
        let drop = format!("drop database {} with (force)", self.name);
        self.admin.run_outside_transaction(&drop).await.unwrap();
    }
}

pub(crate) fn quick() -> SchedulerOptions {
    SchedulerOptions {
        poll: Duration::from_millis(100),
        leader_ttl: Duration::from_millis(900),
        ..SchedulerOptions::default()
    }
}

/// A folder in which one file may be.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    pub(crate) there: AtomicBool,
}

impl MediaProbe for Folder {
    fn probe(&self, path: &str) -> Result<ProbedFile, Fault> {
        assert_ne!(path, "crash.jpg", "a probe that crashes");
        if self.there.load(Ordering::SeqCst) {
            return Ok(ProbedFile {
                kind: Some(MediaKind::Jpeg),
                bytes: 9_000,
                measure: Measure::default(),
            });
        }
        let detail = format!("`{path}` is not there");
        Err(Fault::new("media_missing", "a file is missing", detail, "put it there").passing())
    }
}
