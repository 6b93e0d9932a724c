//! [`Metrics`]: the words in which the rest of crier reports what it did.
//!
//! **Invariant:** a count never wraps, a label never grows without bound, and what is read from the database is
//! shown only once it has been read: before that it is absent, for 0 would be a lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crier_core::answer::Endpoint;
use crier_core::price::Priced;
use prometheus::{Counter, IntCounter, IntGauge, Registry, TextEncoder};

use crate::labels::{
    AccountStatus, AppStatus, AttemptEnd, CheckEnd, Folder, HookEnd, HotTable, JobEnd, Label,
    LeasePhase, OpenState, PoolState, RefreshEnd, ReloadEnd, SlotEnd, UnknownEnd, UploadEnd,
};
use crate::reading::{LimitReading, Reading};
use crate::table::{SPECS, Source, Table};

/// Stable codes and step names are a few dozen; whatever comes beyond this is a bug of ours and becomes `other`.
const MAX_WORDS: usize = 200;

/// Longest word that is taken as a label value, in bytes.
const MAX_WORD: usize = 48;

/// Between two lines in the log about the same failing call.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// The word for "there is nothing to explain" and "no answer came".
const NONE: &str = "none";

/// The word for a value that may not be a label.
const OTHER: &str = "other";

/// Every metric of one process. Clones share the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Table,
    registry: Registry,
    leads: AtomicBool,
    words: Mutex<BTreeSet<String>>,
    /// When each call that fails was last told of in the log.
    said: Mutex<BTreeMap<&'static str, Instant>>,
    /// When the last good reading was taken; its lock also keeps a scrape out of a reading that is being applied.
    read_at: Mutex<Option<Instant>>,
}

