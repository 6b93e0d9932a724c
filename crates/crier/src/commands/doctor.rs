//! `crier doctor`: looks whether everything is as it must be.
//!
//! **Invariant:** it changes nothing, spends no call of X, goes on after a fault as far as it can, and fails if one thing
//! is wrong.

mod accounts;

use std::time::Duration;

use clap::Args;
use crier_store::{SchemaState, Store};
use serde::Serialize;

use super::Context;
use crate::config::Config;
use crate::exit::Refusal;
use crate::screen::{note, span};
use crate::{connect, host};

/// Notifications arrive at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);
/// A transaction that is open for longer than this is told of: crier's own last seconds at most.
const LONG: Duration = Duration::from_secs(30);
/// Oldest Postgres that crier's tables work on.
const OLDEST: u32 = 15;

/// What it takes: nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Looks at the database, its schema and clock, notifications, the key, each account's token and scopes, and the media folder. Exit code 1 if something is wrong; what is only doubtful is marked `doubt`."
)]
pub(crate) struct Options {}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Ok,
    Doubt,
    Wrong,
}

impl Mark {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Doubt => "doubt",
            Self::Wrong => "WRONG",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    result: Mark,
    detail: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: String,
}

#[derive(Debug, Default)]
struct Report(Vec<Check>);

impl Report {
    fn ok(&mut self, what: &str, detail: impl Into<String>) {
        self.add(what, Mark::Ok, detail, "");
    }

    fn add(&mut self, what: &str, result: Mark, detail: impl Into<String>, hint: &str) {
        self.0.push(Check {
            what: what.to_owned(),
            result,
            detail: detail.into(),
            hint: hint.to_owned(),
        });
    }

    /// Fine, or wrong with a hint.
    fn must(&mut self, holds: bool, what: &str, detail: impl Into<String>, hint: &str) {
        let (mark, hint) = if holds {
            (Mark::Ok, "")
        } else {
            (Mark::Wrong, hint)
        };
        self.add(what, mark, detail, hint);
    }
}

impl Options {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let mut report = Report::default();
        // The configuration was read before we came here.
        report.ok("configuration", "can be used");
        media(&context.config, &mut report);
        match connect::store(&context.config).await {
            Ok(store) => database(&context.config, &store, &mut report).await?,
            Err(error) => report.add(
                "database",
                Mark::Wrong,
                crier_metrics::redact(&format!("{error:#}")).into_owned(),
                "set DATABASE_URL to a Postgres that runs, such as postgres://crier:password@127.0.0.1:5432/crier",
            ),
        }
        let checks = report.0;
        context
            .screen
            .rows(&checks, &["what", "result", "detail"], "", |check| {
                vec![
                    check.what.clone(),
                    check.result.word().to_owned(),
                    check.detail.clone(),
                ]
            })?;
        if !context.screen.json {
            for check in checks.iter().filter(|check| !check.hint.is_empty()) {
                note(&format!("hint: {}: {}", check.what, check.hint));
            }
        }
        let wrong = checks
            .iter()
            .filter(|check| check.result == Mark::Wrong)
            .count();
        match wrong {
            0 => Ok(()),
            _ => Refusal::new(format!(
                "{wrong} of {} checks found something wrong",
                checks.len()
            ))
            .fail(),
        }
    }
}

fn media(config: &Config, report: &mut Report) {
    let root = &config.media.root;
    let shown = format!("`{}`", root.display());
    let hint = "set CRIER__MEDIA__ROOT to the folder that the rows' paths are relative to, and let crier's user read it";
    match std::fs::read_dir(root) {
        Ok(_) => report.ok("media folder", shown),
        // Posts of text need none.
        Err(error) => report.add(
            "media folder",
            Mark::Doubt,
            format!("{shown}: {error}; posts with media cannot go out"),
            hint,
        ),
    }
}

