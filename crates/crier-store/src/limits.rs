//! Limits of which X does not say by its headers when they end.
//!
//! **Invariant:** such a limit is a window like those of the headers, of the length `unstated`: whatever obeys a window
//! obeys it, in every process. **Invariant:** the next refusal in a row makes the wait longer; those that come while it is
//! being waited for, from calls under way, are the same one.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::claim::micros;
use crate::{Store, StoreError};

impl Store {
    /// X refused a call for a limit and did not say until when. `wait` makes the time to wait of the number of refusals in
    /// a row; answers its end.
    pub async fn limit_unstated(
        &self,
        account: i64,
        endpoint: &str,
        wait: impl FnOnce(u32) -> Duration + Send,
    ) -> Result<DateTime<Utc>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let strikes: i32 = sqlx::query_scalar(
            "-- limit_unstated
            insert into crier.limit_windows as w (class, owner_id, endpoint, length, remaining, resets_at, strikes)
            values ('account', $1, $2, 'unstated', 0, crier.now(), 1)
            on conflict (class, owner_id, endpoint, length) do update
              set remaining = 0, updated_at = crier.now(),
                  strikes = case when w.resets_at > crier.now() then greatest(w.strikes, 1)
                                 when w.resets_at > crier.now() - interval '2 hours' then w.strikes + 1 else 1 end
            returning strikes",
        )
        .bind(account)
        .bind(endpoint)
        .fetch_one(&mut *tx)
        .await?;
        let wait = wait(u32::try_from(strikes).unwrap_or(1));
        // What is waited for already is not made longer by a straggler.
        let until = sqlx::query_scalar(
            "-- limit_unstated
            update crier.limit_windows set resets_at = case when resets_at > crier.now() then resets_at
                   else crier.now() + $3 * interval '1 microsecond' end
             where class = 'account' and owner_id = $1 and endpoint = $2 and length = 'unstated' returning resets_at",
        )
        .bind(account)
        .bind(endpoint)
        .bind(micros(wait))
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(until)
    }

    /// X said until when, though not by its windows: `Retry-After`.
    pub async fn limit_until(
        &self,
        account: i64,
        endpoint: &str,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "-- limit_until
            insert into crier.limit_windows as w (class, owner_id, endpoint, length, remaining, resets_at)
            values ('account', $1, $2, 'unstated', 0, $3)
            on conflict (class, owner_id, endpoint, length) do update
              set remaining = 0, updated_at = crier.now(), resets_at = greatest(w.resets_at, excluded.resets_at)",
        )
        .bind(account)
        .bind(endpoint)
        .bind(until)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// X accepted calls of these endpoints: the next refusal is a first one again.
    pub async fn limit_passed(&self, account: i64, endpoints: &[&str]) -> Result<(), StoreError> {
        sqlx::query(
            "-- limit_passed
            delete from crier.limit_windows where class = 'account' and owner_id = $1 and endpoint = any($2)
               and length = 'unstated' and resets_at <= crier.now()",
        )
        .bind(account)
        .bind(endpoints)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
