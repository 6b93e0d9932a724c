//! What goes wrong around the store: its session fails between two statements, and a person's transaction stays open.
//!
//! **Invariant:** whoever meets a fault does what the worker's code does: what was surely not sent is given back, what may
//! have been sent is left to the lease, an outcome is written again.

use crate::ops::{Long, Op, Person, Schedule, Work};
use crate::people::CAMPAIGN;
use crate::world::{Broken, World};

impl World<'_> {
    /// The store's session fails in the n-th write from now on.
    pub(crate) async fn arm(&mut self, n: u8) {
        let sql = "select setval('sim.writes', 999999 - $1)";
        self.note(sql, i64::from(n)).await;
        self.armed = true;
    }

    /// Whether a failure is one of those that were brought about; the store goes on with a new session then.
    pub(crate) async fn tolerates(&mut self, broken: &str) -> bool {
        let is_locked = self.long.is_some() && broken.contains("lock timeout");
        is_locked || self.is_cut().await
    }

    pub(crate) async fn is_cut(&mut self) -> bool {
        if !self.armed {
            return false;
        }
        let is_cut: bool =
            sqlx::query_scalar("select last_value between 1000000 and 1999999 from sim.writes")
                .fetch_one(&self.db.people)
                .await
                .unwrap();
        if is_cut {
            self.disarm().await;
        }
        is_cut
    }

    pub(crate) async fn disarm(&mut self) {
        self.note("select setval('sim.writes', 2000000) where $1 = 0", 0)
            .await;
        self.armed = false;
        self.db.begin_session().await;
    }

    /// Something in a transaction of a person that stays open.
    pub(crate) async fn in_long(&mut self, what: Long) -> Result<(), Broken> {
        match what {
            Long::Commit => return self.close(true).await,
            Long::Rollback => return self.close(false).await,
            Long::Insert(_) | Long::Do(_) => {}
        }
        if self.long.is_none() {
            let mut long = self.db.long.begin().await.unwrap();
            // Its time stands still, as that of a transaction does.
            sqlx::query("select set_config('sim.now', crier.now()::text, true)")
                .execute(&mut *long)
                .await
                .unwrap();
            self.long = Some(long);
        }
        if let Long::Do(
            Person::Cancel(n) | Person::Retry(n) | Person::Edit(n, _) | Person::Delete(n),
        ) = what
            && let Some(job) = self.job(n)
        {
            self.touched(job).await;
        }
        if matches!(
            what,
            Long::Do(
                Person::PauseCampaign
                    | Person::ResumeCampaign
                    | Person::CancelCampaign
                    | Person::Recur(..)
            )
        ) {
            sqlx::query("insert into sim.touched select id from crier.jobs_open where campaign = $1 or recurring_id is not null on conflict do nothing")
                .bind(CAMPAIGN)
                .execute(&self.db.people)
                .await
                .unwrap();
        }
        self.in_long = true;
        let done = match what {
            Long::Insert(draft) => self.insert(draft).await,
            Long::Do(person) if is_plain(person) => self.person(person).await,
            Long::Do(_) | Long::Commit | Long::Rollback => Ok(()),
        };
        self.in_long = false;
        done
    }

    pub(crate) async fn touched(&self, job: i64) {
        let sql = "insert into sim.touched values ($1) on conflict do nothing";
        self.note(sql, job).await;
    }

    pub(crate) async fn close(&mut self, commit: bool) -> Result<(), Broken> {
        let Some(long) = self.long.take() else {
            return Ok(());
        };
        let (jobs, keys) = (
            std::mem::take(&mut self.long_jobs),
            std::mem::take(&mut self.long_keys),
        );
        if !commit {
            long.rollback().await.unwrap();
            return Ok(());
        }
        self.done += 1;
        match long.commit().await {
            Ok(()) => {
                // What their predecessors did meanwhile is found by the sweep.
                for job in &jobs {
                    self.touched(*job).await;
                }
                self.jobs.extend(jobs);
                self.keys.extend(keys);
                Ok(())
            }
            Err(error) => self.refused(&error),
        }
    }
}

/// Plain SQL on jobs and recurring posts.
pub(crate) fn is_plain(person: Person) -> bool {
    matches!(
        person,
        Person::Cancel(_)
            | Person::Retry(_)
            | Person::Edit(..)
            | Person::Delete(_)
            | Person::Revive(_)
            | Person::PauseCampaign
            | Person::ResumeCampaign
            | Person::CancelCampaign
            | Person::Recur(..)
    )
}

/// What no open transaction of a person may stop, whatever it holds.
pub(crate) fn is_unstoppable(op: Op) -> bool {
    match op {
        Op::Work(_, work) => matches!(
            work,
            Work::Claim(_) | Work::ClaimUploads(_) | Work::ClaimLooks(_) | Work::Renew
        ),
        Op::Schedule(_, what) => matches!(
            what,
            Schedule::Signals(_)
                | Schedule::Expire
                | Schedule::ExpireUploads
                | Schedule::ExpireLooks
                | Schedule::Missed
                | Schedule::ReadChecks
                | Schedule::Held
                | Schedule::Uploads
                | Schedule::Lanes
                | Schedule::Fold
                | Schedule::ReadRecurring
                | Schedule::Lead
        ),
        Op::Held(..) => true,
        _ => false,
    }
}
