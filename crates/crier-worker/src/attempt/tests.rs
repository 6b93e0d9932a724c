//! How long an outcome is written for, and when a call has surely arrived.

use backon::BackoffBuilder;

use super::*;

#[test]
fn what_x_accepted_is_written_however_long_the_database_is_away() {
    let waits: Vec<_> = lasting().build().take(10_000).collect();
    assert_eq!(waits.len(), 10_000);
    let most = waits.iter().max();
    assert!(
        most <= Some(&Duration::from_secs(2)),
        "soon after it is back: {most:?}"
    );
}

#[test]
fn a_call_has_arrived_before_its_lease_ends_or_never_will() {
    let base = || "http://127.0.0.1:1".parse().unwrap();
    let mut x = XConfig::new(base(), base());
    for (connect_s, call_s) in [(10, 30), (10, 10), (60, 4), (1, 30), (0, 1), (100, 120)] {
        x.connect_timeout = Duration::from_secs(connect_s);
        x.timeout = Duration::from_secs(call_s);
        let margin = x.timeout + SKEW_ALLOWANCE;
        assert!(latest_arrival(&x) < margin, "{x:?}");
        // The same when the answer is waited for to its end.
        assert!(latest_departure(&x) < margin);
    }
}
