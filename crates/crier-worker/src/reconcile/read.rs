//! Reading the account's posts: all pages since the call left, by X's own clock, or why that cannot be done.
//!
//! **Invariant:** what could not be read is never taken for an empty list.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::reconcile::{CLOCK_ALLOWANCE, ahead};
use crier_core::retry::{Pace, next_attempt};
use crier_core::verdict::{Action, Step, Verdict, judge};
use crier_store::{Look, StoreError};
use crier_x::SeenPost;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::attempt::REFUSED_FRESH_TOKENS;
use crate::reasons::{no_grant, plain_why, status, why};
use crate::token::{NoToken, can_be_refreshed};

/// Pages of a look: X lists the latest 3,200 posts (x-api.md 4.2), 100 a page.
const PAGES: usize = 32;
/// How long to wait for a grant that only a person can renew.
const NO_GRANT_WAIT: Duration = Duration::from_mins(5);
/// How long to wait for another process that is refreshing the token.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// How much earlier the list is begun if X refuses its beginning: to a clock that is behind ours it is yet to come.
const MUCH_EARLIER: TimeDelta = TimeDelta::days(1);
/// Scopes that reading one's own posts needs (x-api.md 1.3).
const READ_SCOPES: [&str; 2] = ["tweet.read", "users.read"];
/// Refusals of reading that no waiting mends.
const NEVER_READABLE: [&str; 3] = ["read_forbidden", "scope_missing", "access_level"];

/// What reading the account's posts brought.
pub(super) enum Reading {
    /// The posts since then.
    Posts(Read),
    /// Not now: once more after so long.
    Later(Duration),
    /// X did not show them: once more after so long; the form of `jobs.error`.
    Failed(Duration, Value),
    /// The account may not read; the form of `jobs.error`.
    Never(Value),
}

/// The posts that were read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) posts: Vec<SeenPost>,
    /// That is all of them.
    pub(super) is_complete: bool,
    /// How far the database's clock is ahead of X's.
    pub(super) ahead: TimeDelta,
}

impl Worker {
    /// The account's posts since shortly before `from`, newest first.
    pub(super) async fn read(
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
        let mut read = Read::default();
        let (mut page, mut pages) = (None, 0);
        let mut spent = None;
        let mut earlier = TimeDelta::zero();
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
                from - CLOCK_ALLOWANCE - read.ahead.max(earlier),
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
                    if let Some(date) = reply.server_date.filter(|_| pages == 0) {
                        let more = ahead(self.store.now().await?, date);
                        let is_late = more > read.ahead.max(earlier);
                        read.ahead = more;
                        if is_late {
                            // By X's clock the call left earlier: from there on, and all of it.
                            tracing::warn!(
                                job = look.lease.subject,
                                ahead_s = more.num_seconds(),
                                "the database's clock is ahead of X's"
                            );
                            pages = 1;
                            continue;
                        }
                    }
                    read.posts.extend(reply.value.posts);
                    pages += 1;
                    page = reply.value.next_token;
                    if page.is_none() {
                        let endpoints = [Endpoint::UserPosts.label()];
                        self.store
                            .limit_passed(look.lease.account, &endpoints)
                            .await?;
                        read.is_complete = true;
                        return Ok(Reading::Posts(read));
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
                    if status(&fault) == Some(400) && page.is_none() && earlier.is_zero() {
                        earlier = MUCH_EARLIER;
                        continue;
                    }
                    return self.unread(look, &fault, verdict, Step::Read).await;
                }
            }
        }
        Ok(Reading::Posts(read))
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
        // Those like it before, since the last look that was none.
        let before = if look.fault_code.as_deref() == Some(verdict.code) {
            look.unread
        } else {
            0
        };
        match verdict.action {
            Action::PauseAccount => {
                self.pause_account(look.lease.account, &why.error).await?;
                return Ok(Reading::Failed(NO_GRANT_WAIT, why.error));
            }
            Action::PauseApp => {
                self.pause_app(look.lease.account, fault, &why.error)
                    .await?;
                return Ok(Reading::Failed(NO_GRANT_WAIT, why.error));
            }
            // As for a post that is refused so: nobody else may use this token for long.
            Action::RefreshToken if before + 1 >= REFUSED_FRESH_TOKENS => {
                self.pause_account(look.lease.account, &why.error).await?;
                return Ok(Reading::Failed(NO_GRANT_WAIT, why.error));
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
        // An outage is over for all looks at once, but X says no to a token for long.
        let attempt = if verdict.action == Action::RefreshToken {
            before + 1
        } else {
            1
        };
        let after = (self.later(attempt, now, fault, verdict) - now)
            .to_std()
            .unwrap_or_default();
        // Not faster than looks that succeed.
        let waits = &self.options.look_waits;
        let floor = waits.get(look.looks).or(waits.last()).copied();
        Ok(Reading::Failed(
            after.max(floor.unwrap_or_default()),
            why.error,
        ))
    }

    async fn without_read_token(
        &self,
        look: &Look,
        no_token: NoToken,
    ) -> Result<Reading, StoreError> {
        match no_token {
            NoToken::Absent => {
                let why = no_grant();
                self.pause_account(look.lease.account, &why.error).await?;
                Ok(Reading::Failed(NO_GRANT_WAIT, why.error))
            }
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
