//! Tests of the table: every row is reached, none is dangerous, and the cases that were met live come out as stated.

use std::collections::BTreeMap;

use super::*;
use crate::limit::LimitClass;

mod live;
mod properties;

fn refused(status: u16) -> Answer {
    Answer {
        status,
        ..Answer::default()
    }
}

fn day_window(remaining: i64, length: WindowLength) -> Window {
    let resets_at = chrono::DateTime::UNIX_EPOCH;
    Window {
        class: LimitClass::Account,
        length,
        limit: Some(100),
        remaining: Some(remaining),
        resets_at,
    }
}

/// One fault for each way in which a row can hold.
fn examples(row: &Row) -> Vec<CallFault> {
    let (from, to) = match row.when {
        When::NotSent => {
            return vec![CallFault::NotSent {
                detail: "no route".into(),
            }];
        }
        When::NoAnswer => {
            return vec![CallFault::NoAnswer {
                detail: "cut".into(),
            }];
        }
        When::DailyWindow => {
            let windows = vec![
                day_window(3, WindowLength::QuarterHour),
                day_window(0, WindowLength::Day),
            ];
            return vec![CallFault::Refused(Answer {
                windows,
                ..refused(429)
            })];
        }
        When::Status(from, to) => (from, to),
    };
    let mut answers = Vec::new();
    for status in [from, to] {
        let base = refused(status);
        answers.extend(row.signal.problems.iter().map(|p| Answer {
            problem: (*p).into(),
            ..base.clone()
        }));
        answers.extend(row.signal.problems.iter().map(|p| Answer {
            reason: (*p).into(),
            ..base.clone()
        }));
        answers.extend(row.signal.words.iter().map(|w| Answer {
            title: w.to_uppercase(),
            ..base.clone()
        }));
        answers.extend(row.signal.words.iter().map(|w| Answer {
            detail: format!("Oh: {w}."),
            ..base.clone()
        }));
        answers.extend(row.signal.codes.iter().map(|c| Answer {
            codes: vec![1, *c],
            ..base.clone()
        }));
        if row.signal.is_any() {
            answers.push(base);
        }
    }
    answers.into_iter().map(CallFault::Refused).collect()
}

#[test]
fn every_step_and_every_signal_of_every_row_reaches_it() {
    for (place, row) in rows().enumerate() {
        for step in row.steps {
            let found: Vec<_> = examples(row)
                .iter()
                .filter_map(|fault| first_row(*step, fault))
                .collect();
            assert!(
                found.iter().any(|(at, _)| *at == place),
                "row {place} {row:?} is never reached from {step:?}"
            );
        }
        // Each word, problem and code must reach the row from some step and status, or it is dead weight.
        for fault in examples(row) {
            let CallFault::Refused(answer) = &fault else {
                continue;
            };
            let reached = row.steps.iter().any(|step| {
                let When::Status(from, to) = row.when else {
                    return true;
                };
                (from..=to).any(|status| {
                    let fault = CallFault::Refused(Answer {
                        status,
                        ..answer.clone()
                    });
                    first_row(*step, &fault).is_some_and(|(at, _)| at == place)
                })
            });
            assert!(
                reached,
                "{answer:?} of row {place} ends in another row from every step"
            );
        }
    }
}

#[test]
fn codes_are_snake_case_and_hints_are_for_people() {
    for row in rows() {
        let Verdict { code, hint, .. } = row.verdict;
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{code}"
        );
        assert!(hint.len() > 20 && !hint.ends_with('.'), "{code}: {hint}");
        for word in row.signal.words {
            assert_eq!(
                *word,
                word.to_lowercase(),
                "words are compared in lower case"
            );
        }
    }
}

#[test]
fn only_a_step_of_the_job_itself_can_fail_it() {
    for row in rows().filter(|row| row.verdict.action == Action::FailJob) {
        assert!(
            !row.steps.contains(&Step::Read) && !row.steps.contains(&Step::Token),
            "{row:?}"
        );
    }
}

#[test]
fn a_429_of_the_short_window_is_no_daily_limit() {
    let windows = vec![
        day_window(0, WindowLength::QuarterHour),
        day_window(5, WindowLength::Day),
    ];
    let fault = CallFault::Refused(Answer {
        windows,
        ..refused(429)
    });
    assert_eq!(judge(Step::Publish, &fault).code, "rate_limited");
}

#[test]
fn each_action_has_a_row() {
    let mut used: BTreeMap<Action, usize> = BTreeMap::new();
    for row in rows() {
        *used.entry(row.verdict.action).or_default() += 1;
    }
    assert_eq!(used.len(), 12, "{used:?}");
}
