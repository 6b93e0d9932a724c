//! Tokens of OAuth 1.0a: sealed like the others; they do not expire, and nothing rotates them.
//!
//! **Invariant:** a developer app that is known by its consumer key alone has a row in `crier.apps`, so that what X says of
//! the app stops all its accounts; the key itself reaches the database only sealed.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{plain, purpose, save_credentials};
use crate::gate::Conn;
use crate::{KeyError, SealKey, Store, StoreError};

/// Hexadecimal digits of a consumer key's hash that name its app.
const NAME_DIGITS: usize = 16;

/// Tokens of OAuth 1.0a.
#[derive(Debug, Clone)]
pub struct OAuth1Tokens {
    /// The app's key.
    pub consumer_key: SecretString,
    /// The app's secret.
    pub consumer_secret: SecretString,
    /// The account's token.
    pub access_token: SecretString,
    /// The account's token secret.
    pub access_token_secret: SecretString,
}

/// OAuth 1.0a tokens as they are kept, opened.
#[derive(Debug, Clone)]
pub struct OpenedOAuth1 {
    /// The tokens.
    pub tokens: OAuth1Tokens,
    /// Grows each time others take their place.
    pub version: i64,
}

/// Form of the sealed value; the names are kept short as they are sealed for ever.
#[derive(Serialize, Deserialize)]
struct Sealed1 {
    ck: String,
    cs: String,
    at: String,
    ts: String,
}

/// The row of `crier.apps` for an app that is known by its consumer key alone.
pub(super) async fn app_of(tx: &mut Conn, tokens: &OAuth1Tokens) -> Result<i64, StoreError> {
    let mut name = "oauth1:".to_owned();
    for byte in Sha256::digest(tokens.consumer_key.expose_secret().as_bytes())
        .iter()
        .take(NAME_DIGITS / 2)
    {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(sqlx::query_scalar(
        "-- import_account
        insert into crier.apps (client_id, kind) values ($1, 'oauth1')
        on conflict (client_id) do update set kind = excluded.kind returning id",
    )
    .bind(name)
    .fetch_one(tx)
    .await?)
}

/// Seals and keeps tokens in the place of those that were there.
pub(super) async fn keep(
    tx: &mut Conn,
    key: &SealKey,
    account: i64,
    tokens: &OAuth1Tokens,
) -> Result<(), StoreError> {
    let value = Sealed1 {
        ck: tokens.consumer_key.expose_secret().to_owned(),
        cs: tokens.consumer_secret.expose_secret().to_owned(),
        at: tokens.access_token.expose_secret().to_owned(),
        ts: tokens.access_token_secret.expose_secret().to_owned(),
    };
    let sealed = key.seal(&purpose(account, "oauth1"), &plain(&value)?)?;
    save_credentials(tx, account, "oauth1", &sealed, key.id(), None).await
}

impl Store {
    /// The OAuth 1.0a tokens of an account, opened; `None` if it has none.
    pub async fn oauth1_tokens(&self, account: i64) -> Result<Option<OpenedOAuth1>, StoreError> {
        let row: Option<(Vec<u8>, String, i64, String)> = sqlx::query_as(
            "-- oauth1_tokens
            select c.sealed, c.key_id, c.version, a.handle from crier.credentials c join crier.accounts a on a.id = c.account_id
             where c.account_id = $1 and c.kind = 'oauth1'",
        )
        .bind(account)
        .fetch_optional(&self.pool)
        .await?;
        let Some((sealed, key_id, version, handle)) = row else {
            return Ok(None);
        };
        let what = || format!("the OAuth 1.0a tokens of `{handle}`");
        let opened = self.open_sealed(&purpose(account, "oauth1"), &key_id, &sealed, what)?;
        let value: Sealed1 = serde_json::from_slice(&opened).map_err(|_| StoreError::Sealed {
            what: what(),
            error: KeyError::Damaged,
        })?;
        Ok(Some(OpenedOAuth1 {
            tokens: OAuth1Tokens {
                consumer_key: value.ck.into(),
                consumer_secret: value.cs.into(),
                access_token: value.at.into(),
                access_token_secret: value.ts.into(),
            },
            version,
        }))
    }
}
