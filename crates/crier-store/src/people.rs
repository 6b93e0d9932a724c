//! What people ask for at the command line: listings, pausing, a new job.
//!
//! **Invariant:** no listing counts rows; each stops at a limit. What a person changes takes the same locks in the same
//! order as what workers change.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::lease::{lock_lanes, open_lanes};
use crate::{Store, StoreError};

/// Waiting jobs of an account are counted up to here.
pub const MOST_WAITING: i64 = 1_000;

/// States of `crier.jobs`, in the order of a job's life.
pub const JOB_STATES: [&str; 7] = [
    "scheduled",
    "paused",
    "unknown",
    "published",
    "failed",
    "cancelled",
    "missed",
];

/// An account as a listing shows it. Times are seconds by the database's clock.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct AccountRow {
    /// Handle without `@`.
    pub account: String,
    /// `active`, `needs_login`, `paused` or `suspended`.
    pub status: String,
    /// Why it is not active.
    pub reason: Option<Value>,
    /// X's id of the account.
    pub x_user_id: String,
    /// The developer app of its OAuth 2.0 grant.
    pub app: Option<String>,
    /// `active` or `paused`.
    pub app_status: Option<String>,
    /// Why the app is paused.
    pub app_reason: Option<Value>,
    /// When X is next asked whether it, or its app, may go on.
    pub probe_at: Option<DateTime<Utc>>,
    /// Scopes granted.
    pub scopes: Vec<String>,
    /// Weighted characters allowed.
    pub text_limit: i32,
    /// `standard` or `premium`.
    pub tier: String,
    /// `v2` or `v1_update_with_media`.
    pub publisher: String,
    /// Seconds until the access token ends, negative once it has.
    pub token_expires_in_s: Option<f64>,
    /// Seconds since the token was last renewed.
    pub token_age_s: Option<f64>,
    /// Whether OAuth 1.0a tokens are kept too.
    pub has_oauth1: bool,
    /// When its next job may be claimed; none if nothing waits or one is in flight.
    pub next_at: Option<DateTime<Utc>>,
    /// Closed until then by a limit.
    pub closed_until: Option<DateTime<Utc>>,
    /// Closed until a person acts.
    pub closed: bool,
    /// A job is being published now.
    pub in_flight: bool,
    /// Jobs that wait, counted up to [`MOST_WAITING`].
    pub waiting: i64,
}

/// A job as a listing shows it.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct JobRow {
    /// Its number.
    pub id: i64,
    /// Handle without `@`.
    pub account: String,
    /// One of [`JOB_STATES`].
    pub state: String,
    /// When it is to go out.
    pub run_at: DateTime<Utc>,
    /// When it is tried again, if it was put off.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When X accepted it.
    pub published_at: Option<DateTime<Utc>>,
    /// Its campaign.
    pub campaign: Option<String>,
    /// Job it replies to.
    pub after: Option<i64>,
    /// Its text.
    pub text: String,
    /// Its media; as one text if they are out of bounds.
    pub media: Value,
    /// Attempts that counted so far.
    pub attempts: i16,
    /// Id of the post on X.
    pub post_id: Option<String>,
    /// Address of the post on X.
    pub post_url: Option<String>,
    /// When the post was deleted again.
    pub unpublished_at: Option<DateTime<Utc>>,
    /// Why it did not go out, or not yet.
    pub error: Option<Value>,
    /// What will go wrong unless it is mended.
    pub warning: Option<Value>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// Columns of [`JobRow`], of a table that is called `jobs` there.
pub(crate) const JOB_COLUMNS: &str = "id, account, state, crier.readable(run_at) as run_at, crier.readable(next_attempt_at) as next_attempt_at, published_at, campaign, after, text, crier.readable(media) as media, attempts, post_id, post_url, (select p.deleted_at from crier.posts p where p.job_id = jobs.id) as unpublished_at, crier.readable(error) as error, crier.readable(warning) as warning, updated_at";

