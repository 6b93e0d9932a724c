//! Signals, and how long a stop may take.
//!
//! **Invariant:** the first SIGTERM or SIGINT asks everything to end by itself; the second ends it at once. So does SIGHUP,
//! but for roles, which read their settings anew then and end only if their terminal is gone.

use std::io::IsTerminal as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
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
    stop_on(Some(signal(SignalKind::hangup())?))
}

/// The same, and SIGHUP is for [`Hangups`].
pub(crate) fn stop_on_signals_but_hangup() -> anyhow::Result<Stop> {
    stop_on(None)
}

fn stop_on(mut hangup: Option<Signal>) -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told = stop.clone();
    tokio::spawn(async move {
        for token in [told.soft, told.hard] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                () = received(&mut hangup) => {}
            }
            token.cancel();
        }
    });
    Ok(stop)
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending::<()>().await,
    }
}

/// What a SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// Read the settings anew.
    Reload,
    /// The terminal in which this was started was closed.
    TerminalGone,
}

/// SIGHUPs from when this was made; none of them ends the process any more, and none is forgotten.
#[derive(Debug)]
pub(crate) struct Hangups {
    signal: Signal,
    terminals: [bool; 3],
}

impl Hangups {
    /// To be made before anything that takes its time.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            signal: signal(SignalKind::hangup())?,
            terminals: terminals(),
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Hangup {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let lost = std::iter::zip(self.terminals, terminals()).any(|(was, is)| was && !is);
        if lost {
            Hangup::TerminalGone
        } else {
            Hangup::Reload
        }
    }
}

/// Which of stdin, stdout and stderr are a terminal, and one that is still there.
fn terminals() -> [bool; 3] {
    [
        std::io::stdin().is_terminal(),
        std::io::stdout().is_terminal(),
        std::io::stderr().is_terminal(),
    ]
}
