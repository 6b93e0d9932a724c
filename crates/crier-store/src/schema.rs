//! The schema: its migrations, embedded, and whether the database has them.
//!
//! **Invariant:** migrations are only ever added; the database remembers the checksum of each.

use std::time::{Duration, Instant};

use sqlx::ConnectOptions;

use crate::{Store, StoreError};

/// How long a migration is tried while others hold locks.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

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
    /// Brings the schema up to date; answers the version reached. Safe to run from several processes at once: one goes
    /// first, the others wait for it. A migration may last as long as it must, but waits for no lock for long, since all
    /// others would wait behind it: it lets them pass and tries again.
    pub async fn migrate(&self) -> Result<i64, StoreError> {
        let Some(direct) = &self.direct else {
            return Err(StoreError::Refused(
                "migrations need a session of their own, which a pooler does not give: set `database.direct_url` to the address of Postgres itself".to_owned(),
            ));
        };
        let direct = direct
            .clone()
            // The history of migrations is in `public`, whatever the login's own path is: Postgres puts the schema of its name in front, which
            // for a login `crier` is ours from the first migration on.
            .options([("statement_timeout", "0"), ("search_path", "public")])
            // A migration that waits is no news of pages.
            .disable_statement_logging();
        let mut migrator = sqlx::migrate::Migrator {
            ..sqlx::migrate!("../../migrations")
        };
        // An old program beside a newer schema is a rollout, not a fault.
        migrator.set_ignore_missing(true);
        let begin = Instant::now();
        loop {
            let mut connection = direct.connect().await.map_err(StoreError::Connect)?;
            // Not `run`, whose future no thread but this one could go on with.
            let done = migrator
                .run_direct(None, &mut connection, false)
                .await
                .map_err(StoreError::from);
            // Its lock goes with the session.
            drop(connection);
            match done {
                Ok(()) => return Ok(program_version()),
                Err(error) if error.is_in_the_way() && begin.elapsed() < PATIENCE => {
                    tracing::warn!(
                        "somebody else migrates, or holds a lock on a table of crier; trying again: {error}"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
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
