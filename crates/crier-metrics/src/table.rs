//! The one table of metrics: field name = metric name, doc comment = HELP.
//!
//! **Invariant:** a metric is declared by one row here; the registry, the exposition, `docs/METRICS.md` and the
//! tests of the naming rules all read this row.
//!
//! Rows marked `Database` describe the whole installation and are set only from a [`crate::Reading`]; rows marked
//! `Process` describe this process alone.

use std::fmt::Write as _;

use crier_core::answer::Endpoint;
use crier_core::price::Priced;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::labels::{
    AccountStatus, AppStatus, CheckEnd, HookEnd, HotTable, JobEnd, Label, LeasePhase, OpenState,
    PoolState, RefreshEnd, ReloadEnd, SlotEnd, UnknownEnd, UploadEnd,
};

/// Where the value of a metric comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Counted by this process: sum over processes.
    Process,
    /// Read from Postgres: the same in every process, so take the maximum over them.
    Database,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    help: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) source: Source,
    pub(crate) labels: &'static [&'static str],
    buckets: &'static [f64],
    values: fn() -> Vec<&'static str>,
}

impl Spec {
    pub(crate) fn help(&self) -> &'static str {
        self.help.trim()
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help())
    }

    fn histogram_opts(&self) -> HistogramOpts {
        HistogramOpts::from(self.opts()).buckets(self.buckets.to_vec())
    }
}

/// A metric that can be made from its row.
trait Declare: Sized {
    const KIND: &'static str;

    /// Makes and registers it; fails only when two rows clash.
    fn declare(spec: &Spec, registry: &Registry) -> prometheus::Result<Self>;

    /// The values of its label, if their set is closed.
    fn values() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A metric with one label whose values are known: each series exists from the start.
#[derive(Debug, Clone)]
pub(crate) struct By<M, L> {
    series: Vec<(L, M)>,
}

impl<M, L: Label> By<M, L> {
    /// The series of one value.
    pub(crate) fn at(&self, value: L) -> &M {
        let series = self.series.iter().find(|(known, _)| *known == value);
        &series.expect("`Label::ALL` lists every value").1
    }
}

macro_rules! declare {
    ($($plain:ident, $vec:ident, $kind:literal, $opts:ident;)+) => {$(
        impl Declare for $plain {
            const KIND: &'static str = $kind;

            fn declare(spec: &Spec, registry: &Registry) -> prometheus::Result<Self> {
                let metric = $plain::with_opts(spec.$opts())?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            }
        }

        impl Declare for $vec {
            const KIND: &'static str = $kind;

            fn declare(spec: &Spec, registry: &Registry) -> prometheus::Result<Self> {
                let metric = $vec::new(spec.$opts(), spec.labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            }
        }

        impl<L: Label> Declare for By<$plain, L> {
            const KIND: &'static str = $kind;

            fn declare(spec: &Spec, registry: &Registry) -> prometheus::Result<Self> {
                let vec = <$vec as Declare>::declare(spec, registry)?;
                let mut series = Vec::with_capacity(L::ALL.len());
                for value in L::ALL {
                    series.push((*value, vec.get_metric_with_label_values(&[value.as_str()])?));
                }
                Ok(Self { series })
            }

            fn values() -> Vec<&'static str> {
                L::ALL.iter().map(|value| value.as_str()).collect()
            }
        }
    )+};
}

declare! {
    IntCounter, IntCounterVec, "counter", opts;
    Counter, CounterVec, "counter", opts;
    IntGauge, IntGaugeVec, "gauge", opts;
    Gauge, GaugeVec, "gauge", opts;
    Histogram, HistogramVec, "histogram", histogram_opts;
}

/// From "on the second" to "the day is lost": a campaign minds one second, an outage is measured in hours.
const LATENESS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0,
];

/// One call to X: a create call takes tenths of a second, a segment of a video up to a minute.
const CALL: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// One step of the scheduler: index probes, so milliseconds unless something is wrong.
const STEP: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

macro_rules! table {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $kind:ty = $source:ident [$($label:literal),*] $($buckets:ident)?;
    )+) => {
        /// The handles of every metric.
        #[derive(Debug)]
        pub(crate) struct Table {
            $( $(#[doc = $help])+ pub(crate) $name: $kind, )+
        }

        /// Every row, in the order of declaration.
        pub(crate) const SPECS: &[Spec] = &[$(
            Spec {
                name: concat!("crier_", stringify!($name)),
                help: concat!($($help),+),
                kind: <$kind as Declare>::KIND,
                source: Source::$source,
                labels: &[$($label),*],
                buckets: table!(@buckets $($buckets)?),
                values: <$kind as Declare>::values,
            },
        )+];

        impl Table {
            /// Makes every metric and registers it; fails only when two rows clash.
            pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
                let mut specs = SPECS.iter();
                Ok(Self {$(
                    $name: {
                        let spec = specs.next().expect("`SPECS` has one row a field, in the same order");
                        Declare::declare(spec, registry)?
                    },
                )+})
            }
        }
    };
    (@buckets $buckets:ident) => { $buckets };
    (@buckets) => { &[] };
}

