//! What people do: by plain SQL, and by the commands that act on accounts and unknown jobs. They may be refused, in words.

use crier_store::{Ruling, StoreError};
use serde_json::json;

use crate::db::{ACCOUNTS, login};
use crate::ops::{Draft, Edit, Person, Text};
use crate::world::{Broken, World, pick, unexpected};

const CAMPAIGN: &str = "spring";

impl World<'_> {
    pub(crate) async fn insert(&mut self, draft: Draft) -> Result<(), Broken> {
        let text = self.text(draft.text);
        let after = draft.after.and_then(|n| self.job(n));
        let id: Result<Option<i64>, sqlx::Error> = sqlx::query_scalar(
            "insert into crier.jobs (account, text, media, run_at, priority, campaign, after, dedupe_key, max_lateness, max_attempts)
             values ($1, $2, $3, crier.now() + $4 * interval '1 second', $5, $6, $7, $8, $9 * interval '1 second', $10) returning id",
        )
        .bind(format!("@A{}", account(draft.account)))
        .bind(text)
        .bind(media(draft.media))
        .bind(i32::from(draft.in_s))
        .bind(draft.priority)
        .bind(draft.campaign.then_some(CAMPAIGN))
        .bind(after)
        .bind(draft.key.map(|key| format!("key {key}")))
        .bind(draft.late_s.map(i32::from))
        .bind(draft.most)
        .fetch_optional(&self.db.people)
        .await;
        match id {
            Ok(Some(id)) => self.jobs.push(id),
            // Its key was used before.
            Ok(None) if draft.key.is_some() => {}
            Ok(None) => return Err("a row was left out without a key".into()),
            Err(error) => return refused(&error),
        }
        self.done += 1;
        Ok(())
    }

    fn text(&mut self, text: Text) -> String {
        self.texts += 1;
        match text {
            Text::Own => format!("post {}", self.texts),
            Text::Common => "good morning".into(),
            Text::Bad => format!("bad {}", self.texts),
            Text::Odd => format!("odd {}", self.texts),
        }
    }

    /// A job, counted in the order of insertion.
    fn job(&self, n: u8) -> Option<i64> {
        pick(&self.jobs, n).map(|place| self.jobs[place])
    }

    /// Does it as a person would; true if it was not refused.
    async fn sql(&mut self, sql: &str, job: i64) -> Result<bool, Broken> {
        // Whatever it reads, it does in one commit.
        let mut tx = self.db.people.begin().await.unwrap();
        let done = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .bind(job)
            .execute(&mut *tx)
            .await;
        match done {
            Ok(_) => tx.commit().await.map_err(|error| error.to_string())?,
            Err(error) => return refused(&error).map(|()| false),
        }
        self.done += 1;
        Ok(true)
    }

    async fn note(&self, sql: &str, job: i64) {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .bind(job)
            .execute(&self.db.people)
            .await
            .unwrap();
    }

    async fn state(&self, job: i64) -> String {
        sqlx::query_scalar("select state from crier.jobs where id = $1")
            .bind(job)
            .fetch_one(&self.db.people)
            .await
            .unwrap()
    }

    pub(crate) async fn person(&mut self, what: Person) -> Result<(), Broken> {
        let (db, n) = (self.db, 0_i64);
        let store = &db.store;
        match what {
            Person::Cancel(job) => {
                let Some(job) = self.job(job) else {
                    return Ok(());
                };
                let is_done = self.sql("select crier.cancel($1)", job).await?;
                let state = self.state(job).await;
                if is_done && state != "cancelled" {
                    return Err(format!("job {job} was cancelled and is {state}"));
                }
            }
            Person::Retry(job) => {
                let Some(job) = self.job(job) else {
                    return Ok(());
                };
                let was = self.state(job).await;
                if self.sql("select crier.retry($1)", job).await? {
                    sqlx::query("insert into sim.returned values ($1)")
                        .bind(was)
                        .execute(&db.people)
                        .await
                        .unwrap();
                    self.note("select sim.rebase($1)", job).await;
                }
            }
            Person::Edit(job, edit) => {
                let Some(job) = self.job(job) else {
                    return Ok(());
                };
                self.edit(job, edit).await?;
            }
            Person::PauseCampaign => drop(
                self.sql(
                    &format!("select crier.pause_campaign('{CAMPAIGN}') where $1 = 0"),
                    n,
                )
                .await?,
            ),
            Person::ResumeCampaign => drop(
                self.sql(
                    &format!("select crier.resume_campaign('{CAMPAIGN}') where $1 = 0"),
                    n,
                )
                .await?,
            ),
            Person::CancelCampaign => drop(
                self.sql(
                    &format!("select crier.cancel_campaign('{CAMPAIGN}') where $1 = 0"),
                    n,
                )
                .await?,
            ),
            Person::PauseAccount(n) => {
                let reason = json!({"code": "person", "title": "a person wants it so"});
                store
                    .pause_account(account(n), "paused", &reason)
                    .await
                    .map_err(unexpected("pause_account"))?;
            }
            Person::ResumeAccount(n) => {
                store
                    .resume_account(account(n))
                    .await
                    .map_err(unexpected("resume_account"))?;
            }
            Person::PauseApp(n) => {
                let reason = json!({"code": "no_credits", "title": "no credits"});
                store
                    .pause_app(account(n), &reason)
                    .await
                    .map_err(unexpected("pause_app"))?;
            }
            Person::Login(n) => {
                store
                    .import_account(&login(account(n)))
                    .await
                    .map_err(unexpected("import_account"))?;
            }
            Person::Settle(job) => {
                let Some(job) = self.job(job) else {
                    return Ok(());
                };
                self.operate(job).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn is_unknown(&self, n: u8) -> bool {
        match self.job(n) {
            Some(job) => self.state(job).await == "unknown",
            None => false,
        }
    }

    async fn edit(&mut self, job: i64, edit: Edit) -> Result<(), Broken> {
        let set = match edit {
            Edit::Text => {
                let text = self.text(Text::Own);
                format!("text = '{text}'")
            }
            Edit::RunAt(in_s) => format!("run_at = crier.now() + {in_s} * interval '1 second'"),
            Edit::Priority(priority) => format!("priority = {priority}"),
            Edit::Account(n) => format!("account = 'a{}'", account(n)),
            Edit::Media(n) => format!("media = '{}'", media(n)),
            Edit::After(after) => {
                let after = after
                    .and_then(|n| self.job(n))
                    .map_or("null".to_owned(), |after| after.to_string());
                format!("after = {after}")
            }
            Edit::Lateness(late) => late.map_or("max_lateness = null".to_owned(), |late| {
                format!("max_lateness = {late} * interval '1 second'")
            }),
            Edit::Pause => "state = 'paused'".to_owned(),
            Edit::Resume => "state = 'scheduled'".to_owned(),
        };
        let only = match edit {
            Edit::Pause => "state = 'scheduled'",
            Edit::Resume => "state = 'paused'",
            _ => "state in ('scheduled', 'paused', 'unknown')",
        };
        let was = self.state(job).await;
        if self
            .sql(
                &format!("update crier.jobs set {set} where id = $1 and {only}"),
                job,
            )
            .await?
            && matches!(
                (edit, was.as_str()),
                (Edit::Pause, "scheduled") | (Edit::Resume, "paused")
            )
        {
            self.note(
                "insert into sim.by_hand values ($1) on conflict do nothing",
                job,
            )
            .await;
        }
        Ok(())
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
}

fn account(n: u8) -> i64 {
    pick(&ACCOUNTS, n).map_or(1, |place| ACCOUNTS[place])
}

fn media(n: u8) -> serde_json::Value {
    json!(
        (0..n)
            .map(|n| json!({"path": format!("{n}.png")}))
            .collect::<Vec<_>>()
    )
}

/// A refusal in words is an answer; anything else is a fault.
fn refused(error: &sqlx::Error) -> Result<(), Broken> {
    let code = error
        .as_database_error()
        .and_then(|said| said.code().map(std::borrow::Cow::into_owned));
    if code.as_deref() == Some("23514") {
        Ok(())
    } else {
        Err(format!("a person was told: {error}"))
    }
}
