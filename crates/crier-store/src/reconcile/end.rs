//! How the search for a job's post ends: found, absent, refused as a duplicate, put off, or left to a person.
//!
//! **Invariant:** a search is written to under its lease only, and it ends in one commit that also ends the lease: the
//! post is entered under its unique key, or the job may be sent again, or a person decides. Nothing else makes an
//! unknown job publishable.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::price::Charge;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::claim::micros;
use crate::gate::Conn;
use crate::lease::Lease;
use crate::settle::{pause_with_others, publish};
use crate::suspects::CRASH_BOUND;
use crate::{Store, StoreError};

/// What became of a job whose post is not on X.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It is scheduled again.
    Again,
    /// It had no attempt left.
    Failed,
}

impl Store {
    /// The post was found: the job is published, and its call is charged. Answers when it was to go out and when that was
    /// written. A post that another job has is [`StoreError::PostTaken`], and nothing is changed.
    pub async fn settle_found(
        &self,
        lease: &Lease,
        post_id: &str,
        how: &str,
        charge: Option<Charge>,
    ) -> Result<(DateTime<Utc>, DateTime<Utc>), StoreError> {
        let mut tx = self.pool.begin().await?;
        let worker = end_search(&mut tx, lease).await?.worker;
        let said = json!({"code": how, "title": "the post was found on X", "detail": post_id, "step": "reconcile", "hint": ""});
        record(&mut tx, lease, worker, "published", how, &said).await?;
        let times = publish(&mut tx, lease.subject, lease.account, post_id, charge).await?;
        tx.commit().await?;
        Ok(times)
    }

    /// The post is not on X: the job is sent again, unless no attempt is left. A job whose campaign was paused meanwhile
    /// waits with it.
    pub async fn settle_absent(&self, lease: &Lease) -> Result<Absent, StoreError> {
        let mut tx = self.pool.begin().await?;
        let search = end_search(&mut tx, lease).await?;
        let detail = format!(
            "X did not show it among the account's own posts in {} looks",
            i32::from(search.looks) + 1
        );
        let error = |hint: &str| json!({"code": "unknown_absent", "title": "the post is not on X", "detail": detail, "step": "reconcile", "hint": hint});
        let again = error("nothing to do: crier sends it again");
        let retry = format!(
            "look at the account, then select crier.retry({})",
            lease.subject
        );
        let over = error(&retry);
        let left: Option<(bool, i16)> = sqlx::query_as(
            "-- settle_absent\nselect attempts < max_attempts, crashes from crier.jobs_open where id = $1 and state = 'unknown' for no key update",
        )
        .bind(lease.subject)
        .fetch_optional(&mut *tx)
        .await?;
        let (is_left, crashes) = left.ok_or(StoreError::JobChanged { job: lease.subject })?;
        let absent = if crashes >= CRASH_BOUND {
            let over = json!({
                "code": "quarantined", "title": "workers died while they sent this job", "step": "publish",
                "detail": format!("{crashes} workers in a row died or stalled over it; the post is not on X"),
                "hint": format!("look at the workers' logs for job {0}, then select crier.retry({0})", lease.subject),
            });
            record(
                &mut tx,
                lease,
                search.worker,
                "failed",
                "quarantined",
                &over,
            )
            .await?;
            fail(&mut tx, lease.subject, &over).await?;
            Absent::Failed
        } else if is_left {
            record(
                &mut tx,
                lease,
                search.worker,
                "retry",
                "unknown_absent",
                &again,
            )
            .await?;
            reschedule(&mut tx, lease.subject, &again).await?;
            Absent::Again
        } else {
            record(
                &mut tx,
                lease,
                search.worker,
                "failed",
                "unknown_absent",
                &over,
            )
            .await?;
            fail(&mut tx, lease.subject, &over).await?;
            Absent::Failed
        };
        tx.commit().await?;
        Ok(absent)
    }

