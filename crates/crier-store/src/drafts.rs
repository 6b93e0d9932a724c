//! Rows as the early check would read them, for people who ask before it does.
//!
//! **Invariant:** asking changes nothing: a row that is only tried leaves no trace.

use chrono::{DateTime, Utc};

use crate::checks::{CheckDraft, draft};
use crate::people::NewJob;
use crate::{Store, StoreError};

/// Number of a job that is only tried: no sequence moves for it.
const TRIAL: i64 = 0;

/// Which waiting jobs to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// These.
    Jobs(Vec<i64>),
    /// Those of a campaign.
    Campaign(String),
    /// All.
    All,
}

/// A waiting job as its check reads it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct WaitingDraft {
    /// The job.
    pub job: i64,
    /// What its check would read.
    #[sqlx(json)]
    pub draft: CheckDraft,
}

/// What an `INSERT` would have come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Trial {
    /// A new row.
    New {
        /// As the early check would read it.
        draft: Box<CheckDraft>,
        /// `scheduled`, or `paused` with its campaign.
        state: String,
        /// Post that it would reply to, if the job named by `after` is published.
        reply_to: Option<String>,
        /// When it would go out.
        run_at: DateTime<Utc>,
    },
    /// None: its dedupe key was used before, by this job.
    Known(i64),
}

impl Store {
    /// Up to `limit` waiting jobs with a number above `above`, in the order of their numbers.
    pub async fn waiting_drafts(
        &self,
        waiting: &Waiting,
        above: i64,
        limit: i64,
    ) -> Result<Vec<WaitingDraft>, StoreError> {
        let (ids, campaign) = match waiting {
            Waiting::Jobs(ids) => (Some(ids), None),
            Waiting::Campaign(name) => (None, Some(name)),
            Waiting::All => (None, None),
        };
        Ok(sqlx::query_as(concat!(
            "-- waiting_drafts
            select w.id as job, to_jsonb(d) as draft
              from (select id from crier.jobs
                     where state in ('scheduled', 'paused') and id > $1 and ($2::bigint[] is null or id = any($2)) and ($3::text is null or campaign = $3)
                     order by id limit $4) w
              cross join lateral (",
            draft!(),
            " where j.id = w.id limit 1) d order by w.id"
        ))
        .bind(above)
        .bind(ids)
        .bind(campaign)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Does what [`Store::insert_job`] would do, reads what came of it, and takes it back.
    ///
    /// # Errors
    /// The database's words if the row would be refused.
    pub async fn try_job(&self, job: &NewJob) -> Result<Trial, StoreError> {
        let mut tx = self.pool.begin().await?;
        let tried: Option<(String, DateTime<Utc>, Option<i64>)> = sqlx::query_as(
            "-- try_job
            insert into crier.jobs (id, account, text, media, options, run_at, priority, campaign, after, dedupe_key, max_lateness, trace)
            overriding system value
            values ($11, $1, $2, coalesce($3, '[]'), coalesce($4, '{}'), coalesce($5::text::timestamptz, crier.now()), coalesce($6, 0::smallint), $7, $8, $9,
                    $10::text::interval, $12)
            returning state, crier.readable(run_at), after",
        )
        .bind(&job.account)
        .bind(&job.text)
        .bind(&job.media)
        .bind(&job.options)
        .bind(&job.run_at)
        .bind(job.priority)
        .bind(&job.campaign)
        .bind(job.after)
        .bind(&job.dedupe_key)
        .bind(&job.max_lateness)
        .bind(TRIAL)
        .bind(&job.trace)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((state, run_at, after)) = tried else {
            tx.rollback().await?;
            return Ok(Trial::Known(self.known_job(job).await?));
        };
        let draft: sqlx::types::Json<CheckDraft> = sqlx::query_scalar(concat!(
            "-- try_job\nselect to_jsonb(d) from (",
            draft!(),
            " where j.id = $1) d"
        ))
        .bind(TRIAL)
        .fetch_one(&mut *tx)
        .await?;
        let reply_to =
            sqlx::query_scalar("-- try_job\nselect post_id from crier.posts where job_id = $1")
                .bind(after)
                .fetch_optional(&mut *tx)
                .await?;
        tx.rollback().await?;
        Ok(Trial::New {
            draft: Box::new(draft.0),
            state,
            reply_to,
            run_at,
        })
    }
}
