//! From a row of `crier.recurring` to the slots that become jobs now.
//!
//! **Invariant:** a pure function of the row and the database's time. Each slot of the recurrence is settled once, as a
//! job or as missed by the row's policy; none before the row was inserted or outside its start and end.

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::fault::Fault;
use crier_core::recurrence::{MissedPolicy, Recurrence, missed};
use crier_core::template::{Vars, render};
use crier_store::{Expansion, RecurringRow};

/// Slots made jobs in one commit: a row that fires each second holds nobody up.
pub(crate) const MOST_SLOTS: usize = 500;
/// Missed slots that are still posted under `all`.
const MOST_MISSED: usize = 100;
/// A slot is missed only after this: a slot that passed while the scheduler changed hands is on time.
const GRACE: TimeDelta = TimeDelta::seconds(60);
/// First window that is searched backwards for missed slots.
const FIRST_WINDOW: TimeDelta = TimeDelta::hours(1);

/// What to do with a row now, and how many missed slots were left out (of those looked at).
pub(crate) fn expand(row: &RecurringRow) -> Result<(Expansion, usize), Fault> {
    let recurrence = Recurrence::parse(&row.cron, &row.time_zone).map_err(|error| {
        fault(
            "recurring_schedule",
            "the recurrence cannot be read",
            error.to_string(),
            "correct `cron` or `time_zone` of the row in crier.recurring",
        )
    })?;
    let policy = match row.missed.as_str() {
        "once" => MissedPolicy::Once,
        "all" => MissedPolicy::All,
        _ => MissedPolicy::Skip,
    };
    // The last moment before those that are still to be settled.
    let settled = row.expanded_until.unwrap_or(row.created_at);
    let settled = row.starts_at.map_or(settled, |start| {
        settled.max(start - TimeDelta::microseconds(1))
    });
    let horizon = row
        .now
        .checked_add_signed(TimeDelta::microseconds(row.ahead_us))
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    let horizon = row.ends_at.map_or(horizon, |end| horizon.min(end));

    let overdue = row.now - GRACE;
    let passed = passed_slots(&recurrence, settled, overdue.min(horizon));
    let catch_up = missed(&passed, policy, MOST_MISSED);
    let mut slots: Vec<DateTime<Utc>> = catch_up.run.to_vec();
    let mut ahead = recurrence.slots(settled.max(overdue), horizon, MOST_SLOTS + 1);
    let more = ahead.len() > MOST_SLOTS;
    ahead.truncate(MOST_SLOTS);
    let until = match ahead.last() {
        Some(last) if more => *last,
        Some(_) | None => horizon.max(settled),
    };
    let next_at = if more {
        Some(row.now)
    } else {
        recurrence
            .next_after(until)
            .filter(|next| row.ends_at.is_none_or(|end| *next <= end))
            .map(|next| next - TimeDelta::microseconds(row.ahead_us))
    };
    slots.append(&mut ahead);
    let slots = slots
        .into_iter()
        .zip(row.slots + 1..)
        .map(|(slot, n)| {
            let zone = recurrence.zone();
            render(&row.text, &Vars { slot, zone, n }).map(|text| (slot, text))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| {
            fault(
                "recurring_template",
                "the text of the template cannot be filled in",
                error.to_string(),
                "correct `template` of the row in crier.recurring",
            )
        })?;
    let expansion = Expansion {
        slots,
        until,
        next_at,
    };
    Ok((expansion, catch_up.skipped.len()))
}

/// The latest slots that passed, at least [`MOST_MISSED`] if there are as many, in order.
fn passed_slots(
    recurrence: &Recurrence,
    settled: DateTime<Utc>,
    overdue: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let mut window = FIRST_WINDOW;
    loop {
        let from = settled.max(overdue - window);
        if from >= overdue {
            return Vec::new();
        }
        // At most one slot a second, so the first window has no more than an hour's.
        let slots = recurrence.slots(from, overdue, usize::MAX);
        if slots.len() >= MOST_MISSED || from == settled {
            return slots;
        }
        window = window * 2;
    }
}

pub(crate) fn fault(
    code: &str,
    title: &str,
    detail: impl Into<String>,
    hint: impl Into<String>,
) -> Fault {
    Fault::new(code, title, detail, hint).at_step("recurring")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn row(cron: &str, now: &str) -> RecurringRow {
        RecurringRow {
            id: 1,
            name: "r".into(),
            cron: cron.into(),
            time_zone: "UTC".into(),
            text: "{date} {time} no. {n}".into(),
            starts_at: None,
            ends_at: None,
            missed: "skip".into(),
            ahead_us: 86_400_000_000,
            created_at: at("2026-06-01T00:00:00Z"),
            expanded_until: None,
            slots: 0,
            revision: 0,
            now: at(now),
        }
    }

    #[test]
    fn slots_become_jobs_ahead_with_their_text() {
        let (plan, skipped) = expand(&row("0 9 * * *", "2026-06-01T00:00:00Z")).unwrap();
        assert_eq!(
            plan.slots,
            [(
                at("2026-06-01T09:00:00Z"),
                "2026-06-01 09:00 no. 1".to_owned()
            )]
        );
        assert_eq!(skipped, 0);
        assert_eq!(plan.until, at("2026-06-02T00:00:00Z"));
        assert_eq!(
            plan.next_at,
            Some(at("2026-06-01T09:00:00Z")),
            "a day before the next slot"
        );
    }

    #[test]
    fn start_and_end_bound_the_slots() {
        let mut bounded = row("0 * * * *", "2026-06-01T00:00:00Z");
        bounded.starts_at = Some(at("2026-06-01T03:00:00Z"));
        bounded.ends_at = Some(at("2026-06-01T05:00:00Z"));
        let (plan, _) = expand(&bounded).unwrap();
        let slots: Vec<_> = plan.slots.iter().map(|s| s.0).collect();
        assert_eq!(
            slots,
            [3, 4, 5].map(|h| at(&format!("2026-06-01T0{h}:00:00Z")))
        );
        assert_eq!(plan.next_at, None, "nothing is left");
        bounded.starts_at = Some(at("2027-01-01T00:30:00Z"));
        bounded.ends_at = None;
        let (plan, _) = expand(&bounded).unwrap();
        assert_eq!(plan.slots, []);
        assert_eq!(plan.next_at, Some(at("2026-12-31T01:00:00Z")));
    }

    #[test]
    fn what_was_missed_goes_by_the_policy() {
        let mut late = row("0 * * * *", "2026-06-03T12:30:00Z");
        late.expanded_until = Some(at("2026-06-03T08:30:00Z"));
        late.ahead_us = 1_000_000;
        for (policy, expected, left_out) in
            [("skip", 0, 4), ("once", 1, 3), ("all", 4, 0), ("odd", 0, 4)]
        {
            late.missed = policy.into();
            let (plan, skipped) = expand(&late).unwrap();
            assert_eq!(plan.slots.len(), expected, "{policy}");
            assert_eq!(skipped, left_out, "{policy}");
            if let Some((slot, _)) = plan.slots.last() {
                assert_eq!(*slot, at("2026-06-03T12:00:00Z"), "{policy}");
            }
        }
        late.expanded_until = Some(at("2020-01-01T00:00:00Z"));
        late.missed = "all".into();
        assert_eq!(expand(&late).unwrap().0.slots.len(), MOST_MISSED);
    }

    #[test]
    fn a_slot_that_has_just_passed_is_not_missed() {
        let mut row = row("0 9 * * *", "2026-06-01T09:00:07Z");
        row.ahead_us = 1_000_000;
        row.expanded_until = Some(at("2026-06-01T08:59:58Z"));
        assert_eq!(expand(&row).unwrap().0.slots.len(), 1);
    }

    #[test]
    fn faults_say_which_column_to_correct() {
        for (cron, zone, text, code) in [
            ("61 * * * *", "UTC", "x", "recurring_schedule"),
            ("0 9 * * *", "Europe/Atlantis", "x", "recurring_schedule"),
            ("0 9 * * *", "UTC", "{nobody}", "recurring_template"),
        ] {
            let mut bad = row(cron, "2026-06-01T00:00:00Z");
            bad.time_zone = zone.into();
            bad.text = text.into();
            let fault = expand(&bad).unwrap_err();
            assert_eq!((fault.code.as_str(), &*fault.step), (code, "recurring"));
            assert!(fault.hint.contains("crier.recurring"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However often and irregularly the scheduler looks: the slots that it settles are those of the recurrence.
        #[test]
        fn any_course_of_looks_settles_each_slot_once(
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
            cron in prop::sample::select(vec!["0 9 * * *", "30 2 * * *", "*/20 1-3 * * SUN", "15 */6 1,15 * *", "0 0 29 2 *"]),
            start in 0_i64..(3 * 365 * 24), steps in prop::collection::vec(1_i64..(40 * 24 * 60), 1..30), ahead_h in 1_i64..(90 * 24),
        ) {
            let begin = at("2024-01-01T00:00:00Z") + TimeDelta::hours(start);
            let mut row = row(cron, "2024-01-01T00:00:00Z");
            row.time_zone = zone.into();
            row.missed = "all".into();
            row.created_at = begin;
            row.now = begin;
            row.ahead_us = ahead_h * 3_600_000_000;
            let mut made = Vec::new();
            for minutes in steps {
                let (plan, skipped) = expand(&row).unwrap();
                prop_assert_eq!(skipped, 0, "no more than the bound can be missed in 40 days");
                prop_assert!(plan.next_at.is_none_or(|next| next >= row.now));
                made.extend(plan.slots.iter().map(|s| s.0));
                row.slots += i64::try_from(plan.slots.len()).unwrap();
                row.expanded_until = Some(plan.until);
                row.now += TimeDelta::minutes(minutes);
            }
            let until = row.expanded_until.unwrap();
            let all = Recurrence::parse(cron, zone).unwrap().slots(begin, until, usize::MAX);
            prop_assert_eq!(made, all);
        }
    }
}
