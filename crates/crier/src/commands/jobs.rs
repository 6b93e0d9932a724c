//! `crier jobs`: what is scheduled, what became of it, and why.

use std::time::Duration;

use clap::{Args, Subcommand};
use crier_store::{JOB_STATES, JobFilter, JobRow, Store};
use serde_json::{Value, json};

mod due;
mod lint;
mod settle;
mod unpublish;
mod why;

use super::Context;
use super::watch::{Selection, watch};
use crate::connect;
use crate::exit::Refusal;
use crate::screen::{instant, reason, short, told_instant};

/// States of a job that has not ended.
const OPEN: [&str; 3] = ["scheduled", "paused", "unknown"];

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// List them, the newest first; or what is due and not out.
    List(List),
    /// Show one with all its columns.
    Show(One),
    /// Show every attempt of one: what was tried, and what X said.
    Why(One),
    /// Cancel one that waits.
    Cancel(One),
    /// Schedule one again that failed, was missed or cancelled.
    Retry(One),
    /// Say what became of one that stays unknown.
    #[command(after_help = settle::AFTER)]
    Settle(settle::Settle),
    /// Follow jobs until they have ended; fails if one did not go out.
    Watch(Watch),
    /// Say what X would refuse of jobs that wait; fails if one can never go out.
    Lint(lint::Lint),
    /// Delete the posts of published jobs from X again.
    #[command(after_help = unpublish::AFTER)]
    Unpublish(unpublish::Unpublish),
}

/// A job.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its number.
    id: i64,
}

/// Which jobs.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only these states; `open` stands for scheduled, paused and unknown.
    #[arg(long, value_delimiter = ',', value_parser = states())]
    state: Vec<String>,
    /// Only this campaign.
    #[arg(long, value_name = "NAME")]
    campaign: Option<String>,
    /// Only this account.
    #[arg(long)]
    account: Option<String>,
    /// Only those whose time has come and that are not out, the most late first, with what each waits for.
    #[arg(long, conflicts_with = "state")]
    due: bool,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    limit: u32,
}

/// Which jobs to follow.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "which")]
pub(crate) struct Watch {
    /// Their numbers.
    ids: Vec<i64>,
    /// Those of a campaign, the newest thousand.
    #[arg(long, value_name = "NAME")]
    campaign: Option<String>,
}

fn states() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(JOB_STATES.into_iter().chain(["open"]))
}

impl Jobs {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let screen = context.screen;
        let store = connect::ready_store(&context.config).await?;
        match self {
            Self::List(list) if list.due => due::run(&context, &store, list).await,
            Self::List(list) => {
                let rows = store.job_rows(&list.filter(&store).await?).await?;
                screen.rows(&rows, &HEAD, "no such jobs", cells)
            }
            Self::Show(One { id }) => {
                let mut job = existing(&store, id).await?;
                let search = store.search(id).await?;
                if screen.json {
                    if let Some(search) = search {
                        job["search"] = json!(search);
                    }
                    return screen.object(&job);
                }
                let search = search.map(|search| vec!["search".to_owned(), why::told(&search)]);
                screen.facts(lines(&job).into_iter().chain(search));
                Ok(())
            }
            Self::Why(One { id }) => why::run(&context, &store, id).await,
            Self::Cancel(One { id }) => {
                existing(&store, id).await?;
                store.cancel_job(id).await?;
                shown(&context, &store, id).await
            }
            Self::Retry(One { id }) => {
                existing(&store, id).await?;
                store.retry_job(id).await?;
                shown(&context, &store, id).await
            }
            Self::Settle(settle) => settle.run(&context, &store).await,
            Self::Watch(Watch { ids, campaign }) => {
                let selection = match campaign {
                    Some(name) => Selection::Campaign(name),
                    None => Selection::Jobs(ids),
                };
                watch(&context, &store, selection, Duration::from_millis(500)).await
            }
            Self::Lint(lint) => lint.run(&context, &store).await,
            Self::Unpublish(unpublish) => unpublish.run(&context, &store).await,
        }
    }
}

impl List {
    async fn filter(self, store: &Store) -> anyhow::Result<JobFilter> {
        let account = match self.account {
            Some(handle) => Some(connect::account(store, &handle).await?.id),
            None => None,
        };
        let open = OPEN.map(str::to_owned);
        let states = self
            .state
            .into_iter()
            .flat_map(|state| match state.as_str() {
                "open" => open.to_vec(),
                _ => vec![state],
            });
        Ok(JobFilter {
            ids: Vec::new(),
            states: states.collect(),
            campaign: self.campaign,
            account,
            limit: i64::from(self.limit),
        })
    }
}

