//! When to try again: backoff with full jitter, and never before the moment that X named.
//!
//! **Invariant:** a next attempt is never before X's own reset, and never later than the documented caps allow.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::answer::Answer;
use crate::limit;
use crate::verdict::{Action, Verdict};

/// Ceiling of the first wait after an ordinary fault; it doubles with each attempt.
pub const NORMAL_BASE: Duration = Duration::from_secs(4);
/// Longest ordinary wait. X's docs ask for exponential backoff on 5xx (`x-api/fundamentals/response-codes-and-errors`)
/// and name no cap; a quarter of an hour is one rate limit window.
pub const NORMAL_CAP: Duration = Duration::from_mins(15);
/// Shortest wait after a limit whose reset X did not state: the sample of X's docs waits at least 60 s (`x-api/fundamentals/rate-limits`).
pub const LIMIT_BASE: Duration = Duration::from_mins(1);
/// Longest wait after a limit without a stated reset.
pub const LIMIT_CAP: Duration = Duration::from_hours(1);
/// Shortest wait, and ceiling of the first jitter, after a refusal that X does not explain: whoever hammers at a 403
/// looks like a robot to X's spam filter.
pub const SLOW_BASE: Duration = Duration::from_mins(10);
/// Longest jitter after an unexplained refusal; X's roaming posting limits free up over hours.
pub const SLOW_CAP: Duration = Duration::from_hours(3);
/// Attempts that an unexplained refusal is worth in all: the first, and one slow repeat. Then a person must look.
pub const SLOW_ATTEMPTS: u32 = 2;
/// Longest limit that is believed: the periods of X's caps are a month at most.
const LONGEST_LIMIT: Duration = Duration::from_hours(32 * 24);
/// Added to X's reset: it is stated in whole seconds, by another clock.
pub const RESET_MARGIN: Duration = Duration::from_secs(1);
/// Over how long the work that waited for one reset is spread, lest all of it starts in the same instant.
pub const RESET_SPREAD: Duration = Duration::from_secs(5);

/// How patient a repeat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// After a fault that usually passes within seconds.
    Normal,
    /// After a limit, for the case that X did not say when it ends.
    Limit,
    /// After an unexplained refusal, or a limit that lasts for hours.
    Slow,
}

impl Pace {
    /// The pace that a verdict asks for.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict.action {
            Action::RetrySlowly => Self::Slow,
            // A daily limit often comes without its headers, and a quarter of an hour is far too short for it.
            Action::WaitForLimit if verdict.code == "daily_limit" => Self::Slow,
            Action::WaitForLimit | Action::PauseApp => Self::Limit,
            Action::Retry
            | Action::RefreshToken
            | Action::PauseAccount
            | Action::FailJob
            | Action::Reupload
            | Action::NewSession
            | Action::SmallerChunk
            | Action::SwitchEncoding
            | Action::Reconcile => Self::Normal,
        }
    }

    /// The shortest wait at this pace.
    pub const fn floor(self) -> Duration {
        match self {
            Self::Normal => Duration::ZERO,
            Self::Limit => LIMIT_BASE,
            Self::Slow => SLOW_BASE,
        }
    }

    /// Base and cap of the jitter that comes on top of [`Pace::floor`].
    pub const fn jitter(self) -> (Duration, Duration) {
        match self {
            Self::Normal => (NORMAL_BASE, NORMAL_CAP),
            Self::Limit => (LIMIT_BASE, LIMIT_CAP),
            Self::Slow => (SLOW_BASE, SLOW_CAP),
        }
    }
}

/// Whether no attempt is left after `attempts` made, `alike` of which ended with this very code. `max_attempts` is the
/// job's own; an unexplained refusal is worth [`SLOW_ATTEMPTS`] at most, whatever else befell the job before.
pub fn is_exhausted(verdict: &Verdict, attempts: u32, alike: u32, max_attempts: u32) -> bool {
    attempts >= max_attempts || (verdict.action == Action::RetrySlowly && alike >= SLOW_ATTEMPTS)
}

/// The wait before the repeat that follows attempt `attempt` (1 is the first; 0 counts as 1): anywhere from nothing to
/// `base` doubled with each attempt, at most `cap` ("full jitter": it spreads a crowd best of all usual forms).
///
/// `unit_random` is a number from 0 to 1; anything outside is taken as the nearer end, and NaN as 1.
pub fn backoff(attempt: u32, base: Duration, cap: Duration, unit_random: f64) -> Duration {
    let ceiling = 2_u32
        .checked_pow(attempt.saturating_sub(1))
        .and_then(|factor| base.checked_mul(factor))
        .map_or(cap, |grown| grown.min(cap));
    share(ceiling, unit_random)
}

