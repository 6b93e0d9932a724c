//! One attempt: body, token, intent, create call, outcome.
//!
//! **Invariant:** whatever happens, the attempt ends in one of the five outcomes or its lease is lost; after the create
//! call left, only a definite refusal is anything but published or unknown.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::limit::Window;
use crier_core::lint::MediaFact;
use crier_core::options::{create_body, parse_options};
use crier_core::price::{Charge, Priced};
use crier_core::retry::{Pace, is_exhausted, next_attempt, not_before};
use crier_core::v1::Publisher;
use crier_core::verdict::{Action, Step, Verdict, judge};
use crier_metrics::AttemptEnd;
use crier_store::{Claimed, Settlement, StoreError, Why};
use crier_x::{Departure, Start, XConfig};
use serde_json::{Value, json};

use crate::Worker;
use crate::by_v1::{failed, unfit};
use crate::pool::advice;
use crate::reasons::{no_grant, plain_why, status, why};
use crate::token::{NoToken, can_be_refreshed};

/// A lease must hold this much longer than a call may take before the call leaves.
pub(crate) const SKEW_ALLOWANCE: Duration = Duration::from_secs(5);
/// The part of that allowance which recording the intent may use up.
const SLOW_INTENT: Duration = Duration::from_millis(2_500);
/// How long to wait for another process that is refreshing the token; well within a lease.
const BUSY_WAIT: Duration = Duration::from_secs(2);
const _: () = assert!(SLOW_INTENT.as_millis() < SKEW_ALLOWANCE.as_millis());
/// How long a job rests that the database kept from being sent.
const GIVE_BACK_WAIT: chrono::TimeDelta = chrono::TimeDelta::seconds(2);
/// How long a reply rests whose post to reply to is not known.
const PARENT_WAIT: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// Refusals with a fresh token, one attempt after the other, before the account is paused: X has had outages of hours that looked so (x-api.md 1.6).
pub(crate) const REFUSED_FRESH_TOKENS: u32 = 3;

/// How an attempt ended, and what X said of its limits.
pub(crate) type Done = (Settlement, Vec<Window>);

/// Why an attempt broke off.
pub(crate) struct Stopped {
    pub(crate) error: StoreError,
    /// Whether a create call may have been carried out.
    pub(crate) sent: bool,
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self { error, sent: false }
    }
}

impl Worker {
    /// Does one claimed job and settles it.
    pub(crate) async fn attempt(&self, job: &Claimed) {
        let (settlement, windows) = match self.publish(job).await {
            Ok(done) => done,
            Err(Stopped { error, sent }) => match self.give_back(job, &error, sent).await {
                Some(settlement) => (settlement, Vec::new()),
                None => return,
            },
        };
        self.settle(job, &settlement, &windows).await;
    }

    /// What becomes of a job whose attempt the database stopped: back to its lane if surely nothing was sent. Otherwise
    /// nothing is written: the lease runs out, and the job is looked up before anything else.
    async fn give_back(&self, job: &Claimed, error: &StoreError, sent: bool) -> Option<Settlement> {
        let lost = matches!(error, StoreError::LeaseLost { .. });
        let changed = matches!(error, StoreError::JobChanged { .. });
        if !changed {
            self.metrics.db_error("attempt");
            tracing::warn!(
                job = job.lease.subject,
                code = error.code(),
                sent,
                "the attempt was broken off: {error}"
            );
        }
        if lost {
            self.metrics.lease_lost();
        }
        if lost || sent {
            return None;
        }
        let until = if changed {
            None
        } else {
            let now = self.store.now().await.ok();
            now.map(|now| now + GIVE_BACK_WAIT)
        };
        let why = Why {
            code: error.code().to_owned(),
            http_status: None,
            error: Value::Null,
        };
        Some(Settlement::Snoozed { until, why })
    }

