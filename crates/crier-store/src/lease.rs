//! Leases: who holds what, proof before each write, renewal, and taking back what dead workers held.
//!
//! **Invariant:** one holder. A token comes from a sequence and is never used twice; a write whose token is gone changes
//! nothing and says so.

use std::time::Duration;

use uuid::Uuid;

use crate::claim::micros;
use crate::gate::Conn;
use crate::suspects::CRASH_BOUND;
use crate::{Store, StoreError};

/// A lease that was taken or renewed so much later than it is now was dated by a clock that has gone back since.
const DATED_AHEAD: Duration = Duration::from_secs(5);

/// A lease in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// `publish`, `stage`, `reconcile` or `refresh`.
    pub kind: &'static str,
    /// The job, upload or account.
    pub subject: i64,
    /// The account it is for.
    pub account: i64,
    /// The fencing token.
    pub token: i64,
}

impl Lease {
    pub(crate) const fn lost(&self) -> StoreError {
        StoreError::LeaseLost {
            kind: self.kind,
            subject: self.subject,
        }
    }
}

/// What the scheduler took back from workers that died or stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Had surely not sent: back to their lanes.
    pub claimed: u64,
    /// Had perhaps sent: unknown now.
    pub sending: u64,
    /// Of the claimed ones, put aside after too many crashes.
    pub quarantined: u64,
}

/// Lanes in `$1` that are not in flight get the time of their earliest job; the statement runs with the lanes locked and
/// a snapshot younger than the locks, so no signal is missed (queues.md 5.1, pitfall 12). A lane whose job or account is
/// still leased, as after a job was moved to another account, waits for the end of that lease, and never asks at once.
pub(crate) const REST_LANES: &str = "-- rest_lanes
    update crier.lanes l
       set next_at = case when h.due is not null then greatest(h.due, l.not_before,
             (select greatest(k.expires_at, crier.now() + interval '1 second') from crier.leases k
               where k.kind = 'publish' and k.account_id = l.account_id)) end
      from (select a.account_id, (
        with recursive levels(priority) as (
          select max(j.priority) from crier.jobs_open j where j.account_id = a.account_id and j.state = 'scheduled' and j.held = 0
          union all
          select (select max(j.priority) from crier.jobs_open j where j.account_id = a.account_id and j.state = 'scheduled'
                  and j.held = 0 and j.priority < v.priority) from levels v where v.priority is not null
        )
        select min(first.due) from levels v cross join lateral (
          (select coalesce(j.next_attempt_at, j.run_at) as due from crier.jobs_open j
            where j.account_id = a.account_id and j.state = 'scheduled' and j.held = 0 and j.priority = v.priority
              and not exists (select 1 from crier.leases k where k.kind = 'publish' and k.subject = j.id)
            order by coalesce(j.next_attempt_at, j.run_at), j.id limit 1)
          union all
          (select greatest(f.due, k.expires_at, crier.now() + interval '1 second') from (
             select j.id, coalesce(j.next_attempt_at, j.run_at) as due from crier.jobs_open j
              where j.account_id = a.account_id and j.state = 'scheduled' and j.held = 0 and j.priority = v.priority
              order by coalesce(j.next_attempt_at, j.run_at), j.id limit 1) f
            join crier.leases k on k.kind = 'publish' and k.subject = f.id)) first) as due
        from unnest($1::bigint[]) as a(account_id)) h
     where l.account_id = h.account_id and not l.in_flight";

