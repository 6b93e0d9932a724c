//! A private Postgres that may be struck down at any moment and comes back on the same port with what it had committed.
//!
//! It keeps its promises to the disk (`fsync` on): a loss after a restart is crier's, not the server's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::hosts::signal;

/// Longest wait for a start, crash recovery included.
const START: Duration = Duration::from_mins(1);

pub(crate) struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// A command as a user without rights: Postgres refuses to run as root.
fn unprivileged() -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([
            "--reuid=nobody",
            &format!("--regid={}", id(&["-g", "nobody"])),
            "--clear-groups",
        ]);
    }
    command.args(["--pdeathsig", "QUIT"]).current_dir("/");
    command.stdin(Stdio::null()).process_group(0);
    command
}

fn is_root() -> bool {
    id(&["-u"]) == "0"
}

fn id(words: &[&str]) -> String {
    let output = std::process::Command::new("id").args(words).output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

impl Postgres {
    /// Makes a cluster in a folder of its own and starts it.
    pub(crate) async fn new(root: &Path) -> Self {
        let script = root.join("scripts/pg-bin");
        let found = Command::new(script).output().await.unwrap();
        let bin = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        assert!(
            found.status.success() && !bin.is_empty(),
            "no PostgreSQL server programs found; `scripts/need` installs them"
        );
        // Where any user may look: the server's own must reach it.
        let folder = PathBuf::from(format!(
            "/tmp/crier-chaos-{}",
            uuid::Uuid::new_v4().simple()
        ));
        std::fs::create_dir(&folder).unwrap();
        if is_root() {
            let user = id(&["-u", "nobody"]).parse().ok();
            let group = id(&["-g", "nobody"]).parse().ok();
            std::os::unix::fs::chown(&folder, user, group).unwrap();
        }
        let made = unprivileged()
            .arg(Path::new(&bin).join("initdb"))
            .arg(format!("--pgdata={}", folder.join("data").display()))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync"])
            .output()
            .await
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = Self {
            bin: bin.into(),
            folder,
            port: crate::proxy::free_port().await,
            child: None,
        };
        server.start().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut child = unprivileged()
            .arg(self.bin.join("postgres"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=120"])
            .args(["-c", "fsync=on", "-c", "synchronous_commit=on"])
            .args(["-c", "shared_buffers=64MB", "-c", "logging_collector=off"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        loop {
            let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
            let pid = pid.unwrap_or_default();
            let ours =
                pid.lines().next().map(str::trim) == child.id().map(|n| n.to_string()).as_deref();
            if ours && pid.lines().nth(7).is_some_and(|s| s.starts_with("ready")) {
                break;
            }
            assert!(
                child.try_wait().unwrap().is_none() && begin.elapsed() < START,
                "Postgres did not start: {}",
                std::fs::read_to_string(self.log()).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.child = Some(child);
    }

    /// An immediate shutdown: nothing is finished, nothing written out, every connection gone.
    pub(crate) async fn strike_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "QUIT").await;
            child.wait().await.unwrap();
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.child.is_none()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(pid) = self.child.as_ref().and_then(Child::id) {
            let _ = std::process::Command::new("kill")
                .args(["-QUIT", &pid.to_string()])
                .status();
            std::thread::sleep(Duration::from_millis(300));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