/// The wait after the `refusals`-th refusal in a row (1 is the first; 0 counts as 1) for a limit of which X does not say
/// when it ends: from [`LIMIT_BASE`] doubled with each refusal to twice that, at most [`LIMIT_CAP`]. Never short: each
/// refusal in vain brings X's own patience nearer to its end.
pub fn limit_wait(refusals: u32, unit_random: f64) -> Duration {
    let whole = backoff(refusals, LIMIT_BASE * 2, LIMIT_CAP, 1.0);
    whole / 2 + share(whole / 2, unit_random)
}

/// That share of a duration.
fn share(whole: Duration, unit_random: f64) -> Duration {
    let unit = if unit_random.is_nan() {
        1.0
    } else {
        unit_random.clamp(0.0, 1.0)
    };
    Duration::try_from_secs_f64(whole.as_secs_f64() * unit).map_or(whole, |part| part.min(whole))
}

/// When to try again after attempt `attempt` (1 is the first) ended at `now`; after a limit, after the refusal of that
/// number in a row.
///
/// `blocked_until` is X's own word ([`not_before`], or a window that another worker saw); the result is never before
/// it, and where it is what counts, work is spread over [`RESET_SPREAD`] after it instead of backing off from it.
pub fn next_attempt(
    attempt: u32,
    now: DateTime<Utc>,
    blocked_until: Option<DateTime<Utc>>,
    pace: Pace,
    unit_random: f64,
) -> DateTime<Utc> {
    match (blocked_until.filter(|reset| *reset > now), pace) {
        // X has said when: a guess of ours on top would only waste the window.
        (Some(reset), Pace::Limit) => {
            after(after(reset, RESET_MARGIN), share(RESET_SPREAD, unit_random))
        }
        (reset, Pace::Normal | Pace::Limit | Pace::Slow) => {
            let (base, cap) = pace.jitter();
            let own = if pace == Pace::Limit {
                after(now, limit_wait(attempt, unit_random))
            } else {
                after(
                    after(now, pace.floor()),
                    backoff(attempt, base, cap, unit_random),
                )
            };
            match reset {
                Some(reset) if own < after(reset, RESET_MARGIN) => {
                    after(after(reset, RESET_MARGIN), share(RESET_SPREAD, unit_random))
                }
                Some(_) | None => own,
            }
        }
    }
}

/// The earliest moment at which X wants to be asked again: the latest reset among its exhausted windows or the end of
/// its `Retry-After`, whichever is later. `None` if it named neither.
pub fn not_before(answer: &Answer, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // A moment further off is a mistake of somebody on the way, such as an epoch in the place of seconds.
    let is_believed = |until: &DateTime<Utc>| *until <= after(now, LONGEST_LIMIT);
    let asked = answer.retry_after_s;
    let asked = asked.map(|seconds| after(now, Duration::from_secs(seconds)));
    let reset = limit::blocked_until(&limit::believed(&answer.windows, now));
    reset.filter(is_believed).max(asked.filter(is_believed))
}

