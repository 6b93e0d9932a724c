//! Accounts and apps that X does not let publish: stopped for all workers, asked about now and then, opened again.
//!
//! **Invariant:** what a person paused, only a person resumes; whatever X's answers stopped goes on by itself once X takes
//! a probe (uploads that were put aside meanwhile are found by the sweep). **Invariant:** a probe belongs to one worker: claiming it plans the next one in the same commit, so that there
//! is one call an interval over all processes, whoever dies.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::gate::Conn;
use crate::lease::{lock_free_lanes, lock_lanes, open_lanes};
use crate::{Store, StoreError};

/// A question to X: may this app, or this account, go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The app that is paused; none if it is about the account alone.
    pub app: Option<i64>,
    /// The account in whose name to ask; none if the app has none that may.
    pub account: Option<i64>,
}

impl Store {
    /// Stops an account: its lane closes, its jobs wait. `paused` is a person's word and gives way to no other. Answers
    /// whether the account was active.
    pub async fn pause_account(
        &self,
        account: i64,
        status: &str,
        reason: &Value,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_lanes(&mut tx, &[account]).await?;
        let was_active: Option<bool> = sqlx::query_scalar(
            "-- pause_account
            with old as (select id, status from crier.accounts where id = $1 for no key update)
            update crier.accounts a set status = $2, reason = $3, updated_at = crier.now()
              from old where a.id = old.id and (old.status <> 'paused' or $2 = 'paused') returning old.status = 'active'",
        )
        .bind(account)
        .bind(status)
        .bind(reason)
        .fetch_optional(&mut *tx)
        .await?;
        close_lanes(&mut tx, &[account]).await?;
        tx.commit().await?;
        Ok(was_active.unwrap_or(false))
    }

    /// Stops the app of an account, and with it all its accounts, until X takes a probe. Answers whether it was active.
    pub async fn pause_app(&self, account: i64, reason: &Value) -> Result<bool, StoreError> {
        self.pause_app_until(account, reason, None).await
    }

    /// The same; with `until` X has said when it may go on, and is not asked before. An account without an app is stopped
    /// itself, and asked about likewise.
    pub async fn pause_app_until(
        &self,
        account: i64,
        reason: &Value,
        until: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let lanes = lock_lanes_of_app(&mut tx, account).await?;
        let was_active: Option<bool> = sqlx::query_scalar(
            "-- pause_app
            with old as (
              select p.id, p.status from crier.apps p join crier.accounts a on a.app_id = p.id where a.id = $1 for no key update of p)
            update crier.apps p set status = 'paused', reason = $2, trial_until = null, probe_at = coalesce($3, p.probe_at)
              from old where p.id = old.id returning old.status = 'active'",
        )
        .bind(account)
        .bind(reason)
        .bind(until)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(was_active) = was_active else {
            tx.rollback().await?;
            return self.pause_account(account, "suspended", reason).await;
        };
        close_lanes(&mut tx, &lanes).await?;
        tx.commit().await?;
        Ok(was_active)
    }

