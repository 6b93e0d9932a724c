//! The gate to the database: connections of a pool, each statement bounded in time, with or without a pooler in between.
//!
//! **Invariant:** nothing is written to the database but through here, so that a test may end the process at each boundary of
//! what is durable (`crier_core::failpoint`). **Invariant:** no statement is waited for longer than [`PATIENCE`]: a server that vanished without a word (a failover, a
//! cable) must hold up neither a place of a worker nor a connection of the pool. **Invariant:** behind a pooler every
//! statement runs in a transaction, which holds one connection of the server for as long as it lasts: what was parsed on
//! one connection is never executed on another, no name of a prepared statement meets another's, and limits are set for
//! that transaction alone.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Duration;

use crier_core::failpoint::{self, Deed};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnection, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{ConnectOptions, Database, Describe, Either, Error, Execute, Executor, SqlStr};
use tokio::time::{error::Elapsed, timeout};

use crate::connect::STATEMENT_TIMEOUT_MS;
use crate::points::{Place, name, open};

/// The server ends a statement before this; who is silent for longer is not there.
const PATIENCE: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 5_000);
/// For a look at why no connection came: shorter than any deadline of whoever waits.
const LOOK: Duration = Duration::from_secs(2);
/// A script of a person may hold many statements.
const SCRIPT: Duration = Duration::from_hours(1);

/// `read_only_sql_transaction` (PostgreSQL, appendix A).
const READ_ONLY: &str = "25006";

type Steps = Vec<Either<PgQueryResult, PgRow>>;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    pool: PgPool,
    /// How a transaction begins behind a pooler, which takes no settings for a session.
    begin: Option<&'static str>,
}

/// A connection in use.
pub(crate) struct Conn {
    /// There until it is dropped.
    live: Option<PoolConnection<Postgres>>,
    /// Whether a transaction is open.
    open: bool,
    /// Whether an answer is awaited.
    busy: bool,
    pooled: bool,
    patience: Duration,
}

/// A transaction; rolled back unless it is committed.
pub(crate) struct Tx(Conn);

impl Gate {
    /// Through this pool; `begin` starts each transaction if a pooler is in between.
    pub(crate) fn new(pool: PgPool, begin: Option<&'static str>) -> Self {
        Self { pool, begin }
    }

    /// The pool itself: for what takes no transaction.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether a pooler is in between.
    pub(crate) fn is_pooled(&self) -> bool {
        self.begin.is_some()
    }

    /// Begins a transaction. Boxed, as the other ends of one: whoever has many steps would carry them all.
    #[track_caller]
    pub(crate) fn begin(&self) -> BoxFuture<'_, Result<Tx, Error>> {
        let place = Place(Location::caller());
        Box::pin(async move {
            failpoint::before(Deed::Begin, &place.name());
            let mut conn = self.open().await?;
            conn.begin(self.begin).await?;
            Ok(Tx(conn))
        })
    }

    async fn open(&self) -> Result<Conn, Error> {
        let live = match self.pool.acquire().await {
            Ok(live) => live,
            Err(Error::PoolTimedOut) => return Err(why_none(&self.pool).await),
            Err(error) => return Err(error),
        };
        Ok(Conn {
            live: Some(live),
            open: false,
            busy: false,
            pooled: self.is_pooled(),
            patience: PATIENCE,
        })
    }

    /// A connection for one statement, and that one's own transaction behind a pooler.
    async fn once(&self) -> Result<Conn, Error> {
        let mut conn = self.open().await?;
        if self.is_pooled() {
            conn.begin(self.begin).await?;
        }
        Ok(conn)
    }
}

/// Why a pool had no connection for us: the server's words if it refuses one, else that all are in use.
pub(crate) async fn why_none(pool: &PgPool) -> Error {
    let options = pool.connect_options();
    match timeout(LOOK, options.connect()).await {
        Ok(Ok(found)) => {
            // Dropped is closed at once; a goodbye may take its time.
            drop(found);
            Error::PoolTimedOut
        }
        Ok(Err(error)) => error,
        Err(_) => Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            "the server answers nothing",
        )),
    }
}

fn is_code(error: &Error, code: &str) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|found| found == code)
}

impl Conn {
    /// The connection, to say something; gone only in `drop`.
    fn live(&mut self) -> Result<&mut PgConnection, Error> {
        self.busy = true;
        self.live.as_deref_mut().ok_or(Error::PoolClosed)
    }

