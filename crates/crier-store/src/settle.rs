//! From the intent to the outcome: the step to `sending`, and the five ways an attempt ends.
//!
//! **Invariant:** the attempt's row is committed before the create call leaves and its outcome after; the outcome, the
//! job, its lease, its lane and what X said of its limits change in one commit or not at all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::answer::Endpoint;
use crier_core::limit::{LimitClass, Window, believed, blocked_until};
use crier_core::price::Charge;
use serde_json::Value;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::claim::micros;
use crate::gate::Conn;
use crate::lease::{Lease, free_lanes, lock_lanes};
use crate::pauses::lock_lanes_of_app;
use crate::staging::media_margin;
use crate::{Store, StoreError};

/// Why an attempt did not publish; `error` is the form of the column `jobs.error`.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// Stable code.
    pub code: String,
    /// HTTP status, if X answered.
    pub http_status: Option<u16>,
    /// `{code, title, detail, step, hint}`.
    pub error: Value,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// X accepted the post.
    Published {
        /// Its id.
        post_id: String,
    },
    /// Put off without costing an attempt: a limit, media not ready, own shutdown.
    Snoozed {
        /// Not before; `None` is at once.
        until: Option<DateTime<Utc>>,
        /// Why.
        why: Why,
    },
    /// Costs an attempt; the job fails if it was the last one.
    Retry {
        /// How long from now by the database's clock.
        after: Duration,
        /// Why.
        why: Why,
    },
    /// Failed for good.
    Failed(Why),
    /// Perhaps on X: to be looked up, the first time after `look_after`.
    Unknown {
        /// X's read side needs time to show a new post.
        look_after: Duration,
        /// Why.
        why: Why,
    },
}