table! {
    /// Jobs that ended, by how.
    jobs_ended_total: By<IntCounter, JobEnd> = Database ["state"];
    /// Jobs that were inserted, by anybody.
    jobs_inserted_total: IntCounter = Database [];
    /// Jobs that have not ended, by state.
    jobs_open: By<IntGauge, OpenState> = Database ["state"];
    /// Jobs whose time has come and that are not published yet.
    due_unpublished: IntGauge = Database [];
    /// How long the oldest job that is due has been waiting; 0 when none is.
    oldest_due_age_seconds: Gauge = Database [];
    /// From the time a post was due to X accepting it.
    lateness_seconds: Histogram = Process [] LATENESS;
    /// Attempts to publish that ended, by outcome and by stable code of the reason (`none` when there is nothing
    /// to explain).
    attempts_total: IntCounterVec = Process ["outcome", "code"];

    /// Calls to X, by endpoint, HTTP status (`none` when no answer came) and stable code of the fault.
    x_requests_total: IntCounterVec = Process ["endpoint", "status", "code"];
    /// From sending a call to X to its whole answer, or to giving up.
    x_request_duration_seconds: By<Histogram, Endpoint> = Process ["endpoint"] CALL;
    /// Bytes of media that X acknowledged.
    upload_bytes_total: IntCounter = Process [];
    /// Segments of media that X acknowledged.
    upload_segments_total: IntCounter = Process [];
    /// Segments of media that had to be sent again.
    upload_segments_resent_total: IntCounter = Process [];
    /// Files whose staging ended, by how.
    uploads_total: By<IntCounter, UploadEnd> = Process ["result"];
    /// Calls that X still allows in the current window; of several accounts, the one with the fewest left.
    limit_remaining: IntGaugeVec = Database ["endpoint", "class", "window"];
    /// Time until X starts that window anew.
    limit_reset_seconds: GaugeVec = Database ["endpoint", "class", "window"];

    /// Time until the first access token of an active account expires; negative once it has, NaN without any.
    token_expiry_seconds: Gauge = Database [];
    /// Refreshes of access tokens, by result.
    token_refreshes_total: By<IntCounter, RefreshEnd> = Process ["result"];
    /// Accounts, by whether crier may publish for them.
    accounts: By<IntGauge, AccountStatus> = Database ["status"];
    /// Developer apps, by whether crier may publish through them.
    apps: By<IntGauge, AppStatus> = Database ["status"];
    /// What calls to X have cost, by kind of call and by the prices that crier is configured with.
    cost_usd_total: By<Counter, Priced> = Database ["kind"];

    /// Leases taken back from workers that went silent, by what they were doing.
    leases_expired_total: By<IntCounter, LeasePhase> = Process ["phase"];
    /// Results thrown away because the lease was no longer held.
    leases_lost_total: IntCounter = Process [];
    /// Leases held now, by what their holders are doing.
    leases_held: By<IntGauge, LeasePhase> = Database ["phase"];
    /// Posts of which nobody knows yet whether X has them.
    unknown_open: IntGauge = Database [];
    /// Unknown outcomes that were settled, by what settled them.
    unknown_settled_total: By<IntCounter, UnknownEnd> = Process ["how"];

    /// New jobs that were looked at ahead of their time, by what was found.
    checks_total: By<IntCounter, CheckEnd> = Process ["result"];
    /// Inserted rows that the scheduler has not taken into a lane yet.
    signals_backlog: IntGauge = Database [];
    /// Whether this process is the scheduler that leads: 1 or 0.
    scheduler_leader: IntGauge = Process [];
    /// How often this process won or lost the lead.
    scheduler_leader_changes_total: IntCounter = Process [];
    /// Duration of one step of the scheduler.
    scheduler_step_duration_seconds: HistogramVec = Process ["step"] STEP;
    /// Slots of recurring posts, by what became of them.
    recurring_slots_total: By<IntCounter, SlotEnd> = Process ["result"];

    /// Tries to deliver webhooks, by how they ended.
    webhook_tries_total: By<IntCounter, HookEnd> = Process ["result"];
    /// Webhooks that are still to be delivered.
    webhooks_waiting: IntGauge = Database [];
    /// Webhooks that were given up and are still kept.
    webhooks_dead: IntGauge = Database [];

    /// Times the settings were read anew on a SIGHUP, by what came of it.
    config_reloads_total: By<IntCounter, ReloadEnd> = Process ["result"];
    /// Settings that differ from those this process runs with, and wait for a restart.
    config_awaiting_restart: IntGauge = Process [];

    /// Posts and uploads that this worker has in hand.
    worker_inflight: IntGauge = Process [];
    /// The most that this worker takes in hand at once.
    worker_concurrency: IntGauge = Process [];

    /// Clock of the database less the clock of this process.
    db_clock_skew_seconds: Gauge = Process [];
    /// Connections of this process's pool, by what they are doing.
    db_pool_connections: By<IntGauge, PoolState> = Process ["state"];
    /// Age of the oldest transaction that is open in the database, as far as crier's user may see: one of hours keeps dead
    /// rows from being cleaned up, and its locks hold jobs back.
    db_oldest_transaction_age_seconds: Gauge = Database [];
    /// Rows that Postgres has not cleaned up yet, by its own estimate, of tables that change much.
    db_dead_rows: By<IntGauge, HotTable> = Database ["table"];
    /// Failed calls to the database, by operation.
    db_errors_total: IntCounterVec = Process ["operation"];
    /// Age of the last good reading behind every metric that is read from the database.
    db_reading_age_seconds: Gauge = Database [];
    /// Scrapes for which the database could not be read, so that its metrics are those of the last good reading.
    scrape_errors_total: IntCounter = Process [];
    /// Free room where this process keeps or reads files, as an ordinary user may use it.
    disk_free_bytes: IntGaugeVec = Process ["folder"];
    /// Always 1; the label is the version that runs.
    build_info: IntGaugeVec = Process ["version"];
}

