//! `crier config`: what holds, and what can be set.

use clap::{Args, Subcommand};

use super::Context;
use crate::config;
use crate::connect;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Look whether the file, the environment and the files they name can be used.
    Check,
    /// Show what holds in the end, without secrets.
    Dump,
    /// Show what can be set.
    Schema(Schema),
}

/// In which form.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// An annotated file with every setting at its default, instead of the JSON schema.
    #[arg(long, conflicts_with = "markdown")]
    yaml: bool,
    /// A page for people.
    #[arg(long)]
    markdown: bool,
}

impl ConfigCommand {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let (config, screen) = (&context.config, context.screen);
        match self {
            Self::Check => {
                // What is loaded is sound in itself; the files it names must be there too.
                config::secret(
                    "database.url",
                    config.database.url.as_ref(),
                    config.database.url_file.as_deref(),
                )?;
                config::secret(
                    "database.direct_url",
                    config.database.direct_url.as_ref(),
                    config.database.direct_url_file.as_deref(),
                )?;
                connect::key(config)?;
                connect::other_keys(config)?;
                connect::x(config)?;
                if screen.json {
                    return screen.object(&serde_json::json!({"ok": true}));
                }
                screen.line("the configuration can be used");
            }
            Self::Dump if screen.json => screen.object(config)?,
            Self::Dump => screen.line(serde_yaml::to_string(config)?.trim_end()),
            Self::Schema(Schema { yaml: true, .. }) => screen.line(config::example().trim_end()),
            Self::Schema(Schema { markdown: true, .. }) => {
                screen.line(config::markdown().trim_end());
            }
            Self::Schema(_) => screen.line(&serde_json::to_string_pretty(&config::schema())?),
        }
        Ok(())
    }
}
