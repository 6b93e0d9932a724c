//! Recurring posts: read by one scheduler, made jobs of later, by it or by another that read them too.

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::recurrence::{MissedPolicy, Recurrence, missed};
use crier_store::{Expanded, Expansion, RecurringRow};

use crate::world::{Broken, World, unexpected};

/// A slot is missed only after this.
const GRACE: TimeDelta = TimeDelta::seconds(60);
/// Missed slots that are still posted under `all`.
const MOST_MISSED: usize = 3;

impl World<'_> {
    pub(crate) async fn read_recurring(&mut self, scheduler: usize) -> Result<(), Broken> {
        self.slots[scheduler] = self
            .db
            .store
            .due_recurring(20)
            .await
            .map_err(unexpected("due_recurring"))?;
        Ok(())
    }

    /// Whoever reads a row that was edited, paused or expanded since does nothing.
    pub(crate) async fn expand(&mut self, scheduler: usize) -> Result<bool, Broken> {
        let db = self.db;
        let mut is_done = false;
        for row in std::mem::take(&mut self.slots[scheduler]) {
            let (expansion, skipped) = expansion(&row);
            let is_fresh: bool = sqlx::query_scalar(
                "select exists (select 1 from crier.recurring where id = $1 and revision = $2 and not paused
                    and expanded_until is not distinct from $3)",
            )
            .bind(row.id)
            .bind(row.revision)
            .bind(row.expanded_until)
            .fetch_one(&db.people)
            .await
            .unwrap();
            let end = db
                .store
                .expand_recurring(&row, &expansion)
                .await
                .map_err(unexpected("expand_recurring"))?;
            match end {
                Expanded::Done { created, .. } if is_fresh => {
                    is_done |= created > 0;
                    if skipped > 0 {
                        self.note("insert into sim.skipped values ($1)", row.id)
                            .await;
                    }
                }
                Expanded::Done { .. } => {
                    return Err(format!("{} was expanded by an older reading", row.name));
                }
                // Somebody edits it at this moment.
                Expanded::Changed if !is_fresh || self.long.is_some() => {}
                end => return Err(format!("{} was not expanded: {end:?}", row.name)),
            }
        }
        self.meet_new_jobs().await;
        Ok(is_done)
    }

    /// Jobs that no person has inserted.
    async fn meet_new_jobs(&mut self) {
        let known = &self.jobs;
        let new: Vec<i64> = sqlx::query_scalar(
            "select id from crier.jobs where recurring_id is not null and id <> all($1) order by id",
        )
        .bind(known)
        .fetch_all(&self.db.people)
        .await
        .unwrap();
        self.jobs.extend(new);
    }
}

/// What a scheduler makes of a row, and how many slots it leaves out.
fn expansion(row: &RecurringRow) -> (Expansion, usize) {
    let recurrence = Recurrence::parse(&row.cron, &row.time_zone).unwrap();
    let policy = match row.missed.as_str() {
        "all" => MissedPolicy::All,
        _ => MissedPolicy::Skip,
    };
    let settled = row.expanded_until.unwrap_or(row.created_at);
    let horizon = row.now + TimeDelta::microseconds(row.ahead_us);
    let overdue = row.now - GRACE;
    let passed = recurrence.slots(settled, overdue.min(horizon), usize::MAX);
    let catch_up = missed(&passed, policy, MOST_MISSED);
    let mut slots: Vec<DateTime<Utc>> = catch_up.run.to_vec();
    slots.extend(recurrence.slots(settled.max(overdue), horizon, 50));
    let until = horizon.max(settled);
    let next_at = recurrence
        .next_after(until)
        .map(|next| next - TimeDelta::microseconds(row.ahead_us));
    let slots = slots
        .into_iter()
        .map(|slot| (slot, format!("{} {}", row.text, slot.timestamp())))
        .collect();
    let expansion = Expansion {
        slots,
        until,
        next_at,
    };
    (expansion, catch_up.skipped.len())
}
