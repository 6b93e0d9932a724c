//! The whole of it: the database, X, workers and schedulers with what they hold, and how one operation is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::limit::Window;
use crier_core::reconcile::Next;
use crier_store::{Check, Claimed, Lease, Look, RecurringRow, Settlement, StoreError, Upload};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::db::{ACCOUNTS, Db, GRANT};
use crate::faults::is_unstoppable;
use crate::ops::{Long, Op, Post, Schedule, Work};
use crate::tokens::TokenHand;
use crate::x::X;

/// How long a lease lasts.
pub(crate) const TTL: Duration = Duration::from_secs(30);
/// How long it must still last when a call leaves: the call's own time limit and an allowance.
pub(crate) const MARGIN: Duration = Duration::from_secs(15);
/// The allowance: a call that has not left so long after its intent does not leave.
pub(crate) const ALLOWANCE: TimeDelta = TimeDelta::seconds(5);
/// How far the database's clock may go back.
const MOST_BEHIND: TimeDelta = TimeDelta::seconds(45);
/// How long before its time a job's files are uploaded.
pub(crate) const LEAD: Duration = Duration::from_mins(30);

/// A promise was broken: which, and how.
pub(crate) type Broken = String;

/// A job in a worker's hands.
#[derive(Debug)]
pub(crate) struct PostHand {
    pub(crate) job: Claimed,
    pub(crate) stage: PostStage,
}

#[derive(Debug)]
pub(crate) enum PostStage {
    Claimed,
    Sending {
        begun: DateTime<Utc>,
        media: Vec<String>,
    },
    Ended(Settlement, Vec<Window>),
}

/// A file in a worker's hands.
#[derive(Debug)]
pub(crate) struct UploadHand {
    pub(crate) upload: Upload,
    pub(crate) media_id: Option<String>,
    pub(crate) is_final: bool,
}

/// A search in a worker's hands.
#[derive(Debug)]
pub(crate) struct LookHand {
    pub(crate) look: Look,
    pub(crate) seen: Option<Vec<(String, String)>>,
    pub(crate) next: Option<Next>,
}

/// A worker process.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub(crate) id: Uuid,
    pub(crate) posts: Vec<PostHand>,
    pub(crate) uploads: Vec<UploadHand>,
    pub(crate) looks: Vec<LookHand>,
    pub(crate) tokens: Vec<TokenHand>,
}

pub(crate) struct World<'a> {
    pub(crate) db: &'a Db,
    pub(crate) x: X,
    /// The database's time.
    pub(crate) now: DateTime<Utc>,
    /// X's, which never goes back.
    pub(crate) real: DateTime<Utc>,
    pub(crate) workers: [Worker; 3],
    pub(crate) checks: [Vec<Check>; 2],
    pub(crate) slots: [Vec<RecurringRow>; 2],
    /// Who leads until when.
    pub(crate) leader: Option<(usize, DateTime<Utc>)>,
    /// Jobs as they were inserted, and dedupe keys that were used.
    pub(crate) jobs: Vec<i64>,
    pub(crate) keys: BTreeSet<(i64, u8)>,
    /// A person's open transaction, and what it has inserted so far.
    pub(crate) long: Option<Transaction<'static, Postgres>>,
    pub(crate) in_long: bool,
    pub(crate) long_jobs: Vec<i64>,
    pub(crate) long_keys: BTreeSet<(i64, u8)>,
    /// The store's session will fail.
    pub(crate) armed: bool,
    /// Budgets of apps, in millionths of a US dollar.
    pub(crate) budgets: BTreeMap<i64, Option<i64>>,
    /// When X was last asked about an app or an account.
    pub(crate) asked: BTreeMap<(Option<i64>, Option<i64>), DateTime<Utc>>,
    /// Until when X's limits close an account, by what was written of its answers.
    pub(crate) closed: BTreeMap<i64, DateTime<Utc>>,
    pub(crate) texts: u32,
    /// Operations that did something.
    pub(crate) done: u32,
    starts: u128,
}

