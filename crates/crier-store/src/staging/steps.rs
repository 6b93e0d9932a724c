//! The steps of one upload in hand, each under its lease.
//!
//! **Invariant:** a segment counts only after X has acknowledged it and this is committed, so a worker that takes over
//! sends again at most what was in flight. **Invariant:** a step changes its own row only while its job is open.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ENDPOINTS, NewSession, Upload, lock_uploads, release_if_ready};
use crate::claim::micros;
use crate::gate::Conn;
use crate::settle::Why;
use crate::{Store, StoreError};

/// Life of a media id in seconds where X does not say: half of the day that X's documents name, since part of it may
/// have passed before the answer without a figure came (x-api.md 3.7).
const ID_LIFE_S: u64 = 43_200;
/// Life of a session in seconds where X does not say; its documents show fifteen days.
const SESSION_LIFE_S: u64 = 86_400;
/// Seconds that an upload rests whose job's row somebody holds.
const HELD_WAIT_S: i32 = 5;

/// Seconds that a life of this many seconds can be relied on: ten minutes less, at most a quarter less. A minute at
/// least: an id that is dead at birth must not make a file go round and round.
fn usable(life_s: u64) -> i64 {
    let life_s = life_s.max(80);
    i64::try_from(life_s - (life_s / 4).min(600)).unwrap_or(i64::MAX)
}

impl Store {
    /// Keeps a session that X has opened, before its first segment leaves.
    pub async fn save_session(
        &self,
        upload: &Upload,
        session: &NewSession,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let saved = sqlx::query(
            "-- save_session
            with held as (
              update crier.leases set expires_at = crier.now() + $3 * interval '1 microsecond'
               where kind = 'stage' and subject = $1 and token = $2 and expires_at > crier.now() returning subject)
            update crier.media_uploads u set state = 'uploading', media_id = $4, media_type = $5, category = $6, total_bytes = $7,
                   file_stamp = $8, segment_bytes = $9, segments_done = 0,
                   expires_at = crier.now() + $10 * interval '1 second', updated_at = crier.now()
              from held where u.id = held.subject and exists (select 1 from crier.jobs_open j where j.id = u.job_id)",
        )
        .bind(upload.lease.subject)
        .bind(upload.lease.token)
        .bind(micros(ttl))
        .bind(&session.media_id)
        .bind(&session.media_type)
        .bind(&session.category)
        .bind(session.total_bytes)
        .bind(&session.file_stamp)
        .bind(session.segment_bytes)
        .bind(usable(session.expires_in_s.unwrap_or(SESSION_LIFE_S)))
        .execute(&self.pool)
        .await?;
        one(upload, saved.rows_affected())
    }

    /// X takes segments of this size of the account, and found larger ones too large. The next uploads begin so.
    pub async fn note_segment_bytes(&self, account: i64, bytes: i32) -> Result<(), StoreError> {
        sqlx::query(
            "-- note_segment_bytes\nupdate crier.accounts set segment_bytes = $2, segment_noted_at = crier.now() where id = $1",
        )
        .bind(account)
        .bind(bytes)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// X has acknowledged every segment below `done` of this session. Renews the lease, and answers until when a limit
    /// that any worker saw forbids the next one.
    pub async fn segment_done(
        &self,
        upload: &Upload,
        media_id: &str,
        done: i32,
        ttl: Duration,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let seen: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
            "-- segment_done
            with held as (
              update crier.leases set expires_at = crier.now() + $3 * interval '1 microsecond'
               where kind = 'stage' and subject = $1 and token = $2 and expires_at > crier.now() returning subject)
            update crier.media_uploads u set segments_done = greatest(u.segments_done, $5), updated_at = crier.now()
              from held where u.id = held.subject and u.media_id = $4
               and exists (select 1 from crier.jobs_open j where j.id = u.job_id)
            returning (select max(w.resets_at) from crier.limit_windows w
                        where w.class = 'account' and w.owner_id = u.account_id and w.endpoint = $6
                          and w.remaining <= 0 and w.resets_at > crier.now())",
        )
        .bind(upload.lease.subject)
        .bind(upload.lease.token)
        .bind(micros(ttl))
        .bind(media_id)
        .bind(done)
        .bind(ENDPOINTS[1])
        .fetch_optional(&self.pool)
        .await?;
        seen.ok_or_else(|| upload.lease.lost())
    }

    /// Every segment is acknowledged: finalize is about to be sent, and from now on may have been.
    pub async fn finalizing(&self, upload: &Upload, ttl: Duration) -> Result<(), StoreError> {
        let saved = sqlx::query(
            "-- finalizing
            with held as (
              update crier.leases set expires_at = crier.now() + $3 * interval '1 microsecond'
               where kind = 'stage' and subject = $1 and token = $2 and expires_at > crier.now() returning subject)
            update crier.media_uploads u set state = 'processing', updated_at = crier.now()
              from held where u.id = held.subject and exists (select 1 from crier.jobs_open j where j.id = u.job_id)",
        )
        .bind(upload.lease.subject)
        .bind(upload.lease.token)
        .bind(micros(ttl))
        .execute(&self.pool)
        .await?;
        one(upload, saved.rows_affected())
    }

