//! New tokens for old ones: one call to X an account at a time, at most one in a while, and nothing of its answer lost.
//!
//! **Invariant:** a rotated token is used only after it is durable; only X's definite no ends a grant, and while it is not
//! known what became of a refresh, X's no to the old token is not taken for one: whoever holds the new ones may still bring
//! them. **Invariant:** two refreshes of an account are a floor apart, whoever asks and whatever X says of a token's life.
//! **Invariant:** a refresh token leaves under the lease of its refresh or not at all: a process that stood still meanwhile
//! sends none that another has spent since.
//!
//! X documents neither how long a spent refresh token is still taken nor that it is at all (x-api.md 1.4). So after a doubt
//! the old one is tried again: if X never saw the first call, or lost its answer before the deed, it works. If X says no,
//! and the process that asked may live and hold the answer, that is waited for ([`GRACE`]); then the account needs a login.

use std::time::Duration;

use crier_core::answer::CallFault;
use crier_core::retry::{Pace, next_attempt, not_before};
use crier_core::verdict::{Action, Step, judge};
use crier_metrics::RefreshEnd;
use crier_store::{
    Asked, Doubt, Lease, OAuth2Tokens, OpenedTokens, PutBack, Refused, Rotation, StoreError, Why,
};
use crier_x::{AppCredentials, Departure, Start};
use secrecy::SecretString;
use serde_json::json;

use crate::Worker;
use crate::attempt::{SKEW_ALLOWANCE, latest_departure};
use crate::reasons::{plain_why, why};
use crate::token::{NoToken, TokenWait};

/// Between X's definite no and the commit that stops the account nobody asks X again.
const NO_HEEDED: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// How long the right to refresh holds: longer than connecting, asking and saving (peers.md 2.8).
const REFRESH_LEASE: Duration = Duration::from_mins(2);
/// How long the process that asked X may take to bring the answer before X's no to the old token is believed.
const GRACE: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// How soon after a refresh the next one may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    floor: Duration,
    forced: bool,
}

impl Gate {
    /// The token is near its end. Only one that lives for moments comes to this floor.
    pub const OLD: Self = Self {
        floor: Duration::from_mins(1),
        forced: false,
    };
    /// X has refused a token that should be good. It had outages of hours that looked so: each refusal must not rotate
    /// anew (x-api.md 1.6, peers.md 2.10).
    pub const REFUSED: Self = Self {
        floor: Duration::from_mins(10),
        forced: false,
    };
    /// A person insists.
    pub const FORCED: Self = Self {
        floor: Duration::ZERO,
        forced: true,
    };
}

impl Worker {
    /// Trades the tokens of version `version` for new ones; if others are there already, those are answered.
    ///
    /// # Errors
    /// Why there are none; what concerns the account alone and is certain has stopped it then.
    pub async fn refresh(
        &self,
        account: i64,
        version: i64,
        gate: Gate,
    ) -> Result<OpenedTokens, NoToken> {
        // This very process holds an answer that the database has not taken yet.
        if self.rescue.holds(account) {
            self.metrics.token_refresh_ended(RefreshEnd::Busy);
            return Err(NoToken::Busy);
        }
        let ttl = REFRESH_LEASE.max(self.x.config().timeout * 2);
        let lease = self.store.begin_refresh(self.id, account, ttl).await;
        let Some(lease) = lease.map_err(NoToken::Store)? else {
            self.metrics.token_refresh_ended(RefreshEnd::Busy);
            return Err(NoToken::Busy);
        };
        // Under the lease, look again: the one who had it before may have rotated.
        let fresh = match self.read_tokens(account).await {
            Ok(fresh) => fresh,
            Err(no_token) => {
                self.give_back_refresh(&lease).await;
                return Err(no_token);
            }
        };
        if fresh.version != version {
            self.give_back_refresh(&lease).await;
            return Ok(fresh);
        }
        let Some(refresh_token) = fresh.refresh_token.clone() else {
            self.give_back_refresh(&lease).await;
            return Err(NoToken::Absent);
        };
        if fresh.refreshes.doubt.is_some() && self.put_back(Some(account)).await > 0 {
            self.give_back_refresh(&lease).await;
            return self.read_tokens(account).await;
        }
        self.trade(&lease, fresh, refresh_token, gate).await
    }

