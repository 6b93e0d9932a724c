//! This machine's clock, to compare with the database's.
//!
//! **Invariant:** nothing is decided by it: it only shows how far the two are apart.

use chrono::{DateTime, TimeDelta, Utc};

/// The host's time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that compares this machine's clock with the database's"
)]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// How far the database's clock is ahead of ours, read between two looks at ours.
pub(crate) fn skew(
    before: DateTime<Utc>,
    theirs: DateTime<Utc>,
    after: DateTime<Utc>,
) -> TimeDelta {
    theirs - (before + (after - before) / 2)
}
