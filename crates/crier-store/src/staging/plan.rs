//! From the column `media` of a job to rows of the queue.
//!
//! Accounts that publish by v1.1 send their media with the post: of their jobs nothing is uploaded before.
//!
//! **Invariant:** planning may be repeated at any time by anybody: it changes only what does not fit the job as it is.

use std::time::Duration;

use super::steps::is_held;
use super::{lock_uploads, release_if_ready};
use crate::claim::micros;
use crate::{Store, StoreError};

/// Looks at a job that somebody else keeps planning at the same moment; the sweep comes back to it.
const TRIES: usize = 3;

/// What to do about a job whose row somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Wait,
    Skip,
}

impl Store {
    /// Makes the uploads of an open job fit its `media`: rows for new files, none for those that an edit removed or that
    /// belong to another account now, each due `lead` before `run_at`. Of an ended job nothing is left. A job whose
    /// files are all ready already is released.
    pub async fn plan_uploads(&self, job: i64, lead: Duration) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            if self.try_plan(job, lead, Held::Wait).await? {
                break;
            }
        }
        Ok(())
    }

    /// Plans up to `limit` jobs that are due within `lead`, wait for media, and whose uploads are missing, outdated, or
    /// further off than they should be (the account may be served again, `run_at` moved). Answers how many. A job whose row
    /// somebody holds is passed over. Nothing that waits for media is lost as long as this is called now and then.
    pub async fn sweep_uploads(&self, lead: Duration, limit: i64) -> Result<u64, StoreError> {
        let jobs: Vec<i64> = sqlx::query_scalar(
            "-- sweep_uploads
            select j.id from crier.jobs_open j
              join crier.accounts a on a.id = j.account_id and a.status = 'active'
              left join crier.apps p on p.id = a.app_id
             where j.state = 'scheduled' and j.held <> 0 and j.held & 1 <> 0
               and coalesce(j.next_attempt_at, j.run_at) <= crier.now() + $1 * interval '1 microsecond'
               and coalesce(p.status, 'active') = 'active' and crier.budget_opens(p.id) is null
               and (not exists (select 1 from crier.media_uploads u where u.job_id = j.id and u.state <> 'ready')
                 or jsonb_array_length(j.media) <> (select count(*) from crier.media_uploads u where u.job_id = j.id)
                 or exists (select 1 from crier.media_uploads u where u.job_id = j.id and (
                      (u.state <> 'ready' and u.error is null and u.next_at > crier.now())
                      or u.account_id <> j.account_id or u.item is distinct from j.media -> u.position::int)))
             order by coalesce(j.next_attempt_at, j.run_at), j.id limit $2",
        )
        .bind(micros(lead))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let mut planned = 0;
        for job in jobs {
            match self.try_plan(job, lead, Held::Skip).await {
                Ok(done) => planned += u64::from(done),
                // Its uploads are held.
                Err(error) if is_held(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(planned)
    }

    /// False if the uploads changed between their locks and the job's, which come in this order, or the job was skipped.
    async fn try_plan(&self, job: i64, lead: Duration, held: Held) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let locked = lock_uploads(&mut tx, job).await?;
        let lock = match held {
            Held::Wait => {
                "-- plan_uploads\nselect state from crier.jobs_open where id = $1 for no key update"
            }
            Held::Skip => {
                "-- plan_uploads\nselect state from crier.jobs_open where id = $1 for no key update skip locked"
            }
        };
        let state: Option<String> = sqlx::query_scalar(lock)
            .bind(job)
            .fetch_optional(&mut *tx)
            .await?;
        if state.is_none() && held == Held::Skip {
            return Ok(false);
        }
        let seen: Vec<i64> = sqlx::query_scalar(
            "-- plan_uploads\nselect id from crier.media_uploads where job_id = $1 order by id",
        )
        .bind(job)
        .fetch_all(&mut *tx)
        .await?;
        if seen != locked {
            return Ok(false);
        }
        if state.as_deref() == Some("unknown") {
            return Ok(true);
        }
        sqlx::query(
            "-- plan_uploads: what no longer fits
            with stale as (
              delete from crier.media_uploads u where u.job_id = $1 and not exists (
                select 1 from crier.jobs_open j join crier.accounts a on a.id = j.account_id and a.publisher = 'v2'
                 where j.id = $1 and j.account_id = u.account_id
                   and j.media -> u.position::int is not distinct from u.item)
              returning u.id)
            delete from crier.leases where kind = 'stage' and subject in (select id from stale)",
        )
        .bind(job)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "-- plan_uploads: what is new
            insert into crier.media_uploads (job_id, position, account_id, item, next_at)
            select j.id, m.n - 1, j.account_id, m.item,
                   greatest(crier.now(), coalesce(j.next_attempt_at, j.run_at) - $2 * interval '1 microsecond')
              from crier.jobs_open j join crier.accounts a on a.id = j.account_id and a.publisher = 'v2'
              cross join lateral jsonb_array_elements(j.media) with ordinality as m(item, n)
             where j.id = $1
            on conflict (job_id, position) do nothing",
        )
        .bind(job)
        .bind(micros(lead))
        .execute(&mut *tx)
        .await?;
        // What is in hand, or was put off for a reason, keeps its time.
        sqlx::query(
            "-- plan_uploads: when
            update crier.media_uploads u
               set next_at = greatest(crier.now(), coalesce(j.next_attempt_at, j.run_at) - $2 * interval '1 microsecond')
              from crier.jobs_open j
             where j.id = $1 and u.job_id = j.id and u.state <> 'ready' and u.error is null and u.next_at is not null",
        )
        .bind(job)
        .bind(micros(lead))
        .execute(&mut *tx)
        .await?;
        release_if_ready(&mut tx, job).await?;
        tx.commit().await?;
        Ok(true)
    }
}
