//! `crier run`, `scheduler`, `worker`, `exporter`: the roles, each with the pages of the exporter.
//!
//! **Invariant:** when one role ends by itself, all end and the process fails; on a signal nothing new is begun, and what
//! is in flight is waited for, but not for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;
use crier_metrics::{Folder, Health, Metrics};
use crier_scheduler::Scheduler;
use crier_store::Store;
use crier_worker::{Held, News, Quit, Rescue, Settings, V1Cache, Worker};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Context;
use crate::config::Config;
use crate::connect;
use crate::embedded::home::{Adopted, Home};
use crate::exit::{Refusal, Refuse};
use crate::gather::Database;
use crate::host;
use crate::lifecycle::{Stop, stop_on_signals_but_hangup};
use crate::otlp::Traces;
use crate::reload::{Listeners, Reloads};
use crate::screen::note;
use crate::supervisor;

/// A loop that has not come round for this long is stalled.
const STALLED: Duration = Duration::from_mins(1);
/// How long closing the connections may take.
const CLOSING: Duration = Duration::from_secs(2);
/// How often a process notes that it is here.
const PRESENCE: Duration = Duration::from_secs(10);
/// How often this machine's clock is compared with the database's.
const CLOCKS: Duration = Duration::from_secs(30);
/// How often kept numbers are added up where nobody scrapes.
const FOLD: Duration = Duration::from_secs(5);

/// What `crier run` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Any number may run against one Postgres. SIGTERM or Ctrl-C lets what is in flight end; the second one does not wait for it. SIGHUP has the settings read anew."
)]
pub(crate) struct Options {
    /// Bring a private Postgres along, kept in `database.embedded_folder`.
    #[arg(long)]
    embedded: bool,
}

impl Options {
    pub(crate) async fn run(self, mut context: Context) -> anyhow::Result<()> {
        if !self.embedded {
            return roles(context, Roles::BOTH).await;
        }
        let database = &context.config.database;
        if database.url.is_some()
            || database.url_file.is_some()
            || database.direct_url.is_some()
            || database.direct_url_file.is_some()
        {
            return Refusal::new("a database is configured already")
                .hint("leave out --embedded to use it, or unset DATABASE_URL, `database.url` and `database.direct_url`")
                .fail();
        }
        // From here on signals stop us, and so the server: it is stopped on every way out.
        let stop = stop_on_signals_but_hangup()?;
        let home = Home::open(&context.config, &stop.soft).await?;
        let adopted = home.adopted();
        adopted.give_to(&mut context.config);
        connect::store(&context.config).await?.migrate().await?;
        note(&format!(
            "a private Postgres runs in `{}`; for other commands: . {}",
            home.folder().display(),
            home.environment_file().display()
        ));
        let done = serve(&mut context, Roles::BOTH, &stop, Some(adopted)).await;
        home.close().await;
        done
    }
}

/// Which roles this process plays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles {
    scheduler: bool,
    worker: bool,
}

impl Roles {
    /// The exporter alone.
    pub(crate) const NONE: Self = Self {
        scheduler: false,
        worker: false,
    };
    /// The scheduler.
    pub(crate) const SCHEDULER: Self = Self {
        scheduler: true,
        worker: false,
    };
    /// The worker.
    pub(crate) const WORKER: Self = Self {
        scheduler: false,
        worker: true,
    };
    /// Both.
    pub(crate) const BOTH: Self = Self {
        scheduler: true,
        worker: true,
    };
}

/// Runs the roles asked for until a signal.
pub(crate) async fn roles(mut context: Context, roles: Roles) -> anyhow::Result<()> {
    let stop = stop_on_signals_but_hangup()?;
    serve(&mut context, roles, &stop, None).await
}