    async fn publish(&self, job: &Claimed) -> Result<Done, Stopped> {
        let none = Vec::new();
        let options = job.options.as_ref().map_err(Clone::clone);
        let (options, wanted) = match options.and_then(parse_options).and_then(|options| {
            let media = job.media.as_ref().map_err(Clone::clone)?;
            Ok((options, media.as_array().map_or(0, Vec::len)))
        }) {
            Ok(read) => read,
            Err(fault) => {
                return Ok((
                    Settlement::Failed(Why {
                        code: fault.code.clone(),
                        http_status: None,
                        error: json!(fault),
                    }),
                    none,
                ));
            }
        };
        if job.after.is_some() && job.reply_to.is_none() {
            let until = self.store.now().await? + PARENT_WAIT;
            let why = plain_why(
                "parent_unknown",
                "the post that this one replies to is not known",
                "claim",
                "look at the job that `after` names: it must be published, and crier.posts hold its post",
            );
            return Ok((
                Settlement::Snoozed {
                    until: Some(until),
                    why,
                },
                none,
            ));
        }
        if job.publisher == Publisher::V1UpdateWithMedia {
            return self.publish_by_v1(job, &options).await;
        }
        if let Some(fault) = unfit(job, &options, &vec![MediaFact::default(); wanted]) {
            return Ok((failed(&fault), none));
        }
        let margin = self.x.config().timeout + SKEW_ALLOWANCE;
        let media_ids = if wanted == 0 {
            Vec::new()
        } else {
            self.store.media_ids(job.lease.subject, margin).await?
        };
        if media_ids.len() != wanted {
            self.store.restage(&job.lease, margin).await?;
            let why = plain_why(
                "media_not_ready",
                "a file of the post has to be uploaded anew",
                "media",
                "nothing to do: crier uploads it before it posts",
            );
            return Ok((Settlement::Snoozed { until: None, why }, none));
        }
        let body = create_body(&job.text, &options, &media_ids, job.reply_to.as_deref());
        let mut spent = None;
        // A second round only after a 401 and a fresh token.
        loop {
            let (auth, version) = match self.token(job.lease.account, spent).await {
                Ok(token) => token,
                Err(no_token) => return Ok((self.without_token(job, no_token).await?, none)),
            };
            let departure = if spent.is_none() {
                match self.intend(job, margin, &media_ids).await? {
                    Ok(departure) => departure,
                    Err(late) => return Ok((late, none)),
                }
            } else {
                let begin = Start::now();
                let held = self
                    .store
                    .renew(self.id, &[job.lease.token], self.options.lease)
                    .await?;
                if held.is_empty() {
                    // After a 401 nothing was done and the intent stands, but refreshing may have used the lease up.
                    return Err(Stopped::from(StoreError::LeaseLost {
                        kind: "publish",
                        subject: job.lease.subject,
                    }));
                }
                Departure::within(begin, latest_departure(self.x.config()))
            };
            let begin = Instant::now();
            let call = self.x.create_post(&auth, &body, &departure);
            let answer = self.quit.or_hurry(call).await;
            let took = begin.elapsed();
            match answer {
                Ok(reply) => {
                    self.metrics
                        .x_request(Endpoint::CreatePost, Some(reply.status), None, took);
                    return Ok((
                        Settlement::Published {
                            post_id: reply.value.0,
                        },
                        reply.windows,
                    ));
                }
                Err(fault) => {
                    let verdict = judge(Step::Publish, &fault);
                    let status = status(&fault);
                    self.metrics
                        .x_request(Endpoint::CreatePost, status, Some(verdict.code), took);
                    if departure.is_missed() {
                        return Ok((too_late(), none));
                    }
                    if verdict.action == Action::RefreshToken
                        && spent.is_none()
                        && can_be_refreshed(&auth)
                    {
                        spent = Some(version);
                        continue;
                    }
                    let windows = match &fault {
                        CallFault::Refused(answer) => answer.windows.clone(),
                        CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => none,
                    };
                    let outcome = self.outcome_of_call(job, &fault, verdict).await;
                    return match outcome {
                        Ok(settlement) => Ok((settlement, windows)),
                        Err(error) => Err(Stopped { error, sent: true }),
                    };
                }
            }
        }
    }

    /// The step to `sending`. Answers until when the call may leave; or what to do instead of sending if that took so long
    /// that the lease may not outlast the call: this process was stopped in it, or the database was. The intent stands,
    /// and surely nothing was sent.
    pub(crate) async fn intend(
        &self,
        job: &Claimed,
        margin: Duration,
        media_ids: &[String],
    ) -> Result<Result<Departure, Settlement>, StoreError> {
        if let Some(back) = self.quit.instead_of_sending() {
            return Ok(Err(back));
        }
        // Measured from before: the database judges the lease by the beginning of its transaction.
        let begin = Start::now();
        self.store
            .begin_sending(&job.lease, job.revision, margin, media_ids)
            .await?;
        if begin.elapsed() >= SLOW_INTENT {
            return Ok(Err(too_late()));
        }
        Ok(Ok(Departure::within(
            begin,
            latest_departure(self.x.config()),
        )))
    }

