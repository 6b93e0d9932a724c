//! What `crier doctor` asks the database.
//!
//! **Invariant:** nothing here writes, and each question is small.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{Store, StoreError};

/// What the database says of itself.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Diagnosis {
    /// Version, such as `15.8 (Debian …)`.
    pub server_version: String,
    /// The server's own time, without crier's shift.
    pub server_time: DateTime<Utc>,
    /// Whether this session may write.
    pub writable: bool,
    /// Whether the server is a standby, which takes no writes of anybody.
    pub standby: bool,
    /// User this process is.
    pub user_name: String,
    /// Connections the server allows in all.
    pub max_connections: i32,
}

/// A transaction of somebody that has been open for long.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Holder {
    /// Process of the server, for `pg_terminate_backend`.
    pub pid: i32,
    /// Whose session it is.
    pub user_name: String,
    /// What its program calls itself.
    pub application_name: String,
    /// Since when its transaction is open, in seconds; none if this user may not see that.
    pub age_s: Option<f64>,
    /// Whether it has locks on tables of crier beyond those of reading.
    pub locks: bool,
    /// Sessions that wait for it at this moment.
    pub waiting: i64,
}

impl Store {
    /// Transactions of others that have been open for longer than this: they may hold jobs back by their locks, and keep
    /// dead rows from being cleaned up by their snapshot. Whoever blocks somebody now is told of, however young.
    pub async fn holders(&self, longer_than: Duration) -> Result<Vec<Holder>, StoreError> {
        Ok(sqlx::query_as(
            "-- holders
            with waits as materialized (
              select unnest(pg_blocking_pids(pid)) as pid from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock')
            select * from (
              select a.pid, coalesce(a.usename, '')::text as user_name, coalesce(a.application_name, '') as application_name,
                     extract(epoch from clock_timestamp() - a.xact_start)::float8 as age_s,
                     exists (select 1 from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
                              where l.pid = a.pid and l.granted and l.mode <> 'AccessShareLock' and n.nspname = 'crier') as locks,
                     (select count(*) from waits w where w.pid = a.pid) as waiting
                from pg_stat_activity a
               where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend') h
             where waiting > 0 or age_s > $1 or (age_s is null and locks)
             order by waiting desc, locks desc, age_s desc nulls last limit 10",
        )
        .bind(longer_than.as_secs_f64())
        .fetch_all(&self.pool)
        .await?)
    }

    /// Whether a session of this user may write now.
    pub async fn takes_writes(&self) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let takes = sqlx::query_scalar(
            "-- takes_writes\nselect current_setting('transaction_read_only') = 'off'",
        )
        .fetch_one(&mut *tx)
        .await?;
        if takes {
            tx.commit().await?;
        } else {
            tx.forget();
        }
        Ok(takes)
    }

    /// What the database says of itself; needs no schema.
    pub async fn diagnosis(&self) -> Result<Diagnosis, StoreError> {
        Ok(sqlx::query_as(
            "-- diagnosis
            select current_setting('server_version') as server_version, clock_timestamp() as server_time,
                   current_setting('transaction_read_only') = 'off' as writable,
                   pg_is_in_recovery() as standby, current_user::text as user_name,
                   current_setting('max_connections')::int as max_connections",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Seconds by which `crier.clock` is moved; not zero in tests only.
    pub async fn clock_shift_s(&self) -> Result<f64, StoreError> {
        Ok(sqlx::query_scalar(
            "-- clock_shift_s\nselect extract(epoch from shift)::float8 from crier.clock",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Which of the two roles for people are missing.
    pub async fn missing_roles(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- missing_roles
            select r from unnest(array['crier_writer', 'crier_reader']) r where not exists (select 1 from pg_roles where rolname = r)",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Whether a scheduler leads now.
    pub async fn leader_held(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("-- leader_held\nselect exists (select 1 from crier.leader where expires_at > crier.now())")
            .fetch_one(&self.pool)
            .await?)
    }

    /// Whether a notification arrives: a pooler in transaction mode loses them. Work is found without, only later.
    pub async fn notify_works(&self, patience: Duration) -> Result<bool, StoreError> {
        const CHANNEL: &str = "crier_doctor";
        let Some(direct) = self.direct.clone() else {
            return Ok(false);
        };
        let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(direct);
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        sqlx::query("-- notify_works\nselect pg_notify('crier_doctor', '')")
            .execute(&self.pool)
            .await?;
        Ok(tokio::time::timeout(patience, listener.recv())
            .await
            .is_ok_and(|heard| heard.is_ok()))
    }
}