    /// Asks X, and keeps what it says.
    async fn trade(
        &self,
        lease: &Lease,
        old: OpenedTokens,
        refresh_token: SecretString,
        gate: Gate,
    ) -> Result<OpenedTokens, NoToken> {
        // Before X is asked: between its answer and the file nothing may fail.
        let deployment = match self.store.deployment().await {
            Ok(deployment) => deployment,
            Err(error) => {
                self.give_back_refresh(lease).await;
                return Err(NoToken::Store(error));
            }
        };
        let margin = self.x.config().timeout + SKEW_ALLOWANCE;
        // Measured from before: the database judges the lease by the beginning of its statement.
        let begin = Start::now();
        let asked = self
            .store
            .ask_refresh(
                lease,
                self.id,
                old.version,
                (gate.floor, margin),
                gate.forced,
            )
            .await;
        match asked {
            Ok(Asked::Go) => {}
            Ok(Asked::NotBefore(opens)) => {
                self.give_back_refresh(lease).await;
                return Err(put_off(&old, opens));
            }
            Ok(Asked::Changed) => {
                self.give_back_refresh(lease).await;
                return Err(NoToken::Busy);
            }
            // Nothing was sent: a row that somebody holds must not keep others waiting for the end of a lease.
            Err(error) => {
                self.give_back_refresh(lease).await;
                return Err(NoToken::Store(error));
            }
        }
        let app = AppCredentials {
            client_id: old.client_id.clone(),
            client_secret: old.client_secret.clone(),
        };
        let departure = Departure::within(begin, latest_departure(self.x.config()));
        let call = self.x.refresh(&app, &refresh_token, &departure);
        let reply = match call.await {
            Ok(reply) => reply.value,
            Err(fault) => return Err(self.refused(lease, &old, fault).await),
        };
        let tokens = OAuth2Tokens {
            client_id: old.client_id.clone(),
            client_secret: old.client_secret.clone(),
            access_token: reply.access_token,
            refresh_token: Some(reply.refresh_token.unwrap_or(refresh_token)),
            expires_in_s: i64::try_from(reply.expires_in_s).unwrap_or(i64::MAX),
            scopes: Vec::new(),
        };
        let rotation = Rotation::new(deployment, lease.account, &old, tokens);
        if let Err(error) = self.rescue.keep(&self.store, lease, &rotation).await {
            self.metrics.token_refresh_ended(RefreshEnd::Error);
            // Another grant came meanwhile: its token is the next to try.
            return Err(if matches!(error, StoreError::LeaseLost { .. }) {
                NoToken::Busy
            } else {
                NoToken::Store(error)
            });
        }
        self.metrics.token_refresh_ended(RefreshEnd::Ok);
        self.read_tokens(lease.account).await
    }

