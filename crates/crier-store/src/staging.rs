//! Media on its way to X: the queue of uploads, and who has which in hand.
//!
//! A row of `crier.media_uploads` is one file of one job. Its `next_at` says when to look at it again: when staging is
//! due, when a put-off ends, or, of a file that is ready, when its media id is used up. Null is in hand.
//!
//! **Invariant:** a job is released (`held` bit 1 cleared) only in the commit that sees every file of its `media` column,
//! as it stands then and for the account it has then, ready. **Invariant:** a row that nobody can serve (its account
//! waits for a person, its job is paused) leaves the scanned range; [`Store::sweep_uploads`] brings it back.
//!
//! Lock order within a job: leases by subject, uploads by id, the job.

mod lent;
mod plan;
mod steps;
mod take_back;
mod windows;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::fault::Fault;
use crier_core::tier::Tier;
use crier_core::trace::Trace;
use serde_json::Value;
use uuid::Uuid;

pub use lent::Lent;
pub use steps::PutOff;
pub use take_back::StageExpired;
pub(crate) use take_back::media_margin;

use crate::claim::micros;
use crate::gate::Conn;
use crate::lease::Lease;
use crate::suspects::ALONE_FROM;
use crate::{Store, StoreError};

/// Endpoints that staging calls; a used-up window of any of them holds back the account's uploads.
const ENDPOINTS: [&str; 7] = [
    "POST /2/media/upload/initialize",
    "POST /2/media/upload/{id}/append",
    "POST /2/media/upload/{id}/finalize",
    "GET /2/media/upload",
    "POST /2/media/metadata",
    "POST /2/media/subtitles",
    "POST /2/media/upload",
];

/// One file of one job, in hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// The lease that every later write repeats; its subject is the upload.
    pub lease: Lease,
    /// The job.
    pub job: i64,
    /// The trace that it belongs to.
    pub trace: Option<Trace>,
    /// Handle of the account.
    pub handle: String,
    /// Place among the job's media, from 0.
    pub position: i16,
    /// The item of the job's `media` column, or why it cannot be read.
    pub item: Result<Value, Fault>,
    /// Every segment is acknowledged, and finalize may have been sent.
    pub finalizing: bool,
    /// Session at X, if one is open.
    pub media_id: Option<String>,
    /// Category that the session was opened with.
    pub category: Option<String>,
    /// Size and modification time of the file at the first segment.
    pub file_stamp: Option<String>,
    /// Size of the segments, or of those to try next after X found larger ones too large; `None` beside a media id: X has the file as a whole.
    pub segment_bytes: Option<i32>,
    /// Size of the segments that X took of this account lately, after it had found larger ones too large.
    pub account_segment_bytes: Option<i32>,
    /// X has acknowledged all segments below this one.
    pub segments_done: i32,
    /// Until when the session can be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// Attempts that failed before this one.
    pub attempts: i16,
    /// Bound of attempts, of the job.
    pub max_attempts: i16,
    /// What X allows the account.
    pub tier: Tier,
    /// When the job is to go out.
    pub run_at: DateTime<Utc>,
    /// The database's time at the claim.
    pub now: DateTime<Utc>,
}

/// An upload that X has begun, to be kept before its first segment leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// X's media id.
    pub media_id: String,
    /// MIME type.
    pub media_type: String,
    /// X's category.
    pub category: String,
    /// Size of the file.
    pub total_bytes: i64,
    /// Size and modification time of the file.
    pub file_stamp: String,
    /// Size of the segments; `None`: X has the file as a whole.
    pub segment_bytes: Option<i32>,
    /// Life of the session in seconds, if X said.
    pub expires_in_s: Option<u64>,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    id: i64,
    job_id: i64,
    account_id: i64,
    position: i16,
    item: String,
    state: String,
    media_id: Option<String>,
    category: Option<String>,
    file_stamp: Option<String>,
    segment_bytes: Option<i32>,
    account_segment_bytes: Option<i32>,
    segments_done: i32,
    expires_at: Option<DateTime<Utc>>,
    attempts: i16,
    crashes: i16,
    max_attempts: i16,
    tier: String,
    handle: String,
    trace: Option<String>,
    run_at: DateTime<Utc>,
    now: DateTime<Utc>,
    fate: String,
}

