//! Figures of a run: how late, how soon again after a death, how often what.

use std::collections::BTreeMap;

use crate::plan::HOSTS;
use crate::tally::Notes;
use crate::truth::{Call, Truth};

/// Times in milliseconds, of which some are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<i64>);

impl Times {
    fn of(us: impl Iterator<Item = i64>) -> Self {
        let mut all: Vec<i64> = us.map(|us| us / 1_000).collect();
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which so many percent lie.
    pub(crate) fn percentile(&self, percent: usize) -> i64 {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or(0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) jobs: usize,
    pub(crate) posts: usize,
    pub(crate) with_files: usize,
    pub(crate) in_threads: usize,
    /// Jobs by how they ended, and why if otherwise than by a post.
    pub(crate) ended: BTreeMap<String, usize>,
    /// Attempts by outcome and code.
    pub(crate) attempts: BTreeMap<String, usize>,
    pub(crate) creates: usize,
    pub(crate) refreshes: usize,
    pub(crate) logins: usize,
    /// What was done to crier, the simulator's faults that fired among it.
    pub(crate) faults: BTreeMap<String, u64>,
    /// From the end of a dead worker's lease to the next post of its lane.
    pub(crate) after_death: Times,
    /// From the first connection that Postgres takes to the next post.
    pub(crate) after_postgres: Times,
    /// From the time a post was due to X's acceptance.
    pub(crate) lateness: Times,
}

fn is_accepted(call: &Call) -> bool {
    call.route == "POST /2/tweets" && call.status == 201
}

pub(crate) fn figures(truth: &Truth, notes: &Notes) -> Figures {
    let mut figures = Figures {
        jobs: truth.jobs.len(),
        posts: truth.posts.len(),
        with_files: truth
            .posts
            .iter()
            .filter(|post| !post.media.is_empty())
            .count(),
        in_threads: truth
            .posts
            .iter()
            .filter(|post| post.reply_to.is_some())
            .count(),
        logins: notes.logins.len(),
        faults: notes.counts.clone(),
        ..Figures::default()
    };
    for job in &truth.jobs {
        let how = if job.state == "published" || job.state == "cancelled" {
            job.state.clone()
        } else {
            format!("{}: {}", job.state, job.code)
        };
        *figures.ended.entry(how).or_default() += 1;
    }
    for attempt in &truth.attempts {
        let how = format!("{}: {} {}", attempt.step, attempt.outcome, attempt.code);
        *figures
            .attempts
            .entry(how.trim_end().to_owned())
            .or_default() += 1;
    }
    let mut closed = 0;
    for call in &truth.calls {
        figures.creates += usize::from(call.route == "POST /2/tweets");
        figures.refreshes +=
            usize::from(call.route == "POST /2/oauth2/token" && call.status == 200);
        let what = match call.fault.as_str() {
            "" => continue,
            "answer" if call.status == 429 => {
                closed += 1;
                continue;
            }
            "answer" => format!("X: {} on {}", call.status, short(&call.route)),
            kind => format!("X: {} on {}", kind.replace('_', " "), short(&call.route)),
        };
        *figures.faults.entry(what).or_default() += 1;
    }
    figures
        .faults
        .insert("X: 429 by a closed window".to_owned(), closed);
    let accepted: Vec<&Call> = truth
        .calls
        .iter()
        .filter(|call| is_accepted(call))
        .collect();
    figures.after_death = Times::of(notes.deaths.iter().filter_map(|death| {
        let next = accepted
            .iter()
            .find(|call| call.account == death.account && call.at_us > death.at_us)?;
        Some((next.at_us - death.lease_ends_us).max(0))
    }));
    figures.after_postgres = Times::of(notes.revivals_us.iter().filter_map(|at_us| {
        let next = accepted.iter().find(|call| call.at_us > *at_us)?;
        Some(next.at_us - at_us)
    }));
    figures.lateness = Times::of(
        truth
            .jobs
            .iter()
            .filter(|job| job.state == "published" && job.after.is_none() && !job.is_in_campaign)
            .map(|job| (job.published_us - job.run_us.max(job.created_us)).max(0)),
    );
    figures
}

/// A route in few words.
fn short(route: &str) -> &str {
    match route {
        "POST /2/tweets" => "a post",
        "POST /2/oauth2/token" => "a refresh",
        "GET /2/users/{id}/tweets" => "a read",
        route if route.contains("media") => "an upload",
        _ => "another call",
    }
}

/// Which clocks were off, in words.
pub(crate) fn clocks() -> String {
    let off: Vec<String> = HOSTS
        .iter()
        .filter(|(_, _, skew_s)| *skew_s != 0)
        .map(|(name, _, skew_s)| format!("{name} {skew_s:+} s"))
        .collect();
    off.join(", ")
}
