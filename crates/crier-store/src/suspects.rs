//! Rows that break whoever looks at them: what a scheduler has in hand is said beforehand, so that its successor knows what
//! it died of.
//!
//! **Invariant:** a row is put aside after a bounded number of schedulers died or broke down over it, and no row is put
//! aside that was not alone in hand the last time.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{Store, StoreError};

/// Times that whoever does a thing may die of it before the thing is put aside (queues.md 5.1, pitfall 10).
pub const CRASH_BOUND: i16 = 3;
/// From so many on, it is done by itself.
pub(crate) const ALONE_FROM: i16 = CRASH_BOUND - 1;

/// A step of the scheduler that reads what people wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risky {
    /// Looking at new jobs and their files; subjects are jobs.
    Checks,
    /// Expanding recurring posts; subjects are their rows.
    Recurring,
}

impl Risky {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Recurring => "recurring",
        }
    }
}

impl Store {
    /// Says what this scheduler is about to do, in a commit of its own.
    pub async fn take_in_hand(
        &self,
        step: Risky,
        me: Uuid,
        subjects: &[i64],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "-- take_in_hand
            insert into crier.in_hand (step, holder, subjects) values ($1, $2, $3)
            on conflict (step, holder) do update set subjects = excluded.subjects, since = crier.now()",
        )
        .bind(step.as_str())
        .bind(me)
        .bind(subjects)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It is done.
    pub async fn put_down(&self, step: Risky, me: Uuid) -> Result<(), StoreError> {
        sqlx::query(
            "-- put_down\nupdate crier.in_hand set subjects = '{}' where step = $1 and holder = $2",
        )
        .bind(step.as_str())
        .bind(me)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A scheduler takes over: what others left in hand is suspect. One that lives yet loses nothing by it. Answers how many
    /// rows.
    pub async fn suspect_what_was_left(&self, me: Uuid) -> Result<u64, StoreError> {
        Ok(sqlx::query(
            "-- suspect_what_was_left
            with left_behind as (delete from crier.in_hand where holder <> $1 returning step, subjects)
            insert into crier.suspects (step, subject)
            select distinct l.step, s from left_behind l cross join unnest(l.subjects) as s order by 1, 2
            on conflict (step, subject) do update set crashes = crier.suspects.crashes + 1",
        )
        .bind(me)
        .execute(&self.pool)
        .await?
        .rows_affected())
    }

    /// Which of them are suspect, and how many times somebody died or broke down over each.
    pub async fn suspects(
        &self,
        step: Risky,
        subjects: &[i64],
    ) -> Result<BTreeMap<i64, i16>, StoreError> {
        let rows: Vec<(i64, i16)> = sqlx::query_as(
            "-- suspects\nselect subject, crashes from crier.suspects where step = $1 and subject = any($2)",
        )
        .bind(step.as_str())
        .bind(subjects)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().collect())
    }

    /// This process broke down over it and lives. Answers how many times that was, or somebody died of it.
    pub async fn count_crash(&self, step: Risky, subject: i64) -> Result<i16, StoreError> {
        Ok(sqlx::query_scalar(
            "-- count_crash
            insert into crier.suspects (step, subject) values ($1, $2)
            on conflict (step, subject) do update set crashes = crier.suspects.crashes + 1 returning crashes",
        )
        .bind(step.as_str())
        .bind(subject)
        .fetch_one(&self.pool)
        .await?)
    }

    /// They were done without harm, or are put aside: a person's retry begins anew.
    pub async fn clear_suspects(&self, step: Risky, subjects: &[i64]) -> Result<(), StoreError> {
        sqlx::query(
            "-- clear_suspects\ndelete from crier.suspects where step = $1 and subject = any($2)",
        )
        .bind(step.as_str())
        .bind(subjects)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
