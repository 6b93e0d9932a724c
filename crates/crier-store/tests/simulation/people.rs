//! What people do by plain SQL, each in a transaction of its own or within one that stays open. They may be refused, in
//! words; what the simulation notes of it is part of the same commit.

use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::db::ACCOUNTS;
use crate::ops::{Draft, Edit, Person, Text};
use crate::world::{Broken, World, pick};

pub(crate) const CAMPAIGN: &str = "spring";

impl World<'_> {
    /// The transaction in which a person acts: one of its own, or a part of the one that stays open.
    pub(crate) async fn session(&mut self) -> Transaction<'_, Postgres> {
        match &mut self.long {
            Some(long) if self.in_long => sqlx::Connection::begin(&mut **long).await.unwrap(),
            Some(_) | None => self.db.people.begin().await.unwrap(),
        }
    }

    /// Does it as a person would, together with what the simulation notes of it; true if it was not refused.
    pub(crate) async fn sql(&mut self, statements: &[&str], job: i64) -> Result<bool, Broken> {
        let mut tx = self.session().await;
        let mut refusal = None;
        for statement in statements {
            let done = sqlx::query(AssertSqlSafe((*statement).to_owned()))
                .bind(job)
                .execute(&mut *tx)
                .await;
            if let Err(error) = done {
                refusal = Some(error);
                break;
            }
        }
        let ended = match refusal {
            None => tx.commit().await,
            Some(error) => tx.rollback().await.and(Err(error)),
        };
        match ended {
            Ok(()) => {
                self.done += 1;
                Ok(true)
            }
            Err(error) => self.refused(&error).map(|()| false),
        }
    }

    pub(crate) async fn insert(&mut self, draft: Draft) -> Result<(), Broken> {
        let text = self.text(draft.text);
        let after = draft.after.and_then(|n| self.job(n));
        let key = draft.key.map(|key| (account(draft.account), key));
        let mut tx = self.session().await;
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
        .fetch_optional(&mut *tx)
        .await;
        let id = match id {
            Ok(id) => tx.commit().await.map(|()| id),
            Err(error) => tx.rollback().await.and(Err(error)),
        };
        let id = match id {
            Ok(id) => id,
            Err(error) => return self.refused(&error),
        };
        let is_used = key.is_some_and(|key| {
            self.keys.contains(&key) || (self.in_long && self.long_keys.contains(&key))
        });
        let Some(id) = id else {
            return if is_used {
                Ok(())
            } else {
                Err(format!("a row was left out though its key is new: {key:?}"))
            };
        };
        if is_used {
            return Err(format!("the key {key:?} has two jobs, {id} is one of them"));
        }
        let (jobs, keys) = if self.in_long {
            (&mut self.long_jobs, &mut self.long_keys)
        } else {
            (&mut self.jobs, &mut self.keys)
        };
        jobs.push(id);
        keys.extend(key);
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
    pub(crate) fn job(&self, n: u8) -> Option<i64> {
        pick(&self.jobs, n).map(|place| self.jobs[place])
    }

    pub(crate) async fn note(&self, sql: &'static str, job: i64) {
        sqlx::query(sql)
            .bind(job)
            .execute(&self.db.people)
            .await
            .unwrap();
    }

    /// Its state; none once it is deleted.
    pub(crate) async fn state(&self, job: i64) -> Option<String> {
        sqlx::query_scalar("select state from crier.jobs where id = $1")
            .bind(job)
            .fetch_optional(&self.db.people)
            .await
            .unwrap()
    }

    pub(crate) async fn person(&mut self, what: Person) -> Result<(), Broken> {
        let campaign =
            |word: &str| format!("select crier.{word}_campaign('{CAMPAIGN}') where $1 = 0");
        let (statements, job): (Vec<String>, i64) = match what {
            Person::PauseCampaign => (vec![campaign("pause")], 0),
            Person::ResumeCampaign => (vec![campaign("resume")], 0),
            Person::CancelCampaign => (vec![campaign("cancel")], 0),
            Person::Recur(n, what) => (recur(n, what), 0),
            Person::Cancel(n)
            | Person::Retry(n)
            | Person::Edit(n, _)
            | Person::Delete(n)
            | Person::Revive(n) => {
                let Some(job) = self.job(n) else {
                    return Ok(());
                };
                // Whatever it comes back to, somebody may be changing.
                if self.long.is_some() && matches!(what, Person::Retry(_)) {
                    self.touched(job).await;
                }
                (self.on_job(what), job)
            }
            _ => return self.command(what).await,
        };
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        self.sql(&statements, job).await.map(drop)
    }

    /// What is said of one job, `$1`.
    fn on_job(&mut self, what: Person) -> Vec<String> {
        let words: &[&str] = match what {
            Person::Cancel(_) => &[
                "select crier.cancel($1)",
                "select sim.must_be($1, 'cancelled')",
            ],
            Person::Retry(_) => &[
                "insert into sim.returned select state from crier.jobs where id = $1",
                "select crier.retry($1)",
                "select sim.rebase($1)",
                "select sim.must_be_fresh($1)",
            ],
            Person::Delete(_) => &["delete from crier.jobs where id = $1"],
            // What has a post must not come back.
            Person::Revive(_) => &[
                "update crier.jobs set state = 'scheduled', finished_at = null where id = $1 and state = 'published'",
            ],
            Person::Edit(_, edit) => return self.edit(edit),
            _ => &[],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn edit(&mut self, edit: Edit) -> Vec<String> {
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
        let change = format!("update crier.jobs set {set} where id = $1 and {only}");
        if matches!(edit, Edit::Pause | Edit::Resume) {
            let note = format!(
                "insert into sim.by_hand select id from crier.jobs_open where id = $1 and {only} on conflict do nothing"
            );
            vec![note, change]
        } else {
            vec![change]
        }
    }

    /// A refusal in words is an answer, and so is that somebody else holds the row; anything else is a fault.
    pub(crate) fn refused(&self, error: &sqlx::Error) -> Result<(), Broken> {
        let code = error
            .as_database_error()
            .and_then(|said| said.code().map(std::borrow::Cow::into_owned));
        match code.as_deref() {
            Some("23514") => Ok(()),
            Some("55P03") if self.long.is_some() => Ok(()),
            Some(_) | None => Err(format!("a person was told: {error}")),
        }
    }
}

/// What is said of a recurring post; `$1` is nobody.
fn recur(n: u8, what: crate::ops::Recur) -> Vec<String> {
    use crate::ops::Recur;
    let name = format!("r{}", n % 2);
    let (missed, campaign) = if n.is_multiple_of(2) {
        ("all", "")
    } else {
        ("skip", r#", "campaign": "spring""#)
    };
    let set = |set: &str| {
        vec![format!(
            "update crier.recurring set {set} where name = '{name}' and $1 = 0"
        )]
    };
    match what {
        Recur::New(who) => vec![format!(
            "insert into crier.recurring (name, account, cron, template, missed, ahead)
             select '{name}', 'a{}', '*/5 * * * *', '{{\"text\": \"tick\"{campaign}}}', '{missed}', interval '12 minutes' where $1 = 0
             on conflict (name) do nothing",
            account(who)
        )],
        Recur::Text => set(
            "template = jsonb_set(template, '{text}', to_jsonb((template ->> 'text') || '!'))",
        ),
        Recur::Cron => set("cron = case cron when '*/5 * * * *' then '*/7 * * * *' else '*/5 * * * *' end"),
        Recur::Pause => set("paused = true"),
        Recur::Resume => set("paused = false"),
        Recur::Delete => vec![
            format!(
                "insert into sim.by_hand select j.id from crier.jobs_open j join crier.recurring r on r.id = j.recurring_id
                  where r.name = '{name}' and $1 = 0 on conflict do nothing"
            ),
            format!("delete from crier.recurring where name = '{name}' and $1 = 0"),
        ],
    }
}

pub(crate) fn account(n: u8) -> i64 {
    pick(&ACCOUNTS, n).map_or(1, |place| ACCOUNTS[place])
}

fn media(n: u8) -> serde_json::Value {
    json!(
        (0..n)
            .map(|n| json!({"path": format!("{n}.png")}))
            .collect::<Vec<_>>()
    )
}
