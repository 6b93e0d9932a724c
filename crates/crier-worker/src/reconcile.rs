//! Unknown outcomes: looks for the post among the account's own, until it is found or believed absent.
//!
//! **Invariant:** a look reads and writes to the database, and never sends a post; what it could not see it does not
//! take for absent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::price::Priced;
use crier_core::reconcile::{Next, Pick, Search, Seen, Sent, id_time, is_listed, next, pick};
use crier_core::trace::Fact;
use crier_metrics::UnknownEnd;
use crier_store::{Absent, Contest, Look, StoreError};
use crier_x::SeenPost;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::Worker;
use crate::attempt::replies_to_others;
use crate::reasons::plain_why;

mod read;

use read::Reading;

/// Looks at once. Each is a few calls of reading, and unknown outcomes are rare.
const AT_ONCE: usize = 4;
/// When a look is due again that the database broke off.
const GIVEN_BACK: Duration = Duration::from_secs(1);
/// X remembers a post so long to refuse its duplicate (x-api.md 4.5).
const MEMORY: TimeDelta = TimeDelta::hours(12);

impl Worker {
    /// Looks up what is due until `stop`, then waits for the looks in flight, which end early.
    pub(crate) async fn reconcile(mut self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let running = TaskTracker::new();
        while !stop.is_cancelled() {
            self.take_up();
            if let Err(error) = self.claim_looks(&places, &running, &stop).await
                && self.metrics.db_error("claim_looks")
            {
                tracing::warn!(
                    code = error.code(),
                    "unknown jobs could not be claimed, trying again: {error}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => {}
            }
        }
        running.close();
        running.wait().await;
    }

    async fn claim_looks(
        &self,
        places: &Arc<Semaphore>,
        running: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let free = i64::try_from(places.available_permits()).unwrap_or(0);
        if free == 0 {
            return Ok(());
        }
        let looks = self
            .store
            .claim_reconciles(self.id, free, self.options.lease)
            .await?;
        for look in looks {
            // Only this loop takes places, so as many as were asked for are free.
            let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                continue;
            };
            let (worker, piece) = self.within(look.trace);
            let span = tracing::error_span!(
                "look",
                job = look.lease.subject,
                account = look.handle,
                look = look.looks.saturating_add(1),
                trace_id = piece.map(|piece| display(piece.trace())),
            );
            let stop = stop.clone();
            let facts = vec![
                ("crier.job", Fact::Number(look.lease.subject)),
                ("crier.account", Fact::Text(look.handle.clone())),
                (
                    "crier.look",
                    Fact::Number(
                        i64::try_from(look.looks)
                            .unwrap_or(i64::MAX)
                            .saturating_add(1),
                    ),
                ),
            ];
            let doing = async move {
                let looking = Box::pin(worker.look(&look, &stop));
                if let Err(error) = worker.told_of(piece, "look", facts, looking).await {
                    worker.look_failed(&look, &error);
                    if error.is_outage() {
                        worker.give_look_back(&look, &stop).await;
                    }
                }
                drop(place);
            };
            running.spawn(doing.instrument(span));
        }
        Ok(())
    }

    fn look_failed(&self, look: &Look, error: &StoreError) {
        if matches!(error, StoreError::LeaseLost { .. }) {
            self.metrics.lease_lost();
        } else {
            self.metrics.db_error("reconcile");
        }
        tracing::warn!(
            job = look.lease.subject,
            code = error.code(),
            "the look was dropped: {error}"
        );
    }

    /// The database failed in the middle of it: as soon as it is back the look is anybody's, and nobody's suspect.
    async fn give_look_back(&self, look: &Look, stop: &CancellationToken) {
        let write = || self.store.look_again(&look.lease, GIVEN_BACK, false);
        // Otherwise its lease runs out.
        let _ = self.insist(stop, "reconcile", write).await;
    }

