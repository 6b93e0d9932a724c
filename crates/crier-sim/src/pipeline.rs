//! One call of X from its arrival to its answer: noted, struck by a fault if one is armed, read, done.
//!
//! Invariant: a call runs in a task of its own, so that a deed that has begun is finished even when the
//! caller has gone; the record tells what was done, the connection only what the caller saw.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream;

use crate::auth::seeming_account;
use crate::call::Call;
use crate::clock::seconds;
use crate::faults::{FaultKind, Strike};
use crate::ingest::{Payload, Plan, ingest};
use crate::problem;
use crate::record::Record;
use crate::reply::Reply;
use crate::route::Route;
use crate::routes;
use crate::spool::{Digest, digest};
use crate::state::Sim;

/// How long the first half of a cut answer has to leave before the connection goes.
const CUT_PAUSE: Duration = Duration::from_millis(50);

/// The connection is to be dropped without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped as a fault asks")]
pub(crate) struct Dropped;

/// Answers a call, or has its connection dropped.
pub(crate) async fn answer(
    sim: Arc<Sim>,
    request: Request<Body>,
) -> Result<Response<Body>, Dropped> {
    match tokio::spawn(run(sim, request)).await {
        Ok(answered) => answered,
        Err(error) => {
            tracing::error!(%error, "the simulator failed at a call");
            Ok(problem::internal("the simulator failed at this call").into_response(None))
        }
    }
}

async fn run(sim: Arc<Sim>, request: Request<Body>) -> Result<Response<Body>, Dropped> {
    let found = Route::find(request.method(), request.uri().path());
    let (parts, body) = request.into_parts();
    let again = |body| {
        // Only what reading a body needs: its headers.
        let mut request = Request::new(body);
        *request.headers_mut() = parts.headers.clone();
        request
    };
    let Some((route, id)) = found else {
        let number = note(&sim, None, &parts, None).0;
        ingest(again(body), Plan::Discard).await;
        let nowhere = if parts.uri.path().starts_with("/1.1/") {
            problem::v1(404, 34, "Sorry, that page does not exist.")
        } else {
            problem::blank(404, "Not Found", "Not Found")
        };
        return Ok(close(&sim, number, nowhere).into_response(None));
    };
    let small = Plan::Small(sim.world().options.edge_limit_bytes);
    let (early, body) = if route.names_caller_in_body() {
        (Some(ingest(again(body), small).await), None)
    } else {
        (None, Some(body))
    };
    let (number, strike) = note(&sim, Some(route), &parts, early.as_ref());
    let Strike {
        kind,
        delay_ms,
        reply,
    } = strike.unwrap_or(Strike {
        kind: FaultKind::Slow,
        delay_ms: 0,
        reply: None,
    });
    let delay = Duration::from_millis(delay_ms);
    if kind == FaultKind::RequestLost {
        tokio::time::sleep(delay).await;
        sim.world().records.close(number, 0);
        return Err(Dropped);
    }
    if let Some(reply) = reply {
        if let Some(body) = body {
            ingest(again(body), Plan::Discard).await;
        }
        tokio::time::sleep(delay).await;
        return Ok(close(&sim, number, reply).into_response(None));
    }
    let payload = match (early, body) {
        (Some(payload), _) => payload,
        (None, Some(body)) => {
            let plan = plan(&sim, route, id.as_deref());
            match plan {
                Ok(plan) => ingest(again(body), plan).await,
                Err(error) => Payload::Disk(error.to_string()),
            }
        }
        (None, None) => Payload::Discarded,
    };
    if matches!(payload, Payload::Gone) {
        sim.world().records.close(number, 0);
        return Err(Dropped);
    }
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let digest = if route == Route::Finalize {
        session_digest(&sim, id.as_deref().unwrap_or_default()).await
    } else {
        None
    };
    let call = Call {
        route,
        id,
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        payload,
        digest,
        number,
    };
    let reply = routes::act(&mut sim.world(), &call);
    let reply = close(&sim, number, reply);
    match kind {
        FaultKind::AnswerLost => Err(Dropped),
        FaultKind::Cut => cut(reply),
        FaultKind::RequestLost | FaultKind::Answer | FaultKind::Slow => {
            Ok(reply.into_response(None))
        }
    }
}

