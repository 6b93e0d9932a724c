//! What dead workers held, and what was ready and no longer is.
//!
//! **Invariant:** a post is never sent with fewer media than its row has: ids that are used up or missing send the job
//! back to staging.

use std::time::Duration;

use super::lock_uploads;
use super::steps::{fail_job, is_held};
use crate::claim::micros;
use crate::lease::Lease;
use crate::suspects::CRASH_BOUND;
use crate::{Store, StoreError};

/// Uploads taken back from workers that died or stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageExpired {
    /// Back in the queue; the next worker goes on at the segment that was in flight.
    pub expired: u64,
    /// Of these, given up with their job after too many crashes.
    pub quarantined: u64,
}

impl Store {
    /// Takes back up to `limit` expired leases of uploads.
    pub async fn expire_stage_leases(&self, limit: i64) -> Result<StageExpired, StoreError> {
        let rows: Vec<(i64, i64, i16)> = sqlx::query_as(
            "-- expire_stage_leases
            with dead as materialized (
              select subject from crier.leases where kind = 'stage' and expires_at < crier.now()
               order by subject limit $1 for update skip locked),
            gone as (
              delete from crier.leases l using dead where l.kind = 'stage' and l.subject = dead.subject returning l.subject)
            update crier.media_uploads u set next_at = crier.now(), crashes = u.crashes + 1, updated_at = crier.now()
              from gone where u.id = gone.subject returning u.id, u.job_id, u.crashes",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let mut taken = StageExpired {
            expired: u64::try_from(rows.len()).unwrap_or(u64::MAX),
            quarantined: 0,
        };
        // A commit of its own each, since it locks what belongs to the job, in order. Until then the file may be
        // claimed once more, which does no harm.
        for (upload, job, _) in rows.iter().filter(|row| row.2 >= CRASH_BOUND) {
            match self.quarantine_upload(*upload, *job).await {
                Ok(done) => taken.quarantined += u64::from(done),
                // Its turn comes with the next crash.
                Err(error) if is_held(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    async fn quarantine_upload(&self, upload: i64, job: i64) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_uploads(&mut tx, job).await?;
        let crashes: Option<i16> = sqlx::query_scalar(
            "-- quarantine_upload\nselect crashes from crier.media_uploads where id = $1",
        )
        .bind(upload)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(crashes) = crashes else {
            return Ok(false);
        };
        sqlx::query(
            "-- quarantine_upload\ndelete from crier.leases where kind = 'stage' and subject = $1",
        )
        .bind(upload)
        .execute(&mut *tx)
        .await?;
        let error = serde_json::json!({
            "code": "quarantined", "title": "workers died while they uploaded a file of this job", "step": "media",
            "detail": format!("{crashes} workers in a row died or stalled over it"),
            "hint": format!("look at the workers' logs for job {job} and at the file, then select crier.retry({job})"),
        });
        let failed = fail_job(&mut tx, job, upload, &error).await?;
        tx.commit().await?;
        Ok(failed)
    }

    /// The media ids of a job, in the order of its `media` column; only those that are ready, of the job as it is now,
    /// and usable for `margin` yet, the time that a call may take. Fewer than the job has media means that it must not be
    /// sent: [`Store::restage`].
    pub async fn media_ids(&self, job: i64, margin: Duration) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- media_ids
            select u.media_id from crier.media_uploads u join crier.jobs_open j on j.id = u.job_id
             where u.job_id = $1 and u.state = 'ready' and u.media_id is not null
               and u.expires_at > crier.now() + $2 * interval '1 microsecond'
               and u.account_id = j.account_id and u.item = j.media -> u.position::int
             order by u.position",
        )
        .bind(job)
        .bind(micros(media_margin(margin)))
        .fetch_all(&self.pool)
        .await?)
    }

    /// Sends the job of this publishing lease back to staging: what is missing, or used up within `margin`, is uploaded
    /// anew.
    pub async fn restage(&self, lease: &Lease, margin: Duration) -> Result<(), StoreError> {
        self.back_to_staging(lease, Some(margin)).await
    }

    /// Sends it back with all its files, since X does not take their ids although they should be good. Once a job:
    /// answers false, and changes nothing, if the ledger shows that X refused its media before.
    pub async fn reupload(&self, lease: &Lease) -> Result<bool, StoreError> {
        let before: bool = sqlx::query_scalar(
            "-- reupload
            select exists (select 1 from crier.attempts where job_id = $1 and step = 'publish' and code = 'media_invalid')",
        )
        .bind(lease.subject)
        .fetch_one(&self.pool)
        .await?;
        if before {
            return Ok(false);
        }
        self.back_to_staging(lease, None).await?;
        Ok(true)
    }

    /// Those used up within `margin`, or all.
    async fn back_to_staging(
        &self,
        lease: &Lease,
        margin: Option<Duration>,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let held: Option<i64> = sqlx::query_scalar(
            "-- back_to_staging\nselect token from crier.leases where kind = 'publish' and subject = $1 and token = $2 for update",
        )
        .bind(lease.subject)
        .bind(lease.token)
        .fetch_optional(&mut *tx)
        .await?;
        if held.is_none() {
            return Err(lease.lost());
        }
        lock_uploads(&mut tx, lease.subject).await?;
        sqlx::query(
            "-- back_to_staging
            update crier.media_uploads set state = 'waiting', media_id = null, segments_done = 0, file_stamp = null,
                   expires_at = null, error = null, next_at = crier.now(), updated_at = crier.now()
             where job_id = $1 and state = 'ready' and ($2::bigint is null or expires_at is null
                    or expires_at <= crier.now() + $2 * interval '1 microsecond')",
        )
        .bind(lease.subject)
        .bind(margin.map(media_margin).map(micros))
        .execute(&mut *tx)
        .await?;
        sqlx::query("-- back_to_staging\nupdate crier.jobs_open set held = held | 1::smallint where id = $1")
            .bind(lease.subject)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Seconds of a media id's life that a create call may ask for. Less than the shortest life that is counted on, a minute:
/// a longer margin would send a file round and round.
const MOST_MARGIN: Duration = Duration::from_secs(45);

/// The part of a call's margin that its media ids must outlive. They last longer at X than their row says.
pub(crate) fn media_margin(margin: Duration) -> Duration {
    margin.min(MOST_MARGIN)
}