async fn serve(
    context: &mut Context,
    roles: Roles,
    stop: &Stop,
    adopted: Option<Adopted>,
) -> anyhow::Result<()> {
    let hangups = context.hangups.take();
    let context = &*context;
    let config = &context.config;
    let store = connect::ready_store(config).await?;
    let (metrics, health) = (Metrics::new(env!("CARGO_PKG_VERSION")), Health::new());
    let listener = tokio::net::TcpListener::bind(config.exporter.listen)
        .await
        .refused(format!(
            "the exporter cannot listen on {}: set CRIER__EXPORTER__LISTEN",
            config.exporter.listen
        ))?;
    let address = listener.local_addr()?;
    let reloads = Reloads::new(
        config,
        context.file.clone(),
        adopted,
        context.log.clone(),
        metrics.clone(),
    )?;
    let mut listeners = Listeners::default();
    let rescue = Rescue::new(config.secrets.rescue_dir());
    let mut tasks = JoinSet::new();
    let mut database_time = None;
    let mut traces = None;
    if roles.scheduler || roles.worker {
        let clocks = Clocks {
            store: store.clone(),
            metrics: metrics.clone(),
        };
        database_time = clocks.compare(&mut false).await;
        tasks.spawn(named("clocks", clocks.watch(stop.soft.clone())));
    }
    // Fresh at each start; leases, attempts and `crier.workers` name the worker by it.
    let id = Uuid::new_v4();
    if roles.scheduler {
        let options = config.scheduler.options(&config.media, &config.webhooks);
        let (sender, news) = watch::channel(options.clone());
        listeners.scheduler = Some(sender);
        let scheduler = Scheduler {
            store: store.clone(),
            metrics: metrics.clone(),
            id: Uuid::new_v4(),
            options,
            news: crier_scheduler::News::of(news),
        };
        tasks.spawn(named(
            "presence",
            presence(store.clone(), scheduler.id, "scheduler", stop.soft.clone()),
        ));
        let beat = health.register("scheduler", STALLED);
        tasks.spawn(named("scheduler", scheduler.run(beat, stop.soft.clone())));
        tasks.spawn(named("totals", fold(store.clone(), stop.soft.clone())));
    }
    if roles.worker {
        // A worker without a key would fail each job for it.
        if connect::key(config)?.is_none() {
            return Err(crier_store::StoreError::NoKey.into());
        }
        let x = connect::x(config)?;
        if let Some(now) = database_time {
            x.told_the_time(now);
        }
        let options =
            config
                .worker
                .options(&config.media, &config.x, &config.prices, &config.webhooks);
        let sink;
        (sink, traces) = Traces::of(config, id)?.unzip();
        let (sender, news) = watch::channel(Arc::new(Settings {
            options: options.clone(),
            x: x.clone(),
        }));
        listeners.worker = Some((sender, x.clone()));
        let worker = Worker {
            store: store.clone(),
            x,
            metrics: metrics.clone(),
            id,
            options,
            news: News::of(news),
            sink,
            chance: rand::random::<f64>,
            v1: V1Cache::default(),
            quit: Quit::default(),
            rescue: rescue.clone(),
        };
        tasks.spawn(named(
            "presence",
            presence(store.clone(), worker.id, "worker", stop.soft.clone()),
        ));
        let beat = health.register("worker", STALLED);
        tasks.spawn(named("worker", worker.run(beat, stop.soft.clone())));
    }
    let database = Arc::new(Database {
        store: store.clone(),
        metrics: metrics.clone(),
        folders: folders(config, roles),
    });
    let watched = health.clone();
    let exporter = crier_metrics::exporter::serve(
        listener,
        metrics,
        Some(database.clone()),
        Some(database),
        health,
        stop.soft.clone(),
    );
    tasks.spawn(async move {
        exporter.await?;
        Ok("exporter")
    });
    if store.is_pooled() {
        tracing::info!("a pooler is in between: every statement is a transaction of its own");
    }
    tracing::info!(scheduler = roles.scheduler, worker = roles.worker, %id, %address, "crier runs");
    let pages = format!("http://{address}/metrics");
    if context.screen.json {
        context
            .screen
            .object(&serde_json::json!({"metrics": pages}))?;
    } else {
        context.screen.line(&pages);
    }
    supervisor::ready();
    if let Some(hangups) = hangups {
        let obeyed = reloads.watch(hangups, listeners, stop.clone());
        tasks.spawn(named("reload", obeyed));
    }
    tasks.spawn(named(
        "watchdog",
        supervisor::watch(watched, stop.soft.clone()),
    ));
    let ended = supervise(
        &mut tasks,
        stop,
        Duration::from_secs(config.worker.stop_grace_s),
    )
    .await;
    // Before the database is let go of, which may take its time if it is away.
    let held = rescue.held();
    if !held.is_empty() {
        if let Err(error) = &ended {
            tracing::error!("{error:#}");
        }
        return Err(left_in_hand(&held));
    }
    // Neither a database nor a collector that hangs must keep the process from ending.
    let closing = async {
        if tokio::time::timeout(CLOSING, store.close()).await.is_err() {
            tracing::warn!("the connections to the database did not close in time");
        }
    };
    let telling = async {
        if let Some(traces) = traces {
            traces.end(CLOSING).await;
        }
    };
    tokio::join!(closing, telling);
    ended?;
    tracing::info!("crier has stopped");
    Ok(())
}