    /// What X's refusal, or its silence, means for the grant.
    async fn refused(&self, lease: &Lease, old: &OpenedTokens, fault: CallFault) -> NoToken {
        let verdict = judge(Step::Token, &fault);
        let before = old.refreshes.doubt;
        let now = match self.lastingly(|| self.store.now()).await {
            Ok(now) => now,
            // The lease runs out, and the doubt is written.
            Err(error) => return NoToken::Store(error),
        };
        // Surely nothing was rotated; a 5xx or 408 may have come after the deed.
        let unspent = match &fault {
            CallFault::NotSent { .. } => true,
            CallFault::Refused(answer) => answer.status < 500 && answer.status != 408,
            CallFault::NoAnswer { .. } => false,
        };
        let refused = |until, fault| Refused {
            worker: self.id,
            version: old.version,
            unspent,
            before,
            not_before: until,
            fault,
        };
        match (verdict.action, before) {
            (Action::PauseAccount, Some(doubt)) if verdict.code == "grant_dead" => {
                let held = doubt.by.is_some_and(|by| by != self.id) && now < doubt.since + GRACE;
                let why = lost(old, doubt, held);
                let until = held.then_some(doubt.since + GRACE);
                let noted = refused(until.unwrap_or(now), why.error.clone());
                let written = if held {
                    self.lastingly(|| self.store.refuse_refresh(lease, &noted))
                        .await
                } else {
                    self.note_no(lease, noted).await
                };
                if let Err(error) = written {
                    return of_store(error);
                }
                let end = if held {
                    RefreshEnd::Error
                } else {
                    RefreshEnd::Dead
                };
                self.metrics.token_refresh_ended(end);
                if !held {
                    if let Err(error) = self.pause_account(lease.account, &why.error).await {
                        return NoToken::Store(error);
                    }
                    // Whoever was given them may have brought them in this moment.
                    match self.read_tokens(lease.account).await {
                        Ok(now) if now.version != old.version => {
                            return match self.store.proved(lease.account).await {
                                Ok(()) => NoToken::Busy,
                                Err(error) => NoToken::Store(error),
                            };
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
                later(until, why, Some(fault))
            }
            (Action::PauseAccount, _) => {
                let noted = refused(now, why(&fault, verdict, Step::Token).error);
                let held = match self.note_no(lease, noted).await {
                    Ok(()) => true,
                    Err(StoreError::LeaseLost { .. }) => false,
                    Err(error) => return NoToken::Store(error),
                };
                // X's no is about the tokens that were sent: another grant, or whoever took the lease over, has others.
                match self.read_tokens(lease.account).await {
                    Ok(now) if held && now.version == old.version => {
                        self.metrics.token_refresh_ended(RefreshEnd::Dead);
                        NoToken::Fault(fault)
                    }
                    Ok(_) => {
                        self.metrics.token_refresh_ended(RefreshEnd::Busy);
                        NoToken::Busy
                    }
                    Err(no_token) => no_token,
                }
            }
            (action, _) => {
                let reset = match &fault {
                    CallFault::Refused(answer) => not_before(answer, now),
                    CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
                };
                let tries = u32::try_from(old.refreshes.faults).unwrap_or(0) + 1;
                let until = if action == Action::PauseApp {
                    // All its accounts wait until X takes a probe, or a person has acted.
                    now
                } else {
                    next_attempt(tries, now, reset, Pace::of(&verdict), (self.chance)())
                };
                self.metrics.token_refresh_ended(RefreshEnd::Error);
                let why = why(&fault, verdict, Step::Token);
                let noted = refused(until, why.error.clone());
                if let Err(error) = self
                    .lastingly(|| self.store.refuse_refresh(lease, &noted))
                    .await
                {
                    return of_store(error);
                }
                if action == Action::PauseApp {
                    return NoToken::Fault(fault);
                }
                later(Some(until), why, Some(fault))
            }
        }
    }

    /// What X answered, again and again until the database takes it: forgotten, it would be a doubt. For as long as the lease
    /// lasts at most, and told to stop no longer than to the next failure.
    async fn lastingly<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let enough = self.quit.soft().child_token();
        let lease_is_over = async {
            tokio::time::sleep(REFRESH_LEASE).await;
            enough.cancel();
            std::future::pending().await
        };
        tokio::select! {
            written = self.insist(&enough, "refresh", write) => written,
            never = lease_is_over => never,
        }
    }

    /// Notes X's definite no; nobody asks again for so long that the account is stopped by then.
    async fn note_no(&self, lease: &Lease, noted: Refused) -> Result<(), StoreError> {
        self.lastingly(|| async {
            let not_before = self.store.now().await? + NO_HEEDED;
            let noted = Refused {
                not_before,
                ..noted.clone()
            };
            self.store.refuse_refresh(lease, &noted).await
        })
        .await
    }

    /// Gives the right to refresh back; otherwise it runs out by itself.
    async fn give_back_refresh(&self, lease: &Lease) {
        if let Err(error) = self.store.abandon_refresh(lease).await {
            tracing::warn!(
                account_id = lease.account,
                code = error.code(),
                "the right to refresh a token could not be given back: {error}"
            );
        }
    }

    /// Puts tokens that dead processes left in the folder into the database, of one account or all; answers how many.
    pub async fn put_back(&self, account: Option<i64>) -> usize {
        let mut kept = 0;
        for (file, rotation) in self.rescue.found(&self.store).await {
            if account.is_some_and(|account| account != rotation.account)
                || self.rescue.holds(rotation.account)
            {
                continue;
            }
            match self.store.put_back(&rotation).await {
                Ok(PutBack::Kept) => {
                    kept += 1;
                    tracing::warn!(
                        account_id = rotation.account,
                        "the refreshed tokens of `{}` were left behind by a process that died, and are in the database now",
                        rotation.handle
                    );
                    self.rescue.forget(&file).await;
                }
                Ok(PutBack::Needless) => self.rescue.forget(&file).await,
                Ok(PutBack::NotOurs) => {}
                Err(error) => tracing::warn!(
                    account_id = rotation.account,
                    code = error.code(),
                    "refreshed tokens that a dead process left behind could not be kept: {error}"
                ),
            }
        }
        kept
    }
}

fn later(
    until: Option<chrono::DateTime<chrono::Utc>>,
    why: Why,
    fault: Option<CallFault>,
) -> NoToken {
    NoToken::Later(Box::new(TokenWait { until, why, fault }))
}

fn of_store(error: StoreError) -> NoToken {
    if matches!(error, StoreError::LeaseLost { .. }) {
        NoToken::Busy
    } else {
        NoToken::Store(error)
    }
}

/// X is not to be asked yet: for the fault of the last time, or since a refresh was a moment ago.
fn put_off(old: &OpenedTokens, opens: chrono::DateTime<chrono::Utc>) -> NoToken {
    match &old.refreshes.fault {
        Some(fault) if old.refreshes.not_before == Some(opens) => {
            let why = Why {
                code: fault["code"].as_str().unwrap_or("token").to_owned(),
                http_status: None,
                error: fault.clone(),
            };
            later(Some(opens), why, None)
        }
        _ => NoToken::TooSoon(opens),
    }
}

/// X has said no to a token that was sent before without an answer being known.
fn lost(old: &OpenedTokens, doubt: Doubt, held: bool) -> Why {
    let since = doubt.since.format("%Y-%m-%d %H:%M:%SZ");
    let handle = &old.handle;
    if held {
        let mut why = plain_why(
            "rotation_in_doubt",
            "another process refreshed the tokens and has not brought the new ones yet",
            "token",
            "nothing to do yet; if that process was killed: start it again on the same machine, as it may have left them in its folder",
        );
        why.error["detail"] = json!(format!(
            "X was asked at {since} and takes the old refresh token no more"
        ));
        return why;
    }
    let mut why = plain_why(
        "rotation_lost",
        "the account's new tokens were lost",
        "token",
        "",
    );
    why.error["detail"] = json!(format!(
        "X was asked for new tokens at {since}; the answer was lost with the process or the connection, and X takes the old refresh token no more"
    ));
    why.error["hint"] = json!(format!(
        "log in again: `crier auth login --account {handle}`; its jobs then go on by themselves"
    ));
    why
}
