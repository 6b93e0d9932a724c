//! What the exporter shows of the database: plain numbers, read in one go.
//!
//! **Invariant:** nothing here grows with the number of jobs: ends and open jobs come from kept numbers, due ones from
//! index probes that stop at [`MOST_DUE_A_LANE`], the rest from tables that hold only what is in hand.

use chrono::{DateTime, Utc};

use crate::costs::AppCost;
use crate::{Store, StoreError};

/// Due jobs counted per account and priority; beyond that the number says "at least".
pub const MOST_DUE_A_LANE: i64 = 2_000;
/// Rows of the inbox counted; beyond that the number says "at least".
const MOST_SIGNALS: i64 = 100_000;
/// Differences folded in one commit.
const FOLD: i64 = 20_000;

/// Kept numbers of jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Totals {
    /// Ever inserted.
    pub inserted: i64,
    /// Waiting now.
    pub scheduled: i64,
    /// Paused now.
    pub paused: i64,
    /// Unknown now.
    pub unknown: i64,
    /// Ever published.
    pub published: i64,
    /// Ever failed.
    pub failed: i64,
    /// Ever cancelled.
    pub cancelled: i64,
    /// Ever missed.
    pub missed: i64,
}

/// One open limit window; of several owners' windows of one kind the tightest.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct WindowReading {
    /// Endpoint as X's specification writes it.
    pub endpoint: String,
    /// `account` or `app`.
    pub class: String,
    /// `15min` or `24h`.
    pub length: String,
    /// Calls left.
    pub remaining: i64,
    /// Seconds until X starts it anew.
    pub resets_in_s: f64,
}

/// Everything the exporter shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readings {
    /// The database's own time, to compare with the host's.
    pub server_time: DateTime<Utc>,
    /// Kept numbers of jobs.
    pub totals: Totals,
    /// Jobs that are due and not published.
    pub due: i64,
    /// Seconds since the oldest of these was to go out.
    pub oldest_due_s: Option<f64>,
    /// Leases held, by kind and phase.
    pub leases: Vec<(String, String, i64)>,
    /// Accounts by status.
    pub accounts: Vec<(String, i64)>,
    /// Developer apps by status: `active`, `paused` or `budget_spent`.
    pub apps: Vec<(String, i64)>,
    /// What everything has cost, by kind.
    pub costs: Vec<AppCost>,
    /// Inserted rows that no scheduler has looked at yet.
    pub signals: i64,
    /// Rows that Postgres has not cleaned up yet, by table.
    pub dead_rows: Vec<(String, i64)>,
    /// Webhooks that are still to be delivered; at most as many are counted as of signals.
    pub webhooks_waiting: i64,
    /// Webhooks that were given up.
    pub webhooks_dead: i64,
    /// Seconds until the first token of an active account expires.
    pub token_expiry_s: Option<f64>,
    /// Seconds since the oldest transaction began that is open in this database, as far as this user may see.
    pub oldest_transaction_s: f64,
    /// Open limit windows.
    pub windows: Vec<WindowReading>,
}

#[derive(sqlx::FromRow)]
struct Sizes {
    server_time: DateTime<Utc>,
    due: i64,
    oldest_due_s: Option<f64>,
    signals: i64,
    webhooks_waiting: i64,
    webhooks_dead: i64,
    token_expiry_s: Option<f64>,
    oldest_transaction_s: f64,
}

