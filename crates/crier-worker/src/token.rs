//! A token that works: read, refreshed shortly before its end, by one process at a time.
//!
//! **Invariant:** a rotated token is used only after it is durable; only X's definite no ends a grant.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use crier_core::answer::CallFault;
use crier_core::verdict::{Action, Step, judge};
use crier_metrics::RefreshEnd;
use crier_store::{Lease, OAuth2Tokens, OpenedTokens, Store, StoreError};
use crier_x::{AppCredentials, Auth};
use secrecy::ExposeSecret as _;

use crate::Worker;

/// How long the right to refresh holds: longer than connecting, asking and saving (peers.md 2.8).
const REFRESH_LEASE: Duration = Duration::from_mins(2);
/// Longest wait between two tries to make rotated tokens durable.
const SAVE_PAUSE: Duration = Duration::from_secs(2);
/// Tries at that, over somewhat more than the lease: X has spent the old token, and nobody else can bring the new one.
const SAVE_TRIES: usize = 75;

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The account has no grant that can be used.
    Absent,
    /// Another process is refreshing it: come back shortly.
    Busy,
    /// X, or the way to it, failed.
    Fault(CallFault),
    /// The database failed.
    Store(StoreError),
}

impl Worker {
    /// An access token good for at least the time of a call. `spent` names a version that X has refused. OAuth 2.0 goes
    /// before OAuth 1.0a, whose tokens neither expire nor can be refreshed.
    pub(crate) async fn token(
        &self,
        account: i64,
        spent: Option<i64>,
    ) -> Result<(Auth, i64), NoToken> {
        let tokens = match self.read_tokens(account).await {
            Err(NoToken::Absent) => return self.signer(account).await,
            tokens => tokens?,
        };
        let now = self.store.now().await.map_err(NoToken::Store)?;
        let ends = tokens.access_expires_at - now;
        // Short-lived tokens are not rotated over and over: only in the last tenth of their life (peers.md 2.8).
        let life = tokens.access_expires_at - tokens.rotated_at;
        let ahead = chrono::TimeDelta::from_std(self.options.refresh_ahead)
            .unwrap_or_default()
            .min(life / 10);
        if ends > ahead && spent != Some(tokens.version) {
            return Ok((bearer(&tokens), tokens.version));
        }
        let lease = self
            .store
            .begin_refresh(self.id, account, REFRESH_LEASE)
            .await
            .map_err(NoToken::Store)?;
        let Some(lease) = lease else {
            self.metrics.token_refresh_ended(RefreshEnd::Busy);
            // The old token serves while another process refreshes, as long as X takes it.
            if ends > chrono::TimeDelta::seconds(30) && spent != Some(tokens.version) {
                return Ok((bearer(&tokens), tokens.version));
            }
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
        if fresh.version != tokens.version {
            self.give_back_refresh(&lease).await;
            return Ok((bearer(&fresh), fresh.version));
        }
        let Some(refresh_token) = fresh.refresh_token.clone() else {
            self.give_back_refresh(&lease).await;
            return Err(NoToken::Absent);
        };
        let app = AppCredentials {
            client_id: fresh.client_id.clone(),
            client_secret: fresh.client_secret.clone(),
        };
        match self.x.refresh(&app, &refresh_token).await {
            Ok(reply) => {
                let rotated = OAuth2Tokens {
                    client_id: fresh.client_id,
                    client_secret: fresh.client_secret,
                    access_token: reply.value.access_token.clone(),
                    refresh_token: Some(reply.value.refresh_token.unwrap_or(refresh_token)),
                    expires_in_s: i64::try_from(reply.value.expires_in_s).unwrap_or(i64::MAX),
                    scopes: Vec::new(),
                };
                if let Err(error) = keep_tokens(&self.store, &lease, fresh.version, &rotated).await
                {
                    self.metrics.token_refresh_ended(RefreshEnd::Error);
                    // Another grant came meanwhile: its token is the next to try.
                    return Err(if matches!(error, StoreError::LeaseLost { .. }) {
                        NoToken::Busy
                    } else {
                        NoToken::Store(error)
                    });
                }
                self.metrics.token_refresh_ended(RefreshEnd::Ok);
                Ok((
                    Auth::OAuth2 {
                        access_token: reply.value.access_token,
                    },
                    fresh.version + 1,
                ))
            }
            Err(fault) => {
                let dead = judge(Step::Token, &fault).action == Action::PauseAccount;
                let held = self.give_back_refresh(&lease).await;
                // X's no is about the tokens that were sent: another grant, or whoever took the lease over, has others.
                let now = self.read_tokens(account).await?;
                if dead && (!held || now.version != fresh.version) {
                    self.metrics.token_refresh_ended(RefreshEnd::Busy);
                    return Err(NoToken::Busy);
                }
                self.metrics.token_refresh_ended(if dead {
                    RefreshEnd::Dead
                } else {
                    RefreshEnd::Error
                });
                Err(NoToken::Fault(fault))
            }
        }
    }

    /// Gives the right to refresh back; false if that was not to be done. It runs out by itself then.
    async fn give_back_refresh(&self, lease: &Lease) -> bool {
        match self.store.abandon_refresh(lease).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    account = lease.account,
                    code = error.code(),
                    "the right to refresh a token could not be given back: {error}"
                );
                !matches!(error, StoreError::LeaseLost { .. })
            }
        }
    }

    /// The OAuth 1.0a tokens of an account.
    pub(crate) async fn signer(&self, account: i64) -> Result<(Auth, i64), NoToken> {
        let opened = self
            .store
            .oauth1_tokens(account)
            .await
            .map_err(NoToken::Store)?
            .ok_or(NoToken::Absent)?;
        let tokens = opened.tokens;
        let auth = Auth::OAuth1 {
            consumer_key: tokens.consumer_key.expose_secret().to_owned(),
            consumer_secret: tokens.consumer_secret,
            access_token: tokens.access_token,
            access_token_secret: tokens.access_token_secret,
        };
        Ok((auth, opened.version))
    }

    async fn read_tokens(&self, account: i64) -> Result<OpenedTokens, NoToken> {
        self.store
            .tokens(account)
            .await
            .map_err(NoToken::Store)?
            .ok_or(NoToken::Absent)
    }
}

