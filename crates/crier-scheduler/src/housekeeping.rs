//! Housekeeping at the times of a cron expression: retention, and the slow sweep over lanes.
//!
//! **Invariant:** the alarm clock only rings. What it rings for runs in a task of its own, never twice at once in this
//! process, only while this scheduler leads, and may fail or crash without stopping the clock or the loop.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};
use std::time::{Duration, Instant};

use crier_metrics::Metrics;
use crier_store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler};

/// Months for which partitions are made beforehand.
const MONTHS_AHEAD: u8 = 2;
/// Accounts looked at in one commit of the sweep.
const LANES: i64 = 1_000;
/// Pauses before a schema change is tried again that found its table in use.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

/// What is kept for how long, and when the house is put in order. Times are UTC; days count from a row's last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Housekeeping {
    /// When old rows are removed and partitions made: six fields of cron, second first.
    pub retention_cron: String,
    /// When lanes are swept for lost wake-ups: six fields of cron, second first.
    pub sweep_cron: String,
    /// Ended jobs are kept for so many days, to whole months; `None`: for ever.
    pub history_days: Option<u32>,
    /// The ledger of ended jobs; `None`: for ever.
    pub attempts_days: Option<u32>,
    /// Uploads of ended jobs; X keeps media ids for a day itself.
    pub uploads_days: u32,
    /// Processes that were not seen any more, limit windows that ended, keys of slots long past.
    pub workers_days: u32,
    /// Webhooks that were delivered; those given up stay four times as long.
    pub webhooks_days: u32,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Self {
            retention_cron: "0 17 3 * * *".into(),
            sweep_cron: "30 * * * * *".into(),
            history_days: None,
            attempts_days: Some(90),
            uploads_days: 2,
            workers_days: 7,
            webhooks_days: 7,
        }
    }
}

/// A chore that a bell rings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    Retention,
    Sweep,
}

impl Chore {
    const fn word(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Sweep => "sweep",
        }
    }
}

/// Does chores while `leads` holds.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    store: Store,
    metrics: Metrics,
    plan: Arc<PlainMutex<Housekeeping>>,
    leads: Arc<AtomicBool>,
    busy: Arc<[Mutex<()>; 2]>,
}

/// The alarm clock; it rings until it is stopped.
pub(crate) struct Alarms(Option<JobScheduler>);

impl Keeper {
    pub(crate) fn new(
        store: Store,
        metrics: Metrics,
        plan: Housekeeping,
        leads: Arc<AtomicBool>,
    ) -> Self {
        Self {
            store,
            metrics,
            plan: Arc::new(PlainMutex::new(plan)),
            leads,
            busy: Arc::default(),
        }
    }

    /// What is kept for how long, from now on. When the alarms ring stays as it was.
    pub(crate) fn plan(&self, plan: Housekeeping) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    fn planned(&self) -> Housekeeping {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.clone()
    }

    /// Sets the alarms. A cron expression that cannot be read, or a clock that does not start, is said and costs only
    /// the housekeeping.
    pub(crate) async fn set_alarms(&self) -> Alarms {
        let clock = match JobScheduler::new().await {
            Ok(clock) => clock,
            Err(error) => {
                tracing::error!("the alarm clock for housekeeping cannot be made: {error}");
                return Alarms(None);
            }
        };
        let plan = self.planned();
        for (chore, cron) in [
            (Chore::Retention, &plan.retention_cron),
            (Chore::Sweep, &plan.sweep_cron),
        ] {
            let keeper = self.clone();
            let job = Job::new_async(cron.as_str(), move |_, _| -> Ring {
                let keeper = keeper.clone();
                Box::pin(async move { keeper.ring(chore) })
            });
            let set = match job {
                Ok(job) => clock.add(job).await,
                Err(error) => Err(error),
            };
            if let Err(error) = set {
                tracing::error!(
                    chore = chore.word(),
                    cron,
                    "the cron expression has no six fields (second first) that can be read, so this is not done: {error}"
                );
            }
        }
        if let Err(error) = clock.start().await {
            tracing::error!("the alarm clock for housekeeping does not start: {error}");
        }
        Alarms(Some(clock))
    }