/// The moment that much later, or the last one that can be written.
fn after(moment: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait)
        .ok()
        .and_then(|delta| moment.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limit::{LimitClass, Window, WindowLength};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn verdict(code: &'static str, action: Action) -> Verdict {
        Verdict {
            code,
            action,
            hint: "",
        }
    }

    fn paces() -> impl Strategy<Value = Pace> {
        prop_oneof![Just(Pace::Normal), Just(Pace::Limit), Just(Pace::Slow)]
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings: Vec<u64> = (0..8)
            .map(|n| backoff(n, Duration::from_secs(4), Duration::from_secs(100), 1.0).as_secs())
            .collect();
        assert_eq!(ceilings, [4, 4, 8, 16, 32, 64, 100, 100]);
    }

    #[test]
    fn an_unexplained_refusal_is_worth_one_slow_repeat() {
        let unexplained = verdict("forbidden", Action::RetrySlowly);
        assert_eq!(Pace::of(&unexplained), Pace::Slow);
        assert!(!is_exhausted(&unexplained, 1, 1, 8));
        assert!(is_exhausted(&unexplained, 2, 2, 8));
        assert!(
            !is_exhausted(&unexplained, 4, 1, 8),
            "other faults do not use it up"
        );
        assert!(is_exhausted(&unexplained, 1, 1, 1));
        let passing = verdict("x_unavailable", Action::Retry);
        assert!(!is_exhausted(&passing, 7, 7, 8));
        assert!(is_exhausted(&passing, 8, 1, 8));
    }

    #[test]
    fn a_daily_limit_without_a_reset_is_waited_for_slowly() {
        assert_eq!(
            Pace::of(&verdict("daily_limit", Action::WaitForLimit)),
            Pace::Slow
        );
        assert_eq!(
            Pace::of(&verdict("rate_limited", Action::WaitForLimit)),
            Pace::Limit
        );
    }

    #[test]
    fn a_limit_is_waited_for_to_its_reset_and_no_longer() {
        let next = next_attempt(7, at(1_000), Some(at(1_900)), Pace::Limit, 1.0);
        assert_eq!(next, at(1_900) + RESET_MARGIN + RESET_SPREAD);
    }

    #[test]
    fn a_limit_without_a_reset_waits_a_minute_at_least() {
        assert_eq!(next_attempt(1, at(0), None, Pace::Limit, 0.0), at(60));
    }

    #[test]
    fn waits_for_a_limit_without_a_reset_grow_to_an_hour() {
        let mins = |random| {
            (0..9)
                .map(|n| limit_wait(n, random).as_secs() / 60)
                .collect::<Vec<_>>()
        };
        assert_eq!(mins(0.0), [1, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(mins(1.0), [2, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn the_later_of_reset_and_retry_after_holds() {
        let window = Window {
            class: LimitClass::Account,
            length: WindowLength::QuarterHour,
            limit: Some(100),
            remaining: Some(0),
            resets_at: at(500),
        };
        let mut answer = Answer {
            windows: vec![window],
            ..Answer::default()
        };
        assert_eq!(not_before(&answer, at(100)), Some(at(500)));
        answer.retry_after_s = Some(600);
        assert_eq!(not_before(&answer, at(100)), Some(at(700)));
        answer.retry_after_s = Some(10);
        assert_eq!(not_before(&answer, at(100)), Some(at(500)));
        assert_eq!(not_before(&Answer::default(), at(100)), None);
        answer.retry_after_s = Some(u64::MAX);
        assert_eq!(
            not_before(&answer, at(100)),
            Some(at(500)),
            "nobody waits for ever"
        );
        answer.windows.clear();
        assert_eq!(not_before(&answer, at(100)), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_its_ceiling(
            attempt: u32, base_ms: u64, cap_ms: u64, random in any::<f64>(),
        ) {
            let (base, cap) = (Duration::from_millis(base_ms), Duration::from_millis(cap_ms));
            let wait = backoff(attempt, base, cap, random);
            prop_assert!(wait <= cap);
            prop_assert!(wait <= backoff(attempt, base, cap, 1.0));
            prop_assert!(backoff(attempt, base, cap, 1.0) <= backoff(attempt.saturating_add(1), base, cap, 1.0));
            prop_assert_eq!(backoff(attempt, base, cap, 0.0), Duration::ZERO);
        }

        #[test]
        fn the_jitter_is_full(attempt in 1_u32..40, random in 0.0_f64..=1.0) {
            let whole = backoff(attempt, NORMAL_BASE, NORMAL_CAP, 1.0).as_secs_f64();
            let wait = backoff(attempt, NORMAL_BASE, NORMAL_CAP, random).as_secs_f64();
            prop_assert!((wait - whole * random).abs() < 1e-6);
        }

        #[test]
        fn no_attempt_comes_before_the_reset_or_before_its_pace(
            attempt: u32, now in 0_i64..4_000_000_000, wait in -100_000_i64..100_000, pace in paces(), random in any::<f64>(),
        ) {
            let (now, reset) = (at(now), at((now + wait).max(0)));
            let next = next_attempt(attempt, now, Some(reset), pace, random);
            let latest = now.max(reset) + RESET_MARGIN + RESET_SPREAD + pace.floor() + pace.jitter().1;
            prop_assert!(next >= now && next <= latest);
            prop_assert!(next > reset || reset <= now);
            prop_assert!(next >= now + pace.floor() || (pace == Pace::Limit && reset > now));
            let alone = next_attempt(attempt, now, None, pace, random);
            prop_assert!(alone >= now + pace.floor() && alone <= now + pace.floor() + pace.jitter().1);
        }

        #[test]
        fn the_end_of_time_is_no_panic(attempt: u32, pace in paces(), random in any::<f64>()) {
            let last = DateTime::<Utc>::MAX_UTC;
            prop_assert_eq!(next_attempt(attempt, last, Some(last), pace, random), last);
            prop_assert_eq!(next_attempt(attempt, at(0), Some(last), pace, random), last);
        }
    }
}