/// One piece of work in hand; it counts in `crier_worker_inflight` until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it says that the work is done"]
pub struct Busy(IntGauge);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A fresh set of metrics for the process of this version.
    ///
    /// # Panics
    /// Never: only two rows of the table that clash could make it, and every test of this crate would show them.
    pub fn new(version: &str) -> Self {
        let registry = Registry::new();
        let table = Table::new(&registry).expect("a test makes this table: no two rows clash");
        table.build_info.with_label_values(&[version]).set(1);
        table
            .attempts_total
            .with_label_values(&[AttemptEnd::Published.as_str(), NONE]);
        Self {
            inner: Arc::new(Inner {
                table,
                registry,
                leads: AtomicBool::new(false),
                words: Mutex::new(BTreeSet::new()),
                said: Mutex::new(BTreeMap::new()),
                read_at: Mutex::new(None),
            }),
        }
    }

    /// A post is out, so long after it was due.
    pub fn published(&self, lateness: Duration) {
        self.inner
            .table
            .lateness_seconds
            .observe(lateness.as_secs_f64());
    }

    /// An attempt ended. `code` is the stable code of the reason, if there is something to explain.
    pub fn attempt_ended(&self, end: AttemptEnd, code: Option<&str>) {
        let code = self.word(code.unwrap_or(NONE));
        self.inner
            .table
            .attempts_total
            .with_label_values(&[end.as_str(), &code])
            .inc();
    }

    /// A call to X ended. `status` is the HTTP status if an answer came, `code` the stable code of the fault if
    /// there was one.
    pub fn x_request(
        &self,
        endpoint: Endpoint,
        status: Option<u16>,
        code: Option<&str>,
        took: Duration,
    ) {
        let table = &self.inner.table;
        let status =
            status.map_or_else(|| NONE.to_owned(), |status| self.word(&status.to_string()));
        let code = self.word(code.unwrap_or(NONE));
        table
            .x_requests_total
            .with_label_values(&[endpoint.label(), status.as_str(), code.as_str()])
            .inc();
        table
            .x_request_duration_seconds
            .at(endpoint)
            .observe(took.as_secs_f64());
    }

    /// X acknowledged a segment of so many bytes.
    pub fn segment_acknowledged(&self, bytes: u64) {
        self.inner.table.upload_bytes_total.inc_by(bytes);
        self.inner.table.upload_segments_total.inc();
    }

    /// A segment is sent once more.
    pub fn segment_resent(&self) {
        self.inner.table.upload_segments_resent_total.inc();
    }

    /// Staging of one file ended.
    pub fn upload_ended(&self, end: UploadEnd) {
        self.inner.table.uploads_total.at(end).inc();
    }

    /// A refresh of an access token ended.
    pub fn token_refresh_ended(&self, end: RefreshEnd) {
        self.inner.table.token_refreshes_total.at(end).inc();
    }

    /// So many leases were taken back from workers that went silent in this phase.
    pub fn leases_expired(&self, phase: LeasePhase, count: u64) {
        self.inner
            .table
            .leases_expired_total
            .at(phase)
            .inc_by(count);
    }

    /// A result was thrown away because its lease was no longer held.
    pub fn lease_lost(&self) {
        self.inner.table.leases_lost_total.inc();
    }

    /// An unknown outcome was settled.
    pub fn unknown_settled(&self, end: UnknownEnd) {
        self.inner.table.unknown_settled_total.at(end).inc();
    }

    /// So many new jobs were looked at, with this finding.
    pub fn checked(&self, end: CheckEnd, count: u64) {
        self.inner.table.checks_total.at(end).inc_by(count);
    }

    /// Whether this process leads now; a change is counted, a repetition is not.
    pub fn scheduler_leads(&self, leads: bool) {
        self.inner.table.scheduler_leader.set(i64::from(leads));
        if self.inner.leads.swap(leads, Ordering::SeqCst) != leads {
            self.inner.table.scheduler_leader_changes_total.inc();
        }
    }

    /// A step of the scheduler took so long.
    pub fn scheduler_step(&self, step: &'static str, took: Duration) {
        let step = self.word(step);
        self.inner
            .table
            .scheduler_step_duration_seconds
            .with_label_values(&[step])
            .observe(took.as_secs_f64());
    }

    /// So many slots of recurring posts came to this end.
    pub fn recurring_slots(&self, end: SlotEnd, count: u64) {
        self.inner.table.recurring_slots_total.at(end).inc_by(count);
    }

    /// So much room is free in a folder.
    pub fn disk_free(&self, folder: Folder, bytes: u64) {
        let free = self
            .inner
            .table
            .disk_free_bytes
            .with_label_values(&[folder.as_str()]);
        free.set(gauge(bytes));
    }

    /// One try of a webhook ended so.
    pub fn webhook(&self, end: HookEnd) {
        self.inner.table.webhook_tries_total.at(end).inc();
    }

    /// The database's clock is ahead of ours by so many seconds; negative when it is behind.
    pub fn db_clock_skew(&self, seconds: f64) {
        self.inner.table.db_clock_skew_seconds.set(seconds);
    }

    /// What the connections of the pool are doing.
    pub fn db_pool(&self, idle: u64, used: u64) {
        self.inner
            .table
            .db_pool_connections
            .at(PoolState::Idle)
            .set(gauge(idle));
        self.inner
            .table
            .db_pool_connections
            .at(PoolState::Used)
            .set(gauge(used));
    }

    /// A call to the database failed. Answers whether that is worth a line in the log: once in a while, not once a try,
    /// for an outage is long and tries are many.
    pub fn db_error(&self, operation: &'static str) -> bool {
        let word = self.word(operation);
        self.inner
            .table
            .db_errors_total
            .with_label_values(&[word])
            .inc();
        let (mut said, now) = (lock(&self.inner.said), Instant::now());
        let news = said
            .get(operation)
            .is_none_or(|at| now.saturating_duration_since(*at) >= SAY_AGAIN);
        if news {
            said.insert(operation, now);
        }
        news
    }

    /// Whether this call failed the last time.
    pub fn db_fails(&self, operation: &'static str) -> bool {
        lock(&self.inner.said).contains_key(operation)
    }

    /// The same call succeeded. Answers whether it had failed before, so that somebody may want to hear of it.
    pub fn db_works(&self, operation: &'static str) -> bool {
        lock(&self.inner.said).remove(operation).is_some()
    }

    /// The settings were read anew; so many of those that differ wait for a restart.
    pub fn config_reloaded(&self, awaiting_restart: usize) {
        let table = &self.inner.table;
        table.config_reloads_total.at(ReloadEnd::Ok).inc();
        let waiting = u64::try_from(awaiting_restart).unwrap_or(u64::MAX);
        table.config_awaiting_restart.set(gauge(waiting));
    }

    /// The settings could not be read anew, and are what they were.
    pub fn config_refused(&self) {
        let table = &self.inner.table;
        table.config_reloads_total.at(ReloadEnd::Refused).inc();
    }

    /// The most this worker takes in hand at once.
    pub fn worker_concurrency(&self, most: u64) {
        self.inner.table.worker_concurrency.set(gauge(most));
    }

    /// A piece of work is in hand until the guard is dropped.
    pub fn worker_busy(&self) -> Busy {
        let inflight = self.inner.table.worker_inflight.clone();
        inflight.inc();
        Busy(inflight)
    }

    /// The database could not be read for a scrape.
    pub(crate) fn scrape_failed(&self) {
        self.inner.table.scrape_errors_total.inc();
    }

    /// Takes over what was read from the database at this instant.
    pub fn apply(&self, reading: &Reading, at: Instant) {
        let table = &self.inner.table;
        let mut read_at = self.read_at();
        for end in JobEnd::ALL {
            raise(
                table.jobs_ended_total.at(*end),
                reading.jobs_ended.get(*end),
            );
        }
        raise(&table.jobs_inserted_total, reading.jobs_inserted);
        for state in OpenState::ALL {
            table
                .jobs_open
                .at(*state)
                .set(gauge(reading.jobs_open.get(*state)));
        }
        for phase in LeasePhase::ALL {
            table
                .leases_held
                .at(*phase)
                .set(gauge(reading.leases_held.get(*phase)));
        }
        for status in AccountStatus::ALL {
            table
                .accounts
                .at(*status)
                .set(gauge(reading.accounts.get(*status)));
        }
        for status in AppStatus::ALL {
            table.apps.at(*status).set(gauge(reading.apps.get(*status)));
        }
        for kind in Priced::ALL {
            raise_usd(
                table.cost_usd_total.at(kind),
                reading.costs_micro_usd.get(kind),
            );
        }
        table.due_unpublished.set(gauge(reading.due_unpublished));
        table
            .oldest_due_age_seconds
            .set(reading.oldest_due_age.unwrap_or_default().as_secs_f64());
        table
            .db_oldest_transaction_age_seconds
            .set(reading.db_oldest_transaction.as_secs_f64());
        table.unknown_open.set(gauge(reading.unknown_open));
        table.signals_backlog.set(gauge(reading.signals_backlog));
        for hot in HotTable::ALL {
            table
                .db_dead_rows
                .at(*hot)
                .set(gauge(reading.db_dead_rows.get(*hot)));
        }
        table.webhooks_waiting.set(gauge(reading.webhooks_waiting));
        table.webhooks_dead.set(gauge(reading.webhooks_dead));
        table
            .token_expiry_seconds
            .set(reading.token_expiry_seconds.unwrap_or(f64::NAN));
        self.apply_limits(&reading.limits);
        *read_at = Some(at);
    }

    /// Windows come and go, so the old ones are dropped; of several of one kind the tightest is shown.
    fn apply_limits(&self, limits: &[LimitReading]) {
        let table = &self.inner.table;
        table.limit_remaining.reset();
        table.limit_reset_seconds.reset();
        let mut loosest_first: Vec<&LimitReading> = limits.iter().collect();
        loosest_first.sort_by_key(|limit| (std::cmp::Reverse(limit.remaining), limit.resets_in));
        for limit in loosest_first {
            let labels = [
                limit.endpoint.label(),
                limit.class.as_str(),
                limit.window.as_str(),
            ];
            table
                .limit_remaining
                .with_label_values(&labels)
                .set(gauge(limit.remaining));
            table
                .limit_reset_seconds
                .with_label_values(&labels)
                .set(limit.resets_in.as_secs_f64());
        }
    }

    /// All metrics in Prometheus's text format 0.0.4, as they stand at this instant.
    ///
    /// # Panics
    /// Never: what the encoder refuses, a family without metrics, the registry leaves out.
    pub fn render(&self, at: Instant) -> String {
        let read_at = self.read_at();
        if let Some(read_at) = *read_at {
            let age = at.saturating_duration_since(read_at).as_secs_f64();
            self.inner.table.db_reading_age_seconds.set(age);
        }
        let mut families = self.inner.registry.gather();
        if read_at.is_none() {
            families.retain(|family| !from_database(family.name()));
        }
        TextEncoder::new().encode_to_string(&families).expect(
            "the encoder refuses only a family without metrics, and the registry leaves those out",
        )
    }

    /// The word itself if it may be a label value, else `other`.
    fn word(&self, word: &str) -> String {
        let fits = (1..=MAX_WORD).contains(&word.len())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let mut words = self
            .inner
            .words
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !fits || (words.len() >= MAX_WORDS && !words.contains(word)) {
            return OTHER.to_owned();
        }
        if !words.contains(word) {
            words.insert(word.to_owned());
        }
        word.to_owned()
    }

    fn read_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.inner
            .read_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn from_database(name: &str) -> bool {
    SPECS
        .iter()
        .any(|spec| spec.name == name && spec.source == Source::Database)
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The same for money, which is kept in millionths and shown in dollars. Set anew each time, lest the rounding of sums add
/// up; no scrape comes in between.
fn raise_usd(counter: &Counter, micro_usd: u64) {
    let part = |micro_usd: u64| f64::from(u32::try_from(micro_usd).unwrap_or(u32::MAX));
    let total = part(micro_usd / 1_000_000) + part(micro_usd % 1_000_000) / 1e6;
    counter.reset();
    counter.inc_by(total);
}

/// Brings a counter to a total kept elsewhere. A total that fell (a restored database) is shown as a reset, which
/// Prometheus understands.
fn raise(counter: &IntCounter, total: u64) {
    let shown = counter.get();
    if let Some(more) = total.checked_sub(shown) {
        counter.inc_by(more);
    } else {
        counter.reset();
        counter.inc_by(total);
    }
}
