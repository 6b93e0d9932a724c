//! What is kept and for how long: partitions of ended jobs, the ledger, uploads, processes.
//!
//! **Invariant:** nothing of an open job is ever removed; a dedupe key and the fact that a post exists outlive their job.

use crate::{Store, StoreError};

/// Rows looked at in one commit.
pub(crate) const PAGE: i64 = 2_000;

/// What [`Store::drop_history`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Names of the monthly partitions.
    pub partitions: Vec<String>,
    /// Rows removed one by one, of months that had no partition.
    pub rows: u64,
}

impl Store {
    /// Makes the partitions of ended jobs for this month and `ahead` months after it; answers how many were new. A month
    /// whose jobs lie in the default partition already gets none: they are removed one by one in the end.
    pub async fn ensure_partitions(&self, ahead: u8) -> Result<u32, StoreError> {
        let missing: Vec<(String, String, String)> = sqlx::query_as(
            "-- ensure_partitions
            select name, begins, ends from (
              select 'jobs_final_' || to_char(m, 'YYYY_MM') as name, to_char(m, 'YYYY-MM-DD') || ' 00:00:00+00' as begins,
                     to_char(m + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00' as ends
                from (select date_trunc('month', crier.now() at time zone 'UTC') as this) t,
                     generate_series(t.this, t.this + make_interval(months => $1), interval '1 month') as m) p
             where to_regclass('crier.' || name) is null order by name",
        )
        .bind(i32::from(ahead))
        .fetch_all(&self.pool)
        .await?;
        let mut made = 0;
        for (name, begins, ends) in missing {
            let create = format!(
                "create table if not exists crier.{name} partition of crier.jobs_final for values from ('{begins}') to ('{ends}')"
            );
            match self.alter_quickly(&create).await {
                Ok(()) => made += 1,
                // 23514: its rows lie in the default partition; 42P07, 42P17: another scheduler was faster.
                Err(error)
                    if database_code(&error).is_some_and(|code| {
                        matches!(code.as_str(), "23514" | "42P07" | "42P17")
                    }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Whether old rows may be removed: not for most of a day after the database's clock leapt, or after nobody kept house
    /// for so long that this cannot be told. A clock that is wrong for an hour must not cost the history of years.
    pub async fn clock_is_steady(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "-- clock_is_steady
            insert into crier.housekeeping as h (seen_at, steady_since) values (crier.now(), '-infinity')
            on conflict (one_row) do update set seen_at = crier.now(), steady_since =
              case when h.seen_at between crier.now() - interval '2 days' and crier.now() + interval '1 minute'
                   then h.steady_since else crier.now() end
            returning steady_since <= crier.now() - interval '20 hours'",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Removes ended jobs whose whole month is older than `days`, and single ones that old where there is no partition.
    pub async fn drop_history(&self, days: u32) -> Result<Dropped, StoreError> {
        let old: Vec<String> = sqlx::query_scalar(
            "-- drop_history: partitions
            select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'crier.jobs_final'::regclass and c.relname ~ '^jobs_final_[0-9]{4}_[0-9]{2}$'
               and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'UTC'
                   <= crier.now() - make_interval(days => $1) order by 1",
        )
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .fetch_all(&self.pool)
        .await?;
        let mut dropped = Dropped::default();
        for name in old {
            self.alter_quickly(&format!("drop table if exists crier.{name}"))
                .await?;
            dropped.partitions.push(name);
        }
        loop {
            let gone = sqlx::query(
                "-- drop_history: rows
                delete from crier.jobs_final_default where ctid = any(array(
                  select ctid from crier.jobs_final_default where finished_at < crier.now() - make_interval(days => $1) limit $2))",
            )
            .bind(i32::try_from(days).unwrap_or(i32::MAX))
            .bind(PAGE)
            .execute(&self.pool)
            .await?
            .rows_affected();
            dropped.rows += gone;
            if gone == 0 {
                return Ok(dropped);
            }
        }
    }

    /// Removes ended attempts older than `days` of jobs that are not open; answers how many.
    pub async fn trim_attempts(&self, days: u32) -> Result<u64, StoreError> {
        let (mut after, mut removed) = (0_i64, 0_u64);
        loop {
            // Numbers grow with time: the first page without an old row is the last to look at.
            let (last, old, gone): (Option<i64>, i64, i64) = sqlx::query_as(
                "-- trim_attempts
                with page as (
                  select id, job_id, finished_at, started_at < crier.now() - make_interval(days => $3) as old
                    from crier.attempts where id > $1 order by id limit $2
                ), gone as (
                  delete from crier.attempts a using page p where a.id = p.id and p.old and p.finished_at is not null
                     and not exists (select 1 from crier.jobs_open j where j.id = p.job_id) returning 1
                )
                select max(id), count(*) filter (where old), (select count(*) from gone) from page",
            )
            .bind(after)
            .bind(PAGE)
            .bind(i32::try_from(days).unwrap_or(i32::MAX))
            .fetch_one(&self.pool)
            .await?;
            removed += u64::try_from(gone).unwrap_or(0);
            match last {
                Some(last) if old > 0 => after = last,
                Some(_) | None => return Ok(removed),
            }
        }
    }

    /// Removes uploads of jobs that are not open, untouched for `days` and in nobody's hands; answers how many.
    pub async fn trim_uploads(&self, days: u32) -> Result<u64, StoreError> {
        let (mut after, mut removed) = (0_i64, 0_u64);
        loop {
            let (last, gone): (Option<i64>, i64) = sqlx::query_as(
                "-- trim_uploads
                with page as (
                  select id, job_id, updated_at from crier.media_uploads where id > $1 order by id limit $2
                ), gone as (
                  delete from crier.media_uploads u using page p
                   where u.id = p.id and p.updated_at < crier.now() - make_interval(days => $3)
                     and not exists (select 1 from crier.jobs_open j where j.id = p.job_id)
                     and not exists (select 1 from crier.leases l where l.kind = 'stage' and l.subject = p.id) returning 1
                )
                select max(id), (select count(*) from gone) from page",
            )
            .bind(after)
            .bind(PAGE)
            .bind(i32::try_from(days).unwrap_or(i32::MAX))
            .fetch_one(&self.pool)
            .await?;
            removed += u64::try_from(gone).unwrap_or(0);
            match last {
                Some(last) => after = last,
                None => return Ok(removed),
            }
        }
    }

    /// Removes processes that were not seen for `days`, limit windows that ended that long ago, and keys of slots that
    /// no expansion can reach again; answers how many rows.
    pub async fn trim_workers(&self, days: u32) -> Result<u64, StoreError> {
        let mut removed = 0;
        for statement in [
            "-- trim_workers\ndelete from crier.workers where seen_at < crier.now() - make_interval(days => $1)",
            "-- trim_workers: windows\ndelete from crier.limit_windows where resets_at < crier.now() - make_interval(days => $1)",
            "-- trim_workers: slots
            delete from crier.recurring_slots s using crier.recurring r
             where r.id = s.recurring_id and s.slot < r.expanded_until and s.slot < crier.now() - make_interval(days => $1)
               and not exists (select 1 from crier.jobs_open j where j.id = s.job_id)",
        ] {
            removed += sqlx::query(statement)
                .bind(i32::try_from(days).unwrap_or(i32::MAX))
                .execute(&self.pool)
                .await?
                .rows_affected();
        }
        Ok(removed)
    }

    /// Changes the schema only if the lock comes at once: whoever waits for it stops everybody behind it.
    async fn alter_quickly(&self, sql: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("-- alter_quickly\nset local lock_timeout = '300ms'")
            .execute(&mut *tx)
            .await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

fn database_code(error: &StoreError) -> Option<String> {
    if let StoreError::Database(sqlx::Error::Database(error)) = error {
        return error.code().map(std::borrow::Cow::into_owned);
    }
    None
}
