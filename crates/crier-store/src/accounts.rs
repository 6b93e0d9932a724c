//! Accounts, developer apps and their sealed credentials.
//!
//! **Invariant:** a token or secret leaves this module only as a [`SecretString`], and reaches the database only sealed.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::gate::Conn;
use crate::lease::open_lanes;
use crate::refresh::{Doubt, Refreshes};
use crate::{KeyError, SealKey, Store, StoreError};

mod oauth1;
mod settings;

/// No access token is believed to live longer: a year.
const LONGEST_LIFE_S: i64 = 365 * 24 * 3_600;

pub use oauth1::{OAuth1Tokens, OpenedOAuth1};

/// Tokens of OAuth 2.0 with the app they belong to.
#[derive(Debug, Clone)]
pub struct OAuth2Tokens {
    /// The developer app.
    pub client_id: String,
    /// Secret of a confidential client.
    pub client_secret: Option<SecretString>,
    /// Lives about two hours.
    pub access_token: SecretString,
    /// Spent by each refresh; absent without the scope `offline.access`.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token in seconds from now.
    pub expires_in_s: i64,
    /// Scopes granted.
    pub scopes: Vec<String>,
}

/// An account as `crier auth import` or a login brings it.
#[derive(Debug, Clone)]
pub struct Import {
    /// X's id of the account.
    pub x_user_id: String,
    /// Handle without `@`.
    pub handle: String,
    /// OAuth 2.0, if given.
    pub oauth2: Option<OAuth2Tokens>,
    /// OAuth 1.0a, if given.
    pub oauth1: Option<OAuth1Tokens>,
}

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// Number in crier.
    pub id: i64,
    /// X's id.
    pub x_user_id: String,
    /// Handle without `@`.
    pub handle: String,
    /// Its developer app.
    pub app_id: Option<i64>,
    /// `active`, `needs_login`, `paused` or `suspended`.
    pub status: String,
    /// Scopes granted.
    pub scopes: Vec<String>,
    /// Weighted characters allowed.
    pub text_limit: i32,
}

/// OAuth 2.0 tokens as they are kept, opened.
#[derive(Debug, Clone)]
pub struct OpenedTokens {
    /// The app's public name.
    pub client_id: String,
    /// The app's secret, for confidential clients.
    pub client_secret: Option<SecretString>,
    /// Current access token.
    pub access_token: SecretString,
    /// Current refresh token.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends, by the database's clock.
    pub access_expires_at: DateTime<Utc>,
    /// When these tokens were made durable.
    pub rotated_at: DateTime<Utc>,
    /// Grows with each rotation.
    pub version: i64,
    /// Handle of the account, without `@`.
    pub handle: String,
    /// What became of the last refreshes.
    pub refreshes: Refreshes,
}

/// Form of the sealed value; the names are kept short as they are sealed for ever.
#[derive(Serialize, Deserialize)]
struct Sealed2 {
    at: String,
    rt: Option<String>,
}

fn plain(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|_| StoreError::Inconsistent {
        table: "credentials",
        detail: "unreadable token".into(),
    })
}

/// What the credentials of an account are sealed for.
pub(crate) fn purpose(account: i64, kind: &str) -> String {
    format!("account:{account}:{kind}")
}

/// What the secret of an app is sealed for.
pub(crate) fn app_purpose(client_id: &str) -> String {
    format!("app:{client_id}")
}

/// A life that X, or a file, gives a token, as it is believed: seconds that an interval of Postgres holds.
pub(crate) const fn life_s(expires_in_s: i64) -> i64 {
    if expires_in_s < 0 {
        0
    } else if expires_in_s > LONGEST_LIFE_S {
        LONGEST_LIFE_S
    } else {
        expires_in_s
    }
}

/// Seals a pair of OAuth 2.0 tokens for its account.
pub(crate) fn seal_oauth2(
    key: &SealKey,
    account: i64,
    access: &str,
    refresh: Option<&str>,
) -> Result<Vec<u8>, StoreError> {
    let value = Sealed2 {
        at: access.to_owned(),
        rt: refresh.map(str::to_owned),
    };
    Ok(key.seal(&purpose(account, "oauth2"), &plain(&value)?)?)
}

const ACCOUNT: &str = "id, x_user_id, handle, app_id, status, scopes, text_limit";