impl Store {
    /// The step to `sending`, right before the create call: proves in one commit that the lease holds for at least
    /// `margin`, that its media ids outlive the call, and that the job is still as it was read, and records the intent.
    /// Answers the attempt's id.
    pub async fn begin_sending(
        &self,
        lease: &Lease,
        revision: i32,
        margin: Duration,
        media_ids: &[String],
    ) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let worker: Option<uuid::Uuid> = sqlx::query_scalar(
            "-- begin_sending
            select worker from crier.leases where kind = 'publish' and subject = $1 and token = $2 and phase = 'claimed'
               and expires_at > crier.now() + $3 * interval '1 microsecond' for update",
        )
        .bind(lease.subject)
        .bind(lease.token)
        .bind(micros(margin))
        .fetch_optional(&mut *tx)
        .await?;
        let worker = worker.ok_or_else(|| lease.lost())?;
        let number: Option<i16> = sqlx::query_scalar(
            "-- begin_sending
            select attempts from crier.jobs_open where id = $1 and state = 'scheduled' and held = 0 and revision = $2 for no key update",
        )
        .bind(lease.subject)
        .bind(revision)
        .fetch_optional(&mut *tx)
        .await
        .map_err(|error| in_other_hands(lease.subject, error))?;
        let number = number.ok_or(StoreError::JobChanged { job: lease.subject })?;
        if !media_ids.is_empty() {
            let lasting: i64 = sqlx::query_scalar(
                "-- begin_sending: ids that outlive the call
                select count(*) from crier.media_uploads where job_id = $1 and state = 'ready' and media_id = any($2)
                   and expires_at > crier.now() + $3 * interval '1 microsecond'",
            )
            .bind(lease.subject)
            .bind(media_ids)
            .bind(micros(media_margin(margin)))
            .fetch_one(&mut *tx)
            .await?;
            if usize::try_from(lasting) != Ok(media_ids.len()) {
                return Err(StoreError::JobChanged { job: lease.subject });
            }
        }
        // Where commits need not reach the disk, this one does: an intent that a crash forgets is a second post.
        let attempt: i64 = sqlx::query_scalar(
            "-- begin_sending
            insert into crier.attempts (job_id, account_id, number, token, worker, step, sent_at, media_ids)
            values ($1, $2, $3, $4, $5, 'publish', crier.now(), $6)
            returning id, case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', true) end",
        )
        .bind(lease.subject)
        .bind(lease.account)
        .bind(number.saturating_add(1))
        .bind(lease.token)
        .bind(worker)
        .bind(media_ids)
        .fetch_one(&mut *tx)
        .await?;
        let fenced = sqlx::query(
            "-- begin_sending
            update crier.leases set phase = 'sending', attempt_id = $3 where kind = 'publish' and subject = $1 and token = $2",
        )
        .bind(lease.subject)
        .bind(lease.token)
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
        if fenced.rows_affected() != 1 {
            return Err(lease.lost());
        }
        tx.commit().await?;
        Ok(attempt)
    }

    /// Ends an attempt: ledger, job, lease, lane and limit windows in one commit. Answers when the job was to go out
    /// and when it was accepted, if it was published.
    pub async fn settle(
        &self,
        lease: &Lease,
        windows: &[Window],
        settlement: &Settlement,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
        self.settle_by(lease, Endpoint::CreatePost, windows, settlement, None)
            .await
    }

    /// The same for a post that went out by `endpoint`, each of which X limits apart; and what the call cost if it
    /// published, in the same commit.
    pub async fn settle_by(
        &self,
        lease: &Lease,
        endpoint: Endpoint,
        windows: &[Window],
        settlement: &Settlement,
        charge: Option<Charge>,
    ) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_lanes(&mut tx, &[lease.account]).await?;
        let held: Option<(uuid::Uuid, Option<i64>)> = sqlx::query_as(
            "-- settle
            delete from crier.leases where kind = 'publish' and subject = $1 and token = $2 returning worker, attempt_id",
        )
        .bind(lease.subject)
        .bind(lease.token)
        .fetch_optional(&mut *tx)
        .await?;
        let (worker, attempt) = held.ok_or_else(|| lease.lost())?;
        let was_sending = attempt.is_some();
        let attempt = finish_attempt(&mut tx, lease, worker, attempt, settlement).await?;
        let times = match settlement {
            Settlement::Published { post_id } => {
                Some(publish(&mut tx, lease.subject, lease.account, post_id, charge).await?)
            }
            Settlement::Snoozed { until, why } => {
                put_off(&mut tx, lease.subject, *until, None, &why.error).await?;
                None
            }
            Settlement::Retry { after, why } => {
                let failed = sqlx::query(
                    "-- settle: last attempt
                    update crier.jobs set state = 'failed', attempts = attempts + 1, error = $2
                     where id = $1 and state = 'scheduled' and attempts + 1 >= max_attempts",
                )
                .bind(lease.subject)
                .bind(&why.error)
                .execute(&mut *tx)
                .await?;
                if failed.rows_affected() == 0 {
                    put_off(&mut tx, lease.subject, None, Some(*after), &why.error).await?;
                }
                None
            }
            Settlement::Failed(why) => {
                sqlx::query("-- settle\nupdate crier.jobs set state = 'failed', attempts = attempts + 1, error = $2 where id = $1 and state = 'scheduled'")
                    .bind(lease.subject)
                    .bind(&why.error)
                    .execute(&mut *tx)
                    .await?;
                None
            }
            Settlement::Unknown { look_after, why } => {
                make_unknown(
                    &mut tx,
                    lease.subject,
                    lease.account,
                    Some(attempt),
                    &why.error,
                )
                .await?;
                // Whoever writes this lives.
                sqlx::query("-- settle\nupdate crier.jobs_open set crashes = 0 where id = $1 and crashes > 0")
                    .bind(lease.subject)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("-- settle\nupdate crier.reconciles set next_at = crier.now() + $2 * interval '1 microsecond' where job_id = $1")
                    .bind(lease.subject)
                    .bind(micros(*look_after))
                    .execute(&mut *tx)
                    .await?;
                None
            }
        };
        if was_sending {
            pause_with_others(&mut tx, lease.subject).await?;
        }
        let closing = closing(&mut tx, windows).await?;
        note_windows(&mut tx, lease.account, endpoint.label(), windows, &closing).await?;
        free_lanes(&mut tx, &[lease.account]).await?;
        tx.commit().await?;
        if let Some(until) = blocked(&closing, LimitClass::App)
            && let Err(error) = self.close_app(lease.account, until).await
        {
            // The outcome stands, and with it the window that closes each lane of the app when it is claimed.
            tracing::warn!(
                code = error.code(),
                "the lanes of an app whose limit is used up will be closed one by one: {error}"
            );
        }
        Ok(times)
    }

    /// Closes every lane of the account's app until `until`, so that nobody tries them one by one. A commit of its own: it
    /// locks many lanes, and locks are taken in account order.
    async fn close_app(&self, account: i64, until: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let lanes = lock_lanes_of_app(&mut tx, account).await?;
        sqlx::query(
            "-- close_app
            update crier.apps p set blocked_until = greatest(p.blocked_until, $2)
              from crier.accounts a where a.id = $1 and p.id = a.app_id",
        )
        .bind(account)
        .bind(until)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "-- close_app
            update crier.lanes set not_before = greatest(not_before, $2),
                   next_at = case when next_at is not null then greatest(next_at, $2) end
             where account_id = any($1)",
        )
        .bind(&lanes)
        .bind(until)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Somebody ended the job while its row was waited for (40001: the row moved to its final partition), or holds it in an
