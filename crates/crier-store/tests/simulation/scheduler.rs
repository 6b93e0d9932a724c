//! What schedulers do. Two may believe that they lead: everything is done by either.

use std::time::Duration;

use chrono::TimeDelta;
use crier_store::{Check, Finding, Leadership};
use serde_json::json;
use uuid::Uuid;

use crate::ops::Schedule;
use crate::world::{Broken, LEAD, World, unexpected};

/// How long leadership lasts.
const LEADS: Duration = Duration::from_secs(15);
/// Rows taken at once by everything that takes many.
const MANY: i64 = 500;

impl World<'_> {
    pub(crate) async fn schedule(
        &mut self,
        scheduler: usize,
        what: Schedule,
    ) -> Result<(), Broken> {
        let db = self.db;
        let store = &db.store;
        let failed = unexpected("scheduler");
        let done = match what {
            Schedule::Signals(limit) => {
                store
                    .apply_signals(i64::from(limit))
                    .await
                    .map_err(failed)?
                    > 0
            }
            Schedule::Expire => {
                let expired = store.expire_leases(MANY).await.map_err(failed)?;
                expired.claimed + expired.sending > 0
            }
            Schedule::ExpireUploads => {
                store
                    .expire_stage_leases(MANY)
                    .await
                    .map_err(failed)?
                    .expired
                    > 0
            }
            Schedule::ExpireLooks => store.expire_reconcile_leases(MANY).await.map_err(failed)? > 0,
            Schedule::Missed => store.mark_missed(MANY).await.map_err(failed)? > 0,
            Schedule::ReadChecks => {
                self.checks[scheduler] = store.due_checks(MANY).await.map_err(failed)?;
                false
            }
            Schedule::ActOnChecks => self.act_on_checks(scheduler).await?,
            Schedule::Held => {
                let swept = store.sweep_held(None, MANY).await.map_err(failed)?;
                swept.released + swept.failed > 0
            }
            Schedule::Uploads => {
                store.sweep_uploads(LEAD, MANY).await.map_err(failed)?;
                false
            }
            Schedule::Lanes => {
                let (mended, _) = store.repair_lanes(0, MANY).await.map_err(failed)?;
                if mended > 0 {
                    return Err(format!("{mended} lanes had to be repaired"));
                }
                false
            }
            Schedule::ReadRecurring => {
                self.read_recurring(scheduler).await?;
                false
            }
            Schedule::Expand => self.expand(scheduler).await?,
            Schedule::Trim(days) => {
                self.trim(days).await?;
                false
            }
            Schedule::Fold => {
                store.fold_totals().await.map_err(failed)?;
                false
            }
            Schedule::Lead => self.lead(scheduler).await?,
            Schedule::Resign => {
                store.resign(leader(scheduler)).await.map_err(failed)?;
                self.leader = self.leader.filter(|(who, _)| *who != scheduler);
                false
            }
        };
        self.done += u32::from(done);
        Ok(())
    }

    /// As a round does it: uploads are planned first, then the findings written.
    async fn act_on_checks(&mut self, scheduler: usize) -> Result<bool, Broken> {
        let store = &self.db.store;
        let checks = std::mem::take(&mut self.checks[scheduler]);
        let findings: Vec<(&Check, Finding)> =
            checks.iter().map(|check| (check, judge(check))).collect();
        for (check, finding) in &findings {
            let has_media = check
                .draft
                .as_ref()
                .and_then(|draft| draft.media.as_ref().ok())
                .and_then(|media| media.as_array())
                .is_some_and(|media| !media.is_empty());
            if check.has_uploads || (has_media && !matches!(finding, Finding::Fail(_))) {
                store
                    .plan_uploads(check.job, LEAD)
                    .await
                    .map_err(unexpected("plan_uploads"))?;
            }
        }
        store
            .settle_checks(&findings)
            .await
            .map_err(unexpected("settle_checks"))?;
        Ok(!findings.is_empty())
    }

    /// One leads at a time, by the database's clock.
    async fn lead(&mut self, scheduler: usize) -> Result<bool, Broken> {
        let answer = self
            .db
            .store
            .lead(leader(scheduler), LEADS)
            .await
            .map_err(unexpected("lead"))?;
        let other = self
            .leader
            .filter(|(who, until)| *who != scheduler && *until >= self.now);
        match (answer, other) {
            (Leadership::Leads, Some((who, until))) => {
                return Err(format!(
                    "scheduler {scheduler} leads beside {who}, who leads until {until}"
                ));
            }
            (Leadership::Follows, None) => {
                return Err(format!("scheduler {scheduler} follows nobody"));
            }
            (Leadership::Leads, None) => {
                self.leader = Some((
                    scheduler,
                    self.now + TimeDelta::from_std(LEADS).unwrap_or_default(),
                ));
            }
            (Leadership::Follows, Some(_)) => {}
        }
        Ok(false)
    }
}

fn leader(scheduler: usize) -> Uuid {
    Uuid::from_u128(1_000 + u128::try_from(scheduler).unwrap_or(0))
}

fn judge(check: &Check) -> Finding {
    let fault = |code: &str| json!({"code": code, "title": "the text is not good", "detail": "", "step": "check", "hint": "mend it"});
    match &check.draft {
        Some(draft) if draft.text.starts_with("bad") => Finding::Fail(fault("text_bad")),
        Some(draft) if draft.text.starts_with("odd") => Finding::Warn {
            warning: fault("text_odd"),
            again: (draft.due_in_s > 0).then_some(Duration::from_secs(30)),
        },
        Some(_) | None => Finding::Fine,
    }
}
