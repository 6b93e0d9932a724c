//! SIGHUP: settings change while a real process runs, or stay as they are and say why.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpListener, UnixDatagram};

use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(1);
/// What no log may hold.
const SECRET: &str = "pgs3cr3tword";

/// A role with a file of settings, whose log and pages are read.
struct Settled {
    folder: PathBuf,
    address: String,
    role: Role,
}

impl Settled {
    fn folder() -> PathBuf {
        let name = format!("crier-reload-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    async fn start(stage: &Stage, folder: PathBuf, role: &str, more: &[(&str, &str)]) -> Self {
        // A free port, for as long as nobody else takes it.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let config = folder.join("crier.yaml");
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = stage.command(&["--config", config.to_str().unwrap(), role]);
        command
            .env("CRIER__EXPORTER__LISTEN", &address)
            .envs(more.iter().copied())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(log);
        let role = Role::spawn(&mut command);
        Self {
            folder,
            address,
            role,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits for a line of `/metrics`.
    async fn shows(&self, stage: &Stage, line: &str) {
        let begin = Instant::now();
        loop {
            let page = stage.page(&self.address, "/metrics").await;
            if page.lines().any(|shown| shown == line) {
                return;
            }
            assert!(
                begin.elapsed() < SOON,
                "not shown: {line}\n{page}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Another file in its place, in one step, as an editor or a deployment does it.
fn put(folder: &Path, text: &str) {
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), folder.join("crier.yaml")).unwrap();
}

/// What was told to systemd, until a message with these words.
async fn told(socket: &UnixDatagram, words: &str) -> String {
    let mut all = String::new();
    while !all.contains(words) {
        let mut bytes = [0; 4096];
        let message = tokio::time::timeout(SOON, socket.recv(&mut bytes)).await;
        let length = message.expect("a message").unwrap();
        all.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        all.push('\n');
    }
    all
}

#[tokio::test]
async fn on_sighup_more_posts_go_out_at_once_and_what_takes_a_restart_is_named() {
    let slow =
        json!({"route": "POST /2/tweets", "kind": "slow", "delay_ms": 2_000, "times": 1_000});
    let stage = Stage::new(&json!({"faults": [slow]})).await;
    for account in ["a", "b", "c", "d"] {
        stage.account(account).await;
    }
    let folder = Settled::folder();
    let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
    put(
        &folder,
        &format!(
            "worker:\n  concurrency: 1\nlog:\n  filter: info\ndatabase:\n  direct_url: postgres://x:{SECRET}1@127.0.0.1:1/x\n"
        ),
    );
    let notify = folder.join("notify");
    let mut crier = Settled::start(
        &stage,
        folder.clone(),
        "run",
        &[
            ("NOTIFY_SOCKET", notify.to_str().unwrap()),
            ("CRIER__DATABASE__POOLER", "none"),
        ],
    )
    .await;
    told(&socket, "READY=1").await;
    crier.shows(&stage, "crier_worker_concurrency 1").await;
    crier
        .shows(&stage, "crier_config_reloads_total{result=\"ok\"} 0")
        .await;
    let sending = "from crier.leases where kind = 'publish'";
    stage
        .sql(
            "insert into crier.jobs (account, text)
             select chr(97 + n % 4), 'post ' || n from generate_series(1, 12) n",
        )
        .await;
    stage
        .until(&format!("select count(*) = 1 as done {sending}"), SOON)
        .await;
    assert!(!crier.log().contains("X answered"), "{}", crier.log());

    put(
        &folder,
        &format!(
            "worker:\n  concurrency: 4\n  stop_grace_s: 24\nlog:\n  filter: info,crier_x=debug\ndatabase:\n  direct_url: postgres://x:{SECRET}2@127.0.0.1:1/x\n"
        ),
    );
    crier.role.signal("HUP").await;
    let said = told(&socket, "READY=1").await;
    assert!(
        said.starts_with("RELOADING=1\nMONOTONIC_USEC=")
            && said.contains("STATUS=restart to change database.direct_url, worker.stop_grace_s\n"),
        "{said}"
    );
    crier.shows(&stage, "crier_worker_concurrency 4").await;
    crier.shows(&stage, "crier_config_awaiting_restart 2").await;
    crier
        .shows(&stage, "crier_config_reloads_total{result=\"ok\"} 1")
        .await;
    stage
        .until(&format!("select count(*) = 4 as done {sending}"), SOON)
        .await;
    let log = crier.log();
    assert!(
        log.contains("the settings were read anew changed=\"log.filter, worker.concurrency\""),
        "{log}"
    );
    assert!(
        log.contains("restart crier to change database.direct_url, worker.stop_grace_s"),
        "{log}"
    );

    for (broken, why) in [
        (
            "worker:\n  concurrency: 2\n  lease_s: lots\n",
            "at line 3 column 12",
        ),
        ("worker:\n  concurrency: 0\n", "must be at least 1"),
        ("worker:\n  concurency: 2\n", "unknown field `concurency`"),
        (
            "worker:\n  concurrency: 2\nlog:\n  filter: \"info,=,\"\n",
            "`log.filter` cannot be used",
        ),
        (
            "worker:\n  concurrency: 2\nsecrets:\n  key_file: /nowhere/key\n",
            "are both set",
        ),
        (
            "worker:\n  concurrency: 2\ndatabase:\n  direct_url_file: /nowhere/url\n",
            "cannot read `database.direct_url_file`",
        ),
    ] {
        put(&folder, broken);
        crier.role.signal("HUP").await;
        let said = told(&socket, "READY=1").await;
        assert!(said.contains(why), "{broken}: {said}");
        assert!(crier.log().contains(why), "{broken}: {}", crier.log());
    }
    crier
        .shows(&stage, "crier_config_reloads_total{result=\"refused\"} 6")
        .await;
    crier.shows(&stage, "crier_worker_concurrency 4").await;

    put(
        &folder,
        "worker:\n  concurrency: 2\nlog:\n  filter: info,crier_x=debug\n",
    );
    crier.role.signal("HUP").await;
    told(&socket, "READY=1").await;
    crier.shows(&stage, "crier_worker_concurrency 2").await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let log = crier.log();
    assert!(log.contains("X answered"), "the filter had changed: {log}");
    assert!(!log.contains(SECRET), "{log}");
    crier.role.signal("TERM").await;
    assert!(crier.role.end().await.success(), "{}", crier.log());
    stage.done().await;
}

/// Whether the process has a handler for SIGHUP, which is signal 1.
fn catches_hangups(role: &Role) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", role.id())).unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:\t"));
    u64::from_str_radix(caught.unwrap(), 16).unwrap() & 1 == 1
}

#[tokio::test]
async fn a_sighup_at_any_time_of_the_start_ends_nothing_and_is_not_forgotten() {
    let stage = Stage::new(&json!({})).await;
    let folder = Settled::folder();
    let pipe = folder.join("crier.yaml");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    // It stands at the very beginning, reading its settings from a pipe that nobody writes to yet.
    let mut crier = Settled::start(&stage, folder, "worker", &[]).await;
    let begin = Instant::now();
    while !catches_hangups(&crier.role) {
        assert!(begin.elapsed() < SOON, "{}", crier.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crier.role.signal("HUP").await;
    let write = |text: &'static str| {
        let pipe = pipe.clone();
        tokio::task::spawn_blocking(move || std::fs::write(pipe, text).unwrap())
    };
    write("worker:\n  concurrency: 3\n").await.unwrap();
    // Once it has read the first: both at once would be one file to it.
    stage.page(&crier.address, "/healthz").await;
    // The signal came before there was anybody to obey it.
    write("worker:\n  concurrency: 5\n").await.unwrap();
    crier.shows(&stage, "crier_worker_concurrency 5").await;
    crier
        .shows(&stage, "crier_config_reloads_total{result=\"ok\"} 1")
        .await;
    crier.role.signal("TERM").await;
    assert!(crier.role.end().await.success(), "{}", crier.log());
    stage.done().await;
}

#[tokio::test]
async fn hangups_without_end_during_the_start_end_nothing() {
    let stage = Stage::new(&json!({})).await;
    for role in ["run", "scheduler", "worker", "exporter"] {
        let folder = Settled::folder();
        put(&folder, "log:\n  filter: warn\n");
        let mut crier = Settled::start(&stage, folder, role, &[]).await;
        let begin = Instant::now();
        while !catches_hangups(&crier.role) {
            assert!(begin.elapsed() < SOON, "{role}: {}", crier.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..100 {
            crier.role.signal("HUP").await;
        }
        assert!(!crier.role.has_ended(), "{role}: {}", crier.log());
        stage.page(&crier.address, "/healthz").await;
        crier.role.signal("TERM").await;
        assert!(crier.role.end().await.success(), "{role}: {}", crier.log());
    }
    stage.done().await;
}