async fn database(config: &Config, store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let before = host::now();
    let said = match store.diagnosis().await {
        Ok(said) => said,
        Err(error) => {
            report.add(
                "database",
                Mark::Wrong,
                error.to_string(),
                "is it a Postgres?",
            );
            return Ok(());
        }
    };
    let skew = host::skew(before, said.server_time, host::now()).as_seconds_f64();
    let major: u32 = said
        .server_version
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0);
    report.must(
        major >= OLDEST,
        "database",
        format!(
            "Postgres {}, user {}, {} connections in all",
            said.server_version, said.user_name, said.max_connections
        ),
        "crier needs Postgres 15 or newer",
    );
    report.must(
        said.writable,
        "database takes writes",
        match (said.writable, said.standby) {
            (true, _) => "yes",
            (false, true) => "no, it is a standby",
            (false, false) => "no, default_transaction_read_only is on for this user or database",
        },
        if said.standby {
            "name the primary in DATABASE_URL"
        } else {
            "nothing is published until it is off: show default_transaction_read_only"
        },
    );
    report.must(
        skew.abs() <= host::MOST_SKEW_S,
        "clock",
        if skew.abs() <= host::MOST_SKEW_S {
            format!("the database's is {skew:+.3} s from this machine's")
        } else {
            format!("this machine's is {} the database's", host::apart(skew))
        },
        "set both by NTP: the database's clock decides when a post is due, and X's limits end by the true time",
    );
    if store.is_pooled() {
        let past = "set database.direct_url to the address of Postgres itself: `crier migrate` needs it, and notifications arrive by it";
        if store.has_session() {
            report.ok(
                "pooler",
                "in between, and database.direct_url leads past it",
            );
        } else {
            report.add(
                "pooler",
                Mark::Doubt,
                "in between, and no way past it is known",
                past,
            );
        }
    }
    notify(store, report).await;
    match store.schema_state().await? {
        SchemaState::Current => report.ok("schema", "up to date"),
        SchemaState::Newer { database, program } => {
            report.ok(
                "schema",
                format!(
                    "at version {database}, newer than this program's {program}, which works on"
                ),
            );
        }
        SchemaState::Older { database, program } => {
            report.add(
                "schema",
                Mark::Wrong,
                format!("at version {database}, this program needs {program}"),
                "run `crier migrate`",
            );
            return Ok(());
        }
    }
    let shift = store.clock_shift_s().await?;
    report.must(
        shift == 0.0,
        "crier.clock",
        if shift == 0.0 {
            "is not moved".to_owned()
        } else {
            format!("is moved by {}", span(shift))
        },
        "it is for tests: update crier.clock set shift = '0'",
    );
    let missing = store.missing_roles().await?;
    if missing.is_empty() {
        report.ok("roles", "crier_writer and crier_reader are there");
    } else {
        report.add(
            "roles",
            Mark::Doubt,
            format!("{} missing", missing.join(" and ")),
            "create them as a superuser, and give them their rights (docs/ARCHITECTURE.md#roles), if people shall insert with those only",
        );
    }
    holders(store, report).await?;
    if store.leader_held().await? {
        report.ok("scheduler", "one leads");
    } else {
        report.add(
            "scheduler",
            Mark::Doubt,
            "none leads at this moment",
            "start `crier run` or `crier scheduler`",
        );
    }
    present(store, report).await?;
    accounts::accounts(config, store, report).await
}

/// Sessions whose transactions have been open for long, or that block somebody.
async fn holders(store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let holders = store.holders(LONG).await?;
    if holders.is_empty() {
        report.ok("transactions", "none is open for long");
    }
    for holder in holders {
        let since = holder.age_s.map_or_else(
            || "since a time that this user may not see (grant pg_read_all_stats)".to_owned(),
            |age| format!("for {}", span(age)),
        );
        let effect = match (holder.waiting, holder.locks) {
            (1.., _) => format!("{} wait for it now", holder.waiting),
            (_, true) => "it has locks on crier's tables".to_owned(),
            (_, false) => "its snapshot keeps dead rows from being cleaned up".to_owned(),
        };
        report.add(
            "transactions",
            Mark::Doubt,
            format!(
                "session {} of user {} ({}) has been in one {since}; {effect}",
                holder.pid, holder.user_name, holder.application_name
            ),
            &format!(
                "let it end, or end it: select pg_terminate_backend({})",
                holder.pid
            ),
        );
    }
    Ok(())
}

async fn present(store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let present = store.present(super::SEEN_S).await?;
    let processes = present.iter().map(|role| {
        format!(
            "{} as {} on {} (version {})",
            role.processes,
            role.role,
            role.hosts.join(", "),
            role.versions.join(", ")
        )
    });
    let told = processes.collect::<Vec<_>>().join("; ");
    if present.iter().any(|role| role.role == "worker") {
        report.ok("processes", told);
    } else {
        report.add(
            "processes",
            Mark::Doubt,
            if told.is_empty() {
                "none was seen lately".to_owned()
            } else {
                format!("{told}; no worker")
            },
            "start `crier run` or `crier worker`",
        );
    }
    Ok(())
}

async fn notify(store: &Store, report: &mut Report) {
    let hint = "a pooler in transaction mode loses notifications: set database.direct_url to the address of Postgres itself";
    match store.notify_works(PATIENCE).await {
        Ok(true) => report.ok("notifications", "arrive"),
        Ok(false) => report.add(
            "notifications",
            Mark::Doubt,
            "do not arrive; work is found by polling, a little later",
            hint,
        ),
        Err(error) => report.add("notifications", Mark::Doubt, error.to_string(), hint),
    }
}