    /// Begins a chore in a task of its own, if this scheduler leads.
    pub(crate) fn ring(&self, chore: Chore) {
        if self.leads.load(Ordering::SeqCst) {
            let keeper = self.clone();
            tokio::spawn(async move { keeper.perform(chore).await });
        }
    }

    async fn perform(&self, chore: Chore) {
        let place = match chore {
            Chore::Retention => &self.busy[0],
            Chore::Sweep => &self.busy[1],
        };
        let Ok(_only) = place.try_lock() else {
            tracing::debug!(chore = chore.word(), "still at it since the last time");
            return;
        };
        let begin = Instant::now();
        match chore {
            Chore::Retention => self.retention().await,
            Chore::Sweep => self.sweep().await,
        }
        self.metrics.scheduler_step(chore.word(), begin.elapsed());
    }

    /// Each part for itself: one that fails does not keep the others from being done.
    async fn retention(&self) {
        self.partitions().await;
        match self.store.clock_is_steady().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(
                    "the database's clock leapt, or nobody kept house for days: nothing old is removed before tomorrow"
                );
                return;
            }
            Err(error) => return self.complain("clock", &error),
        }
        let plan = self.planned();
        if let Some(days) = plan.history_days {
            for pause in PAUSES {
                match self.store.drop_history(days).await {
                    Ok(dropped) => {
                        if dropped.rows > 0 || !dropped.partitions.is_empty() {
                            tracing::info!(partitions = ?dropped.partitions, rows = dropped.rows, days, "removed old ended jobs");
                        }
                        break;
                    }
                    Err(error) => self.complain("history", &error),
                }
                tokio::time::sleep(pause).await;
            }
        }
        if let Some(days) = plan.attempts_days {
            self.report("attempts", self.store.trim_attempts(days).await);
        }
        let days = plan.uploads_days;
        self.report("uploads", self.store.trim_uploads(days).await);
        let days = plan.workers_days;
        self.report("workers", self.store.trim_workers(days).await);
        let days = plan.webhooks_days;
        self.report("webhooks", self.store.trim_deliveries(days).await);
    }

    /// Partitions for the months to come.
    pub(crate) async fn partitions(&self) {
        match self.store.ensure_partitions(MONTHS_AHEAD).await {
            Ok(0) => {}
            Ok(made) => tracing::info!(made, "made partitions for ended jobs"),
            Err(error) => self.complain("partitions", &error),
        }
    }

    async fn sweep(&self) {
        let mut from = 0;
        loop {
            match self.store.repair_lanes(from, LANES).await {
                Ok((mended, next)) => {
                    if mended > 0 {
                        tracing::warn!(
                            mended,
                            "lanes had lost their wake-up; they are served again"
                        );
                    }
                    match next {
                        Some(next) if self.leads.load(Ordering::SeqCst) => from = next,
                        Some(_) | None => return,
                    }
                }
                Err(error) => return self.complain("lanes", &error),
            }
        }
    }

    fn report(&self, what: &'static str, done: Result<u64, StoreError>) {
        match done {
            Ok(0) => {}
            Ok(rows) => tracing::info!(what, rows, "removed old rows"),
            Err(error) => self.complain(what, &error),
        }
    }

    fn complain(&self, what: &'static str, error: &StoreError) {
        self.metrics.db_error("housekeeping");
        tracing::warn!(
            what,
            code = error.code(),
            "a part of the housekeeping was not done, it is tried again next time: {error}"
        );
    }
}

type Ring = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Alarms {
    /// No bell rings after this.
    pub(crate) async fn stop(self) {
        if let Some(mut clock) = self.0
            && let Err(error) = clock.shutdown().await
        {
            tracing::debug!("the alarm clock did not stop: {error}");
        }
    }
}
