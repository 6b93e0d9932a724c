//! What calls to X cost, by app, account, month and kind; and the budget of an app.
//!
//! **Invariant:** a cost is appended, never added to a row that other calls wait for; whoever reads the sums folds what
//! was appended. **Invariant:** a spent budget closes the lanes of its app at the claim, by the same sums in every process.

use chrono::{DateTime, Utc};
use crier_core::price::Charge;
use serde::Serialize;

use crate::gate::Conn;
use crate::lease::{lock_lanes, open_lanes};
use crate::{Store, StoreError};

/// Costs folded in one commit.
const FOLD: i64 = 20_000;

/// What an account's calls of one kind cost in the month that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct MonthCost {
    /// Kind, as `crier_core::price` spells it.
    pub kind: String,
    /// Calls.
    pub calls: i64,
    /// Millionths of a US dollar.
    pub micro_usd: i64,
}

/// What all calls of one kind cost since the installation began.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AppCost {
    /// Kind.
    pub kind: String,
    /// Millionths of a US dollar.
    pub micro_usd: i64,
}

/// The money of an app.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct AppMoney {
    /// The app's public name.
    pub app: String,
    /// US dollars that it has cost in the month that runs.
    pub spent_usd: f64,
    /// US dollars that it may cost a month; none: no bound.
    pub monthly_budget_usd: Option<f64>,
    /// When it goes on, if its budget is spent.
    pub waits_until: Option<DateTime<Utc>>,
}

impl Store {
    /// Notes what calls of an account cost.
    pub async fn charge(&self, account: i64, charge: Charge) -> Result<(), StoreError> {
        if charge.calls == 0 {
            return Ok(());
        }
        sqlx::query(
            "-- charge
            insert into crier.cost_deltas (app_id, account_id, kind, calls, micro_usd)
            select coalesce(app_id, 0), id, $2, $3, $4 from crier.accounts where id = $1",
        )
        .bind(account)
        .bind(charge.kind.as_str())
        .bind(charge.calls)
        .bind(charge.micro_usd)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What an account has cost in the month that runs, by kind.
    pub async fn month_costs(&self, account: i64) -> Result<Vec<MonthCost>, StoreError> {
        Ok(sqlx::query_as(
            "-- month_costs
            with all_of_it as (
              select kind, calls, micro_usd, month from crier.costs where account_id = $1
              union all select kind, calls, micro_usd, month from crier.cost_deltas where account_id = $1)
            select kind, sum(calls)::bigint as calls, sum(micro_usd)::bigint as micro_usd from all_of_it
             where month = date_trunc('month', crier.now() at time zone 'UTC')::date group by kind order by kind",
        )
        .bind(account)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The money of an app, by its number.
    pub async fn app_money(&self, app: i64) -> Result<Option<AppMoney>, StoreError> {
        Ok(sqlx::query_as(
            "-- app_money
            select client_id as app, crier.spent_micro_usd(id)::float8 / 1000000 as spent_usd,
                   monthly_budget_usd::float8 as monthly_budget_usd, crier.budget_opens(id) as waits_until
              from crier.apps where id = $1",
        )
        .bind(app)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The number of an app by its public name.
    pub async fn app_by_client_id(&self, client_id: &str) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(
            "-- app_by_client_id\nselect id from crier.apps where client_id = $1",
        )
        .bind(client_id)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// What everything has cost since the installation began, by kind.
    pub async fn costs_by_kind(&self) -> Result<Vec<AppCost>, StoreError> {
        Ok(sqlx::query_as(
            "-- costs_by_kind
            select kind, sum(micro_usd)::bigint as micro_usd from (
              select kind, micro_usd from crier.app_costs union all select kind, micro_usd from crier.cost_deltas) c
             group by kind order by kind",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Bounds what an app may cost a month, and opens its lanes as far as that allows.
    pub async fn set_budget(&self, app: i64, usd: Option<f64>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let accounts: Vec<i64> = sqlx::query_scalar(
            "-- set_budget\nselect id from crier.accounts where app_id = $1 order by id",
        )
        .bind(app)
        .fetch_all(&mut *tx)
        .await?;
        lock_lanes(&mut tx, &accounts).await?;
        sqlx::query("-- set_budget\nupdate crier.apps set monthly_budget_usd = $2::float8::numeric where id = $1")
            .bind(app)
            .bind(usd)
            .execute(&mut *tx)
            .await?;
        open_lanes(&mut tx, &accounts).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Folds what was appended into the sums. Whoever folds holds the row of `crier.totals`.
pub(crate) async fn fold(tx: &mut Conn) -> Result<(), StoreError> {
    sqlx::query(
        "-- fold_costs
        with gone as (
          delete from crier.cost_deltas where ctid = any(array(
            select ctid from crier.cost_deltas limit $1 for update skip locked)) returning *),
        accounts as (
          insert into crier.costs as c (account_id, app_id, month, kind, calls, micro_usd)
          select account_id, app_id, month, kind, sum(calls), sum(micro_usd) from gone group by 1, 2, 3, 4
          on conflict (account_id, month, kind, app_id) do update
            set calls = c.calls + excluded.calls, micro_usd = c.micro_usd + excluded.micro_usd)
        insert into crier.app_costs as c (app_id, month, kind, calls, micro_usd)
        select app_id, month, kind, sum(calls), sum(micro_usd) from gone group by 1, 2, 3
        on conflict (app_id, month, kind) do update
          set calls = c.calls + excluded.calls, micro_usd = c.micro_usd + excluded.micro_usd",
    )
    .bind(FOLD)
    .execute(tx)
    .await?;
    Ok(())
}

/// Tells the head job of each of these lanes that a spent budget holds it; what somebody else has locked is told later.
pub(crate) async fn warn_of_budget(tx: &mut Conn, lanes: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "-- warn_of_budget
        with held as (
          select l.lane, crier.budget_hold(a.app_id) as hold from unnest($1::bigint[]) as l(lane) join crier.accounts a on a.id = l.lane),
        heads as (
          select j.id, h.hold from held h cross join lateral (
            select o.id from crier.jobs_open o
             where o.account_id = h.lane and o.state = 'scheduled' and o.held = 0 and coalesce(o.next_attempt_at, o.run_at) <= crier.now()
               and o.warning ->> 'code' is distinct from 'budget_spent'
             order by o.priority desc, coalesce(o.next_attempt_at, o.run_at), o.id limit 1) j
           where h.hold is not null),
        free as (
          select o.id from crier.jobs_open o where o.id in (select id from heads) order by o.id for no key update skip locked)
        update crier.jobs_open j set warning = heads.hold from heads, free where j.id = heads.id and j.id = free.id",
    )
    .bind(lanes)
    .execute(tx)
    .await?;
    Ok(())
}
