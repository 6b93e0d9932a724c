//! One search for a post whose answer was lost, step by step: X's list, who else lays claim to it, the end. The decisions
//! are the real ones of `crier_core::reconcile`.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_core::price::{Charge, Priced};
use crier_core::reconcile::{
    CLOCK_ALLOWANCE, Next, Search, Seen, Sent, is_listed, next, pick as pick_post,
};
use crier_store::{Absent, Rival, StoreError};
use serde_json::json;

use crate::desk::PRICE;
use crate::ops::Look;
use crate::world::{Broken, LookHand, TTL, World, busy, pick, unexpected};

/// Waits between looks, as workers have them by default.
const WAITS: [Duration; 4] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
];

impl World<'_> {
    pub(crate) async fn claim_looks(&mut self, worker: usize, limit: u8) -> Result<(), Broken> {
        let id = self.workers[worker].id;
        let claimed = self
            .db
            .store
            .claim_reconciles(id, i64::from(limit), TTL)
            .await
            .map_err(unexpected("claim_reconciles"))?;
        self.done += u32::from(!claimed.is_empty());
        let hands = claimed.into_iter().map(|look| LookHand {
            look,
            seen: None,
            next: None,
        });
        self.workers[worker].looks.extend(hands);
        Ok(())
    }

    pub(crate) async fn look(&mut self, worker: usize, n: u8, how: Look) -> Result<(), Broken> {
        let Some(worker) = busy(&self.workers, worker, |worker| !worker.looks.is_empty()) else {
            return Ok(());
        };
        let Some(place) = pick(&self.workers[worker].looks, n) else {
            return Ok(());
        };
        self.done += 1;
        let mut hand = self.workers[worker].looks.remove(place);
        let keep = match (&hand.seen, &hand.next) {
            (None, _) => self.read(&mut hand, worker, how).await?,
            (Some(_), None) => {
                hand.next = Some(self.decide(&hand).await?);
                true
            }
            (Some(_), Some(next)) => {
                self.conclude(&hand, next).await?;
                false
            }
        };
        if keep {
            self.workers[worker].looks.insert(place, hand);
        }
        Ok(())
    }

    /// X's list of the account's posts.
    async fn read(
        &mut self,
        hand: &mut LookHand,
        worker: usize,
        how: Look,
    ) -> Result<bool, Broken> {
        let (db, lease) = (self.db, hand.look.lease);
        let store = &db.store;
        let blocked = hand
            .look
            .reads_blocked_until
            .filter(|until| *until > self.now);
        let ended = if let Some(until) = blocked {
            let after = (until - self.now).to_std().unwrap_or_default() + Duration::from_secs(1);
            Some(
                self.fenced("look_again", &lease, store.look_again(&lease, after, false))
                    .await?,
            )
        } else {
            match how {
                Look::Well => None,
                Look::Limited => {
                    let window = Window {
                        class: LimitClass::Account,
                        length: WindowLength::QuarterHour,
                        limit: Some(1),
                        remaining: Some(0),
                        resets_at: self.real + TimeDelta::seconds(100),
                    };
                    store
                        .note_read_windows(lease.account, &[window])
                        .await
                        .map_err(unexpected("note_read_windows"))?;
                    let after = Duration::from_secs(101);
                    Some(
                        self.fenced("look_again", &lease, store.look_again(&lease, after, false))
                            .await?,
                    )
                }
                Look::Unread => {
                    let after = Duration::from_secs(15);
                    Some(
                        self.fenced("look_again", &lease, store.look_again(&lease, after, false))
                            .await?,
                    )
                }
                Look::Forbidden => Some(self.leave(hand, "scope_missing").await?),
            }
        };
        if let Some(ended) = ended {
            return refused_or(ended, "ending a look").map(|()| false);
        }
        let kept = store
            .renew(self.workers[worker].id, &[lease.token], TTL)
            .await
            .map_err(unexpected("renew"))?;
        if kept.is_empty() {
            return Ok(false);
        }
        let from = hand.look.first_doubtful.unwrap_or(hand.look.created_at) - CLOCK_ALLOWANCE;
        hand.seen = Some(self.x.list(self.real, lease.account, from));
        Ok(true)
    }

    async fn decide(&self, hand: &LookHand) -> Result<Next, Broken> {
        let (look, none) = (&hand.look, Vec::new());
        let posts = hand.seen.as_ref().unwrap_or(&none);
        let ids: Vec<String> = posts.iter().map(|post| post.0.clone()).collect();
        let contest = self
            .db
            .store
            .contest(&look.lease, &ids)
            .await
            .map_err(unexpected("contest"))?;
        let ours = Sent {
            job: look.lease.subject,
            text: &look.text,
            attachments: look.media_count,
            is_reply: look.in_thread,
            first: look.first_doubtful.unwrap_or(look.created_at),
            last: look.since,
            is_doubtful: look.first_doubtful.is_some(),
            ahead: TimeDelta::zero(),
        };
        let rivals: Vec<Sent<'_>> = contest.rivals.iter().map(rival).collect();
        let seen: Vec<Seen<'_>> = posts.iter().map(|(id, text)| Seen { id, text }).collect();
        let taken: BTreeSet<String> = contest.taken.iter().cloned().collect();
        let options = look.options.clone().map_err(|fault| fault.to_string())?;
        let shown = self.now - WAITS.iter().sum::<Duration>();
        let search = Search {
            looks: look.looks + 1,
            waits: &WAITS,
            is_doubtful: ours.is_doubtful,
            is_duplicate: look.duplicate_seen,
            is_complete: true,
            is_listed: is_listed(&options),
        };
        Ok(next(
            pick_post(&ours, &rivals, &seen, &taken, shown),
            &search,
        ))
    }

    async fn conclude(&mut self, hand: &LookHand, next: &Next) -> Result<(), Broken> {
        let (db, lease) = (self.db, hand.look.lease);
        let store = &db.store;
        let ended = match next {
            Next::Published(id) => {
                let charge = Charge {
                    kind: Priced::Post,
                    calls: 1,
                    micro_usd: PRICE,
                };
                let found = self
                    .fenced(
                        "settle_found",
                        &lease,
                        store.settle_found(&lease, id, "found", Some(charge)),
                    )
                    .await?;
                if matches!(found, Err(StoreError::PostTaken { .. })) {
                    self.fenced(
                        "look_again",
                        &lease,
                        store.look_again(&lease, WAITS[0], false),
                    )
                    .await?
                } else {
                    if found.is_ok() {
                        self.charged(lease.account).await;
                    }
                    found.map(drop)
                }
            }
            Next::LookAgain(after) => {
                self.fenced("look_again", &lease, store.look_again(&lease, *after, true))
                    .await?
            }
            Next::Absent => {
                if let Some(live) = self.x.post_of(lease.subject) {
                    return Err(format!(
                        "job {} is believed absent, but {} is live",
                        lease.subject, live.id
                    ));
                }
                let absent = self
                    .fenced("settle_absent", &lease, store.settle_absent(&lease))
                    .await?;
                absent.map(|absent| match absent {
                    Absent::Again | Absent::Failed => (),
                })
            }
            Next::Duplicate => {
                self.fenced("settle_duplicate", &lease, store.settle_duplicate(&lease))
                    .await?
            }
            Next::Operator(doubt) => self.leave(hand, doubt.code()).await?,
        };
        refused_or(ended, "ending a search")
    }

    async fn leave(&self, hand: &LookHand, code: &str) -> Result<Result<(), StoreError>, Broken> {
        let lease = hand.look.lease;
        let error = json!({"code": code, "title": "crier cannot tell", "detail": "", "step": "reconcile", "hint": ""});
        self.fenced(
            "leave_to_operator",
            &lease,
            self.db.store.leave_to_operator(&lease, &error),
        )
        .await
    }
}

fn rival(rival: &Rival) -> Sent<'_> {
    Sent {
        job: rival.job,
        text: &rival.text,
        is_reply: rival.in_thread,
        attachments: usize::try_from(rival.media_count).unwrap_or(0),
        first: rival.first_sent,
        last: rival.last_sent,
        is_doubtful: true,
        ahead: TimeDelta::zero(),
    }
}

fn refused_or(result: Result<(), StoreError>, what: &str) -> Result<(), Broken> {
    match result {
        // Changed is also what was deleted meanwhile: its search is dropped by whoever claims it next.
        Ok(()) | Err(StoreError::LeaseLost { .. } | StoreError::JobChanged { .. }) => Ok(()),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
