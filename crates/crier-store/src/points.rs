//! What the boundaries of what is durable are called, so that a test may end the process at each of them
//! (`crier_core::failpoint`).
//!
//! **Invariant:** a release build computes no name.

use std::panic::Location;

use sqlx::{Error, Execute, Postgres, SqlStr};

/// A place in this crate: `staging/steps.rs:147`.
pub(crate) struct Place(pub(crate) &'static Location<'static>);

impl Place {
    pub(crate) fn name(&self) -> String {
        if !cfg!(debug_assertions) {
            return String::new();
        }
        let file = self.0.file();
        let file = file.rsplit_once("/src/").map_or(file, |(_, file)| file);
        format!("{file}:{}", self.0.line())
    }
}

/// What a statement calls itself: the comment that it begins with, or else its first words.
pub(crate) fn name(sql: &str) -> String {
    if !cfg!(debug_assertions) {
        return String::new();
    }
    let first = sql.trim_start().lines().next().unwrap_or_default();
    let name = first.strip_prefix("--").unwrap_or(first).trim();
    name.chars().take(60).collect()
}

/// A query taken apart, so that its text can be read before it is run.
pub(crate) fn open<'q>(
    mut query: impl Execute<'q, Postgres>,
) -> Result<(SqlStr, Option<sqlx::postgres::PgArguments>), Error> {
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    Ok((query.sql(), arguments))
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
        assert!(here.starts_with("points.rs:"), "{here}");
    }
}
