//! The way to the database: straight to Postgres, or through a pooler that lends its connections for a transaction.
//!
//! **Invariant:** every statement of crier has its time limits, whatever the role's or the database's own settings are: on a
//! straight way as settings of the session, behind a pooler as settings of each transaction.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor, Row};
use tokio::time::timeout;

use crate::gate::{Gate, why_none};
use crate::seal::KeyRing;
use crate::{SealKey, Store, StoreError};

/// How long one statement may run: a lock held by a person's session must not stop a worker for longer.
pub(crate) const STATEMENT_TIMEOUT_MS: u64 = 15_000;
/// How long a statement waits for a lock before it gives up and is tried again (queues.md 5.1, pitfall 14).
pub(crate) const LOCK_TIMEOUT_MS: u64 = 2_000;
/// How long an idle connection may take to show that it lives before another is made: a server may have vanished.
const ALIVE: Duration = Duration::from_secs(2);

/// The same limits as below, for one transaction.
const BEGIN_POOLED: &str = "begin isolation level read committed; set local statement_timeout = 15000; \
    set local lock_timeout = 2000; set local idle_in_transaction_session_timeout = 15000; set local jit = off";

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

/// What stands between crier and Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooler {
    /// Found out when connecting: a pooler refuses settings of a session, or drops them.
    #[default]
    Auto,
    /// One that lends a connection for a transaction.
    Transaction,
    /// Nothing.
    None,
}

/// The way to the database, where it is not straight.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// What the address leads to.
    pub pooler: Pooler,
    /// Address of Postgres itself, past the pooler: for notifications and migrations.
    pub direct_url: Option<SecretString>,
}

impl Store {
    /// Connects, with time limits on statements and locks.
    pub async fn connect(options: &StoreOptions, key: Option<SealKey>) -> Result<Self, StoreError> {
        Self::connect_by(options, &Way::default(), key).await
    }

    /// Connects by this way.
    pub async fn connect_by(
        options: &StoreOptions,
        way: &Way,
        key: Option<SealKey>,
    ) -> Result<Self, StoreError> {
        let key = key.map(|key| KeyRing::new(key, Vec::new()));
        let plain = parse(&options.url)?.application_name(&options.application_name);
        let direct = way.direct_url.as_ref().map(parse).transpose()?;
        let direct =
            direct.map(|direct| limited(direct.application_name(&options.application_name)));
        let pool = match way.pooler {
            Pooler::Transaction => None,
            Pooler::None => Some(pool_of(options, limited(plain.clone())).await?),
            Pooler::Auto => straight(options, limited(plain.clone())).await?,
        };
        if let Some(pool) = pool {
            let direct = direct.or_else(|| Some(limited(plain)));
            return Ok(Self {
                pool: Gate::new(pool, None),
                key,
                direct,
            });
        }
        // A pooler takes neither settings of a session nor names of statements that outlive a transaction.
        let plain = plain.extra_float_digits(None).statement_cache_capacity(0);
        let pool = pool_of(options, plain).await?;
        Ok(Self {
            pool: Gate::new(pool, Some(BEGIN_POOLED)),
            key,
            direct,
        })
    }

    /// Whether a pooler is in between.
    pub fn is_pooled(&self) -> bool {
        self.pool.is_pooled()
    }

    /// Whether a way to the server itself is known, which notifications and migrations need.
    pub fn has_session(&self) -> bool {
        self.direct.is_some()
    }
}

fn parse(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    url.expose_secret().parse().map_err(|_| StoreError::Url)
}

/// With limits for the session.
fn limited(options: PgConnectOptions) -> PgConnectOptions {
    let statement = STATEMENT_TIMEOUT_MS.to_string();
    options.options([
        ("statement_timeout", statement.as_str()),
        ("lock_timeout", &LOCK_TIMEOUT_MS.to_string()),
        // Our statements are short, and its guesses about recursive ones are not: compiling took seconds.
        ("jit", "off"),
        ("idle_in_transaction_session_timeout", &statement),
        // Connections of a pool are idle most of the time, and who listens always is.
        ("idle_session_timeout", "0"),
        // Whatever the database's own default: each statement must see what is committed before it.
        ("default_transaction_isolation", "read committed"),
    ])
}

/// A pool with settings of its sessions, or none if a pooler stands in the way: it refuses them, or drops them.
async fn straight(
    options: &StoreOptions,
    connect: PgConnectOptions,
) -> Result<Option<PgPool>, StoreError> {
    let pool = match pool_of(options, connect).await {
        Err(StoreError::Connect(sqlx::Error::Database(error)))
            if error.message().contains("unsupported startup parameter") =>
        {
            tracing::debug!("a pooler answers, which takes no settings of a session");
            return Ok(None);
        }
        other => other?,
    };
    // Said at once, unprepared: a pooler may be in between.
    let row = pool
        .fetch_one(sqlx::raw_sql(
            "select extract(epoch from current_setting('statement_timeout')::interval)::text",
        ))
        .await?;
    let seconds: String = row.try_get(0)?;
    let arrived = seconds.parse::<f64>().is_ok_and(|found| {
        (found - Duration::from_millis(STATEMENT_TIMEOUT_MS).as_secs_f64()).abs() < 0.001
    });
    if arrived {
        return Ok(Some(pool));
    }
    tracing::debug!("a pooler answers, which drops settings of a session");
    pool.close().await;
    Ok(None)
}

/// A pool that has connected once.
async fn pool_of(options: &StoreOptions, connect: PgConnectOptions) -> Result<PgPool, StoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        // Instead, with an end: the server may have vanished without a word.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                let alive = timeout(ALIVE, connection.ping()).await;
                Ok(matches!(alive, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(connect);
    match pool.acquire().await {
        Ok(_) => Ok(pool),
        Err(sqlx::Error::PoolTimedOut) => Err(StoreError::Connect(why_none(&pool).await)),
        Err(error) => Err(StoreError::Connect(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::PgConnectOptions;

    #[test]
    fn an_address_without_a_user_is_of_whoever_runs_it() {
        let options: PgConnectOptions = "postgres:///any".parse().unwrap();
        assert_ne!(options.get_username(), "anonymous");
    }
}
