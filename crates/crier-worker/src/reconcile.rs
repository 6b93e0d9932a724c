//! Unknown outcomes: looks for the post among the account's own, until it is found or believed absent.
//!
//! **Invariant:** a look reads and writes to the database, and never sends a post; what it could not see it does not
//! take for absent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::price::Priced;
use crier_core::reconcile::{
    CLOCK_ALLOWANCE, Next, Pick, Search, Seen, Sent, id_time, is_listed, next, pick,
};
use crier_core::retry::{Pace, next_attempt};
use crier_core::verdict::{Action, Step, Verdict, judge};
use crier_metrics::UnknownEnd;
use crier_store::{Absent, Contest, Look, StoreError};
use crier_x::SeenPost;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Worker;
use crate::attempt::{plain_why, replies_to_others, status, why};
use crate::token::{NoToken, can_be_refreshed};

/// Looks at once. Each is a few calls of reading, and unknown outcomes are rare.
const AT_ONCE: usize = 4;
/// Pages of a look: X lists the latest 3,200 posts (x-api.md 4.2), 100 a page.
const PAGES: usize = 32;
/// How long to wait for a grant that only a person can renew.
const NO_GRANT_WAIT: Duration = Duration::from_mins(5);
/// How long to wait for another process that is refreshing the token.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// X remembers a post so long to refuse its duplicate (x-api.md 4.5).
const MEMORY: TimeDelta = TimeDelta::hours(12);
/// Scopes that reading one's own posts needs (x-api.md 1.3).
const READ_SCOPES: [&str; 2] = ["tweet.read", "users.read"];
/// Refusals of reading that no waiting mends.
const NEVER_READABLE: [&str; 3] = ["read_forbidden", "scope_missing", "access_level"];

/// What reading the account's posts brought.
enum Reading {
    /// The posts since then, and whether that is all of them.
    Posts(Vec<SeenPost>, bool),
    /// Not now: once more after so long.
    Later(Duration),
    /// The account may not read; the form of `jobs.error`.
    Never(Value),
}

impl Worker {
    /// Looks up what is due until `stop`, then waits for the looks in flight, which end early.
    pub(crate) async fn reconcile(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let running = TaskTracker::new();
        while !stop.is_cancelled() {
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
            let (worker, stop) = (self.clone(), stop.clone());
            running.spawn(async move {
                if let Err(error) = worker.look(&look, &stop).await {
                    worker.look_failed(&look, &error);
                }
                drop(place);
            });
        }
        Ok(())
    }

    fn look_failed(&self, look: &Look, error: &StoreError) {
        if matches!(error, StoreError::LeaseLost { .. }) {
            self.metrics.lease_lost();
        } else {
            self.metrics.db_error("reconcile");
        }
        // The lease runs out, and the job is looked up again.
        tracing::warn!(
            job = look.lease.subject,
            code = error.code(),
            "the look was dropped: {error}"
        );
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
        let apart = Apart::of(look.now, self.x.now_there());
        let ours = ours(look, options, apart);
        let (posts, is_complete) = match self.read(look, ours.first, stop).await? {
            Reading::Posts(posts, is_complete) => (posts, is_complete),
            Reading::Later(after) => {
                return self.store.look_again(&look.lease, after, false).await;
            }
            Reading::Never(error) => return self.leave(look, &error).await,
        };
        let ids: Vec<String> = posts.iter().map(|post| post.id.clone()).collect();
        let contest = self.store.contest(&look.lease, &ids).await?;
        let search = Search {
            looks: look.looks + 1,
            waits: &self.options.look_waits,
            is_doubtful: ours.is_doubtful,
            is_duplicate: look.duplicate_seen,
            is_complete,
            is_listed: is_listed(options),
        };
        match next(decide(&ours, &contest, &posts, apart), &search) {
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
            "job {job} stays unknown: look at the account on X, then `crier jobs settle {job} --published POST_ID` or `--retry`"
        );
        Ok(())
    }

