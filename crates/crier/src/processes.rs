//! Processes of our own: signals to them, and roles of this same program as children.
//!
//! **Invariant:** a child is signalled only while it is ours to wait for, so that its number cannot belong to another;
//! and it is gone when its handle is.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A signal that we send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ctrl-C; Postgres: stop, cutting sessions off.
    Int,
    /// Postgres: stop at once.
    Quit,
    /// Please end.
    Term,
    /// End now.
    #[cfg(debug_assertions)]
    Kill,
    /// Stand still until told to go on.
    #[cfg(debug_assertions)]
    Stop,
}

/// Sends a signal. The shell's own `kill` is the one that is everywhere.
pub(crate) fn signal(process: u32, signal: Signal) {
    use std::os::unix::process::CommandExt;
    let name = match signal {
        Signal::Int => "INT",
        Signal::Quit => "QUIT",
        Signal::Term => "TERM",
        #[cfg(debug_assertions)]
        Signal::Kill => "KILL",
        #[cfg(debug_assertions)]
        Signal::Stop => "STOP",
    };
    let sent = std::process::Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &process.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A second Ctrl-C must not cut it off.
        .process_group(0)
        .status();
    if let Err(error) = sent {
        tracing::warn!(%error, process, name, "a signal could not be sent");
    }
}

/// A program in the folders of `PATH`.
pub(crate) fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// What roles of a private installation have in common.
#[derive(Debug)]
pub(crate) struct Nursery {
    /// This program.
    program: PathBuf,
    /// Ends children with us, even when we are killed; where it is there.
    setpriv: Option<PathBuf>,
    /// Variables that they get, and no others but `PATH`.
    variables: Vec<(&'static str, String)>,
    path: std::ffi::OsString,
    logs: PathBuf,
}

impl Nursery {
    /// Children of this program that write their logs into a folder.
    pub(crate) fn new(path: &OsStr, logs: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("this program does not find itself")?,
            setpriv: find_program("setpriv", path),
            variables: Vec::new(),
            path: path.to_owned(),
            logs: logs.to_owned(),
        })
    }

    /// A variable for all children from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// Starts `crier WORDS…` and waits for the first line it prints.
    pub(crate) async fn start(
        &self,
        name: &'static str,
        words: &[&str],
    ) -> anyhow::Result<(Role, String)> {
        let log = self.logs.join(format!("{name}.log"));
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        let mut child = command
            .args(words)
            .env_clear()
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            // Ctrl-C reaches us alone, and we end them in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {name} cannot be started"))?;
        let out = child.stdout.take().context("a child without output")?;
        let mut lines = BufReader::new(out).lines();
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
        let Ok(Ok(Some(line))) = line else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the {name} did not start: {}", said.trim());
        };
        Ok((Role { name, child, log }, line))
    }
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Role {
    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "the {} ended with {status}: {}",
                self.name,
                self.complaints().join("; ")
            ),
        }
    }

    /// Ends it in good order; kills it if it takes too long.
    pub(crate) async fn stop(mut self, patience: Duration) {
        if let Some(process) = self.child.id() {
            signal(process, Signal::Term);
        }
        if tokio::time::timeout(patience, self.child.wait())
            .await
            .is_err()
        {
            tracing::warn!("the {} did not stop in time and was killed", self.name);
            let _ = self.child.kill().await;
        }
    }

    /// What it warned of or failed with, the newest last.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let bad = |line: &&str| {
            line.contains(" WARN ") || line.contains(" ERROR ") || line.starts_with("error:")
        };
        let mut lines: Vec<String> = text
            .lines()
            .filter(bad)
            .rev()
            .take(5)
            .map(str::to_owned)
            .collect();
        lines.reverse();
        lines
            .iter()
            .map(|line| format!("{}: {line}", self.name))
            .collect()
    }
}
