//! Why staging of a file stopped short of ready.
//!
//! **Invariant:** whatever a call or a file says becomes exactly one of these, with words for people.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::fault::Fault;
use crier_core::retry::{Pace, RESET_MARGIN, is_exhausted, next_attempt, not_before};
use crier_core::verdict::{Action, Step, Verdict};
use crier_store::{StoreError, Why};
use serde_json::json;

use crate::attempt::REFUSED_FRESH_TOKENS;
use crate::reasons::{no_grant, plain_why, why};
use crate::stage::call::Staging;
use crate::token::NoToken;

/// How often a file that is not there yet is looked for.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(30);
/// How soon a file that changes under our hands is looked at again.
const CHANGING: TimeDelta = TimeDelta::seconds(5);
/// How long to wait for another process that is refreshing the token.
const BUSY_WAIT: TimeDelta = TimeDelta::seconds(2);

/// Why it stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// For good.
    Failed(Why),
    /// For a while.
    Later(Box<Later>),
    /// Another worker may have it.
    Lost,
    /// This worker is told to stop.
    Shutdown,
    /// The database failed.
    Store(StoreError),
}

/// For how long and why.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) until: DateTime<Utc>,
    pub(super) why: Why,
    pub(super) costs_attempt: bool,
    pub(super) new_session: bool,
    pub(super) as_warning: bool,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::LeaseLost { .. }) {
            Self::Lost
        } else {
            Self::Store(error)
        }
    }
}

/// The job can never go out with this.
pub(super) fn failed(fault: Fault) -> Stop {
    let fault = fault.at_step("media");
    Stop::Failed(Why {
        code: fault.code.clone(),
        http_status: None,
        error: json!(fault),
    })
}

/// The window of the account is used up until then; the reset is stated in whole seconds, by another clock.
pub(super) fn limited(until: DateTime<Utc>) -> Stop {
    let why = plain_why(
        "rate_limited",
        "X's limit of uploads is used up",
        "media",
        "nothing to do: crier waits until X's limit resets",
    );
    Stop::Later(Box::new(later(until + RESET_MARGIN, why)))
}

fn later(until: DateTime<Utc>, why: Why) -> Later {
    Later {
        until,
        why,
        costs_attempt: false,
        new_session: false,
        as_warning: false,
    }
}

impl Staging {
    /// What is wrong with the file: a warning while it may still be mended in time, else the end of the job.
    pub(super) async fn bad_file(&self, fault: Fault) -> Stop {
        let now = match self.worker.store.now().await {
            Ok(now) => now,
            Err(error) => return error.into(),
        };
        let run_at = self.upload.run_at;
        if fault.permanent || run_at <= now {
            return failed(fault);
        }
        let why = Why {
            code: fault.code.clone(),
            http_status: None,
            error: json!(fault),
        };
        Stop::Later(Box::new(Later {
            as_warning: true,
            ..later(run_at.min(now + LOOK_AGAIN), why)
        }))
    }

    /// The file changed while it was sent.
    pub(super) async fn file_changed(&self, detail: &str) -> Stop {
        match self.worker.store.now().await {
            Ok(now) => Stop::Later(Box::new(Later {
                new_session: true,
                as_warning: true,
                ..later(
                    now + CHANGING,
                    Why {
                        code: "media_changed".into(),
                        http_status: None,
                        error: json!({
                            "code": "media_changed", "title": "a file changed while it was uploaded", "detail": detail,
                            "step": "media", "hint": "nothing to do: crier uploads it anew; write files elsewhere and move them in place",
                        }),
                    },
                )
            })),
            Err(error) => error.into(),
        }
    }

    /// X has had the file for too long and does not say what came of it.
    pub(super) async fn stuck(&self, waited: Duration) -> Stop {
        let why = plain_why(
            "media_stuck",
            "X has not finished processing a file",
            "media",
            "nothing to do: crier uploads it anew; if it comes again, encode the file anew",
        );
        match self.worker.store.now().await {
            Ok(now) => {
                let mut why = why;
                why.error["detail"] = json!(format!("waited {} s", waited.as_secs()));
                Stop::Later(Box::new(Later {
                    costs_attempt: true,
                    new_session: true,
                    ..later(now, why)
                }))
            }
            Err(error) => error.into(),
        }
    }

