//! A Postgres of one test's own, to be stopped, started, frozen and filled.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// Longest wait for the server to be ready; machines may be busy.
const START: Duration = Duration::from_mins(1);

/// A cluster in a folder of its own. Both are gone when it is.
pub(crate) struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    settings: Vec<String>,
    port: u16,
    server: Option<Child>,
}

/// A script of this repository.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scripts")
        .join(name)
}

/// What a script prints; its own words if it fails.
pub(crate) async fn told_by(name: &str, words: &[&str]) -> String {
    let output = Command::new(script(name))
        .args(words)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "scripts/{name} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn word(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().await.unwrap();
    assert!(output.status.success(), "{program} {words:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder that belongs to whoever runs servers here.
pub(crate) async fn folder_for_servers() -> PathBuf {
    // In /tmp, whatever TMPDIR says: an unprivileged user must reach it.
    let folder = PathBuf::from(format!("/tmp/crier-e2e-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    if word("id", &["-u"]).await == "0" {
        let group = word("id", &["-g", "nobody"]).await;
        word(
            "chown",
            &[&format!("nobody:{group}"), folder.to_str().unwrap()],
        )
        .await;
    }
    folder
}

/// A command of a server program: by `nobody` if we are root, whom Postgres and pgbouncer refuse; it does not outlive us.
pub(crate) async fn server_command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if word("id", &["-u"]).await == "0" {
        let group = word("id", &["-g", "nobody"]).await;
        command.args([
            "--reuid=nobody",
            &format!("--regid={group}"),
            "--clear-groups",
        ]);
    }
    command
        .args(["--pdeathsig", "QUIT"])
        .arg(program)
        // The unprivileged user may not enter our folder.
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command
}

impl Cluster {
    /// Makes one and starts it; `settings` as `name=value`.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let mut cluster = Self {
            bin: told_by("pg-bin", &[]).await.into(),
            folder: folder_for_servers().await,
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            port: 0,
            server: None,
        };
        let made = server_command(&cluster.bin.join("initdb"))
            .await
            .arg("--pgdata")
            .arg(cluster.folder.join("data"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            // Small segments of the log, so that a limit on the size of files can be small as well.
            .args(["--locale=C", "--no-sync", "--wal-segsize=1"])
            .output()
            .await
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        cluster.run().await;
        cluster
    }

    /// Starts the server (again), on the port that it had.
    pub(crate) async fn run(&mut self) {
        for _ in 0..20 {
            if self.port == 0 {
                // Below the range from which outgoing connections get theirs, as `scripts/with-postgres` does.
                self.port =
                    20_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 12_000).unwrap();
            }
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(self.folder.join("server.log"))
                .unwrap();
            let mut command = server_command(&self.bin.join("postgres")).await;
            command
                .arg("-D")
                .arg(self.folder.join("data"))
                .args(["-p", &self.port.to_string()])
                .args(["-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories="])
                .args(["-c", "fsync=off", "-c", "autovacuum=off"]);
            for setting in &self.settings {
                command.args(["-c", setting]);
            }
            let child = command
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            self.server = Some(child);
            if self.is_ready().await {
                return;
            }
            assert!(
                self.log().contains("could not bind"),
                "Postgres did not start: {}",
                self.log()
            );
            self.port = 0;
        }
        panic!("no free port was found");
    }

    async fn is_ready(&mut self) -> bool {
        let begin = Instant::now();
        let server = self.server.as_mut().unwrap();
        while begin.elapsed() < START {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
            let pid = pid.unwrap_or_default();
            let ours = pid.lines().next() == server.id().map(|id| id.to_string()).as_deref();
            if ours && pid.lines().nth(7).is_some_and(|s| s.starts_with("ready")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }

    /// Where it is, as its superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap()
    }

    /// Process of the server.
    pub(crate) fn id(&self) -> u32 {
        self.server.as_ref().unwrap().id().unwrap()
    }

    /// As if its machine had lost its power: at once, nothing is written out.
    pub(crate) async fn stop_at_once(&mut self) {
        let pid = self.id().to_string();
        word("kill", &["-QUIT", &pid]).await;
        let mut server = self.server.take().unwrap();
        tokio::time::timeout(START, server.wait())
            .await
            .expect("stops")
            .unwrap();
    }

    /// The server and all its sessions.
    pub(crate) async fn processes(&self) -> Vec<String> {
        let pid = self.id().to_string();
        let sessions = Command::new("pgrep")
            .args(["-P", &pid])
            .output()
            .await
            .unwrap();
        let sessions = String::from_utf8(sessions.stdout).unwrap();
        let mut all = vec![pid];
        all.extend(sessions.lines().map(str::to_owned));
        all
    }

    /// A signal to the server and all its sessions.
    pub(crate) async fn signal_all(&self, name: &str) {
        for process in self.processes().await {
            // One may have ended meanwhile.
            let _ = Command::new("kill").args([name, &process]).output().await;
        }
    }

    /// No file may grow beyond this for the server and its sessions; `unlimited` lifts it.
    pub(crate) async fn limit_files(&self, bytes: &str) {
        let prlimit = PathBuf::from("prlimit");
        let mut limited = 0;
        for process in self.processes().await {
            // As the server's own user, who alone needs no right for it.
            let done = server_command(&prlimit)
                .await
                .args(["--pid", &process, &format!("--fsize={bytes}:unlimited")])
                .status()
                .await
                .unwrap();
            limited += u32::from(done.success());
        }
        // Sessions may have ended meanwhile; the server is there.
        assert!(limited > 0, "the size of files could not be limited");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take()
            && let Some(pid) = server.id()
        {
            let tell = |signal: &str| {
                let _ = std::process::Command::new("kill")
                    .args([signal, &pid.to_string()])
                    .status();
            };
            tell("-QUIT");
            tell("-CONT");
            let begin = Instant::now();
            while matches!(server.try_wait(), Ok(None)) && begin.elapsed() < START {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
