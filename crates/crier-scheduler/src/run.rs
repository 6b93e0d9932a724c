//! The scheduler's loop.
//!
//! **Invariant:** it sleeps until something can be due, at most [`SchedulerOptions::poll`]; it never needs a
//! notification to find work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::media::UrlRules;
use crier_metrics::{Heartbeat, Metrics};
use crier_store::{HeldCursor, Leadership, SCHEDULER_CHANNEL, Store, StoreError, WakeUps};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::checks::MediaProbe;
use crate::housekeeping::{Chore, Housekeeping, Keeper};

/// Shortest sleep after a round that left something overdue undone, such as a row that a person has locked.
const BREATH: Duration = Duration::from_millis(100);
/// What the database's clock may gain or lose between two looks before it is told.
const LEAP: TimeDelta = TimeDelta::seconds(20);
/// Shortest sleep at all: what is due in less is due.
const LEAST: Duration = Duration::from_millis(2);

/// Settings of a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Longest sleep between two looks.
    pub poll: Duration,
    /// How long leadership holds; another scheduler takes over after it.
    pub leader_ttl: Duration,
    /// Whether to listen for notifications and to send them to workers; polling does the work either way.
    pub notify: bool,
    /// How long before `run_at` media are staged.
    pub lead: Duration,
    /// Whether to warn of what X does not let apps do that pay per use.
    pub self_serve: bool,
    /// Looks at files of the media folder; without one, they are first looked at when they are staged.
    pub media: Option<Arc<dyn MediaProbe>>,
    /// Which addresses media may be fetched from.
    pub urls: UrlRules,
    /// What is kept for how long.
    pub housekeeping: Housekeeping,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            leader_ttl: Duration::from_secs(5),
            notify: true,
            lead: Duration::from_mins(30),
            self_serve: true,
            media: None,
            urls: UrlRules::default(),
            housekeeping: Housekeeping::default(),
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
    /// Settings.
    pub options: SchedulerOptions,
    /// Other settings, later on; a round goes by those that it began with.
    pub news: News,
}

/// Where new settings come from; by default from nowhere.
#[derive(Debug, Clone, Default)]
pub struct News(Option<watch::Receiver<SchedulerOptions>>);

impl News {
    /// What is sent from now on.
    pub fn of(receiver: watch::Receiver<SchedulerOptions>) -> Self {
        Self(Some(receiver))
    }

    /// The new ones, if there are any that were not taken up.
    fn take(&mut self) -> Option<SchedulerOptions> {
        let receiver = self.0.as_mut()?;
        // Whoever has sent them may be gone by now.
        matches!(receiver.has_changed(), Ok(true)).then(|| receiver.borrow_and_update().clone())
    }

