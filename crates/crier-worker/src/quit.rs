//! How a worker is told to stop: what is not sent yet goes back at once, what is being sent is waited for, but not for ever.
//!
//! **Invariant:** a call that was given up for lack of time is a call without an answer: its job is looked up like any other
//! whose fate is open, and that is written down before the process ends.

use std::time::Duration;

use crier_core::answer::CallFault;
use crier_store::Settlement;
use tokio_util::sync::CancellationToken;

use crate::reasons::plain_why;

/// Kept of the grace for writing down what became of the calls that were given up.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The two words that end a worker; by default nobody says them.
#[derive(Debug, Clone, Default)]
pub struct Quit {
    soft: CancellationToken,
    hurry: CancellationToken,
}

impl Quit {
    /// Told by `stop`, with `grace` left from then.
    pub(crate) fn told_by(stop: &CancellationToken, grace: Duration) -> Self {
        let quit = Self {
            soft: stop.clone(),
            hurry: CancellationToken::new(),
        };
        let told = quit.clone();
        tokio::spawn(async move {
            told.soft.cancelled().await;
            tokio::time::sleep(grace.saturating_sub(LAST_WORDS.min(grace / 2))).await;
            told.hurry.cancel();
        });
        quit
    }

    /// What becomes of a job that is not sent yet, if this worker is told to stop.
    pub(crate) fn instead_of_sending(&self) -> Option<Settlement> {
        self.soft.is_cancelled().then(|| Settlement::Snoozed {
            until: None,
            why: plain_why(
                "shutdown",
                "the worker was told to stop before it sent the post",
                "publish",
                "nothing to do: another worker sends it",
            ),
        })
    }

    /// Cancelled once nothing new is to be begun.
    pub(crate) const fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Time is up.
    pub(crate) async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// The answer of a create call, or none when time is up.
    pub(crate) async fn or_hurry<T>(
        &self,
        call: impl Future<Output = Result<T, CallFault>>,
    ) -> Result<T, CallFault> {
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.hurried() => Err(CallFault::NoAnswer {
                detail: "the worker had to stop before X answered".to_owned(),
            }),
        }
    }
}