    /// X has had this text before, and not from this job: it fails in X's words.
    pub async fn settle_duplicate(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let search = end_search(&mut tx, lease).await?;
        let said: Option<Value> = sqlx::query_scalar(
            "-- settle_duplicate\nselect answer from crier.attempts where id = $1",
        )
        .bind(search.attempt_id)
        .fetch_optional(&mut *tx)
        .await?
        .flatten();
        let mut error = said.unwrap_or_else(|| json!({"title": "", "detail": ""}));
        if let Some(error) = error.as_object_mut() {
            error.insert("code".into(), json!("duplicate"));
            error.insert("step".into(), json!("publish"));
            error.insert(
                "hint".into(),
                json!(
                    "the account has posted this text before: change it and insert the post again"
                ),
            );
        }
        record(&mut tx, lease, search.worker, "failed", "duplicate", &error).await?;
        fail(&mut tx, lease.subject, &error).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends this look; the next one is due `after` from now by the database's clock. `counted`: X showed the posts.
    pub async fn look_again(
        &self,
        lease: &Lease,
        after: Duration,
        counted: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        end_lease(&mut tx, lease).await?;
        let search = sqlx::query(
            "-- look_again
            update crier.reconciles r set looks = looks + case when $3 then 1 else 0 end, crashes = 0,
                   next_at = crier.now() + case
                     when not $3 and exists (select 1 from crier.accounts a where a.id = r.account_id and a.status = 'needs_login')
                     then interval '0' else $2 * interval '1 microsecond' end,
                   looked_at = case when $3 then crier.now() else looked_at end,
                   unread = case when $3 then 0 else unread end, fault = case when not $3 then fault end
             where job_id = $1 and next_at is null",
        )
        .bind(lease.subject)
        .bind(micros(after))
        .bind(counted)
        .execute(&mut *tx)
        .await?;
        if search.rows_affected() != 1 {
            return Err(lease.lost());
        }
        if counted {
            warn(&mut tx, lease.subject, None).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Ends a look in which X did not show the posts, and says why: `error` is the form of `jobs.error`. It proves nothing
    /// and is not counted. From the second in a row on the job's row has it as a warning.
    pub async fn look_failed(
        &self,
        lease: &Lease,
        after: Duration,
        error: &Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        end_lease(&mut tx, lease).await?;
        let unread: Option<i16> = sqlx::query_scalar(
            "-- look_failed
            update crier.reconciles r set fault = $3::jsonb, crashes = 0, next_at = crier.now() + case
                     when exists (select 1 from crier.accounts a where a.id = r.account_id and a.status = 'needs_login')
                     then interval '0' else $2 * interval '1 microsecond' end,
                   unread = case when fault ->> 'code' is not distinct from $3::jsonb ->> 'code' then least(unread, 9999) + 1 else 1 end
             where job_id = $1 and next_at is null returning unread",
        )
        .bind(lease.subject)
        .bind(micros(after))
        .bind(error)
        .fetch_optional(&mut *tx)
        .await?;
        if unread.ok_or_else(|| lease.lost())? > 1 {
            warn(&mut tx, lease.subject, Some(error)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Nobody but a person can tell: the job stays unknown, says why and what to do, and is not looked up again.
    /// `error` is the form of `jobs.error`; its hint is replaced by the command that ends the job.
    pub async fn leave_to_operator(&self, lease: &Lease, error: &Value) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let worker = end_lease(&mut tx, lease).await?;
        let search = sqlx::query(
            "-- leave_to_operator\nupdate crier.reconciles set looks = looks + 1, looked_at = crier.now() where job_id = $1 and next_at is null",
        )
        .bind(lease.subject)
        .execute(&mut *tx)
        .await?;
        if search.rows_affected() != 1 {
            return Err(lease.lost());
        }
        let mut error = error.clone();
        let code = error
            .get("code")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned();
        if let Some(error) = error.as_object_mut() {
            let hint = format!(
                "look at the account on X, then `crier jobs settle {} --published POST_ID`, `--retry` or `--absent`",
                lease.subject
            );
            error.insert("hint".into(), json!(hint));
        }
        record(&mut tx, lease, worker, "unknown", &code, &error).await?;
        one_job(
            &sqlx::query(
                "-- leave_to_operator\nupdate crier.jobs_open set error = $2 where id = $1 and state = 'unknown'",
            )
            .bind(lease.subject)
            .bind(&error)
            .execute(&mut *tx)
            .await?,
            lease.subject,
        )?;
        tx.commit().await?;
        Ok(())
    }
}

/// What a search that ends leaves behind.
#[derive(sqlx::FromRow)]
struct Ended {
    worker: Uuid,
    attempt_id: i64,
    looks: i16,
}

/// Ends a look: the lease goes, or nothing is written.
async fn end_lease(tx: &mut Conn, lease: &Lease) -> Result<Uuid, StoreError> {
    sqlx::query_scalar(
        "-- end_lease\ndelete from crier.leases where kind = 'reconcile' and subject = $1 and token = $2 returning worker",
    )
    .bind(lease.subject)
    .bind(lease.token)
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| lease.lost())
}

/// Ends a search: lease and search go together, or nothing is written.
async fn end_search(tx: &mut Conn, lease: &Lease) -> Result<Ended, StoreError> {
    let worker = end_lease(tx, lease).await?;
    sqlx::query_as(
        "-- end_search\ndelete from crier.reconciles where job_id = $1 and next_at is null returning $2::uuid as worker, attempt_id, looks",
    )
    .bind(lease.subject)
    .bind(worker)
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| lease.lost())
}

/// One row of the ledger for what the search found.
pub(super) async fn record(
    tx: &mut Conn,
    lease: &Lease,
    worker: Uuid,
    outcome: &str,
    code: &str,
    answer: &Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "-- record
        insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, code, answer, finished_at)
        select $1, $2, coalesce((select greatest(attempts, 1) from crier.jobs_open where id = $1), 1), $3, $4, 'reconcile', $5, $6, $7, crier.now()",
    )
    .bind(lease.subject)
    .bind(lease.account)
    .bind(lease.token)
    .bind(worker)
    .bind(outcome)
    .bind(code)
    .bind(answer)
    .execute(tx)
    .await?;
    Ok(())
}

/// An unknown job goes back to its lane, or waits with its campaign or recurring post if that was paused meanwhile.
pub(super) async fn reschedule(tx: &mut Conn, job: i64, error: &Value) -> Result<(), StoreError> {
    one_job(
        &sqlx::query(
            "-- reschedule\nupdate crier.jobs_open set state = 'scheduled', error = $2, warning = null, next_attempt_at = null where id = $1 and state = 'unknown'",
        )
        .bind(job)
        .bind(error)
        .execute(&mut *tx)
        .await?,
        job,
    )?;
    pause_with_others(tx, job).await
}

pub(super) async fn fail(tx: &mut Conn, job: i64, error: &Value) -> Result<(), StoreError> {
    one_job(
        &sqlx::query("-- fail\nupdate crier.jobs set state = 'failed', error = $2, warning = null where id = $1 and state = 'unknown'")
            .bind(job)
            .bind(error)
            .execute(tx)
            .await?,
        job,
    )
}

/// What the job's row says of looks that fail; nothing is written that is there already.
async fn warn(tx: &mut Conn, job: i64, warning: Option<&Value>) -> Result<(), StoreError> {
    sqlx::query(
        "-- warn
        update crier.jobs_open set warning = $2::jsonb
         where id = $1 and state = 'unknown' and warning ->> 'code' is distinct from $2::jsonb ->> 'code'",
    )
    .bind(job)
    .bind(warning)
    .execute(tx)
    .await?;
    Ok(())
}

fn one_job(done: &sqlx::postgres::PgQueryResult, job: i64) -> Result<(), StoreError> {
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::JobChanged { job })
    }
}