    /// The file is ready to be posted, for `expires_in_s` seconds. Releases the job if it was the last one; answers
    /// whether it was.
    pub async fn upload_ready(
        &self,
        upload: &Upload,
        expires_in_s: Option<u64>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_uploads(&mut tx, upload.job).await?;
        end_lease(&mut tx, upload).await?;
        // Its next time is the end of its use.
        let ready = sqlx::query(
            "-- upload_ready
            update crier.media_uploads set state = 'ready', error = null, crashes = 0, updated_at = crier.now(),
                   expires_at = crier.now() + $2 * interval '1 second', next_at = crier.now() + $2 * interval '1 second'
             where id = $1",
        )
        .bind(upload.lease.subject)
        .bind(usable(expires_in_s.unwrap_or(ID_LIFE_S)))
        .execute(&mut *tx)
        .await?;
        one(upload, ready.rows_affected())?;
        tx.commit().await?;
        // A commit of its own: whoever holds the job's row must not undo an upload. The sweep comes back to the job.
        match self.release_job(upload.job).await {
            Ok(released) => Ok(released),
            Err(error) => {
                tracing::debug!(
                    job = upload.job,
                    code = error.code(),
                    "released a little later: {error}"
                );
                Ok(false)
            }
        }
    }

    async fn release_job(&self, job: i64) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_uploads(&mut tx, job).await?;
        let released = release_if_ready(&mut tx, job).await?;
        tx.commit().await?;
        Ok(released)
    }

    /// The file can never be posted: the job ends as failed with this reason, and its other uploads are dropped. While
    /// somebody holds the job's row, the upload is handed back, to come to the same end a little later.
    pub async fn upload_failed(&self, upload: &Upload, why: &Why) -> Result<(), StoreError> {
        match self.try_upload_failed(upload, why).await {
            Err(error) if is_held(&error) => self.hand_back(upload, HELD_WAIT_S).await,
            other => other,
        }
    }

    async fn try_upload_failed(&self, upload: &Upload, why: &Why) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_uploads(&mut tx, upload.job).await?;
        let worker = end_lease(&mut tx, upload).await?;
        note_attempt(&mut tx, upload, worker, "failed", why).await?;
        fail_job(&mut tx, upload.job, upload.lease.subject, &why.error).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts the upload off until `until`. If it costs an attempt and was the last one of a job whose time has come, the
    /// job fails: answers true then. Before its time a job is not given up for what may pass. While somebody holds the
    /// job's row, the upload is handed back and costs nothing.
    pub async fn put_off_upload(
        &self,
        upload: &Upload,
        until: DateTime<Utc>,
        later: &PutOff<'_>,
    ) -> Result<bool, StoreError> {
        match self.try_put_off(upload, until, later).await {
            Err(error) if is_held(&error) => {
                self.hand_back(upload, HELD_WAIT_S).await?;
                Ok(false)
            }
            other => other,
        }
    }

    async fn try_put_off(
        &self,
        upload: &Upload,
        until: DateTime<Utc>,
        later: &PutOff<'_>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_uploads(&mut tx, upload.job).await?;
        let worker = end_lease(&mut tx, upload).await?;
        let attempts: Option<i16> = sqlx::query_scalar(
            "-- put_off_upload
            update crier.media_uploads set next_at = $2, attempts = attempts + $3::int::smallint, error = $4, crashes = 0,
                   state = case when $5 then 'waiting' else state end,
                   media_id = case when not $5 then media_id end, file_stamp = case when not $5 then file_stamp end,
                   expires_at = case when not $5 then expires_at end,
                   segments_done = case when $5 then 0 else segments_done end,
                   updated_at = crier.now()
             where id = $1 returning attempts",
        )
        .bind(upload.lease.subject)
        .bind(until)
        .bind(i32::from(later.costs_attempt))
        .bind(&later.why.error)
        .bind(later.new_session)
        .fetch_optional(&mut *tx)
        .await?;
        let attempts = attempts.ok_or_else(|| upload.lease.lost())?;
        let mut last = false;
        if later.costs_attempt {
            last = sqlx::query_scalar(
                "-- put_off_upload: last attempt
                select $2 >= max_attempts and run_at <= crier.now() from crier.jobs_open where id = $1",
            )
            .bind(upload.job)
            .bind(attempts)
            .fetch_optional(&mut *tx)
            .await?
            .unwrap_or(false);
            let outcome = if last { "failed" } else { "retry" };
            note_attempt(&mut tx, upload, worker, outcome, later.why).await?;
        }
        if last {
            fail_job(&mut tx, upload.job, upload.lease.subject, &later.why.error).await?;
        } else {
            sqlx::query(
                "-- put_off_upload
                update crier.jobs_open set error = case when $3 then error else $2 end, warning = case when $3 then $2 else warning end
                 where id = $1 and state in ('scheduled', 'paused') and held & 1 <> 0
                   and $2 is distinct from case when $3 then warning else error end",
            )
            .bind(upload.job)
            .bind(&later.why.error)
            .bind(later.as_warning)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(last)
    }

    /// Gives the upload back as it stands, for anybody to go on with at once.
    pub async fn release_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.hand_back(upload, 0).await
    }

    async fn hand_back(&self, upload: &Upload, after_s: i32) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        end_lease(&mut tx, upload).await?;
        let freed = sqlx::query("-- hand_back\nupdate crier.media_uploads set next_at = crier.now() + $2 * interval '1 second', crashes = 0, updated_at = crier.now() where id = $1")
            .bind(upload.lease.subject)
            .bind(after_s)
            .execute(&mut *tx)
            .await?;
        one(upload, freed.rows_affected())?;
        tx.commit().await?;
        Ok(())
    }
}

