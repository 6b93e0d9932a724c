//! The words of the command line; what each command takes is told where it is carried out.
//!
//! **Invariant:** exit code 0 is done, 1 is a fault of the user's input or a refusal, 2 is a command line that cannot be
//! read, 3 is everything else; stderr says why.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    accounts, auth, config, demo, docs, doctor, health, jobs, keys, migrate, post, run, sim,
    webhooks,
};

const AFTER: &str = "\
Exit codes: 0 done, 1 your input or a refusal, 2 the command line, 3 unexpected.
Data goes to stdout, all else to stderr.

The database is named by DATABASE_URL. Every setting of the configuration file is a variable too:
worker.concurrency is CRIER__WORKER__CONCURRENCY.

First steps: `crier demo` shows everything on this machine; the README has the first real post.";

/// Publishes posts to X, on time, from rows of a Postgres table.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER)]
pub(crate) struct Cli {
    /// Configuration in YAML; the environment (`CRIER__SECTION__KEY`) goes before it.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config: Option<PathBuf>,
    /// Data as JSON, one object a line.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One word, one job.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole of it: private Postgres, simulated X, all roles, a small campaign.
    Demo(demo::Options),
    /// Scheduler, worker and exporter in one process.
    Run(run::Options),
    /// The scheduler alone: makes due rows claimable.
    Scheduler,
    /// A worker alone: uploads media and publishes.
    Worker,
    /// The exporter alone: metrics for Prometheus, from the database.
    Exporter,
    /// Bring the database's schema up to date.
    Migrate(migrate::Options),
    /// Look whether everything is as it must be.
    Doctor(doctor::Options),
    /// Ask the process on this machine whether it is ready.
    Health(health::Options),
    /// Schedule one post.
    Post(post::Options),
    /// Jobs, without SQL.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Accounts that crier publishes for.
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// Grants of accounts.
    #[command(subcommand)]
    Auth(auth::Auth),
    /// Keys that seal tokens.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Whom to tell what became of jobs.
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    /// The configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// A simulator of X on a port, for trials.
    Sim(sim::Options),
    /// Pages about crier, made from it.
    #[command(subcommand, hide = true)]
    Docs(docs::Docs),
}

impl Command {
    /// Whether it runs until it is told to stop, and reads its settings anew on a SIGHUP.
    pub(crate) fn is_role(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Scheduler | Self::Worker | Self::Exporter
        )
    }

    /// Whether it can do its work only with a configuration that is right.
    pub(crate) fn needs_config(&self) -> bool {
        !matches!(
            self,
            Self::Config(config::ConfigCommand::Schema(_)) | Self::Docs(_)
        )
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
