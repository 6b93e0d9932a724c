//! The whole of it: the database, X, workers and schedulers with what they hold, and how one operation is done.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::limit::Window;
use crier_core::reconcile::Next;
use crier_store::{Check, Claimed, Lease, Look, Settlement, StoreError, Upload};
use uuid::Uuid;

use crate::db::Db;
use crate::ops::{Op, Passer, Post, Row, Schedule, Work};
use crate::x::X;

/// How long a lease lasts.
pub(crate) const TTL: Duration = Duration::from_secs(30);
/// How long it must still last when a call leaves: the call's own time limit and an allowance.
pub(crate) const MARGIN: Duration = Duration::from_secs(15);
/// The allowance: a call that has not left so long after its intent does not leave.
pub(crate) const ALLOWANCE: TimeDelta = TimeDelta::seconds(5);
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
}

pub(crate) struct World<'a> {
    pub(crate) db: &'a Db,
    pub(crate) x: X,
    pub(crate) now: DateTime<Utc>,
    pub(crate) workers: [Worker; 3],
    pub(crate) checks: [Vec<Check>; 2],
    /// Who leads until when.
    pub(crate) leader: Option<(usize, DateTime<Utc>)>,
    /// Jobs as they were inserted.
    pub(crate) jobs: Vec<i64>,
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
        let mut world = Self {
            db,
            x: X::default(),
            now: DateTime::from_timestamp(1_798_761_600, 0).unwrap(),
            workers: Default::default(),
            checks: Default::default(),
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
        world
    }

    /// A fresh process in the place of a worker; what the old one held is forgotten.
    pub(crate) fn start(&mut self, worker: usize) {
        self.starts += 1;
        self.workers[worker] = Worker {
            id: Uuid::from_u128(self.starts),
            ..Worker::default()
        };
    }

    /// Does one operation, and checks every promise after it.
    pub(crate) async fn apply(&mut self, op: Op) -> Result<(), Broken> {
        // No two operations happen at the same instant.
        self.wait(TimeDelta::milliseconds(1)).await?;
        self.act(op).await?;
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
            Work::Renew => self.renew(worker).await,
            Work::Die => {
                self.start(worker);
                Ok(())
            }
        }
    }

    /// Moves the clock; X does meanwhile what it does late.
    pub(crate) async fn wait(&mut self, by: TimeDelta) -> Result<(), Broken> {
        let until = self.now + by;
        self.x.late.sort_by_key(|late| late.0);
        while let Some(late) = self.x.late.first().cloned().filter(|late| late.0 <= until) {
            self.x.late.remove(0);
            self.now = self.now.max(late.0);
            self.deed(&late.1).await?;
        }
        self.now = until;
        sqlx::query(
            "update crier.clock set shift = $1::timestamptz - timestamptz '2027-01-01 00:00:00+00'",
        )
        .bind(self.now)
        .execute(&self.db.people)
        .await
        .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Every promise that a broken line of SQL would tell.
    pub(crate) async fn check(&self) -> Result<(), Broken> {
        let broken: Vec<String> = sqlx::query_scalar("select b from sim.broken() b")
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

    /// Does something that must pass over a row while somebody holds it.
    async fn pass(&mut self, row: Row, passer: Passer) -> Result<(), Broken> {
        let (table, n) = match row {
            Row::Job(n) => ("jobs_open order by id", n),
            Row::Lane(n) => ("lanes order by account_id", n),
            Row::Upload(n) => ("media_uploads order by id", n),
            Row::Search(n) => ("reconciles order by job_id", n),
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
        let lock = format!("select 1 from crier.{name} where ctid = $1::text::tid for update");
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
            Passer::Expire => self.schedule(0, Schedule::Expire).await,
            Passer::Missed => self.schedule(0, Schedule::Missed).await,
            Passer::Held => self.schedule(0, Schedule::Held).await,
            Passer::Uploads => self.schedule(0, Schedule::Uploads).await,
            Passer::Lanes => self.schedule(0, Schedule::Lanes).await,
        };
        holder.rollback().await.unwrap();
        done.map_err(|broken| format!("while {name} was held: {broken}"))
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
