//! What was called, and counts of it.
//!
//! Invariant: memory is bounded: the newest calls are kept whole, counts are kept for ever, bodies
//! never. A call is noted when it arrives and completed when it is answered, so that calls still
//! under way are seen too.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

/// Calls that are kept; older ones only count.
const KEPT: usize = 200_000;

/// One call, as `GET /_sim/requests` shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) method: String,
    /// Path with its query, as called.
    pub(crate) path: String,
    /// Route as the spec writes it; null for paths that X does not have.
    pub(crate) route: Option<&'static str>,
    /// Handle of the caller as far as the token tells, valid or not.
    pub(crate) account: Option<String>,
    /// Status of the answer, or that of the deed if the answer was lost; 0 while under way, and for
    /// ever if nothing was done.
    pub(crate) status: u16,
    pub(crate) received_at_us: i64,
    /// Kind of the fault that hit it.
    pub(crate) fault: Option<&'static str>,
    /// The header of W3C Trace Context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    /// For append: the number of the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) segment_index: Option<u32>,
    /// For append: the size of the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

/// Calls in the order of arrival, and counts.
#[derive(Debug, Default)]
pub(crate) struct Records {
    calls: VecDeque<Record>,
    /// Number of the first call in `calls`.
    first: u64,
    by_route: BTreeMap<String, BTreeMap<u16, u64>>,
    pub(crate) refreshes: u64,
    pub(crate) posts: u64,
    pub(crate) appends: u64,
    pub(crate) resent_segments: u64,
}

impl Records {
    /// An empty list whose numbers go on from another's, so that a call that outlives a reset
    /// completes no other call's record.
    pub(crate) fn after(other: &Self) -> Self {
        Self {
            first: other.first + u64::try_from(other.calls.len()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// Notes an arrival and gives its number.
    pub(crate) fn open(&mut self, record: Record) -> u64 {
        if self.calls.len() == KEPT {
            self.calls.pop_front();
            self.first += 1;
        }
        self.calls.push_back(record);
        self.first + u64::try_from(self.calls.len()).unwrap_or(u64::MAX) - 1
    }

    /// The call of that number, unless it is too old.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Record> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.calls.get_mut(at)
    }

    /// Notes the status and counts it. A status of 0 stands for "no answer and no deed".
    pub(crate) fn close(&mut self, number: u64, status: u16) {
        let Some(record) = self.get_mut(number) else {
            return;
        };
        record.status = status;
        let route = record
            .route
            .map_or_else(|| "other".to_owned(), str::to_owned);
        *self
            .by_route
            .entry(route)
            .or_default()
            .entry(status)
            .or_default() += 1;
    }

    /// The kept calls, oldest first.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Record> {
        self.calls.iter()
    }

    /// Counts per route and status.
    pub(crate) fn by_route(&self) -> &BTreeMap<String, BTreeMap<u16, u64>> {
        &self.by_route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            method: "GET".to_owned(),
            path: "/2/users/me".to_owned(),
            route: Some("GET /2/users/me"),
            account: None,
            status: 0,
            received_at_us: 0,
            fault: None,
            traceparent: None,
            segment_index: None,
            bytes: None,
        }
    }

    #[test]
    fn a_call_that_outlives_a_reset_completes_no_other() {
        let mut old = Records::default();
        let under_way = old.open(record());
        let mut new = Records::after(&old);
        new.open(record());
        new.close(under_way, 200);
        assert_eq!(new.list().next().unwrap().status, 0);
    }

    #[test]
    fn memory_is_bounded_and_counts_are_not() {
        let mut records = Records::default();
        let first = records.open(record());
        records.close(first, 200);
        for _ in 0..KEPT {
            let number = records.open(record());
            records.close(number, 200);
        }
        assert_eq!(records.list().count(), KEPT);
        assert!(records.get_mut(first).is_none());
        let total = u64::try_from(KEPT).unwrap() + 1;
        assert_eq!(records.by_route()["GET /2/users/me"][&200], total);
    }
}
