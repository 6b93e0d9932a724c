//! Processes of crier, each on a host of its own: own links to the database and to X, and perhaps a clock that is off.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crier_store::Store;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::proxy::Link;
use crate::tally::{Death, Tally};

/// How long a SIGTERM may take; the processes are told to stop in less.
const STOP: Duration = Duration::from_secs(20);

pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// What a process says once it runs.
const RUNS: &str = "crier runs";
/// How long a lease lasts, in seconds: as short as the time of a call allows.
pub(crate) const LEASE_S: u64 = 13;

/// Settings of every process.
const SETTINGS: [(&str, &str); 15] = [
    ("CRIER__DATABASE__MAX_CONNECTIONS", "6"),
    ("CRIER__DATABASE__ACQUIRE_TIMEOUT_S", "5"),
    ("CRIER__EXPORTER__LISTEN", "127.0.0.1:0"),
    ("CRIER__SECRETS__KEY", KEY),
    ("CRIER__X__CONNECT_TIMEOUT_S", "2"),
    ("CRIER__X__TIMEOUT_S", "3"),
    ("CRIER__X__UPLOAD_TIMEOUT_S", "4"),
    ("CRIER__MEDIA__SEGMENT_BYTES", "65536"),
    ("CRIER__MEDIA__PROCESSING_TIMEOUT_S", "60"),
    ("CRIER__WORKER__LEASE_S", "13"),
    ("CRIER__WORKER__CONCURRENCY", "6"),
    ("CRIER__WORKER__STOP_GRACE_S", "5"),
    // Longer together than anything here delays a call: what is absent after them is absent.
    ("CRIER__WORKER__FIRST_LOOK_S", "4"),
    ("CRIER__WORKER__LOOK_WAITS_S", "[3, 4, 6, 8]"),
    ("CRIER__LOG__FILTER", "info,tokio_cron_scheduler=warn"),
];

/// Sends a signal to a process, if it is there still.
pub(crate) async fn signal(pid: Option<u32>, name: &str) {
    if let Some(pid) = pid {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .await;
        assert!(sent.is_ok(), "`kill` is everywhere");
    }
}

/// What is done to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL.
    Kill,
    /// Starts it if it is not running.
    Start,
    /// SIGSTOP.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// SIGTERM, waits, starts anew: a deploy.
    Restart,
}

/// What a host is made of.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    /// Seconds by which its clock is off.
    pub(crate) skew_s: i64,
    pub(crate) database: Link,
    pub(crate) x: Link,
}

/// What all hosts share.
#[derive(Clone)]
pub(crate) struct Ground {
    /// Straight to the database.
    pub(crate) store: Store,
    pub(crate) media: PathBuf,
    pub(crate) logs: PathBuf,
    /// The library that lies about the time, if it is there.
    pub(crate) faketime: PathBuf,
    pub(crate) tally: Tally,
}

/// The host's own task: blows strike in the order in which they are dealt.
pub(crate) fn live(
    host: &Host,
    ground: Ground,
) -> (mpsc::UnboundedSender<Blow>, tokio::task::JoinHandle<()>) {
    let (deal, mut blows) = mpsc::unbounded_channel();
    let mut process = Process {
        name: host.name,
        role: host.role,
        database: format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            host.database.port
        ),
        x: format!("http://127.0.0.1:{}", host.x.port),
        skew_s: host.skew_s,
        ground,
        child: None,
        begin: 0,
    };
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                blow = blows.recv() => match blow {
                    Some(blow) => process.take(blow).await,
                    None => break,
                },
                status = ended(&mut process.child) => process.revive(status).await,
            }
        }
        process.end().await;
    });
    (deal, task)
}

/// When a process ends by itself.
async fn ended(child: &mut Option<Child>) -> ExitStatus {
    match child {
        Some(child) => child.wait().await.unwrap(),
        None => std::future::pending().await,
    }
}

struct Process {
    name: &'static str,
    role: &'static str,
    database: String,
    x: String,
    skew_s: i64,
    ground: Ground,
    child: Option<Child>,
    /// Where its part of the log begins.
    begin: usize,
}

impl Process {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn log(&self) -> PathBuf {
        self.ground.logs.join(format!("{}.log", self.name))
    }

    async fn take(&mut self, blow: Blow) {
        let tally = self.ground.tally.clone();
        match blow {
            Blow::Start => self.start(),
            Blow::Kill => {
                let Some(mut child) = self.child.take() else {
                    return;
                };
                child.kill().await.unwrap();
                tally.count(&format!("SIGKILL of a {}", self.role));
                if self.role == "worker" {
                    self.mourn().await;
                }
            }
            Blow::Freeze => {
                signal(self.pid(), "STOP").await;
                tally.count(&format!("SIGSTOP of a {}", self.role));
            }
            Blow::Thaw => signal(self.pid(), "CONT").await,
            Blow::Restart => {
                let was = self.child.is_some();
                self.end().await;
                self.start();
                if was {
                    tally.count(&format!("SIGTERM and restart of a {}", self.role));
                }
            }
        }
    }

