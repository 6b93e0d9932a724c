//! Jobs of unknown outcome: who looks them up, and what else lays claim to the posts that are found.
//!
//! **Invariant:** one worker looks for a job at a time, and a limit on reading that one worker saw holds for all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::answer::Endpoint;
use crier_core::fault::Fault;
use crier_core::limit::{LimitClass, Window};
use crier_core::trace::Trace;
use serde_json::Value;
use uuid::Uuid;

use crate::claim::micros;
use crate::lease::Lease;
use crate::settle::{blocked, closing, save_windows};
use crate::suspects::{ALONE_FROM, CRASH_BOUND};
use crate::{Store, StoreError};

mod end;
mod operator;
mod standing;

pub use end::Absent;
pub use operator::Ruling;
pub use standing::{Awaited, Standing};

/// Calls older than this are not looked for: X remembers a post as long to refuse its duplicate (the-algorithm,
/// `TweetServiceSettings.scala`).
const MEMORY: Duration = Duration::from_hours(12);

/// A job to be looked up among the account's own posts.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The lease that every later write repeats.
    pub lease: Lease,
    /// The trace that the job belongs to.
    pub trace: Option<Trace>,
    /// Handle of the account.
    pub handle: String,
    /// Text as it was sent.
    pub text: String,
    /// Number of its media.
    pub media_count: usize,
    /// Other fields as in the column, or why that cannot be read.
    pub options: Result<Value, Fault>,
    /// It replies to another job's post.
    pub in_thread: bool,
    /// X's id of the account.
    pub x_user_id: String,
    /// Scopes granted; empty if they are not known.
    pub scopes: Vec<String>,
    /// When the job was to go out.
    pub run_at: DateTime<Utc>,
    /// When its row was inserted.
    pub created_at: DateTime<Utc>,
    /// When the last attempt's call left.
    pub since: DateTime<Utc>,
    /// When the first of its calls left that brought no trustworthy answer, a refusal as duplicate not counted. `None` if
    /// there is none: then X refused the very first call as a duplicate.
    pub first_doubtful: Option<DateTime<Utc>>,
    /// Looks that were made before.
    pub looks: usize,
    /// X refused the last attempt as a duplicate.
    pub duplicate_seen: bool,
    /// Looks in a row, until now, that failed with the code after it.
    pub unread: u32,
    /// Code of the last look's failure, if it failed.
    pub fault_code: Option<String>,
    /// X's limit on reading is used up until then.
    pub reads_blocked_until: Option<DateTime<Utc>>,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// Another job of the account whose fate is open: it is being sent, or unknown itself.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Rival {
    /// The job.
    pub job: i64,
    /// Its text.
    pub text: String,
    /// Whether it replies to another job's post.
    pub in_thread: bool,
    /// Number of its media.
    pub media_count: i32,
    /// Its other fields, empty if they cannot be read.
    pub options: Value,
    /// When the first of its doubtful calls left.
    pub first_sent: DateTime<Utc>,
    /// When the last of them left.
    pub last_sent: DateTime<Utc>,
}

