//! Connections: accepted, served over HTTP/1.1, and dropped on demand.
//!
//! Invariant: a lost answer is a closed connection without one byte of an answer. hyper does that
//! when the service fails, which is why connections are served here and not by `axum::serve`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control;
use crate::error::SimError;
use crate::options::SimOptions;
use crate::pipeline::{self, Dropped};
use crate::state::Sim;

/// How long calls under way may take to end once the simulator is told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which is mostly a shortage of file descriptors that passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Failed accepts in a row after which the socket is held to be broken.
const ACCEPT_PATIENCE: u32 = 100;

/// Serves X on `listener` until `shutdown`; calls under way then have two seconds to end.
///
/// # Errors
/// [`SimError::Script`] if the options contradict themselves, [`SimError::Spool`] if the folder for
/// upload bytes cannot be written to, [`SimError::Accept`] if the socket goes on failing.
pub async fn serve(
    listener: TcpListener,
    options: SimOptions,
    shutdown: CancellationToken,
) -> Result<(), SimError> {
    let sim = Sim::new(options)?;
    let control = control::router(Arc::clone(&sim));
    let tasks = TaskTracker::new();
    let mut failed = 0;
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failed = 0;
                tasks.spawn(connection(
                    stream,
                    Arc::clone(&sim),
                    control.clone(),
                    shutdown.clone(),
                ));
            }
            Err(error) if failed < ACCEPT_PATIENCE => {
                failed += 1;
                tracing::warn!(%error, "the simulator could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => return Err(SimError::Accept(error)),
        }
    }
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::debug!("calls under way were cut off");
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    sim: Arc<Sim>,
    control: Router,
    shutdown: CancellationToken,
) {
    // Without it, small answers wait for the peer's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no delay could not be set");
    }
    let control = TowerToHyperService::new(control);
    let service = service_fn(move |request: Request<Incoming>| {
        let (sim, control) = (Arc::clone(&sim), control.clone());
        async move {
            let request = request.map(Body::new);
            if request.uri().path().starts_with(control::PREFIX) {
                let Ok(response) = control.call(request).await;
                Ok::<Response<Body>, Dropped>(response)
            } else {
                pipeline::answer(sim, request).await
            }
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
