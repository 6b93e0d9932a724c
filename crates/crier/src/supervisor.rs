//! What is told to systemd, if it is there: that the process works, that it stops, and that its loops turn.
//!
//! **Invariant:** a process whose loops stand still falls silent, so that the watchdog starts it anew; where nobody listens,
//! nothing happens.

use std::time::{Duration, Instant};

use crier_metrics::Health;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Between two looks where no watchdog says how often: the process stands by.
const IDLE: Duration = Duration::from_hours(1);

/// Everything runs.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The settings are read anew; [`ready`] ends it.
pub(crate) fn reloading() {
    // systemd takes the time with it, so that an older message is never the answer to a newer wish.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// One line for `systemctl status`.
pub(crate) fn status(line: &str) {
    // A line break would begin a message of its own.
    tell(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// Beats for as long as every loop turns, until `stop`; then says that the process stops.
pub(crate) async fn watch(health: Health, stop: CancellationToken) {
    // Half of the time, as sd_watchdog_enabled(3) advises.
    let pause = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    while !stop.is_cancelled() {
        if pause.is_some() && health.stalled(Instant::now()).is_empty() {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::select! {
            () = tokio::time::sleep(pause.unwrap_or(IDLE)) => {}
            () = stop.cancelled() => {}
        }
    }
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd could not be told of {state:?}: {error}");
    }
}
