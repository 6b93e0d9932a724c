//! What can go wrong between crier and its database, in words for people.
//!
//! **Invariant:** no message holds a password, a token or the database's address with its credentials.

use crate::seal::KeyError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address cannot be read.
    #[error(
        "the database address is not of the form `postgres://user:password@host:port/database`"
    )]
    Url,
    /// No connection.
    #[error("cannot connect to the database: {0}")]
    Connect(#[source] sqlx::Error),
    /// The database refused or failed a statement.
    #[error("the database said: {0}")]
    Database(#[source] sqlx::Error),
    /// A migration failed.
    #[error("the schema could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The lease that the write belongs to is gone: another worker may have the job. The result was dropped.
    #[error("the lease of {kind} {subject} was lost; its result was dropped")]
    LeaseLost {
        /// `publish`, `stage`, `reconcile` or `refresh`.
        kind: &'static str,
        /// The job, upload or account.
        subject: i64,
    },
    /// The job changed between claim and send: the lease is given back and the job claimed anew.
    #[error("job {job} was edited, paused or cancelled after it was claimed")]
    JobChanged {
        /// The job.
        job: i64,
    },
    /// A post belongs to one job; another one has this one.
    #[error("the post `{post_id}` belongs to another job already")]
    PostTaken {
        /// X's id of the post.
        post_id: String,
    },
    /// A person asked for what cannot be; the words say why.
    #[error("{0}")]
    Refused(String),
    /// Credentials are needed but no key is configured.
    #[error(
        "no key for the credentials is configured; set `CRIER__SECRETS__KEY` to 32 bytes in base64"
    )]
    NoKey,
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is sealed does not open.
    #[error("{what} cannot be opened: {error}")]
    Sealed {
        /// What it is, and whose.
        what: String,
        /// Why not.
        error: KeyError,
    },
    /// A row does not make sense.
    #[error("table {table} holds a row that crier cannot read ({detail}); was it edited by hand?")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// What is wrong.
        detail: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl StoreError {
    /// Stable code for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url => "db_url",
            Self::Connect(_) => "db_connect",
            Self::Database(_) => "db_error",
            Self::Migrate(_) => "db_migrate",
            Self::LeaseLost { .. } => "lease_lost",
            Self::JobChanged { .. } => "job_changed",
            Self::PostTaken { .. } => "post_taken",
            Self::Refused(_) => "refused",
            Self::NoKey => "no_key",
            Self::Key(_) => "wrong_key",
            Self::Sealed {
                error: KeyError::OtherKey { .. },
                ..
            } => "key_missing",
            Self::Sealed { .. } => "credentials_damaged",
            Self::Inconsistent { .. } => "db_inconsistent",
        }
    }

    /// What the database itself said, if it did: message, then hint.
    pub fn database_words(&self) -> Option<(String, Option<String>)> {
        let (Self::Database(_) | Self::Connect(_)) = self else {
            return None;
        };
        let error = self.by_database()?;
        let hint = error
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .and_then(|e| e.hint())
            .map(str::to_owned);
        Some((error.message().to_owned(), hint))
    }

    /// The database's own code of what it refused (`SQLSTATE`), if it was the database.
    pub fn sqlstate(&self) -> Option<String> {
        let code = self.by_database()?.code()?;
        Some(code.into_owned())
    }

    fn by_database(&self) -> Option<&(dyn sqlx::error::DatabaseError + 'static)> {
        let (Self::Database(error)
        | Self::Connect(error)
        | Self::Migrate(
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _),
        )) = self
        else {
            return None;
        };
        error.as_database_error()
    }

    /// Whether the database failed, or somebody's lock or trigger stood in the way: the same may succeed a moment later.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Connect(_))
    }

    /// Whether somebody else's lock was in the way.
    pub(crate) fn is_in_the_way(&self) -> bool {
        matches!(self.sqlstate().as_deref(), Some("55P03" | "40P01"))
    }

    /// What an operator may do about a database that fails.
    pub fn advice(&self) -> Option<&'static str> {
        if let Some(state) = self.sqlstate() {
            return of_state(&state);
        }
        let (Self::Database(error) | Self::Connect(error)) = self else {
            return None;
        };
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Some(
                "all connections of this process are in use: raise database.max_connections, and look what makes statements slow",
            );
        }
        matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_)).then_some(
            "is the server running, and are host, port, user, password and database of DATABASE_URL right?",
        )
    }
}

/// By the code (PostgreSQL, appendix A).
fn of_state(state: &str) -> Option<&'static str> {
    Some(match state {
        "25006" => {
            "the database takes no writes: is it a standby, or is default_transaction_read_only on? Name the primary in DATABASE_URL"
        }
        "53100" => "the database's disk is full: make room, and crier goes on by itself",
        "53200" => "the database is out of memory: crier goes on by itself once it has some",
        "53300" => {
            "the server has no connection left: raise its max_connections, or lower database.max_connections of the processes"
        }
        "55P03" => "somebody holds a lock for long: `crier doctor` shows who",
        "57014" => {
            "a statement took too long: is the database overloaded, or does somebody hold a lock? `crier doctor` shows who"
        }
        "57P01" | "57P02" | "57P03" => "the server stops or starts: crier goes on by itself",
        "58030" => "the database cannot read or write its files: look at its log and its disk",
        "08P01" => "is there a pooler in between? Set database.pooler to transaction",
        _ => return None,
    })
}
