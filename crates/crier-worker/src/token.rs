//! A token that works: read, and refreshed shortly before its end or once X refuses it.
//!
//! **Invariant:** a token serves as long as X takes it: that it cannot be renewed now is no reason not to use it. What does
//! not open stops its own account and no other.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::answer::CallFault;
use crier_store::{KeyError, OpenedTokens, StoreError, Why};
use crier_x::Auth;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::Worker;
use crate::reasons::plain_why;
use crate::refresh::Gate;

/// The old token serves while it cannot be renewed if it lasts so long: the time of a call.
const SERVES: TimeDelta = TimeDelta::seconds(30);
/// How soon an account is tried again whose key this process lacks: another process may have it.
const KEY_WAIT: TimeDelta = TimeDelta::seconds(15);

/// Why there is no token.
#[derive(Debug)]
pub enum NoToken {
    /// The account has no grant that can be used.
    Absent,
    /// Another process is refreshing it: come back shortly.
    Busy,
    /// It was refreshed a moment ago, and may not be again before then.
    TooSoon(DateTime<Utc>),
    /// Not now; no attempt is to be counted for it.
    Later(Box<TokenWait>),
    /// X has said no: to the account, the app, or for a limit.
    Fault(CallFault),
    /// The database failed.
    Store(StoreError),
}

/// For how long there is no token, and why.
#[derive(Debug)]
pub struct TokenWait {
    /// Until then; none if the account waits for a person and is stopped.
    pub until: Option<DateTime<Utc>>,
    /// What to tell.
    pub why: Why,
    /// What X, or the way to it, said just now.
    pub fault: Option<CallFault>,
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
        let ahead = TimeDelta::from_std(self.options.refresh_ahead)
            .unwrap_or_default()
            .min(life / 10);
        let refused = spent == Some(tokens.version);
        if ends > ahead && !refused {
            return Ok((bearer(&tokens), tokens.version));
        }
        // One refusal ends nothing: without a refresh token the access token is all there is.
        if tokens.refresh_token.is_none() && ends > TimeDelta::zero() {
            return Ok((bearer(&tokens), tokens.version));
        }
        let gate = if refused { Gate::REFUSED } else { Gate::OLD };
        match self.refresh(account, tokens.version, gate).await {
            Ok(fresh) => Ok((bearer(&fresh), fresh.version)),
            // It is as fresh as can be, whatever its end is said to be: X shall say whether it takes it.
            Err(NoToken::TooSoon(_)) => Ok((bearer(&tokens), tokens.version)),
            Err(NoToken::Busy) if ends > SERVES && !refused => {
                Ok((bearer(&tokens), tokens.version))
            }
            Err(NoToken::Later(wait)) if wait.until.is_some() && ends > SERVES && !refused => {
                Ok((bearer(&tokens), tokens.version))
            }
            Err(no_token) => Err(no_token),
        }
    }

    /// The OAuth 1.0a tokens of an account.
    pub(crate) async fn signer(&self, account: i64) -> Result<(Auth, i64), NoToken> {
        let opened = match self.store.oauth1_tokens(account).await {
            Ok(opened) => opened.ok_or(NoToken::Absent)?,
            Err(error) => return Err(self.unopened(account, error).await),
        };
        let tokens = opened.tokens;
        let auth = Auth::OAuth1 {
            consumer_key: tokens.consumer_key.expose_secret().to_owned(),
            consumer_secret: tokens.consumer_secret,
            access_token: tokens.access_token,
            access_token_secret: tokens.access_token_secret,
        };
        Ok((auth, opened.version))
    }

    pub(crate) async fn read_tokens(&self, account: i64) -> Result<OpenedTokens, NoToken> {
        match self.store.tokens(account).await {
            Ok(tokens) => tokens.ok_or(NoToken::Absent),
            Err(error) => Err(self.unopened(account, error).await),
        }
    }

    /// What does not open: a key that is missing here may be there elsewhere, and says nothing of the grant; what its own
    /// key does not open is damaged for all, and the account waits for a person.
    async fn unopened(&self, account: i64, error: StoreError) -> NoToken {
        if !matches!(error, StoreError::Sealed { .. } | StoreError::NoKey) {
            return NoToken::Store(error);
        }
        let damaged =
            matches!(&error, StoreError::Sealed { error, .. } if *error == KeyError::Damaged);
        let mut why = if damaged {
            plain_why(
                "credentials_damaged",
                "the account's tokens do not open: they were cut, altered, or belong to something else",
                "token",
                "log in again: `crier auth login`; or put the row back as it was, and then `crier accounts resume`",
            )
        } else {
            plain_why(
                "key_missing",
                "the account's tokens are sealed with a key that this process does not have",
                "token",
                "give every process that key, as `secrets.key` or among `secrets.other_keys`; `crier keys list` shows which is where",
            )
        };
        why.error["detail"] = json!(error.to_string());
        let until = if damaged {
            match self.pause_account(account, &why.error).await {
                Ok(()) => None,
                Err(error) => return NoToken::Store(error),
            }
        } else {
            tracing::warn!(
                account_id = account,
                code = why.code,
                "an account waits: {error}"
            );
            match self.store.now().await {
                Ok(now) => Some(now + KEY_WAIT),
                Err(error) => return NoToken::Store(error),
            }
        };
        NoToken::Later(Box::new(TokenWait {
            until,
            why,
            fault: None,
        }))
    }

    /// How long a caller waits that has no use for the words.
    pub(crate) async fn token_wait(
        &self,
        wait: &TokenWait,
    ) -> Result<Option<Duration>, StoreError> {
        let Some(until) = wait.until else {
            return Ok(None);
        };
        let now = self.store.now().await?;
        Ok(Some((until - now).to_std().unwrap_or_default()))
    }
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
