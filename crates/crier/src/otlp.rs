//! Tells a collector of OpenTelemetry what was done, if one is configured.
//!
//! **Invariant:** nobody waits for a collector, but for a moment at the very end: what it does not take in time is dropped,
//! and the log says so once. So much at most is kept for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::trace::{Finished, Sink};
use crier_x::Collector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::Config;
use crate::exit::Refuse as _;
use crate::host;

/// So much waits for the collector; what comes beyond it is dropped.
const MOST_WAITING: usize = 4_096;
/// So much is told in one request.
const MOST_AT_ONCE: usize = 512;
/// So long is gathered for one request.
const GATHER: Duration = Duration::from_secs(1);

/// Where pieces of work that are over go.
#[derive(Debug)]
struct Outbox(mpsc::Sender<Finished>);

impl Sink for Outbox {
    fn now(&self) -> DateTime<Utc> {
        host::now()
    }

    fn take(&self, over: Finished) {
        // It is full when the collector is away, which the log tells.
        let _ = self.0.try_send(over);
    }
}

/// The way to the collector.
#[derive(Debug)]
pub(crate) struct Traces {
    /// Ends once every sink is gone and the collector was told the rest.
    telling: JoinHandle<()>,
}

impl Traces {
    /// What takes the pieces, and what tells the collector of them; nothing if none is configured.
    pub(crate) fn of(
        config: &Config,
        instance: Uuid,
    ) -> anyhow::Result<Option<(Arc<dyn Sink>, Self)>> {
        let Some(base) = config.otlp.base()? else {
            return Ok(None);
        };
        let resource = [
            ("service.name", "crier".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance.to_string()),
            ("host.name", host::name()),
        ];
        let collector =
            Collector::new(&base, &resource).refused("`otlp.endpoint` cannot be used")?;
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        let telling = tokio::spawn(tell(collector, waiting));
        Ok(Some((Arc::new(Outbox(sender)), Self { telling })))
    }

    /// Has the rest told, if the collector takes it in time.
    pub(crate) async fn end(self, within: Duration) {
        let abort = self.telling.abort_handle();
        if tokio::time::timeout(within, self.telling).await.is_err() {
            abort.abort();
            tracing::warn!("the collector of traces did not take the last ones in time");
        }
    }
}

/// Tells the collector until every sender is gone.
async fn tell(collector: Collector, mut waiting: mpsc::Receiver<Finished>) {
    let mut works = true;
    let mut over = Vec::with_capacity(MOST_AT_ONCE);
    while waiting.recv_many(&mut over, MOST_AT_ONCE).await > 0 {
        let gather = async {
            while over.len() < MOST_AT_ONCE {
                match waiting.recv().await {
                    Some(one) => over.push(one),
                    None => break,
                }
            }
        };
        // Out of time, or no more can come: either way this is what there is.
        let _ = tokio::time::timeout(GATHER, gather).await;
        let told = collector.post(&over).await;
        match &told {
            Ok(()) if !works => tracing::info!("the collector of traces takes them again"),
            Err(error) if works => tracing::warn!(
                "the collector of traces does not take them, and they are dropped until it does: {error}"
            ),
            Ok(()) | Err(_) => {}
        }
        works = told.is_ok();
        over.clear();
    }
}

#[cfg(test)]
mod tests {
    use crier_core::trace::{Kind, Trace};

    use super::*;

    #[tokio::test]
    async fn what_is_beyond_the_room_is_dropped_and_nobody_waits() {
        let (sender, mut waiting) = mpsc::channel(2);
        let outbox = Outbox(sender);
        for name in ["first", "second", "third"] {
            outbox.take(Finished {
                span: Trace::parse("4bf92f3577b34da6a3ce929d0e0e4736")
                    .unwrap()
                    .span(|| 0.5),
                name: name.to_owned(),
                kind: Kind::Internal,
                began: outbox.now(),
                ended: outbox.now(),
                facts: Vec::new(),
                failed: None,
            });
        }
        drop(outbox);
        let mut kept = Vec::new();
        while let Some(over) = waiting.recv().await {
            kept.push(over.name);
        }
        assert_eq!(kept, ["first", "second"]);
    }

    #[tokio::test]
    async fn the_end_waits_for_the_last_ones_but_not_for_ever() {
        let (told, mut heard) = mpsc::channel(1);
        let telling = tokio::spawn(async move {
            tokio::task::yield_now().await;
            told.send(()).await.unwrap();
        });
        Traces { telling }.end(Duration::from_secs(20)).await;
        assert_eq!(heard.try_recv(), Ok(()));
        let telling = tokio::spawn(std::future::pending());
        let given_up = telling.abort_handle();
        Traces { telling }.end(Duration::ZERO).await;
        tokio::task::yield_now().await;
        assert!(given_up.is_finished());
    }
}
