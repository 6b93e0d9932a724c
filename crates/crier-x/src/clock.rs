//! X's clock, as its answers state it: signatures of OAuth 1.0a are judged by that one, not by this machine's.
//!
//! **Invariant:** a signature states X's time as far as it is known, however far off this machine's clock is or jumps; a
//! difference of seconds is left to X's own slack.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::auth::Chance;

/// Seconds between a signature and X's clock below which nothing is corrected: X bears five minutes (x-api.md 2.1), and a
/// `Date` header is as old as the answer took.
const BORNE_S: i64 = 60;

/// What is known of X's clock, shared by the clones of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct XClock(Arc<Mutex<Option<(i64, Instant)>>>);

impl XClock {
    /// X's time, or a better witness's than this machine's clock, at this moment.
    pub(crate) fn told(&self, now: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now.timestamp(), Instant::now()));
    }

    /// What a signature is to state where this machine's clock shows `own_s`.
    fn correct(&self, own_s: i64) -> i64 {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((then_s, at)) = known else {
            return own_s;
        };
        let theirs_s = then_s.saturating_add(passed_s(at));
        if theirs_s.abs_diff(own_s) > BORNE_S.unsigned_abs() {
            theirs_s
        } else {
            own_s
        }
    }
}

/// Measured, not read: this machine's clock may have jumped since.
fn passed_s(at: Instant) -> i64 {
    i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX)
}

/// The source of nonces with the corrected clock; remembers what a signature was given.
#[derive(Debug)]
pub(crate) struct Corrected<'a> {
    pub(crate) chance: &'a dyn Chance,
    pub(crate) clock: &'a XClock,
    pub(crate) signed_s: Mutex<Option<i64>>,
}

impl Chance for Corrected<'_> {
    fn nonce(&self) -> String {
        self.chance.nonce()
    }

    fn unix_time_s(&self) -> i64 {
        let stated = self.clock.correct(self.chance.unix_time_s());
        *self.signed_s.lock().unwrap_or_else(PoisonError::into_inner) = Some(stated);
        stated
    }
}

impl Corrected<'_> {
    /// The time that the call's signature states; `None` if it has none.
    pub(crate) fn signed_s(&self) -> Option<i64> {
        *self.signed_s.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Words for a 401 of a signature that another clock dated: X often says only that it cannot authenticate.
pub(crate) fn out_of_bounds(signed_s: i64, date: DateTime<Utc>) -> Option<String> {
    let off = signed_s.saturating_sub(date.timestamp());
    (off.unsigned_abs() > BORNE_S.unsigned_abs()).then(|| {
        format!(
            "timestamp out of bounds: the signature was dated {} s {} X's clock",
            off.unsigned_abs(),
            if off > 0 { "ahead of" } else { "behind" }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_minutes_off_is_corrected_and_seconds_are_left() {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        let clock = XClock::default();
        assert_eq!(clock.correct(1_000), 1_000, "nothing is known yet");
        clock.told(at(10_000));
        assert_eq!(clock.correct(9_941), 9_941);
        assert!((10_000..10_030).contains(&clock.correct(9_000)), "behind");
        assert!(
            (10_000..10_030).contains(&clock.correct(96_400)),
            "a day ahead"
        );
        assert_eq!(out_of_bounds(10_050, at(10_000)), None);
        assert!(
            out_of_bounds(10_420, at(10_000))
                .unwrap()
                .contains("420 s ahead of")
        );
        assert!(
            out_of_bounds(9_580, at(10_000))
                .unwrap()
                .contains("420 s behind")
        );
    }
}
