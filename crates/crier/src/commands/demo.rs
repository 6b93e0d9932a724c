//! `crier demo`: the words of the command; the play itself is in [`crate::demo`].

use std::path::PathBuf;

use clap::Args;

use super::Context;
use crate::demo;
use crate::exit::Refuse;
use crate::screen::note;

const AFTER: &str = "\
Starts a private Postgres, a simulator of X, a scheduler, two workers and an exporter, each a process of its own; \
inserts demo/campaign.sql; compares what the simulator has at the end with what the rows asked for. Takes half a \
minute, needs PostgreSQL's server programs (`apt-get install postgresql`), leaves nothing behind.

Exit code 0 only if every post is there, once, whole and in order.";

/// What it takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Options {
    /// Only make the campaign's media files, in this folder.
    #[arg(long, value_name = "FOLDER")]
    files_only: Option<PathBuf>,
    /// Leave the folder with the logs, and say where it is.
    #[arg(long)]
    keep: bool,
}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        if let Some(folder) = self.files_only {
            std::fs::create_dir_all(&folder)
                .refused(format!("the folder `{}` cannot be made", folder.display()))?;
            demo::media::make(&folder)?;
            note(&format!(
                "picture.png and film.mp4 are in `{}`",
                folder.display()
            ));
            return Ok(());
        }
        demo::play(&context.config, context.screen, self.keep).await
    }
}
