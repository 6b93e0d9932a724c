//! Asks X now and then whether what it stopped may go on: a suspended account, an app without money or enrolment.
//!
//! **Invariant:** a probe is one harmless call (whom does this token belong to), one an interval for all workers; only X's
//! yes, or an answer that says nothing against it, opens anything.

use std::time::{Duration, Instant};

use crier_core::answer::{CallFault, Endpoint};
use crier_core::price::Priced;
use crier_core::verdict::{Action, Step, judge};
use crier_store::{Probe, StoreError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::reasons::{status, why};
use crate::token::{NoToken, can_be_refreshed};

/// How long one account of an app that reopens goes ahead of the others: longer than a refresh and a create call. X may
/// take a read and refuse the post.
const TRIAL: Duration = Duration::from_mins(2);
/// Refusals that say that this account may not read, and nothing of what was asked.
const NOT_ASKED: [&str; 2] = ["read_forbidden", "scope_missing"];

/// What X's answer to a probe means.
enum Heard {
    /// It may go on.
    Yes,
    /// Not yet; the form of `jobs.error`.
    No(Value),
    /// Nothing was learned.
    Nothing,
}

impl Worker {
    /// Probes until `stop`.
    pub(crate) async fn probe(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.take_up();
            match self.probe_once().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    if self.metrics.db_error("probe") {
                        tracing::warn!(
                            code = error.code(),
                            "what is paused could not be asked about, trying again: {error}"
                        );
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One probe; false if none is due.
    async fn probe_once(&self) -> Result<bool, StoreError> {
        let Some(probe) = self.store.claim_probe().await? else {
            return Ok(false);
        };
        let heard = match probe.account {
            Some(account) => self.ask(probe, account).await?,
            None => Heard::Nothing,
        };
        match heard {
            Heard::Yes => self.reopen(probe).await?,
            Heard::No(error) => {
                self.store.note_probe(probe, &error).await?;
                tracing::warn!(
                    app = probe.app,
                    account_id = probe.account,
                    code = error["code"].as_str().unwrap_or_default(),
                    "X does not let it go on yet: {}",
                    error["hint"].as_str().unwrap_or_default()
                );
            }
            Heard::Nothing => tracing::info!(
                app = probe.app,
                account_id = probe.account,
                "X could not be asked whether it may go on; it is asked again later"
            ),
        }
        Ok(true)
    }

    async fn reopen(&self, probe: Probe) -> Result<(), StoreError> {
        let reopened = match (probe.app, probe.account) {
            (Some(app), _) => self.store.reopen_app(app, TRIAL).await?,
            (None, Some(account)) => self.store.reopen_account(account).await?,
            (None, None) => false,
        };
        if reopened {
            tracing::info!(
                app = probe.app,
                account_id = probe.account,
                "X lets it go on: what waited is published"
            );
        }
        Ok(())
    }

    async fn ask(&self, probe: Probe, account: i64) -> Result<Heard, StoreError> {
        let mut spent = None;
        loop {
            let (auth, version) = match self.token(account, spent).await {
                Ok(token) => token,
                Err(NoToken::Fault(fault)) => {
                    return self.heard(probe, account, &fault, Step::Token).await;
                }
                Err(NoToken::Store(error)) => return Err(error),
                Err(NoToken::Absent | NoToken::Busy | NoToken::TooSoon(_) | NoToken::Later(_)) => {
                    return Ok(Heard::Nothing);
                }
            };
            let begin = Instant::now();
            let answer = tokio::select! {
                answer = self.x.me(&auth) => answer,
                () = self.quit.hurried() => return Ok(Heard::Nothing),
            };
            let took = begin.elapsed();
            match answer {
                Ok(reply) => {
                    self.metrics
                        .x_request(Endpoint::Me, Some(reply.status), None, took);
                    let charge = self.options.prices.charge(Priced::UserRead, 1);
                    self.charge(account, charge).await;
                    return Ok(Heard::Yes);
                }
                Err(fault) => {
                    let verdict = judge(Step::Read, &fault);
                    self.metrics
                        .x_request(Endpoint::Me, status(&fault), Some(verdict.code), took);
                    if verdict.action == Action::RefreshToken
                        && spent.is_none()
                        && can_be_refreshed(&auth)
                    {
                        spent = Some(version);
                        continue;
                    }
                    return self.heard(probe, account, &fault, Step::Read).await;
                }
            }
        }
    }

    /// What a refusal means for the question that was asked.
    async fn heard(
        &self,
        probe: Probe,
        account: i64,
        fault: &CallFault,
        step: Step,
    ) -> Result<Heard, StoreError> {
        let verdict = judge(step, fault);
        let error = why(fault, verdict, step).error;
        if NOT_ASKED.contains(&verdict.code) {
            return Ok(Heard::Yes);
        }
        Ok(match verdict.action {
            Action::PauseApp if probe.app.is_some() => Heard::No(error),
            Action::PauseApp => {
                self.pause_app(account, fault, &error).await?;
                Heard::Nothing
            }
            Action::PauseAccount => {
                // Of an app this account alone was asked for, and it cannot answer: the next probe asks another.
                self.pause_account(account, &error).await?;
                if probe.app.is_some() {
                    Heard::Nothing
                } else {
                    Heard::No(error)
                }
            }
            Action::Retry
            | Action::RetrySlowly
            | Action::RefreshToken
            | Action::WaitForLimit
            | Action::FailJob
            | Action::Reupload
            | Action::NewSession
            | Action::SmallerChunk
            | Action::SwitchEncoding
            | Action::Reconcile => Heard::Nothing,
        })
    }
}
