//! What a person says of a job that stays unknown.
//!
//! **Invariant:** a person's word ends the search that runs with it, in one commit, or changes nothing; it holds for jobs
//! that are unknown and for no other, and gives no job the post of another.

use crier_core::price::Charge;
use serde_json::json;
use uuid::Uuid;

use crate::lease::Lease;
use crate::reconcile::end::{fail, record, reschedule};
use crate::settle::publish;
use crate::{Store, StoreError};

/// What became of an unknown job, by a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling<'a> {
    /// It is on X.
    Published {
        /// As this post.
        post_id: &'a str,
        /// What its call cost.
        charge: Option<Charge>,
    },
    /// It is not on X, and is to be sent again.
    Again,
    /// It is not on X, and is not to be sent again.
    Absent,
}

impl Store {
    /// A person ends an unknown job. A search that runs meanwhile loses its lease. Answers the job's new state.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a job that is not unknown or an id that cannot be one of X,
    /// [`StoreError::PostTaken`] for a post that another job has; nothing is changed then.
    pub async fn settle_by_operator(
        &self,
        job: i64,
        ruling: Ruling<'_>,
    ) -> Result<&'static str, StoreError> {
        if let Ruling::Published { post_id, .. } = ruling
            && !is_id(post_id)
        {
            let shown: String = post_id.chars().take(40).collect();
            return Err(StoreError::Refused(format!(
                "`{}` is no id of a post: give the digits at the end of its address",
                shown.escape_debug()
            )));
        }
        let mut tx = self.pool.begin().await?;
        for sql in [
            "-- settle_by_operator\ndelete from crier.leases where kind = 'reconcile' and subject = $1",
            "-- settle_by_operator\ndelete from crier.reconciles where job_id = $1",
        ] {
            sqlx::query(sql).bind(job).execute(&mut *tx).await?;
        }
        let found: Option<(String, i64)> = sqlx::query_as(
            "-- settle_by_operator\nselect state, account_id from crier.jobs where id = $1 for no key update",
        )
        .bind(job)
        .fetch_optional(&mut *tx)
        .await?;
        let account = match found {
            Some((state, account)) if state == "unknown" => account,
            Some((state, _)) => {
                return Err(StoreError::Refused(format!(
                    "job {job} is {state}, not unknown: there is nothing to settle"
                )));
            }
            None => return Err(StoreError::Refused(format!("there is no job {job}"))),
        };
        // No lease and no process: a person.
        let lease = Lease {
            kind: "reconcile",
            subject: job,
            account,
            token: 0,
        };
        let said = |title: &str, detail: &str, hint: &str| json!({"code": "operator", "title": title, "detail": detail, "step": "reconcile", "hint": hint});
        let state = match ruling {
            Ruling::Published { post_id, charge } => {
                let said = said("a person says that the post is on X", post_id, "");
                record(&mut tx, &lease, Uuid::nil(), "published", "operator", &said).await?;
                publish(&mut tx, job, account, post_id, charge).await?;
                "published"
            }
            Ruling::Again => {
                let said = said("a person says that the post is not on X", "", "");
                record(&mut tx, &lease, Uuid::nil(), "retry", "operator", &said).await?;
                // A person who asks for another attempt gets one, however many there were.
                sqlx::query("-- settle_by_operator\nupdate crier.jobs_open set attempts = least(attempts, max_attempts - 1), crashes = 0 where id = $1")
                    .bind(job)
                    .execute(&mut *tx)
                    .await?;
                reschedule(&mut tx, job, &said).await?;
                "scheduled"
            }
            Ruling::Absent => {
                let mut said = said(
                    "a person says that the post is not on X",
                    "it was not to be sent again",
                    &format!("select crier.retry({job}) sends it after all"),
                );
                said["code"] = json!("operator_absent");
                record(
                    &mut tx,
                    &lease,
                    Uuid::nil(),
                    "failed",
                    "operator_absent",
                    &said,
                )
                .await?;
                fail(&mut tx, job, &said).await?;
                "failed"
            }
        };
        tx.commit().await?;
        Ok(state)
    }
}

fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
