//! One attempt, step by step: intent, create call, outcome. Between two steps anything may happen.

use std::time::Duration;

use chrono::TimeDelta;
use crier_core::answer::Endpoint;
use crier_core::limit::Window;
use crier_core::price::{Charge, Priced};
use crier_store::{Settlement, StoreError, Why};
use serde_json::{Value, json};

use crate::desk::PRICE;
use crate::ops::Post;
use crate::world::{ALLOWANCE, Broken, MARGIN, PostHand, PostStage, World, busy, pick, unexpected};
use crate::x::{Answer, Body, app_of};

/// When an unknown job is first looked up.
const FIRST_LOOK: Duration = Duration::from_secs(15);

pub(crate) fn why(code: &str) -> Why {
    Why {
        code: code.to_owned(),
        http_status: None,
        error: json!({"code": code, "title": "it did not go well", "detail": "", "step": "publish", "hint": "wait"}),
    }
}

fn unknown(code: &str) -> Settlement {
    Settlement::Unknown {
        look_after: FIRST_LOOK,
        why: why(code),
    }
}

fn retry(code: &str) -> Settlement {
    Settlement::Retry {
        after: Duration::from_secs(30),
        why: why(code),
    }
}

impl World<'_> {
    pub(crate) async fn post(&mut self, worker: usize, n: u8, how: Post) -> Result<(), Broken> {
        let Some(worker) = busy(&self.workers, worker, |worker| !worker.posts.is_empty()) else {
            return Ok(());
        };
        let Some(place) = pick(&self.workers[worker].posts, n) else {
            return Ok(());
        };
        self.done += 1;
        let mut hand = self.workers[worker].posts.remove(place);
        let done = match &hand.stage {
            PostStage::Claimed => self.intend(&mut hand, how).await,
            PostStage::Sending { .. } => self.send(&mut hand, how).await,
            PostStage::Ended(..) => self.settle(&hand, how).await,
        };
        let keep = match done {
            Err(broken) if self.tolerates(&broken).await => match &hand.stage {
                // Surely not sent: it goes back to its lane.
                PostStage::Claimed => {
                    hand.stage = self.snoozed(Some(2), "db_error");
                    true
                }
                // Perhaps sent: nothing is written, the lease runs out.
                PostStage::Sending { .. } => false,
                // Written again.
                PostStage::Ended(..) => true,
            },
            done => done?,
        };
        if keep {
            self.workers[worker].posts.insert(place, hand);
        }
        Ok(())
    }

    fn snoozed(&self, seconds: Option<i64>, code: &str) -> PostStage {
        let settlement = Settlement::Snoozed {
            until: seconds.map(|seconds| self.now + TimeDelta::seconds(seconds)),
            why: why(code),
        };
        PostStage::Ended(settlement, Vec::new())
    }

    /// From the claim to the intent; false if the job is out of hand.
    async fn intend(&mut self, hand: &mut PostHand, how: Post) -> Result<bool, Broken> {
        let lease = hand.job.lease;
        let ended = match how {
            Post::TokenBusy => Some(self.snoozed(Some(2), "token_busy")),
            Post::TokenFault => Some(PostStage::Ended(retry("token_endpoint"), Vec::new())),
            Post::Broken => Some(PostStage::Ended(
                Settlement::Failed(why("options_invalid")),
                Vec::new(),
            )),
            _ => None,
        };
        if let Some(ended) = ended {
            hand.stage = ended;
            return Ok(true);
        }
        let wanted = items(&hand.job.media).len();
        let store = &self.db.store;
        let media = if wanted == 0 {
            Vec::new()
        } else {
            store
                .media_ids(lease.subject, MARGIN)
                .await
                .map_err(unexpected("media_ids"))?
        };
        if media.len() != wanted {
            let back = self
                .fenced("restage", &lease, store.restage(&lease, MARGIN))
                .await?;
            match back {
                Ok(()) => hand.stage = self.snoozed(None, "media_not_ready"),
                Err(StoreError::LeaseLost { .. }) => return Ok(false),
                Err(error) => return Err(format!("restage: {error}")),
            }
            return Ok(true);
        }
        match self.begin(hand, &media).await? {
            // The worker takes a lost answer for a database that is away: surely nothing was sent.
            Ok(_) if how == Post::IntentUnheard => hand.stage = self.snoozed(Some(2), "db_error"),
            Ok(_) => {
                hand.stage = PostStage::Sending {
                    begun: self.real,
                    media,
                }
            }
            Err(StoreError::LeaseLost { .. }) => return Ok(false),
            Err(_) => hand.stage = self.snoozed(None, "job_changed"),
        }
        Ok(true)
    }

    /// The create call.
    async fn send(&mut self, hand: &mut PostHand, how: Post) -> Result<bool, Broken> {
        let PostStage::Sending { begun, media } = &hand.stage else {
            return Ok(true);
        };
        // A process that was stopped between intent and call finds by its own clock that it is too late.
        if self.real > *begun + ALLOWANCE {
            return Ok(false);
        }
        let (job, account) = (hand.job.lease.subject, hand.job.lease.account);
        if !self.holds(&hand.job.lease).await {
            return Err(format!(
                "job {job} was taken away while its call was about to leave"
            ));
        }
        let body = Body {
            job,
            account,
            text: hand.job.text.clone(),
            media: media.clone(),
            reply_to: hand.job.reply_to.clone(),
            after: hand.job.after,
            items: items(&hand.job.media),
        };
        let store = &self.db.store;
        let (settlement, windows) = match how {
            Post::RequestLost => (unknown("no_answer"), Vec::new()),
            Post::AnswerLost => {
                self.deed(&body).await?;
                (unknown("no_answer"), Vec::new())
            }
            Post::Late(seconds) => {
                self.x
                    .late
                    .push((self.real + TimeDelta::seconds(i64::from(seconds)), body));
                (unknown("no_answer"), Vec::new())
            }
            Post::NotSent => (retry("not_sent"), Vec::new()),
            Post::Refused => (
                Settlement::Failed(why("refused")),
                self.x.windows(self.real, account, 0),
            ),
            Post::MediaRefused if !media.is_empty() => {
                let again = self
                    .fenced("reupload", &hand.job.lease, store.reupload(&hand.job.lease))
                    .await?;
                let settlement = if again.map_err(unexpected("reupload"))? {
                    Settlement::Retry {
                        after: Duration::ZERO,
                        why: why("media_invalid"),
                    }
                } else {
                    Settlement::Failed(why("media_invalid"))
                };
                (settlement, Vec::new())
            }
            Post::Suspended | Post::NoCredits => {
                let reason = json!({"code": "stopped", "title": "a person must act"});
                let stopped = if how == Post::Suspended {
                    store.pause_account(account, "suspended", &reason).await
                } else {
                    store.pause_app(account, &reason).await
                };
                stopped.map_err(unexpected("pause"))?;
                let settlement = Settlement::Snoozed {
                    until: None,
                    why: why("stopped"),
                };
                (settlement, Vec::new())
            }
            _ => {
                let answer = self.deed(&body).await?;
                let windows = self.x.windows(self.real, account, 0);
                let settlement = match answer {
                    Answer::Created(post_id) => Settlement::Published { post_id },
                    Answer::Duplicate => unknown("duplicate"),
                    Answer::Limited => {
                        let reset = windows
                            .iter()
                            .filter(|w| w.is_exhausted())
                            .map(|w| w.resets_at)
                            .max();
                        Settlement::Snoozed {
                            until: reset.map(|reset| reset + TimeDelta::seconds(1)),
                            why: why("rate_limited"),
                        }
                    }
                };
                (settlement, windows)
            }
        };
        hand.stage = PostStage::Ended(settlement, windows);
        Ok(true)
    }

    /// X carries a call out.
    pub(crate) async fn deed(&mut self, body: &Body) -> Result<Answer, Broken> {
        let answer = self.x.create(self.real, body)?;
        if let Answer::Created(id) = &answer {
            sqlx::query("insert into sim.live values ($1, $2, $3)")
                .bind(id)
                .bind(body.job)
                .bind(body.account)
                .execute(&self.db.people)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(answer)
    }

    /// The outcome.
    async fn settle(&mut self, hand: &PostHand, how: Post) -> Result<bool, Broken> {
        let PostStage::Ended(settlement, windows) = &hand.stage else {
            return Ok(true);
        };
        if how == Post::Cut {
            return Ok(true);
        }
        let lease = hand.job.lease;
        let held = self.holds(&lease).await;
        let is_published = matches!(settlement, Settlement::Published { .. });
        let charge = is_published.then_some(Charge {
            kind: Priced::Post,
            calls: 1,
            micro_usd: PRICE,
        });
        let write =
            self.db
                .store
                .settle_by(&lease, Endpoint::CreatePost, windows, settlement, charge);
        match self.fenced("settle", &lease, write).await? {
            Ok(_) => {
                if is_published {
                    self.charged(lease.account).await;
                }
                self.heard(lease.account, windows);
                Ok(how == Post::SettledUnheard)
            }
            Err(StoreError::LeaseLost { .. }) if !held => Ok(false),
            // Its row was deleted while it was being sent: nobody can write down more.
            Err(StoreError::JobChanged { job }) if self.state(job).await.is_none() => Ok(false),
            Err(error) => Err(format!(
                "settle {settlement:?} of job {}: {error}",
                lease.subject
            )),
        }
    }

    /// From now on every worker knows of a used-up window.
    fn heard(&mut self, account: i64, windows: &[Window]) {
        for window in windows.iter().filter(|window| window.is_exhausted()) {
            let is_app = window.class == crier_core::limit::LimitClass::App;
            let mine = crate::db::ACCOUNTS
                .into_iter()
                .filter(|other| *other == account || (is_app && app_of(*other) == app_of(account)));
            for account in mine {
                let until = self.closed.entry(account).or_insert(window.resets_at);
                *until = (*until).max(window.resets_at);
            }
        }
    }
}

/// The files of a row, each as one text.
pub(crate) fn items(media: &Result<Value, crier_core::fault::Fault>) -> Vec<String> {
    let list = media.as_ref().ok().and_then(Value::as_array);
    list.into_iter().flatten().map(Value::to_string).collect()
}
