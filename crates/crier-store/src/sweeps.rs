//! Sweeps that find what no signal told, and when the scheduler next has something to do.
//!
//! **Invariant:** a wake-up that was lost, for whatever reason, is made good by a sweep; each call looks at a bounded
//! number of rows and goes on where the last one stopped.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Store, StoreError};

/// Where a sweep over held jobs stopped: time and id of the last one seen.
pub type HeldCursor = (DateTime<Utc>, i64);

/// What a sweep over jobs that wait for their predecessor found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldSweep {
    /// Their predecessor is published: they may go.
    pub released: u64,
    /// Their predecessor ended otherwise, or is gone: failed.
    pub failed: u64,
    /// Where to go on; `None`: begin anew.
    pub next: Option<HeldCursor>,
}

impl Store {
    /// Looks at up to `limit` held jobs after `from` that are due within a minute: their predecessor may have ended
    /// while they were being inserted, unseen by both.
    pub async fn sweep_held(
        &self,
        from: Option<HeldCursor>,
        limit: i64,
    ) -> Result<HeldSweep, StoreError> {
        let mut tx = self.pool.begin().await?;
        let page: Vec<(i64, DateTime<Utc>, i16)> = sqlx::query_as(
            "-- sweep_held: page
            select j.id, coalesce(j.next_attempt_at, j.run_at), j.held from crier.jobs_open j
             where j.state = 'scheduled' and j.held <> 0 and coalesce(j.next_attempt_at, j.run_at) < crier.now() + interval '1 minute'
               and (coalesce(j.next_attempt_at, j.run_at), j.id) > (coalesce($1, '-infinity'), coalesce($2, 0))
             order by coalesce(j.next_attempt_at, j.run_at), j.id limit $3",
        )
        .bind(from.map(|f| f.0))
        .bind(from.map(|f| f.1))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let full = i64::try_from(page.len()).is_ok_and(|n| n >= limit);
        let next = page.last().filter(|_| full).map(|last| (last.1, last.0));
        let waiting: Vec<i64> = page.iter().filter(|j| j.2 & 2 != 0).map(|j| j.0).collect();
        if waiting.is_empty() {
            return Ok(HeldSweep {
                next,
                ..HeldSweep::default()
            });
        }
        let locked: Vec<i64> = sqlx::query_scalar(
            "-- sweep_held: lock
            select id from crier.jobs_open where id = any($1) and state = 'scheduled' and held & 2 <> 0
             order by id for update skip locked",
        )
        .bind(&waiting)
        .fetch_all(&mut *tx)
        .await?;
        let released = sqlx::query(
            "-- sweep_held: release
            update crier.jobs_open w set held = w.held & ~2::smallint
             where w.id = any($1) and (w.after is null or exists (select 1 from crier.posts p where p.job_id = w.after))",
        )
        .bind(&locked)
        .execute(&mut *tx)
        .await?;
        let failed = sqlx::query(
            "-- sweep_held: fail
            update crier.jobs w set state = 'failed', error = jsonb_build_object(
                'code', 'predecessor_ended', 'title', format('job %s of the thread did not go out', w.after),
                'detail', format('this job replies to job %s, which is %s', w.after, coalesce(e.state, 'no longer there')),
                'step', 'publish',
                'hint', case when e.state is null then 'insert the thread anew'
                             else format('mend and retry job %s, then this one: select crier.retry(%s)', w.after, w.id) end)
              from (select o.id, p.state from crier.jobs_open o
                      left join lateral (select state from crier.jobs where id = o.after limit 1) p on true
                     where o.id = any($1) and o.held & 2 <> 0
                       and (p.state is null or p.state in ('failed', 'cancelled', 'missed'))) e
             where w.id = e.id and w.state = 'scheduled'",
        )
        .bind(&locked)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(HeldSweep {
            released: released.rows_affected(),
            failed: failed.rows_affected(),
            next,
        })
    }

    /// Looks at up to `limit` accounts after `from`: one that has a job to be served but a lane that says nothing waits,
    /// or that is in flight though nobody holds it, gets a signal. Answers how many were mended and where to go on.
    pub async fn repair_lanes(
        &self,
        from: i64,
        limit: i64,
    ) -> Result<(u64, Option<i64>), StoreError> {
        let mut tx = self.pool.begin().await?;
        let page: Vec<i64> = sqlx::query_scalar(
            "-- repair_lanes: page\nselect id from crier.accounts where id > $1 order by id limit $2",
        )
        .bind(from)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let full = i64::try_from(page.len()).is_ok_and(|n| n >= limit);
        let next = page.last().copied().filter(|_| full);
        let locked: Vec<i64> = sqlx::query_scalar(
            "-- repair_lanes: lock
            select account_id from crier.lanes where account_id = any($1) and next_at is null
             order by account_id for update skip locked",
        )
        .bind(&page)
        .fetch_all(&mut *tx)
        .await?;
        // With the lanes locked nobody claims or releases: a lane in flight must have its lease.
        let freed: Vec<i64> = sqlx::query_scalar(
            "-- repair_lanes: in flight without a lease
            update crier.lanes n set in_flight = false
             where n.account_id = any($1) and n.in_flight
               and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.account_id = n.account_id)
            returning n.account_id",
        )
        .bind(&locked)
        .fetch_all(&mut *tx)
        .await?;
        let idle: Vec<i64> = sqlx::query_scalar(
            "-- repair_lanes: idle though a job waits
            select a.id from unnest($1::bigint[]) as a(id) left join crier.lanes n on n.account_id = a.id
             where (n.account_id is null or (n.account_id = any($2) and not n.in_flight))
               and a.id not in (select account_id from crier.lane_signals)
               and exists (select 1 from crier.jobs_open j where j.account_id = a.id and j.state = 'scheduled' and j.held = 0)",
        )
        .bind(&page)
        .bind(&locked)
        .fetch_all(&mut *tx)
        .await?;
        // Too early a signal costs one empty claim, which finds the right time.
        sqlx::query(
            "-- repair_lanes: wake
            insert into crier.lane_signals (account_id, due_at) select id, crier.now() from unnest($1::bigint[]) as a(id)",
        )
        .bind(&idle)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let mended = freed.iter().filter(|f| !idle.contains(f)).count() + idle.len();
        Ok((u64::try_from(mended).unwrap_or(u64::MAX), next))
    }

    /// How long until the scheduler has something to do: a signal, a check, a slot, an expired lease, a missed job.
    /// Lanes need no scheduler when they fall due. `None`: nothing waits; negative: overdue.
    pub async fn until_scheduler_due(&self) -> Result<Option<TimeDelta>, StoreError> {
        let micros: Option<i64> = sqlx::query_scalar(
            "-- until_scheduler_due
            select case when due = '-infinity' then 0 else (extract(epoch from due - crier.now()) * 1000000)::bigint end
              from (select least(
                (select '-infinity'::timestamptz from crier.lane_signals limit 1),
                (select next_at from crier.job_checks order by next_at limit 1),
                (select next_at from crier.recurring where next_at is not null order by next_at limit 1),
                (select min(expires_at) from crier.leases where kind <> 'refresh'),
                (select miss_at from crier.jobs_open where miss_at is not null and state <> 'unknown' order by miss_at limit 1)) as due) d",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(micros.map(TimeDelta::microseconds))
    }
}
