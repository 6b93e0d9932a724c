//! What will happen and when: made from the seed alone before anything runs.
//!
//! **Invariant:** same seed and length, same plan. A run may still go otherwise, since processes race.

pub(crate) use jobs::DUPLICATE_S;

mod faults;
mod jobs;

use serde_json::Value;

use crate::chance::Chance;
use crate::hosts::Blow;

/// Accounts that publish; the last two have narrow limits.
pub(crate) const ACCOUNTS: [&str; 10] = [
    "ada",
    "bela",
    "cleo",
    "dora",
    "emil",
    "finn",
    "greta",
    "hugo",
    "narrow_ida",
    "narrow_jan",
];
/// Hosts: name, role, and by how many seconds the clock is off.
pub(crate) const HOSTS: [(&str, &str, i64); 5] = [
    ("scheduler-1", "scheduler", 0),
    ("scheduler-2", "scheduler", 147),
    ("worker-1", "worker", 0),
    ("worker-2", "worker", 0),
    ("worker-3", "worker", -95),
];

/// A row that a person inserts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    /// Unique in the plan; the row's `dedupe_key`.
    pub(crate) key: String,
    pub(crate) account: &'static str,
    pub(crate) text: String,
    pub(crate) files: Vec<(String, usize)>,
    pub(crate) after: Option<String>,
    pub(crate) priority: i16,
    pub(crate) campaign: Option<&'static str>,
    pub(crate) run_in_ms: u64,
}

/// What people do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// One `INSERT` of several rows.
    Insert(Vec<Draft>),
    Cancel(String),
    /// Another text.
    Edit(String, String),
    Pause(&'static str),
    Resume(&'static str),
}

/// What is done to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tug {
    Cut,
    Hold,
    Slow(u64),
    Open,
}

/// Which link of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Database,
    X,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    Wish(Wish),
    Blow(usize, Blow),
    Tug(usize, Side, Tug),
    /// Sessions of the database are ended by `pg_terminate_backend`.
    Terminate,
    PostgresDown,
    PostgresUp,
    /// A fault of the simulator.
    Arm(Value),
    /// X answers 429 to an account for so many seconds.
    Close(&'static str, u64),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    pub(crate) deed: Deed,
}

/// The whole plan, in order.
pub(crate) fn plan(seed: u64, seconds: u64) -> Vec<Step> {
    // Apart, so that another mix of faults leaves the jobs as they were.
    let mut steps = jobs::jobs(&mut Chance::new(seed), seconds);
    steps.extend(faults::faults(&mut Chance::new(!seed), seconds));
    steps.sort_by_key(|step| step.at_ms);
    steps
}

/// Keys of all rows that the plan inserts.
pub(crate) fn keys(plan: &[Step]) -> Vec<&str> {
    let mut keys = Vec::new();
    for step in plan {
        if let Deed::Wish(Wish::Insert(drafts)) = &step.deed {
            keys.extend(drafts.iter().map(|draft| draft.key.as_str()));
        }
    }
    keys
}
