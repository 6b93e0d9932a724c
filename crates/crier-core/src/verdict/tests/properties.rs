//! What holds for any answer at all.

use proptest::prelude::*;

use super::*;

fn answers() -> impl Strategy<Value = Answer> {
    let words: Vec<&'static str> = rows().flat_map(|row| row.signal.words).copied().collect();
    let problems: Vec<&'static str> = rows()
        .flat_map(|row| row.signal.problems)
        .copied()
        .collect();
    let codes: Vec<i64> = rows().flat_map(|row| row.signal.codes).copied().collect();
    (
        prop_oneof![any::<u16>(), 200_u16..600, 400_u16..432],
        prop_oneof![
            Just(String::new()),
            "\\PC{0,12}",
            proptest::sample::select(problems).prop_map(str::to_owned)
        ],
        prop_oneof![
            Just(String::new()),
            "\\PC{0,12}",
            proptest::sample::select(words).prop_map(str::to_owned)
        ],
        "\\PC{0,20}",
        proptest::collection::vec(
            prop_oneof![any::<i64>(), proptest::sample::select(codes)],
            0..3,
        ),
    )
        .prop_map(|(status, problem, title, detail, codes)| Answer {
            problem,
            title,
            detail,
            codes,
            ..refused(status)
        })
}

proptest! {
    #[test]
    fn any_answer_has_a_row(answer in answers()) {
        for step in Step::ALL {
            prop_assert!(first_row(step, &CallFault::Refused(answer.clone())).is_some());
        }
    }

    #[test]
    fn a_create_call_of_unknown_fate_is_reconciled_whatever_x_says(answer in answers(), status in 500_u16..600) {
        let fault = CallFault::Refused(Answer { status, ..answer });
        prop_assert_eq!(judge(Step::Publish, &fault).action, Action::Reconcile);
        let safe = [Step::Token, Step::Media, Step::Read].map(|step| judge(step, &fault).action);
        prop_assert_eq!(safe, [Action::Retry; 3]);
    }

    #[test]
    fn a_create_call_is_repeated_at_once_only_if_it_never_left_or_its_clock_was_wrong(answer in answers(), detail in "\\PC{0,30}") {
        // One refusal names no fault of the call but of the clock that signed it: it was not looked at.
        let verdict = judge(Step::Publish, &CallFault::Refused(answer.clone()));
        prop_assert!(
            verdict.action != Action::Retry || (answer.status == 401 && verdict.code == "clock_skew"),
            "{verdict:?}"
        );
        prop_assert_eq!(judge(Step::Publish, &CallFault::NoAnswer { detail: detail.clone() }).action, Action::Reconcile);
        for step in Step::ALL {
            prop_assert_eq!(judge(step, &CallFault::NotSent { detail: detail.clone() }).action, Action::Retry);
        }
    }

    #[test]
    fn a_repeat_after_a_pause_follows_a_definite_refusal_only(answer in answers()) {
        let status = answer.status;
        let action = judge(Step::Publish, &CallFault::Refused(answer)).action;
        prop_assert!((400..500).contains(&status) || action == Action::Reconcile);
    }
}