/// open transaction (55P03: no lock in time). Nothing was sent: the job is claimed anew.
fn in_other_hands(job: i64, error: sqlx::Error) -> StoreError {
    let error = StoreError::from(error);
    match error.sqlstate().as_deref() {
        Some("40001" | "55P03") => StoreError::JobChanged { job },
        Some(_) | None => error,
    }
}

/// Closes the ledger's row of this attempt, or writes one for an attempt that ended before anything was sent.
async fn finish_attempt(
    tx: &mut Conn,
    lease: &Lease,
    worker: uuid::Uuid,
    attempt: Option<i64>,
    settlement: &Settlement,
) -> Result<i64, StoreError> {
    let (outcome, why) = match settlement {
        Settlement::Published { .. } => ("published", None),
        Settlement::Snoozed { why, .. } => ("snoozed", Some(why)),
        Settlement::Retry { why, .. } => ("retry", Some(why)),
        Settlement::Failed(why) => ("failed", Some(why)),
        Settlement::Unknown { why, .. } => ("unknown", Some(why)),
    };
    let code = why.map(|w| w.code.as_str());
    let status = why
        .and_then(|w| w.http_status)
        .and_then(|s| i16::try_from(s).ok());
    let answer = why.map(|w| &w.error);
    Ok(match attempt {
        Some(id) => {
            sqlx::query_scalar(
                "-- finish_attempt
                update crier.attempts set outcome = $2, code = $3, http_status = $4, answer = $5, finished_at = crier.now()
                 where id = $1 and outcome is null returning id",
            )
            .bind(id)
            .bind(outcome)
            .bind(code)
            .bind(status)
            .bind(answer)
            .fetch_one(tx)
            .await?
        }
        None => {
            sqlx::query_scalar(
                "-- finish_attempt
                insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, code, http_status, answer, finished_at)
                select $1, $2, coalesce((select attempts + 1 from crier.jobs_open where id = $1), 1), $3, $4, 'publish', $5, $6, $7, $8, crier.now()
                returning id",
            )
            .bind(lease.subject)
            .bind(lease.account)
            .bind(lease.token)
            .bind(worker)
            .bind(outcome)
            .bind(code)
            .bind(status)
            .bind(answer)
            .fetch_one(tx)
            .await?
        }
    })
}