/// Who else lays claim to the posts that were seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contest {
    /// Jobs whose fate is open.
    pub rivals: Vec<Rival>,
    /// Posts that belong to jobs already.
    pub taken: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    job: i64,
    account: i64,
    token: i64,
    trace: String,
    handle: String,
    text: String,
    in_thread: bool,
    media_count: i32,
    options: String,
    x_user_id: String,
    scopes: Vec<String>,
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    since: DateTime<Utc>,
    first_sent: Option<DateTime<Utc>>,
    looks: i16,
    duplicate_seen: bool,
    unread: i16,
    fault_code: Option<String>,
    reads_blocked_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl Store {
    /// Claims up to `limit` searches that are due; each lease lasts `ttl` by the database's clock. A search whose job was
    /// deleted or settled otherwise is dropped. One of an account that has to log in waits for that: nothing could be read.
    pub async fn claim_reconciles(
        &self,
        worker: Uuid,
        limit: i64,
        ttl: Duration,
    ) -> Result<Vec<Look>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "-- claim_reconciles
            with due as materialized (
              select r.job_id from crier.reconciles r where r.next_at <= crier.now()
                 and not exists (select 1 from crier.accounts a where a.id = r.account_id and a.status = 'needs_login')
                 -- One over which two workers died is searched for by itself, so that it takes no other along.
                 and (r.crashes < $6 or (r.job_id = (select s.job_id from crier.reconciles s where s.next_at <= crier.now() and s.crashes >= $6
                        and not exists (select 1 from crier.accounts b where b.id = s.account_id and b.status = 'needs_login')
                      order by s.next_at, s.job_id limit 1)
                      and not exists (select 1 from crier.leases k where k.worker = $1 and k.alone)))
               order by r.next_at limit $2 for update of r skip locked
            ), jobs as materialized (
              select j.id, j.text, j.after is not null as in_thread, jsonb_array_length(j.media) as media_count,
                     j.options::text, crier.readable(j.run_at) as run_at, j.created_at,
                     crier.trace_of(j.id, j.created_at, j.trace) as trace
                from due d join crier.jobs_open j on j.id = d.job_id where j.state = 'unknown'
            ), gone as (
              delete from crier.reconciles where job_id in (select job_id from due except select id from jobs)
            ), leased as (
              -- A lease that is left of an earlier search of the job keeps this one waiting: its holder may write yet.
              insert into crier.leases (kind, subject, account_id, worker, expires_at, alone)
              select 'reconcile', r.job_id, r.account_id, $1, crier.now() + $3 * interval '1 microsecond', r.crashes >= $6
                from crier.reconciles r where r.job_id in (select id from jobs) order by r.job_id
              on conflict do nothing returning subject, token
            ), held as (
              update crier.reconciles r set next_at = null where r.job_id in (select subject from leased) returning r.*
            )
            select h.job_id as job, h.account_id as account, l.token, j.trace, a.handle, j.text, j.in_thread, j.media_count, j.options, a.x_user_id, a.scopes,
                   j.run_at, j.created_at, h.since, sent.first_sent, h.looks, h.duplicate_seen, h.unread, h.fault ->> 'code' as fault_code,
                   (select max(w.resets_at) from crier.limit_windows w
                     where w.endpoint = $5 and w.remaining <= 0 and w.resets_at > crier.now()
                       and ((w.class = 'account' and w.owner_id = a.id) or (w.class = 'app' and w.owner_id = a.app_id))
                   ) as reads_blocked_until,
                   crier.now() as now
              from held h join leased l on l.subject = h.job_id join jobs j on j.id = h.job_id
              join crier.accounts a on a.id = h.account_id
              cross join lateral (
                select min(coalesce(t.sent_at, t.started_at)) as first_sent from crier.attempts t
                 where t.job_id = h.job_id and t.step = 'publish' and t.outcome = 'unknown' and t.code is distinct from 'duplicate'
                   and (t.id = h.attempt_id or t.started_at > crier.now() - $4 * interval '1 microsecond')) sent",
        )
        .bind(worker)
        .bind(limit)
        .bind(micros(ttl))
        .bind(micros(MEMORY))
        .bind(Endpoint::UserPosts.label())
        .bind(ALONE_FROM)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(look).collect())
    }

    /// Who else may have made these posts. Ask after they were listed: whatever job made one of them is then among the
    /// rivals, or its post among the taken. The rivals are read first, since a rival that settles turns into a taken post.
    pub async fn contest(&self, lease: &Lease, post_ids: &[String]) -> Result<Contest, StoreError> {
        let rivals: Vec<Rival> = sqlx::query_as(
            "-- contest
            with others as (
              select job_id, attempt_id from crier.reconciles where account_id = $1
              union select subject, attempt_id from crier.leases where account_id = $1 and kind = 'publish' and phase = 'sending'
            )
            select j.id as job, j.text, j.after is not null as in_thread, jsonb_array_length(j.media) as media_count,
                   crier.readable(j.options) as options, sent.first_sent, sent.last_sent
              from others o join crier.jobs_open j on j.id = o.job_id
              cross join lateral (
                select min(coalesce(t.sent_at, t.started_at)) filter (where t.code is distinct from 'duplicate') as first_sent,
                       max(coalesce(t.sent_at, t.started_at)) as last_sent
                  from crier.attempts t
                 where t.job_id = o.job_id and t.step = 'publish' and (t.outcome is null or t.outcome = 'unknown')
                   -- The last one whatever its age: nobody may have looked for long.
                   and (t.id = o.attempt_id or t.started_at > crier.now() - $3 * interval '1 microsecond')) sent
             where o.job_id <> $2 and sent.first_sent is not null",
        )
            .bind(lease.account)
            .bind(lease.subject)
            .bind(micros(MEMORY))
            .fetch_all(&self.pool)
            .await?;
        let taken = self.adopted(post_ids).await?;
        Ok(Contest { rivals, taken })
    }

    /// Those of the posts that belong to jobs already.
    pub async fn adopted(&self, post_ids: &[String]) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- adopted\nselect post_id from crier.posts where post_id = any($1)",
        )
        .bind(post_ids)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Takes back up to `limit` searches from workers that died or stalled; they are due at once, since looking does no
    /// harm. One that has cost too many workers is left to a person. Answers how many were taken back.
    pub async fn expire_reconcile_leases(&self, limit: i64) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let jobs: Vec<i64> = sqlx::query_scalar(
            "-- expire_reconcile_leases
            delete from crier.leases where ctid = any(array(
              select ctid from crier.leases where kind = 'reconcile' and expires_at < crier.now() limit $1 for update skip locked))
            returning subject",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if jobs.is_empty() {
            return Ok(0);
        }
        sqlx::query(
            "-- expire_reconcile_leases
            with mine as materialized (
              select job_id from crier.reconciles where job_id = any($1) and next_at is null order by job_id for update
            ), counted as (
              update crier.reconciles r set crashes = r.crashes + 1, next_at = case when r.crashes + 1 < $2 then crier.now() end
                from mine m where r.job_id = m.job_id returning r.job_id, r.crashes
            )
            update crier.jobs_open j set error = jsonb_build_object(
                'code', 'quarantined', 'title', 'workers died while they looked this job up', 'step', 'reconcile',
                'detail', format('%s workers in a row died or stalled over it', c.crashes),
                'hint', format('look at the workers'' logs for job %s and at the account on X, then `crier jobs settle %s --published POST_ID` or `--retry`', j.id, j.id))
              from counted c where j.id = c.job_id and c.crashes >= $2 and j.state = 'unknown'",
        )
        .bind(&jobs)
        .bind(CRASH_BOUND)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(u64::try_from(jobs.len()).unwrap_or(u64::MAX))
    }

    /// Keeps what X said of its limit on reading, for every worker: searches of an account (or of all accounts of an
    /// app) whose window is used up wait for its reset. The lanes are not concerned.
    pub async fn note_read_windows(
        &self,
        account: i64,
        windows: &[Window],
    ) -> Result<(), StoreError> {
        if windows.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        save_windows(&mut tx, account, Endpoint::UserPosts.label(), windows).await?;
        let closing = closing(&mut tx, windows).await?;
        for class in [LimitClass::Account, LimitClass::App] {
            let Some(until) = blocked(&closing, class) else {
                continue;
            };
            sqlx::query(
                "-- note_read_windows
                update crier.reconciles set next_at = greatest(next_at, $3) where next_at is not null and job_id in (
                  select r.job_id from crier.reconciles r join crier.accounts a on a.id = r.account_id
                   where r.next_at < $3
                     and (a.id = $1 or ($2 = 'app' and a.app_id = (select app_id from crier.accounts where id = $1)))
                   order by r.job_id for update of r)",
            )
            .bind(account)
            .bind(class.as_str())
            .bind(until)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn look(row: Row) -> Look {
    Look {
        lease: Lease {
            kind: "reconcile",
            subject: row.job,
            account: row.account,
            token: row.token,
        },
        trace: Trace::parse(&row.trace),
        handle: row.handle,
        text: row.text,
        in_thread: row.in_thread,
        media_count: usize::try_from(row.media_count).unwrap_or(0),
        options: crate::column::options(&row.options),
        x_user_id: row.x_user_id,
        scopes: row.scopes,
        run_at: row.run_at,
        created_at: row.created_at,
        since: row.since,
        first_doubtful: row.first_sent,
        looks: usize::try_from(row.looks).unwrap_or(0),
        duplicate_seen: row.duplicate_seen,
        unread: u32::try_from(row.unread).unwrap_or(0),
        fault_code: row.fault_code,
        reads_blocked_until: row.reads_blocked_until,
        now: row.now,
    }
}
