//! Claims of lanes: the right job, of an account that is open, and none that could be served left out.

use chrono::{DateTime, Utc};
use crier_store::StoreError;

use crate::world::{Broken, MARGIN, PostHand, PostStage, TTL, World, unexpected};

#[derive(Debug, sqlx::FromRow)]
struct Head {
    account: i64,
    job: i64,
    served: bool,
    ready: bool,
}

impl World<'_> {
    pub(crate) async fn claim(&mut self, worker: usize, limit: u8) -> Result<(), Broken> {
        self.claim_around(worker, limit, false).await
    }

    /// `is_held`: somebody holds a lane, so that one less may be claimed.
    pub(crate) async fn claim_around(
        &mut self,
        worker: usize,
        limit: u8,
        is_held: bool,
    ) -> Result<(), Broken> {
        let heads: Vec<Head> = sqlx::query_as("select * from sim.heads()")
            .fetch_all(&self.db.people)
            .await
            .unwrap();
        let claimed = self
            .db
            .store
            .claim(self.workers[worker].id, i64::from(limit), TTL)
            .await
            .map_err(unexpected("claim"))?;
        self.done += u32::from(!claimed.is_empty());
        for job in &claimed {
            let (account, id) = (job.lease.account, job.lease.subject);
            let head = heads.iter().find(|head| head.account == account);
            let Some(head) = head.filter(|head| head.job == id) else {
                return Err(format!(
                    "account {account}: job {id} was claimed, its turn has {head:?}"
                ));
            };
            if !head.served {
                return Err(format!(
                    "job {id} was claimed though account {account} or its app is stopped"
                ));
            }
            if self.is_spent(account).await {
                return Err(format!(
                    "job {id} was claimed though the budget of account {account} is spent"
                ));
            }
            if let Some(until) = self.closed_until(account) {
                return Err(format!(
                    "job {id} was claimed though X's limit closes account {account} until {until}"
                ));
            }
            if job.after.is_some() && job.reply_to.is_none() {
                return Err(format!(
                    "job {id} was claimed before the post exists that it replies to"
                ));
            }
        }
        // With room for all, whoever is due and open is claimed.
        for head in heads.iter().filter(|_| limit >= 100 && !is_held) {
            let is_left = head.ready
                && head.served
                && self.closed_until(head.account).is_none()
                && !claimed.iter().any(|c| c.lease.account == head.account);
            if is_left && !self.is_spent(head.account).await {
                return Err(format!(
                    "account {}: job {} was due and not claimed",
                    head.account, head.job
                ));
            }
        }
        // Whoever claims would otherwise come back at once, and again.
        let spinning: Vec<i64> = sqlx::query_scalar(
            "select account_id from crier.lanes where next_at <= crier.now() order by 1",
        )
        .fetch_all(&self.db.people)
        .await
        .unwrap();
        if limit >= 100 && !is_held && !spinning.is_empty() {
            return Err(format!(
                "lanes {spinning:?} are due though all were claimed"
            ));
        }
        let hands = claimed.into_iter().map(|job| PostHand {
            job,
            stage: PostStage::Claimed,
        });
        self.workers[worker].posts.extend(hands);
        Ok(())
    }

    fn closed_until(&self, account: i64) -> Option<DateTime<Utc>> {
        self.closed
            .get(&account)
            .copied()
            .filter(|until| *until > self.now)
    }

    /// Renews everything in hand: what is answered holds, and nothing else does.
    pub(crate) async fn renew(&mut self, worker: usize) -> Result<(), Broken> {
        let hands = &self.workers[worker];
        let posts = hands.posts.iter().map(|hand| hand.job.lease.token);
        let uploads = hands.uploads.iter().map(|hand| hand.upload.lease.token);
        let looks = hands.looks.iter().map(|hand| hand.look.lease.token);
        let tokens: Vec<i64> = posts.chain(uploads).chain(looks).collect();
        let mut holding: Vec<i64> = sqlx::query_scalar(
            "select token from crier.leases where token = any($1) and expires_at > crier.now()",
        )
        .bind(&tokens)
        .fetch_all(&self.db.people)
        .await
        .unwrap();
        let mut kept = self
            .db
            .store
            .renew(hands.id, &tokens, TTL)
            .await
            .map_err(unexpected("renew"))?;
        holding.sort_unstable();
        kept.sort_unstable();
        if kept != holding {
            return Err(format!("renewed {kept:?}, though {holding:?} held"));
        }
        Ok(())
    }

    /// The step to `sending`, allowed or not as the model says.
    pub(crate) async fn begin(
        &mut self,
        hand: &PostHand,
        media: &[String],
    ) -> Result<Result<i64, StoreError>, Broken> {
        let (lease, revision) = (hand.job.lease, hand.job.revision);
        let may: bool =
            sqlx::query_scalar("select sim.may_send($1, $2, $3, $4 * interval '1 microsecond')")
                .bind(lease.subject)
                .bind(lease.token)
                .bind(revision)
                .bind(i64::try_from(MARGIN.as_micros()).unwrap_or(i64::MAX))
                .fetch_one(&self.db.people)
                .await
                .unwrap();
        let begun = self
            .fenced(
                "begin_sending",
                &lease,
                self.db.store.begin_sending(&lease, revision, MARGIN, media),
            )
            .await?;
        match &begun {
            Ok(_) if !may => Err(format!(
                "job {} may be sent though it must not",
                lease.subject
            )),
            // Somebody's open transaction holds it.
            Err(StoreError::JobChanged { .. }) if self.long.is_some() => Ok(begun),
            Err(error) if may && media.is_empty() => Err(format!(
                "job {} could be sent and was not: {error}",
                lease.subject
            )),
            Ok(_) | Err(StoreError::LeaseLost { .. } | StoreError::JobChanged { .. }) => Ok(begun),
            Err(error) => Err(format!("begin_sending: {error}")),
        }
    }
}
