//! Claiming: a worker takes lanes that may be served now, and the head job of each.
//!
//! **Invariant:** lanes are locked in one statement and jobs are read in the next, whose snapshot is younger than the
//! locks; a job is therefore never leased from a state that has passed (queues.md 5.1, pitfall 11). **Invariant:** what
//! holds an account or its app back is asked at the claim, whatever the lane says.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::fault::Fault;
use crier_core::trace::Trace;
use crier_core::v1::Publisher;
use uuid::Uuid;

use crate::lease::Lease;
use crate::suspects::ALONE_FROM;
use crate::{Store, StoreError};

/// A job in hand, with what its attempt needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The lease that every later write repeats.
    pub lease: Lease,
    /// The job's revision as read; sending checks that it still is.
    pub revision: i32,
    /// Text of the post.
    pub text: String,
    /// Media as in the column, or why that cannot be read.
    pub media: Result<serde_json::Value, Fault>,
    /// Other fields as in the column, or why that cannot be read.
    pub options: Result<serde_json::Value, Fault>,
    /// When it was to go out.
    pub run_at: DateTime<Utc>,
    /// Attempts that counted before this one.
    pub attempts: i16,
    /// Bound of attempts.
    pub max_attempts: i16,
    /// The trace that it belongs to.
    pub trace: Option<Trace>,
    /// Handle of the account.
    pub handle: String,
    /// Whether the post that `options` names to reply to went out through crier for this account.
    pub replies_to_own: bool,
    /// By which call the account publishes.
    pub publisher: Publisher,
    /// Weighted characters that the account may post.
    pub text_limit: usize,
    /// The job that this one follows.
    pub after: Option<i64>,
    /// Post on X that this one replies to, if the job follows another; it must not go out without.
    pub reply_to: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    lane: i64,
    token: i64,
    revision: i32,
    text: String,
    media: String,
    options: String,
    run_at: DateTime<Utc>,
    attempts: i16,
    max_attempts: i16,
    after: Option<i64>,
    reply_to: Option<String>,
    handle: String,
    publisher: String,
    replies_to_own: bool,
    text_limit: i32,
    trace: String,
}

