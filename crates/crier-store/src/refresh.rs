//! One refresher an account over all processes.
//!
//! **Invariant:** a refresh token is spent under a lease by one process at a time; the rotated one is durable before the
//! new access token is used; the lease outlasts the call to X. **Invariant:** what a refresh brings replaces only the tokens
//! that it spent, never those of another grant. **Invariant:** before X is asked it is written that it will be, so that a
//! process that dies leaves a doubt behind and no riddle; and X is asked too soon after a refresh, or after a fault, by
//! nobody: the gate is the row, not the process.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use crate::accounts::{OAuth2Tokens, life_s, seal_oauth2};
use crate::claim::micros;
use crate::gate::Conn;
use crate::lease::{Lease, lock_lanes, open_lanes};
use crate::{Store, StoreError};

/// No wait after a fault is believed that is longer: the clock was set back since it was written.
const LONGEST_WAIT_S: i64 = 4 * 3_600;

/// A refresh token was sent to X, and what X answered is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Since when, by the database's clock.
    pub since: DateTime<Utc>,
    /// The process that may still hold the answer; none if nobody does.
    pub by: Option<Uuid>,
}

/// What became of the last refreshes of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshes {
    /// When one last brought tokens.
    pub last: Option<DateTime<Utc>>,
    /// X is not asked before.
    pub not_before: Option<DateTime<Utc>>,
    /// Faults in a row.
    pub faults: i32,
    /// The last fault; the form of `jobs.error`.
    pub fault: Option<Value>,
    /// Whether the current refresh token may be spent.
    pub doubt: Option<Doubt>,
}

/// Whether X may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Yes; that it is asked is written.
    Go,
    /// Not before then.
    NotBefore(DateTime<Utc>),
    /// The lease or the tokens are others now.
    Changed,
}

