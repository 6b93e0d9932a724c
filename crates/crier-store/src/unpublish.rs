//! Posts that are deleted from X again.
//!
//! **Invariant:** a post that was deleted stays its job's one post: the job can neither be sent again nor take another.

use chrono::{DateTime, Utc};
use crier_core::answer::Endpoint;
use crier_core::limit::Window;
use uuid::Uuid;

use crate::settle::{Why, save_windows};
use crate::{Store, StoreError};

/// The post of a job.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct JobPost {
    /// The job.
    pub job: i64,
    /// Number of its account.
    pub account: i64,
    /// Handle of its account.
    pub handle: String,
    /// X's id of it.
    pub post_id: String,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// X's limit on deleting is used up until then.
    pub blocked_until: Option<DateTime<Utc>>,
    /// A job waits to reply to it.
    pub is_awaited: bool,
}

/// What came of asking X to delete one.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// It is gone; the words say how X put it.
    Gone(Option<Why>),
    /// X refused, or nothing was done.
    Refused(Why),
    /// It may be gone.
    Unknown(Why),
}

impl Store {
    /// The post of a job, whatever the job's age; `None` if it has none.
    pub async fn job_post(&self, job: i64) -> Result<Option<JobPost>, StoreError> {
        Ok(sqlx::query_as(
            "-- job_post
            select p.job_id as job, p.account_id as account, a.handle, p.post_id, p.deleted_at,
                   (select max(w.resets_at) from crier.limit_windows w
                     where w.endpoint = $2 and w.remaining <= 0 and w.resets_at > crier.now()
                       and ((w.class = 'account' and w.owner_id = a.id) or (w.class = 'app' and w.owner_id = a.app_id))) as blocked_until,
                   exists (select 1 from crier.jobs_open w where w.after = p.job_id) as is_awaited
              from crier.posts p join crier.accounts a on a.id = p.account_id where p.job_id = $1",
        )
        .bind(job)
        .bind(Endpoint::DeletePost.label())
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Writes down what came of asking X to delete a post, asked for at `asked`: ledger, post and limits in one commit.
    /// Answers when it was deleted, if it was.
    pub async fn note_deletion(
        &self,
        worker: Uuid,
        post: &JobPost,
        asked: DateTime<Utc>,
        deletion: &Deletion,
        windows: &[Window],
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (outcome, why) = match deletion {
            Deletion::Gone(why) => ("unpublished", why.as_ref()),
            Deletion::Refused(why) => ("failed", Some(why)),
            Deletion::Unknown(why) => ("unknown", Some(why)),
        };
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "-- note_deletion
            insert into crier.attempts (job_id, account_id, number, token, worker, step, started_at, sent_at, finished_at, outcome, code, http_status, answer)
            values ($1, $2, (select count(*) + 1 from crier.attempts where job_id = $1 and step = 'unpublish'), nextval('crier.lease_token'), $3, 'unpublish',
                    $4, $4, crier.now(), $5, $6, $7, $8)",
        )
        .bind(post.job)
        .bind(post.account)
        .bind(worker)
        .bind(asked)
        .bind(outcome)
        .bind(why.map(|why| &why.code))
        .bind(why.and_then(|why| i16::try_from(why.http_status?).ok()))
        .bind(why.map(|why| &why.error))
        .execute(&mut *tx)
        .await?;
        let mut deleted_at = None;
        if outcome == "unpublished" {
            deleted_at = sqlx::query_scalar(
                "-- note_deletion
                update crier.posts set deleted_at = coalesce(deleted_at, crier.now()) where job_id = $1 and post_id = $2 returning deleted_at",
            )
            .bind(post.job)
            .bind(&post.post_id)
            .fetch_optional(&mut *tx)
            .await?;
        }
        save_windows(&mut tx, post.account, Endpoint::DeletePost.label(), windows).await?;
        tx.commit().await?;
        Ok(deleted_at)
    }
}