    /// From a verdict to an outcome; what concerns the account or app is stopped first.
    pub(crate) async fn outcome(
        &self,
        job: &Claimed,
        fault: &CallFault,
        verdict: Verdict,
        step: Step,
    ) -> Result<Settlement, StoreError> {
        let now = self.store.now().await?;
        let why = why(fault, verdict, step);
        let attempt = u32::try_from(job.attempts).unwrap_or(0) + 1;
        let refused =
            verdict.action == Action::RefreshToken && self.refused_before(job, &why).await?;
        let alike = if verdict.action == Action::RetrySlowly {
            self.store.retries(job.lease.subject, &why.code).await? + 1
        } else {
            attempt
        };
        Ok(match verdict.action {
            Action::Reconcile => Settlement::Unknown {
                look_after: self.options.first_look,
                why,
            },
            Action::FailJob
            | Action::NewSession
            | Action::SmallerChunk
            | Action::SwitchEncoding => Settlement::Failed(why),
            Action::Reupload => {
                if self.store.reupload(&job.lease).await? {
                    let after = Duration::ZERO;
                    Settlement::Retry { after, why }
                } else {
                    Settlement::Failed(why)
                }
            }
            Action::WaitForLimit => {
                // Whatever was refused, nothing of the account goes out without it: the lane waits.
                let until = self
                    .limited(job.lease.account, job.publisher.endpoint(), fault, verdict)
                    .await?;
                let until = Some(until);
                Settlement::Snoozed { until, why }
            }
            Action::PauseAccount => {
                self.pause_account(job.lease.account, &why.error).await?;
                Settlement::Snoozed { until: None, why }
            }
            Action::PauseApp => {
                self.pause_app(job.lease.account, fault, &why.error).await?;
                Settlement::Snoozed { until: None, why }
            }
            Action::RefreshToken if refused => {
                self.pause_account(job.lease.account, &why.error).await?;
                Settlement::Snoozed { until: None, why }
            }
            Action::Retry | Action::RetrySlowly | Action::RefreshToken => {
                if is_exhausted(
                    &verdict,
                    attempt,
                    alike,
                    u32::try_from(job.max_attempts).unwrap_or(1),
                ) {
                    Settlement::Failed(why)
                } else {
                    let after = (self.later(attempt, now, fault, verdict) - now)
                        .to_std()
                        .unwrap_or_default();
                    Settlement::Retry { after, why }
                }
            }
        })
    }

    /// Whether this refusal of a fresh token is the last one that is borne. The ledger counts: other faults cost attempts, too.
    async fn refused_before(&self, job: &Claimed, why: &Why) -> Result<bool, StoreError> {
        let before = self
            .store
            .latest_retries(job.lease.subject, &why.code)
            .await?;
        Ok(before + 1 >= REFUSED_FRESH_TOKENS)
    }

    pub(crate) fn later(
        &self,
        attempt: u32,
        now: DateTime<Utc>,
        fault: &CallFault,
        verdict: Verdict,
    ) -> DateTime<Utc> {
        let reset = match fault {
            CallFault::Refused(answer) => not_before(answer, now),
            CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
        };
        next_attempt(attempt, now, reset, Pace::of(&verdict), (self.chance)())
    }

    pub(crate) async fn without_token(
        &self,
        job: &Claimed,
        no_token: NoToken,
    ) -> Result<Settlement, StoreError> {
        match no_token {
            NoToken::Absent => {
                let why = no_grant();
                self.pause_account(job.lease.account, &why.error).await?;
                Ok(Settlement::Snoozed { until: None, why })
            }
            NoToken::Later(wait) => Ok(Settlement::Snoozed {
                until: wait.until,
                why: wait.why,
            }),
            NoToken::Busy | NoToken::TooSoon(_) => {
                // The lane waits, not the job: put off one by one, the jobs of an account would change places.
                tokio::time::sleep(BUSY_WAIT).await;
                Ok(Settlement::Snoozed {
                    until: None,
                    why: plain_why(
                        "token_busy",
                        "another process is refreshing the token",
                        "token",
                        "nothing to do",
                    ),
                })
            }
            NoToken::Fault(fault) => {
                let verdict = judge(Step::Token, &fault);
                self.outcome(job, &fault, verdict, Step::Token).await
            }
            NoToken::Store(error) => Err(error),
        }
    }

    /// Writes the outcome, again and again for as long as this process lives and the lease is there: whatever the database
    /// suffers must not turn a post whose id is known into one that has to be looked up. If an earlier write did commit,
    /// the lease is gone and nothing changes.
    async fn write_outcome(
        &self,
        job: &Claimed,
        windows: &[Window],
        settlement: &Settlement,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
        let endpoint = job.publisher.endpoint();
        let charge = matches!(settlement, Settlement::Published { .. }).then(|| self.price(job));
        (|| {
            self.store
                .settle_by(&job.lease, endpoint, windows, settlement, charge)
        })
        .retry(lasting())
        .when(StoreError::is_outage)
        .notify(|error, _| self.outcome_waits(job, error))
        .await
    }

