//! The scheduler's inbox: signals that the triggers left become lanes that may be claimed.
//!
//! **Invariant:** a signal is deleted in the commit that acts on it, so none is lost; acting twice is harmless.

use crate::gate::Conn;
use crate::{Store, StoreError};

impl Store {
    /// Applies up to `limit` signals; answers how many. Those that say a job ended wake or end what waits for it.
    pub async fn apply_signals(&self, limit: i64) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let taken: Vec<(i64, Option<chrono::DateTime<chrono::Utc>>, Option<i64>)> = sqlx::query_as(
            "-- apply_signals
            delete from crier.lane_signals where ctid = any(array(
              select ctid from crier.lane_signals limit $1 for update skip locked))
            returning account_id, crier.readable(due_at), ended_job",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let ended: Vec<i64> = taken.iter().filter_map(|row| row.2).collect();
        if !ended.is_empty() {
            release_followers(&mut tx, &ended).await?;
        }
        let (accounts, due): (Vec<i64>, Vec<chrono::DateTime<chrono::Utc>>) =
            taken.iter().filter_map(|row| Some((row.0, row.1?))).unzip();
        if !accounts.is_empty() {
            // A lane in flight computes its next head at release, after this commit or before it: both see the job.
            sqlx::query(
                "-- apply_signals
                insert into crier.lanes as l (account_id, next_at)
                select a, min(d) from unnest($1::bigint[], $2::timestamptz[]) as s(a, d)
                 where exists (select 1 from crier.accounts where id = a) group by a order by a
                on conflict (account_id) do update
                  set next_at = greatest(least(l.next_at, excluded.next_at), l.not_before)
                  where not l.in_flight and (l.next_at is null or l.next_at > excluded.next_at)",
            )
            .bind(&accounts)
            .bind(&due)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(i64::try_from(taken.len()).unwrap_or(i64::MAX))
    }
}

/// Jobs that reply to an ended one: they may go now, or fail for good when there is nothing to reply to. Their own end
/// leaves signals in turn, so a long thread unwinds step by step. One that somebody holds keeps no signal waiting: the
/// sweep of held jobs finds it before its time.
async fn release_followers(tx: &mut Conn, ended: &[i64]) -> Result<(), StoreError> {
    let free: Vec<i64> = sqlx::query_scalar(
        "-- release_followers: lock
        select id from crier.jobs_open where after = any($1) and state in ('scheduled', 'paused') order by id for update skip locked",
    )
    .bind(ended)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "-- release_followers
        update crier.jobs_open w set held = w.held & ~2::smallint
         where w.id = any($1) and w.held & 2 <> 0
           and exists (select 1 from crier.posts p where p.job_id = w.after)",
    )
    .bind(&free)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "-- release_followers
        update crier.jobs w set state = 'failed', error = jsonb_build_object(
            'code', 'predecessor_ended', 'title', format('job %s of the thread did not go out', w.after),
            'detail', format('this job replies to job %s, which is %s', w.after, p.state), 'step', 'publish',
            'hint', format('mend and retry job %s, then this one: select crier.retry(%s)', w.after, w.id))
          from crier.jobs p
         where w.id = any($1) and w.state in ('scheduled', 'paused') and p.id = w.after
           and p.state in ('failed', 'cancelled', 'missed')",
    )
    .bind(&free)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