    /// Returns when there are new ones.
    async fn come(&mut self) {
        let gone = match &mut self.0 {
            Some(receiver) => receiver.changed().await.is_err(),
            None => true,
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

/// What the loop remembers from round to round.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// When leadership was last confirmed.
    led: Option<Instant>,
    /// When held jobs were last swept, and where the sweep stopped.
    pub(crate) held: Option<Instant>,
    pub(crate) held_cursor: Option<HeldCursor>,
    /// When planned uploads were last swept.
    pub(crate) uploads: Option<Instant>,
    /// The database's time, and when it said so.
    clock: Option<(DateTime<Utc>, Instant)>,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Follows,
    Rests,
    /// There is more to do at once.
    Goes,
}

impl Scheduler {
    /// Runs until `stop`, then gives leadership back.
    pub async fn run(mut self, heartbeat: Heartbeat, stop: CancellationToken) {
        let leads = Arc::new(AtomicBool::new(false));
        let keeper = Keeper::new(
            self.store.clone(),
            self.metrics.clone(),
            self.options.housekeeping.clone(),
            Arc::clone(&leads),
        );
        let alarms = keeper.set_alarms().await;
        let mut wakes = if self.options.notify {
            self.store.listen(SCHEDULER_CHANNEL)
        } else {
            WakeUps::never()
        };
        let mut memory = Memory::default();
        let mut news = self.news.clone();
        while !stop.is_cancelled() {
            heartbeat.beat();
            if let Some(options) = self.news.take() {
                keeper.plan(options.housekeeping.clone());
                self.options = options;
            }
            let ended = match self.round(&mut memory, &leads, &keeper).await {
                Ok(ended) => ended,
                Err(error) => {
                    self.complain("lead", &error);
                    self.metrics.scheduler_leads(false);
                    leads.store(false, Ordering::SeqCst);
                    Ended::Follows
                }
            };
            let wait = match ended {
                Ended::Goes => continue,
                Ended::Rests => self.wait().await,
                Ended::Follows => self.options.poll,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // A notification concerns the leader only.
                () = wakes.next(), if ended == Ended::Rests => {}
                () = news.come() => {}
                () = stop.cancelled() => {}
            }
        }
        heartbeat.finish();
        leads.store(false, Ordering::SeqCst);
        alarms.stop().await;
        self.metrics.scheduler_leads(false);
        if let Err(error) = self.store.resign(self.id).await {
            tracing::warn!("leadership could not be given back, it runs out by itself: {error}");
        }
    }

    /// One round: lead or follow, then do what a leader does.
    async fn round(
        &self,
        memory: &mut Memory,
        leads: &AtomicBool,
        keeper: &Keeper,
    ) -> Result<Ended, StoreError> {
        let confirmed = memory
            .led
            .is_some_and(|at| at.elapsed() < self.options.leader_ttl / 3);
        if !confirmed {
            memory.led = None;
            // Counted from before the question: the lease may have begun then.
            let asked = Instant::now();
            let leadership = self.store.lead(self.id, self.options.leader_ttl).await?;
            if self.metrics.db_works("lead") {
                tracing::info!("the scheduler can write again");
            }
            let leads_now = leadership == Leadership::Leads;
            self.metrics.scheduler_leads(leads_now);
            let led = leads.swap(leads_now, Ordering::SeqCst);
            if !leads_now {
                return Ok(Ended::Follows);
            }
            memory.led = Some(asked);
            self.watch_clock(memory).await;
            if !led {
                tracing::info!("this scheduler leads");
                let left = self.store.suspect_what_was_left(self.id).await?;
                if left > 0 {
                    tracing::warn!(
                        left,
                        "the scheduler before this one died over its work: what it had in hand is looked at one by one"
                    );
                }
                // Nobody knows when the one before last kept house.
                keeper.partitions().await;
                keeper.ring(Chore::Retention);
                keeper.ring(Chore::Sweep);
            }
        }
        Ok(if self.work(memory).await {
            Ended::Goes
        } else {
            Ended::Rests
        })
    }

    /// Says if the database's clock did not go as time does: a server that was set, or another one after a fail-over.
    async fn watch_clock(&self, memory: &mut Memory) {
        let Ok(now) = self.store.now().await else {
            return;
        };
        let at = Instant::now();
        if let Some((then, since)) = memory.clock.replace((now, at)) {
            let passed = TimeDelta::from_std(at - since).unwrap_or_default();
            let leap = (now - then) - passed;
            if leap.abs() > LEAP {
                tracing::error!(
                    leap_s = leap.num_seconds(),
                    "the database's clock leapt by {} s: what is due goes by it all the same; set it by NTP, slewing and not in leaps",
                    leap.num_seconds()
                );
            }
        }
    }

    /// Until something is due, at most the poll.
    async fn wait(&self) -> Duration {
        let poll = self.options.poll;
        match self.store.until_scheduler_due().await {
            Ok(Some(until)) => match until.to_std() {
                Ok(until) => until.clamp(LEAST, poll.max(LEAST)),
                // Overdue, though the round has just been over it.
                Err(_) => BREATH.min(poll),
            },
            Ok(None) => poll,
            Err(error) => {
                self.complain("until_due", &error);
                poll
            }
        }
    }

    pub(crate) fn complain(&self, step: &'static str, error: &StoreError) {
        if self.metrics.db_error(step) {
            let advice = error.advice().map(|advice| format!("; {advice}"));
            tracing::warn!(
                step,
                code = error.code(),
                "the scheduler could not do a step and will try again: {error}{}",
                advice.unwrap_or_default()
            );
        }
    }
}
