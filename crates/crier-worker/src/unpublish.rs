//! Deletes a job's post from X again, when a person asks for it.
//!
//! **Invariant:** only X's own word, or that it knows no such post, makes a post count as deleted. Asking twice does no
//! harm, so that what nobody heard of is asked again.

use std::time::{Duration, Instant};

use crier_core::answer::{CallFault, Endpoint};
use crier_core::limit::Window;
use crier_core::price::Priced;
use crier_core::retry::{backoff, not_before};
use crier_core::verdict::{Action, Step, Verdict, judge};
use crier_store::{Deletion, JobPost, StoreError, Why};
use serde_json::{Value, json};

use crate::Worker;
use crate::reasons::{plain_why, status, why};
use crate::token::{NoToken, can_be_refreshed};

/// The word for this step in the ledger.
const STEP: &str = "unpublish";
/// Repeats of a call that brought no answer.
const REPEATS: u32 = 3;
/// Ceiling of the first wait before such a repeat, and of all of them.
const REPEAT_BASE: Duration = Duration::from_millis(500);
const REPEAT_CAP: Duration = Duration::from_secs(4);

/// "No status found with that ID", of the v1.1 shape (X's page on response codes, until 2025).
const NO_SUCH_POST: i64 = 144;

impl Worker {
    /// Asks X to delete a post, and writes down what came of it.
    ///
    /// # Errors
    /// Only those of the database: what X says is the answer.
    pub async fn unpublish(&self, post: &JobPost) -> Result<Deletion, StoreError> {
        let asked = self.store.now().await?;
        let (deletion, windows) = self.ask_for_deletion(post).await?;
        self.store
            .note_deletion(self.id, post, asked, &deletion, &windows)
            .await?;
        match &deletion {
            Deletion::Gone(_) => {
                tracing::info!(job = post.job, "the post of job {} is deleted", post.job);
            }
            Deletion::Refused(why) | Deletion::Unknown(why) => {
                tracing::warn!(
                    job = post.job,
                    code = why.code,
                    "the post of job {} was not deleted",
                    post.job
                );
            }
        }
        Ok(deletion)
    }

    async fn ask_for_deletion(
        &self,
        post: &JobPost,
    ) -> Result<(Deletion, Vec<Window>), StoreError> {
        let (mut tries, mut spent) = (0, None);
        loop {
            let (auth, version) = match self.token(post.account, spent).await {
                Ok(token) => token,
                Err(no_token) => {
                    return Ok((self.no_token_to_delete(post, no_token).await?, Vec::new()));
                }
            };
            let begin = Instant::now();
            let answer = self.x.delete_post(&auth, &post.post_id).await;
            let took = begin.elapsed();
            let fault = match answer {
                Ok(reply) => {
                    self.metrics
                        .x_request(Endpoint::DeletePost, Some(reply.status), None, took);
                    let deletion = if reply.value {
                        let charge = self.options.prices.charge(Priced::Delete, 1);
                        self.charge(post.account, charge).await;
                        Deletion::Gone(None)
                    } else {
                        Deletion::Refused(plain_why(
                            "not_deleted",
                            "X says that it did not delete the post",
                            STEP,
                            "look at the post on X, and ask again",
                        ))
                    };
                    return Ok((deletion, reply.windows));
                }
                Err(fault) => fault,
            };
            let verdict = judge(Step::Read, &fault);
            self.metrics.x_request(
                Endpoint::DeletePost,
                status(&fault),
                Some(verdict.code),
                took,
            );
            match verdict.action {
                Action::RefreshToken if spent.is_none() && can_be_refreshed(&auth) => {
                    spent = Some(version);
                }
                Action::Retry if tries < REPEATS => {
                    tries += 1;
                    let wait = backoff(tries, REPEAT_BASE, REPEAT_CAP, (self.chance)());
                    tokio::time::sleep(wait).await;
                }
                Action::Retry
                | Action::RetrySlowly
                | Action::RefreshToken
                | Action::WaitForLimit
                | Action::PauseAccount
                | Action::PauseApp
                | Action::FailJob
                | Action::Reupload
                | Action::NewSession
                | Action::SmallerChunk
                | Action::SwitchEncoding
                | Action::Reconcile => {
                    let windows = match &fault {
                        CallFault::Refused(answer) => answer.windows.clone(),
                        CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => Vec::new(),
                    };
                    return Ok((self.not_deleted(post, &fault, verdict).await?, windows));
                }
            }
        }
    }

