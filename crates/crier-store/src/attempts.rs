//! The ledger of attempts, as people read it.
//!
//! **Invariant:** a row without an outcome belongs to a live lease in `sending`, or to a crash that is about to be found.

use chrono::{DateTime, Utc};

use crate::{Store, StoreError};

/// One attempt.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, serde::Serialize)]
pub struct LedgerRow {
    /// Number of the attempt within its job.
    pub number: i16,
    /// Step it reached.
    pub step: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When the create call was about to leave.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// `published`, `snoozed`, `retry`, `failed`, `unknown`; none while it runs.
    pub outcome: Option<String>,
    /// Stable code.
    pub code: Option<String>,
    /// HTTP status of X's answer.
    pub http_status: Option<i16>,
    /// What X said, in the form of `jobs.error`.
    pub answer: Option<serde_json::Value>,
}

impl Store {
    /// Every attempt of a job, oldest first.
    pub async fn ledger(&self, job: i64) -> Result<Vec<LedgerRow>, StoreError> {
        Ok(sqlx::query_as(
            "-- ledger
            select number, step, started_at, sent_at, finished_at, outcome, code, http_status, answer
              from crier.attempts where job_id = $1 order by id",
        )
        .bind(job)
        .fetch_all(&self.pool)
        .await?)
    }
}
