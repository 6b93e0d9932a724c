//! Letting everything settle: all loops run, the clock goes on from event to event, until nothing is left to do. Then
//! people act on what waits for them, and in the end every job has ended.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ops::{Look, Person, Post, Recur, Schedule, Upload, Work};
use crate::world::{Broken, World};

/// Rounds in which everything must come to rest.
const ROUNDS: u32 = 300;
/// Times that people may have to act: a job that they send again may become unknown again.
const ACTS: u32 = 6;

impl World<'_> {
    /// `finish`: what is in hand is done first; otherwise its workers die.
    pub(crate) async fn settle_all(&mut self, finish: bool) -> Result<(), Broken> {
        if self.armed {
            self.disarm().await;
        }
        self.close(finish).await?;
        self.check().await?;
        // They would never end.
        for n in 0..2 {
            self.person(Person::Recur(n, Recur::Delete)).await?;
        }
        for worker in 0..3 {
            if finish {
                self.empty_hands(worker).await?;
            }
            self.start(worker);
        }
        self.rest().await?;
        for act in 0..ACTS {
            self.people_act(act).await?;
            self.rest().await?;
            let open: i64 = self.one("select count(*) from crier.jobs_open").await;
            if open == 0 {
                return self.account_for_all().await;
            }
        }
        let open: Vec<String> = sqlx::query_scalar(
            "select format('job %s is %s: %s', id, state, error) from crier.jobs_open",
        )
        .fetch_all(&self.db.people)
        .await
        .unwrap();
        Err(format!(
            "never ends, whatever people do: {}",
            open.join("; ")
        ))
    }

    async fn one(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.db.people)
            .await
            .unwrap()
    }

    /// Until every open job waits for a person, or for one that does.
    async fn rest(&mut self) -> Result<(), Broken> {
        for _ in 0..ROUNDS {
            let before = self.done;
            self.round().await?;
            if self.done > before {
                self.wait(TimeDelta::milliseconds(1)).await?;
                continue;
            }
            let left = self.left().await;
            if left.is_empty() && self.x.late.is_empty() {
                return Ok(());
            }
            let event: Option<DateTime<Utc>> = sqlx::query_scalar("select sim.next_event()")
                .fetch_one(&self.db.people)
                .await
                .unwrap();
            let behind = self.real - self.now;
            let late = self.x.late.iter().map(|late| late.0 - behind).min();
            let Some(event) = event.into_iter().chain(late).min() else {
                return Err(format!(
                    "nothing will ever happen, though {}",
                    left.join("; ")
                ));
            };
            self.wait(event - self.now + TimeDelta::milliseconds(1))
                .await?;
        }
        Err(format!(
            "does not come to rest: {}",
            self.left().await.join("; ")
        ))
    }

    async fn left(&self) -> Vec<String> {
        sqlx::query_scalar("select u from sim.unsettled() u")
            .fetch_all(&self.db.people)
            .await
            .unwrap()
    }

    /// Every loop once, nothing going wrong.
    async fn round(&mut self) -> Result<(), Broken> {
        let steps = [
            Schedule::Expire,
            Schedule::ExpireUploads,
            Schedule::ExpireLooks,
            Schedule::Missed,
            Schedule::ReadChecks,
            Schedule::ActOnChecks,
            Schedule::Held,
            Schedule::Uploads,
        ];
        for step in steps {
            self.schedule(0, step).await?;
        }
        loop {
            let before = self.done;
            self.schedule(0, Schedule::Signals(200)).await?;
            if self.done == before {
                break;
            }
        }
        self.schedule(0, Schedule::Lanes).await?;
        self.work(0, Work::Claim(200)).await?;
        self.work(1, Work::ClaimUploads(200)).await?;
        self.work(2, Work::ClaimLooks(200)).await?;
        self.check().await?;
        for worker in 0..3 {
            self.empty_hands(worker).await?;
        }
        self.check().await
    }

    /// Does everything in hand to its end.
    async fn empty_hands(&mut self, worker: usize) -> Result<(), Broken> {
        while !self.workers[worker].posts.is_empty() {
            self.work(worker, Work::Post(0, Post::Well)).await?;
            self.check().await?;
        }
        while !self.workers[worker].uploads.is_empty() {
            self.work(worker, Work::Upload(0, Upload::Well)).await?;
        }
        while !self.workers[worker].looks.is_empty() {
            self.work(worker, Work::Look(0, Look::Well)).await?;
            self.check().await?;
        }
        Ok(())
    }

    /// People resume what is paused and settle what is unknown. What they have sent again in vain, they give up.
    async fn people_act(&mut self, act: u32) -> Result<(), Broken> {
        self.person(Person::ResumeCampaign).await?;
        for account in 0..3 {
            self.person(Person::ResumeAccount(account)).await?;
            self.person(Person::Budget(account, None)).await?;
        }
        for place in 0..self.jobs.len() {
            let n = u8::try_from(place).unwrap_or(0);
            self.person(Person::Edit(n, crate::ops::Edit::Resume))
                .await?;
            let was_unknown = self.is_unknown(n).await;
            self.person(Person::Settle(n)).await?;
            if act > 0 && was_unknown {
                self.person(Person::Cancel(n)).await?;
            }
        }
        self.check().await
    }

    /// Every post that exists is said to, and nothing is left behind. How many went in and how many ended is among the
    /// promises that hold at every step.
    async fn account_for_all(&self) -> Result<(), Broken> {
        let published = self
            .one("select count(*) from crier.jobs where state = 'published'")
            .await;
        let live = self
            .one("select count(*) from sim.live l where not exists (select 1 from sim.gone g where g.job_id = l.job_id)")
            .await;
        let leases = self
            .one("select count(*) from crier.leases where kind <> 'refresh'")
            .await;
        let signals = self.one("select count(*) from crier.lane_signals").await;
        let searches = self.one("select count(*) from crier.reconciles").await;
        if (published, leases, signals, searches) == (live, 0, 0, 0) {
            return Ok(());
        }
        Err(format!(
            "{published} published, {live} live; {leases} leases, {signals} signals and {searches} searches left"
        ))
    }
}
