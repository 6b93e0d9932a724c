//! Rate limit windows as X's headers state them.
//!
//! **Invariant:** the time to wait comes from X's own reset, never from a constant of ours; a reset that no window of X can
//! have (milliseconds for seconds, a gateway gone mad) closes nothing.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Whom a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitClass {
    /// The acting account (X's "user").
    Account,
    /// The developer app, over all its accounts.
    App,
}

impl LimitClass {
    /// The word used in tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::App => "app",
        }
    }
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowLength {
    /// The 15-minute window of `x-rate-limit-*`.
    QuarterHour,
    /// The 24-hour window of `x-user-limit-24hour-*` and `x-app-limit-24hour-*`.
    Day,
}

impl WindowLength {
    /// The word used in tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QuarterHour => "15min",
            Self::Day => "24h",
        }
    }

    /// How far off its reset may be to be believed, in seconds: several times its length, since clocks differ.
    pub const fn most_s(self) -> u32 {
        match self {
            Self::QuarterHour => 86_400,
            Self::Day => 3 * 86_400,
        }
    }
}

/// One window of one endpoint, as the headers of an answer state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Whom it counts.
    pub class: LimitClass,
    /// How long it is.
    pub length: WindowLength,
    /// Calls allowed in the window, if X said.
    pub limit: Option<i64>,
    /// Calls left, if X said.
    pub remaining: Option<i64>,
    /// When X starts it anew.
    pub resets_at: DateTime<Utc>,
}

impl Window {
    /// Whether no call is left in it.
    pub fn is_exhausted(&self) -> bool {
        self.remaining.is_some_and(|left| left <= 0)
    }
}

/// Those of the windows whose reset can be true at `now`.
pub fn believed(windows: &[Window], now: DateTime<Utc>) -> Vec<Window> {
    let is_near = |window: &&Window| {
        let most = TimeDelta::seconds(window.length.most_s().into());
        window.resets_at.signed_duration_since(now) <= most
    };
    windows.iter().filter(is_near).copied().collect()
}

/// When an exhausted endpoint may be called again: the latest reset of its exhausted windows (a 429 of the daily
/// window comes with calls left in the short one). `None` if no window is exhausted.
pub fn blocked_until(windows: &[Window]) -> Option<DateTime<Utc>> {
    windows
        .iter()
        .filter(|w| w.is_exhausted())
        .map(|w| w.resets_at)
        .max()
}

/// When the period of a usage cap ends, by UTC: X's `Daily` or `Monthly`, in any case. `None` for any other word.
pub fn period_end(now: DateTime<Utc>, period: &str) -> Option<DateTime<Utc>> {
    let today = now.date_naive();
    let next = if period.eq_ignore_ascii_case("daily") {
        today.checked_add_days(Days::new(1))?
    } else if period.eq_ignore_ascii_case("monthly") {
        today.with_day(1)?.checked_add_months(Months::new(1))?
    } else {
        return None;
    };
    Some(next.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_cap_ends_with_its_period_by_utc() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-12-31T23:59:59Z");
        assert_eq!(period_end(now, "Daily"), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(period_end(now, "monthly"), Some(at("2027-01-01T00:00:00Z")));
        let leap = at("2028-02-01T00:00:00Z");
        assert_eq!(
            period_end(leap, "Monthly"),
            Some(at("2028-03-01T00:00:00Z"))
        );
        assert_eq!(period_end(leap, "DAILY"), Some(at("2028-02-02T00:00:00Z")));
        assert_eq!(period_end(now, "Yearly"), None);
        assert_eq!(period_end(now, ""), None);
        assert_eq!(period_end(DateTime::<Utc>::MAX_UTC, "Monthly"), None);
    }

    fn window(remaining: i64, reset_s: i64) -> Window {
        Window {
            class: LimitClass::Account,
            length: WindowLength::QuarterHour,
            limit: Some(100),
            remaining: Some(remaining),
            resets_at: DateTime::from_timestamp(reset_s, 0).unwrap(),
        }
    }

    #[test]
    fn the_latest_reset_of_the_exhausted_windows_counts() {
        let until = blocked_until(&[window(0, 50), window(0, 70), window(5, 900)]);
        assert_eq!(until, DateTime::from_timestamp(70, 0));
    }

    #[test]
    fn a_reset_that_no_window_can_have_is_not_believed() {
        let now = DateTime::from_timestamp(1_780_000_000, 0).unwrap();
        let at = |length, seconds| Window {
            length,
            resets_at: DateTime::from_timestamp(seconds, 0).unwrap(),
            ..window(0, 0)
        };
        let (short, day) = (WindowLength::QuarterHour, WindowLength::Day);
        let fine = [
            at(short, 0),
            at(short, 1_780_000_900),
            at(short, 1_780_086_400),
            at(day, 1_780_259_200),
        ];
        // Milliseconds, the year 9999, an hour too long.
        let not = [
            at(short, 1_780_086_401),
            at(day, 1_780_000_000_000),
            at(day, 253_402_300_799),
            at(day, 1_780_262_800),
        ];
        assert_eq!(believed(&[fine, not].concat(), now), fine);
    }

    #[test]
    fn calls_left_block_nothing() {
        assert_eq!(blocked_until(&[window(1, 50)]), None);
    }
}
