//! What is dropped for its age, and what must not be.

use crate::world::{Broken, World, unexpected};

impl World<'_> {
    /// Drops what is older than so many days, as housekeeping does it.
    pub(crate) async fn trim(&mut self, days: u8) -> Result<(), Broken> {
        let db = self.db;
        let (store, days) = (&db.store, u32::from(days.max(1)));
        sqlx::query("select sim.before()")
            .execute(&db.people)
            .await
            .unwrap();
        let dropped = async {
            store.ensure_partitions(1).await?;
            store.drop_history(days).await?;
            store.trim_attempts(days).await?;
            store.trim_uploads(days).await?;
            store.trim_workers(days).await
        }
        .await;
        let broken: Vec<String> = sqlx::query_scalar("select b from sim.lost($1) b")
            .bind(i32::try_from(days).unwrap_or(i32::MAX))
            .fetch_all(&db.people)
            .await
            .map_err(|error| format!("history.sql: {error}"))?;
        if !broken.is_empty() {
            return Err(broken.join("; "));
        }
        match dropped {
            // It gives up at once where others are at work, and comes back later.
            Err(error) if error.sqlstate().as_deref() == Some("55P03") => Ok(()),
            dropped => dropped.map(drop).map_err(unexpected("history")),
        }
    }
}