impl Store {
    /// Adds kept differences and costs up; answers how many rows of differences went. Two at once take different rows.
    pub async fn fold_totals(&self) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        // The row first: folders queue here, so that none waits for another while it holds differences.
        sqlx::query("-- fold_totals\nselect 1 from crier.totals for update")
            .execute(&mut *tx)
            .await?;
        let folded: i64 = sqlx::query_scalar(
            "-- fold_totals
            with gone as (
              delete from crier.total_deltas where ctid = any(array(
                select ctid from crier.total_deltas limit $1 for update skip locked)) returning *),
            added as (
              update crier.totals t set inserted = t.inserted + s.inserted, scheduled = t.scheduled + s.scheduled,
                     paused = t.paused + s.paused, unknown = t.unknown + s.unknown, published = t.published + s.published,
                     failed = t.failed + s.failed, cancelled = t.cancelled + s.cancelled, missed = t.missed + s.missed
                from (select sum(inserted) as inserted, sum(scheduled) as scheduled, sum(paused) as paused, sum(unknown) as unknown,
                             sum(published) as published, sum(failed) as failed, sum(cancelled) as cancelled, sum(missed) as missed,
                             count(*) as n from gone) s
               where s.n > 0)
            select count(*) from gone",
        )
        .bind(FOLD)
        .fetch_one(&mut *tx)
        .await?;
        crate::costs::fold(&mut tx).await?;
        tx.commit().await?;
        Ok(folded)
    }

    /// The kept numbers of jobs, as of now.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        Ok(sqlx::query_as(
            "-- totals
            select sum(inserted)::bigint as inserted, sum(scheduled)::bigint as scheduled, sum(paused)::bigint as paused,
                   sum(unknown)::bigint as unknown, sum(published)::bigint as published, sum(failed)::bigint as failed,
                   sum(cancelled)::bigint as cancelled, sum(missed)::bigint as missed
              from (select inserted, scheduled, paused, unknown, published, failed, cancelled, missed from crier.totals
                    union all
                    select inserted, scheduled, paused, unknown, published, failed, cancelled, missed from crier.total_deltas) t",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Everything the exporter shows.
    pub async fn readings(&self) -> Result<Readings, StoreError> {
        // Totals are right without; a database that takes no writes must not hide everything else.
        if let Err(error) = self.fold_totals().await {
            tracing::debug!("the kept numbers could not be added up: {error}");
        }
        let totals = self.totals().await?;
        let sizes: Sizes = sqlx::query_as(
            "-- readings
            with recursive busy as materialized (
              select account_id from crier.lanes where in_flight or next_at <= crier.now() or not_before > crier.now()),
            levels(account_id, priority) as (
              select b.account_id, (select max(j.priority) from crier.jobs_open j
                                     where j.account_id = b.account_id and j.state = 'scheduled' and j.held = 0) from busy b
              union all
              select v.account_id, (select max(j.priority) from crier.jobs_open j
                                     where j.account_id = v.account_id and j.state = 'scheduled' and j.held = 0 and j.priority < v.priority)
                from levels v where v.priority is not null),
            due as (
              select first.run_at from levels v cross join lateral (
                select j.run_at from crier.jobs_open j
                 where j.account_id = v.account_id and j.state = 'scheduled' and j.held = 0 and j.priority = v.priority
                   and coalesce(j.next_attempt_at, j.run_at) <= crier.now()
                 order by coalesce(j.next_attempt_at, j.run_at), j.id limit $1) first
              union all
              select held.run_at from (
                select j.run_at from crier.jobs_open j where j.state = 'scheduled' and j.held <> 0
                   and coalesce(j.next_attempt_at, j.run_at) <= crier.now()
                 order by coalesce(j.next_attempt_at, j.run_at), j.id limit $1) held)
            select clock_timestamp() as server_time, count(*) as due,
                   extract(epoch from crier.now() - min(run_at))::float8 as oldest_due_s,
                   (select count(*) from (select 1 from crier.lane_signals limit $2) s) as signals,
                   (select count(*) from (select 1 from crier.webhook_deliveries where next_at is not null limit $2) s) as webhooks_waiting,
                   (select count(*) from (select 1 from crier.webhook_deliveries where state = 'dead' limit $2) s) as webhooks_dead,
                   (select extract(epoch from min(c.access_expires_at) - crier.now())::float8 from crier.credentials c
                      join crier.accounts a on a.id = c.account_id where c.kind = 'oauth2' and a.status = 'active') as token_expiry_s,
                   coalesce((select extract(epoch from clock_timestamp() - min(xact_start))::float8 from pg_stat_activity
                      where datname = current_database() and backend_type = 'client backend'), 0) as oldest_transaction_s
              from due",
        )
        .bind(MOST_DUE_A_LANE)
        .bind(MOST_SIGNALS)
        .fetch_one(&self.pool)
        .await?;
        let leases = sqlx::query_as(
            "-- readings\nselect kind, phase, count(*) from crier.leases group by kind, phase",
        )
        .fetch_all(&self.pool)
        .await?;
        let accounts = sqlx::query_as(
            "-- readings\nselect status, count(*) from crier.accounts group by status",
        )
        .fetch_all(&self.pool)
        .await?;
        let apps = sqlx::query_as(
            "-- readings
            select case when status = 'active' and crier.budget_opens(id) is not null then 'budget_spent' else status end as status, count(*)
              from crier.apps group by 1",
        )
        .fetch_all(&self.pool)
        .await?;
        let windows = sqlx::query_as(
            "-- readings
            select distinct on (endpoint, class, length) endpoint, class, length, greatest(remaining, 0) as remaining,
                   extract(epoch from resets_at - crier.now())::float8 as resets_in_s
              from crier.limit_windows where resets_at > crier.now() and remaining is not null
             order by endpoint, class, length, remaining, resets_at desc",
        )
        .fetch_all(&self.pool)
        .await?;
        let dead_rows = sqlx::query_as(
            "-- readings
            select relname::text, n_dead_tup from pg_stat_user_tables where schemaname = 'crier'
               and relname in ('lanes', 'leases', 'jobs_open', 'attempts', 'media_uploads', 'lane_signals')",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Readings {
            dead_rows,
            server_time: sizes.server_time,
            totals,
            due: sizes.due,
            oldest_due_s: sizes.oldest_due_s.map(|age| age.max(0.0)),
            leases,
            accounts,
            apps,
            costs: self.costs_by_kind().await?,
            signals: sizes.signals,
            webhooks_waiting: sizes.webhooks_waiting,
            webhooks_dead: sizes.webhooks_dead,
            token_expiry_s: sizes.token_expiry_s,
            oldest_transaction_s: sizes.oldest_transaction_s.max(0.0),
            windows,
        })
    }
}
