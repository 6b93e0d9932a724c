//! `crier health`: asks the process on this machine how it is, for supervisors that can only run a command.
//!
//! **Invariant:** it needs neither the database nor a key; exit code 0 is a yes, anything else is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Refuse;
use crate::http;

/// What to ask.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only whether its loops turn, whatever the database does: `/healthz` instead of `/readyz`.
    #[arg(long)]
    alive: bool,
}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let (path, word) = if self.alive {
            ("/healthz", "alive")
        } else {
            ("/readyz", "ready")
        };
        let server = here(context.config.exporter.listen);
        http::call(server, "GET", path, "")
            .await
            .refused(format!("the process at {server} is not {word}"))?;
        if context.screen.json {
            return context
                .screen
                .object(&json!({"address": server.to_string(), word: true}));
        }
        context.screen.line(&format!("{server} is {word}"));
        Ok(())
    }
}

/// Where a process that listens there is heard on this machine.
fn here(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_heard_here() {
        let here = |text: &str| here(text.parse().unwrap()).to_string();
        assert_eq!(here("0.0.0.0:9187"), "127.0.0.1:9187");
        assert_eq!(here("[::]:9187"), "[::1]:9187");
        assert_eq!(here("127.0.0.2:1"), "127.0.0.2:1");
    }
}
