//! Following jobs until they have ended.
//!
//! **Invariant:** each change of state is told once, in the order in which it was seen; the end is a failure if a job did
//! not go out.

use std::collections::BTreeMap;
use std::time::Duration;

use crier_store::{JobFilter, JobRow, Store};
use serde_json::json;

use super::Context;
use super::jobs::result;
use crate::exit::Refusal;
use crate::lifecycle::stop_on_signals;
use crate::screen::note;

/// Jobs of a campaign that are followed.
const MOST: i64 = 1_000;

/// Which jobs.
#[derive(Debug, Clone)]
pub(super) enum Selection {
    /// By number.
    Jobs(Vec<i64>),
    /// By campaign.
    Campaign(String),
}

/// Tells each change of state until none of the jobs is open, or a signal comes.
pub(super) async fn watch(
    context: &Context,
    store: &Store,
    selection: Selection,
    pause: Duration,
) -> anyhow::Result<()> {
    let stop = stop_on_signals()?;
    let filter = match &selection {
        Selection::Jobs(ids) => JobFilter {
            ids: ids.clone(),
            limit: MOST,
            ..JobFilter::default()
        },
        Selection::Campaign(name) => JobFilter {
            campaign: Some(name.clone()),
            limit: MOST,
            ..JobFilter::default()
        },
    };
    let mut seen = BTreeMap::new();
    loop {
        let mut jobs = store.job_rows(&filter).await?;
        jobs.reverse();
        if let Some(fault) = missing(&selection, &jobs) {
            return fault.fail();
        }
        for job in &jobs {
            let now = (job.state.clone(), result(job));
            if seen.get(&job.id) != Some(&now) {
                tell(context, job)?;
                seen.insert(job.id, now);
            }
        }
        let open = |job: &&JobRow| matches!(job.state.as_str(), "scheduled" | "paused" | "unknown");
        if jobs.iter().filter(open).count() == 0 {
            let stayed = jobs.iter().filter(|job| job.state != "published").count();
            if stayed == 0 {
                return Ok(());
            }
            return Refusal::new(format!("{stayed} of {} jobs did not go out", jobs.len()))
                .hint("`crier jobs why JOB` says what was tried and what X said")
                .fail();
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.soft.cancelled() => {
                note(&format!("{} of {} jobs are still open", jobs.iter().filter(open).count(), jobs.len()));
                return Ok(());
            }
        }
    }
}

fn missing(selection: &Selection, jobs: &[JobRow]) -> Option<Refusal> {
    let hint = "`crier jobs list` shows the newest ones";
    match selection {
        Selection::Jobs(ids) => {
            let id = ids
                .iter()
                .find(|id| jobs.iter().all(|job| job.id != **id))?;
            Some(Refusal::new(format!("there is no job {id}")).hint(hint))
        }
        Selection::Campaign(name) if jobs.is_empty() => {
            Some(Refusal::new(format!("the campaign `{name}` has no jobs")).hint(hint))
        }
        Selection::Campaign(_) => None,
    }
}

fn tell(context: &Context, job: &JobRow) -> anyhow::Result<()> {
    if context.screen.json {
        return context.screen.object(&json!({
            "id": job.id, "account": job.account, "state": job.state, "post_id": job.post_id, "post_url": job.post_url,
            "error": job.error, "warning": job.warning, "next_attempt_at": job.next_attempt_at,
        }));
    }
    let result = result(job);
    let dash = if result.is_empty() { "" } else { "  " };
    context.screen.line(&format!(
        "job {}  {}  {}{dash}{result}",
        job.id, job.account, job.state
    ));
    Ok(())
}
