//! Where the exporter gets what only the database knows.
//!
//! **Invariant:** however often it is scraped, a source is asked at most once a second and waited for at most two,
//! so that neither a busy Prometheus loads the database nor a stuck database hangs a scrape.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;

use crate::metrics::Metrics;
use crate::reading::Reading;
use crate::redact::redact;

/// Longest wait for a source; Prometheus itself gives up after 10 s by default (`scrape_timeout`).
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Shortest time between two questions to a source.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a source could not answer.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Reads from the database what every scrape shows.
pub trait Gather: Send + Sync + 'static {
    /// One reading. It must survive being dropped half way, which happens after two seconds.
    fn gather(&self) -> BoxFuture<'_, Result<Reading, SourceError>>;
}

/// Something without which this process cannot do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What is missing, in a word: `database`, `schema`.
    pub what: String,
    /// Why, and what to do about it; secrets in it are masked before it is shown.
    pub why: String,
}

/// Knows whether this process can do its work.
pub trait Ready: Send + Sync + 'static {
    /// What is missing; nothing when ready. It must survive being dropped half way, which happens after two seconds.
    fn missing(&self) -> BoxFuture<'_, Vec<Missing>>;
}

/// A source of readings, asked in moderation.
#[derive(Clone)]
pub(crate) struct Gatherer {
    source: Arc<dyn Gather>,
    last: Arc<Mutex<Option<Asked<bool>>>>,
}

/// A source of readiness, asked in moderation.
#[derive(Clone)]
pub(crate) struct Readiness {
    source: Arc<dyn Ready>,
    last: Arc<Mutex<Option<Asked<Vec<Missing>>>>>,
}

struct Asked<T> {
    at: Instant,
    answer: T,
}

impl<T> Asked<T> {
    fn now(answer: T) -> Self {
        let at = Instant::now();
        Self { at, answer }
    }

    fn is_fresh(&self) -> bool {
        self.at.elapsed() < PAUSE
    }
}

impl Gatherer {
    pub(crate) fn new(source: Arc<dyn Gather>) -> Self {
        Self {
            source,
            last: Arc::default(),
        }
    }

    /// Brings the metrics up to date, or counts that it could not. Callers that come together share one answer.
    pub(crate) async fn refresh(&self, metrics: &Metrics) {
        let (this, kept) = (self.clone(), metrics.clone());
        // A task of its own: a scraper that hangs up does not cut the reading off, and a panic stays in here.
        let outcome = tokio::spawn(async move { this.refresh_once(&kept).await }).await;
        if let Err(error) = outcome {
            metrics.scrape_failed();
            tracing::error!(%error, "reading the metrics of the database crashed");
        }
    }

    async fn refresh_once(&self, metrics: &Metrics) {
        let mut last = self.last.lock().await;
        if last.as_ref().is_some_and(Asked::is_fresh) {
            return;
        }
        let was_good = last.as_ref().is_none_or(|asked| asked.answer);
        let failure = match tokio::time::timeout(PATIENCE, self.source.gather()).await {
            Ok(Ok(reading)) => {
                metrics.apply(&reading, Instant::now());
                None
            }
            Ok(Err(error)) => Some(chain(error.as_ref())),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        if let Some(why) = &failure {
            metrics.scrape_failed();
            // Once an outage, not once a scrape: the counter tells how long it lasts.
            if was_good {
                let why = redact(why);
                tracing::warn!(%why, "cannot read the metrics of the database, so the last good ones are shown");
            }
        }
        *last = Some(Asked::now(failure.is_none()));
    }
}

impl Readiness {
    pub(crate) fn new(source: Arc<dyn Ready>) -> Self {
        Self {
            source,
            last: Arc::default(),
        }
    }

    /// What is missing, at most a second ago.
    pub(crate) async fn missing(&self) -> Vec<Missing> {
        let this = self.clone();
        match tokio::spawn(async move { this.missing_once().await }).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::error!(%error, "the readiness check crashed");
                vec![Missing {
                    what: "readiness".to_owned(),
                    why: "the check crashed: see the log".to_owned(),
                }]
            }
        }
    }

    async fn missing_once(&self) -> Vec<Missing> {
        let mut last = self.last.lock().await;
        if let Some(asked) = last.as_ref().filter(|asked| asked.is_fresh()) {
            return asked.answer.clone();
        }
        let mut missing = tokio::time::timeout(PATIENCE, self.source.missing())
            .await
            .unwrap_or_else(|_| {
                let why = format!(
                    "the check gave no answer within {} s: is the database reachable?",
                    PATIENCE.as_secs()
                );
                vec![Missing {
                    what: "readiness".to_owned(),
                    why,
                }]
            });
        for one in &mut missing {
            one.why = redact(&one.why).into_owned();
        }
        *last = Some(Asked::now(missing.clone()));
        missing
    }
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
