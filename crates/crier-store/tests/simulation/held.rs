//! Rows that somebody holds, and what must pass over them.

use crate::ops::{Passer, Row, Schedule};
use crate::world::{Broken, World, pick};

impl World<'_> {
    /// Does something that must pass over a row while somebody holds it.
    pub(crate) async fn pass(&mut self, row: Row, passer: Passer) -> Result<(), Broken> {
        let (table, n) = match row {
            Row::Job(n) => ("jobs_open order by id", n),
            Row::Lane(n) => ("lanes order by account_id", n),
            Row::Upload(n) => ("media_uploads order by id", n),
            Row::Search(n) => ("reconciles order by job_id", n),
            Row::Signal(n) => ("lane_signals order by id", n),
            Row::Lease(n) => (
                "leases where kind in ('stage', 'reconcile') order by token",
                n,
            ),
        };
        let places = format!("select ctid::text from crier.{table}");
        let places: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(places))
            .fetch_all(&self.db.people)
            .await
            .unwrap();
        let Some(place) = pick(&places, n) else {
            return Ok(());
        };
        let name = table.split(' ').next().unwrap_or_default();
        let mut holder = self.db.holder.begin().await.unwrap();
        let lock =
            format!("select 1 from crier.{name} where ctid = $1::text::tid for update skip locked");
        sqlx::query(sqlx::AssertSqlSafe(lock))
            .bind(&places[place])
            .execute(&mut *holder)
            .await
            .unwrap();
        let worker = usize::from(n % 3);
        let done = match passer {
            Passer::Claim => {
                self.claim_around(worker, 100, matches!(row, Row::Lane(_)))
                    .await
            }
            Passer::ClaimUploads => self.claim_uploads(worker, 100).await,
            Passer::ClaimLooks => self.claim_looks(worker, 100).await,
            Passer::Signals => self.schedule(0, Schedule::Signals(100)).await,
            Passer::Expire => self.schedule(0, Schedule::Expire).await,
            Passer::ExpireUploads => self.schedule(0, Schedule::ExpireUploads).await,
            Passer::ExpireLooks => self.schedule(0, Schedule::ExpireLooks).await,
            Passer::Missed => self.schedule(0, Schedule::Missed).await,
            Passer::Held => self.schedule(0, Schedule::Held).await,
            Passer::Uploads => self.schedule(0, Schedule::Uploads).await,
            Passer::Lanes => self.schedule(0, Schedule::Lanes).await,
        };
        holder.rollback().await.unwrap();
        done.map_err(|broken| format!("while {name} was held: {broken}"))
    }
}
