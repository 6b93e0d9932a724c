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

    /// How many attempts of a job, since it last failed, were put off for this code at the cost of an attempt.
    pub async fn retries(&self, job: i64, code: &str) -> Result<u32, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "-- retries
            select count(*) from crier.attempts a
             where a.job_id = $1 and a.outcome = 'retry' and a.code = $2
               and a.id > coalesce((select max(b.id) from crier.attempts b where b.job_id = $1 and b.outcome = 'failed'), 0)",
        )
        .bind(job)
        .bind(code)
        .fetch_one(&self.pool)
        .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How many of a job's latest publishing attempts, in a row, were put off for this code at the cost of an attempt.
    pub async fn latest_retries(&self, job: i64, code: &str) -> Result<u32, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "-- latest_retries
            select count(*) from crier.attempts a
             where a.job_id = $1 and a.step = 'publish' and a.outcome = 'retry' and a.code = $2
               and a.id > coalesce((
                 select max(b.id) from crier.attempts b
                  where b.job_id = $1 and b.step = 'publish' and b.outcome is not null
                    and (b.outcome, b.code) is distinct from ('retry', $2)), 0)",
        )
        .bind(job)
        .bind(code)
        .fetch_one(&self.pool)
        .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
