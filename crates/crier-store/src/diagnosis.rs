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
    /// Whether the server takes writes.
    pub writable: bool,
    /// User this process is.
    pub user_name: String,
    /// Connections the server allows in all.
    pub max_connections: i32,
}

impl Store {
    /// What the database says of itself; needs no schema.
    pub async fn diagnosis(&self) -> Result<Diagnosis, StoreError> {
        Ok(sqlx::query_as(
            "-- diagnosis
            select current_setting('server_version') as server_version, clock_timestamp() as server_time,
                   not pg_is_in_recovery() as writable, current_user::text as user_name,
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
        let mut listener = sqlx::postgres::PgListener::connect_with(self.pool.inner()).await?;
        listener.listen(CHANNEL).await?;
        sqlx::query("-- notify_works\nselect pg_notify('crier_doctor', '')")
            .execute(&self.pool)
            .await?;
        Ok(tokio::time::timeout(patience, listener.recv())
            .await
            .is_ok_and(|heard| heard.is_ok()))
    }
}