    /// What a call's fault means for this upload; what concerns the account or app is stopped first.
    pub(super) async fn stop_for(
        &self,
        step: Step,
        endpoint: Endpoint,
        fault: &CallFault,
        verdict: Verdict,
    ) -> Stop {
        match self.try_stop_for(step, endpoint, fault, verdict).await {
            Ok(judged) => judged,
            Err(error) => error.into(),
        }
    }

    async fn try_stop_for(
        &self,
        step: Step,
        endpoint: Endpoint,
        fault: &CallFault,
        verdict: Verdict,
    ) -> Result<Stop, StoreError> {
        let (worker, upload) = (&self.worker, &self.upload);
        let now = worker.store.now().await?;
        let mut why = why(fault, verdict, step);
        why.error["media"] = json!(upload.position);
        let attempt = u32::try_from(upload.attempts).unwrap_or(0) + 1;
        let reset = match fault {
            CallFault::Refused(answer) => not_before(answer, now),
            CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
        };
        let pace = Pace::of(&verdict);
        let mut until = next_attempt(attempt, now, reset, pace, (worker.chance)());
        // The last moment at which a repeat is still in time goes before a long backoff.
        if pace == Pace::Normal && reset.is_none() && upload.run_at > now {
            until = until.min(upload.run_at);
        }
        let new_session = verdict.action == Action::NewSession;
        let costing = |why: Why| {
            Stop::Later(Box::new(Later {
                costs_attempt: true,
                new_session,
                ..later(until, why)
            }))
        };
        Ok(match verdict.action {
            Action::FailJob | Action::Reupload | Action::SmallerChunk | Action::SwitchEncoding => {
                Stop::Failed(why)
            }
            Action::WaitForLimit => {
                let account = upload.lease.account;
                let until = worker.limited(account, endpoint, fault, verdict).await?;
                Stop::Later(Box::new(later(until, why)))
            }
            Action::RefreshToken if attempt >= REFUSED_FRESH_TOKENS => {
                worker
                    .pause_account(upload.lease.account, &why.error)
                    .await?;
                Stop::Later(Box::new(later(now, why)))
            }
            Action::PauseAccount => {
                worker
                    .pause_account(upload.lease.account, &why.error)
                    .await?;
                Stop::Later(Box::new(later(now, why)))
            }
            Action::PauseApp => {
                worker
                    .pause_app(upload.lease.account, fault, &why.error)
                    .await?;
                Stop::Later(Box::new(later(now, why)))
            }
            Action::RetrySlowly => {
                let most = u32::try_from(upload.max_attempts).unwrap_or(1);
                let alike = worker.store.retries(upload.job, &why.code).await? + 1;
                if upload.run_at <= now && is_exhausted(&verdict, attempt, alike, most) {
                    Stop::Failed(why)
                } else {
                    costing(why)
                }
            }
            Action::Retry | Action::RefreshToken | Action::NewSession | Action::Reconcile => {
                costing(why)
            }
        })
    }

    /// There is no token to call with.
    pub(super) async fn without_token(&self, no_token: NoToken) -> Stop {
        let done = match no_token {
            NoToken::Absent => {
                let why = no_grant();
                let account = self.upload.lease.account;
                let store = &self.worker.store;
                match self.worker.pause_account(account, &why.error).await {
                    Ok(()) => store.now().await.map(|now| later(now, why)),
                    Err(error) => Err(error),
                }
            }
            NoToken::Later(wait) => self
                .worker
                .store
                .now()
                .await
                .map(|now| later(wait.until.unwrap_or(now), wait.why)),
            NoToken::Busy | NoToken::TooSoon(_) => self.worker.store.now().await.map(|now| {
                let title = "another process is refreshing the token";
                later(
                    now + BUSY_WAIT,
                    plain_why("token_busy", title, "token", "nothing to do"),
                )
            }),
            NoToken::Fault(fault) => {
                let verdict = crier_core::verdict::judge(Step::Token, &fault);
                // Nothing of this account is uploaded without a token.
                let endpoint = Endpoint::MediaInitialize;
                return self.stop_for(Step::Token, endpoint, &fault, verdict).await;
            }
            NoToken::Store(error) => Err(error),
        };
        done.map_or_else(Stop::from, |later| Stop::Later(Box::new(later)))
    }
}
