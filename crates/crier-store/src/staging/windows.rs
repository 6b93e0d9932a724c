//! Limits of the media endpoints, for all workers.
//!
//! **Invariant:** a limit of uploads never closes a lane: X counts uploads and posts apart.

use crier_core::limit::Window;

use crate::{Store, StoreError};

impl Store {
    /// Keeps what X's headers said of a media endpoint; claims of uploads go by it.
    pub async fn note_media_windows(
        &self,
        account: i64,
        endpoint: &str,
        windows: &[Window],
    ) -> Result<(), StoreError> {
        for window in windows {
            sqlx::query(
                "-- note_media_windows
                insert into crier.limit_windows as w (class, owner_id, endpoint, length, call_limit, remaining, resets_at)
                select $1, case when $1 = 'app' then a.app_id else a.id end, $3, $4, $5, $6, $7 from crier.accounts a
                 where a.id = $2 and ($1 = 'account' or a.app_id is not null)
                   and $7 <= crier.now() + $8 * interval '1 second'
                on conflict (class, owner_id, endpoint, length) do update
                  set call_limit = excluded.call_limit, resets_at = excluded.resets_at, updated_at = crier.now(),
                      remaining = case when w.resets_at = excluded.resets_at then least(w.remaining, excluded.remaining)
                                       else excluded.remaining end
                  where w.resets_at <= excluded.resets_at",
            )
            .bind(window.class.as_str())
            .bind(account)
            .bind(endpoint)
            .bind(window.length.as_str())
            .bind(window.limit)
            .bind(window.remaining)
            .bind(window.resets_at)
            .bind(i64::from(window.length.most_s()))
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }
}
