//! What a login needs to know of developer apps, what it proves, and how grants are forgotten.
//!
//! **Invariant:** grants are forgotten under the lease of a refresh, so that no other process rotates a token meanwhile and
//! keeps what has just been taken back.

use secrecy::SecretString;
use serde_json::Value;

use crate::accounts::app_purpose;
use crate::lease::{Lease, lock_lanes, open_lanes};
use crate::pauses::close_lanes;
use crate::refresh::end_refresh;
use crate::{Store, StoreError};

/// Apps are listed up to here: nobody chooses among more.
const MOST_APPS: i64 = 20;

/// A developer app of OAuth 2.0, opened.
#[derive(Debug, Clone)]
pub struct LoginApp {
    /// Its public name.
    pub client_id: String,
    /// Its secret; a public client has none.
    pub client_secret: Option<SecretString>,
}

impl Store {
    /// Names of the apps of OAuth 2.0 that accounts have logged in with.
    pub async fn login_apps(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- login_apps
            select client_id from crier.apps where kind in ('confidential', 'public') order by client_id limit $1",
        )
        .bind(MOST_APPS)
        .fetch_all(&self.pool)
        .await?)
    }

    /// An app of OAuth 2.0 by its name, with its secret.
    pub async fn login_app(&self, client_id: &str) -> Result<Option<LoginApp>, StoreError> {
        let row: Option<(String, Option<Vec<u8>>, Option<String>)> = sqlx::query_as(
            "-- login_app
            select client_id, sealed_secret, key_id from crier.apps where client_id = $1 and kind in ('confidential', 'public')",
        )
        .bind(client_id)
        .fetch_optional(&self.pool)
        .await?;
        let Some((client_id, sealed, key_id)) = row else {
            return Ok(None);
        };
        let client_secret = match (sealed, key_id) {
            (Some(sealed), Some(key_id)) => {
                let purpose = app_purpose(&client_id);
                let opened = self.open_sealed(&purpose, &key_id, &sealed, || {
                    format!("the client secret of the app `{client_id}`")
                })?;
                let text = String::from_utf8(opened).map_err(|_| StoreError::Inconsistent {
                    table: "apps",
                    detail: "secret is not text".into(),
                })?;
                Some(text.into())
            }
            _ => None,
        };
        Ok(Some(LoginApp {
            client_id,
            client_secret,
        }))
    }

    /// X has just taken the secret of an account's app: if the app was stopped because X refused it, it goes on, and with it
    /// all its accounts. Answers their handles.
    pub async fn app_proved(&self, account: i64) -> Result<Vec<String>, StoreError> {
        const REFUSED: &str =
            "p.status = 'paused' and p.reason->>'code' in ('app_credentials', 'bad_request')";
        let mut tx = self.pool.begin().await?;
        let accounts: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "-- app_proved
            select b.id from crier.accounts a join crier.apps p on p.id = a.app_id join crier.accounts b on b.app_id = p.id
             where a.id = $1 and {REFUSED} order by b.id"
        )))
        .bind(account)
        .fetch_all(&mut *tx)
        .await?;
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        // Lanes before the app, as everywhere.
        lock_lanes(&mut tx, &accounts).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "-- app_proved
            update crier.apps p set status = 'active', reason = null from crier.accounts a
             where a.id = $1 and p.id = a.app_id and {REFUSED}"
        )))
        .bind(account)
        .execute(&mut *tx)
        .await?;
        open_lanes(&mut tx, &accounts).await?;
        let handles = sqlx::query_scalar(
            "-- app_proved\nselect handle from crier.accounts where id = any($1) and status = 'active' order by lower(handle)",
        )
        .bind(&accounts)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(handles)
    }

    /// Forgets every credential of an account and gives the lease of a refresh back. An account that was active needs a
    /// login then: its lane closes, its jobs wait. What a person or X has stopped stays stopped. Answers its status.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the lease has run out: nothing is forgotten then.
    pub async fn forget_credentials(
        &self,
        lease: &Lease,
        reason: &Value,
    ) -> Result<String, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_lanes(&mut tx, &[lease.account]).await?;
        if !end_refresh(&mut tx, lease).await? {
            return Err(lease.lost());
        }
        // Where commits need not reach the disk, this one does: what was revoked does not come back.
        sqlx::query(
            "-- forget_credentials
            delete from crier.credentials where account_id = $1
            returning case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', true) end",
        )
        .bind(lease.account)
        .execute(&mut *tx)
        .await?;
        let status: String = sqlx::query_scalar(
            "-- forget_credentials
            update crier.accounts set scopes = '{}', updated_at = crier.now(),
                   reason = case when status in ('active', 'needs_login') then $2 else reason end,
                   status = case when status = 'active' then 'needs_login' else status end
             where id = $1 returning status",
        )
        .bind(lease.account)
        .bind(reason)
        .fetch_one(&mut *tx)
        .await?;
        close_lanes(&mut tx, &[lease.account]).await?;
        tx.commit().await?;
        Ok(status)
    }
}
