//! `crier keys`: the keys that seal tokens and client secrets, and the way from one to the next.
//!
//! **Invariant:** a key leaves this program once, when it is made; everything else names it by its id, which tells nothing
//! about it. A rotation may be killed at any moment and begun again, beside everything that runs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use crier_store::{Resealed, SealKey, SealedCount, SealedRow, Store, StoreError};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Context;
use crate::connect;
use crate::embedded::home::new_key;
use crate::exit::{Refusal, Refuse};
use crate::screen::{counted, note};

/// Values read at once.
const BATCH: i64 = 200;
/// Rounds over what others wrote or held locked meanwhile.
const ROUNDS: usize = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

const ROTATE: &str = "\
Without an interruption, in this order:
  1. `crier keys new --file NEW`
  2. Give every process NEW as `secrets.other_keys_file`, and restart one after the other.
  3. Make NEW the `secrets.key_file` of every process, and the former key its
     `secrets.other_keys_file`; restart one after the other.
  4. `crier keys rotate`, with the same settings; if it was killed, again.
  5. Once it says so, take the former key out of the settings.
It runs beside workers that publish and refresh.";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key: 32 bytes of chance in base64.
    New(New),
    /// Show how much is sealed with which key, and which of them are configured here.
    List,
    /// Seal everything anew that is not sealed with `secrets.key`.
    #[command(after_help = ROTATE)]
    Rotate(Rotate),
}

/// Where the key goes.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Write it to this new file, for its owner alone, instead of standard output.
    #[arg(long)]
    file: Option<PathBuf>,
}

/// How far to go.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Show what would be done.
    #[arg(long)]
    dry_run: bool,
}

impl Keys {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        match self {
            Self::New(New { file }) => new(&context, file),
            Self::List => list(&context).await,
            Self::Rotate(Rotate { dry_run }) => rotate(&context, dry_run).await,
        }
    }
}

fn new(context: &Context, file: Option<PathBuf>) -> anyhow::Result<()> {
    let text = new_key();
    let id = SealKey::from_base64(&text.clone().into())?.id().to_owned();
    let Some(file) = file else {
        if context.screen.json {
            return context.screen.object(&json!({"key": id, "secret": text}));
        }
        context.screen.line(&text);
        note(&format!("its name is {id}"));
        return Ok(());
    };
    // Never over another key: what it sealed would be lost.
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut out| {
            writeln!(out, "{text}")?;
            out.sync_all()
        })
        .refused(format!("`{}` cannot be made", file.display()))?;
    if context.screen.json {
        return context.screen.object(&json!({"key": id, "file": file}));
    }
    context
        .screen
        .line(&format!("key {id} is in {}", file.display()));
    Ok(())
}

/// How this process knows a key.
fn role(known: &[String], id: &str) -> &'static str {
    match known.iter().position(|known| known == id) {
        Some(0) => "seals",
        Some(_) => "opens",
        None => "missing",
    }
}

/// What is there by key, also of keys that are configured and have sealed nothing.
async fn counts(store: &Store) -> anyhow::Result<Vec<SealedCount>> {
    let mut counts = store.sealed_counts(super::SEEN_S).await?;
    for id in store.key_ids() {
        if counts.iter().all(|count| count.key_id != id) {
            counts.push(SealedCount {
                key_id: id,
                oauth2: 0,
                oauth1: 0,
                apps: 0,
                webhooks: 0,
                processes: 0,
                hosts: Vec::new(),
            });
        }
    }
    Ok(counts)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let store = connect::ready_store(&context.config).await?;
    let known = store.key_ids();
    let rows: Vec<_> = counts(&store)
        .await?
        .into_iter()
        .map(|count| {
            json!({
                "key": count.key_id, "here": role(&known, &count.key_id), "oauth2": count.oauth2, "oauth1": count.oauth1,
                "apps": count.apps, "webhooks": count.webhooks, "processes": count.processes, "hosts": count.hosts,
            })
        })
        .collect();
    let head = [
        "key",
        "here",
        "oauth2",
        "oauth1",
        "apps",
        "webhooks",
        "processes",
    ];
    context.screen.rows(
        &rows,
        &head,
        "no key is configured, and nothing is sealed",
        |row| {
            head.iter()
                .map(|name| {
                    let cell = &row[name];
                    cell.as_str()
                        .map_or_else(|| cell.to_string(), str::to_owned)
                })
                .collect()
        },
    )
}

/// How a rotation went.
#[derive(Debug, Default)]
struct Rotated {
    resealed: u64,
    /// What does not open, with its key.
    unopened: BTreeMap<(String, i64), (String, String)>,
    /// What was changed or locked when its turn came.
    missed: u64,
}