/// What a due row is (`ended` also where an edit took the file away, `sent` while the create call is in flight), told by a
/// statement that is younger than the rows' locks.
const FATES: &str = "-- claim_uploads: fates
    select u.id, u.job_id, u.account_id, u.position, u.item::text, u.state, u.media_id, u.category, u.file_stamp, u.segment_bytes,
           u.segments_done, u.expires_at, u.attempts, u.crashes, coalesce(j.max_attempts, 1::smallint) as max_attempts,
           coalesce(a.tier, 'standard') as tier, coalesce(a.handle, '') as handle, crier.trace_of(j.id, j.created_at, j.trace) as trace,
           case when a.segment_noted_at > crier.now() - interval '1 day' then a.segment_bytes end as account_segment_bytes,
           coalesce(crier.readable(j.run_at), crier.now()) as run_at, crier.now() as now,
           case when j.id is null or j.media -> u.position::int is null then 'ended'
                when j.account_id <> u.account_id or j.media -> u.position::int is distinct from u.item then 'stale'
                when exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending') then 'sent'
                when u.state = 'ready' and j.state = 'unknown' then 'parked'
                when u.state = 'ready' then 'used_up'
                when j.state <> 'scheduled' or a.status <> 'active' or p.status = 'paused' or crier.budget_opens(p.id) is not null then 'parked'
                when coalesce(j.next_attempt_at, j.run_at) - $3 * interval '1 microsecond' > crier.now() then 'early'
                when w.until is not null then 'limited'
                else 'due' end as fate
      from crier.media_uploads u
      left join crier.jobs_open j on j.id = u.job_id
      left join crier.accounts a on a.id = u.account_id
      left join crier.apps p on p.id = a.app_id
      left join lateral (
        select max(w.resets_at) as until from crier.limit_windows w
         where w.endpoint = any($2) and w.remaining <= 0 and w.resets_at > crier.now()
           and ((w.class = 'account' and w.owner_id = u.account_id) or (w.class = 'app' and w.owner_id = a.app_id))) w on true
     where u.id = any($1) order by u.id";

impl Store {
    /// Claims up to `limit` files of jobs that are due within `lead`; each lease lasts `ttl` by the database's clock. Rows
    /// that nobody may serve now are put out of the way in the same commit.
    pub async fn claim_uploads(
        &self,
        worker: Uuid,
        limit: i64,
        ttl: Duration,
        lead: Duration,
    ) -> Result<Vec<Upload>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let due: Vec<i64> = sqlx::query_scalar(
            "-- claim_uploads: gates
            select id from crier.media_uploads where next_at <= crier.now() order by next_at limit $1 for update skip locked",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Candidate> = sqlx::query_as(FATES)
            .bind(&due)
            .bind(ENDPOINTS.as_slice())
            .bind(micros(lead))
            .fetch_all(&mut *tx)
            .await?;
        put_aside(&mut tx, &rows, lead).await?;
        let passed_over = pass_over(&mut tx, worker, &rows).await?;
        let (picked, accounts): (Vec<i64>, Vec<i64>) = rows
            .iter()
            .filter(|row| row.fate == "due" && !passed_over.contains(&row.id))
            .map(|row| (row.id, row.account_id))
            .unzip();
        let alone: Vec<bool> = rows
            .iter()
            .filter(|row| picked.contains(&row.id))
            .map(|row| row.crashes >= ALONE_FROM)
            .collect();
        let tokens: Vec<(i64, i64)> = sqlx::query_as(
            "-- claim_uploads: leases
            with busy as (
              update crier.media_uploads set next_at = null, updated_at = crier.now() where id = any($1))
            insert into crier.leases (kind, subject, account_id, worker, expires_at, alone)
            select 'stage', s.id, s.account, $3, crier.now() + $4 * interval '1 microsecond', s.alone
              from unnest($1::bigint[], $2::bigint[], $5::boolean[]) as s(id, account, alone) order by s.id
            returning subject, token",
        )
        .bind(&picked)
        .bind(&accounts)
        .bind(worker)
        .bind(micros(ttl))
        .bind(&alone)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let (_, token) = tokens.iter().find(|(id, _)| *id == row.id)?;
                Some(upload(row, *token))
            })
            .collect())
    }

    /// How long until the next upload is due, by the database's clock; `None` if nothing waits. Negative is overdue.
    pub async fn until_next_upload(&self) -> Result<Option<TimeDelta>, StoreError> {
        let micros: Option<i64> = sqlx::query_scalar(
            "-- until_next_upload
            select (extract(epoch from next_at - crier.now()) * 1000000)::bigint
              from crier.media_uploads where next_at is not null order by next_at limit 1",
        )
        .fetch_optional(&self.pool)
        .await?
        .flatten();
        Ok(micros.map(TimeDelta::microseconds))
    }
}