/// Makes rotated tokens durable, again and again while the lease lasts and a little longer: a restart of the database
/// must not lose the only tokens that X takes.
///
/// # Errors
/// [`StoreError::LeaseLost`] if another grant was brought meanwhile: it stays, and these tokens are dropped. Any other if
/// the database did not come back in time.
pub async fn keep_tokens(
    store: &Store,
    lease: &Lease,
    spent: i64,
    tokens: &OAuth2Tokens,
) -> Result<(), StoreError> {
    let kept = (|| store.finish_refresh(lease, spent, tokens))
        .retry(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(SAVE_PAUSE)
                .with_max_times(SAVE_TRIES),
        )
        .when(|error| matches!(error, StoreError::Database(_) | StoreError::Connect(_)))
        .notify(|error, _| {
            tracing::warn!(
                account = lease.account,
                code = error.code(),
                "a refreshed token could not be kept, trying again: {error}"
            );
        })
        .await;
    if let Err(error) = &kept {
        let lost = matches!(error, StoreError::LeaseLost { .. });
        tracing::error!(
            account = lease.account,
            code = error.code(),
            "a refreshed token was dropped, {}: {error}",
            if lost {
                "since other tokens were brought meanwhile"
            } else {
                "and X has spent the one before: the account has to log in again"
            }
        );
    }
    kept
}

/// Whether a refusal of it may be mended by a refresh: OAuth 1.0a has nothing to refresh, and the same tokens would only be
/// refused once more.
pub(crate) fn can_be_refreshed(auth: &Auth) -> bool {
    match auth {
        Auth::OAuth2 { .. } => true,
        Auth::OAuth1 { .. } => false,
    }
}

fn bearer(tokens: &OpenedTokens) -> Auth {
    Auth::OAuth2 {
        access_token: tokens.access_token.clone(),
    }
}
