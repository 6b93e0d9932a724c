//! Limits of the media endpoints, for all workers.
//!
//! **Invariant:** a limit of uploads never closes a lane: X counts uploads and posts apart.

use crier_core::limit::Window;

use crate::settle::save_window;
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
            save_window(account, endpoint, window)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}