fn upload(row: Candidate, token: i64) -> Upload {
    Upload {
        lease: Lease {
            kind: "stage",
            subject: row.id,
            account: row.account_id,
            token,
        },
        job: row.job_id,
        trace: row.trace.as_deref().and_then(Trace::parse),
        handle: row.handle,
        position: row.position,
        item: crate::column::media(&row.item),
        finalizing: row.state == "processing",
        media_id: row.media_id,
        category: row.category,
        file_stamp: row.file_stamp,
        segment_bytes: row.segment_bytes,
        account_segment_bytes: row.account_segment_bytes,
        segments_done: row.segments_done,
        expires_at: row.expires_at,
        attempts: row.attempts,
        max_attempts: row.max_attempts,
        tier: Tier::from_word(&row.tier),
        run_at: row.run_at,
        now: row.now,
    }
}

/// Of files over which two workers died, a worker takes one at a time: whichever it is, it takes no other along. The others
/// leave the front of the queue for a moment; answers which.
async fn pass_over(
    tx: &mut Conn,
    worker: Uuid,
    rows: &[Candidate],
) -> Result<Vec<i64>, StoreError> {
    let mut suspects: Vec<i64> = rows
        .iter()
        .filter(|row| row.fate == "due" && row.crashes >= ALONE_FROM)
        .map(|row| row.id)
        .collect();
    if suspects.is_empty() {
        return Ok(suspects);
    }
    let busy: bool = sqlx::query_scalar(
        "-- pass_over\nselect exists (select 1 from crier.leases where worker = $1 and alone)",
    )
    .bind(worker)
    .fetch_one(&mut *tx)
    .await?;
    if !busy {
        suspects.remove(0);
    }
    sqlx::query(
        "-- pass_over
        update crier.media_uploads set next_at = crier.now() + interval '1 second', updated_at = crier.now() where id = any($1)",
    )
    .bind(&suspects)
    .execute(tx)
    .await?;
    Ok(suspects)
}