/// Which jobs a listing shows; the newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only these numbers, if any are given.
    pub ids: Vec<i64>,
    /// Only these states, if any are given. Words that are no states match nothing.
    pub states: Vec<String>,
    /// Only this campaign.
    pub campaign: Option<String>,
    /// Only this account (its number).
    pub account: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// A job to insert; what is absent takes the column's default.
#[derive(Debug, Clone, Default)]
pub struct NewJob {
    /// Handle, with or without `@`.
    pub account: String,
    /// Text.
    pub text: String,
    /// Media, as the column takes it.
    pub media: Option<Value>,
    /// Other fields of `POST /2/tweets`.
    pub options: Option<Value>,
    /// When, as Postgres reads an instant, such as `2026-12-01 09:00 Europe/Berlin`.
    pub run_at: Option<String>,
    /// Higher goes first.
    pub priority: Option<i16>,
    /// Campaign.
    pub campaign: Option<String>,
    /// Job to reply to.
    pub after: Option<i64>,
    /// Unique per account.
    pub dedupe_key: Option<String>,
    /// Interval, as Postgres reads it, such as `30 minutes`.
    pub max_lateness: Option<String>,
    /// Trace that it belongs to.
    pub trace: Option<String>,
}

/// What became of a job to insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// A new job.
    New(i64),
    /// Its dedupe key was used before, by this job.
    Known(i64),
}

