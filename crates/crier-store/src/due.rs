//! Jobs whose time has come and that are not on X: what somebody who was called asks for first.
//!
//! **Invariant:** what it costs depends on how many are asked for, not on how many wait, are due or have ended: what is to go out,
//! and what is stopped, are each read from the most late job on, along an index of `run_at`. With a filter, what is due and not
//! meant is passed over.

use serde::Serialize;
use serde_json::Value;

use crate::people::{JOB_COLUMNS, JobRow};
use crate::{Store, StoreError};

/// Which due jobs; the most late first.
#[derive(Debug, Clone, Default)]
pub struct DueFilter {
    /// Only this campaign.
    pub campaign: Option<String>,
    /// Only this account (its number).
    pub account: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// A job that is due, with what the database knows of what it waits for.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct DueRow {
    /// The job.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub job: JobRow,
    /// Seconds since `run_at`, by the database's clock.
    pub late_s: f64,
    /// A worker has it in hand: publishes it, or looks for it on X.
    pub in_hand: bool,
    /// Its media are not with X yet.
    pub awaits_media: bool,
    /// The job of its thread that has to be published before.
    pub awaits_job: Option<i64>,
    /// Its campaign is paused.
    pub campaign_paused: bool,
    /// The job of the same account that is being published now.
    pub behind: Option<i64>,
    /// The budget of its app is spent, in the form of `jobs.error`.
    pub budget: Option<Value>,
}

impl Store {
    /// Open jobs whose `run_at` has come, the most late first.
    pub async fn due_rows(&self, filter: &DueFilter) -> Result<Vec<DueRow>, StoreError> {
        // As the indexes have it, to the letter: each branch ends after so many entries.
        let branch = |state: &str| {
            format!(
                "(select id, run_at from crier.jobs_open where state {state} and run_at <= crier.now()
                   and ($1::text is null or campaign = $1) and ($2::bigint is null or account_id = $2) order by run_at limit $3)"
            )
        };
        let due = ["= 'scheduled'", "<> 'scheduled'"]
            .map(branch)
            .join(" union all ");
        let sql = format!(
            "-- due_rows
            select {JOB_COLUMNS}, extract(epoch from crier.now() - crier.readable(run_at))::float8 as late_s,
                   exists (select 1 from crier.leases l where l.kind in ('publish', 'reconcile') and l.subject = jobs.id and l.expires_at > crier.now()) as in_hand,
                   held & 1 <> 0 as awaits_media, case when held & 2 <> 0 then after end as awaits_job,
                   exists (select 1 from crier.campaigns c where c.name = jobs.campaign and c.paused) as campaign_paused,
                   (select l.subject from crier.leases l where l.kind = 'publish' and l.account_id = jobs.account_id and l.subject <> jobs.id) as behind,
                   (select crier.budget_hold(a.app_id) from crier.accounts a where a.id = jobs.account_id) as budget
              from crier.jobs_open jobs
             where id = any(array(select id from ({due}) due order by run_at, id limit $3))
             order by jobs.run_at, jobs.id"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(&filter.campaign)
            .bind(filter.account)
            .bind(filter.limit)
            .fetch_all(&self.pool)
            .await?)
    }
}
