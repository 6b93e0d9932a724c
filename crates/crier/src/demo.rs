//! The demo: a campaign from rows to posts on this machine, everything real but X.
//!
//! **Invariant:** it succeeds only if what the simulator has equals what the rows asked for; however it ends, no process
//! and no file of it stays behind.

mod expect;
pub(crate) mod media;
mod progress;
mod stage;

use std::time::{Duration, Instant};

use anyhow::Context;
use crier_store::JobRow;
use serde_json::json;

use crate::config::Config;
use crate::exit::Refusal;
use crate::lifecycle::stop_on_signals;
use crate::screen::{Screen, note, reason};
use stage::Stage;

/// The campaign, as the reader can open it.
const CAMPAIGN: &str = include_str!("../../../demo/campaign.sql");
/// A row that is refused.
const REFUSED: &str = include_str!("../../../demo/refused.sql");
/// Longest time from the rows to their end.
const PATIENCE: Duration = Duration::from_secs(45);

/// Plays it.
pub(crate) async fn play(config: &Config, screen: Screen, keep: bool) -> anyhow::Result<()> {
    let stop = stop_on_signals()?;
    let begin = Instant::now();
    let mut stage = Stage::new(keep)?;
    let outcome = tokio::select! {
        outcome = act(&mut stage, config, screen) => outcome,
        () = stop.soft.cancelled() => Refusal::new("the demo was stopped").fail(),
    };
    if outcome.is_err() {
        for line in stage.complaints() {
            note(&line);
        }
    }
    // A second signal waits no longer: what is dropped is killed.
    tokio::select! {
        () = stage.close() => {}
        () = stop.hard.cancelled() => {}
    }
    let posts = outcome?;
    note(&format!(
        "\nall {posts} posts are there as the rows asked for: texts, order, replies, media, alt texts\ntook {:.0} s; nothing is left running",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The acts in their order; answers how many posts went out.
async fn act(stage: &mut Stage, config: &Config, screen: Screen) -> anyhow::Result<usize> {
    note(
        "A campaign on this machine, from rows to posts. All of it is real but X, which is simulated.\n",
    );
    stage.files()?;
    stage.postgres(config).await?;
    stage.x().await?;
    stage.accounts().await?;
    stage.roles().await?;
    let store = stage.store()?.clone();

    store
        .run_script(CAMPAIGN)
        .await
        .context("demo/campaign.sql was not taken")?;
    let rows = store.job_rows(&progress::all()).await?;
    stage::say(
        "rows",
        &format!("{} of demo/campaign.sql, inserted by plain SQL", rows.len()),
    );
    match store.run_script(REFUSED).await {
        Ok(()) => return Refusal::new("demo/refused.sql was not refused").fail(),
        Err(error) => {
            let (words, hint) = error.database_words().context(error)?;
            stage::say("refused", &format!("demo/refused.sql: {words}"));
            stage::say("", &format!("hint: {}", hint.unwrap_or_default()));
        }
    }
    note("");
    let jobs = progress::follow(&store, stage, PATIENCE).await?;
    note("");
    show(screen, &jobs)?;
    let posts = stage.posts().await?;
    let found = expect::compare(&jobs, &posts, &stage.media_root());
    note("");
    for fault in &found.faults {
        note(&format!("  WRONG {fault}"));
    }
    let mut wrong = found.faults.len();
    for (what, holds) in stage.claims(&jobs).await? {
        note(&format!(
            "  {} {what}",
            if holds { "ok   " } else { "WRONG" }
        ));
        wrong += usize::from(!holds);
    }
    if wrong == 0 {
        return Ok(found.posts);
    }
    Refusal::new(format!("{wrong} things are not as they should be"))
        .hint("`crier demo --keep` leaves the logs to look at")
        .fail()
}

/// Seconds from the time a post was due to the time X had it.
fn lateness(job: &JobRow) -> Option<f64> {
    Some((job.published_at? - job.run_at).as_seconds_f64())
}

fn show(screen: Screen, jobs: &[JobRow]) -> anyhow::Result<()> {
    if screen.json {
        return jobs.iter().try_for_each(|job| {
            screen.object(&json!({"job": job.id, "account": job.account, "state": job.state, "lateness_s": lateness(job),
                "post_url": job.post_url, "error": job.error, "text": job.text}))
        });
    }
    screen.table(
        &["job", "account", "state", "late", "post or reason"],
        jobs.iter().map(|job| {
            vec![
                job.id.to_string(),
                job.account.clone(),
                job.state.clone(),
                lateness(job)
                    .map(|late| format!("{late:.2} s"))
                    .unwrap_or_default(),
                job.post_url
                    .clone()
                    .unwrap_or_else(|| reason(job.error.as_ref().or(job.warning.as_ref()))),
            ]
        }),
    );
    Ok(())
}
