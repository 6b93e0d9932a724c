//! Jobs that waited past their `max_lateness`: missed, rather than posted stale.
//!
//! **Invariant:** a job whose create call may have left is never missed: its row is locked first, and the leases are read
//! after that, so that no worker can begin in between.

use crate::{Store, StoreError};

impl Store {
    /// Ends up to `limit` jobs that are too late; answers how many. A worker that holds one of them is refused when it
    /// wants to send.
    pub async fn mark_missed(&self, limit: i64) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let late: Vec<i64> = sqlx::query_scalar(
            "-- mark_missed: candidates
            select j.id from crier.jobs_open j
             where j.miss_at is not null and j.state <> 'unknown' and j.miss_at < crier.now()
               and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')
             order by j.miss_at limit $1 for update of j skip locked",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if late.is_empty() {
            return Ok(0);
        }
        let done = sqlx::query(
            "-- mark_missed
            update crier.jobs j set state = 'missed', warning = null, error = jsonb_build_object(
                'code', 'missed', 'title', 'it was too late to post it',
                'detail', format('it was due at %s and could be at most %s late%s',
                  to_char(j.run_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), j.max_lateness,
                  case when j.state = 'paused' then '; it was paused'
                       else coalesce('; before that: ' || nullif(concat_ws(': ', coalesce(j.error, j.warning) ->> 'title', coalesce(j.error, j.warning) ->> 'detail'), ''), '') end),
                'step', 'claim',
                'hint', format('select crier.retry(%s) posts it now; set max_lateness higher if later would have been well too', j.id))
             where j.id = any($1) and j.state in ('scheduled', 'paused')
               and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')",
        )
        .bind(&late)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}