    /// The account's posts since shortly before `from`, newest first.
    async fn read(
        &self,
        look: &Look,
        from: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<Reading, StoreError> {
        if let Some(until) = look.reads_blocked_until {
            let reset = next_attempt(1, look.now, Some(until), Pace::Limit, (self.chance)());
            return Ok(Reading::Later(
                (reset - look.now).to_std().unwrap_or_default(),
            ));
        }
        let is_granted = |scope: &&str| look.scopes.iter().any(|granted| granted == scope);
        if !look.scopes.is_empty() && !READ_SCOPES.iter().all(is_granted) {
            let mut why = plain_why(
                "scope_missing",
                "the account may not read its own posts",
                "reconcile",
                "",
            );
            why.error["detail"] = json!(
                "its grant lacks `tweet.read` or `users.read`, so crier cannot look the post up"
            );
            return Ok(Reading::Never(why.error));
        }
        let (mut posts, mut page) = (Vec::new(), None);
        let mut spent = None;
        let mut pages = 0;
        while pages < PAGES {
            let (auth, version) = match self.token(look.lease.account, spent).await {
                Ok(token) => token,
                Err(no_token) => return self.without_read_token(look, no_token).await,
            };
            let held = self
                .store
                .renew(self.id, &[look.lease.token], self.options.lease)
                .await?;
            if held.is_empty() {
                return Err(StoreError::LeaseLost {
                    kind: "reconcile",
                    subject: look.lease.subject,
                });
            }
            let begin = Instant::now();
            let call = self.x.user_posts(
                &auth,
                &look.x_user_id,
                from - CLOCK_ALLOWANCE,
                page.as_deref(),
            );
            // Reading can be broken off at any time; another worker begins anew.
            let answer = tokio::select! {
                answer = call => answer,
                () = stop.cancelled() => return Ok(Reading::Later(Duration::ZERO)),
            };
            let took = begin.elapsed();
            match answer {
                Ok(reply) => {
                    self.metrics
                        .x_request(Endpoint::UserPosts, Some(reply.status), None, took);
                    self.store
                        .note_read_windows(look.lease.account, &reply.windows)
                        .await?;
                    let count = reply.value.posts.len();
                    let charge = self.options.prices.own_posts_read(count);
                    self.charge(look.lease.account, charge).await;
                    posts.extend(reply.value.posts);
                    pages += 1;
                    page = reply.value.next_token;
                    if page.is_none() {
                        let endpoints = [Endpoint::UserPosts.label()];
                        self.store
                            .limit_passed(look.lease.account, &endpoints)
                            .await?;
                        return Ok(Reading::Posts(posts, true));
                    }
                }
                Err(fault) => {
                    let verdict = judge(Step::Read, &fault);
                    self.metrics.x_request(
                        Endpoint::UserPosts,
                        status(&fault),
                        Some(verdict.code),
                        took,
                    );
                    if verdict.action == Action::RefreshToken
                        && spent.is_none()
                        && can_be_refreshed(&auth)
                    {
                        spent = Some(version);
                        continue;
                    }
                    return self.unread(look, &fault, verdict, Step::Read).await;
                }
            }
        }
        Ok(Reading::Posts(posts, false))
    }

    /// X did not show the posts.
    async fn unread(
        &self,
        look: &Look,
        fault: &CallFault,
        verdict: Verdict,
        step: Step,
    ) -> Result<Reading, StoreError> {
        let why = why(fault, verdict, step);
        tracing::warn!(
            job = look.lease.subject,
            code = verdict.code,
            "the account's posts could not be read: {fault}"
        );
        if let CallFault::Refused(answer) = fault {
            self.store
                .note_read_windows(look.lease.account, &answer.windows)
                .await?;
        }
        if step == Step::Read && NEVER_READABLE.contains(&verdict.code) {
            return Ok(Reading::Never(why.error));
        }
        match verdict.action {
            Action::PauseAccount => {
                self.pause_account(look.lease.account, &why.error).await?;
                return Ok(Reading::Later(NO_GRANT_WAIT));
            }
            Action::PauseApp => {
                self.pause_app(look.lease.account, fault, &why.error)
                    .await?;
                return Ok(Reading::Later(NO_GRANT_WAIT));
            }
            Action::WaitForLimit => {
                // The next claims of this account's looks go by it.
                self.limited(look.lease.account, Endpoint::UserPosts, fault, verdict)
                    .await?;
            }
            Action::Retry
            | Action::RetrySlowly
            | Action::RefreshToken
            | Action::FailJob
            | Action::Reupload
            | Action::NewSession
            | Action::SmallerChunk
            | Action::SwitchEncoding
            | Action::Reconcile => {}
        }
        let now = self.store.now().await?;
        let after = (self.later(1, now, fault, verdict) - now)
            .to_std()
            .unwrap_or_default();
        // Not faster than looks that succeed.
        let waits = &self.options.look_waits;
        let floor = waits.get(look.looks).or(waits.last()).copied();
        Ok(Reading::Later(after.max(floor.unwrap_or_default())))
    }

    async fn without_read_token(
        &self,
        look: &Look,
        no_token: NoToken,
    ) -> Result<Reading, StoreError> {
        match no_token {
            NoToken::Absent => Ok(Reading::Later(NO_GRANT_WAIT)),
            NoToken::Later(wait) => Ok(Reading::Later(
                self.token_wait(&wait).await?.unwrap_or(NO_GRANT_WAIT),
            )),
            NoToken::Busy | NoToken::TooSoon(_) => Ok(Reading::Later(BUSY_WAIT)),
            NoToken::Fault(fault) => {
                let verdict = judge(Step::Token, &fault);
                self.unread(look, &fault, verdict, Step::Token).await
            }
            NoToken::Store(error) => Err(error),
        }
    }
}

/// How far the database's clock is from X's: a post that went out while it was ahead is older by its id than by our ledger.
#[derive(Debug, Clone, Copy)]
struct Apart {
    /// The database's clock is so much ahead.
    ahead: TimeDelta,
    /// It is so much behind.
    behind: TimeDelta,
}

impl Apart {
    /// Seconds are borne by [`CLOCK_ALLOWANCE`].
    fn of(now: DateTime<Utc>, there: Option<DateTime<Utc>>) -> Self {
        let ahead = there.map_or(TimeDelta::zero(), |there| now - there);
        let beyond = |apart: TimeDelta| {
            if apart > CLOCK_ALLOWANCE / 2 {
                apart
            } else {
                TimeDelta::zero()
            }
        };
        Self {
            ahead: beyond(ahead),
            behind: beyond(-ahead),
        }
    }
}

/// What is looked for. A job whose very first call was refused as a duplicate may be any post of its text since its row
/// was inserted.
fn ours<'a>(look: &'a Look, options: &Value, apart: Apart) -> Sent<'a> {
    Sent {
        job: look.lease.subject,
        text: &look.text,
        attachments: attachments(look.media_count, options),
        first: look
            .first_doubtful
            .unwrap_or_else(|| look.created_at.max(look.now - MEMORY))
            - apart.ahead,
        last: look.since + apart.behind,
        is_doubtful: look.first_doubtful.is_some(),
    }
}

fn decide(ours: &Sent<'_>, contest: &Contest, posts: &[SeenPost], apart: Apart) -> Pick {
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
            first: rival.first_sent - apart.ahead,
            last: rival.last_sent + apart.behind,
            is_doubtful: true,
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
    pick(ours, &rivals, &seen, &taken)
}

/// Attachments for which X appends a link: media, and a quoted post.
fn attachments(media_count: usize, options: &Value) -> usize {
    let quoted = options
        .get("quote_tweet_id")
        .is_some_and(|id| !id.is_null());
    media_count + usize::from(quoted)
}
