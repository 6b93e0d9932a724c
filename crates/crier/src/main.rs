//! crier: a durable scheduler and worker pool that publishes posts with media to X from rows in Postgres.
//!
//! **Invariant:** this crate alone reads arguments, environment and configuration files; data goes to stdout, the rest
//! to stderr.

mod cli;
mod commands;
mod config;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = config::load(cli.config.as_deref()).and_then(|config| {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !config.no_color;
        crier_metrics::log::init(&crier_metrics::log::LogOptions {
            filter: config.log.filter.clone(),
            json: config.log.json,
            ansi,
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(commands::run(cli.command, config))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
