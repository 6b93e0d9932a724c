//! `crier post`: one row of `crier.jobs`, without SQL.

use std::time::Duration;

use clap::Args;
use crier_store::{Inserted, NewJob};
use serde_json::{Value, json};

mod dry;

use super::Context;
use super::watch::{Selection, watch};
use crate::connect;
use crate::exit::{Refusal, Refuse};

const AFTER: &str = "\
Examples:
  crier post --account @acme 'We are live!' --at '2026-12-01 09:00 Europe/Berlin'
  crier post --account @acme 'Look' --media launch.png --alt 'The rocket on its pad' --wait";

/// The row.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Options {
    /// Text of the post.
    #[arg(default_value = "", hide_default_value = true)]
    text: String,
    /// Who posts it, with or without `@`.
    #[arg(long)]
    account: String,
    /// When, as Postgres reads it; now if left out.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// A file in the media folder; up to four.
    #[arg(long, value_name = "FILE")]
    media: Vec<String>,
    /// Description of the media for those who do not see it; as often as --media, in the same order.
    #[arg(long, value_name = "TEXT", requires = "media")]
    alt: Vec<String>,
    /// Job to reply to once it is published (a thread).
    #[arg(long, value_name = "JOB")]
    after: Option<i64>,
    /// Group that can be paused, resumed and cancelled as one.
    #[arg(long, value_name = "NAME")]
    campaign: Option<String>,
    /// Higher goes first among the posts of the account that are due.
    #[arg(long, allow_negative_numbers = true, value_name = "NUMBER")]
    priority: Option<i16>,
    /// Posting it again under the same key does nothing.
    #[arg(long, value_name = "KEY")]
    dedupe_key: Option<String>,
    /// Later than that it is not posted, such as '30 minutes'.
    #[arg(long, value_name = "INTERVAL")]
    max_lateness: Option<String>,
    /// Trace that it belongs to: a W3C traceparent, or a trace id of 32 hex digits.
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    /// Other fields of the post.
    #[arg(
        long = "options",
        value_name = "JSON",
        help = "Other fields of POST /2/tweets as JSON, such as '{\"reply_settings\": \"following\"}'"
    )]
    fields: Option<String>,
    /// Wait until it is published, and fail if it is not.
    #[arg(long)]
    wait: bool,
    /// Say what would be sent and what X would refuse, and leave nothing behind.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let (wait, dry_run) = (self.wait, self.dry_run);
        let job = self.job()?;
        let store = connect::ready_store(&context.config).await?;
        if dry_run {
            return dry::run(&context, &store, &job).await;
        }
        let (id, new) = match store.insert_job(&job).await? {
            Inserted::New(id) => (id, true),
            Inserted::Known(id) => (id, false),
        };
        if wait {
            return watch(
                &context,
                &store,
                Selection::Jobs(vec![id]),
                Duration::from_millis(250),
            )
            .await;
        }
        if context.screen.json {
            return context.screen.object(&json!({"id": id, "new": new}));
        }
        let again = if new {
            ""
        } else {
            ", which was there already under this dedupe key"
        };
        context.screen.line(&format!("job {id}{again}"));
        Ok(())
    }

    fn job(self) -> anyhow::Result<NewJob> {
        if self.alt.len() > self.media.len() {
            return Refusal::new("there are more --alt than --media").fail();
        }
        let mut alt = self.alt.into_iter();
        let media: Vec<Value> = self
            .media
            .into_iter()
            .map(|source| {
                let key = if source.starts_with("http://") || source.starts_with("https://") {
                    "url"
                } else {
                    "path"
                };
                let mut item = json!({ key: source });
                if let Some(alt) = alt.next().filter(|alt| !alt.is_empty()) {
                    item["alt_text"] = alt.into();
                }
                item
            })
            .collect();
        let options = self
            .fields
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .refused("--options is not JSON")?;
        Ok(NewJob {
            account: self.account,
            text: self.text,
            media: (!media.is_empty()).then_some(Value::Array(media)),
            options,
            run_at: self.at,
            priority: self.priority,
            campaign: self.campaign,
            after: self.after,
            dedupe_key: self.dedupe_key,
            max_lateness: self.max_lateness,
            trace: self.trace,
        })
    }
}
