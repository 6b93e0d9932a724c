//! The simulator's clock: the machine's time plus an offset that a test may move.
//!
//! Invariant: expiry, limit windows, ids, timestamps of signatures and `received_at_us` all read this
//! clock and no other, so that one call to `POST /_sim/clock` moves the whole of X.

use std::time::{SystemTime, UNIX_EPOCH};

/// Latest time that may be set (2084-01-29): later ones give ids of more than 19 digits, which X's
/// id pattern `^[0-9]{1,19}$` excludes.
pub(crate) const LATEST_US: i64 = 3_600_000_000_000_000;

/// Microseconds in a second.
pub(crate) const SECOND_US: i64 = 1_000_000;

/// Time as X sees it, in microseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    offset_us: i64,
}

impl SimClock {
    /// The time now.
    pub(crate) fn now_us(&self) -> i64 {
        wall_us().saturating_add(self.offset_us)
    }

    /// Moves the clock by `by_us`, which may be negative; false if that leaves the allowed range.
    pub(crate) fn advance_us(&mut self, by_us: i64) -> bool {
        self.set_us(self.now_us().saturating_add(by_us))
    }

    /// Sets the clock; it goes on running from there. False if `to_us` is out of range.
    pub(crate) fn set_us(&mut self, to_us: i64) -> bool {
        if !(0..=LATEST_US).contains(&to_us) {
            return false;
        }
        self.offset_us = to_us.saturating_sub(wall_us());
        true
    }
}

/// Whole seconds since the epoch, rounded down.
pub(crate) fn seconds(us: i64) -> i64 {
    us.div_euclid(SECOND_US)
}

/// A span in seconds as microseconds, saturating.
pub(crate) fn seconds_us(seconds: u64) -> i64 {
    i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(SECOND_US)
}

/// A span in milliseconds as microseconds, saturating.
pub(crate) fn millis_us(millis: u64) -> i64 {
    i64::try_from(millis)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is X, a foreign machine with a clock of its own"
)]
fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |span| {
            i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_and_goes_on_running() {
        let mut clock = SimClock::default();
        assert!(clock.set_us(1_000_000_000_000_000));
        let first = clock.now_us();
        assert!((1_000_000_000_000_000..1_000_000_010_000_000).contains(&first));
        assert!(clock.advance_us(3_600 * SECOND_US));
        assert!(clock.now_us() >= first + 3_600 * SECOND_US);
    }

    #[test]
    fn it_refuses_times_whose_ids_x_could_not_write() {
        let mut clock = SimClock::default();
        assert!(!clock.set_us(LATEST_US + 1));
        assert!(!clock.set_us(-1));
    }
}
