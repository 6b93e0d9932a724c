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
mod costs;
mod diagnosis;
mod drafts;
mod error;
mod keys;
mod leader;
mod lease;
mod limits;
mod logins;
mod missed;
mod pauses;
mod people;
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
mod sweeps;
mod unpublish;
mod wake;
mod webhooks;
mod workers;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use accounts::{Account, Import, OAuth1Tokens, OAuth2Tokens, OpenedOAuth1, OpenedTokens};
pub use attempts::LedgerRow;
pub use checks::{Check, CheckDraft, Finding};
pub use claim::Claimed;
pub use costs::{AppCost, AppMoney, MonthCost};
pub use diagnosis::Diagnosis;
pub use drafts::{Trial, Waiting, WaitingDraft};
pub use error::StoreError;
pub use keys::{Resealed, SealedCount, SealedRow};
pub use leader::Leadership;
pub use lease::{Expired, Lease};
pub use logins::LoginApp;
pub use pauses::Probe;
pub use people::{AccountRow, Inserted, JOB_STATES, JobFilter, JobRow, MOST_WAITING, NewJob};
pub use readings::{MOST_DUE_A_LANE, Readings, Totals, WindowReading};
pub use reconcile::{Absent, Contest, Look, Rival};
pub use recurring::{Expanded, Expansion, RecurringRow};
pub use refresh::{Asked, Doubt, Refreshes, Refused};
pub use rescue::{PutBack, Rotation};
pub use retention::Dropped;
pub use schema::SchemaState;
use seal::KeyRing;
pub use seal::{KeyError, SealKey};
pub use settle::{Settlement, Why};
pub use staging::{Lent, NewSession, PutOff, StageExpired, Upload};
pub use sweeps::{HeldCursor, HeldSweep};
pub use unpublish::{Deletion, JobPost};
pub use webhooks::{Delivery, DeliveryRow, NewWebhook, OpenedWebhook, WebhookRow};
pub use wake::{SCHEDULER_CHANNEL, WORKER_CHANNEL, WakeUps};
pub use workers::Present;

/// How long one statement may run: a lock held by a person's session must not stop a worker for longer.
const STATEMENT_TIMEOUT_MS: u32 = 15_000;
/// How long a statement waits for a lock before it gives up and is tried again (queues.md 5.1, pitfall 14).
const LOCK_TIMEOUT_MS: u32 = 2_000;

/// The database, and the key that opens what is sealed in it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    key: Option<KeyRing>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("has_key", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Connections this process may hold.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// Name shown in `pg_stat_activity`.
    pub application_name: String,
}

impl Store {
    /// Connects, with time limits on statements and locks.
    pub async fn connect(options: &StoreOptions, key: Option<SealKey>) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = options
            .url
            .expose_secret()
            .parse()
            .map_err(|_| StoreError::Url)?;
        let connect = connect
            .application_name(&options.application_name)
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
                ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
                // Our statements are short, and its guesses about recursive ones are not: compiling took seconds.
                ("jit", "off".to_owned()),
                (
                    "idle_in_transaction_session_timeout",
                    STATEMENT_TIMEOUT_MS.to_string(),
                ),
                // Whatever the database's own default: each statement must see what is committed before it.
                ("default_transaction_isolation", "read committed".to_owned()),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .connect_with(connect)
            .await
            .map_err(StoreError::Connect)?;
        let key = key.map(|key| KeyRing::new(key, Vec::new()));
        Ok(Self { pool, key })
    }

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
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Runs one statement that Postgres takes only outside a transaction, such as `create database`.
    pub async fn run_outside_transaction(&self, sql: &str) -> Result<(), StoreError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.pool)
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
        self.pool.close().await;
    }

    /// Connections in use and idle.
    pub fn pool_use(&self) -> (usize, usize) {
        let idle = self.pool.num_idle();
        let size = usize::try_from(self.pool.size()).unwrap_or(usize::MAX);
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