    /// What every supervisor does with a process that ended: it starts it again. To end because there is no database to
    /// begin with is a process's right.
    async fn revive(&mut self, status: ExitStatus) {
        self.child = None;
        if self.failed_to_start() {
            self.ground
                .tally
                .count("started again: no database at its start");
        } else {
            self.ground
                .tally
                .death_of_its_own(format!("{} ended by itself with {status}", self.name));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.start();
    }

    /// Whether this process had not begun to run.
    /// Whether it used up its grace over a database that did not take what was in flight. What X answered is held until then.
    fn waited_for_database(&self, told: u64) -> bool {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let since = text.get(usize::try_from(told).unwrap()..);
        let since = String::from_utf8_lossy(since.unwrap_or_default()).into_owned();
        let signs = [
            "code=\"db_",
            "sqlx::postgres::notice",
            "did not close in time",
            "slow statement",
        ];
        since.contains("out of time") && signs.iter().any(|sign| since.contains(sign))
    }

    fn failed_to_start(&self) -> bool {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let ours = text.get(self.begin..).unwrap_or_default();
        !String::from_utf8_lossy(ours).contains(RUNS)
    }

    fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        self.begin = usize::try_from(log.metadata().unwrap().len()).unwrap();
        // It must not outlive this process, not even its SIGKILL.
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                env!("CARGO_BIN_EXE_crier"),
                self.role,
            ])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(SETTINGS)
            .env("DATABASE_URL", &self.database)
            .env("CRIER__X__BASE_URL", &self.x)
            .env("CRIER__MEDIA__ROOT", &self.ground.media)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if self.skew_s != 0 {
            let library = &self.ground.faketime;
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", format!("{:+}s", self.skew_s))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// A clean end, or a kill if it takes too long.
    async fn end(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        signal(child.id(), "CONT").await;
        let told = std::fs::metadata(self.log()).map_or(0, |log| log.len());
        signal(child.id(), "TERM").await;
        if let Ok(status) = tokio::time::timeout(STOP, child.wait()).await {
            let status = status.unwrap();
            if !status.success() && !self.failed_to_start() {
                if self.waited_for_database(told) {
                    self.ground
                        .tally
                        .count("stopped out of time: the database was away or locked");
                } else {
                    self.ground
                        .tally
                        .death_of_its_own(format!("{} ended with {status}", self.name));
                }
            }
        } else {
            child.kill().await.unwrap();
            self.ground.tally.death_of_its_own(format!(
                "{} did not stop within {} s of SIGTERM",
                self.name,
                STOP.as_secs()
            ));
        }
    }

    /// Notes the lanes that the dead held and that have more to send, to see when they go on.
    async fn mourn(&self) {
        let Some(id) = last_id(&self.log()) else {
            return;
        };
        let query = format!(
            "select a.handle, (extract(epoch from l.expires_at) * 1000000)::bigint as ends_us,
                    (extract(epoch from crier.now()) * 1000000)::bigint as now_us
               from crier.leases l join crier.accounts a on a.id = l.account_id
              where l.kind = 'publish' and l.worker = '{id}'
                and (l.phase = 'claimed' or exists (select 1 from crier.jobs_open j where j.account_id = l.account_id
                     and j.id <> l.subject and j.state = 'scheduled' and j.held = 0 and coalesce(j.next_attempt_at, j.run_at) < l.expires_at))"
        );
        let held = self.ground.store.select_json(&query);
        // While the database is down nobody can tell; that death is not measured.
        let Ok(Ok(held)) = tokio::time::timeout(Duration::from_secs(2), held).await else {
            return;
        };
        for lease in held {
            self.ground.tally.died_holding(Death {
                account: lease["handle"].as_str().unwrap().to_owned(),
                at_us: number(&lease["now_us"]),
                lease_ends_us: number(&lease["ends_us"]),
            });
        }
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// By which name the newest worker of a log goes in the database.
fn last_id(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().rev().find(|line| line.contains(RUNS))?;
    let at = line.find("id=")? + 3;
    line.get(at..at + 36).map(str::to_owned)
}

/// `libfaketime` for programs with threads, from Debian's package.
///
/// # Errors
/// The words of `scripts/tool`, if it cannot be had: without it no clock is off, and the run would prove less than it says.
pub(crate) async fn faketime() -> Result<PathBuf, String> {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/tool");
    let found = Command::new(tool)
        .args(["libfaketimeMT.so.1", "libfaketime"])
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if found.status.success() {
        let path = String::from_utf8(found.stdout).map_err(|error| error.to_string())?;
        Ok(path.trim().into())
    } else {
        Err(String::from_utf8_lossy(&found.stderr).into_owned())
    }
}
