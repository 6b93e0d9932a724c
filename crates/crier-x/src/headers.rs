//! What the headers of an answer state: limit windows, the time to wait, the server's clock.
//!
//! **Invariant:** a header that is not understood is ignored; none can make an answer unreadable.

use chrono::{DateTime, Utc};
use crier_core::limit::{LimitClass, Window, WindowLength};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The header families that X's answers carry: prefix, whom it counts, how long. The calls here all speak for an
/// account, so the short window is the account's.
const FAMILIES: [(&str, LimitClass, WindowLength); 4] = [
    (
        "x-rate-limit",
        LimitClass::Account,
        WindowLength::QuarterHour,
    ),
    (
        "x-user-limit-24hour",
        LimitClass::Account,
        WindowLength::Day,
    ),
    ("x-app-limit-24hour", LimitClass::App, WindowLength::Day),
    // v1.1: the account's media of a day.
    ("x-mediaratelimit", LimitClass::Account, WindowLength::Day),
];

/// Every window that names its reset; one without a reset cannot be waited for.
pub(crate) fn windows(headers: &HeaderMap) -> Vec<Window> {
    FAMILIES
        .into_iter()
        .filter_map(|(prefix, class, length)| {
            let resets_at =
                DateTime::from_timestamp(number(headers, &format!("{prefix}-reset"))?, 0)?;
            let limit = number(headers, &format!("{prefix}-limit"));
            let remaining = number(headers, &format!("{prefix}-remaining"));
            Some(Window {
                class,
                length,
                limit,
                remaining,
                resets_at,
            })
        })
        .collect()
}

/// The server's clock when it answered.
pub(crate) fn server_date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// `Retry-After` in seconds: either form of RFC 9110, a date being measured by the server's own clock.
pub(crate) fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let wait = http_date(text)?.signed_duration_since(server_date(headers)?);
    Some(u64::try_from(wait.num_seconds()).unwrap_or(0))
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.to_utc())
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn each_family_becomes_its_window() {
        let found = windows(&map(&[
            ("x-rate-limit-limit", "100"),
            ("x-rate-limit-remaining", "99"),
            ("x-rate-limit-reset", "1780000000"),
            ("x-user-limit-24hour-limit", "17"),
            ("x-user-limit-24hour-remaining", "0"),
            ("x-user-limit-24hour-reset", "1780000001"),
            ("x-app-limit-24hour-reset", "1780000002"),
        ]));
        let window = |class, length, limit, remaining, reset| Window {
            class,
            length,
            limit,
            remaining,
            resets_at: DateTime::from_timestamp(reset, 0).unwrap(),
        };
        assert_eq!(
            found,
            [
                window(
                    LimitClass::Account,
                    WindowLength::QuarterHour,
                    Some(100),
                    Some(99),
                    1_780_000_000
                ),
                window(
                    LimitClass::Account,
                    WindowLength::Day,
                    Some(17),
                    Some(0),
                    1_780_000_001
                ),
                window(
                    LimitClass::App,
                    WindowLength::Day,
                    None,
                    None,
                    1_780_000_002
                ),
            ]
        );
    }

    #[test]
    fn a_window_without_a_readable_reset_is_none() {
        for reset in [
            "",
            "soon",
            "99999999999999999999",
            "9223372036854775807",
            "1.5",
        ] {
            assert_eq!(
                windows(&map(&[
                    ("x-rate-limit-remaining", "0"),
                    ("x-rate-limit-reset", reset)
                ])),
                []
            );
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after_s(&map(&[("retry-after", "120")])), Some(120));
        assert_eq!(
            retry_after_s(&map(&[
                date,
                ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")
            ])),
            Some(30)
        );
        assert_eq!(
            retry_after_s(&map(&[
                date,
                ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")
            ])),
            Some(0)
        );
        assert_eq!(
            retry_after_s(&map(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")])),
            None
        );
        assert_eq!(retry_after_s(&map(&[("retry-after", "-3")])), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_fail(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for name in ["x-rate-limit-reset", "x-rate-limit-limit", "date", "retry-after"] {
                    headers.insert(name.parse::<HeaderName>().unwrap(), value.clone());
                }
            }
            let _ = (windows(&headers), server_date(&headers), retry_after_s(&headers));
        }
    }
}
