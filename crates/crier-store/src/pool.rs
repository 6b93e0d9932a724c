//! The one way to the database: every statement outside a transaction, every begin and every commit passes here.
//!
//! **Invariant:** nothing is written to the database but through here, so that a test may end the process at each
//! boundary of what is durable (`crier_core::failpoint`); a release build only passes it on.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use crier_core::failpoint::{self, Deed};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, once};
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, Postgres, SqlStr};

/// Connections to the database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool(sqlx::PgPool);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) const fn new(inner: sqlx::PgPool) -> Self {
        Self(inner)
    }

    /// For what needs sqlx's own type: migrations and listeners. Nothing of a job is written through it.
    pub(crate) const fn inner(&self) -> &sqlx::PgPool {
        &self.0
    }

    /// Begins a transaction.
    #[track_caller]
    pub(crate) fn begin(&self) -> impl Future<Output = Result<Transaction, Error>> + Send + '_ {
        let place = Location::caller();
        async move {
            failpoint::before(Deed::Begin, Place(place).name().as_str());
            Ok(Transaction {
                inner: self.0.begin().await?,
            })
        }
    }

    pub(crate) async fn close(&self) {
        self.0.close().await;
    }

    pub(crate) fn size(&self) -> u32 {
        self.0.size()
    }

    pub(crate) fn num_idle(&self) -> usize {
        self.0.num_idle()
    }
}

/// An open transaction; dropped, it is rolled back.
pub(crate) struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
}

impl Transaction {
    /// Makes it durable.
    #[track_caller]
    pub(crate) fn commit(self) -> impl Future<Output = Result<(), Error>> + Send {
        let place = Location::caller();
        async move {
            let name = Place(place).name();
            failpoint::before(Deed::Commit, &name);
            self.inner.commit().await?;
            failpoint::after(Deed::Commit, &name);
            Ok(())
        }
    }

    /// Takes it back.
    pub(crate) async fn rollback(self) -> Result<(), Error> {
        self.inner.rollback().await
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

/// A place in this crate: `staging/steps.rs:147`.
struct Place(&'static Location<'static>);

impl Place {
    fn name(&self) -> String {
        if !cfg!(debug_assertions) {
            return String::new();
        }
        let file = self.0.file();
        let file = file.rsplit_once("/src/").map_or(file, |(_, file)| file);
        format!("{file}:{}", self.0.line())
    }
}

/// What a statement calls itself: the comment that it begins with, or else its first words.
fn name(sql: &str) -> String {
    let first = sql.trim_start().lines().next().unwrap_or_default();
    let name = first.strip_prefix("--").unwrap_or(first).trim();
    name.chars().take(60).collect()
}

/// A query taken apart, so that its text can be read before it is run.
fn open<'q>(
    mut query: impl Execute<'q, Postgres>,
) -> Result<(SqlStr, Option<sqlx::postgres::PgArguments>), Error> {
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    Ok((query.sql(), arguments))
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if !cfg!(debug_assertions) {
            return self.0.fetch_many(query);
        }
        let query = match open(query) {
            Ok(query) => query,
            Err(error) => return once(std::future::ready(Err(error))).boxed(),
        };
        let name = name(query.0.as_str());
        let mut begun = false;
        let mut rows = self.0.fetch_many(query);
        futures_util::stream::poll_fn(move |context| {
            if !begun {
                begun = true;
                failpoint::before(Deed::Statement, &name);
            }
            let polled = rows.poll_next_unpin(context);
            if matches!(polled, std::task::Poll::Ready(None)) {
                failpoint::after(Deed::Statement, &name);
            }
            polled
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if !cfg!(debug_assertions) {
            return self.0.fetch_optional(query);
        }
        let query = match open(query) {
            Ok(query) => query,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let name = name(query.0.as_str());
        let row = self.0.fetch_optional(query);
        Box::pin(async move {
            failpoint::before(Deed::Statement, &name);
            let row = row.await?;
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
        'p: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        self.0.describe(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_called_by_its_comment_and_a_commit_by_its_place() {
        assert_eq!(name("-- now\nselect crier.now()"), "now");
        assert_eq!(name("\n        -- claim: gates\n select"), "claim: gates");
        assert_eq!(name("select 1"), "select 1");
        let here = Place(Location::caller()).name();
        assert!(here.starts_with("pool.rs:"), "{here}");
    }
}
