//! Tests of recurrences against a second implementation that shares nothing with the first but the zone's offsets.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, TimeDelta};
use proptest::prelude::*;

use super::*;

/// Zones with every kind of transition: one hour, half an hour, at midnight, negative in winter, none, a lost day.
const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Pacific/Apia",
];

/// A cron expression as sets; an empty set stands for `*`.
#[derive(Debug, Clone, Default)]
struct Sets {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: BTreeSet<u32>,
    months: BTreeSet<u32>,
    weekdays: BTreeSet<u32>,
}

impl Sets {
    fn cron(&self) -> String {
        let list = |set: &BTreeSet<u32>| {
            let words: Vec<String> = set.iter().map(u32::to_string).collect();
            if words.is_empty() {
                "*".to_owned()
            } else {
                words.join(",")
            }
        };
        [
            &self.minutes,
            &self.hours,
            &self.days,
            &self.months,
            &self.weekdays,
        ]
        .map(list)
        .join(" ")
    }

    fn names(&self, wall: NaiveDateTime) -> bool {
        let holds = |set: &BTreeSet<u32>, value: u32| set.is_empty() || set.contains(&value);
        let day = self.days.contains(&wall.day());
        let weekday = self
            .weekdays
            .contains(&wall.weekday().num_days_from_sunday());
        let date = match (self.days.is_empty(), self.weekdays.is_empty()) {
            (true, true) => true,
            (false, true) => day,
            (true, false) => weekday,
            (false, false) => day || weekday,
        };
        date && holds(&self.minutes, wall.minute())
            && holds(&self.hours, wall.hour())
            && holds(&self.months, wall.month())
    }
}

/// Walks through the minutes of UTC with an eye on the wall: whenever the clock shows more than it ever did, the times
/// that it has thereby reached or passed are due.
fn walk(sets: &Sets, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    // Two days ahead of the range, so that what the clock ever showed is known at its beginning.
    let mut now = from - TimeDelta::days(2);
    let mut shown = now.with_timezone(&zone).naive_local();
    let mut due = Vec::new();
    while now < to {
        now += minute;
        let wall = now.with_timezone(&zone).naive_local();
        let mut is_due = false;
        while shown < wall {
            shown += minute;
            is_due |= sets.names(shown);
        }
        if is_due && now > from {
            due.push(now);
        }
    }
    due
}

fn sets() -> impl Strategy<Value = Sets> {
    let some = |range: std::ops::RangeInclusive<u32>, most| {
        proptest::collection::btree_set(range, 0..=most)
    };
    (
        some(0..=59, 3),
        prop_oneof![3 => some(0..=4, 3), 1 => some(0..=23, 3)],
        some(1..=31, 4),
        some(1..=12, 6),
        some(0..=6, 3),
    )
        .prop_map(|(minutes, hours, days, months, weekdays)| Sets {
            minutes,
            hours,
            days,
            months,
            weekdays,
        })
}

