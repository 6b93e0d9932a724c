//! How the search for a job's post stands, for people.
//!
//! **Invariant:** nothing here writes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{Store, StoreError};

/// The search for the post of an unknown job.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Standing {
    /// When the last of its calls left.
    pub sent_at: DateTime<Utc>,
    /// X refused that call as a duplicate.
    pub refused_as_duplicate: bool,
    /// Looks in which X listed the account's posts.
    pub looks: i16,
    /// When it last did.
    pub looked_at: Option<DateTime<Utc>>,
    /// Looks in a row that failed since.
    pub failed_looks: i16,
    /// Why the last one failed.
    pub fault: Option<Value>,
    /// When it is looked for again; none: in hand, or left to a person.
    pub next_look_at: Option<DateTime<Utc>>,
    /// A worker looks at this moment.
    pub in_hand: bool,
    /// Jobs that reply to it and wait, the first few.
    pub followers: Vec<i64>,
}

/// A job that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Awaited {
    /// Its number.
    pub job: i64,
    /// Its state.
    pub state: String,
}

impl Store {
    /// How the search for a job's post stands; none if it is not looked for.
    pub async fn search(&self, job: i64) -> Result<Option<Standing>, StoreError> {
        Ok(sqlx::query_as(
            "-- search
            select r.since as sent_at, r.duplicate_seen as refused_as_duplicate, r.looks, r.looked_at, r.unread as failed_looks, r.fault,
                   crier.readable(r.next_at) as next_look_at,
                   exists (select 1 from crier.leases l where l.kind = 'reconcile' and l.subject = r.job_id and l.expires_at > crier.now()) as in_hand,
                   array(select w.id from crier.jobs_open w where w.after = r.job_id order by w.id limit 5) as followers
              from crier.reconciles r join crier.jobs_open j on j.id = r.job_id where r.job_id = $1 and j.state = 'unknown'",
        )
        .bind(job)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The job that a job of a thread waits for, if it does.
    pub async fn awaited(&self, job: i64) -> Result<Option<Awaited>, StoreError> {
        Ok(sqlx::query_as(
            "-- awaited
            select p.id as job, p.state from crier.jobs_open j join crier.jobs p on p.id = j.after
             where j.id = $1 and j.held & 2 <> 0 and p.state <> 'published'",
        )
        .bind(job)
        .fetch_optional(&self.pool)
        .await?)
    }
}
