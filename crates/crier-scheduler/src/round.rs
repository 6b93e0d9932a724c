//! What a leader does in one round, step by step.
//!
//! **Invariant:** a step that fails is counted and said, and the steps after it are done all the same; no step takes an
//! unbounded bite. That holds for a step that panics, too: nobody else would do the others.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crier_core::fault::Fault;
use crier_metrics::{LeasePhase, SlotEnd};
use crier_store::{CRASH_BOUND, Expanded, RecurringRow, Risky, StoreError};
use serde_json::Value;

use crate::recurring::{expand, fault};
use crate::run::{Memory, Scheduler};

/// Signals applied in one commit.
const SIGNALS: i64 = 5_000;
/// Commits of signals in a round: a thread unwinds one post a commit.
const SIGNAL_COMMITS: u32 = 20;
/// Leases taken back, and jobs ended, in one commit.
const BATCH: i64 = 500;
/// Recurring posts expanded in one round.
const RECURRING: i64 = 20;
/// Between two sweeps over what no signal may have told.
const SWEEP: Duration = Duration::from_secs(3);
/// How soon a recurring post with a fault is looked at again: its account may be back.
const FAULT_RETRY: Duration = Duration::from_mins(1);

impl Scheduler {
    /// Does it all once; true if there is more to do at once.
    pub(crate) async fn work(&self, memory: &mut Memory) -> bool {
        let mut more = self.step("signals", self.signals()).await;
        more |= self.step("leases", self.leases()).await;
        more |= self.step("missed", self.missed()).await;
        more |= self.step("recurring", self.recurring()).await;
        more |= self.step("checks", self.checks()).await;
        if memory.held.is_none_or(|at| at.elapsed() >= SWEEP) {
            more |= self.step("held", self.held(memory)).await;
        }
        if memory.uploads.is_none_or(|at| at.elapsed() >= SWEEP) {
            memory.uploads = Some(Instant::now());
            self.step("uploads", self.uploads()).await;
        }
        more
    }

    async fn step(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<bool, StoreError>>,
    ) -> bool {
        let begin = Instant::now();
        let done = or_panic(work).await;
        self.metrics.scheduler_step(name, begin.elapsed());
        match done {
            Ok(Ok(more)) => more,
            Ok(Err(error)) => {
                self.complain(name, &error);
                false
            }
            Err(panic) => {
                self.metrics.db_error("panic");
                tracing::error!(
                    step = name,
                    "the scheduler broke down in a step and goes on without it until the next round: {panic}"
                );
                false
            }
        }
    }

    async fn signals(&self) -> Result<bool, StoreError> {
        let mut applied = 0;
        for commit in 0..SIGNAL_COMMITS {
            applied = self.store.apply_signals(SIGNALS).await?;
            if applied == 0 {
                if commit > 0 && self.options.notify {
                    self.store.wake_workers().await?;
                }
                break;
            }
        }
        Ok(applied > 0)
    }

    async fn leases(&self) -> Result<bool, StoreError> {
        let redated = self.store.redate_leases().await?;
        if redated > 0 {
            tracing::warn!(
                redated,
                "the database's clock went back: leases that it had dated ahead end by the new one"
            );
        }
        let publish = self.store.expire_leases(BATCH).await?;
        self.metrics
            .leases_expired(LeasePhase::Claimed, publish.claimed);
        self.metrics
            .leases_expired(LeasePhase::Sending, publish.sending);
        let stage = self.store.expire_stage_leases(BATCH).await?;
        let reconcile = self.store.expire_reconcile_leases(BATCH).await?;
        let any = publish.claimed + publish.sending + stage.expired + reconcile > 0;
        if any {
            tracing::warn!(
                claimed = publish.claimed,
                sending = publish.sending,
                quarantined = publish.quarantined + stage.quarantined,
                uploads = stage.expired,
                searches = reconcile,
                "took back the leases of workers that died or stalled"
            );
        }
        Ok(any)
    }

    async fn missed(&self) -> Result<bool, StoreError> {
        let missed = self.store.mark_missed(BATCH).await?;
        if missed > 0 {
            tracing::warn!(missed, "jobs were later than their max_lateness");
        }
        Ok(missed > 0)
    }

    async fn recurring(&self) -> Result<bool, StoreError> {
        let rows = self.store.due_recurring(RECURRING).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let suspects = self.store.suspects(Risky::Recurring, &ids).await?;
        let mut created_any = false;
        for row in &rows {
            let crashes = suspects.get(&row.id).copied().unwrap_or(0);
            match self.recur_alone(row, crashes).await {
                Ok(created) => created_any |= created,
                Err(error) => self.complain("recurring", &error),
            }
        }
        Ok(created_any)
    }

