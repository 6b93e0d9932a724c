//! Reads the settings anew on a SIGHUP, and lets what may change take effect.
//!
//! **Invariant:** all of the new settings are looked at before any takes effect: those that cannot be used change nothing.
//! The log names keys, never values.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use crier_metrics::Metrics;
use crier_metrics::log::{LogControl, check_filter};
use crier_scheduler::SchedulerOptions;
use crier_worker::Settings;
use crier_x::XClient;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::config::{self, Config, differing_files};
use crate::embedded::home::Adopted;
use crate::exit::{self, Refuse as _};
use crate::lifecycle::{Hangup, Hangups, Stop};
use crate::supervisor;

/// What is told of settings that could not be read anew.
const REFUSED: &str = "the settings could not be read anew, all stays as it was";

/// Where new settings go.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// The worker, and how it calls X now.
    pub(crate) worker: Option<(watch::Sender<Arc<Settings>>, XClient)>,
    /// The scheduler.
    pub(crate) scheduler: Option<watch::Sender<SchedulerOptions>>,
}

/// The settings of a running process.
#[derive(Debug)]
pub(crate) struct Reloads {
    file: Option<PathBuf>,
    adopted: Option<Adopted>,
    /// Those that the process began with, and what their files held.
    began: Config,
    files: Vec<(&'static str, SecretString)>,
    /// Those that hold now.
    holds: Config,
    log: LogControl,
    metrics: Metrics,
}

/// Settings, and what their files hold.
type Read = (Config, Vec<(&'static str, SecretString)>);

/// What came of reading the settings anew.
#[derive(Debug)]
struct Reloaded {
    /// Took effect.
    changed: Vec<String>,
    /// Wait for a restart.
    waiting: Vec<String>,
}

impl Reloads {
    pub(crate) fn new(
        config: &Config,
        file: Option<PathBuf>,
        adopted: Option<Adopted>,
        log: LogControl,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            file,
            adopted,
            files: config.files()?,
            began: config.clone(),
            holds: config.clone(),
            log,
            metrics,
        })
    }

    /// Obeys SIGHUPs until `stop`.
    pub(crate) async fn watch(mut self, mut hangups: Hangups, listeners: Listeners, stop: Stop) {
        loop {
            let hangup = tokio::select! {
                hangup = hangups.next() => hangup,
                () = stop.soft.cancelled() => return,
            };
            if hangup == Hangup::TerminalGone {
                stop.soft.cancel();
                return;
            }
            supervisor::reloading();
            // A file may be one that lets a reader wait; a stop does not wait for it.
            let read = tokio::select! {
                read = Self::read(self.file.clone()) => read,
                () = stop.soft.cancelled() => return,
            };
            match read.and_then(|read| self.reload(read, &listeners)) {
                Ok(reloaded) => self.say(&reloaded),
                Err(error) => {
                    self.metrics.config_refused();
                    let (why, hint) = exit::told(&error);
                    let hint = (!hint.is_empty()).then_some(hint);
                    tracing::error!(hint, "{REFUSED}: {why}");
                    supervisor::status(&format!("{REFUSED}: {why}"));
                }
            }
            supervisor::ready();
        }
    }

    fn say(&self, reloaded: &Reloaded) {
        let Reloaded { changed, waiting } = reloaded;
        self.metrics.config_reloaded(waiting.len());
        let (changed, waiting) = (changed.join(", "), waiting.join(", "));
        if changed.is_empty() {
            tracing::info!("the settings were read anew: nothing changes");
        } else {
            tracing::info!(changed, "the settings were read anew");
        }
        if waiting.is_empty() {
            supervisor::status("");
        } else {
            tracing::warn!(waiting, "restart crier to change {waiting}");
            supervisor::status(&format!("restart to change {waiting}"));
        }
    }

    async fn read(file: Option<PathBuf>) -> anyhow::Result<Read> {
        let read = tokio::task::spawn_blocking(move || {
            let config = config::load(file.as_deref())?;
            let files = config.files()?;
            anyhow::Ok((config, files))
        });
        read.await.context("reading the settings broke down")?
    }

    fn reload(
        &mut self,
        (mut config, files): Read,
        listeners: &Listeners,
    ) -> anyhow::Result<Reloaded> {
        if let Some(adopted) = &self.adopted {
            adopted.give_to(&mut config);
        }
        let mut waiting = config.differing(&self.began)?;
        let wanted = config.over(&self.began);
        wanted.check().context(
            "with the settings that take a restart as they are, the new ones cannot be used",
        )?;
        let changed = wanted.differing(&self.holds)?;
        let now = wanted.differing(&self.began)?;
        waiting.retain(|key| !now.contains(key));
        for key in differing_files(&files, &self.files) {
            if !waiting.contains(&key) {
                waiting.push(key);
            }
        }
        check_filter(&wanted.log.filter).refused("`log.filter` cannot be used")?;
        let x = match &listeners.worker {
            Some((_, x)) => Some(
                x.with_config(wanted.x.config()?)
                    .refused("X cannot be called as configured")?,
            ),
            None => None,
        };
        // From here on nothing fails.
        self.log
            .set_filter(&wanted.log.filter)
            .refused("`log.filter` cannot be used")?;
        if let (Some((worker, _)), Some(x)) = (&listeners.worker, x) {
            let options =
                wanted
                    .worker
                    .options(&wanted.media, &wanted.x, &wanted.prices, &wanted.webhooks);
            worker.send_replace(Arc::new(Settings { options, x }));
        }
        if let Some(scheduler) = &listeners.scheduler {
            scheduler.send_replace(wanted.scheduler.options(&wanted.media, &wanted.webhooks));
        }
        self.holds = wanted;
        Ok(Reloaded { changed, waiting })
    }
}
