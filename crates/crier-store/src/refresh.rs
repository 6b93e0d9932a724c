//! One refresher an account over all processes.
//!
//! **Invariant:** a refresh token is spent under a lease by one process at a time; the rotated one is durable before the
//! new access token is used; the lease outlasts the call to X. **Invariant:** what a refresh brings replaces only the tokens
//! that it spent, never those of another grant.

use std::time::Duration;

use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::accounts::{OAuth2Tokens, seal_oauth2};
use crate::claim::micros;
use crate::gate::Conn;
use crate::lease::Lease;
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

    /// Makes rotated tokens durable in the place of those of version `spent`, and gives the lease back. If the lease has
    /// run out but those tokens are there still, the new ones are kept all the same: X has spent the old ones. If they are
    /// not, somebody has brought another grant, which stays. May be repeated: tokens that an earlier try has kept are kept.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the tokens were dropped.
    pub async fn finish_refresh(
        &self,
        lease: &Lease,
        spent: i64,
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
        let kept = sqlx::query(
            "-- finish_refresh
            update crier.credentials set sealed = $3, key_id = $4, access_expires_at = crier.now() + $5 * interval '1 second',
                   version = version + 1, rotated_at = crier.now()
             where account_id = $1 and kind = 'oauth2' and version = $2",
        )
        .bind(lease.account)
        .bind(spent)
        .bind(&sealed)
        .bind(key.id())
        .bind(tokens.expires_in_s)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let held = end_refresh(&mut tx, lease).await?;
        tx.commit().await?;
        if kept == 1 {
            if !held {
                tracing::warn!(
                    account = lease.account,
                    "a token was refreshed for longer than its lease; the new one is kept"
                );
            }
            return Ok(());
        }
        // An earlier try may have committed although nobody heard of it.
        let there = self.tokens(lease.account).await?;
        if there.is_some_and(|there| {
            there.access_token.expose_secret() == tokens.access_token.expose_secret()
        }) {
            return Ok(());
        }
        Err(lease.lost())
    }

    /// Gives the lease back with the tokens as they were.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if it had run out and is another's.
    pub async fn abandon_refresh(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        if end_refresh(&mut tx, lease).await? {
            tx.commit().await?;
            Ok(())
        } else {
            Err(lease.lost())
        }
    }
}

/// False if the lease is gone.
pub(crate) async fn end_refresh(tx: &mut Conn, lease: &Lease) -> Result<bool, StoreError> {
    // Where commits need not reach the disk, this one does: X has spent the token that a crash would bring back.
    let ended = sqlx::query(
        "-- end_refresh
        delete from crier.leases where kind = 'refresh' and subject = $1 and token = $2
        returning case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', true) end",
    )
        .bind(lease.subject)
        .bind(lease.token)
        .execute(tx)
        .await?;
    Ok(ended.rows_affected() == 1)
}
