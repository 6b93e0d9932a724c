//! The campaign as it goes: a line for each change, and a bar where there is a terminal.
//!
//! **Invariant:** without a terminal there is no bar and no escape sequence, only lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use crier_store::{JobFilter, JobRow, Store};
use indicatif::{ProgressBar, ProgressStyle};

use super::stage::Stage;
use crate::screen::{note, reason, short};

/// Between two looks.
const BEAT: Duration = Duration::from_millis(150);

/// All jobs of the demo's own database.
pub(super) fn all() -> JobFilter {
    JobFilter {
        limit: 1_000,
        ..JobFilter::default()
    }
}

/// Follows the jobs until none is open; answers them in the order of their rows.
pub(super) async fn follow(
    store: &Store,
    stage: &mut Stage,
    patience: Duration,
) -> anyhow::Result<Vec<JobRow>> {
    let begin = Instant::now();
    // Hidden by itself when stderr is no terminal.
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("  {bar:30} {pos}/{len} jobs  {msg}")?.progress_chars("=> "),
    );
    let mut seen = BTreeMap::new();
    loop {
        stage.check()?;
        let mut jobs = store.job_rows(&all()).await?;
        jobs.reverse();
        for job in &jobs {
            let now = (job.state.clone(), why(job));
            if seen.get(&job.id) != Some(&now) {
                if seen.contains_key(&job.id) || now.0 != "scheduled" || !now.1.is_empty() {
                    let line = line(begin.elapsed(), job);
                    bar.suspend(|| note(&line));
                }
                seen.insert(job.id, now);
            }
        }
        let open = jobs
            .iter()
            .filter(|job| matches!(job.state.as_str(), "scheduled" | "paused" | "unknown"))
            .count();
        bar.set_length(u64::try_from(jobs.len()).unwrap_or(0));
        bar.set_position(u64::try_from(jobs.len() - open).unwrap_or(0));
        bar.set_message(uploads(store).await?);
        if open == 0 {
            bar.finish_and_clear();
            return Ok(jobs);
        }
        if begin.elapsed() > patience {
            bar.finish_and_clear();
            for job in jobs.iter().filter(|job| job.post_id.is_none()) {
                note(&line(begin.elapsed(), job));
            }
            bail!(
                "{open} of {} jobs are still open after {} s",
                jobs.len(),
                patience.as_secs()
            );
        }
        tokio::time::sleep(BEAT).await;
    }
}

fn why(job: &JobRow) -> String {
    reason(job.error.as_ref().or(job.warning.as_ref()))
}

fn line(since: Duration, job: &JobRow) -> String {
    let why = why(job);
    let state = if job.state == "scheduled" && job.error.is_some() {
        "waits"
    } else if job.state == "scheduled" && job.warning.is_some() {
        "warning"
    } else {
        &job.state
    };
    let tail = if why.is_empty() {
        format!("\"{}\"", short(&job.text, 50))
    } else {
        why
    };
    format!(
        "  {:5.1} s  job {} @{:<6} {state:<10} {tail}",
        since.as_secs_f64(),
        job.id,
        job.account
    )
}

/// How much of the media is up.
async fn uploads(store: &Store) -> anyhow::Result<String> {
    let rows = store
        .select_json(
            "select coalesce(sum(least(segments_done::bigint * segment_bytes, total_bytes)), 0)::bigint as done,
                    coalesce(sum(total_bytes), 0)::bigint as bytes from crier.media_uploads where state <> 'failed'",
        )
        .await?;
    let number = |key: &str| rows.first().and_then(|row| row[key].as_i64()).unwrap_or(0);
    Ok(match number("bytes") {
        0 => String::new(),
        bytes => format!("media {}/{} MiB", number("done") >> 20, bytes >> 20),
    })
}
