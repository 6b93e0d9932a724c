//! `crier migrate`: the schema, brought up to date.

use clap::Args;

use super::Context;
use crate::connect;

/// What it takes: nothing yet.
#[derive(Debug, Args)]
#[command(
    after_help = "Safe to run at any time and from several places at once; a program that is older than the schema works on."
)]
pub(crate) struct Options {}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let version = connect::store(&context.config).await?.migrate().await?;
        if context.screen.json {
            return context
                .screen
                .object(&serde_json::json!({"schema_version": version}));
        }
        context
            .screen
            .line(&format!("the schema is at version {version}"));
        Ok(())
    }
}
