//! The worker's loop: one semaphore, as many lanes claimed as there are free places, each attempt in a task of its own.
//!
//! **Invariant:** never more attempts in flight than [`WorkerOptions::concurrency`]; on stop nothing new is claimed and
//! what runs is waited for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crier_core::media::UrlRules;
use crier_core::price::Prices;
use crier_core::trace::{Fact, Finished, Kind, Sink, Span, Trace};
use crier_metrics::{Heartbeat, Metrics};
use crier_store::{Store, StoreError, WORKER_CHANNEL, WakeUps};
use crier_x::{FetchOptions, XClient};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use crate::loops::{PAUSE, keep_up};
use crate::news::Places;

/// Shortest sleep: what is due in less is due.
const LEAST: Duration = Duration::from_millis(5);
/// Longest sleep while a lane is overdue that somebody had locked: the next to come by claims it.
const MOST_OVERDUE: Duration = Duration::from_millis(50);

/// Settings of a worker.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Attempts at once.
    pub concurrency: u16,
    /// How long a lease lasts; longer than a token refresh and a create call together.
    pub lease: Duration,
    /// Longest sleep when nothing is due.
    pub poll: Duration,
    /// Whether to listen for notifications; polling does the work either way.
    pub notify: bool,
    /// When an unknown job is first looked up: X's read side needs time (x-api.md 4.2).
    pub first_look: Duration,
    /// Waits after the looks that found nothing; one look more than these is enough to believe that a post is absent.
    pub look_waits: [Duration; 4],
    /// Access tokens are refreshed this long before they end.
    pub refresh_ahead: Duration,
    /// Files uploaded at once.
    pub uploads: u16,
    /// Folder below which the files of `jobs.media` lie.
    pub media_root: PathBuf,
    /// Where files are kept that are fetched from an address, for as long as that takes.
    pub spool_dir: PathBuf,
    /// What may be fetched, and how long that may take.
    pub urls: FetchOptions,
    /// Whether pictures go in one call instead of in segments.
    pub one_shot: bool,
    /// Bytes of a segment. X documents no limit; 5 MB met a 413 and clients settled on 1 MiB (x-api.md 3.4).
    pub segment_bytes: u32,
    /// How long X may process a file before it is uploaded anew. No limit is documented; a published client gives up after
    /// seven minutes (x-api.md 3.6).
    pub processing: Duration,
    /// Media is uploaded this long before its job is due.
    pub lead: Duration,
    /// What X charges.
    pub prices: Prices,
    /// Which addresses webhooks may have.
    pub webhook_rules: UrlRules,
    /// Longest time for one try of a webhook.
    pub webhook_timeout: Duration,
    /// How long a stop may take: what is being sent is given up shortly before, and looked up later.
    pub stop_grace: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            lease: Duration::from_secs(90),
            poll: Duration::from_millis(500),
            notify: true,
            first_look: Duration::from_secs(15),
            look_waits: [15, 30, 60, 120].map(Duration::from_secs),
            refresh_ahead: Duration::from_mins(5),
            uploads: 4,
            media_root: PathBuf::from("media"),
            spool_dir: PathBuf::from("spool"),
            urls: FetchOptions::default(),
            one_shot: false,
            segment_bytes: 1024 * 1024,
            processing: Duration::from_mins(15),
            lead: Duration::from_mins(30),
            prices: Prices::default(),
            webhook_rules: UrlRules::default(),
            webhook_timeout: Duration::from_secs(15),
            stop_grace: Duration::from_secs(25),
        }
    }
}

/// A worker process.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The database.
    pub store: Store,
    /// X.
    pub x: XClient,
    /// Where it counts.
    pub metrics: Metrics,
    /// A fresh id of this start: a restarted process never passes for its former self.
    pub id: Uuid,
    /// Settings.
    pub options: WorkerOptions,
    /// Other settings, later on.
    pub news: crate::News,
    /// Who is told of what was done.
    pub sink: Option<Arc<dyn Sink>>,
    /// A number from 0 to 1 for jitter.
    pub chance: fn() -> f64,
    /// What is known of v1.1; empty at first.
    pub v1: crate::V1Cache,
    /// How it is told to stop; [`Worker::run`] sees to it.
    pub quit: crate::Quit,
    /// Refreshed tokens that the database has not taken yet.
    pub rescue: crate::Rescue,
}