/// A few hours before a random transition of a random zone.
fn near_transition() -> impl Strategy<Value = (&'static str, DateTime<Utc>)> {
    (
        proptest::sample::select(ZONES.to_vec()),
        2005_i32..2040,
        0_usize..4,
        0_i64..40,
    )
        .prop_map(|(name, year, nth, hours)| {
            let zone: Tz = name.parse().unwrap();
            let start = NaiveDate::from_ymd_opt(year, 1, 1)
                .unwrap()
                .and_time(chrono::NaiveTime::MIN)
                .and_utc();
            let offset = |hour: i64| {
                (start + TimeDelta::hours(hour))
                    .with_timezone(&zone)
                    .offset()
                    .fix()
                    .local_minus_utc()
            };
            let found = (1..366 * 24)
                .filter(|hour| offset(*hour) != offset(hour - 1))
                .nth(nth)
                .unwrap_or(2_000);
            (name, start + TimeDelta::hours(found - hours))
        })
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn slots(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let found = Recurrence::parse(cron, zone)
        .unwrap()
        .slots(utc(from), utc(to), 1_000);
    found
        .iter()
        .map(|slot| slot.format("%m-%dT%H:%M:%S").to_string())
        .collect()
}

#[test]
fn nine_o_clock_stays_nine_o_clock_over_the_change() {
    let found = slots(
        "0 9 * * *",
        "Europe/Berlin",
        "2026-03-27T12:00:00Z",
        "2026-03-30T12:00:00Z",
    );
    assert_eq!(
        found,
        ["03-28T08:00:00", "03-29T07:00:00", "03-30T07:00:00"]
    );
}

#[test]
fn a_skipped_time_falls_on_the_end_of_the_gap_once() {
    let found = slots(
        "*/20 2 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        "2026-03-29T12:00:00Z",
    );
    assert_eq!(found, ["03-29T01:00:00"]);
}

#[test]
fn a_time_shown_twice_counts_the_first_time() {
    let day = ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(
        slots("30 2 * * *", "Europe/Berlin", day.0, day.1),
        ["10-25T00:30:00"]
    );
    let between = Recurrence::parse("30 2 * * *", "Europe/Berlin")
        .unwrap()
        .next_after(utc("2026-10-25T01:00:00Z"));
    assert_eq!(between, Some(utc("2026-10-26T01:30:00Z")));
}

#[test]
fn a_lost_day_is_made_up_for_at_its_end() {
    let found = slots(
        "0 9 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00:00Z",
        "2011-12-31T12:00:00Z",
    );
    // 29 December at 09:00 is 19:00 UTC; the 30th never was, and ends where the 31st begins, at 10:00 UTC.
    assert_eq!(
        found,
        ["12-29T19:00:00", "12-30T10:00:00", "12-30T19:00:00"]
    );
}

#[test]
fn six_fields_begin_with_the_second() {
    let found = slots(
        "*/30 59 23 31 12 *",
        "UTC",
        "2026-01-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    );
    assert_eq!(found, ["12-31T23:59:00", "12-31T23:59:30"]);
}

#[test]
fn a_fraction_of_a_second_does_not_shift_the_slots() {
    let every_second = Recurrence::parse("* * * * * *", "UTC").unwrap();
    assert_eq!(
        every_second.next_after(utc("2026-01-01T00:00:00.250Z")),
        Some(utc("2026-01-01T00:00:01Z"))
    );
    assert_eq!(
        every_second.next_after(utc("2026-01-01T00:00:01Z")),
        Some(utc("2026-01-01T00:00:02Z"))
    );
}

#[test]
fn words_and_last_days_are_understood() {
    assert_eq!(
        slots(
            "@daily",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z"
        ),
        ["01-02T00:00:00"]
    );
    let last = slots(
        "0 0 L 2 *",
        "UTC",
        "2026-01-01T00:00:00Z",
        "2029-01-01T00:00:00Z",
    );
    assert_eq!(last, ["02-28T00:00:00", "02-28T00:00:00", "02-29T00:00:00"]);
}

#[test]
fn both_ends_and_the_bound_are_kept() {
    let hourly = Recurrence::parse("0 * * * *", "UTC").unwrap();
    let (from, to) = (utc("2026-01-01T00:00:00Z"), utc("2026-01-01T03:00:00Z"));
    assert_eq!(hourly.slots(from, to, 9).len(), 3);
    assert_eq!(
        hourly.slots(from, to, 2),
        [utc("2026-01-01T01:00:00Z"), utc("2026-01-01T02:00:00Z")]
    );
    assert!(hourly.slots(to, from, 9).is_empty());
}

#[test]
fn the_ends_of_the_calendar_are_no_panic() {
    for zone in ["Pacific/Kiritimati", "America/New_York"] {
        let hourly = Recurrence::parse("0 * * * *", zone).unwrap();
        assert_eq!(hourly.next_after(DateTime::<Utc>::MAX_UTC), None);
        let _ = hourly.next_after(DateTime::<Utc>::MIN_UTC);
    }
}

#[test]
fn errors_name_the_field_and_the_cure() {
    let message = |cron: &str, zone: &str| Recurrence::parse(cron, zone).unwrap_err().to_string();
    assert!(
        message("0 25 * * *", "UTC")
            .starts_with("`25` is no hour in the cron expression `0 25 * * *`: ")
    );
    assert!(message("61 0 25 * * *", "UTC").starts_with("`61` is no second in "));
    assert!(message("0 9 * * FOO", "UTC").starts_with("`FOO` is no day of week in "));
    assert!(message("0 9 * *", "UTC").contains("has 4 fields, but needs 5"));
    assert!(message("", "UTC").contains("has 0 fields"));
    assert!(message("0 0 1 1 * * 2030", "UTC").contains("has 7 fields"));
    assert!(message("@never", "UTC").contains("`@never`"));
    assert!(message("0 0 30 2 *", "UTC").contains("never comes true"));
    assert!(message("0 9 * * *", "europe/berlin").contains("did you mean `Europe/Berlin`?"));
    assert!(
        message("0 9 * * *", "Europe/Atlantis").starts_with("`Europe/Atlantis` is no time zone")
    );
}

#[test]
fn missed_slots_are_divided_by_policy() {
    let all: Vec<_> = (1..=5)
        .map(|n| DateTime::from_timestamp(n, 0).unwrap())
        .collect();
    let run = |policy, bound| missed(&all, policy, bound).run.to_vec();
    assert!(run(MissedPolicy::Skip, 9).is_empty());
    assert_eq!(run(MissedPolicy::Once, 9), all[4..]);
    assert_eq!(run(MissedPolicy::All, 9), all);
    assert_eq!(run(MissedPolicy::All, 2), all[3..]);
    assert_eq!(missed(&all, MissedPolicy::All, 2).skipped, &all[..3]);
    assert!(missed(&[], MissedPolicy::Once, 2).run.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_those_of_a_walk_through_the_minutes(sets in sets(), (name, from) in near_transition(), days in 1_i64..20) {
        let Ok(recurrence) = Recurrence::parse(&sets.cron(), name) else {
            // Only a day that no month has may be refused.
            prop_assert!(sets.days.iter().all(|day| *day > 29) && sets.weekdays.is_empty());
            return Ok(());
        };
        let to = from + TimeDelta::days(days);
        let expected = walk(&sets, recurrence.zone(), from, to);
        prop_assert_eq!(recurrence.slots(from, to, usize::MAX), expected, "`{}` in {}", sets.cron(), name);
    }

    #[test]
    fn one_by_one_gives_the_same_as_all_at_once(sets in sets(), (name, from) in near_transition(), step in 1_i64..90) {
        // Every day, so that the transition is hit.
        let sets = Sets { days: BTreeSet::new(), months: BTreeSet::new(), weekdays: BTreeSet::new(), ..sets };
        let recurrence = Recurrence::parse(&sets.cron(), name).unwrap();
        let to = from + TimeDelta::hours(50);
        let mut chained = Vec::new();
        let mut cursor = from;
        while let Some(slot) = recurrence.next_after(cursor).filter(|slot| *slot <= to) {
            prop_assert!(slot > cursor);
            // Asked again from anywhere in between, the answer is the same.
            let between = (cursor + TimeDelta::seconds(step)).min(slot - TimeDelta::seconds(1)).max(cursor);
            prop_assert_eq!(recurrence.next_after(between), Some(slot));
            chained.push(slot);
            cursor = slot;
        }
        prop_assert_eq!(recurrence.slots(from, to, usize::MAX), chained);
    }

    #[test]
    fn no_expression_makes_a_panic(cron in "[0-9*/,LW#?+A-Z@ -]{0,24}", zone in "(UTC|\\PC{0,12})") {
        if let Err(error) = Recurrence::parse(&cron, &zone) {
            prop_assert!(!error.to_string().ends_with('.'));
        }
    }
}

#[test]
fn years_of_transitions_in_every_zone_agree_with_the_walk() {
    let sets = Sets {
        minutes: [0, 15, 59].into(),
        hours: [0, 1, 2, 3, 9, 23].into(),
        ..Sets::default()
    };
    for name in ZONES {
        let recurrence = Recurrence::parse(&sets.cron(), name).unwrap();
        let (from, to) = (utc("2009-01-01T00:00:00Z"), utc("2013-01-01T00:00:00Z"));
        assert_eq!(
            recurrence.slots(from, to, usize::MAX),
            walk(&sets, recurrence.zone(), from, to),
            "{name}"
        );
    }
}