async fn rotate(context: &Context, dry_run: bool) -> anyhow::Result<()> {
    let store = connect::ready_store(&context.config).await?;
    let Some(current) = store.key_ids().first().cloned() else {
        return Err(StoreError::NoKey.into());
    };
    let sealed: i64 = counts(&store)
        .await?
        .iter()
        .filter(|count| count.key_id != current)
        .map(SealedCount::values)
        .sum();
    if dry_run {
        if context.screen.json {
            return context
                .screen
                .object(&json!({"key": current, "to_reseal": sealed}));
        }
        let many = counted(u64::try_from(sealed).unwrap_or(0), "value", "values");
        context
            .screen
            .line(&format!("{many} would be sealed anew with key {current}"));
        return Ok(());
    }
    // Refreshed tokens that a dead process left in files are sealed with the former key, too.
    connect::worker(&context.config, &store)?
        .put_back(None)
        .await;
    // Hidden by itself when stderr is no terminal.
    let bar = ProgressBar::new(u64::try_from(sealed).unwrap_or(0)).with_style(
        ProgressStyle::with_template("  {bar:30} {pos}/{len} sealed anew")?.progress_chars("=> "),
    );
    let mut rotated = Rotated::default();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        rotated.missed = 0;
        once(&store, &bar, &mut rotated).await?;
        if rotated.missed == 0 {
            break;
        }
    }
    bar.finish_and_clear();
    report(context, &store, &current, &rotated).await
}

/// One round over everything that is not under the current key.
async fn once(store: &Store, bar: &ProgressBar, rotated: &mut Rotated) -> anyhow::Result<()> {
    let mut last: Option<(String, i64)> = None;
    loop {
        let after = last.as_ref().map(|(kind, id)| (kind.as_str(), *id));
        let rows = store.sealed_elsewhere(after, BATCH).await?;
        let Some(end) = rows.last() else {
            return Ok(());
        };
        last = Some((end.kind.clone(), end.id));
        for row in &rows {
            match store.reseal(row).await {
                Ok(Resealed::Done) => {
                    rotated.resealed += 1;
                    rotated.unopened.remove(&(row.kind.clone(), row.id));
                    bar.inc(1);
                }
                Ok(Resealed::Changed) => rotated.missed += 1,
                Err(StoreError::Sealed { what, error }) => {
                    let told = (row.key_id.clone(), format!("{what}: {error}"));
                    rotated.unopened.insert((row.kind.clone(), row.id), told);
                }
                Err(error) if is_locked(&error) => {
                    rotated.missed += 1;
                    bar.suspend(|| waits(row));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Somebody holds the row: it is tried again in the next round.
fn is_locked(error: &StoreError) -> bool {
    // SQLSTATE (PostgreSQL, appendix A): lock_not_available.
    error.sqlstate().as_deref() == Some("55P03")
}

fn waits(row: &SealedRow) {
    note(&format!(
        "the row of `{}` is locked, trying again",
        row.name
    ));
}

async fn report(
    context: &Context,
    store: &Store,
    current: &str,
    rotated: &Rotated,
) -> anyhow::Result<()> {
    let counts = counts(store).await?;
    let others = || counts.iter().filter(|count| count.key_id != current);
    let left: i64 = others().map(SealedCount::values).sum();
    let sealing: i64 = others().map(|count| count.processes).sum();
    if context.screen.json {
        context.screen.object(&json!({
            "key": current, "resealed": rotated.resealed, "left": left, "unopened": rotated.unopened.len(), "processes_on_other_keys": sealing,
        }))?;
    } else {
        context.screen.line(&format!(
            "{} sealed anew with key {current}, {left} left under others",
            counted(rotated.resealed, "value is", "values are")
        ));
    }
    for (_, told) in rotated.unopened.values() {
        note(&format!("not sealed anew: {told}"));
    }
    for count in others().filter(|count| count.processes > 0) {
        note(&format!(
            "{} on {} still seal with key {}: give them key {current} as `secrets.key`, then run this again",
            counted(
                u64::try_from(count.processes).unwrap_or(0),
                "process",
                "processes"
            ),
            count.hosts.join(", "),
            count.key_id
        ));
    }
    if !rotated.unopened.is_empty() {
        return Refusal::new(format!(
            "{} could not be sealed anew",
            counted(u64::try_from(rotated.unopened.len()).unwrap_or(u64::MAX), "value", "values")
        ))
        .hint("configure the key that is missing among `secrets.other_keys` and run it again; for what is damaged: `crier auth login`")
        .fail();
    }
    if left > 0 {
        return Refusal::new(format!(
            "{left} are under other keys still, as they are locked or were written meanwhile"
        ))
        .hint("run it again, once every process seals with the same key")
        .fail();
    }
    if sealing == 0 {
        note("every other key may be taken out of the settings of every process");
    }
    Ok(())
}
