//! The words of the command line.
//!
//! **Invariant:** exit code 0 is done, 1 is a failure that stderr explains, 2 is a command line that cannot be read.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Publishes posts to X, on time, from rows of a Postgres table.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// Configuration in YAML; the environment (`CRIER__SECTION__KEY`) goes before it.
    #[arg(long, global = true)]
    pub(crate) config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One word, one job.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the database's schema up to date.
    Migrate,
    /// Scheduler, worker and exporter in one process.
    Run,
    /// The scheduler alone: makes due rows claimable.
    Scheduler,
    /// A worker alone: publishes.
    Worker,
    /// Grants of accounts.
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Accounts that crier publishes for.
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Jobs, without SQL.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// A simulator of X on a port, for trials.
    Sim {
        /// Address to listen on; loopback, since it knows no secrets worth keeping.
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// Accounts, faults and options to begin with, in JSON.
        #[arg(long)]
        script: Option<PathBuf>,
    },
}

/// Grants.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Read accounts with their tokens as JSON (one object or an array) from standard input.
    Import,
}

/// Accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// List them, one JSON object a line.
    List,
}

/// Jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// One job as a JSON object.
    Show {
        /// Its number.
        id: i64,
    },
    /// Every attempt of a job, one JSON object a line: what was tried, and what X said.
    Why {
        /// Its number.
        id: i64,
    },
}

/// Prints one line of data to stdout.
#[expect(
    clippy::print_stdout,
    reason = "stdout is for data, and this is where data goes"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Prints an error, its causes and its hint to stderr.
#[expect(
    clippy::print_stderr,
    reason = "errors of the command line go to stderr"
)]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", crier_metrics::redact(&error.to_string()));
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {}", crier_metrics::redact(&cause.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