    /// One look at one job.
    async fn look(&self, look: &Look, stop: &CancellationToken) -> Result<(), StoreError> {
        let job = look.lease.subject;
        let options = match &look.options {
            Ok(options) => options,
            Err(fault) => {
                let fault = fault.clone().at_step("reconcile");
                return self.leave(look, &json!(fault)).await;
            }
        };
        let mut ours = ours(look, options);
        let read = match self.read(look, ours.first, stop).await? {
            Reading::Posts(read) => read,
            Reading::Later(after) => {
                return self.store.look_again(&look.lease, after, false).await;
            }
            Reading::Failed(after, error) => {
                return self.store.look_failed(&look.lease, after, &error).await;
            }
            Reading::Never(error) => return self.leave(look, &error).await,
        };
        ours.ahead = read.ahead;
        let posts = read.posts;
        let ids: Vec<String> = posts.iter().map(|post| post.id.clone()).collect();
        let contest = self.store.contest(&look.lease, &ids).await?;
        let search = Search {
            looks: look.looks + 1,
            waits: &self.options.look_waits,
            is_doubtful: ours.is_doubtful,
            is_duplicate: look.duplicate_seen,
            is_complete: read.is_complete,
            is_listed: is_listed(options),
        };
        // As long as all looks of one search last X may be slow to show a post.
        let shown = look.now - self.options.look_waits.iter().sum::<Duration>();
        match next(decide(&ours, &contest, &posts, shown), &search) {
            Next::Published(post_id) => self.found(look, &post_id, ours.is_doubtful).await,
            Next::LookAgain(after) => {
                tracing::info!(
                    job,
                    looks = search.looks,
                    "job {job} is not among the {} posts that X shows yet",
                    posts.len()
                );
                self.store.look_again(&look.lease, after, true).await
            }
            Next::Absent => {
                let absent = self.store.settle_absent(&look.lease).await?;
                self.metrics.unknown_settled(UnknownEnd::Absent);
                let what = match absent {
                    Absent::Again => "is sent again",
                    Absent::Failed => "has no attempt left",
                };
                tracing::warn!(
                    job,
                    looks = search.looks,
                    "job {job} is not on X and {what}"
                );
                Ok(())
            }
            Next::Duplicate => {
                self.store.settle_duplicate(&look.lease).await?;
                self.metrics.unknown_settled(UnknownEnd::Duplicate);
                tracing::warn!(
                    job,
                    "job {job} failed: X has had its text before, and not from this job"
                );
                Ok(())
            }
            Next::Operator(doubt) => {
                let why = plain_why(
                    doubt.code(),
                    "crier cannot tell whether the post is on X",
                    "reconcile",
                    "",
                );
                let mut error = why.error;
                error["detail"] = json!(doubt.detail());
                self.leave(look, &error).await
            }
        }
    }

    async fn found(&self, look: &Look, post_id: &str, is_doubtful: bool) -> Result<(), StoreError> {
        let job = look.lease.subject;
        let (how, end) = if is_doubtful {
            ("found", UnknownEnd::Found)
        } else {
            ("duplicate", UnknownEnd::Duplicate)
        };
        let others = look.options.as_ref().is_ok_and(replies_to_others);
        let charge = self
            .options
            .prices
            .charge(Priced::of_post(&look.text, others), 1);
        match self
            .store
            .settle_found(&look.lease, post_id, how, Some(charge))
            .await
        {
            Ok(_) => {}
            Err(StoreError::PostTaken { .. }) => {
                // Another job was faster; the next list is read without that post.
                return self
                    .store
                    .look_again(&look.lease, self.options.look_waits[0], false)
                    .await;
            }
            Err(error) => return Err(error),
        }
        self.metrics.unknown_settled(end);
        // X accepted it when it made the id, long before it was found.
        let lateness = id_time(post_id).and_then(|at| (at - look.run_at).to_std().ok());
        self.metrics.published(lateness.unwrap_or_default());
        tracing::info!(job, how, "job {job} was found on X and is published");
        Ok(())
    }

    async fn leave(&self, look: &Look, error: &Value) -> Result<(), StoreError> {
        self.store.leave_to_operator(&look.lease, error).await?;
        let job = look.lease.subject;
        tracing::error!(
            job,
            code = error["code"].as_str().unwrap_or_default(),
            "job {job} stays unknown: look at the account on X, then `crier jobs settle {job} --published POST_ID`, `--retry` or `--absent`"
        );
        Ok(())
    }
}

/// What is looked for. A job whose very first call was refused as a duplicate may be any post of its text since its row
/// was inserted.
fn ours<'a>(look: &'a Look, options: &Value) -> Sent<'a> {
    Sent {
        job: look.lease.subject,
        text: &look.text,
        attachments: attachments(look.media_count, options),
        is_reply: look.in_thread || replies_to_others(options),
        first: look
            .first_doubtful
            .unwrap_or_else(|| look.created_at.max(look.now - MEMORY)),
        last: look.since,
        is_doubtful: look.first_doubtful.is_some(),
        ahead: TimeDelta::zero(),
    }
}

fn decide(ours: &Sent<'_>, contest: &Contest, posts: &[SeenPost], shown: DateTime<Utc>) -> Pick {
    let rivals: Vec<Sent<'_>> = contest
        .rivals
        .iter()
        .map(|rival| Sent {
            job: rival.job,
            text: &rival.text,
            attachments: attachments(
                usize::try_from(rival.media_count).unwrap_or(0),
                &rival.options,
            ),
            is_reply: rival.in_thread || replies_to_others(&rival.options),
            first: rival.first_sent,
            last: rival.last_sent,
            is_doubtful: true,
            ahead: ours.ahead,
        })
        .collect();
    let seen: Vec<Seen<'_>> = posts
        .iter()
        .map(|post| Seen {
            id: &post.id,
            text: &post.text,
        })
        .collect();
    let taken: BTreeSet<String> = contest.taken.iter().cloned().collect();
    pick(ours, &rivals, &seen, &taken, shown)
}

/// Attachments for which X may append a link: media, a quoted post, a card.
fn attachments(media_count: usize, options: &Value) -> usize {
    let there = |name: &str| options.get(name).is_some_and(|value| !value.is_null());
    let linked = ["quote_tweet_id", "card_uri", "direct_message_deep_link"];
    media_count + linked.into_iter().filter(|name| there(name)).count()
}
