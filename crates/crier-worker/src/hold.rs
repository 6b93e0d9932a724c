//! What stops more than one job: an account, a developer app, an endpoint. Said once for all workers.
//!
//! **Invariant:** a pause is told once in the log, with what a person must do; what X's answers paused is asked about again
//! by [`crate::probe`], what a dead grant paused waits for a login.

use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::limit::period_end;
use crier_core::price::Charge;
use crier_core::retry::{Pace, RESET_MARGIN, next_attempt, not_before};
use crier_core::verdict::Verdict;
use crier_store::StoreError;
use serde_json::Value;

use crate::Worker;

/// Refusals of an account that end at X and not with a login.
const AT_X: [&str; 2] = ["account_suspended", "account_locked"];

impl Worker {
    /// Stops an account: until a login, or, where X has suspended or locked it, until X takes a probe.
    pub(crate) async fn pause_account(
        &self,
        account: i64,
        error: &Value,
    ) -> Result<(), StoreError> {
        let code = word(error, "code");
        let status = if AT_X.contains(&code) {
            "suspended"
        } else {
            "needs_login"
        };
        if self.store.pause_account(account, status, error).await? {
            tracing::error!(
                account_id = account,
                code,
                "an account is {status} and its jobs wait: {}; {}",
                said(error),
                word(error, "hint")
            );
        }
        Ok(())
    }

    /// Stops the app of an account until X takes a probe; if X named the period of a usage cap, not before its end.
    pub(crate) async fn pause_app(
        &self,
        account: i64,
        fault: &CallFault,
        error: &Value,
    ) -> Result<(), StoreError> {
        let until = match fault {
            CallFault::Refused(answer) if !answer.period.is_empty() => {
                period_end(self.store.now().await?, &answer.period)
            }
            CallFault::Refused(_) | CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
        };
        let until = until.map(|until| until + RESET_MARGIN);
        let was_active = self.store.pause_app_until(account, error, until).await?;
        if was_active {
            tracing::error!(
                account_id = account,
                code = word(error, "code"),
                "the app of an account is paused and the jobs of all its accounts wait: {}; {}",
                said(error),
                word(error, "hint")
            );
        }
        Ok(())
    }

    /// Until when an endpoint is closed to an account after a refusal for a limit: X's own word, or a wait that grows
    /// with each refusal in a row. All workers know of it when this answers.
    pub(crate) async fn limited(
        &self,
        account: i64,
        endpoint: Endpoint,
        fault: &CallFault,
        verdict: Verdict,
    ) -> Result<DateTime<Utc>, StoreError> {
        let now = self.store.now().await?;
        let reset = match fault {
            CallFault::Refused(answer) => not_before(answer, now),
            CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
        };
        let (pace, chance) = (Pace::of(&verdict), (self.chance)());
        let endpoint = endpoint.label();
        if reset.is_some_and(|reset| reset > now) {
            let until = next_attempt(1, now, reset, pace, chance);
            self.store.limit_until(account, endpoint, until).await?;
            return Ok(until);
        }
        self.store
            .limit_unstated(account, endpoint, |refusals| {
                (next_attempt(refusals, now, None, pace, chance) - now)
                    .to_std()
                    .unwrap_or_default()
            })
            .await
    }

    /// Notes what calls cost. That the sum may lack them is no reason to do the calls again.
    pub(crate) async fn charge(&self, account: i64, charge: Charge) {
        if let Err(error) = self.store.charge(account, charge).await {
            self.metrics.db_error("charge");
            tracing::warn!(
                account_id = account,
                code = error.code(),
                "the cost of {} could not be noted: {error}",
                charge.kind.as_str()
            );
        }
    }
}

fn word<'a>(error: &'a Value, key: &str) -> &'a str {
    error.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// X's words on it.
fn said(error: &Value) -> &str {
    match word(error, "detail") {
        "" => word(error, "title"),
        detail => detail,
    }
}
