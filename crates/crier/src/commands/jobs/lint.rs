//! `crier jobs lint`: what X would refuse of jobs that wait.
//!
//! **Invariant:** looking changes nothing, and no number of waiting jobs is held in memory at once.

use clap::Args;
use crier_store::{Store, Waiting, WaitingDraft};
use serde_json::json;

use super::Context;
use crate::exit::Refusal;
use crate::lint;
use crate::screen::{counted, note};

/// Jobs read at once.
const PAGE: i64 = 500;

/// Which jobs.
#[derive(Debug, Args)]
#[command(
    after_help = "All that wait if none are named; all faults of a job at once. Nothing is sent, and nothing changes."
)]
pub(crate) struct Lint {
    /// Their numbers.
    #[arg(conflicts_with = "campaign")]
    ids: Vec<i64>,
    /// Those of a campaign.
    #[arg(long, value_name = "NAME")]
    campaign: Option<String>,
}

#[derive(Default)]
struct Count {
    jobs: u64,
    refused: u64,
    warned: u64,
}

impl Lint {
    pub(super) async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        for id in &self.ids {
            super::existing(store, *id).await?;
        }
        let named = self.ids.clone();
        let waiting = match self.campaign {
            Some(name) => Waiting::Campaign(name),
            None if named.is_empty() => Waiting::All,
            None => Waiting::Jobs(self.ids),
        };
        let (mut count, mut above) = (Count::default(), 0);
        let mut seen = Vec::new();
        loop {
            let page = store.waiting_drafts(&waiting, above, PAGE).await?;
            let Some(last) = page.last() else { break };
            above = last.job;
            for job in &page {
                one(context, job, &mut count)?;
            }
            if !named.is_empty() {
                seen.extend(page.iter().map(|job| job.job));
            }
        }
        for id in named.into_iter().filter(|id| !seen.contains(id)) {
            let job = super::existing(store, id).await?;
            let state = job["state"].as_str().unwrap_or_default();
            note(&format!("job {id} is {state}: nothing of it is to be sent"));
        }
        if !context.screen.json {
            note(&format!(
                "{} looked at: {} would be refused, {} with warnings only",
                counted(count.jobs, "job", "jobs"),
                count.refused,
                count.warned
            ));
        }
        if count.refused == 0 {
            return Ok(());
        }
        Refusal::new(format!(
            "{} can never go out as it stands",
            counted(count.refused, "job", "jobs")
        ))
        .hint("edit the row by SQL, or cancel the job with `crier jobs cancel`")
        .fail()
    }
}

fn one(context: &Context, job: &WaitingDraft, count: &mut Count) -> anyhow::Result<()> {
    let faults = lint::faults(&context.config, &job.draft);
    let refused = faults.iter().any(|fault| fault.permanent);
    count.jobs += 1;
    count.refused += u64::from(refused);
    count.warned += u64::from(!refused && !faults.is_empty());
    if context.screen.json {
        return context.screen.object(
            &json!({"id": job.job, "account": job.draft.handle, "would_be_refused": refused,
            "faults": faults.iter().map(lint::shown).collect::<Vec<_>>()}),
        );
    }
    for fault in &faults {
        context
            .screen
            .line(&format!("job {}: {}", job.job, lint::line(fault)));
    }
    Ok(())
}
