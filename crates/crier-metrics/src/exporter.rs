//! The HTTP pages for Prometheus and for whoever supervises the process.
//!
//! **Invariant:** `/metrics` and `/healthz` answer whatever state the database is in, within the patience for a
//! source; no page shows a secret.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gather::{Gather, Gatherer, Readiness, Ready};
use crate::health::Health;
use crate::metrics::Metrics;

/// How long answers under way may take once the exporter is told to stop: a little more than a source's patience.
const GRACE: Duration = Duration::from_secs(3);

/// Longest part of an unknown path that is repeated to whoever asked for it, in characters.
const MAX_ECHO: usize = 100;

const PAGES: &str = "/metrics, /healthz and /readyz";

/// Why the exporter stopped although nobody told it to.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The listener failed.
    #[error(
        "the metrics exporter cannot serve any longer; start the process again, with another `listen` address if this one is taken away"
    )]
    Serve(#[source] io::Error),
}

#[derive(Clone)]
struct Pages {
    metrics: Metrics,
    gatherer: Option<Gatherer>,
    readiness: Option<Readiness>,
    health: Health,
}

/// Serves the pages until the token is cancelled. Without a `gather` the metrics of the database are left out;
/// without a `ready` the process is ready as soon as it listens.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    gather: Option<Arc<dyn Gather>>,
    ready: Option<Arc<dyn Ready>>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), ExporterError> {
    let pages = Pages {
        metrics,
        gatherer: gather.map(Gatherer::new),
        readiness: ready.map(Readiness::new),
        health,
    };
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(exposition))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .with_state(pages);
    let server =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended.map_err(ExporterError::Serve),
        // A client that never finishes its request must not keep the process alive.
        () = out_of_time => Ok(()),
    }
}

async fn exposition(State(pages): State<Pages>) -> Response {
    if let Some(gatherer) = &pages.gatherer {
        gatherer.refresh(&pages.metrics).await;
    }
    let text = pages.metrics.render(Instant::now());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

async fn healthz(State(pages): State<Pages>) -> Response {
    let stalled = pages.health.stalled(Instant::now());
    if stalled.is_empty() {
        return Json(json!({ "status": "ok", "loops": pages.health.loops() })).into_response();
    }
    let body = json!({ "status": "stalled", "stalled": stalled });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let missing = match &pages.readiness {
        Some(readiness) => readiness.missing().await,
        None => Vec::new(),
    };
    if missing.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let body = json!({ "status": "not ready", "missing": missing });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn index() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>crier</title></head><body>\n",
        "<h1>crier</h1>\n<ul>\n",
        "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n",
        "<li><a href=\"/healthz\">/healthz</a>: is every loop turning? 503 when one is stuck</li>\n",
        "<li><a href=\"/readyz\">/readyz</a>: can it work? 503 and what is missing when it cannot</li>\n",
        "</ul>\n</body></html>\n",
    ))
}

async fn not_found(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(MAX_ECHO).collect();
    let text = format!("no page at `{path}`: this exporter has {PAGES}\n");
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text,
    )
        .into_response()
}
