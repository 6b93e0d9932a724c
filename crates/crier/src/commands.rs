//! What each command does, one module a command.
//!
//! **Invariant:** a command answers with an error or is done; how that ends the process is for [`crate::exit`] to say.

pub(crate) mod accounts;
pub(crate) mod auth;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod post;
pub(crate) mod run;
pub(crate) mod sim;
mod standing;
mod watch;
pub(crate) mod webhooks;

use std::path::PathBuf;

use crier_metrics::log::LogControl;

use crate::cli::Command;
use crate::config::Config;
use crate::lifecycle::Hangups;
use crate::screen::Screen;

/// A process that was seen so many seconds ago is here: it notes so every ten seconds.
const SEEN_S: u32 = 30;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The settings.
    pub(crate) config: Config,
    /// Where data goes.
    pub(crate) screen: Screen,
    /// The file that the settings came from.
    pub(crate) file: Option<PathBuf>,
    /// What is logged.
    pub(crate) log: LogControl,
    /// SIGHUPs, if this command is a role.
    pub(crate) hangups: Option<Hangups>,
}

/// Carries a command out.
pub(crate) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Demo(options) => options.run(context).await,
        Command::Run(options) => options.run(context).await,
        Command::Scheduler => run::roles(context, run::Roles::SCHEDULER).await,
        Command::Worker => run::roles(context, run::Roles::WORKER).await,
        Command::Exporter => run::roles(context, run::Roles::NONE).await,
        Command::Migrate(options) => options.run(context).await,
        Command::Doctor(options) => options.run(context).await,
        Command::Health(options) => options.run(context).await,
        Command::Docs(pages) => pages.run(&context),
        Command::Post(options) => options.run(context).await,
        Command::Jobs(command) => command.run(context).await,
        Command::Accounts(command) => command.run(context).await,
        Command::Auth(command) => command.run(context).await,
        Command::Keys(command) => command.run(context).await,
        Command::Webhooks(command) => command.run(context).await,
        Command::Config(command) => command.run(&context),
        Command::Sim(options) => options.run(context).await,
    }
}