    async fn begin(&mut self, statement: Option<&'static str>) -> Result<(), Error> {
        // A begin that failed half way may have begun.
        self.open = true;
        self.say(statement.unwrap_or("begin")).await
    }

    async fn end(&mut self) -> Result<(), Error> {
        if self.open {
            self.say("commit").await?;
            self.open = false;
        }
        Ok(())
    }

    async fn say(&mut self, words: &'static str) -> Result<(), Error> {
        let limit = self.patience;
        let done = timeout(limit, self.live()?.execute(words)).await;
        self.heard(done).map(|_| ())
    }

    /// As long as it takes: for a script of a person, each of whose statements has its own limit.
    pub(crate) fn wait_patiently(&mut self) {
        self.patience = SCRIPT;
    }

    /// Closes the connection afterwards, so that the next one leads to whoever leads now.
    pub(crate) fn forget(&mut self) {
        self.busy = true;
    }

    /// The answer. A connection that gave none stays busy, and is not used again.
    fn heard<T>(&mut self, done: Result<Result<T, Error>, Elapsed>) -> Result<T, Error> {
        let Ok(answer) = done else {
            let words = format!("no answer within {} s", self.patience.as_secs());
            return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, words)));
        };
        // A server that takes no writes may be the one that led before: the next connection leads to whoever leads now.
        self.busy = answer
            .as_ref()
            .is_err_and(|error| is_code(error, READ_ONLY));
        answer
    }

    async fn many<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Steps, Error> {
        let (limit, unnamed) = (self.patience, self.pooled);
        let live = self.live()?;
        let done = if unnamed {
            timeout(limit, live.fetch_many(Unnamed(query)).try_collect()).await
        } else {
            timeout(limit, live.fetch_many(query).try_collect()).await
        };
        self.heard(done)
    }

    async fn optional<'q, E: 'q + Execute<'q, Postgres>>(
        &mut self,
        query: E,
    ) -> Result<Option<PgRow>, Error> {
        let (limit, unnamed) = (self.patience, self.pooled);
        let live = self.live()?;
        let done = if unnamed {
            timeout(limit, live.fetch_optional(Unnamed(query))).await
        } else {
            timeout(limit, live.fetch_optional(query)).await
        };
        self.heard(done)
    }
}

impl Drop for Conn {
    /// Rolls an open transaction back before the connection goes back to the pool. One whose answer is still to come
    /// is closed: it may never come, and nobody waits for it.
    fn drop(&mut self) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        if self.busy {
            live.close_on_drop();
        } else if self.open {
            tokio::spawn(async move {
                if !matches!(timeout(LOOK, live.execute("rollback")).await, Ok(Ok(_))) {
                    live.close_on_drop();
                }
            });
        }
    }
}

impl Tx {
    /// Makes it last.
    #[track_caller]
    pub(crate) fn commit(mut self) -> BoxFuture<'static, Result<(), Error>> {
        let place = Place(Location::caller());
        Box::pin(async move {
            let name = place.name();
            failpoint::before(Deed::Commit, &name);
            self.0.end().await?;
            failpoint::after(Deed::Commit, &name);
            Ok(())
        })
    }

    /// Undoes it, and tells when that is done.
    pub(crate) async fn rollback(mut self) -> Result<(), Error> {
        Box::pin(self.0.say("rollback")).await?;
        self.0.open = false;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut Conn {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        stream::once(self.many(query))
            .map_ok(|steps| stream::iter(steps.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.optional(query))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.live()?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.live()?.describe(sql).await })
    }
}

impl<'c> Executor<'c> for &'c Gate {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        stream::once(async move {
            let query = open(query)?;
            let name = name(query.0.as_str());
            failpoint::before(Deed::Statement, &name);
            let mut conn = self.once().await?;
            let steps = conn.many(query).await?;
            conn.end().await?;
            failpoint::after(Deed::Statement, &name);
            Ok::<_, Error>(stream::iter(steps.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let query = open(query)?;
            let name = name(query.0.as_str());
            failpoint::before(Deed::Statement, &name);
            let mut conn = self.once().await?;
            let row = conn.optional(query).await?;
            conn.end().await?;
            failpoint::after(Deed::Statement, &name);
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let mut conn = self.once().await?;
            conn.prepare_with(sql, parameters).await
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let mut conn = self.once().await?;
            conn.describe(sql).await
        })
    }
}

/// A statement that is prepared without a name.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(
        &mut self,
    ) -> Result<Option<<Postgres as Database>::Arguments>, sqlx::error::BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