/// The job is on X: said once, by two unique keys. What the call cost is kept with it, and a limit without a stated end
/// is over.
pub(crate) async fn publish(
    tx: &mut Conn,
    job: i64,
    account: i64,
    post_id: &str,
    charge: Option<Charge>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), StoreError> {
    sqlx::query(
        "-- publish
        with cost as (
          insert into crier.cost_deltas (app_id, account_id, kind, calls, micro_usd)
          select coalesce(a.app_id, 0), a.id, $4, $5, $6 from crier.accounts a where a.id = $3 and $4::text is not null
        ), passed as (
          delete from crier.limit_windows where class = 'account' and owner_id = $3
             and endpoint in ('POST /2/tweets', 'POST /1.1/statuses/update_with_media') and length = 'unstated' and resets_at <= crier.now())
        insert into crier.posts (post_id, job_id, account_id, published_at) values ($1, $2, $3, crier.now())",
    )
    .bind(post_id)
    .bind(job)
    .bind(account)
    .bind(charge.map(|charge| charge.kind.as_str()))
    .bind(charge.map(|charge| charge.calls))
    .bind(charge.map(|charge| charge.micro_usd))
    .execute(&mut *tx)
    .await
    .map_err(|error| taken(error, post_id))?;
    // The attempt that made a job unknown is counted already.
    let times = sqlx::query_as(
        "-- publish
        update crier.jobs set state = 'published', attempts = attempts + (state <> 'unknown')::int, post_id = $2, published_at = crier.now(),
               error = null, warning = null, next_attempt_at = null
         where id = $1 and state in ('scheduled', 'unknown', 'paused') returning crier.readable(run_at), published_at",
    )
    .bind(job)
    .bind(post_id)
    .fetch_optional(&mut *tx)
    .await?;
    let times = times.ok_or(StoreError::JobChanged { job })?;
    // A thread goes on at once rather than at the scheduler's next look.
    sqlx::query(
        "-- publish
        select pg_notify('crier_scheduler', '')
         where current_setting('crier.notify', true) is distinct from 'off'
           and exists (select 1 from crier.jobs_open w where w.after = $1)",
    )
    .bind(job)
    .execute(tx)
    .await?;
    Ok(times)
}

fn taken(error: sqlx::Error, post_id: &str) -> StoreError {
    let said = error.as_database_error();
    if said.and_then(|said| said.constraint()) == Some("posts_pkey") {
        return StoreError::PostTaken {
            post_id: post_id.to_owned(),
        };
    }
    error.into()
}

/// The job may be on X: it leaves its lane and is looked up.
pub(crate) async fn make_unknown(
    tx: &mut Conn,
    job: i64,
    account: i64,
    attempt: Option<i64>,
    error: &Value,
) -> Result<(), StoreError> {
    sqlx::query("-- make_unknown\nupdate crier.jobs_open set state = 'unknown', attempts = attempts + 1, error = $2 where id = $1 and state = 'scheduled'")
        .bind(job)
        .bind(error)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "-- make_unknown
        insert into crier.reconciles (job_id, account_id, attempt_id, since, next_at, duplicate_seen)
        select $1, $2, a.id, coalesce(a.sent_at, a.started_at), crier.now(), coalesce($4::jsonb->>'code' = 'duplicate', false)
          from crier.attempts a where a.id = $3
        on conflict (job_id) do update set next_at = crier.now(), looks = 0, crashes = 0, attempt_id = excluded.attempt_id,
          since = excluded.since, duplicate_seen = excluded.duplicate_seen",
    )
    .bind(job)
    .bind(account)
    .bind(attempt)
    .bind(error)
    .execute(&mut *tx)
    .await?;
    sqlx::query("-- make_unknown\nupdate crier.attempts set outcome = 'unknown', code = $2, answer = $3, finished_at = crier.now() where id = $1 and outcome is null")
        .bind(attempt)
        .bind(error.get("code").and_then(Value::as_str))
        .bind(error)
        .execute(tx)
        .await?;
    Ok(())
}