    /// Takes the probe that is due, if there is one, and plans the next.
    pub async fn claim_probe(&self) -> Result<Option<Probe>, StoreError> {
        let app: Option<(i64, Option<i64>)> = sqlx::query_as(
            "-- claim_probe: apps
            with due as (
              select id from crier.apps where probe_at <= crier.now() and status = 'paused'
               order by probe_at limit 1 for no key update skip locked)
            update crier.apps p set probed_at = crier.now(), probes = p.probes + 1,
                   probe_at = crier.now() + crier.probe_wait(p.probes + 1)
              from due where p.id = due.id
            returning p.id, (select a.id from crier.accounts a join crier.credentials c on c.account_id = a.id
                              where a.app_id = p.id and a.status = 'active' order by random() limit 1)",
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some((app, account)) = app {
            return Ok(Some(Probe {
                app: Some(app),
                account,
            }));
        }
        let account: Option<i64> = sqlx::query_scalar(
            "-- claim_probe: accounts
            with due as (
              select id from crier.accounts where probe_at <= crier.now() and status = 'suspended'
               order by probe_at limit 1 for no key update skip locked)
            update crier.accounts a set probed_at = crier.now(), probes = a.probes + 1,
                   probe_at = crier.now() + crier.probe_wait(a.probes + 1)
              from due where a.id = due.id returning a.id",
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(account.map(|account| Probe {
            app: None,
            account: Some(account),
        }))
    }

    /// X took a probe of the app: it goes on. One account that has something waiting goes first, and the others follow
    /// after `trial`, unless X refuses that one: what reads well may be refused to post.
    pub async fn reopen_app(
        &self,
        app: i64,
        trial: std::time::Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let accounts: Vec<i64> = sqlx::query_scalar(
            "-- reopen_app\nselect id from crier.accounts where app_id = $1 order by id",
        )
        .bind(app)
        .fetch_all(&mut *tx)
        .await?;
        lock_lanes(&mut tx, &accounts).await?;
        let opened = sqlx::query(
            "-- reopen_app
            with first as (
              select l.account_id from crier.lanes l join crier.accounts a on a.id = l.account_id
               where l.account_id = any($2) and a.status = 'active' and l.next_at is not null order by random() limit 1)
            update crier.apps p set status = 'active', reason = null, trial_account = (select account_id from first),
                   trial_until = case when exists (select 1 from first) then crier.now() + $3 * interval '1 microsecond' end
             where p.id = $1 and p.status = 'paused'",
        )
        .bind(app)
        .bind(&accounts)
        .bind(crate::claim::micros(trial))
        .execute(&mut *tx)
        .await?;
        open_lanes(&mut tx, &accounts).await?;
        tx.commit().await?;
        Ok(opened.rows_affected() == 1)
    }

    /// X took a probe of the account: it goes on.
    pub async fn reopen_account(&self, account: i64) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_lanes(&mut tx, &[account]).await?;
        let opened = sqlx::query(
            "-- reopen_account
            update crier.accounts set status = 'active', reason = null, updated_at = crier.now()
             where id = $1 and status = 'suspended'",
        )
        .bind(account)
        .execute(&mut *tx)
        .await?;
        open_lanes(&mut tx, &[account]).await?;
        tx.commit().await?;
        Ok(opened.rows_affected() == 1)
    }

    /// What X said to a probe in vain, for people.
    pub async fn note_probe(&self, probe: Probe, reason: &Value) -> Result<(), StoreError> {
        let (sql, id) = match (probe.app, probe.account) {
            (Some(app), _) => (
                "-- note_probe\nupdate crier.apps set reason = $2 where id = $1 and status = 'paused'",
                app,
            ),
            (None, Some(account)) => (
                "-- note_probe\nupdate crier.accounts set reason = $2 where id = $1 and status = 'suspended'",
                account,
            ),
            (None, None) => return Ok(()),
        };
        sqlx::query(sql)
            .bind(id)
            .bind(reason)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What holds an account back now, each in the form of `jobs.error`: its own pause, its app's, a spent budget.
    pub async fn account_holds(&self, account: i64) -> Result<Vec<Value>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- account_holds
            select h.hold from crier.accounts a left join crier.apps p on p.id = a.app_id
              cross join lateral (values
                (1, case when a.status <> 'active' then coalesce(a.reason, jsonb_build_object('code', a.status)) end),
                (2, case when p.status = 'paused' then coalesce(p.reason, jsonb_build_object('code', 'app_paused')) end),
                (3, crier.budget_hold(p.id))) h(place, hold)
             where a.id = $1 and h.hold is not null order by h.place",
        )
        .bind(account)
        .fetch_all(&self.pool)
        .await?)
    }
}

/// Locks the lanes of the account's app, before the app itself. One that somebody has locked keeps no other open: the
/// claim finds the app closed.
pub(crate) async fn lock_lanes_of_app(tx: &mut Conn, account: i64) -> Result<Vec<i64>, StoreError> {
    let accounts: Vec<i64> = sqlx::query_scalar(
        "-- lock_lanes_of_app
        select b.id from crier.accounts a join crier.accounts b on b.app_id = a.app_id where a.id = $1",
    )
    .bind(account)
    .fetch_all(&mut *tx)
    .await?;
    lock_free_lanes(tx, &accounts).await
}

pub(crate) async fn close_lanes(tx: &mut Conn, accounts: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "-- close_lanes
        update crier.lanes set not_before = 'infinity', next_at = case when next_at is not null then 'infinity'::timestamptz end
         where account_id = any($1)",
    )
    .bind(accounts)
    .execute(tx)
    .await?;
    Ok(())
}
