//! A role whose pages and log a test looks at.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Role, Stage};

/// Looks of the reconciler soon after another, and leases that are short for a call that may take five seconds.
pub(crate) const QUICK: [(&str, &str); 6] = [
    ("CRIER__WORKER__FIRST_LOOK_S", "1"),
    ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
    ("CRIER__X__CONNECT_TIMEOUT_S", "2"),
    ("CRIER__X__TIMEOUT_S", "8"),
    ("CRIER__WORKER__LEASE_S", "20"),
    ("CRIER__DATABASE__ACQUIRE_TIMEOUT_S", "3"),
];

/// A process of crier.
pub(crate) struct Watched {
    role: Role,
    address: String,
    log: PathBuf,
}

impl Watched {
    /// Starts a role with settings of its own.
    pub(crate) fn start(stage: &Stage, role: &str, settings: &[(&str, &str)]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let log = std::env::temp_dir().join(format!("crier-e2e-{}.log", uuid::Uuid::new_v4()));
        let mut command = stage.command(&[role]);
        command
            .env("CRIER__EXPORTER__LISTEN", &address)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        Self {
            role: Role::spawn(&mut command),
            address,
            log,
        }
    }

    /// One of its pages.
    pub(crate) async fn page(&self, stage: &Stage, path: &str) -> String {
        stage.page(&self.address, path).await
    }

    /// Asks `/readyz` until it answers so; answers what it said.
    pub(crate) async fn until_ready_is(&self, stage: &Stage, ready: bool) -> String {
        let status = if ready {
            "HTTP/1.1 200"
        } else {
            "HTTP/1.1 503"
        };
        let begin = Instant::now();
        loop {
            let page = self.page(stage, "/readyz").await;
            if page.starts_with(status) {
                return page;
            }
            assert!(
                begin.elapsed() < Duration::from_mins(1),
                "{page}\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log holds these words.
    pub(crate) async fn until_said(&self, words: &str) {
        let begin = Instant::now();
        while !self.said().contains(words) {
            assert!(
                begin.elapsed() < Duration::from_mins(1),
                "not said: {words}\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it; it must be alive until then, and end well.
    pub(crate) async fn stop(self) {
        self.role.stop().await;
        std::fs::remove_file(&self.log).unwrap();
    }

    /// SIGKILL.
    pub(crate) async fn kill(self) {
        self.role.kill().await;
        std::fs::remove_file(&self.log).unwrap();
    }
}