/// How and why an upload is put off.
#[derive(Debug, Clone, Copy)]
pub struct PutOff<'a> {
    /// Why, in the form of `jobs.error`.
    pub why: &'a Why,
    /// It counts as a failed attempt; a limit, a file not there yet or a shutdown does not.
    pub costs_attempt: bool,
    /// What X has of it is forgotten: the next attempt begins anew.
    pub new_session: bool,
    /// Told as the job's warning: it may be gone before its time. Otherwise as its error.
    pub as_warning: bool,
}

/// Whether somebody held a row that the statement needed for too long, or ended the job while it was waited for.
pub(super) fn is_held(error: &StoreError) -> bool {
    matches!(
        error.sqlstate().as_deref(),
        Some("55P03" | "40001" | "40P01")
    )
}

fn one(upload: &Upload, changed: u64) -> Result<(), StoreError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(upload.lease.lost())
    }
}

/// Proves the lease and gives it back; answers whose it was.
async fn end_lease(tx: &mut Conn, upload: &Upload) -> Result<uuid::Uuid, StoreError> {
    let worker: Option<uuid::Uuid> = sqlx::query_scalar(
        "-- end_stage_lease\ndelete from crier.leases where kind = 'stage' and subject = $1 and token = $2 returning worker",
    )
    .bind(upload.lease.subject)
    .bind(upload.lease.token)
    .fetch_optional(tx)
    .await?;
    worker.ok_or_else(|| upload.lease.lost())
}

/// What happened, in the ledger that people read.
async fn note_attempt(
    tx: &mut Conn,
    upload: &Upload,
    worker: uuid::Uuid,
    outcome: &str,
    why: &Why,
) -> Result<(), StoreError> {
    sqlx::query(
        "-- note_attempt
        insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, code, http_status, answer, finished_at)
        values ($1, $2, $3, $4, $5, 'media', $6, $7, $8, $9, crier.now())",
    )
    .bind(upload.job)
    .bind(upload.lease.account)
    .bind(upload.attempts.saturating_add(1))
    .bind(upload.lease.token)
    .bind(worker)
    .bind(outcome)
    .bind(&why.code)
    .bind(why.http_status.and_then(|s| i16::try_from(s).ok()))
    .bind(&why.error)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends the job for the sake of one of its files, unless an edit has changed that file meanwhile: then the row waits to
/// be planned anew; or its create call is in flight: then it waits for the outcome. The uploads are locked.
pub(super) async fn fail_job(
    tx: &mut Conn,
    job: i64,
    upload: i64,
    error: &serde_json::Value,
) -> Result<bool, StoreError> {
    // Locked first: the leases are read after that, so that no worker can begin to send in between.
    sqlx::query("-- fail_job\nselect 1 from crier.jobs_open where id = $1 for no key update")
        .bind(job)
        .execute(&mut *tx)
        .await?;
    let failed = sqlx::query(
        "-- fail_job
        update crier.jobs j set state = 'failed', error = $3 from crier.media_uploads u
         where j.id = $1 and j.state in ('scheduled', 'paused') and u.id = $2 and u.account_id = j.account_id
           and u.item = j.media -> u.position::int
           and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')",
    )
    .bind(job)
    .bind(upload)
    .bind(error)
    .execute(&mut *tx)
    .await?;
    if failed.rows_affected() == 0 {
        sqlx::query("-- fail_job\nupdate crier.media_uploads set error = null, next_at = crier.now() + interval '5 seconds' where id = $1")
            .bind(upload)
            .execute(tx)
            .await?;
        return Ok(false);
    }
    sqlx::query(
        "-- fail_job: the others
        with dropped as (delete from crier.media_uploads where job_id = $1 and id <> $2 returning id)
        delete from crier.leases where kind = 'stage' and subject in (select id from dropped)",
    )
    .bind(job)
    .bind(upload)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "-- fail_job: kept for a day to be looked at
        update crier.media_uploads set state = 'failed', error = $2, next_at = crier.now() + interval '1 day', updated_at = crier.now()
         where id = $1",
    )
    .bind(upload)
    .bind(error)
    .execute(tx)
    .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_used_but_for_its_end() {
        assert_eq!(usable(86_400), 85_800);
        assert_eq!(usable(400), 300);
        assert_eq!(usable(0), 60);
    }
}
