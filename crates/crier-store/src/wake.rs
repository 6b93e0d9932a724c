//! Notifications that something is due: they wake who sleeps, and say nothing else.
//!
//! **Invariant:** nothing depends on one arriving. Whoever listens polls as well, and looks once after each
//! (re)connection, since what was said meanwhile is gone.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::{Store, StoreError};

/// Channel on which schedulers are told of new work.
pub const SCHEDULER_CHANNEL: &str = "crier_scheduler";
/// Channel on which workers are told that a lane is due.
pub const WORKER_CHANNEL: &str = "crier_worker";

/// First pause after a connection for listening failed or broke.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After this long without a word it is asked whether the server is still there.
const QUIET: Duration = Duration::from_secs(30);
/// And this long an answer may take.
const ALIVE: Duration = Duration::from_secs(5);

/// Wake-ups of one channel; any number of notifications between two looks are one.
#[derive(Debug)]
pub struct WakeUps {
    woken: Arc<Notify>,
    listener: Option<AbortHandle>,
}

impl WakeUps {
    /// One that never wakes: polling does it all.
    pub fn never() -> Self {
        Self {
            woken: Arc::default(),
            listener: None,
        }
    }

    /// Waits for the next wake-up. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) {
        self.woken.notified().await;
    }
}

impl Drop for WakeUps {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Store {
    /// Listens on a channel by a connection of its own, which is made again whenever it breaks; never wakes if no way past
    /// a pooler is known. Must be called within a Tokio runtime.
    pub fn listen(&self, channel: &'static str) -> WakeUps {
        let Some(options) = self.direct.clone() else {
            tracing::info!(
                channel,
                "a pooler loses notifications: work is found by polling"
            );
            return WakeUps::never();
        };
        let woken = Arc::<Notify>::default();
        let told = Arc::clone(&woken);
        // A listener keeps its connection: it must not take one from those who work.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let listener = tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let mut heard = false;
                if let Err(error) = listen_once(&pool, channel, &told, &mut heard).await {
                    tracing::debug!(
                        channel,
                        "not listening for notifications, polling goes on: {error}"
                    );
                }
                pause = if heard {
                    FIRST_PAUSE
                } else {
                    (pause * 2).min(LONGEST_PAUSE)
                };
                tokio::time::sleep(pause).await;
            }
        });
        WakeUps {
            woken,
            listener: Some(listener.abort_handle()),
        }
    }

    /// Tells workers that a lane is due, if one is and notifications are not switched off (`crier.notify`).
    pub async fn wake_workers(&self) -> Result<(), StoreError> {
        sqlx::query(
            "-- wake_workers
            select pg_notify('crier_worker', '')
             where current_setting('crier.notify', true) is distinct from 'off'
               and exists (select 1 from crier.lanes where next_at <= crier.now())",
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

async fn listen_once(
    pool: &PgPool,
    channel: &str,
    told: &Notify,
    heard: &mut bool,
) -> Result<(), StoreError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    *heard = true;
    loop {
        // At first, and after the connection was made anew, something may have been missed.
        told.notify_one();
        loop {
            match timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(_))) => told.notify_one(),
                // The connection was made anew.
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error.into()),
                // Nobody spoke, or nobody is there any more.
                Err(_) => {
                    let again = sqlx::AssertSqlSafe(format!("listen {channel}"));
                    let alive = timeout(ALIVE, sqlx::raw_sql(again).execute(&mut listener));
                    if !matches!(alive.await, Ok(Ok(_))) {
                        return Err(StoreError::Connect(sqlx::Error::WorkerCrashed));
                    }
                }
            }
        }
    }
}
