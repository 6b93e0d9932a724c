//! `crier jobs settle`: a person says what became of a job that stays unknown.
//!
//! **Invariant:** it ends unknown jobs only, and a post that is on X is charged as one that crier heard of.

use clap::Args;
use crier_core::options::parse_options;
use crier_core::price::Priced;
use crier_store::{Ruling, Store};
use serde_json::Value;

use super::{Context, existing, shown};

pub(super) const AFTER: &str = "\
Only you can look where crier may not: at the account's page on X, its replies too.
  --published  the job is published, and what replies to it goes on; the id ends the post's address
  --retry      it goes out now. Be sure: a post that is on X is posted twice
  --absent     the job fails, and so does what replies to it. `crier jobs retry` sends it after all";

/// What became of it.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "outcome")]
pub(crate) struct Outcome {
    /// It is on X as this post.
    #[arg(long, value_name = "POST_ID")]
    published: Option<String>,
    /// It is not on X: send it again.
    #[arg(long)]
    retry: bool,
    /// It is not on X, and is not to be sent again.
    #[arg(long)]
    absent: bool,
}

/// A job, and what became of it.
#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// Its number.
    id: i64,
    #[command(flatten)]
    outcome: Outcome,
}

impl Settle {
    pub(super) async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        let job = existing(store, self.id).await?;
        let ruling = match self.outcome.published.as_deref() {
            Some(post_id) => Ruling::Published {
                post_id,
                charge: Some(context.config.prices.table().charge(kind(&job), 1)),
            },
            None if self.outcome.absent => Ruling::Absent,
            None => Ruling::Again,
        };
        store.settle_by_operator(self.id, ruling).await?;
        shown(context, store, self.id).await
    }
}

/// As which kind of post its call is charged.
fn kind(job: &Value) -> Priced {
    // Options that cannot be read were never sent.
    let replies =
        parse_options(&job["options"]).is_ok_and(|options| options.reply_target().is_some());
    Priced::of_post(job["text"].as_str().unwrap_or_default(), replies)
}
