//! What people do by commands: pauses, budgets, logins, unknown jobs, posts to be deleted; and what X says to probes.

use chrono::TimeDelta;
use crier_store::{Deletion, Ruling, StoreError};
use serde_json::json;
use uuid::Uuid;

use crate::db::login;
use crate::ops::{Deleted, Person, Probe};
use crate::people::account;
use crate::publish::why;
use crate::world::{Broken, World, unexpected};

/// What a post costs, in millionths of a US dollar.
pub(crate) const PRICE: i64 = 15_000;
/// Between two probes of the same app or account, at the least.
const PROBE_WAIT: TimeDelta = TimeDelta::seconds(13 * 60 + 29);
/// How long the others of an app wait for the one that goes first.
const TRIAL: std::time::Duration = std::time::Duration::from_mins(1);

impl World<'_> {
    pub(crate) async fn command(&mut self, what: Person) -> Result<(), Broken> {
        let db = self.db;
        let store = &db.store;
        match what {
            Person::PauseAccount(n) => {
                let reason = json!({"code": "person", "title": "a person wants it so"});
                store
                    .pause_account(account(n), "paused", &reason)
                    .await
                    .map_err(unexpected("pause_account"))?;
                self.note(
                    "insert into sim.stopped values ($1) on conflict do nothing",
                    account(n),
                )
                .await;
            }
            Person::ResumeAccount(n) => {
                store
                    .resume_account(account(n))
                    .await
                    .map_err(unexpected("resume_account"))?;
                self.note("delete from sim.stopped where account_id = $1", account(n))
                    .await;
            }
            Person::PauseApp(n) => {
                let reason = json!({"code": "no_credits", "title": "no credits"});
                store
                    .pause_app(account(n), &reason)
                    .await
                    .map_err(unexpected("pause_app"))?;
            }
            Person::Login(n) => {
                self.texts += 1;
                let grant = format!("login {}", self.texts);
                store
                    .import_account(&login(account(n), &grant))
                    .await
                    .map_err(unexpected("import_account"))?;
                self.x.grant(account(n), grant);
            }
            Person::Budget(n, posts) => {
                let app = self.app(account(n)).await;
                let usd = posts.map(|posts| f64::from(posts) * 0.015);
                store
                    .set_budget(app, usd)
                    .await
                    .map_err(unexpected("set_budget"))?;
                self.budgets
                    .insert(app, posts.map(|posts| i64::from(posts) * PRICE));
            }
            Person::Settle(n) => {
                if let Some(job) = self.job(n) {
                    self.operate(job).await?;
                }
            }
            Person::Unpublish(n, how) => {
                if let Some(job) = self.job(n) {
                    self.unpublish(job, how).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) async fn is_unknown(&self, n: u8) -> bool {
        match self.job(n) {
            Some(job) => self.state(job).await.as_deref() == Some("unknown"),
            None => false,
        }
    }

    /// A person looks at X and says what there is. Nobody can say so while X is still about to do it.
    pub(crate) async fn operate(&mut self, job: i64) -> Result<(), Broken> {
        if self.x.late.iter().any(|late| late.1.job == job) {
            return Ok(());
        }
        let post = self.x.post_of(job).map(|live| live.id.clone());
        let ruling = match post.as_deref() {
            Some(post_id) => Ruling::Published {
                post_id,
                charge: None,
            },
            None => Ruling::Again,
        };
        match self.db.store.settle_by_operator(job, ruling).await {
            Ok(_) => {
                self.done += 1;
                if post.is_none() {
                    self.note("select sim.rebase($1)", job).await;
                }
                Ok(())
            }
            Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(format!("settle_by_operator: {error}")),
        }
    }

    /// Has the post of a job deleted. What X said is written down, whatever it was.
    async fn unpublish(&mut self, job: i64, how: Deleted) -> Result<(), Broken> {
        let db = self.db;
        let post = db
            .store
            .job_post(job)
            .await
            .map_err(unexpected("job_post"))?;
        let Some(post) = post.filter(|post| post.deleted_at.is_none()) else {
            return Ok(());
        };
        self.done += 1;
        let deletion = match how {
            Deleted::Well => Deletion::Gone(None),
            Deleted::Refused => Deletion::Refused(why("refused")),
            Deleted::AnswerLost => Deletion::Unknown(why("no_answer")),
        };
        if how != Deleted::Refused {
            self.x.delete(&post.post_id);
        }
        let deleted_at = db
            .store
            .note_deletion(Uuid::nil(), &post, self.now, &deletion, &[])
            .await
            .map_err(unexpected("note_deletion"))?;
        if deleted_at.is_some() != (how == Deleted::Well) {
            return Err(format!(
                "post {} of job {job}, {how:?}: deleted at {deleted_at:?}",
                post.post_id
            ));
        }
        Ok(())
    }

    /// The budget of an account's app is spent.
    pub(crate) async fn is_spent(&self, account: i64) -> bool {
        let app = self.app(account).await;
        let Some(budget) = self.budgets.get(&app).copied().flatten() else {
            return false;
        };
        let spent: i64 = sqlx::query_scalar(
            "select coalesce(sum(micro_usd), 0)::bigint from sim.spent where app_id = $1 and month = date_trunc('month', crier.now() at time zone 'UTC')::date",
        )
        .bind(app)
        .fetch_one(&self.db.people)
        .await
        .unwrap();
        spent >= budget
    }

    /// The number of an account's app, as the database counts them.
    async fn app(&self, account: i64) -> i64 {
        sqlx::query_scalar("select app_id from crier.accounts where id = $1")
            .bind(account)
            .fetch_one(&self.db.people)
            .await
            .unwrap()
    }

    /// What one post of an account has cost.
    pub(crate) async fn charged(&self, account: i64) {
        sqlx::query("insert into sim.spent values ($1, date_trunc('month', crier.now() at time zone 'UTC')::date, $2)")
            .bind(self.app(account).await)
            .bind(PRICE)
            .execute(&self.db.people)
            .await
            .unwrap();
    }

    /// One worker asks X, once an interval, whether what it stopped may go on.
    pub(crate) async fn probe(&mut self, says: Probe) -> Result<(), Broken> {
        let db = self.db;
        let store = &db.store;
        let probe = store
            .claim_probe()
            .await
            .map_err(unexpected("claim_probe"))?;
        let Some(probe) = probe else {
            return Ok(());
        };
        self.done += 1;
        let whom = (probe.app, probe.app.map_or(probe.account, |_| None));
        if let Some(last) = self.asked.insert(whom, self.now)
            && self.now < last + PROBE_WAIT
        {
            return Err(format!(
                "X was asked about {whom:?} at {last} and again at {}",
                self.now
            ));
        }
        if says == Probe::Refused {
            let reason = json!({"code": "stopped", "title": "still"});
            return store
                .note_probe(probe, &reason)
                .await
                .map_err(unexpected("note_probe"));
        }
        match (probe.app, probe.account) {
            (Some(app), _) => store.reopen_app(app, TRIAL).await,
            (None, Some(account)) => store.reopen_account(account).await,
            (None, None) => Ok(false),
        }
        .map(drop)
        .map_err(unexpected("reopen"))
    }
}