    /// What an answer of X to the create call means, again and again until the database takes it: a definite no that was
    /// forgotten would have to be looked up.
    pub(crate) async fn outcome_of_call(
        &self,
        job: &Claimed,
        fault: &CallFault,
        verdict: Verdict,
    ) -> Result<Settlement, StoreError> {
        (|| self.outcome(job, fault, verdict, Step::Publish))
            .retry(lasting())
            .when(StoreError::is_outage)
            .notify(|error, _| self.outcome_waits(job, error))
            .await
    }

    fn outcome_waits(&self, job: &Claimed, error: &StoreError) {
        if self.metrics.db_error("settle") {
            tracing::warn!(
                job = job.lease.subject,
                code = error.code(),
                "what X answered cannot be written, trying again: {error}{}",
                advice(error)
            );
        }
    }

    /// What the create call of a job costs.
    fn price(&self, job: &Claimed) -> Charge {
        let named = job.options.as_ref().ok();
        let others = named.is_some_and(replies_to_others);
        let kind = Priced::of_post(&job.text, others);
        self.options.prices.charge(kind, 1)
    }

    async fn settle(&self, job: &Claimed, settlement: &Settlement, windows: &[Window]) {
        let (end, code) = match settlement {
            Settlement::Published { .. } => (AttemptEnd::Published, None),
            Settlement::Snoozed { why, .. } => (AttemptEnd::Snoozed, Some(why)),
            Settlement::Retry { why, .. } => (AttemptEnd::Retry, Some(why)),
            Settlement::Failed(why) => (AttemptEnd::Failed, Some(why)),
            Settlement::Unknown { why, .. } => (AttemptEnd::Unknown, Some(why)),
        };
        match self.write_outcome(job, windows, settlement).await {
            Ok(times) => {
                self.metrics
                    .attempt_ended(end, code.map(|why| why.code.as_str()));
                if let Some((run_at, published_at)) = times {
                    let lateness = (published_at - run_at).to_std().unwrap_or_default();
                    self.metrics.published(lateness);
                    tracing::info!(
                        job = job.lease.subject,
                        account = job.handle,
                        late_ms = u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX),
                        "job {} of @{} is published",
                        job.lease.subject,
                        job.handle
                    );
                } else {
                    tracing::warn!(
                        job = job.lease.subject,
                        account = job.handle,
                        code = code.map_or("", |why| why.code.as_str()),
                        "job {} of @{} {}{}",
                        job.lease.subject,
                        job.handle,
                        told(end),
                        code.map(words).unwrap_or_default()
                    );
                }
            }
            Err(error) => {
                self.metrics.lease_lost();
                // After `sending` the lease runs out into unknown, which looks before it does anything.
                tracing::error!(
                    job = job.lease.subject,
                    code = error.code(),
                    "the outcome could not be written: {error}"
                );
            }
        }
    }
}

/// The waits of what must be written, whenever that will be possible.
pub(crate) fn lasting() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
}

/// How long after the beginning of its intent a create call may still leave: recording it may take its time, and so may
/// the connection. A process that stood still for longer sends nothing any more.
pub(crate) fn latest_departure(x: &XConfig) -> Duration {
    SLOW_INTENT + x.connect_within()
}

/// How long after the beginning of its intent a create call may still arrive at X, if ever: after it has left, the system
/// delivers it in [`XConfig::delivered_within`] or not at all. The lease holds longer, by the margin of the intent, and
/// nobody looks the post up or sends it again before the lease has ended.
#[cfg(test)]
fn latest_arrival(x: &XConfig) -> Duration {
    latest_departure(x) + x.delivered_within()
}

/// Between the intent and the call went too much time; of the call nothing left.
pub(crate) fn too_late() -> Settlement {
    Settlement::Snoozed {
        until: None,
        why: plain_why(
            "intent_slow",
            "recording the intent took too long to send under the same lease",
            "publish",
            "nothing to do: crier tries it again; look at the database if it comes often",
        ),
    }
}

/// What became of an attempt that did not publish.
fn told(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Published => "is published",
        AttemptEnd::Snoozed => "waits",
        AttemptEnd::Retry => "is tried again later",
        AttemptEnd::Failed => "has failed",
        AttemptEnd::Unknown => "is perhaps on X and is looked up",
    }
}

/// Why, in X's words or ours.
fn words(why: &Why) -> String {
    let said = |key: &str| why.error[key].as_str().filter(|said| !said.is_empty());
    said("detail")
        .or_else(|| said("title"))
        .map(|said| format!(": {said}"))
        .unwrap_or_default()
}

/// Whether the options name a post to reply to; those of one's own thread come by `after`.
pub(crate) fn replies_to_others(options: &Value) -> bool {
    options
        .pointer("/reply/in_reply_to_tweet_id")
        .is_some_and(|id| !id.is_null())
}

#[cfg(test)]
mod tests;
