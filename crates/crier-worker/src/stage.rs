//! Staging: the loop that uploads files ahead of their jobs' time, and how each upload ends.
//!
//! **Invariant:** never more files are read and sent at once than [`WorkerOptions::uploads`]; a lost lease stops its
//! work at once, and so does a stop of the worker: the next worker goes on where X last acknowledged a segment.
//!
//! [`WorkerOptions::uploads`]: crate::WorkerOptions::uploads

mod call;
mod one_shot;
mod send;
mod source;
mod stop;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use crier_core::trace::Fact;
use crier_metrics::UploadEnd;
use crier_store::{Lease, PutOff, StoreError, Upload};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::Worker;
use crate::attempt::lasting;
use crate::news::Places;
use crate::stage::call::Staging;
use crate::stage::stop::Stop;

/// Files in hand for each place to upload: most of them wait for X to process what it has, which takes no place.
const IN_HAND_A_PLACE: usize = 16;
/// A lease is given up for lost this long before its end if it could not be renewed.
const SKEW_ALLOWANCE: Duration = Duration::from_secs(5);

impl Worker {
    /// Stages until `stop`, then waits for what is in hand to be given back.
    pub(crate) async fn stage(mut self, stop: CancellationToken) {
        let mut places = Places::new(self.options.uploads);
        let mut news = self.news.clone();
        let tasks = TaskTracker::new();
        let freed = Arc::new(Notify::new());
        while !stop.is_cancelled() {
            self.take_up();
            places.fit(self.options.uploads);
            if self
                .claim_uploads_into(&places.all, &tasks, &freed, &stop)
                .await
                > 0
            {
                continue;
            }
            let next = self.store.until_next_upload().await.ok().flatten();
            let wait = next
                .and_then(|delta| delta.to_std().ok())
                .map_or(self.options.poll, |until| until.min(self.options.poll))
                .max(Duration::from_millis(5));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = freed.notified() => {}
                () = news.come() => {}
                () = stop.cancelled() => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn claim_uploads_into(
        &self,
        places: &Arc<Semaphore>,
        tasks: &TaskTracker,
        freed: &Arc<Notify>,
        stop: &CancellationToken,
    ) -> usize {
        let most = usize::from(self.options.uploads) * IN_HAND_A_PLACE;
        let free = places
            .available_permits()
            .min(most.saturating_sub(tasks.len()));
        if free == 0 {
            // `wait` would look at what is due again and again: a place frees before anything can be claimed, unless there
            // are to be more of them.
            tokio::select! {
                () = freed.notified() => {}
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => {}
            }
            return 1;
        }
        let (limit, lease) = (i64::try_from(free).unwrap_or(1), self.options.lease);
        let claimed = self
            .store
            .claim_uploads(self.id, limit, lease, self.options.lead)
            .await;
        let uploads = match claimed {
            Ok(uploads) => uploads,
            Err(error) => {
                if self.metrics.db_error("claim_uploads") {
                    tracing::warn!(
                        code = error.code(),
                        "no upload could be claimed, trying again: {error}"
                    );
                }
                return 0;
            }
        };
        let count = uploads.len();
        for upload in uploads {
            let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                tracing::error!(
                    job = upload.job,
                    "more uploads than places; the lease runs out and the file is claimed again"
                );
                continue;
            };
            let place = Place(Some(place), Arc::clone(freed));
            let (worker, piece) = self.within(upload.trace);
            let span = tracing::error_span!(
                "upload",
                job = upload.job,
                account = upload.handle,
                attempt = upload.attempts.saturating_add(1),
                trace_id = piece.map(|piece| display(piece.trace())),
            );
            let (stop, inner) = (stop.clone(), tasks.clone());
            let facts = vec![
                ("crier.job", Fact::Number(upload.job)),
                ("crier.account", Fact::Text(upload.handle.clone())),
                (
                    "crier.attempt",
                    Fact::Number(i64::from(upload.attempts) + 1),
                ),
                ("crier.position", Fact::Number(upload.position.into())),
            ];
            let doing = async move {
                let doing = Box::pin(worker.stage_one(upload, place, inner, stop));
                worker.told_of(piece, "upload", facts, doing).await;
            };
            tasks.spawn(doing.instrument(span));
        }
        count
    }

    async fn stage_one(
        &self,
        upload: Upload,
        place: Place,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let freed = Arc::clone(&place.1);
        let mut staging = Staging::new(self.clone(), upload.clone(), place, tasks);
        let end = tokio::select! {
            end = staging.whole() => end,
            () = self.keep(&upload.lease) => Err(Stop::Lost),
            () = stop.cancelled() => Err(Stop::Shutdown),
        };
        drop(staging);
        self.end_upload(&upload, end, &stop).await;
        freed.notify_one();
    }

    /// The same write until the database takes it or the lease is gone; told to stop, it gives up at the next failure.
    pub(crate) async fn insist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        stop: &CancellationToken,
        what: &'static str,
        write: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let mut waits = lasting().build();
        loop {
            let error = match write().await {
                Err(error) if error.is_outage() => error,
                written => return written,
            };
            if self.metrics.db_error(what) {
                tracing::warn!(
                    code = error.code(),
                    "what became of a step ({what}) cannot be written, trying again: {error}"
                );
            }
            let Some(wait) = waits.next() else {
                return Err(error);
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return Err(error),
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn keep(&self, lease: &Lease) {
        let ttl = self.options.lease;
        let mut held = Instant::now();
        loop {
            tokio::time::sleep(ttl / 3).await;
            match self.store.renew(self.id, &[lease.token], ttl).await {
                Ok(tokens) if tokens.is_empty() => return,
                Ok(_) => held = Instant::now(),
                Err(_) if held.elapsed() + SKEW_ALLOWANCE >= ttl => return,
                Err(_) => {}
            }
        }
    }

    /// Writes down how it ended, as soon as the database takes it: a file that is given back is nobody's suspect, and goes on
    /// before its lease would have ended.
    async fn end_upload(
        &self,
        upload: &Upload,
        end: Result<Option<u64>, Stop>,
        stop: &CancellationToken,
    ) {
        let (job, position) = (upload.job, upload.position);
        let store = &self.store;
        let (how, code, written) = match end {
            Ok(expires_in_s) => {
                let known = Instant::now();
                let written = self
                    .insist(stop, "stage", || {
                        let left_s = expires_in_s
                            .map(|life_s| life_s.saturating_sub(known.elapsed().as_secs()));
                        store.upload_ready(upload, left_s)
                    })
                    .await;
                (UploadEnd::Ready, "ready".to_owned(), written.map(drop))
            }
            Err(Stop::Failed(why)) => {
                let write = || store.upload_failed(upload, &why);
                let written = self.insist(stop, "stage", write).await;
                (UploadEnd::Failed, why.code, written)
            }
            Err(Stop::Later(later)) => {
                let put_off = PutOff {
                    why: &later.why,
                    costs_attempt: later.costs_attempt,
                    new_session: later.new_session,
                    as_warning: later.as_warning,
                };
                let write = || store.put_off_upload(upload, later.until, &put_off);
                let written = self.insist(stop, "stage", write).await;
                let last = written.as_ref().is_ok_and(|last| *last);
                let how = if last {
                    UploadEnd::Failed
                } else {
                    UploadEnd::Snoozed
                };
                (how, later.why.code, written.map(drop))
            }
            Err(Stop::Shutdown) => {
                let written = store.release_upload(upload).await;
                (UploadEnd::Snoozed, "shutdown".to_owned(), written)
            }
            Err(Stop::Lost) => {
                let (kind, subject) = (upload.lease.kind, upload.lease.subject);
                let lost = Err(StoreError::LeaseLost { kind, subject });
                (UploadEnd::Snoozed, "lease_lost".to_owned(), lost)
            }
            // Whoever claims it next goes on from what was committed.
            Err(Stop::Store(error)) if error.is_outage() => {
                let write = || store.release_upload(upload);
                let written = self.insist(stop, "stage", write).await;
                (UploadEnd::Snoozed, error.code().to_owned(), written)
            }
            Err(Stop::Store(error)) => (UploadEnd::Snoozed, error.code().to_owned(), Err(error)),
        };
        match written {
            Ok(()) => {
                self.metrics.upload_ended(how);
                if how == UploadEnd::Ready {
                    tracing::info!(job, position, "media {position} of job {job} is ready");
                } else {
                    tracing::warn!(
                        job,
                        position,
                        code,
                        "media {position} of job {job} is not ready"
                    );
                }
            }
            Err(error) => {
                if matches!(error, StoreError::LeaseLost { .. }) {
                    self.metrics.lease_lost();
                } else {
                    self.metrics.db_error("stage");
                }
                tracing::warn!(
                    job,
                    position,
                    code = error.code(),
                    "staging of media {position} of job {job} was dropped: {error}"
                );
            }
        }
    }
}

/// A place to upload; given back while X processes, and at the end.
#[derive(Debug)]
struct Place(Option<OwnedSemaphorePermit>, Arc<Notify>);

impl Place {
    fn give_back(&mut self) {
        if self.0.take().is_some() {
            self.1.notify_one();
        }
    }
}
