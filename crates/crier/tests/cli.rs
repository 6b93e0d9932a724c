//! The command line as a person meets it: help, wrong input, exit codes, screens.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

#[path = "cli/database.rs"]
mod database;
#[path = "cli/desk.rs"]
mod desk;
#[path = "cli/embedded.rs"]
mod embedded;
#[path = "cli/lint.rs"]
mod lint;
#[path = "cli/words.rs"]
mod words;

use std::io::Write;
use std::process::{Command, Stdio};

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// The binary, with nothing of the caller's environment but what is given.
fn command(words: &[&str], variables: &[(&str, &str)]) -> Command {
    bare(env!("CARGO_BIN_EXE_crier"), words, variables)
}

fn bare(program: &str, words: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(variables.iter().copied());
    command
}

/// Runs a command that ends by itself; one that does not within a minute ends with code 124.
fn crier_with(words: &[&str], variables: &[(&str, &str)], input: &str) -> Said {
    let words = [&["60", env!("CARGO_BIN_EXE_crier")], words].concat();
    let mut child = bare("timeout", &words, variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read is gone before all is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn crier(words: &[&str]) -> Said {
    crier_with(words, &[], "")
}