    /// One that breaks this process, or breaks down in it, costs only itself, and is put aside after a bounded number of
    /// times.
    async fn recur_alone(&self, row: &RecurringRow, crashes: i16) -> Result<bool, StoreError> {
        if crashes >= CRASH_BOUND {
            return self.put_recurring_aside(row).await;
        }
        self.store
            .take_in_hand(Risky::Recurring, self.id, &[row.id])
            .await?;
        let done = or_panic(self.recur(row)).await;
        self.store.put_down(Risky::Recurring, self.id).await?;
        match done {
            Ok(done) => {
                if crashes > 0 && done.is_ok() {
                    self.store
                        .clear_suspects(Risky::Recurring, &[row.id])
                        .await?;
                }
                done
            }
            Err(panic) => {
                let crashes = self.store.count_crash(Risky::Recurring, row.id).await?;
                self.metrics.db_error("panic");
                tracing::error!(recurring = %row.name, crashes, "a recurring post broke down: {panic}");
                if crashes >= CRASH_BOUND {
                    return self.put_recurring_aside(row).await;
                }
                let wrong = broken(crashes, "crier tries it again shortly");
                self.store
                    .recurring_fault(row, &column(&wrong), Some(FAULT_RETRY))
                    .await?;
                Ok(false)
            }
        }
    }

    async fn put_recurring_aside(&self, row: &RecurringRow) -> Result<bool, StoreError> {
        let hint = "look at the schedulers' logs, then correct the row in crier.recurring: with an edit crier tries it again";
        let wrong = broken(CRASH_BOUND, hint);
        tracing::error!(recurring = %row.name, "a recurring post is put aside: {wrong}");
        self.store
            .recurring_fault(row, &column(&wrong), None)
            .await?;
        self.store
            .clear_suspects(Risky::Recurring, &[row.id])
            .await?;
        Ok(false)
    }

    async fn recur(&self, row: &RecurringRow) -> Result<bool, StoreError> {
        let wrong = match expand(row) {
            Ok((expansion, skipped)) => match self.store.expand_recurring(row, &expansion).await? {
                Expanded::Done {
                    created,
                    duplicates,
                } => {
                    let skipped = u64::try_from(skipped).unwrap_or(u64::MAX);
                    self.metrics.recurring_slots(SlotEnd::Created, created);
                    self.metrics.recurring_slots(SlotEnd::Duplicate, duplicates);
                    self.metrics.recurring_slots(SlotEnd::Skipped, skipped);
                    if skipped > 0 {
                        tracing::warn!(recurring = %row.name, skipped, policy = %row.missed, "slots passed while nothing ran");
                    }
                    return Ok(created > 0);
                }
                Expanded::Changed => return Ok(false),
                Expanded::Refused { message, hint } => fault(
                    "recurring_refused",
                    "the jobs of the recurring post are refused",
                    message,
                    hint,
                ),
            },
            Err(fault) => fault,
        };
        tracing::warn!(recurring = %row.name, code = %wrong.code, "a recurring post makes no jobs: {wrong}");
        self.store
            .recurring_fault(row, &column(&wrong), Some(FAULT_RETRY))
            .await?;
        Ok(false)
    }

    async fn held(&self, memory: &mut Memory) -> Result<bool, StoreError> {
        let sweep = self.store.sweep_held(memory.held_cursor, BATCH).await?;
        memory.held_cursor = sweep.next;
        if sweep.next.is_none() {
            memory.held = Some(Instant::now());
        }
        if sweep.released + sweep.failed > 0 {
            tracing::debug!(
                released = sweep.released,
                failed = sweep.failed,
                "swept replies whose predecessor had ended"
            );
        }
        Ok(sweep.released + sweep.failed > 0 || sweep.next.is_some())
    }

    async fn uploads(&self) -> Result<bool, StoreError> {
        self.store.sweep_uploads(self.options.lead, BATCH).await?;
        Ok(false)
    }
}

/// The answer of `work`, or the words with which it panicked; its transaction is rolled back then.
async fn or_panic<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic
                .downcast::<String>()
                .map(|words| *words)
                .or_else(|panic| panic.downcast::<&str>().map(|words| (*words).to_owned()))
                .unwrap_or_default())),
        },
    )
    .await
}

fn broken(crashes: i16, hint: &str) -> Fault {
    fault(
        "quarantined",
        "schedulers died while they expanded this recurring post",
        format!("{crashes} times a scheduler died or broke down over it"),
        hint,
    )
}

fn column(fault: &Fault) -> Value {
    // Five texts always make an object.
    serde_json::to_value(fault).unwrap_or(Value::Null)
}
