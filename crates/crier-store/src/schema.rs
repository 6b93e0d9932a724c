//! The schema: its migrations, embedded, and whether the database has them.
//!
//! **Invariant:** migrations are only ever added; the database remembers the checksum of each.

use crate::{Store, StoreError};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// How the database's schema stands to this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// Both know the same migrations.
    Current,
    /// The database lacks migrations: run `crier migrate`.
    Older {
        /// Last migration in the database, 0 if none.
        database: i64,
        /// Last migration of this program.
        program: i64,
    },
    /// A newer program has migrated the database already; an old process works on beside it.
    Newer {
        /// Last migration in the database.
        database: i64,
        /// Last migration of this program.
        program: i64,
    },
}

impl Store {
    /// Brings the schema up to date; answers the version reached. Safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<i64, StoreError> {
        let mut migrator = sqlx::migrate::Migrator {
            ..sqlx::migrate!("../../migrations")
        };
        // An old program beside a newer schema is a rollout, not a fault.
        migrator.set_ignore_missing(true);
        migrator.run(self.pool.inner()).await?;
        Ok(program_version())
    }

    /// Compares the database's schema with this program's.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        let program = program_version();
        let known: bool = sqlx::query_scalar(
            "-- schema_state\nselect to_regclass('public._sqlx_migrations') is not null",
        )
        .fetch_one(&self.pool)
        .await?;
        let database: i64 = if known {
            sqlx::query_scalar("-- schema_state\nselect coalesce(max(version), 0) from public._sqlx_migrations where success")
                .fetch_one(&self.pool)
                .await?
        } else {
            0
        };
        Ok(match database.cmp(&program) {
            std::cmp::Ordering::Equal => SchemaState::Current,
            std::cmp::Ordering::Less => SchemaState::Older { database, program },
            std::cmp::Ordering::Greater => SchemaState::Newer { database, program },
        })
    }
}

fn program_version() -> i64 {
    MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0)
}
