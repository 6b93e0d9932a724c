//! Readings of the database as metrics show them, and whether this process can work.
//!
//! **Invariant:** a word of the database that no metric knows is left out, never guessed at.

use std::time::Duration;

use crier_core::answer::Endpoint;
use crier_core::limit::{LimitClass, WindowLength};
use crier_core::price::Priced;
use crier_metrics::{
    AccountStatus, AppStatus, BoxFuture, Counts, Folder, Gather, HotTable, JobEnd, Label,
    LeasePhase, LimitReading, Metrics, Missing, OpenState, Reading, Ready, SourceError,
};
use crier_store::{Readings, SchemaState, Store, WindowReading};

use crate::host;

/// The database, as the exporter asks it.
pub(crate) struct Database {
    /// Where to ask.
    pub(crate) store: Store,
    /// For what is known here alone: the pool, the clocks, the disks.
    pub(crate) metrics: Metrics,
    /// Folders that need room.
    pub(crate) folders: Vec<(Folder, std::path::PathBuf)>,
}

impl Gather for Database {
    fn gather(&self) -> BoxFuture<'_, Result<Reading, SourceError>> {
        Box::pin(async {
            let before = host::now();
            let readings = self.store.readings().await?;
            let skew = host::skew(before, readings.server_time, host::now());
            self.metrics.db_clock_skew(skew.as_seconds_f64());
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let (used, idle) = self.store.pool_use();
            self.metrics.db_pool(count(idle), count(used));
            for (folder, path) in &self.folders {
                if let Some(free) = host::free_bytes(path) {
                    self.metrics.disk_free(*folder, free);
                }
            }
            Ok(reading(&readings))
        })
    }
}

impl Ready for Database {
    fn missing(&self) -> BoxFuture<'_, Vec<Missing>> {
        Box::pin(async {
            let missing = |what: &str, why: String| {
                vec![Missing {
                    what: what.to_owned(),
                    why,
                }]
            };
            match self.store.schema_state().await {
                Ok(SchemaState::Current | SchemaState::Newer { .. }) => {
                    match self.store.takes_writes().await {
                        Ok(true) if self.metrics.db_fails("claim") => missing(
                            "database",
                            "jobs cannot be claimed: the log says why, and `crier doctor` perhaps more".to_owned(),
                        ),
                        Ok(true) if self.metrics.db_fails("lead") => missing(
                            "database",
                            "the scheduler cannot write: the log says why, and `crier doctor` perhaps more".to_owned(),
                        ),
                        Ok(true) => Vec::new(),
                        Ok(false) => missing(
                            "database",
                            "it takes no writes: it is a standby, or default_transaction_read_only is on; nothing is published until it does".to_owned(),
                        ),
                        Err(error) => missing("database", error.to_string()),
                    }
                }
                Ok(SchemaState::Older { database, program }) => missing(
                    "schema",
                    format!(
                        "it is at version {database}, this program needs {program}: run `crier migrate`"
                    ),
                ),
                Err(error) => missing("database", error.to_string()),
            }
        })
    }
}

fn reading(from: &Readings) -> Reading {
    let totals = &from.totals;
    Reading {
        jobs_ended: [
            (JobEnd::Published, totals.published),
            (JobEnd::Failed, totals.failed),
            (JobEnd::Cancelled, totals.cancelled),
            (JobEnd::Missed, totals.missed),
        ]
        .map(|(end, count)| (end, natural(count)))
        .into_iter()
        .collect(),
        jobs_inserted: natural(totals.inserted),
        jobs_open: [
            (OpenState::Scheduled, totals.scheduled),
            (OpenState::Paused, totals.paused),
            (OpenState::Unknown, totals.unknown),
        ]
        .map(|(state, count)| (state, natural(count)))
        .into_iter()
        .collect(),
        due_unpublished: natural(from.due),
        oldest_due_age: from.oldest_due_s.map(seconds),
        unknown_open: natural(totals.unknown),
        leases_held: leases(&from.leases),
        accounts: from
            .accounts
            .iter()
            .filter_map(|(status, count)| Some((AccountStatus::parse(status)?, natural(*count))))
            .collect(),
        apps: from
            .apps
            .iter()
            .filter_map(|(status, count)| Some((AppStatus::parse(status)?, natural(*count))))
            .collect(),
        costs_micro_usd: from
            .costs
            .iter()
            .filter_map(|cost| {
                let kind = <Priced as Label>::parse(&cost.kind)?;
                Some((kind, natural(cost.micro_usd)))
            })
            .collect(),
        signals_backlog: natural(from.signals),
        db_dead_rows: from
            .dead_rows
            .iter()
            .filter_map(|(table, count)| Some((HotTable::parse(table)?, natural(*count))))
            .collect(),
        webhooks_waiting: natural(from.webhooks_waiting),
        webhooks_dead: natural(from.webhooks_dead),
        db_oldest_transaction: seconds(from.oldest_transaction_s),
        token_expiry_seconds: from.token_expiry_s,
        limits: from.windows.iter().filter_map(limit).collect(),
    }
}

