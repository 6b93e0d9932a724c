//! A private Postgres: real server programs of this machine, on a folder and a port of its own.
//!
//! **Invariant:** the server does not outlive us, however we end: a clean stop, an error, a panic, a signal; where
//! `setpriv` is there, not even our SIGKILL. It listens on loopback only and asks for a password.

pub(crate) mod binaries;
pub(crate) mod home;
pub(crate) mod user;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use crate::processes::{Signal, find_program, signal};
use crate::screen::short;
use user::Owner;

/// Longest wait for the server to be ready: crash recovery of a large folder takes its time.
const START: Duration = Duration::from_mins(2);
/// Longest wait for a clean stop.
const STOP: Duration = Duration::from_secs(30);
/// Ports that are tried: below the range from which outgoing connections get theirs.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct ServerOptions<'a> {
    /// Folder of the server programs.
    pub(crate) bin: &'a Path,
    /// Where programs are looked for.
    pub(crate) path: &'a std::ffi::OsStr,
    /// Who runs it.
    pub(crate) owner: &'a Owner,
    /// Folder for the data and the log; the owner's.
    pub(crate) folder: PathBuf,
    /// Password of the superuser.
    pub(crate) password: String,
    /// Port to try first.
    pub(crate) port: Option<u16>,
    /// Whether what is in it must outlive a power cut.
    pub(crate) durable: bool,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    password: String,
    durable: bool,
}

impl Server {
    /// Starts a server; makes its data first if there are none.
    pub(crate) async fn start(options: &ServerOptions<'_>) -> anyhow::Result<Self> {
        let data = options.folder.join("data");
        if !data.join("PG_VERSION").exists() {
            initialise(options, &data).await?;
        }
        let log = options.folder.join("server.log");
        let mut ports = options
            .port
            .into_iter()
            .chain(std::iter::repeat_with(|| rand::random_range(PORTS)).take(20));
        loop {
            let Some(port) = ports.next() else {
                bail!(
                    "no free port was found for Postgres; its log is `{}`",
                    log.display()
                );
            };
            let begin = std::fs::metadata(&log).map_or(0, |log| log.len());
            let mut server = Self::spawn(options, &data, &log, port)?;
            match server.until_ready(&data).await {
                Ok(()) => return Ok(server),
                Err(why) => {
                    let said = tail(&log, begin);
                    // Binding is the only sure test of a port.
                    if !said.contains("could not bind") {
                        return Err(
                            why.context(format!("Postgres did not start: {}", reason(&said)))
                        );
                    }
                }
            }
        }
    }

    fn spawn(
        options: &ServerOptions<'_>,
        data: &Path,
        log: &Path,
        port: u16,
    ) -> anyhow::Result<Self> {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)?;
        let postgres = options.bin.join("postgres");
        let mut command = if let Some(setpriv) = find_program("setpriv", options.path) {
            let mut command = options.owner.command(&setpriv);
            command.args(["--pdeathsig", if options.durable { "INT" } else { "QUIT" }]);
            command.arg(postgres);
            command
        } else {
            options.owner.command(&postgres)
        };
        command
            .arg("-D")
            .arg(data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "logging_collector=off"]);
        if !options.durable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let child = command
            // Ctrl-C reaches us alone: the server goes last.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("Postgres cannot be started")?;
        Ok(Self {
            child,
            port,
            password: options.password.clone(),
            durable: options.durable,
        })
    }

    /// Ready is what `pg_ctl` takes for ready: the eighth line of the server's own file.
    async fn until_ready(&mut self, data: &Path) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let ours = pid.lines().next().map(str::trim)
                == self.child.id().map(|id| id.to_string()).as_deref();
            if ours
                && pid
                    .lines()
                    .nth(7)
                    .is_some_and(|state| state.starts_with("ready"))
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("it was not ready within {} s", START.as_secs())
    }

    /// Its address, password included.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/postgres",
            self.password, self.port
        )
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops it; what is durable is written out first.
    pub(crate) async fn stop(mut self) {
        let Some(pid) = self.child.id() else { return };
        signal(
            pid,
            if self.durable {
                Signal::Int
            } else {
                Signal::Quit
            },
        );
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            tracing::warn!(
                "the private Postgres took too long to stop and is stopped at once; it recovers at its next start"
            );
            signal(pid, Signal::Quit);
            let _ = tokio::time::timeout(STOP, self.child.wait()).await;
        }
    }
}

impl Drop for Server {
    /// The way out of an error or a panic: at once, which Postgres survives.
    fn drop(&mut self) {
        let Ok(None) = self.child.try_wait() else {
            return;
        };
        let Some(pid) = self.child.id() else { return };
        signal(pid, Signal::Quit);
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(10)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

async fn initialise(options: &ServerOptions<'_>, data: &Path) -> anyhow::Result<()> {
    // What an interrupted start left half done: initdb refuses a folder that is not empty.
    if data.exists() {
        std::fs::remove_dir_all(data)?;
    }
    let secret = options.folder.join("superuser");
    write_private(&secret, &options.password)?;
    options.owner.give(&secret)?;
    let mut command: Command = options.owner.command(&options.bin.join("initdb"));
    command
        .arg("-D")
        .arg(data)
        .args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .arg(format!("--pwfile={}", secret.display()))
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    if !options.durable {
        command.arg("--no-sync");
    }
    let output = command.output().await.context("initdb cannot be started");
    let _ = std::fs::remove_file(&secret);
    let output = output?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("initdb failed: {}", reason(&said));
    }
    Ok(())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// What a log says from a place on.
fn tail(log: &Path, from: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut text)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    }
}

/// The line of a server's words that says why.
fn reason(said: &str) -> String {
    let fatal = said
        .lines()
        .filter(|line| line.contains("FATAL") || line.contains("error"))
        .chain(said.lines().rev())
        .find(|line| !line.trim().is_empty());
    short(fatal.unwrap_or("it said nothing").trim(), 300)
}
