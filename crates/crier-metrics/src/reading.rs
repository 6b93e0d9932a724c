//! What is read from the database for one scrape, as one value.
//!
//! **Invariant:** a reading is applied whole or not at all, so a scrape never shows half of an old and half of a
//! new state.

use std::time::Duration;

use crier_core::answer::Endpoint;
use crier_core::limit::{LimitClass, WindowLength};
use crier_core::price::Priced;

use crate::labels::{AccountStatus, AppStatus, HotTable, JobEnd, LeasePhase, OpenState};

/// A number for each value of a closed set; what was never added is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts<L>(Vec<(L, u64)>);

impl<L> Default for Counts<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L: Copy + PartialEq> Counts<L> {
    /// Adds to the number of one value.
    pub fn add(&mut self, value: L, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.0.push((value, count)),
        }
    }

    /// The number of one value.
    pub fn get(&self, value: L) -> u64 {
        self.0
            .iter()
            .find(|(known, _)| *known == value)
            .map_or(0, |(_, count)| *count)
    }
}

impl<L: Copy + PartialEq> FromIterator<(L, u64)> for Counts<L> {
    fn from_iter<I: IntoIterator<Item = (L, u64)>>(pairs: I) -> Self {
        let mut counts = Self::default();
        for (value, count) in pairs {
            counts.add(value, count);
        }
        counts
    }
}

/// One limit window as it stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReading {
    /// What it limits.
    pub endpoint: Endpoint,
    /// Whom it counts.
    pub class: LimitClass,
    /// How long it is.
    pub window: WindowLength,
    /// Calls left in it.
    pub remaining: u64,
    /// Time until X starts it anew, by the database's clock.
    pub resets_in: Duration,
}

/// Everything the exporter reads from the database. Ages are by the database's clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Jobs that ended since the installation began, from the kept counters.
    pub jobs_ended: Counts<JobEnd>,
    /// Jobs inserted since the installation began, from the kept counters.
    pub jobs_inserted: u64,
    /// Jobs that have not ended, from the kept counters.
    pub jobs_open: Counts<OpenState>,
    /// Jobs that are due and not published.
    pub due_unpublished: u64,
    /// Age of the oldest of these, if there is one.
    pub oldest_due_age: Option<Duration>,
    /// Outcomes that are unknown.
    pub unknown_open: u64,
    /// Leases that are held.
    pub leases_held: Counts<LeasePhase>,
    /// Accounts.
    pub accounts: Counts<AccountStatus>,
    /// Developer apps.
    pub apps: Counts<AppStatus>,
    /// What calls to X have cost since the installation began, in millionths of a US dollar, from the kept sums.
    pub costs_micro_usd: Counts<Priced>,
    /// Inserted rows that are not in a lane yet.
    pub signals_backlog: u64,
    /// Rows that Postgres has not cleaned up yet.
    pub db_dead_rows: Counts<HotTable>,
    /// Webhooks that are still to be delivered.
    pub webhooks_waiting: u64,
    /// Webhooks that were given up.
    pub webhooks_dead: u64,
    /// Seconds until the first token of an active account expires, negative once it has; none without accounts.
    pub token_expiry_seconds: Option<f64>,
    /// Age of the oldest transaction that is open in the database.
    pub db_oldest_transaction: Duration,
    /// Windows that are still open; of several accounts' windows of one kind the tightest is shown.
    pub limits: Vec<LimitReading>,
}