fn leases(held: &[(String, String, i64)]) -> Counts<LeasePhase> {
    held.iter()
        .filter_map(|(kind, phase, count)| {
            let phase = match kind.as_str() {
                "stage" => LeasePhase::Staging,
                "reconcile" => LeasePhase::Reconciling,
                "refresh" => LeasePhase::Refreshing,
                _ => LeasePhase::parse(phase)?,
            };
            Some((phase, natural(*count)))
        })
        .collect()
}

fn limit(window: &WindowReading) -> Option<LimitReading> {
    let class = [LimitClass::Account, LimitClass::App]
        .into_iter()
        .find(|class| class.as_str() == window.class)?;
    let length = [WindowLength::QuarterHour, WindowLength::Day]
        .into_iter()
        .find(|length| length.as_str() == window.length)?;
    Some(LimitReading {
        endpoint: <Endpoint as Label>::parse(&window.endpoint)?,
        class,
        window: length,
        remaining: natural(window.remaining),
        resets_in: seconds(window.resets_in_s),
    })
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crier_store::AppCost;

    use super::*;

    #[test]
    fn readings_become_metrics_and_strange_words_are_left_out() {
        let readings = Readings {
            due: 3,
            oldest_due_s: Some(1.5),
            leases: vec![
                ("publish".into(), "sending".into(), 2),
                ("stage".into(), "claimed".into(), 4),
                ("refresh".into(), "claimed".into(), 1),
            ],
            accounts: vec![("active".into(), 5), ("odd".into(), 9)],
            apps: vec![("budget_spent".into(), 2)],
            costs: vec![
                AppCost {
                    kind: "post_with_url".into(),
                    micro_usd: 400_000,
                },
                AppCost {
                    kind: "of_another_version".into(),
                    micro_usd: 1,
                },
            ],
            windows: vec![
                WindowReading {
                    endpoint: "POST /2/tweets".into(),
                    class: "account".into(),
                    length: "24h".into(),
                    remaining: 7,
                    resets_in_s: 60.0,
                },
                WindowReading {
                    endpoint: "GET /elsewhere".into(),
                    class: "account".into(),
                    length: "24h".into(),
                    remaining: 7,
                    resets_in_s: 60.0,
                },
            ],
            ..Readings::default()
        };
        let reading = reading(&readings);
        assert_eq!(reading.leases_held.get(LeasePhase::Sending), 2);
        assert_eq!(reading.leases_held.get(LeasePhase::Staging), 4);
        assert_eq!(reading.leases_held.get(LeasePhase::Claimed), 0);
        assert_eq!(reading.accounts.get(AccountStatus::Active), 5);
        assert_eq!(reading.apps.get(AppStatus::BudgetSpent), 2);
        assert_eq!(
            reading.costs_micro_usd,
            Counts::from_iter([(Priced::PostWithUrl, 400_000)])
        );
        assert_eq!(reading.oldest_due_age, Some(Duration::from_millis(1_500)));
        let [window] = &reading.limits[..] else {
            panic!("{:?}", reading.limits)
        };
        assert_eq!(
            (window.endpoint, window.window, window.remaining),
            (Endpoint::CreatePost, WindowLength::Day, 7)
        );
    }
}
