//! The checks of a round: taken from the inbox, looked at, acted upon.
//!
//! **Invariant:** a check that breaks down, or kills this process, costs only its own job, and that after a bounded number
//! of times: what is in hand is said beforehand, and what others left behind is looked at one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crier_metrics::CheckEnd;
use crier_store::{CRASH_BOUND, Check, Finding, Risky, StoreError};
use serde_json::json;

use crate::checks::judge;
use crate::run::Scheduler;

/// Rows looked at in one round.
const CHECKS: i64 = 500;
/// Time for the files of one round: large ones must not keep the leader from leading.
const CHECK_TIME: Duration = Duration::from_secs(1);
/// How long a check is put off that could not be acted on.
const CHECK_RETRY: Duration = Duration::from_secs(30);

/// What a check brought; `None`: it broke down.
type Looked = (Check, Option<Finding>);

impl Scheduler {
    pub(crate) async fn checks(&self) -> Result<bool, StoreError> {
        let checks = self.store.due_checks(CHECKS).await?;
        if checks.is_empty() {
            return Ok(false);
        }
        let full = i64::try_from(checks.len()).is_ok_and(|n| n >= CHECKS);
        let jobs: Vec<i64> = checks.iter().map(|check| check.job).collect();
        let suspects = self.store.suspects(Risky::Checks, &jobs).await?;
        let (doubtful, plain): (Vec<Check>, Vec<Check>) = checks
            .into_iter()
            .partition(|check| suspects.contains_key(&check.job));
        let begin = Instant::now();
        let mut more = full;
        if !plain.is_empty() {
            more |= self.look_into(plain).await?;
        }
        for check in doubtful {
            if begin.elapsed() >= CHECK_TIME {
                return Ok(true);
            }
            let job = check.job;
            if suspects
                .get(&job)
                .is_some_and(|crashes| *crashes >= CRASH_BOUND)
            {
                self.quarantine(&check).await?;
                continue;
            }
            more |= self.look_into(vec![check]).await?;
        }
        Ok(more)
    }

    /// Looks at these together; true if time was too short for all.
    async fn look_into(&self, checks: Vec<Check>) -> Result<bool, StoreError> {
        let jobs: Vec<i64> = checks.iter().map(|check| check.job).collect();
        self.store
            .take_in_hand(Risky::Checks, self.id, &jobs)
            .await?;
        let done = self.look_and_settle(checks).await;
        // Otherwise they are suspect once, if this process dies before the next ones.
        self.store.put_down(Risky::Checks, self.id).await?;
        done
    }

    async fn look_and_settle(&self, checks: Vec<Check>) -> Result<bool, StoreError> {
        let wanted = checks.len();
        let (probe, self_serve) = (self.options.media.clone(), self.options.self_serve);
        let urls = self.options.urls.clone();
        // Files may lie on a slow disk: not in the way of other tasks.
        let judged = tokio::task::spawn_blocking(move || {
            let begin = Instant::now();
            checks
                .into_iter()
                .take_while(|_| begin.elapsed() < CHECK_TIME)
                .map(|check| {
                    let finding = catch_unwind(AssertUnwindSafe(|| {
                        check.draft.as_ref().map_or(Finding::Fine, |draft| {
                            judge(draft, probe.as_deref(), &urls, self_serve)
                        })
                    }))
                    .ok();
                    (check, finding)
                })
                .collect::<Vec<Looked>>()
        })
        .await;
        let Ok(looked) = judged else {
            // Nothing in there panics unseen.
            return Ok(false);
        };
        let is_short = looked.len() < wanted;
        let mut findings: Vec<(&Check, Finding)> = Vec::new();
        for (check, finding) in &looked {
            match finding {
                Some(finding) => findings.push((check, finding.clone())),
                None => self.broke_down(check).await?,
            }
        }
        if let Err(error) = self.settle(&findings).await {
            self.complain("checks", &error);
            // One bad row hurts only itself.
            for one in &findings {
                if let Err(error) = self.settle(std::slice::from_ref(one)).await {
                    self.complain("checks", &error);
                    self.store.put_off_check(one.0, CHECK_RETRY).await?;
                }
            }
        }
        let fine: Vec<i64> = findings.iter().map(|(check, _)| check.job).collect();
        self.store.clear_suspects(Risky::Checks, &fine).await?;
        // What time was too short for is still in the inbox.
        Ok(is_short)
    }

    /// A check that panicked counts as one that killed its scheduler.
    async fn broke_down(&self, check: &Check) -> Result<(), StoreError> {
        let crashes = self.store.count_crash(Risky::Checks, check.job).await?;
        self.metrics.db_error("panic");
        tracing::error!(
            job = check.job,
            crashes,
            "the check of job {} broke down",
            check.job
        );
        if crashes >= CRASH_BOUND {
            self.quarantine(check).await
        } else {
            self.store.put_off_check(check, CHECK_RETRY).await
        }
    }

    /// The job ends: nobody can look at it and live.
    async fn quarantine(&self, check: &Check) -> Result<(), StoreError> {
        let job = check.job;
        let finding = Finding::Fail(json!({
            "code": "quarantined", "title": "schedulers died while they checked this job", "step": "check",
            "detail": format!("{CRASH_BOUND} times a scheduler died or broke down over it"),
            "hint": format!("look at the schedulers' logs for job {job} and at its files, then select crier.retry({job})"),
        }));
        self.settle(&[(check, finding)]).await?;
        if check.draft.is_none() {
            // It ended otherwise, and no longer kills anybody.
            self.store.clear_suspects(Risky::Checks, &[job]).await?;
        }
        Ok(())
    }

    /// Plans uploads, then acts on the findings: a check leaves the inbox only once its job's media are planned.
    async fn settle(&self, findings: &[(&Check, Finding)]) -> Result<(), StoreError> {
        for (check, finding) in findings {
            let has_media = match &check.draft {
                Some(draft) => draft
                    .media
                    .as_ref()
                    .is_ok_and(|media| media.as_array().is_some_and(|m| !m.is_empty())),
                None => false,
            };
            if check.has_uploads || (has_media && !matches!(finding, Finding::Fail(_))) {
                self.store
                    .plan_uploads(check.job, self.options.lead)
                    .await?;
            }
        }
        let failed = self.store.settle_checks(findings).await?;
        for (check, finding) in findings {
            let end = match (&check.draft, finding) {
                (Some(_), Finding::Fine) => CheckEnd::Ok,
                (Some(_), Finding::Warn { .. }) => CheckEnd::Warning,
                (Some(_), Finding::Fail(_)) if failed.contains(&check.job) => CheckEnd::Failed,
                (None, _) | (Some(_), Finding::Fail(_)) => continue,
            };
            self.metrics.checked(end, 1);
        }
        if !failed.is_empty() {
            tracing::warn!(
                jobs = failed.len(),
                "new jobs failed their check; their rows say why"
            );
        }
        Ok(())
    }
}