impl Store {
    /// Adds or renews an account and its credentials in one commit, and opens its lane again: jobs that waited for a
    /// login go on by themselves. What a person or X has stopped stays stopped, and so does what a limit holds back.
    pub async fn import_account(&self, import: &Import) -> Result<Account, StoreError> {
        let key = self.key()?.clone();
        let mut tx = self.pool.begin().await?;
        // The lane before the app and the account, as everywhere. A lane that is made meanwhile knows of no older state.
        sqlx::query(
            "-- import_account
            select 1 from crier.lanes l join crier.accounts a on a.id = l.account_id where a.x_user_id = $1 for update of l",
        )
        .bind(&import.x_user_id)
        .execute(&mut *tx)
        .await?;
        let mut app_id: Option<i64> = None;
        if let Some(tokens) = &import.oauth2 {
            let sealed = match &tokens.client_secret {
                Some(secret) => Some(key.seal(
                    &app_purpose(&tokens.client_id),
                    secret.expose_secret().as_bytes(),
                )?),
                None => None,
            };
            app_id = Some(
                sqlx::query_scalar(
                    "-- import_account
                    insert into crier.apps (client_id, kind, sealed_secret, key_id)
                    values ($1, case when $2::bytea is null then 'public' else 'confidential' end, $2, case when $2 is null then null else $3 end)
                    on conflict (client_id) do update set kind = excluded.kind, sealed_secret = excluded.sealed_secret, key_id = excluded.key_id
                    returning id",
                )
                .bind(&tokens.client_id)
                .bind(&sealed)
                .bind(key.id())
                .fetch_one(&mut *tx)
                .await?,
            );
        }
        // What is brought alone takes the place of a grant that X has ended, and lets one that is good be.
        let replaces: bool = match &import.oauth1 {
            Some(tokens) if import.oauth2.is_none() => {
                let kept = end_dead_grant(&mut tx, &import.x_user_id).await?;
                if !kept {
                    app_id = Some(oauth1::app_of(&mut tx, tokens).await?);
                }
                !kept
            }
            Some(_) | None => true,
        };
        let scopes = import
            .oauth2
            .as_ref()
            .map(|t| t.scopes.clone())
            .unwrap_or_default();
        let account: Account = sqlx::query_as(
            "-- import_account
            insert into crier.accounts (x_user_id, handle, app_id, scopes) values ($1, $2, $3, $4)
            on conflict (x_user_id) do update set handle = excluded.handle, app_id = coalesce(excluded.app_id, accounts.app_id),
              scopes = case when $5 then excluded.scopes else accounts.scopes end, updated_at = crier.now(),
              status = case when accounts.status = 'needs_login' then 'active' else accounts.status end,
              reason = case when accounts.status not in ('needs_login', 'active') then accounts.reason end
            returning id, x_user_id, handle, app_id, status, scopes, text_limit",
        )
        .bind(&import.x_user_id)
        .bind(&import.handle)
        .bind(app_id)
        .bind(&scopes)
        .bind(replaces)
        .fetch_one(&mut *tx)
        .await
        .map_err(|error| name_taken(error, &import.handle))?;
        if let Some(tokens) = &import.oauth2 {
            let sealed = seal_oauth2(
                &key,
                account.id,
                tokens.access_token.expose_secret(),
                tokens
                    .refresh_token
                    .as_ref()
                    .map(ExposeSecret::expose_secret),
            )?;
            save_credentials(
                &mut tx,
                account.id,
                "oauth2",
                &sealed,
                key.id(),
                Some(tokens.expires_in_s),
            )
            .await?;
        }
        if let Some(tokens) = &import.oauth1 {
            oauth1::keep(&mut tx, &key, account.id, tokens).await?;
        }
        open_lanes(&mut tx, &[account.id]).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Every account, by handle.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql =
            format!("-- accounts\nselect {ACCOUNT} from crier.accounts order by lower(handle)");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_all(&self.pool)
            .await?)
    }

    /// One account by its handle, with or without `@`, in any case.
    pub async fn account(&self, handle: &str) -> Result<Option<Account>, StoreError> {
        let sql = format!(
            "-- account\nselect {ACCOUNT} from crier.accounts where lower(handle) = lower(ltrim($1, '@'))"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(handle)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// The OAuth 2.0 tokens of an account, opened; `None` if it has none.
    pub async fn tokens(&self, account: i64) -> Result<Option<OpenedTokens>, StoreError> {
        let row: Option<TokenRow> = sqlx::query_as(
            "-- tokens
            select c.sealed, c.key_id, c.version, coalesce(c.access_expires_at, c.rotated_at) as access_expires_at, c.rotated_at,
                   p.client_id, p.sealed_secret, p.key_id as app_key, a.handle, c.refreshed_at, c.refresh_not_before as not_before,
                   c.refresh_faults as faults, c.refresh_fault as fault, c.refresh_by as doubt_by,
                   case when c.refresh_doubt = c.version then c.refresh_doubt_since end as doubt_since
              from crier.credentials c join crier.accounts a on a.id = c.account_id join crier.apps p on p.id = a.app_id
             where c.account_id = $1 and c.kind = 'oauth2'",
        )
        .bind(account)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let what = || format!("the tokens of `{}`", row.handle);
        let opened =
            self.open_sealed(&purpose(account, "oauth2"), &row.key_id, &row.sealed, what)?;
        let value: Sealed2 = serde_json::from_slice(&opened).map_err(|_| StoreError::Sealed {
            what: what(),
            error: KeyError::Damaged,
        })?;
        let client_secret = match (row.sealed_secret, row.app_key) {
            (Some(sealed), Some(app_key)) => {
                let what = || {
                    format!(
                        "the client secret of the app `{}` of `{}`",
                        row.client_id, row.handle
                    )
                };
                let purpose = app_purpose(&row.client_id);
                let bytes = self.open_sealed(&purpose, &app_key, &sealed, what)?;
                let text = String::from_utf8(bytes).map_err(|_| StoreError::Sealed {
                    what: what(),
                    error: KeyError::Damaged,
                })?;
                Some(text.into())
            }
            _ => None,
        };
        Ok(Some(OpenedTokens {
            client_id: row.client_id,
            client_secret,
            access_token: value.at.into(),
            refresh_token: value.rt.map(Into::into),
            access_expires_at: row.access_expires_at,
            rotated_at: row.rotated_at,
            version: row.version,
            handle: row.handle,
            refreshes: Refreshes {
                last: row.refreshed_at,
                not_before: row.not_before,
                faults: row.faults,
                fault: row.fault,
                doubt: row.doubt_since.map(|since| Doubt {
                    since,
                    by: row.doubt_by,
                }),
            },
        }))
    }
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    sealed: Vec<u8>,
    key_id: String,
    version: i64,
    access_expires_at: DateTime<Utc>,
    rotated_at: DateTime<Utc>,
    client_id: String,
    sealed_secret: Option<Vec<u8>>,
    app_key: Option<String>,
    handle: String,
    refreshed_at: Option<DateTime<Utc>>,
    not_before: Option<DateTime<Utc>>,
    faults: i32,
    fault: Option<serde_json::Value>,
    doubt_by: Option<uuid::Uuid>,
    doubt_since: Option<DateTime<Utc>>,
}

/// Forgets the OAuth 2.0 grant of an account that waits for a login; true if it has one that is kept.
async fn end_dead_grant(tx: &mut Conn, x_user_id: &str) -> Result<bool, StoreError> {
    sqlx::query(
        "-- import_account: a grant that X has ended
        delete from crier.credentials c using crier.accounts a
         where a.x_user_id = $1 and a.status = 'needs_login' and coalesce(a.reason ->> 'code', '') not like 'v1\\_%' and c.account_id = a.id and c.kind = 'oauth2'",
    )
    .bind(x_user_id)
    .execute(&mut *tx)
    .await?;
    Ok(sqlx::query_scalar(
        "-- import_account
        select exists (select 1 from crier.credentials c join crier.accounts a on a.id = c.account_id
                        where a.x_user_id = $1 and c.kind = 'oauth2')",
    )
    .bind(x_user_id)
    .fetch_one(tx)
    .await?)
}

pub(crate) async fn save_credentials(
    tx: &mut Conn,
    account: i64,
    kind: &str,
    sealed: &[u8],
    key_id: &str,
    expires_in_s: Option<i64>,
) -> Result<(), StoreError> {
    sqlx::query(
        "-- save_credentials
        insert into crier.credentials (account_id, kind, sealed, key_id, access_expires_at)
        values ($1, $2, $3, $4, crier.now() + $5 * interval '1 second')
        on conflict (account_id, kind) do update set sealed = excluded.sealed, key_id = excluded.key_id,
          access_expires_at = excluded.access_expires_at, version = credentials.version + 1, rotated_at = crier.now(),
          refreshed_at = null, refresh_doubt = null, refresh_by = null, refresh_not_before = null, refresh_faults = 0, refresh_fault = null",
    )
    .bind(account)
    .bind(kind)
    .bind(sealed)
    .bind(key_id)
    .bind(expires_in_s.map(life_s))
    .execute(tx)
    .await?;
    Ok(())
}

/// Names pass from one account to another at X, and a simulator that is started anew has other accounts.
fn name_taken(error: sqlx::Error, handle: &str) -> StoreError {
    let said = error.as_database_error();
    if said.and_then(|said| said.constraint()) != Some("accounts_handle") {
        return error.into();
    }
    StoreError::Refused(format!(
        "another account, with another id on X, is known as `{handle}` already: if its name has changed, log it in first, or give the row of `crier.accounts` its new handle; for a simulator that was started anew take an empty database"
    ))
}
