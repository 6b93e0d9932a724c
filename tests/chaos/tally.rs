//! Counts of what was done to crier, and notes of what must be measured afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A lease whose holder was killed.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) account: String,
    pub(crate) at_us: i64,
    pub(crate) lease_ends_us: i64,
}

/// A window that X closed by a 429, by its own clock.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) account: String,
    pub(crate) from_us: i64,
    pub(crate) until_us: i64,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Notes {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) deaths: Vec<Death>,
    /// When Postgres took connections again.
    pub(crate) revivals_us: Vec<i64>,
    pub(crate) closed: Vec<Closed>,
    /// When something struck a worker, a link or the database.
    pub(crate) blows_us: Vec<i64>,
    /// Processes that ended otherwise than they were told.
    pub(crate) odd_ends: Vec<String>,
    /// Accounts whose person had to log in again.
    pub(crate) logins: Vec<String>,
    /// Cancels that crier acknowledged, by the job's key.
    pub(crate) cancelled: Vec<String>,
    /// Replies that were refused, since the post they reply to had ended.
    pub(crate) refused: Vec<String>,
}

/// Shared by everything that strikes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Notes>>);

impl Tally {
    pub(crate) fn note(&self, what: impl FnOnce(&mut Notes)) {
        what(&mut self.0.lock().unwrap());
    }

    pub(crate) fn count(&self, what: &str) {
        self.note(|notes| *notes.counts.entry(what.to_owned()).or_default() += 1);
    }

    pub(crate) fn died_holding(&self, death: Death) {
        self.note(|notes| notes.deaths.push(death));
    }

    pub(crate) fn death_of_its_own(&self, words: String) {
        self.note(|notes| notes.odd_ends.push(words));
    }

    pub(crate) fn all(&self) -> Notes {
        self.0.lock().unwrap().clone()
    }
}