/// A refresh that brought nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The process that asked.
    pub worker: Uuid,
    /// Version whose refresh token was sent.
    pub version: i64,
    /// Whether that token is surely as good as it was before.
    pub unspent: bool,
    /// What was in doubt before.
    pub before: Option<Doubt>,
    /// When X may be asked again.
    pub not_before: DateTime<Utc>,
    /// Why; the form of `jobs.error`.
    pub fault: Value,
}

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
                 -- Dated by a clock that has gone back since.
                 or l.claimed_at > crier.now() + $3 * interval '1 microsecond'
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

    /// The last step before X is asked: writes that it is, if the lease holds for `margin` more, nobody refreshed in the last
    /// `floor`, and no fault asks for patience. With `forced` a person has waived the latter two.
    pub async fn ask_refresh(
        &self,
        lease: &Lease,
        worker: Uuid,
        version: i64,
        (floor, margin): (Duration, Duration),
        forced: bool,
    ) -> Result<Asked, StoreError> {
        // A time in the future is one that the clock was set back from: it holds as long as one in the past.
        let gate: Option<(bool, Option<DateTime<Utc>>)> = sqlx::query_as(
            "-- ask_refresh
            with gate as (
              select c.account_id, greatest(
                  case when abs(extract(epoch from crier.now() - c.refreshed_at)) * 1000000 < $5 then c.refreshed_at + $5 * interval '1 microsecond' end,
                  case when c.refresh_not_before > crier.now() and c.refresh_not_before < crier.now() + $7 * interval '1 second'
                       then c.refresh_not_before end) as opens
                from crier.credentials c
               where c.account_id = $1 and c.kind = 'oauth2' and c.version = $2
                 and exists (select 1 from crier.leases l where l.kind = 'refresh' and l.subject = $1 and l.token = $3
                                and l.expires_at > crier.now() + $6 * interval '1 microsecond')
                 for update of c),
            asked as (
              update crier.credentials c set refresh_doubt = c.version,
                     refresh_doubt_since = case when c.refresh_doubt = c.version then c.refresh_doubt_since else crier.now() end,
                     refresh_by = case when c.refresh_doubt = c.version and c.refresh_by is not null then c.refresh_by else $4 end
                from gate g where c.account_id = g.account_id and c.kind = 'oauth2' and (g.opens is null or $8)
              returning c.account_id)
            select exists (select 1 from asked), opens from gate",
        )
        .bind(lease.account)
        .bind(version)
        .bind(lease.token)
        .bind(worker)
        .bind(micros(floor))
        .bind(micros(margin))
        .bind(LONGEST_WAIT_S)
        .bind(forced)
        .fetch_optional(&self.pool)
        .await?;
        Ok(match gate {
            Some((true, _)) => Asked::Go,
            Some((false, Some(opens))) => Asked::NotBefore(opens),
            Some((false, None)) | None => Asked::Changed,
        })
    }

    /// Makes rotated tokens durable in the place of those of version `spent`, and gives the lease back. If the lease has
    /// run out but those tokens are there still, the new ones are kept all the same: X has spent the old ones. If they are
    /// not, somebody has brought another grant, which stays. May be repeated: tokens that an earlier try has kept are kept.
    /// Their life counts from when X was asked.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the tokens were dropped.
    pub async fn finish_refresh(
        &self,
        lease: &Lease,
        spent: i64,
        tokens: &OAuth2Tokens,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        // Lane, lease, credentials: the order of whoever logs in.
        let stopped = lock_stopped(&mut tx, lease.account).await?;
        let held = end_refresh(&mut tx, lease).await?;
        let kept = self
            .replace_tokens(&mut tx, lease.account, spent, tokens)
            .await?;
        if kept && stopped {
            heal(&mut tx, lease.account).await?;
        }
        tx.commit().await?;
        if kept {
            if !stopped {
                self.proved_since(lease.account).await;
            }
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

    /// An account was stopped for want of tokens while new ones were being kept: it goes on.
    pub async fn proved(&self, account: i64) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        if lock_stopped(&mut tx, account).await? {
            heal(&mut tx, account).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The same after the commit that kept the tokens, which stands whatever comes of it.
    pub(crate) async fn proved_since(&self, account: i64) {
        if let Err(error) = self.proved(account).await {
            tracing::warn!(
                account_id = account,
                "whether an account with new tokens has just been stopped is not known; if it waits for a login: `crier accounts resume`: {error}"
            );
        }
    }

    /// Seals `tokens` in the place of those of version `spent`; false if those are not there.
    pub(crate) async fn replace_tokens(
        &self,
        tx: &mut Conn,
        account: i64,
        spent: i64,
        tokens: &OAuth2Tokens,
    ) -> Result<bool, StoreError> {
        let key = self.key()?;
        let sealed = seal_oauth2(
            key,
            account,
            tokens.access_token.expose_secret(),
            tokens
                .refresh_token
                .as_ref()
                .map(ExposeSecret::expose_secret),
        )?;
        let kept = sqlx::query(
            "-- finish_refresh
            update crier.credentials set sealed = $3, key_id = $4, version = version + 1, rotated_at = crier.now(), refreshed_at = crier.now(),
                   access_expires_at = coalesce(case when refresh_doubt = version then refresh_doubt_since end, crier.now()) + $5 * interval '1 second',
                   refresh_doubt = null, refresh_by = null, refresh_not_before = null, refresh_faults = 0, refresh_fault = null
             where account_id = $1 and kind = 'oauth2' and version = $2
            -- Where commits need not reach the disk, this one does: X has spent the token that a crash would bring back.
            returning case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', true) end",
        )
        .bind(account)
        .bind(spent)
        .bind(&sealed)
        .bind(key.id())
        .bind(life_s(tokens.expires_in_s))
        .execute(tx)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Gives the lease back with the tokens as they were, and notes why X brought none and when it may be asked again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if it had run out and is another's; nothing is noted then.
    pub async fn refuse_refresh(&self, lease: &Lease, refused: &Refused) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        if !end_refresh(&mut tx, lease).await? {
            return Err(lease.lost());
        }
        sqlx::query(
            "-- refuse_refresh
            update crier.credentials set refresh_doubt = case when $4 and not $5 then null else refresh_doubt end,
                   refresh_by = case when refresh_by = $3 then null else refresh_by end,
                   refresh_not_before = least($6, crier.now() + $8 * interval '1 second'), refresh_faults = refresh_faults + 1, refresh_fault = $7
             where account_id = $1 and kind = 'oauth2' and version = $2",
        )
        .bind(lease.account)
        .bind(refused.version)
        .bind(refused.worker)
        .bind(refused.unspent)
        .bind(refused.before.is_some())
        .bind(refused.not_before)
        .bind(&refused.fault)
        .bind(LONGEST_WAIT_S - 1)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives the lease back with the tokens as they were.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if it had run out and is another's.
    pub async fn abandon_refresh(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let held = end_refresh(&mut tx, lease).await?;
        tx.commit().await?;
        if held { Ok(()) } else { Err(lease.lost()) }
    }
}

/// Whether an account is stopped for want of tokens; its lane is locked then.
pub(crate) async fn lock_stopped(tx: &mut Conn, account: i64) -> Result<bool, StoreError> {
    let is_stopped: bool = sqlx::query_scalar(
        "-- lock_stopped
        select exists (select 1 from crier.accounts
          where id = $1 and status = 'needs_login' and reason ->> 'code' in ('rotation_lost', 'grant_dead'))",
    )
    .bind(account)
    .fetch_one(&mut *tx)
    .await?;
    if is_stopped {
        lock_lanes(tx, &[account]).await?;
    }
    Ok(is_stopped)
}

/// Tokens that came late have proved good: an account that [`lock_stopped`] found goes on, in the commit that keeps them.
pub(crate) async fn heal(tx: &mut Conn, account: i64) -> Result<(), StoreError> {
    let healed = sqlx::query(
        "-- heal
        update crier.accounts set status = 'active', reason = null, updated_at = crier.now()
         where id = $1 and status = 'needs_login' and reason ->> 'code' in ('rotation_lost', 'grant_dead')",
    )
    .bind(account)
    .execute(&mut *tx)
    .await?;
    if healed.rows_affected() == 1 {
        open_lanes(tx, &[account]).await?;
        tracing::info!(
            account_id = account,
            "its new tokens came after all: an account goes on"
        );
    }
    Ok(())
}

/// False if the lease is gone.
pub(crate) async fn end_refresh(tx: &mut Conn, lease: &Lease) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "-- end_refresh
        delete from crier.leases where kind = 'refresh' and subject = $1 and token = $2",
    )
    .bind(lease.subject)
    .bind(lease.token)
    .execute(tx)
    .await?;
    Ok(ended.rows_affected() == 1)
}
