//! Signals, and how long a stop may take.
//!
//! **Invariant:** the first SIGTERM, SIGINT or SIGHUP asks everything to end by itself; the second ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a signal asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// End what is in flight, begin nothing new.
    pub(crate) soft: CancellationToken,
    /// Wait no longer.
    pub(crate) hard: CancellationToken,
}

/// Cancelled by signals from now on. They no longer end the process by themselves.
pub(crate) fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let (mut term, mut int, mut hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    let told = stop.clone();
    tokio::spawn(async move {
        for token in [told.soft, told.hard] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = hup.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(stop)
}