impl Worker {
    /// Runs until `stop`, then waits for what is in flight.
    pub async fn run(mut self, heartbeat: Heartbeat, stop: CancellationToken) {
        self.quit = crate::Quit::told_by(&stop, self.options.stop_grace);
        let mut places = Places::new(self.options.concurrency);
        let running = TaskTracker::new();
        // A lane that comes free may hold the next job.
        let freed = Arc::new(Notify::new());
        let mut wakes = if self.options.notify {
            self.store.listen(WORKER_CHANNEL)
        } else {
            WakeUps::never()
        };
        self.metrics
            .worker_concurrency(u64::from(self.options.concurrency));
        let spool_dir = self.options.spool_dir.clone();
        running.spawn_blocking(move || crate::spool::sweep(&spool_dir));
        running.spawn(self.clone().bring_back(stop.clone()));
        self.beside("reconcile", Self::reconcile, &running, &stop);
        self.beside("stage", Self::stage, &running, &stop);
        self.beside("probe", Self::probe, &running, &stop);
        self.beside("webhooks", Self::webhooks, &running, &stop);
        let mut overdue = 0;
        let mut news = self.news.clone();
        while !stop.is_cancelled() {
            heartbeat.beat();
            if self.take_up() {
                self.metrics
                    .worker_concurrency(u64::from(self.options.concurrency));
            }
            places.fit(self.options.concurrency);
            let claimed = self.claim_into(&places.all, &running, &freed, &stop).await;
            if claimed == 0 {
                let wait = self.wait(&mut overdue).await;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = freed.notified() => {}
                    () = wakes.next() => {}
                    () = news.come() => {}
                    () = stop.cancelled() => {}
                }
            } else {
                overdue = 0;
            }
        }
        heartbeat.finish();
        running.close();
        running.wait().await;
    }

    /// A loop of its own for one of the things that are done beside publishing.
    fn beside<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(Self, CancellationToken) -> F + Send + 'static,
        running: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (worker, until) = (self.clone(), stop.clone());
        let begin = move || work(worker.clone(), until.clone());
        running.spawn(keep_up(
            name,
            self.metrics.clone(),
            stop.clone(),
            PAUSE,
            begin,
        ));
    }

    /// What dead processes left of refreshed tokens is put into the database first of all; if that is away, once it is back.
    async fn bring_back(self, stop: CancellationToken) {
        while let Err(error) = self.store.now().await {
            tracing::debug!("left-behind tokens are looked for later: {error}");
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => return,
            }
        }
        self.put_back(None).await;
    }

    /// Claims at most as many lanes as there are free places. Only this loop takes places, so the count read here is an
    /// upper bound that can only grow meanwhile.
    async fn claim_into(
        &self,
        places: &Arc<Semaphore>,
        running: &TaskTracker,
        freed: &Arc<Notify>,
        stop: &CancellationToken,
    ) -> usize {
        let free = i64::try_from(places.available_permits()).unwrap_or(0);
        if free == 0 {
            // A place frees before anything else can be claimed; the loop goes round all the same, to beat.
            tokio::select! {
                place = places.acquire() => drop(place),
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => {}
            }
            return 1;
        }
        match self.store.claim(self.id, free, self.options.lease).await {
            Ok(claimed) => {
                if self.metrics.db_works("claim") {
                    tracing::info!("jobs can be claimed again");
                }
                let count = claimed.len();
                for job in claimed {
                    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                        tracing::error!(
                            job = job.lease.subject,
                            "more lanes than places; the lease runs out and the job is claimed again"
                        );
                        continue;
                    };
                    let (worker, piece) = self.within(job.trace);
                    let span = tracing::error_span!(
                        "attempt",
                        job = job.lease.subject,
                        account = job.handle,
                        attempt = job.attempts.saturating_add(1),
                        trace_id = piece.map(|piece| display(piece.trace())),
                    );
                    let facts = vec![
                        ("crier.job", Fact::Number(job.lease.subject)),
                        ("crier.account", Fact::Text(job.handle.clone())),
                        ("crier.attempt", Fact::Number(i64::from(job.attempts) + 1)),
                    ];
                    let freed = Arc::clone(freed);
                    let doing = async move {
                        let busy = worker.metrics.worker_busy();
                        let doing = Box::pin(worker.attempt(&job));
                        worker.told_of(piece, "attempt", facts, doing).await;
                        drop((busy, place));
                        freed.notify_one();
                    };
                    running.spawn(doing.instrument(span));
                }
                count
            }
            Err(error) => {
                if self.metrics.db_error("claim") {
                    tracing::warn!(
                        code = error.code(),
                        "nothing could be claimed, trying again: {error}{}",
                        advice(&error)
                    );
                }
                0
            }
        }
    }

    /// A worker whose calls are parts of a piece of work of that trace, and that piece.
    pub(crate) fn within(&self, trace: Option<Trace>) -> (Self, Option<Span>) {
        let (mut worker, span) = (self.clone(), trace.map(|trace| trace.span(self.chance)));
        if let Some(span) = span {
            worker.x = worker.x.traced(span, self.chance, self.sink.clone());
        }
        (worker, span)
    }

    /// Does a piece of work, and tells the sink when it is over.
    pub(crate) async fn told_of<T>(
        &self,
        span: Option<Span>,
        name: &'static str,
        facts: Vec<(&'static str, Fact)>,
        work: impl Future<Output = T>,
    ) -> T {
        let Some((sink, span)) = self.sink.clone().zip(span.filter(Span::is_sampled)) else {
            return work.await;
        };
        let began = sink.now();
        let done = work.await;
        sink.take(Finished {
            span,
            name: name.to_owned(),
            kind: Kind::Internal,
            began,
            ended: sink.now(),
            facts,
            failed: None,
        });
        done
    }

    /// Until the front lane is due, at most the poll; not long if it is overdue, and longer each time it stays so.
    async fn wait(&self, overdue: &mut u32) -> Duration {
        let poll = self.options.poll;
        let Ok(Some(until)) = self.store.until_next_lane().await else {
            *overdue = 0;
            return poll;
        };
        match until.to_std() {
            Ok(until) => {
                *overdue = 0;
                until.clamp(LEAST, poll.max(LEAST))
            }
            Err(_) => overdue_wait(overdue).min(poll),
        }
    }
}

/// What to do about it, to be added to what is wrong.
pub(crate) fn advice(error: &StoreError) -> String {
    error
        .advice()
        .map(|advice| format!("; {advice}"))
        .unwrap_or_default()
}

/// The next sleep while a lane stays overdue.
fn overdue_wait(times: &mut u32) -> Duration {
    let wait = LEAST.saturating_mul(1 << (*times).min(4));
    *times = times.saturating_add(1);
    wait.min(MOST_OVERDUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_lane_is_tried_soon_and_then_less_often() {
        let mut times = 0;
        let waits: Vec<_> = (0..6)
            .map(|_| overdue_wait(&mut times).as_millis())
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 50, 50]);
    }
}