/// The table of metrics as Markdown, for `docs/METRICS.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "A metric of a *process* is summed over processes. A metric of the *database* is the same in every process \
         that reads it, so take `max`, never `sum`; it is absent until the first reading.\n\n\
         | metric | kind | labels | of | meaning |\n|---|---|---|---|---|\n",
    );
    for spec in SPECS {
        let values = (spec.values)().join("`, `");
        let labels = match spec.labels {
            [] => String::new(),
            [label] if !values.is_empty() => format!("`{label}`: `{values}`"),
            labels => format!("`{}`", labels.join("`, `")),
        };
        let source = match spec.source {
            Source::Process => "process",
            Source::Database => "database",
        };
        writeln!(
            page,
            "| `{}` | {} | {labels} | {source} | {} |",
            spec.name,
            spec.kind,
            spec.help()
        )
        .expect("writing to a string cannot fail");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `prometheus.io/docs/practices/naming` and vector's instrumentation rules.
    fn fault(spec: &Spec) -> Option<&'static str> {
        let name = spec.name;
        let word = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let total = name.ends_with("_total");
        let derived = ["_count", "_sum", "_bucket"];
        let scaled = [
            "_ms",
            "milliseconds",
            "minutes",
            "hours",
            "kilobytes",
            "percent",
        ];
        match spec.kind {
            _ if !name.starts_with("crier_") => Some("wants the prefix"),
            _ if !word(name) || !spec.labels.iter().all(|label| word(label)) => {
                Some("wants a-z and _")
            }
            "counter" if !total => Some("a counter ends in `_total`"),
            "gauge" | "histogram" if total => Some("only a counter ends in `_total`"),
            "histogram" if !name.ends_with("_seconds") && !name.ends_with("_bytes") => {
                Some("wants a unit")
            }
            "histogram" if spec.buckets.is_empty() => Some("a histogram wants buckets"),
            _ if derived.iter().any(|end| name.ends_with(end)) => {
                Some("clashes with a histogram's series")
            }
            _ if scaled.iter().any(|unit| name.contains(unit)) => Some("wants a base unit"),
            _ if !spec.help().ends_with('.') || spec.help().len() < 15 => {
                Some("wants a sentence of HELP")
            }
            _ if spec.help().contains("  ") => Some("HELP has a double space"),
            _ => None,
        }
    }

    #[test]
    fn every_name_keeps_the_rules() {
        let faults: Vec<_> = SPECS
            .iter()
            .filter_map(|spec| Some((spec.name, fault(spec)?)))
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        let names: BTreeSet<_> = SPECS.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), SPECS.len());
    }

    #[test]
    fn no_label_can_hold_an_identity() {
        let allowed = [
            "class",
            "code",
            "endpoint",
            "folder",
            "how",
            "kind",
            "operation",
            "outcome",
            "phase",
            "result",
            "state",
            "status",
            "step",
            "table",
            "version",
            "window",
        ];
        for label in SPECS.iter().flat_map(|spec| spec.labels) {
            assert!(
                allowed.contains(label),
                "`{label}` is not among the labels that were thought through"
            );
        }
    }

    #[test]
    fn every_row_has_a_line_in_the_documentation() {
        let page = markdown();
        assert_eq!(page.lines().count(), SPECS.len() + 4);
        assert!(page.contains(
            "| `crier_jobs_open` | gauge | `state`: `scheduled`, `paused`, `unknown` | database |"
        ));
    }

    #[test]
    fn words_of_the_tables_are_read_back() {
        for phase in LeasePhase::ALL {
            assert_eq!(LeasePhase::parse(phase.as_str()), Some(*phase));
        }
        assert_eq!(LeasePhase::parse("Claimed"), None);
    }
}
