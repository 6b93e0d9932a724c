//! This machine: its name, and its clock to compare with the database's.
//!
//! **Invariant:** nothing is decided by them: they only show where a process runs and how far the clocks are apart.

use chrono::{DateTime, TimeDelta, Utc};

/// Clocks that are further apart than this, in seconds, are told of.
pub(crate) const MOST_SKEW_S: f64 = 2.0;

/// How this machine's clock stands to the database's, which is ahead by so many seconds.
pub(crate) fn apart(skew_s: f64) -> String {
    let side = if skew_s > 0.0 { "behind" } else { "ahead of" };
    format!("{} {side}", crate::screen::span(skew_s.abs()))
}

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

/// Its name, as the kernel or its file says.
pub(crate) fn name() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Room in a folder that an ordinary user may fill, in bytes; nothing if the folder cannot be asked.
pub(crate) fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}
