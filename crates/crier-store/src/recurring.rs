//! Recurring posts: rows whose slots become jobs ahead of their time.
//!
//! **Invariant:** a slot and its job appear in one commit, under a key that no second scheduler can use again; a row that
//! was edited, paused or expanded since it was read is left alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::claim::micros;
use crate::{Store, StoreError};

/// A row of `crier.recurring` that is due to be looked at.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct RecurringRow {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Cron expression.
    pub cron: String,
    /// IANA zone.
    pub time_zone: String,
    /// Text of the template.
    pub text: String,
    /// First moment that may be a slot.
    pub starts_at: Option<DateTime<Utc>>,
    /// Last moment that may be a slot.
    pub ends_at: Option<DateTime<Utc>>,
    /// `skip`, `once` or `all`.
    pub missed: String,
    /// How long ahead slots become jobs, in microseconds.
    pub ahead_us: i64,
    /// When the row was inserted: no slot before it.
    pub created_at: DateTime<Utc>,
    /// Every slot up to here is settled.
    pub expanded_until: Option<DateTime<Utc>>,
    /// Jobs made so far.
    pub slots: i64,
    /// Revision as read.
    pub revision: i32,
    /// The database's time as the row was read.
    pub now: DateTime<Utc>,
}

/// What becomes of a row: slots with the text of their job, and how far that settles it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Slots to be made jobs, in order.
    pub slots: Vec<(DateTime<Utc>, String)>,
    /// Every slot up to here is settled then.
    pub until: DateTime<Utc>,
    /// When to look again; `None`: no slot is left.
    pub next_at: Option<DateTime<Utc>>,
}

/// How an expansion ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expanded {
    /// Jobs were inserted; `duplicates` were there already.
    Done {
        /// Inserted.
        created: u64,
        /// There already.
        duplicates: u64,
    },
    /// The row changed since it was read, or somebody changes it now: nothing was done.
    Changed,
    /// The database refused the jobs, in words for people: nothing was done.
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl Store {
    /// Rows that are due to be looked at, up to `limit`.
    pub async fn due_recurring(&self, limit: i64) -> Result<Vec<RecurringRow>, StoreError> {
        Ok(sqlx::query_as(
            "-- due_recurring
            select id, name, cron, time_zone, coalesce(template ->> 'text', '') as text,
                   crier.readable(starts_at) as starts_at, crier.readable(ends_at) as ends_at, missed,
                   (extract(epoch from ahead) * 1000000)::bigint as ahead_us, created_at, expanded_until, slots, revision,
                   crier.now() as now
              from crier.recurring where next_at <= crier.now() and not paused order by next_at limit $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Makes jobs of slots, all of them or none.
    pub async fn expand_recurring(
        &self,
        row: &RecurringRow,
        expansion: &Expansion,
    ) -> Result<Expanded, StoreError> {
        match self.try_expand(row, expansion).await {
            // 22: a value that cannot be read; 23: a rule that refuses it.
            Err(StoreError::Database(sqlx::Error::Database(error)))
                if error
                    .code()
                    .is_some_and(|code| code.starts_with("22") || code.starts_with("23")) =>
            {
                let error = StoreError::Database(sqlx::Error::Database(error));
                let (message, hint) = error.database_words().unwrap_or_default();
                Ok(Expanded::Refused {
                    message,
                    hint: hint.unwrap_or_default(),
                })
            }
            other => other,
        }
    }

    async fn try_expand(
        &self,
        row: &RecurringRow,
        expansion: &Expansion,
    ) -> Result<Expanded, StoreError> {
        let mut tx = self.pool.begin().await?;
        let mine = sqlx::query(
            "-- expand_recurring: lock
            select 1 from crier.recurring where id = $1 and revision = $2 and not paused
               and expanded_until is not distinct from $3 for update skip locked",
        )
        .bind(row.id)
        .bind(row.revision)
        .bind(row.expanded_until)
        .fetch_optional(&mut *tx)
        .await?;
        if mine.is_none() {
            return Ok(Expanded::Changed);
        }
        let (slots, texts): (Vec<DateTime<Utc>>, Vec<&str>) = expansion
            .slots
            .iter()
            .map(|(slot, text)| (*slot, text.as_str()))
            .unzip();
        let fresh: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "-- expand_recurring: slots
            insert into crier.recurring_slots (recurring_id, slot) select $1, s from unnest($2::timestamptz[]) as s
            on conflict do nothing returning slot",
        )
        .bind(row.id)
        .bind(&slots)
        .fetch_all(&mut *tx)
        .await?;
        let jobs: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
            "-- expand_recurring: jobs
            insert into crier.jobs (account, text, media, options, run_at, priority, campaign, max_lateness, max_attempts, recurring_id)
            select r.account, x.text, coalesce(r.template -> 'media', '[]'), coalesce(r.template -> 'options', '{}'), x.slot,
                   coalesce((r.template ->> 'priority')::smallint, 0), r.template ->> 'campaign',
                   (r.template ->> 'max_lateness')::interval, coalesce((r.template ->> 'max_attempts')::smallint, 8), r.id
              from crier.recurring r cross join unnest($2::timestamptz[], $3::text[]) as x(slot, text)
             where r.id = $1 and x.slot = any($4) order by x.slot
            returning id, run_at",
        )
        .bind(row.id)
        .bind(&slots)
        .bind(&texts)
        .bind(&fresh)
        .fetch_all(&mut *tx)
        .await?;
        let (ids, times): (Vec<i64>, Vec<DateTime<Utc>>) = jobs.into_iter().unzip();
        sqlx::query(
            "-- expand_recurring: which job a slot became
            update crier.recurring_slots s set job_id = x.id from unnest($2::bigint[], $3::timestamptz[]) as x(id, slot)
             where s.recurring_id = $1 and s.slot = x.slot",
        )
        .bind(row.id)
        .bind(&ids)
        .bind(&times)
        .execute(&mut *tx)
        .await?;
        let created = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        sqlx::query(
            "-- expand_recurring: settled
            update crier.recurring set expanded_until = $2, next_at = $3, slots = slots + $4, error = null where id = $1",
        )
        .bind(row.id)
        .bind(expansion.until)
        .bind(expansion.next_at)
        .bind(i64::try_from(created).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let asked = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        Ok(Expanded::Done {
            created,
            duplicates: asked.saturating_sub(created),
        })
    }

    /// Says on the row why no jobs are made of it, and looks again after `retry`, or only once it was edited. Its slots stay
    /// to be settled.
    pub async fn recurring_fault(
        &self,
        row: &RecurringRow,
        error: &Value,
        retry: Option<Duration>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "-- recurring_fault
            update crier.recurring set error = $3, next_at = crier.now() + $4 * interval '1 microsecond'
             where id = $1 and revision = $2 and not paused",
        )
        .bind(row.id)
        .bind(row.revision)
        .bind(error)
        .bind(retry.map(micros))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