impl<'a> World<'a> {
    pub(crate) async fn new(db: &'a Db) -> Self {
        db.reset().await;
        let now = DateTime::from_timestamp(1_798_761_600, 0).unwrap();
        let mut world = Self {
            db,
            x: X::default(),
            now,
            real: now,
            workers: Default::default(),
            checks: Default::default(),
            slots: Default::default(),
            keys: BTreeSet::new(),
            long: None,
            in_long: false,
            long_jobs: Vec::new(),
            long_keys: BTreeSet::new(),
            armed: false,
            budgets: BTreeMap::new(),
            asked: BTreeMap::new(),
            leader: None,
            jobs: Vec::new(),
            closed: BTreeMap::new(),
            texts: 0,
            done: 0,
            starts: 0,
        };
        for worker in 0..3 {
            world.start(worker);
        }
        for account in ACCOUNTS {
            world.x.grant(account, GRANT.to_owned());
        }
        world
    }

    /// A fresh process in the place of a worker; what the old one held is forgotten.
    pub(crate) fn start(&mut self, worker: usize) {
        self.starts += 1;
        self.lose_tokens(worker);
        self.workers[worker] = Worker {
            id: Uuid::from_u128(self.starts),
            ..Worker::default()
        };
    }

    /// Does one operation, and checks every promise after it.
    pub(crate) async fn apply(&mut self, op: Op) -> Result<(), Broken> {
        // No two operations happen at the same instant.
        self.wait(TimeDelta::milliseconds(1)).await?;
        if let Err(broken) = self.act(op).await {
            let is_locked = broken.contains("lock timeout");
            if is_locked && is_unstoppable(op) {
                return Err(format!(
                    "it waited for somebody's open transaction: {broken}"
                ));
            }
            if !self.tolerates(&broken).await {
                return Err(broken);
            }
        }
        // Who failed may have gone on without a word.
        self.is_cut().await;
        self.check().await
    }

    /// Whether an operation can do anything, as far as can be told without asking.
    pub(crate) fn can(&self, op: Op) -> bool {
        let any = |has: fn(&Worker) -> bool| self.workers.iter().any(has);
        match op {
            Op::Work(worker, Work::Post(n, how)) => {
                busy(&self.workers, usize::from(worker % 3), |w| {
                    !w.posts.is_empty()
                })
                .and_then(|worker| {
                    let posts = &self.workers[worker].posts;
                    pick(posts, n).map(|place| fits(&posts[place].stage, how))
                })
                .unwrap_or(false)
            }
            Op::Work(_, Work::Upload(..)) => any(|worker| !worker.uploads.is_empty()),
            Op::Work(_, Work::Look(..)) => any(|worker| !worker.looks.is_empty()),
            Op::Work(_, Work::Token(..)) => any(|worker| !worker.tokens.is_empty()),
            Op::Long(Long::Commit | Long::Rollback) => self.long.is_some(),
            Op::Schedule(scheduler, Schedule::Expand) => {
                !self.slots[usize::from(scheduler % 2)].is_empty()
            }
            Op::Schedule(scheduler, Schedule::ActOnChecks) => {
                !self.checks[usize::from(scheduler % 2)].is_empty()
            }
            _ => true,
        }
    }

    async fn act(&mut self, op: Op) -> Result<(), Broken> {
        match op {
            Op::Insert(draft) => self.insert(draft).await,
            Op::Wait(seconds) => self.wait(TimeDelta::seconds(i64::from(seconds))).await,
            Op::Days(days) => self.wait(TimeDelta::days(i64::from(days))).await,
            Op::Back(seconds) => self.back(TimeDelta::seconds(i64::from(seconds))).await,
            Op::Cut(n) => {
                self.arm(n).await;
                Ok(())
            }
            Op::Long(what) => self.in_long(what).await,
            Op::Work(worker, work) => self.work(usize::from(worker % 3), work).await,
            Op::Schedule(scheduler, what) => self.schedule(usize::from(scheduler % 2), what).await,
            Op::Person(what) => self.person(what).await,
            Op::Held(row, passer) => self.pass(row, passer).await,
        }
    }

    pub(crate) async fn work(&mut self, worker: usize, work: Work) -> Result<(), Broken> {
        match work {
            Work::Claim(limit) => self.claim(worker, limit).await,
            Work::Post(pick, how) => self.post(worker, pick, how).await,
            Work::ClaimUploads(limit) => self.claim_uploads(worker, limit).await,
            Work::Upload(pick, how) => self.upload(worker, pick, how).await,
            Work::ClaimLooks(limit) => self.claim_looks(worker, limit).await,
            Work::Look(pick, how) => self.look(worker, pick, how).await,
            Work::Refresh(account) => self.begin_refresh(worker, account).await,
            Work::Token(pick, how) => self.token(worker, pick, how).await,
            Work::Probe(says) => self.probe(says).await,
            Work::Renew => self.renew(worker).await,
            Work::Die => {
                self.start(worker);
                Ok(())
            }
        }
    }