async fn existing(store: &Store, id: i64) -> anyhow::Result<Value> {
    match store.job(id).await? {
        Some(job) => Ok(job),
        None => Refusal::new(format!("there is no job {id}"))
            .hint("`crier jobs list` shows the newest ones")
            .fail(),
    }
}

async fn shown(context: &Context, store: &Store, id: i64) -> anyhow::Result<()> {
    let job = existing(store, id).await?;
    if context.screen.json {
        return context
            .screen
            .object(&json!({"id": id, "state": job["state"]}));
    }
    context.screen.line(&format!(
        "job {id} is {}",
        job["state"].as_str().unwrap_or_default()
    ));
    Ok(())
}

const HEAD: [&str; 6] = [
    "job",
    "account",
    "state",
    "run at",
    "text",
    "post or reason",
];

fn cells(job: &JobRow) -> Vec<String> {
    vec![
        job.id.to_string(),
        job.account.clone(),
        job.state.clone(),
        instant(job.run_at),
        short(&job.text, 40),
        result(job),
    ]
}

/// Address of the post, or why there is none (yet).
pub(super) fn result(job: &JobRow) -> String {
    if let Some(at) = job.unpublished_at {
        return format!("deleted from X at {}", instant(at));
    }
    if let Some(url) = &job.post_url {
        return url.clone();
    }
    let why = reason(job.error.as_ref().or(job.warning.as_ref()));
    match job.next_attempt_at.filter(|_| job.state == "scheduled") {
        Some(at) => format!("{why} (again at {})", instant(at)),
        None => why,
    }
}

/// Every word of a fault: code, title, detail, hint.
fn full(fault: &Value) -> String {
    let word = |key: &str| fault[key].as_str().unwrap_or_default();
    let mut said: Vec<&str> = Vec::new();
    for words in [word("code"), word("title"), word("detail")] {
        // X often gives the same words twice.
        if !words.is_empty() && !said.contains(&words) {
            said.push(words);
        }
    }
    match word("hint") {
        "" => said.join(": "),
        hint => format!("{}; {hint}", said.join(": ")),
    }
}

/// Columns of a job in the order in which people ask for them; empty and internal ones are left out.
fn lines(job: &Value) -> Vec<Vec<String>> {
    const COLUMNS: [&str; 24] = [
        "id",
        "state",
        "account",
        "text",
        "media",
        "options",
        "run_at",
        "next_attempt_at",
        "published_at",
        "post_id",
        "post_url",
        "unpublished_at",
        "error",
        "warning",
        "campaign",
        "after",
        "dedupe_key",
        "priority",
        "max_lateness",
        "attempts",
        "max_attempts",
        "created_at",
        "finished_at",
        "trace_id",
    ];
    let mut lines = Vec::new();
    for column in COLUMNS {
        let value = match (&job[column], column) {
            (Value::Null, _) => continue,
            (Value::Array(items), _) if items.is_empty() => continue,
            (Value::Object(map), _) if map.is_empty() => continue,
            (fault @ Value::Object(_), "error" | "warning") => full(fault),
            (Value::String(text), name) if name.ends_with("_at") => told_instant(text),
            (Value::String(text), _) => text.clone(),
            (
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
                _,
            ) => other.to_string(),
        };
        lines.push(vec![column.replace('_', " "), value]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_whole_and_once() {
        let fault = json!({"code": "forbidden", "title": "Forbidden", "detail": "not allowed", "hint": "ask X"});
        assert_eq!(full(&fault), "forbidden: Forbidden: not allowed; ask X");
        let fault =
            json!({"code": "file_missing", "title": "", "detail": "no `a.png`", "hint": ""});
        assert_eq!(full(&fault), "file_missing: no `a.png`");
    }

    #[test]
    fn a_job_is_shown_without_what_is_empty() {
        let job = json!({"id": 1, "state": "failed", "text": "hi", "media": [], "options": {}, "post_id": null, "account_id": 7,
            "error": {"code": "c", "title": "t"}, "attempts": 1});
        let names: Vec<_> = lines(&job)
            .into_iter()
            .map(|mut line| line.remove(0))
            .collect();
        assert_eq!(names, ["id", "state", "text", "error", "attempts"]);
    }
}
