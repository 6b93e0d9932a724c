//! Rotated tokens on their way into the database, sealed, so that they outlive the process that X gave them to.
//!
//! **Invariant:** a rotation is put back only in the place of the very refresh token that was spent for it, in the database
//! that it came from; whatever else a file holds changes nothing.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::accounts::{OAuth2Tokens, OpenedTokens};
use crate::refresh::{heal, lock_stopped};
use crate::{KeyError, Store, StoreError};

/// What a rotation is sealed for.
const PURPOSE: &str = "rotation";

/// A pair of tokens that X gave for another.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The database that they belong to.
    pub deployment: Uuid,
    /// The account.
    pub account: i64,
    /// Its handle.
    pub handle: String,
    /// Version of the tokens that were spent.
    pub spent: i64,
    /// Tells the refresh token that was spent, and tells nothing about it.
    mark: String,
    /// The tokens.
    pub tokens: OAuth2Tokens,
}

/// What became of a rotation that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// It is in the database now.
    Kept,
    /// It was there already, or others are there that are younger.
    Needless,
    /// It belongs to another database, or what it was spent for is not there.
    NotOurs,
}

/// Form of the sealed value; the names are kept short.
#[derive(Serialize, Deserialize)]
struct SealedRotation {
    id: Uuid,
    account: i64,
    handle: String,
    spent: i64,
    mark: String,
    at: String,
    rt: Option<String>,
    life: i64,
}

fn mark(token: Option<&SecretString>) -> String {
    let token = token.map(ExposeSecret::expose_secret).unwrap_or_default();
    let mut mark = String::new();
    for byte in Sha256::digest(["crier spent token", token].concat()) {
        // Writing to a String cannot fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark
}

impl Rotation {
    /// What X gave for `spent`.
    pub fn new(deployment: Uuid, account: i64, spent: &OpenedTokens, tokens: OAuth2Tokens) -> Self {
        Self {
            deployment,
            account,
            handle: spent.handle.clone(),
            spent: spent.version,
            mark: mark(spent.refresh_token.as_ref()),
            tokens,
        }
    }
}

impl Store {
    /// Name of this database.
    pub async fn deployment(&self) -> Result<Uuid, StoreError> {
        Ok(
            sqlx::query_scalar("-- deployment\nselect id from crier.deployment")
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// A rotation in the form of a file.
    pub fn seal_rotation(&self, rotation: &Rotation) -> Result<Vec<u8>, StoreError> {
        let tokens = &rotation.tokens;
        let expose = |token: &SecretString| token.expose_secret().to_owned();
        let value = SealedRotation {
            id: rotation.deployment,
            account: rotation.account,
            handle: rotation.handle.clone(),
            spent: rotation.spent,
            mark: rotation.mark.clone(),
            at: expose(&tokens.access_token),
            rt: tokens.refresh_token.as_ref().map(expose),
            life: tokens.expires_in_s,
        };
        let plain = serde_json::to_vec(&value).map_err(|_| StoreError::Key(KeyError::Form))?;
        let key = self.key()?;
        let sealed = key.seal(PURPOSE, &plain)?;
        Ok([key.id().as_bytes(), b"\n", &sealed].concat())
    }

    /// Reads what [`Store::seal_rotation`] made; the key may be any of those that this process knows.
    pub fn open_rotation(&self, file: &[u8]) -> Result<Rotation, StoreError> {
        let what = || "a file with refreshed tokens".to_owned();
        let damaged = || StoreError::Sealed {
            what: what(),
            error: KeyError::Damaged,
        };
        let end = file
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(damaged)?;
        let (key_id, sealed) = (&file[..end], &file[end + 1..]);
        let key_id = std::str::from_utf8(key_id)
            .ok()
            .filter(|id| id.len() <= 16 && id.chars().all(|c| c.is_ascii_hexdigit()))
            .ok_or_else(damaged)?;
        let plain = self.open_sealed(PURPOSE, key_id, sealed, what)?;
        let value: SealedRotation = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        Ok(Rotation {
            deployment: value.id,
            account: value.account,
            handle: value.handle,
            spent: value.spent,
            mark: value.mark,
            tokens: OAuth2Tokens {
                client_id: String::new(),
                client_secret: None,
                access_token: value.at.into(),
                refresh_token: value.rt.map(Into::into),
                expires_in_s: value.life,
                scopes: Vec::new(),
            },
        })
    }

    /// Puts a rotation into the database, if it belongs there.
    pub async fn put_back(&self, rotation: &Rotation) -> Result<PutBack, StoreError> {
        if self.deployment().await? != rotation.deployment {
            return Ok(PutBack::NotOurs);
        }
        let Some(there) = self.tokens(rotation.account).await? else {
            return Ok(PutBack::NotOurs);
        };
        if there.version > rotation.spent {
            return Ok(PutBack::Needless);
        }
        if there.version != rotation.spent || mark(there.refresh_token.as_ref()) != rotation.mark {
            return Ok(PutBack::NotOurs);
        }
        let mut tx = self.pool.begin().await?;
        let (account, spent) = (rotation.account, rotation.spent);
        let stopped = lock_stopped(&mut tx, account).await?;
        let kept = self
            .replace_tokens(&mut tx, account, spent, &rotation.tokens)
            .await?;
        if kept && stopped {
            heal(&mut tx, account).await?;
        }
        tx.commit().await?;
        if kept && !stopped {
            self.proved_since(account).await;
        }
        Ok(if kept {
            PutBack::Kept
        } else {
            PutBack::Needless
        })
    }
}