    /// Moves the clocks; X does meanwhile what it does late.
    pub(crate) async fn wait(&mut self, by: TimeDelta) -> Result<(), Broken> {
        let until = self.real + by;
        self.x.late.sort_by_key(|late| late.0);
        while let Some(late) = self.x.late.first().cloned().filter(|late| late.0 <= until) {
            self.x.late.remove(0);
            self.real = self.real.max(late.0);
            self.deed(&late.1).await?;
        }
        self.real = until;
        self.now += by;
        self.tell_time().await
    }

    /// The database's clock goes back, though never further behind X's than looking for posts allows for.
    async fn back(&mut self, by: TimeDelta) -> Result<(), Broken> {
        let by = by.min(MOST_BEHIND - (self.real - self.now));
        self.now -= by;
        for last in self.asked.values_mut() {
            *last -= by;
        }
        sqlx::query("update sim.behind set by = by + $1 * interval '1 second'")
            .bind(f64::from(i32::try_from(by.num_seconds()).unwrap_or(0)))
            .execute(&self.db.people)
            .await
            .unwrap();
        self.tell_time().await
    }

    async fn tell_time(&self) -> Result<(), Broken> {
        sqlx::query(
            "update crier.clock set shift = $1::timestamptz - timestamptz '2027-01-01 00:00:00+00'",
        )
        .bind(self.now)
        .execute(&self.db.people)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
    }

    /// Every promise that a broken line of SQL would tell.
    pub(crate) async fn check(&self) -> Result<(), Broken> {
        let broken: Vec<String> =
            sqlx::query_scalar("select b from sim.broken() b union all select b from sim.kept() b")
                .fetch_all(&self.db.people)
                .await
                .map_err(|error| format!("promises.sql: {error}"))?;
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken.join("; "))
        }
    }

    /// Answers one value of the simulation's own questions.
    pub(crate) async fn holds(&self, lease: &Lease) -> bool {
        sqlx::query_scalar("select sim.holds($1)")
            .bind(lease.token)
            .fetch_one(&self.db.people)
            .await
            .unwrap()
    }

    pub(crate) async fn fingerprint(&self) -> String {
        sqlx::query_scalar("select sim.fingerprint()")
            .fetch_one(&self.db.people)
            .await
            .unwrap()
    }

    /// Whatever is written under a lease that is gone is refused and changes nothing.
    pub(crate) async fn fenced<T>(
        &self,
        what: &str,
        lease: &Lease,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Result<T, StoreError>, Broken> {
        let before = if self.holds(lease).await {
            None
        } else {
            Some(self.fingerprint().await)
        };
        let result = write.await;
        if let Some(before) = before {
            if !matches!(result, Err(StoreError::LeaseLost { .. })) {
                let said = result
                    .err()
                    .map_or("accepted".to_owned(), |error| error.to_string());
                return Err(format!(
                    "{what} under a lost lease of {} {}: {said}",
                    lease.kind, lease.subject
                ));
            }
            if before != self.fingerprint().await {
                return Err(format!(
                    "{what} under a lost lease of {} {} changed something",
                    lease.kind, lease.subject
                ));
            }
        }
        Ok(result)
    }
}

/// A place among `items`, counted modulo their number.
pub(crate) fn pick<T>(items: &[T], n: u8) -> Option<usize> {
    usize::from(n).checked_rem(items.len())
}

/// Whether a step can go so at this stage of an attempt.
fn fits(stage: &PostStage, how: Post) -> bool {
    match how {
        Post::Well => true,
        Post::TokenBusy | Post::TokenFault | Post::Broken | Post::IntentUnheard => {
            matches!(stage, PostStage::Claimed)
        }
        Post::Cut | Post::SettledUnheard => matches!(stage, PostStage::Ended(..)),
        _ => matches!(stage, PostStage::Sending { .. }),
    }
}

/// The first worker from `n` on that has something in hand.
pub(crate) fn busy(
    workers: &[Worker; 3],
    n: usize,
    has: impl Fn(&Worker) -> bool,
) -> Option<usize> {
    (n..n + 3).map(|n| n % 3).find(|n| has(&workers[*n]))
}

/// A failure of the database, which nothing here brings about on purpose.
pub(crate) fn unexpected(what: &str) -> impl Fn(StoreError) -> Broken {
    move |error| format!("{what}: {error}")
}