/// X has given new tokens, and the database did not take them in time.
fn left_in_hand(held: &[Held]) -> anyhow::Error {
    let (kept, lost): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|one| one.file.is_some());
    let names = |held: &[&Held]| {
        let names: Vec<String> = held.iter().map(|one| format!("@{}", one.handle)).collect();
        names.join(", ")
    };
    let mut hints = Vec::new();
    if !kept.is_empty() {
        let files: Vec<String> = kept
            .iter()
            .filter_map(|one| Some(format!("`{}`", one.file.as_ref()?.display())))
            .collect();
        hints.push(format!(
            "those of {} lie sealed in {}: start crier again on this machine with the same `secrets`, and it brings them in; keep the file until then",
            names(&kept),
            files.join(", ")
        ));
    }
    if !lost.is_empty() {
        hints.push(format!(
            "those of {} are lost with this process, as `secrets.rescue_dir` could not be written: log in again with `crier auth login`",
            names(&lost)
        ));
    }
    crate::exit::Outage {
        words: format!(
            "stopped with refreshed tokens in hand that the database did not take, of {}",
            names(&held.iter().collect::<Vec<_>>())
        ),
        hint: hints.join("; "),
    }
    .into()
}

/// Folders that these roles need room in, or read.
fn folders(config: &Config, roles: Roles) -> Vec<(Folder, PathBuf)> {
    let mut folders = Vec::new();
    if roles.worker || roles.scheduler {
        folders.push((Folder::Media, config.media.root.clone()));
    }
    if roles.worker {
        folders.push((Folder::Spool, config.media.spool()));
    }
    folders
}

async fn named(name: &'static str, role: impl Future<Output = ()>) -> anyhow::Result<&'static str> {
    role.await;
    Ok(name)
}

/// Waits for a signal, then for the roles; a role that ends before is a failure of all.
async fn supervise(
    tasks: &mut JoinSet<anyhow::Result<&'static str>>,
    stop: &Stop,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut failure = None;
    let first = tokio::select! {
        () = stop.soft.cancelled() => None,
        ended = tasks.join_next() => ended,
    };
    if let Some(ended) = first
        && !stop.soft.is_cancelled()
    {
        failure = Some(match ended {
            Ok(Ok(name)) => anyhow::anyhow!("the {name} ended although nobody told it to"),
            Ok(Err(error)) => error,
            Err(crash) => anyhow::Error::new(crash).context("a role crashed"),
        });
        stop.soft.cancel();
    }
    let waited = tokio::select! {
        () = stop.hard.cancelled() => "told twice to stop",
        () = tokio::time::sleep(grace) => "out of time",
        () = async { while tasks.join_next().await.is_some() {} } => "",
    };
    tasks.abort_all();
    match (failure, waited) {
        (Some(failure), _) => Err(failure),
        (None, "") => Ok(()),
        (None, why) => bail!(
            "{why}: what was in flight was left behind; its leases run out and other workers take over"
        ),
    }
}

/// Notes that this process is here, for people to see.
async fn presence(store: Store, id: Uuid, role: &'static str, stop: CancellationToken) {
    let host = host::name();
    while !stop.is_cancelled() {
        if let Err(error) = store.seen(id, role, &host, env!("CARGO_PKG_VERSION")).await {
            tracing::warn!(
                code = error.code(),
                "it could not be noted that this {role} is here, trying again: {error}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(PRESENCE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Compares this machine's clock with the database's.
struct Clocks {
    store: Store,
    metrics: Metrics,
}

impl Clocks {
    /// Says when the clocks come apart and when they are together again.
    async fn watch(self, stop: CancellationToken) {
        // What was found at the start has been said.
        let mut apart = true;
        while !stop.is_cancelled() {
            self.compare(&mut apart).await;
            tokio::select! {
                () = tokio::time::sleep(CLOCKS) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// The database's time, if it says one.
    async fn compare(&self, apart: &mut bool) -> Option<DateTime<Utc>> {
        let before = host::now();
        let said = self.store.diagnosis().await.ok()?;
        let skew_s = host::skew(before, said.server_time, host::now()).as_seconds_f64();
        self.metrics.db_clock_skew(skew_s);
        let was_apart = std::mem::replace(apart, skew_s.abs() > host::MOST_SKEW_S);
        if *apart && !was_apart {
            tracing::warn!(
                skew_s,
                "this machine's clock is {} the database's: nothing is decided by it, but set both by NTP",
                host::apart(skew_s)
            );
        } else if was_apart && !*apart {
            tracing::debug!(skew_s, "this machine's clock and the database's agree");
        }
        Some(said.server_time)
    }
}

/// Adds the kept numbers up now and then, so that they do not pile up where nobody scrapes.
async fn fold(store: Store, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match store.fold_totals().await {
            Ok(_) => {}
            Err(error) => tracing::warn!(
                code = error.code(),
                "the kept numbers could not be added up, trying again: {error}"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(FOLD) => {}
            () = stop.cancelled() => {}
        }
    }
}