impl Store {
    /// Claims up to `limit` lanes for `worker`; each lease lasts `ttl` by the database's clock.
    pub async fn claim(
        &self,
        worker: Uuid,
        limit: i64,
        ttl: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let lanes: Vec<i64> = sqlx::query_scalar(
            "-- claim: gates
            select account_id from crier.lanes where next_at <= crier.now() order by next_at limit $1 for update skip locked",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "-- claim: heads
            with gates as materialized (
              select lane, crier.lane_opens(lane) as opens from unnest($1::bigint[]) as l(lane)
            ), heads as materialized (
              select l.lane, h.* from gates l cross join lateral (
                with recursive levels(priority) as (
                  select max(j.priority) from crier.jobs_open j where j.account_id = l.lane and j.state = 'scheduled' and j.held = 0
                  union all
                  select (select max(j.priority) from crier.jobs_open j where j.account_id = l.lane and j.state = 'scheduled'
                          and j.held = 0 and j.priority < v.priority) from levels v where v.priority is not null
                )
                select first.* from levels v cross join lateral (
                  select j.id, j.revision, j.text, j.media, j.options, j.run_at, j.attempts, j.max_attempts, j.after,
                         j.crashes, crier.trace_of(j.id, j.created_at, j.trace) as trace
                    from crier.jobs_open j
                   where j.account_id = l.lane and j.state = 'scheduled' and j.held = 0 and j.priority = v.priority
                     and coalesce(j.next_attempt_at, j.run_at) <= crier.now()
                     -- A job that was moved here from another account may be in the hands of that one's worker yet.
                     and not exists (select 1 from crier.leases k where k.kind = 'publish' and k.subject = j.id)
                   order by coalesce(j.next_attempt_at, j.run_at), j.id limit 1) first
                 order by v.priority desc limit 1) h
               where l.opens <= crier.now()
            ), pick as materialized (
              -- Of those over which two workers died, one at a time: whichever it is, it takes no other along.
              select h.* from heads h where h.crashes < $4
                  or (h.id = (select s.id from heads s where s.crashes >= $4 order by s.run_at, s.id limit 1)
                      and not exists (select 1 from crier.leases k where k.worker = $2 and k.alone))
            ), leased as (
              insert into crier.leases (kind, subject, account_id, worker, expires_at, alone)
              select 'publish', id, lane, $2, crier.now() + $3 * interval '1 microsecond', crashes >= $4 from pick order by lane
              on conflict do nothing
              returning subject, account_id, token
            ), busy as (
              update crier.lanes set in_flight = true, next_at = null where account_id in (select account_id from leased)
            ), closed as (
              update crier.lanes l set not_before = g.opens from gates g where l.account_id = g.lane and g.opens > crier.now()
            )
            select p.id, p.lane, s.token, p.revision, p.text, p.media::text, p.options::text, crier.readable(p.run_at) as run_at, p.attempts, p.max_attempts, p.after,
                   (select post_id from crier.posts where job_id = p.after) as reply_to, a.handle, a.publisher,
                   (select true from crier.posts o where o.post_id = p.options #>> '{reply,in_reply_to_tweet_id}' and o.account_id = p.lane) is not null as replies_to_own,
                   a.text_limit, p.trace
              from pick p join leased s on s.subject = p.id join crier.accounts a on a.id = p.lane",
        )
        .bind(&lanes)
        .bind(worker)
        .bind(micros(ttl))
        .bind(ALONE_FROM)
        .fetch_all(&mut *tx)
        .await?;
        let busy: Vec<i64> = rows.iter().map(|row| row.lane).collect();
        let idle: Vec<i64> = lanes
            .iter()
            .copied()
            .filter(|lane| !busy.contains(lane))
            .collect();
        if !idle.is_empty() {
            crate::costs::warn_of_budget(&mut tx, &idle).await?;
        }
        // Lanes without a due head wait for their next one, closed ones until they open.
        sqlx::query(crate::lease::REST_LANES)
            .bind(&lanes)
            .execute(&mut *tx)
            .await?;
        // A lane that is still due was passed over for one that has to be alone: out of the way of the others for a moment.
        if !idle.is_empty() {
            sqlx::query(
                "-- claim: passed over
                update crier.lanes set next_at = crier.now() + interval '1 second'
                 where account_id = any($1) and not in_flight and next_at <= crier.now()",
            )
            .bind(&idle)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(rows.into_iter().map(claimed).collect())
    }

    /// How long until the next lane is due, by the database's clock; `None` if nothing waits. Negative is overdue.
    pub async fn until_next_lane(&self) -> Result<Option<chrono::TimeDelta>, StoreError> {
        let micros: Option<i64> = sqlx::query_scalar(
            "-- until_next_lane
            select (extract(epoch from next_at - crier.now()) * 1000000)::bigint
              from crier.lanes where next_at is not null and next_at < 'infinity' order by next_at limit 1",
        )
        .fetch_optional(&self.pool)
        .await?
        .flatten();
        Ok(micros.map(chrono::TimeDelta::microseconds))
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn claimed(row: Row) -> Claimed {
    Claimed {
        lease: Lease {
            kind: "publish",
            subject: row.id,
            account: row.lane,
            token: row.token,
        },
        revision: row.revision,
        text: row.text,
        media: crate::column::media(&row.media),
        options: crate::column::options(&row.options),
        run_at: row.run_at,
        attempts: row.attempts,
        max_attempts: row.max_attempts,
        trace: Trace::parse(&row.trace),
        handle: row.handle,
        replies_to_own: row.replies_to_own,
        text_limit: usize::try_from(row.text_limit).unwrap_or(0),
        publisher: Publisher::ALL
            .into_iter()
            .find(|known| known.as_str() == row.publisher)
            .unwrap_or_default(),
        after: row.after,
        reply_to: row.reply_to,
    }
}