/// Rows that are due and cannot be served leave the front of the queue, each for a time that fits. `error` stays null
/// where nothing went wrong: by that the sweep knows a row that it may bring forward.
async fn put_aside(tx: &mut Conn, rows: &[Candidate], lead: Duration) -> Result<(), StoreError> {
    let of = |fate: &str| -> Vec<i64> {
        let mine = rows.iter().filter(|row| row.fate == fate);
        mine.map(|row| row.id).collect()
    };
    let (ended, aside, limited, used_up) = (
        of("ended"),
        [of("stale"), of("sent"), of("parked")].concat(),
        of("limited"),
        of("used_up"),
    );
    if !ended.is_empty() {
        sqlx::query(
            "-- put_aside: their job has ended\ndelete from crier.media_uploads where id = any($1)",
        )
        .bind(&ended)
        .execute(&mut *tx)
        .await?;
    }
    if !aside.is_empty() {
        sqlx::query(
            "-- put_aside: edited and soon planned anew, being posted at this moment, or waiting for a person
            update crier.media_uploads u set error = null, updated_at = crier.now(),
                   next_at = crier.now() + case when u.id = any($2) then interval '5 seconds' else interval '6 hours' end
             where u.id = any($1)",
        )
        .bind(&aside)
        .bind([of("stale"), of("sent")].concat())
        .execute(&mut *tx)
        .await?;
    }
    if !limited.is_empty() {
        sqlx::query(
            "-- put_aside: until X's reset, which is stated in whole seconds
            update crier.media_uploads u set updated_at = crier.now(), error = jsonb_build_object('code', 'rate_limited'),
                   next_at = interval '1 second' + (
                     select max(w.resets_at) from crier.limit_windows w, crier.accounts a
                      where a.id = u.account_id and w.endpoint = any($2) and w.remaining <= 0
                        and ((w.class = 'account' and w.owner_id = a.id) or (w.class = 'app' and w.owner_id = a.app_id)))
             where u.id = any($1)",
        )
        .bind(&limited)
        .bind(ENDPOINTS.as_slice())
        .execute(&mut *tx)
        .await?;
    }
    let mut fresh: Vec<i64> = Vec::new();
    if !used_up.is_empty() {
        // A job whose row somebody holds keeps no other file waiting: it is looked at again.
        fresh = sqlx::query_scalar(
            "-- put_aside: media ids at the end of their life
            with free as materialized (
              select j.id from crier.jobs_open j where j.id in (select job_id from crier.media_uploads where id = any($1))
               order by j.id for no key update skip locked
            ), fresh as (
              update crier.media_uploads set state = 'waiting', media_id = null, segments_done = 0, file_stamp = null,
                     expires_at = null, updated_at = crier.now()
               where id = any($1) and job_id in (select id from free) returning id, job_id
            ), held as (
              update crier.media_uploads set next_at = crier.now() + interval '5 seconds', updated_at = crier.now()
               where id = any($1) and job_id not in (select id from free)
            ), waits as (
              update crier.jobs_open set held = held | 1::smallint where id in (select job_id from fresh) and held & 1 = 0)
            select id from fresh",
        )
        .bind(&used_up)
        .fetch_all(&mut *tx)
        .await?;
    }
    let early = [fresh, of("early")].concat();
    if !early.is_empty() {
        sqlx::query(
            "-- put_aside: when their job's time is near
            update crier.media_uploads u set error = null, updated_at = crier.now(),
                   next_at = greatest(crier.now(), coalesce(j.next_attempt_at, j.run_at) - $2 * interval '1 microsecond')
              from crier.jobs_open j where u.id = any($1) and j.id = u.job_id",
        )
        .bind(&early)
        .bind(micros(lead))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Takes every lock that staging of one job may need but the job's own, in order. Answers its uploads.
async fn lock_uploads(tx: &mut Conn, job: i64) -> Result<Vec<i64>, StoreError> {
    sqlx::query(
        "-- lock_uploads
        select 1 from crier.leases where kind = 'stage' and subject in (select id from crier.media_uploads where job_id = $1)
         order by subject for update",
    )
    .bind(job)
    .execute(&mut *tx)
    .await?;
    Ok(sqlx::query_scalar(
        "-- lock_uploads\nselect id from crier.media_uploads where job_id = $1 order by id for update",
    )
    .bind(job)
    .fetch_all(tx)
    .await?)
}

/// Releases the job if all its files are ready; the job is locked here, so that the next statement sees it as it is.
async fn release_if_ready(tx: &mut Conn, job: i64) -> Result<bool, StoreError> {
    sqlx::query(
        "-- release_if_ready\nselect 1 from crier.jobs_open where id = $1 for no key update",
    )
    .bind(job)
    .execute(&mut *tx)
    .await?;
    let released = sqlx::query(
        "-- release_if_ready
        update crier.jobs_open j set held = j.held & ~1::smallint,
               warning = case when j.warning ->> 'code' like 'media\\_%' then null else j.warning end,
               error = case when j.error ->> 'step' = 'media' then null else j.error end
         where j.id = $1 and j.held & 1 <> 0
           and (exists (select 1 from crier.accounts a where a.id = j.account_id and a.publisher <> 'v2') or jsonb_array_length(j.media) = (
             select count(*) from crier.media_uploads u
              where u.job_id = j.id and u.state = 'ready' and u.expires_at > crier.now()
                and u.account_id = j.account_id and u.item = j.media -> u.position::int))",
    )
    .bind(job)
    .execute(tx)
    .await?;
    Ok(released.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crier_core::answer::Endpoint;

    use super::ENDPOINTS;

    #[test]
    fn a_limit_of_any_media_endpoint_holds_uploads_back() {
        let of_media = Endpoint::ALL
            .into_iter()
            .map(Endpoint::label)
            .filter(|label| label.contains(" /2/media/"));
        let known: BTreeSet<&str> = ENDPOINTS.into_iter().collect();
        assert_eq!(known, of_media.collect());
        // A statement counts on its place.
        assert_eq!(ENDPOINTS[1], Endpoint::MediaAppend.label());
    }
}
