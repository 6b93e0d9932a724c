//! Processes that play a role: who they are, and when they were last seen.
//!
//! **Invariant:** nothing is decided by these rows: leases and leadership say who does what. They are for people.

use uuid::Uuid;

use crate::{Store, StoreError};

/// Processes of one role that were seen lately.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Present {
    /// `scheduler` or `worker`.
    pub role: String,
    /// How many.
    pub processes: i64,
    /// Their machines, each once, by name.
    pub hosts: Vec<String>,
    /// Their versions, each once.
    pub versions: Vec<String>,
}

impl Store {
    /// A process is here: notes it, or that it is here still.
    pub async fn seen(
        &self,
        id: Uuid,
        role: &str,
        host: &str,
        version: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "-- seen
            insert into crier.workers (id, role, host, version, key_id) values ($1, $2, $3, $4, $5)
            on conflict (id) do update set seen_at = crier.now()",
        )
        .bind(id)
        .bind(role)
        .bind(host)
        .bind(version)
        .bind(self.key.as_ref().map(|ring| ring.current().id()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Who was seen in the last `seconds`, by role.
    pub async fn present(&self, seconds: u32) -> Result<Vec<Present>, StoreError> {
        Ok(sqlx::query_as(
            "-- present
            select role, count(*) as processes, array_agg(distinct host order by host) as hosts,
                   array_agg(distinct version order by version) as versions
              from crier.workers where seen_at > crier.now() - $1 * interval '1 second' group by role order by role",
        )
        .bind(i64::from(seconds))
        .fetch_all(&self.pool)
        .await?)
    }
}
