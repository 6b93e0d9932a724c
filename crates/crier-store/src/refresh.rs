//! One refresher an account over all processes, and grants and apps that only a person can mend.
//!
//! **Invariant:** a refresh token is spent under a lease by one process at a time; the rotated one is durable before the
//! new access token is used; the lease outlasts the call to X.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use crate::accounts::{OAuth2Tokens, seal_oauth2};
use crate::claim::micros;
use crate::lease::{Lease, lock_lanes};
use crate::{Store, StoreError};

impl Store {
    /// Takes the right to refresh this account's token for `ttl`; `None` if another process has it.
    pub async fn begin_refresh(
        &self,
        worker: Uuid,
        account: i64,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let token: Option<i64> = sqlx::query_scalar(
            "-- begin_refresh
            insert into crier.leases as l (kind, subject, account_id, worker, expires_at)
            values ('refresh', $2, $2, $1, crier.now() + $3 * interval '1 microsecond')
            on conflict (kind, subject) do update
              set worker = excluded.worker, token = excluded.token, expires_at = excluded.expires_at, claimed_at = crier.now()
              where l.expires_at < crier.now()
            returning token",
        )
        .bind(worker)
        .bind(account)
        .bind(micros(ttl))
        .fetch_optional(&self.pool)
        .await?;
        Ok(token.map(|token| Lease {
            kind: "refresh",
            subject: account,
            account,
            token,
        }))
    }

    /// Makes rotated tokens durable and gives the lease back. A lost lease keeps the tokens all the same: X has spent the
    /// old ones, and these are the only ones that work.
    pub async fn finish_refresh(
        &self,
        lease: &Lease,
        tokens: &OAuth2Tokens,
    ) -> Result<(), StoreError> {
        let key = self.key()?;
        let sealed = seal_oauth2(
            key,
            lease.account,
            tokens.access_token.expose_secret(),
            tokens
                .refresh_token
                .as_ref()
                .map(ExposeSecret::expose_secret),
        )?;
        let mut tx = self.pool.begin().await?;
        crate::accounts::save_credentials(
            &mut tx,
            lease.account,
            "oauth2",
            &sealed,
            key.id(),
            Some(tokens.expires_in_s),
        )
        .await?;
        end_refresh(&mut tx, lease).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives the lease back with the tokens as they were.
    pub async fn abandon_refresh(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        end_refresh(&mut connection, lease).await
    }

    /// Stops an account until a person has acted: its lane closes, its jobs wait.
    pub async fn pause_account(
        &self,
        account: i64,
        status: &str,
        reason: &Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_lanes(&mut tx, &[account]).await?;
        sqlx::query("-- pause_account\nupdate crier.accounts set status = $2, reason = $3, updated_at = crier.now() where id = $1")
            .bind(account)
            .bind(status)
            .bind(reason)
            .execute(&mut *tx)
            .await?;
        close_lanes(&mut tx, &[account]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Stops the app of an account, and with it all its accounts, until a person has acted.
    pub async fn pause_app(&self, account: i64, reason: &Value) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let accounts: Vec<i64> = sqlx::query_scalar(
            "-- pause_app
            update crier.apps p set status = 'paused', reason = $2
              from crier.accounts a where a.id = $1 and p.id = a.app_id
            returning array(select b.id from crier.accounts b where b.app_id = p.id)",
        )
        .bind(account)
        .bind(reason)
        .fetch_optional(&mut *tx)
        .await?
        .unwrap_or_default();
        lock_lanes(&mut tx, &accounts).await?;
        close_lanes(&mut tx, &accounts).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn close_lanes(tx: &mut sqlx::PgConnection, accounts: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "-- close_lanes
        update crier.lanes set not_before = 'infinity', next_at = case when next_at is not null then 'infinity'::timestamptz end
         where account_id = any($1)",
    )
    .bind(accounts)
    .execute(tx)
    .await?;
    Ok(())
}

async fn end_refresh(tx: &mut sqlx::PgConnection, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query("-- end_refresh\ndelete from crier.leases where kind = 'refresh' and subject = $1 and token = $2")
        .bind(lease.subject)
        .bind(lease.token)
        .execute(tx)
        .await?;
    Ok(())
}