async fn put_off(
    tx: &mut Conn,
    job: i64,
    until: Option<DateTime<Utc>>,
    costing: Option<Duration>,
    error: &Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "-- put_off
        update crier.jobs_open set error = $4, crashes = 0, attempts = attempts + ($3::bigint is not null)::int,
               next_attempt_at = coalesce(crier.now() + $3 * interval '1 microsecond', $2, next_attempt_at)
         where id = $1 and state in ('scheduled', 'paused')",
    )
    .bind(job)
    .bind(until)
    .bind(costing.map(micros))
    .bind(error)
    .execute(tx)
    .await?;
    Ok(())
}

/// A job whose campaign or recurring post was paused while it was out of hand, being sent or looked up, waits with it.
pub(crate) async fn pause_with_others(tx: &mut Conn, job: i64) -> Result<(), StoreError> {
    sqlx::query(
        "-- pause_with_others
        update crier.jobs_open j set state = 'paused'
         where j.id = $1 and j.state = 'scheduled'
           and (exists (select 1 from crier.campaigns c where c.name = j.campaign and c.paused)
             or exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused))",
    )
    .bind(job)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) fn blocked(windows: &[Window], class: LimitClass) -> Option<DateTime<Utc>> {
    let mine: Vec<Window> = windows
        .iter()
        .copied()
        .filter(|w| w.class == class)
        .collect();
    blocked_until(&mine)
}

/// Those of the windows that close something and whose reset can be true by the database's clock.
pub(crate) async fn closing(tx: &mut Conn, windows: &[Window]) -> Result<Vec<Window>, StoreError> {
    let used_up: Vec<Window> = windows
        .iter()
        .filter(|w| w.is_exhausted())
        .copied()
        .collect();
    if used_up.is_empty() {
        return Ok(used_up);
    }
    let now = sqlx::query_scalar("-- closing\nselect crier.now()")
        .fetch_one(tx)
        .await?;
    Ok(believed(&used_up, now))
}

/// Keeps what X's headers said, for every worker; a used-up window of the account or of its app closes its lane until the
/// reset. The lane is locked already.
async fn note_windows(
    tx: &mut Conn,
    account: i64,
    endpoint: &str,
    windows: &[Window],
    closing: &[Window],
) -> Result<(), StoreError> {
    save_windows(tx, account, endpoint, windows).await?;
    if let Some(until) = blocked_until(closing) {
        sqlx::query("-- note_windows\nupdate crier.lanes set not_before = greatest(not_before, $2) where account_id = $1")
            .bind(account)
            .bind(until)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Keeps what X's headers said of one endpoint, if it can be true: a later one in its place would never be believed.
pub(crate) async fn save_windows(
    tx: &mut Conn,
    account: i64,
    endpoint: &str,
    windows: &[Window],
) -> Result<(), StoreError> {
    for window in windows {
        save_window(account, endpoint, window)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// The statement for one of them.
pub(crate) fn save_window<'q>(
    account: i64,
    endpoint: &'q str,
    window: &Window,
) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(
        "-- save_window
        insert into crier.limit_windows as w (class, owner_id, endpoint, length, call_limit, remaining, resets_at)
        select $1, case when $1 = 'app' then a.app_id else a.id end, $3, $4, $5, $6, $7 from crier.accounts a
         where a.id = $2 and ($1 = 'account' or a.app_id is not null)
           and $7 <= crier.now() + $8 * interval '1 second'
        on conflict (class, owner_id, endpoint, length) do update
          set call_limit = excluded.call_limit, resets_at = excluded.resets_at, updated_at = crier.now(),
              -- Answers overtake each other: within one window the lower figure is the later one.
              remaining = case when w.resets_at = excluded.resets_at then least(w.remaining, excluded.remaining) else excluded.remaining end
          where w.resets_at <= excluded.resets_at",
    )
    .bind(window.class.as_str())
    .bind(account)
    .bind(endpoint)
    .bind(window.length.as_str())
    .bind(window.limit)
    .bind(window.remaining)
    .bind(window.resets_at)
    .bind(i64::from(window.length.most_s()))
}
