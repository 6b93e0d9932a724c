//! A token that works: read, refreshed shortly before its end, by one process at a time.
//!
//! **Invariant:** a rotated token is used only after it is durable; only X's definite no ends a grant.

use std::time::Duration;

use crier_core::answer::CallFault;
use crier_core::verdict::{Action, Step, judge};
use crier_metrics::RefreshEnd;
use crier_store::{OAuth2Tokens, OpenedTokens, StoreError};
use crier_x::{AppCredentials, Auth};

use crate::Worker;

/// How long the right to refresh holds: longer than connecting, asking and saving (peers.md 2.8).
const REFRESH_LEASE: Duration = Duration::from_mins(2);

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The account has no OAuth 2.0 grant.
    Absent,
    /// Another process is refreshing it: come back shortly.
    Busy,
    /// X, or the way to it, failed.
    Fault(CallFault),
    /// The database failed.
    Store(StoreError),
}

impl Worker {
    /// An access token good for at least the time of a call. `spent` names a version that X has refused.
    pub(crate) async fn token(
        &self,
        account: i64,
        spent: Option<i64>,
    ) -> Result<(Auth, i64), NoToken> {
        let tokens = self.read_tokens(account).await?;
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
        let fresh = self.read_tokens(account).await?;
        if fresh.version != tokens.version {
            self.store
                .abandon_refresh(&lease)
                .await
                .map_err(NoToken::Store)?;
            return Ok((bearer(&fresh), fresh.version));
        }
        let Some(refresh_token) = fresh.refresh_token.clone() else {
            self.store
                .abandon_refresh(&lease)
                .await
                .map_err(NoToken::Store)?;
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
                self.store
                    .finish_refresh(&lease, &rotated)
                    .await
                    .map_err(NoToken::Store)?;
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
                self.metrics.token_refresh_ended(if dead {
                    RefreshEnd::Dead
                } else {
                    RefreshEnd::Error
                });
                self.store
                    .abandon_refresh(&lease)
                    .await
                    .map_err(NoToken::Store)?;
                Err(NoToken::Fault(fault))
            }
        }
    }

    async fn read_tokens(&self, account: i64) -> Result<OpenedTokens, NoToken> {
        self.store
            .tokens(account)
            .await
            .map_err(NoToken::Store)?
            .ok_or(NoToken::Absent)
    }
}

fn bearer(tokens: &OpenedTokens) -> Auth {
    Auth::OAuth2 {
        access_token: tokens.access_token.clone(),
    }
}
