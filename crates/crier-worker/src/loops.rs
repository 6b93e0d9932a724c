//! What a worker does beside publishing, each in a loop of its own: uploads, looks, probes, webhooks.
//!
//! **Invariant:** a loop that breaks down is begun anew and takes no other along; what it had in hand goes back with its leases.

use std::time::Duration;

use crier_metrics::Metrics;
use tokio_util::sync::CancellationToken;

/// How long before a loop is begun anew: whatever broke it down may still be there.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Runs a loop until `stop`, however often it breaks down; begun anew after `pause`.
pub(crate) async fn keep_up<F>(
    name: &'static str,
    metrics: Metrics,
    stop: CancellationToken,
    pause: Duration,
    begin: impl Fn() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(crash) = tokio::spawn(begin()).await {
        metrics.db_error("panic");
        tracing::error!(
            step = name,
            "the worker broke down in a step and begins it anew: {crash}"
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_loop_that_breaks_down_is_begun_anew_until_it_is_told_to_stop() {
        let stop = CancellationToken::new();
        let times = Arc::new(AtomicUsize::new(0));
        let work = || {
            let (times, stop) = (Arc::clone(&times), stop.clone());
            async move {
                assert!(times.fetch_add(1, Ordering::SeqCst) >= 2, "it breaks down");
                stop.cancel();
            }
        };
        let metrics = Metrics::new("0");
        keep_up("test", metrics.clone(), stop.clone(), Duration::ZERO, work).await;
        assert_eq!(times.load(Ordering::SeqCst), 3);
        // It is stopped, and ends although it would break down again.
        let broken = || async { panic!("for ever") };
        keep_up("test", metrics, stop, Duration::MAX, broken).await;
    }
}