/// Notes the arrival and takes the fault that is due.
fn note(
    sim: &Sim,
    route: Option<Route>,
    parts: &axum::http::request::Parts,
    payload: Option<&Payload>,
) -> (u64, Option<Strike>) {
    let mut world = sim.world();
    let now_us = world.clock.now_us();
    let account = route.and_then(|route| seeming_account(&world, route, &parts.headers, payload));
    let strike = route.and_then(|route| world.faults.strike(route, account.as_deref(), now_us));
    let path = parts.uri.path_and_query();
    let record = Record {
        method: parts.method.to_string(),
        path: path.map_or_else(|| parts.uri.to_string(), ToString::to_string),
        route: route.map(Route::spec),
        account,
        status: 0,
        received_at_us: now_us,
        fault: strike.as_ref().map(|strike| strike.kind.word()),
        traceparent: parts
            .headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        segment_index: None,
        bytes: None,
    };
    (world.records.open(record), strike)
}

/// Completes the record, and dates the reply.
fn close(sim: &Sim, number: u64, reply: Reply) -> Reply {
    let mut world = sim.world();
    world.records.close(number, reply.status);
    if reply
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("date"))
    {
        return reply;
    }
    let now = DateTime::from_timestamp(seconds(world.clock.now_us()), 0).unwrap_or_default();
    reply.with("date", &now.format("%a, %d %b %Y %H:%M:%S GMT"))
}

/// How to read the body of a call.
fn plan(sim: &Sim, route: Route, id: Option<&str>) -> std::io::Result<Plan> {
    if route == Route::UpdateWithMedia {
        return Ok(Plan::Form(sim.world().options.one_shot_limit_bytes));
    }
    if !route.carries_file() {
        return Ok(Plan::Small(sim.world().options.edge_limit_bytes));
    }
    if route == Route::OneShot {
        let limit = sim.world().options.one_shot_limit_bytes;
        return Ok(Plan::File {
            spool: sim.new_spool()?,
            limit,
            hash: true,
        });
    }
    let id = id.unwrap_or_default();
    let (known, limit) = {
        let world = sim.world();
        let now_us = world.clock.now_us();
        let media = world.media.get(id).filter(|media| media.is_open(now_us));
        (
            media.map(|media| media.spool.clone()),
            world.options.edge_limit_bytes,
        )
    };
    let spool = match known {
        None => return Ok(Plan::Discard),
        Some(Some(spool)) => spool,
        Some(None) => {
            let fresh = sim.new_spool()?;
            let mut world = sim.world();
            let media = world.media.get_mut(id);
            // A segment beside this one may have been first.
            media.map_or_else(
                || fresh.clone(),
                |media| media.spool.get_or_insert(fresh.clone()).clone(),
            )
        }
    };
    Ok(Plan::File {
        spool,
        limit,
        hash: false,
    })
}

/// Hashes a session's bytes outside the lock, if they are as many as were announced.
async fn session_digest(sim: &Sim, id: &str) -> Option<(u64, Digest)> {
    let (spool, extents, version) = {
        let world = sim.world();
        let media = world.media.get(id)?;
        let extents: Vec<_> = media.segments.values().copied().collect();
        let sum: u64 = extents.iter().map(|extent| extent.len).sum();
        if sum != media.total_bytes {
            return None;
        }
        (media.spool.clone()?, extents, media.version)
    };
    let work = tokio::task::spawn_blocking(move || digest(&spool, &extents));
    match work.await {
        Ok(Ok(digest)) => Some((version, digest)),
        Ok(Err(error)) => {
            tracing::error!(%error, "upload bytes could not be read back");
            None
        }
        Err(error) => {
            tracing::error!(%error, "upload bytes could not be hashed");
            None
        }
    }
}

/// The first half of the body under the length of the whole, then nothing more.
fn cut(reply: Reply) -> Result<Response<Body>, Dropped> {
    let whole = reply.body.clone();
    if whole.is_empty() {
        return Err(Dropped);
    }
    let half: Bytes = whole.slice(..whole.len().div_ceil(2).min(whole.len() - 1));
    let parts = stream::unfold(Some(half), |half| async move {
        if let Some(half) = half {
            return Some((Ok(half), None));
        }
        // The first half has to be on the wire before the connection goes.
        tokio::time::sleep(CUT_PAUSE).await;
        Some((Err(Dropped), None))
    });
    Ok(reply
        .with("content-length", &whole.len())
        .into_response(Some(Body::from_stream(parts))))
}