    /// What a fault means; what concerns the account or app is stopped first.
    async fn not_deleted(
        &self,
        post: &JobPost,
        fault: &CallFault,
        verdict: Verdict,
    ) -> Result<Deletion, StoreError> {
        let mut why = told(why(fault, verdict, Step::Read));
        let answer = match fault {
            CallFault::NoAnswer { .. } => {
                why.error["hint"] = json!("ask again: deleting twice does no harm");
                return Ok(Deletion::Unknown(why));
            }
            CallFault::NotSent { .. } => return Ok(Deletion::Refused(why)),
            CallFault::Refused(answer) => answer,
        };
        // A gateway without v2, or whatever else stands at that address, answers 404 too.
        let is_gone =
            answer.problem == "resource-not-found" || answer.codes.contains(&NO_SUCH_POST);
        if answer.status == 404 && is_gone {
            why.code = "was_gone".into();
            why.error["code"] = json!(why.code);
            why.error["hint"] = json!("");
            return Ok(Deletion::Gone(Some(why)));
        }
        if answer.status >= 500 {
            why.error["hint"] = json!("ask again: deleting twice does no harm");
            return Ok(Deletion::Unknown(why));
        }
        match verdict.action {
            Action::PauseAccount => self.pause_account(post.account, &why.error).await?,
            Action::PauseApp => self.pause_app(post.account, fault, &why.error).await?,
            Action::WaitForLimit => {
                let now = self.store.now().await?;
                let until = not_before(answer, now);
                let when = until.map_or_else(
                    || "later".to_owned(),
                    |until| until.format("after %Y-%m-%d %H:%M:%SZ").to_string(),
                );
                why.error["hint"] = json!(format!("ask again {when}: X's limit is used up"));
            }
            Action::RetrySlowly if verdict.code == "read_forbidden" => {
                why.code = "delete_forbidden".into();
                why.error["code"] = json!(why.code);
                why.error["hint"] = json!(
                    "an account may delete its own posts only, and needs `tweet.write` for it"
                );
            }
            Action::Retry
            | Action::RetrySlowly
            | Action::RefreshToken
            | Action::FailJob
            | Action::Reupload
            | Action::NewSession
            | Action::SmallerChunk
            | Action::SwitchEncoding
            | Action::Reconcile => {}
        }
        Ok(Deletion::Refused(why))
    }

    async fn no_token_to_delete(
        &self,
        post: &JobPost,
        no_token: NoToken,
    ) -> Result<Deletion, StoreError> {
        Ok(Deletion::Refused(match no_token {
            NoToken::Absent => plain_why(
                "no_grant",
                "the account has no grant that can be used",
                STEP,
                "log in again: `crier auth login` or `crier auth import`",
            ),
            NoToken::Later(wait) => told(wait.why),
            NoToken::Busy | NoToken::TooSoon(_) => plain_why(
                "token_busy",
                "another process is refreshing the token",
                STEP,
                "ask again in a few seconds",
            ),
            NoToken::Fault(fault) => {
                let verdict = judge(Step::Token, &fault);
                let why = told(why(&fault, verdict, Step::Token));
                if verdict.action == Action::PauseAccount {
                    self.pause_account(post.account, &why.error).await?;
                }
                why
            }
            NoToken::Store(error) => return Err(error),
        }))
    }
}

/// The same, as found in this step.
fn told(mut why: Why) -> Why {
    why.error["step"] = Value::from(STEP);
    why
}