impl Store {
    /// Accounts with what a listing shows of them, by handle; one account if a handle is given.
    pub async fn account_rows(&self, handle: Option<&str>) -> Result<Vec<AccountRow>, StoreError> {
        Ok(sqlx::query_as(
            "-- account_rows
            select a.handle as account, a.status, a.reason, a.x_user_id, p.client_id as app, p.status as app_status, p.reason as app_reason,
                   coalesce(a.probe_at, p.probe_at) as probe_at,
                   a.scopes, a.text_limit, a.tier, a.publisher, extract(epoch from c.access_expires_at - crier.now())::float8 as token_expires_in_s,
                   extract(epoch from crier.now() - c.rotated_at)::float8 as token_age_s,
                   exists (select 1 from crier.credentials o where o.account_id = a.id and o.kind = 'oauth1') as has_oauth1,
                   case when isfinite(l.next_at) then crier.readable(l.next_at) end as next_at,
                   case when isfinite(l.not_before) and l.not_before > crier.now() then l.not_before end as closed_until,
                   coalesce(l.not_before = 'infinity', false) as closed, coalesce(l.in_flight, false) as in_flight,
                   (select count(*) from (select 1 from crier.jobs_open j where j.account_id = a.id and j.state = 'scheduled' and j.held = 0
                                          limit $2) w) as waiting
              from crier.accounts a left join crier.apps p on p.id = a.app_id left join crier.lanes l on l.account_id = a.id
              left join crier.credentials c on c.account_id = a.id and c.kind = 'oauth2'
             where $1::text is null or lower(a.handle) = lower(ltrim($1, '@'))
             order by lower(a.handle)",
        )
        .bind(handle)
        .bind(MOST_WAITING)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Lets an account publish again, and its app if that was stopped; with the app all its active accounts.
    /// Answers the handles of the accounts that go on.
    pub async fn resume_account(&self, account: i64) -> Result<Vec<String>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let accounts: Vec<i64> = sqlx::query_scalar(
            "-- resume_account
            select b.id from crier.accounts a join crier.accounts b on b.id = a.id or (b.app_id = a.app_id and b.status = 'active'
              and exists (select 1 from crier.apps p where p.id = a.app_id and p.status = 'paused'))
             where a.id = $1 order by b.id",
        )
        .bind(account)
        .fetch_all(&mut *tx)
        .await?;
        lock_lanes(&mut tx, &accounts).await?;
        sqlx::query("-- resume_account\nupdate crier.apps p set status = 'active', reason = null from crier.accounts a where a.id = $1 and p.id = a.app_id and p.status = 'paused'")
            .bind(account)
            .execute(&mut *tx)
            .await?;
        sqlx::query("-- resume_account\nupdate crier.accounts set status = 'active', reason = null, updated_at = crier.now() where id = $1 and status <> 'active'")
            .bind(account)
            .execute(&mut *tx)
            .await?;
        // A limit that X counts still holds: only what waited for a person opens.
        open_lanes(&mut tx, &accounts).await?;
        let handles = sqlx::query_scalar("-- resume_account\nselect handle from crier.accounts where id = any($1) order by lower(handle)")
            .bind(&accounts)
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(handles)
    }

    /// Jobs by a filter, the newest first.
    pub async fn job_rows(&self, filter: &JobFilter) -> Result<Vec<JobRow>, StoreError> {
        // Words of a closed set, as literals: partitions are then left out at planning.
        let states: Vec<String> = JOB_STATES
            .iter()
            .filter(|known| {
                filter.states.is_empty() || filter.states.iter().any(|wanted| wanted == *known)
            })
            .map(|state| format!("'{state}'"))
            .collect();
        let states = if states.is_empty() {
            "false".to_owned()
        } else {
            format!("state in ({})", states.join(", "))
        };
        let sql = format!(
            "-- job_rows
            select {JOB_COLUMNS} from crier.jobs
             where {states} and ($1 or id = any($2)) and ($3::text is null or campaign = $3) and ($4::bigint is null or account_id = $4)
             order by id desc limit $5"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(filter.ids.is_empty())
            .bind(&filter.ids)
            .bind(&filter.campaign)
            .bind(filter.account)
            .bind(filter.limit)
            .fetch_all(&self.pool)
            .await?)
    }

    /// One job with all its columns.
    pub async fn job(&self, id: i64) -> Result<Option<Value>, StoreError> {
        Ok(
            sqlx::query_scalar("-- job\nselect to_jsonb(j) || jsonb_build_object('media', crier.readable(j.media), 'options', crier.readable(j.options), 'error', crier.readable(j.error), 'warning', crier.readable(j.warning), 'unpublished_at', (select p.deleted_at from crier.posts p where p.job_id = j.id), 'trace_id', substring(crier.trace_of(j.id, j.created_at, j.trace) from '[0-9a-f]{32}')) from crier.jobs j where id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?,
        )
    }

    /// Inserts one job as a person's `INSERT` would.
    pub async fn insert_job(&self, job: &NewJob) -> Result<Inserted, StoreError> {
        let id: Option<i64> = sqlx::query_scalar(
            "-- insert_job
            insert into crier.jobs (account, text, media, options, run_at, priority, campaign, after, dedupe_key, max_lateness, trace)
            values ($1, $2, coalesce($3, '[]'), coalesce($4, '{}'), coalesce($5::text::timestamptz, crier.now()), coalesce($6, 0::smallint), $7, $8, $9,
                    $10::text::interval, $11)
            returning id",
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
        .bind(&job.trace)
        .fetch_optional(&self.pool)
        .await?;
        if let Some(id) = id {
            return Ok(Inserted::New(id));
        }
        self.known_job(job).await.map(Inserted::Known)
    }

    /// The job that has used the dedupe key before.
    pub(crate) async fn known_job(&self, job: &NewJob) -> Result<i64, StoreError> {
        let id: Option<i64> = sqlx::query_scalar(
            "-- insert_job
            select k.job_id from crier.job_keys k join crier.accounts a on a.id = k.account_id
             where lower(a.handle) = lower(ltrim(btrim($1), '@')) and k.dedupe_key = $2",
        )
        .bind(&job.account)
        .bind(&job.dedupe_key)
        .fetch_optional(&self.pool)
        .await?;
        id.ok_or_else(|| StoreError::Inconsistent {
            table: "jobs",
            detail: "the row was left out without a dedupe key".into(),
        })
    }

    /// Cancels a job that waits.
    pub async fn cancel_job(&self, job: i64) -> Result<(), StoreError> {
        sqlx::query("-- cancel_job\nselect crier.cancel($1)")
            .bind(job)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Schedules a job that ended again.
    pub async fn retry_job(&self, job: i64) -> Result<(), StoreError> {
        sqlx::query("-- retry_job\nselect crier.retry($1)")
            .bind(job)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
