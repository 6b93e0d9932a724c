//! Leadership among schedulers: a row that is held for some seconds and renewed.
//!
//! **Invariant:** at most one scheduler holds the row by the database's clock. What it does is harmless if two do it: the
//! lease saves work, it does not guard it.

use std::time::Duration;

use uuid::Uuid;

use crate::claim::micros;
use crate::{Store, StoreError};

/// How an attempt to lead ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// This process leads for the time asked for.
    Leads,
    /// Another one does.
    Follows,
}

impl Store {
    /// Takes or renews leadership for `ttl`.
    pub async fn lead(&self, me: Uuid, ttl: Duration) -> Result<Leadership, StoreError> {
        let won = sqlx::query(
            "-- lead
            insert into crier.leader as l (holder, expires_at) values ($1, crier.now() + $2 * interval '1 microsecond')
            on conflict (one_row) do update set holder = excluded.holder, expires_at = excluded.expires_at
             where l.holder = excluded.holder or l.expires_at < crier.now()
                -- Dated by a clock that has gone back since: nobody leads for so long.
                or l.expires_at > crier.now() + greatest(interval '1 minute', 3 * $2 * interval '1 microsecond')",
        )
        .bind(me)
        .bind(micros(ttl))
        .execute(&self.pool)
        .await?;
        Ok(if won.rows_affected() == 1 {
            Leadership::Leads
        } else {
            Leadership::Follows
        })
    }

    /// Gives leadership back, so that another scheduler need not wait for it to run out.
    pub async fn resign(&self, me: Uuid) -> Result<(), StoreError> {
        sqlx::query(
            "-- resign\nupdate crier.leader set expires_at = '-infinity' where holder = $1",
        )
        .bind(me)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
