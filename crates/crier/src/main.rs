//! crier: a durable scheduler and worker pool that publishes posts with media to X from rows in Postgres.
//!
//! **Invariant:** this crate alone reads arguments, environment and configuration files; data goes to stdout, the rest
//! to stderr.

mod cli;
mod commands;
mod config;
mod connect;
mod demo;
mod embedded;
mod exit;
#[cfg(debug_assertions)]
mod failpoint;
mod gather;
mod host;
mod http;
mod lifecycle;
mod lint;
mod otlp;
mod probe;
mod processes;
mod reload;
mod screen;
mod supervisor;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Context;
use crate::config::Config;
use crate::exit::Refuse;
use crate::lifecycle::Hangups;
use crate::screen::Screen;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::complain(&error),
    }
}

fn run(cli: cli::Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let hangups = if cli.command.is_role() {
        // Before anything that takes its time: a SIGHUP that comes early is obeyed later, and ends nothing.
        let _inside = runtime.enter();
        Some(Hangups::catch()?)
    } else {
        None
    };
    // The schema must be there for whoever mends a configuration that does not load.
    let config = if cli.command.needs_config() {
        config::load(cli.config.as_deref())?
    } else {
        Config::default()
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !config.environment.no_color;
    let log = crier_metrics::log::init(&crier_metrics::log::LogOptions {
        filter: config.log.filter.clone(),
        json: config.log.json,
        ansi,
    })
    .refused("`log.filter` cannot be used")?;
    #[cfg(debug_assertions)]
    failpoint::arm(
        config.environment.failpoint.as_deref(),
        config.environment.failpoint_log.as_deref(),
    )?;
    let context = Context {
        config,
        screen: Screen::new(cli.json),
        file: cli.config,
        log,
        hangups,
    };
    let done = runtime.block_on(commands::run(cli.command, context));
    // Whoever reads a file of a disk that hangs is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}
