//! `crier sim`: the simulator of X on a port.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Context;
use crate::exit::Refuse;
use crate::lifecycle::stop_on_signals;

/// Where it listens, and what it begins with.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints its base address, which is what CRIER__X__BASE_URL takes. Accounts are made with\n\
    curl -d '{\"username\": \"acme\"}' ADDRESS/_sim/accounts | crier auth import"
)]
pub(crate) struct Options {
    /// Address to listen on; port 0 takes a free one. Loopback, since it knows no secrets worth keeping.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Accounts, faults and options to begin with, in JSON.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let options = match &self.script {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .refused(format!("cannot read `{}`", path.display()))?;
                crier_sim::SimOptions::from_json(&text)
                    .refused(format!("`{}` cannot be used", path.display()))?
            }
            None => crier_sim::SimOptions::default(),
        };
        let stop = stop_on_signals()?;
        let listener = tokio::net::TcpListener::bind(self.listen)
            .await
            .refused(format!("cannot listen on {}", self.listen))?;
        let base = format!("http://{}", listener.local_addr()?);
        if context.screen.json {
            context
                .screen
                .object(&serde_json::json!({"base_url": base}))?;
        } else {
            context.screen.line(&base);
        }
        crier_sim::serve(listener, options, stop.soft)
            .await
            .context("the simulator stopped")
    }
}
