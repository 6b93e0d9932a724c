//! All SQL of crier, one module a table; sealed credentials; embedded migrations.
//!
//! **Invariant:** every write under a lease repeats the lease's token and changes exactly one row, or is dropped with
//! [`StoreError::LeaseLost`]. **Invariant:** the database's clock, `crier.now()`, decides what is due and who holds a
//! lease; no time of this process reaches a statement. **Invariant:** no transaction is open while anything but the
//! database is waited for.
//!
//! Lock order: lanes (by account), leases, jobs. Claimers skip what is locked and never wait.

mod accounts;
mod attempts;
mod checks;
mod claim;
mod column;
mod connect;
mod costs;
mod diagnosis;
mod drafts;
mod due;
mod error;
mod gate;
mod keys;
mod leader;
mod lease;
mod limits;
mod logins;
mod missed;
mod pauses;
mod people;
mod points;
mod readings;
mod reconcile;
mod recurring;
mod refresh;
mod rescue;
mod retention;
mod schema;
mod seal;
mod settle;
mod signals;
mod staging;
mod suspects;
mod sweeps;
mod unpublish;
mod wake;
mod webhooks;
mod workers;

pub use accounts::{Account, Import, OAuth1Tokens, OAuth2Tokens, OpenedOAuth1, OpenedTokens};
pub use attempts::LedgerRow;
pub use checks::{Check, CheckDraft, Finding};
pub use claim::Claimed;
pub use connect::{Pooler, StoreOptions, Way};
pub use costs::{AppCost, AppMoney, MonthCost};
pub use diagnosis::{Diagnosis, Holder};
pub use drafts::{Trial, Waiting, WaitingDraft};
pub use due::{DueFilter, DueRow};
pub use error::StoreError;
pub use keys::{Resealed, SealedCount, SealedRow};
pub use leader::Leadership;
pub use lease::{Expired, Lease};
pub use logins::LoginApp;
pub use pauses::Probe;
pub use people::{AccountRow, Inserted, JOB_STATES, JobFilter, JobRow, MOST_WAITING, NewJob};
pub use readings::{MOST_DUE_A_LANE, Readings, Totals, WindowReading};
pub use reconcile::{Absent, Awaited, Contest, Look, Rival, Ruling, Standing};
pub use recurring::{Expanded, Expansion, RecurringRow};
pub use refresh::{Asked, Doubt, Refreshes, Refused};
pub use rescue::{PutBack, Rotation};
pub use retention::Dropped;
pub use schema::SchemaState;
use seal::KeyRing;
pub use seal::{KeyError, SealKey};
pub use settle::{Settlement, Why};
pub use staging::{Lent, NewSession, PutOff, StageExpired, Upload};
pub use suspects::{CRASH_BOUND, Risky};
pub use sweeps::{HeldCursor, HeldSweep};
pub use unpublish::{Deletion, JobPost};
pub use wake::{SCHEDULER_CHANNEL, WORKER_CHANNEL, WakeUps};
pub use webhooks::{Delivery, DeliveryRow, NewWebhook, OpenedWebhook, WebhookRow};
pub use workers::Present;

/// The database, and the key that opens what is sealed in it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: gate::Gate,
    key: Option<KeyRing>,
    /// The way to the server itself, for what needs a session of its own; none if only a pooler is known.
    direct: Option<sqlx::postgres::PgConnectOptions>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("has_key", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The same, with further keys that open what was sealed with them and seal nothing. Without a key that seals they are
    /// left out.
    #[must_use]
    pub fn with_other_keys(mut self, others: Vec<SealKey>) -> Self {
        self.key = self
            .key
            .map(|ring| KeyRing::new(ring.current().clone(), others));
        self
    }

    /// The database's time, as crier counts it.
    pub async fn now(&self) -> Result<chrono::DateTime<chrono::Utc>, StoreError> {
        Ok(sqlx::query_scalar("-- now\nselect crier.now()")
            .fetch_one(&self.pool)
            .await?)
    }

    /// Runs statements as they stand, such as a campaign file; nothing of it is kept unless all of it succeeds.
    pub async fn run_script(&self, sql: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        tx.wait_patiently();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Runs one statement that Postgres takes only outside a transaction, such as `create database`.
    pub async fn run_outside_transaction(&self, sql: &str) -> Result<(), StoreError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(self.pool.pool())
            .await?;
        Ok(())
    }

    /// The rows of a query as JSON objects, for listings and tests.
    pub async fn select_json(&self, query: &str) -> Result<Vec<serde_json::Value>, StoreError> {
        let sql = format!("-- select_json\nselect to_jsonb(q) from ({query}) q");
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(&self.pool)
            .await?)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.pool().close().await;
    }

    /// Connections in use and idle.
    pub fn pool_use(&self) -> (usize, usize) {
        let idle = self.pool.pool().num_idle();
        let size = usize::try_from(self.pool.pool().size()).unwrap_or(usize::MAX);
        (size.saturating_sub(idle), idle)
    }

    /// The key that seals.
    fn key(&self) -> Result<&SealKey, StoreError> {
        Ok(self.ring()?.current())
    }

    fn ring(&self) -> Result<&KeyRing, StoreError> {
        self.key.as_ref().ok_or(StoreError::NoKey)
    }

    /// Opens a sealed value; `what` says what it is if it does not open.
    fn open_sealed(
        &self,
        purpose: &str,
        key_id: &str,
        sealed: &[u8],
        what: impl FnOnce() -> String,
    ) -> Result<Vec<u8>, StoreError> {
        self.ring()?
            .open(purpose, key_id, sealed)
            .map_err(|error| StoreError::Sealed {
                what: what(),
                error,
            })
    }
}