impl Store {
    /// Renews the leases of this worker by `ttl`; answers the tokens that still hold. The others are lost: stop their
    /// work at once.
    pub async fn renew(
        &self,
        worker: Uuid,
        tokens: &[i64],
        ttl: Duration,
    ) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- renew
            with held as (
              select kind, subject from crier.leases where token = any($2) and worker = $1 and expires_at > crier.now()
               order by kind, subject for update)
            update crier.leases l set claimed_at = crier.now(), expires_at = crier.now() + $3 * interval '1 microsecond'
              from held where l.kind = held.kind and l.subject = held.subject returning l.token",
        )
        .bind(worker)
        .bind(tokens)
        .bind(micros(ttl))
        .fetch_all(&self.pool)
        .await?)
    }

    /// The database's clock went back, as after a fail-over to a machine with another one: leases that were dated before end
    /// no later by the new clock than they would have, counted from now. A holder that lives has at least its time; what a
    /// dead one held comes free. Answers how many.
    pub async fn redate_leases(&self) -> Result<u64, StoreError> {
        Ok(sqlx::query(
            "-- redate_leases
            with ahead as materialized (
              select kind, subject from crier.leases where claimed_at > crier.now() + $1 * interval '1 microsecond'
               order by kind, subject for update skip locked)
            update crier.leases l set claimed_at = crier.now(), expires_at = crier.now() + (l.expires_at - l.claimed_at)
              from ahead a where l.kind = a.kind and l.subject = a.subject",
        )
        .bind(micros(DATED_AHEAD))
        .execute(&self.pool)
        .await?
        .rows_affected())
    }

    /// Takes back up to `limit` expired publishing leases. A worker that died in `claimed` has surely not sent; one that
    /// died in `sending` perhaps has, and its job becomes unknown. A lane or job that somebody has locked is left for the
    /// next call and keeps no other waiting.
    pub async fn expire_leases(&self, limit: i64) -> Result<Expired, StoreError> {
        let mut tx = self.pool.begin().await?;
        let candidates: Vec<i64> = sqlx::query_scalar(
            "-- expire_leases
            select account_id from crier.leases where kind = 'publish' and expires_at < crier.now()
             -- Any of them: those that are left because of a lock must not stand before the others for ever.
             order by random() limit $1",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if candidates.is_empty() {
            return Ok(Expired::default());
        }
        let lanes = lock_free_lanes(&mut tx, &candidates).await?;
        // Jobs after lanes, though without waiting: their leases are expired, so that no worker takes them meanwhile.
        let jobs: Vec<i64> = sqlx::query_scalar(
            "-- expire_leases: jobs
            select id from crier.jobs_open where id = any(array(
              select subject from crier.leases where kind = 'publish' and account_id = any($1) and expires_at < crier.now()))
             order by id for update skip locked",
        )
        .bind(&lanes)
        .fetch_all(&mut *tx)
        .await?;
        // With the lanes locked, look again: some may have been renewed or released meanwhile. A job that is gone or has
        // ended needs no lock.
        let dead: Vec<(i64, i64, String, Option<i64>)> = sqlx::query_as(
            "-- expire_leases
            delete from crier.leases l where l.kind = 'publish' and l.account_id = any($1) and l.expires_at < crier.now()
               and (l.subject = any($2) or not exists (select 1 from crier.jobs_open j where j.id = l.subject))
            returning l.subject, l.account_id, l.phase, l.attempt_id",
        )
        .bind(&lanes)
        .bind(&jobs)
        .fetch_all(&mut *tx)
        .await?;
        let claimed: Vec<i64> = dead
            .iter()
            .filter(|d| d.2 == "claimed")
            .map(|d| d.0)
            .collect();
        let sending: Vec<(i64, i64, Option<i64>)> = dead
            .iter()
            .filter(|d| d.2 == "sending")
            .map(|d| (d.0, d.1, d.3))
            .collect();
        let quarantined: Vec<i64> = sqlx::query_scalar(
            "-- expire_leases: crashed too often
            update crier.jobs set state = 'failed', crashes = crashes + 1, error = jsonb_build_object(
                'code', 'quarantined', 'title', 'workers died while they held this job',
                'detail', format('%s workers in a row died or stalled before anything was sent', crashes + 1), 'step', 'claim',
                'hint', format('look at the workers'' logs for job %s, then select crier.retry(%s)', id, id))
             where id = any($1) and state = 'scheduled' and crashes + 1 >= $2 returning id",
        )
        .bind(&claimed)
        .bind(CRASH_BOUND)
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query(
            "-- expire_leases: surely not sent
            update crier.jobs_open set crashes = crashes + 1 where id = any($1) and state = 'scheduled' and not id = any($2)",
        )
        .bind(&claimed)
        .bind(&quarantined)
        .execute(&mut *tx)
        .await?;
        // What kills whoever sends it is to be sent alone, too, and not for ever.
        sqlx::query(
            "-- expire_leases: perhaps sent
            update crier.jobs_open set crashes = crashes + 1 where id = any($1) and state = 'scheduled'",
        )
        .bind(sending.iter().map(|s| s.0).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        for (job, account, attempt) in &sending {
            crate::settle::make_unknown(
                &mut tx,
                *job,
                *account,
                *attempt,
                &serde_json::json!({
                    "code": "worker_lost", "title": "the worker died while it was sending", "step": "publish",
                    "detail": "the post may be on X; crier looks it up among the account's own posts",
                    "hint": "nothing to do unless it stays unknown; then `crier jobs settle`",
                }),
            )
            .await?;
        }
        free_lanes(&mut tx, &dead.iter().map(|d| d.1).collect::<Vec<_>>()).await?;
        tx.commit().await?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Expired {
            claimed: count(claimed.len()),
            sending: count(sending.len()),
            quarantined: count(quarantined.len()),
        })
    }
}

/// Locks lanes in account order, the first step of every release.
pub(crate) async fn lock_lanes(tx: &mut Conn, accounts: &[i64]) -> Result<(), StoreError> {
    sqlx::query("-- lock_lanes\nselect 1 from crier.lanes where account_id = any($1) order by account_id for update")
        .bind(accounts)
        .execute(tx)
        .await?;
    Ok(())
}

/// Locks those lanes that nobody else has locked, in account order; answers which.
pub(crate) async fn lock_free_lanes(
    tx: &mut Conn,
    accounts: &[i64],
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "-- lock_free_lanes
        select account_id from crier.lanes where account_id = any($1) order by account_id for update skip locked",
    )
    .bind(accounts)
    .fetch_all(tx)
    .await?)
}

/// Opens lanes as far as what is known of their accounts allows. They are locked already.
pub(crate) async fn open_lanes(tx: &mut Conn, accounts: &[i64]) -> Result<(), StoreError> {
    sqlx::query("-- open_lanes\nupdate crier.lanes set not_before = crier.lane_opens(account_id) where account_id = any($1)")
        .bind(accounts)
        .execute(&mut *tx)
        .await?;
    sqlx::query(REST_LANES).bind(accounts).execute(tx).await?;
    Ok(())
}

/// Lanes whose lease was just deleted may be claimed again. Freed from leases, not from jobs: a job that was deleted
/// meanwhile does not leave its lane closed.
pub(crate) async fn free_lanes(tx: &mut Conn, accounts: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "-- free_lanes\nupdate crier.lanes set in_flight = false where account_id = any($1)",
    )
    .bind(accounts)
    .execute(&mut *tx)
    .await?;
    sqlx::query(REST_LANES).bind(accounts).execute(tx).await?;
    Ok(())
}
