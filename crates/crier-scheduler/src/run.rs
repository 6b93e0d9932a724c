//! The scheduler's loop.
//!
//! **Invariant:** it sleeps until something can be due, at most [`SchedulerOptions::poll`]; it never needs a
//! notification to find work.

use std::time::{Duration, Instant};

use crier_metrics::{Heartbeat, LeasePhase, Metrics};
use crier_store::{Leadership, Store, StoreError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Signals applied in one commit.
const SIGNALS: i64 = 5_000;
/// Leases taken back in one commit.
const LEASES: i64 = 500;

/// Times of the loop.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// Longest sleep between two looks.
    pub poll: Duration,
    /// How long leadership holds; another scheduler takes over after it.
    pub leader_ttl: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            leader_ttl: Duration::from_secs(5),
        }
    }
}

/// A scheduler process.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// The database.
    pub store: Store,
    /// Where it counts.
    pub metrics: Metrics,
    /// A fresh id of this start.
    pub id: Uuid,
    /// Times.
    pub options: SchedulerOptions,
}

impl Scheduler {
    /// Runs until `stop`, then gives leadership back.
    pub async fn run(self, heartbeat: Heartbeat, stop: CancellationToken) {
        while !stop.is_cancelled() {
            heartbeat.beat();
            if let Err(error) = self.tick().await {
                self.metrics.db_error("scheduler_tick");
                tracing::warn!(
                    code = error.code(),
                    "the scheduler could not do its round and will try again: {error}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => {}
            }
        }
        heartbeat.finish();
        self.metrics.scheduler_leads(false);
        if let Err(error) = self.store.resign(self.id).await {
            tracing::warn!("leadership could not be given back, it runs out by itself: {error}");
        }
    }

    /// One round: lead or follow, then do what a leader does.
    pub async fn tick(&self) -> Result<Leadership, StoreError> {
        let leadership = self.store.lead(self.id, self.options.leader_ttl).await?;
        self.metrics
            .scheduler_leads(leadership == Leadership::Leads);
        if leadership == Leadership::Leads {
            let begin = Instant::now();
            while self.store.apply_signals(SIGNALS).await? > 0 {}
            self.metrics.scheduler_step("signals", begin.elapsed());
            let begin = Instant::now();
            let expired = self.store.expire_leases(LEASES).await?;
            self.metrics
                .leases_expired(LeasePhase::Claimed, expired.claimed);
            self.metrics
                .leases_expired(LeasePhase::Sending, expired.sending);
            self.metrics.scheduler_step("leases", begin.elapsed());
            if expired.claimed + expired.sending > 0 {
                tracing::warn!(
                    claimed = expired.claimed,
                    sending = expired.sending,
                    "took back the leases of workers that died or stalled"
                );
            }
        }
        Ok(leadership)
    }
}
