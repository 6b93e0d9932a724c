//! The paths under `/_sim/`: how tests and scripts set the simulator up and look into it.
//!
//! Invariant: these paths are never struck by faults, never limited and never recorded; a request that
//! is not understood is 400 with a reason and changes nothing.

pub(crate) mod accounts;
mod time;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Response;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::FaultSpec;
use crate::limits::{self, Defaults, Remaining};
use crate::options::{LimitSpec, bare, unknown_route};
use crate::reply::Reply;
use crate::route::Route;
use crate::state::Sim;

/// What every control path begins with.
pub(crate) const PREFIX: &str = "/_sim";

/// All control paths.
pub(crate) fn router(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/_sim/accounts", get(accounts::list).post(accounts::add))
        .route("/_sim/posts", get(views::posts))
        .route("/_sim/requests", get(views::requests))
        .route("/_sim/media", get(views::media))
        .route("/_sim/stats", get(views::stats))
        .route(
            "/_sim/faults",
            get(list_faults).post(arm_fault).delete(disarm_faults),
        )
        .route("/_sim/limits", post(set_limits))
        .route("/_sim/clock", get(time::show).post(time::set))
        .route("/_sim/options", get(show_options).post(set_options))
        .route("/_sim/reset", post(reset))
        .fallback(nowhere)
        .with_state(sim)
}

/// An answer of a control path.
type Answer = Response<Body>;

fn ok(status: u16, body: &Value) -> Answer {
    Reply::json(status, body).into_response(None)
}

fn refused(why: &str) -> Answer {
    Reply::json(400, &json!({"error": why})).into_response(None)
}

/// Reads a JSON body whatever its type is said to be.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not usable: {error}"))
}

fn answered(outcome: Result<Answer, String>) -> Answer {
    outcome.unwrap_or_else(|why| refused(&why))
}

async fn nowhere() -> Answer {
    let why = "there is no such control path or method; see the README of crier-sim";
    Reply::json(404, &json!({"error": why})).into_response(None)
}

async fn list_faults(State(sim): State<Arc<Sim>>) -> Answer {
    ok(200, &json!(sim.world().faults.list()))
}

async fn arm_fault(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<FaultSpec>(&body).and_then(|spec| {
        spec.check()?;
        let mut world = sim.world();
        let now_us = world.clock.now_us();
        let id = world.faults.arm(spec, now_us);
        Ok(ok(201, &json!({"id": id})))
    }))
}

async fn disarm_faults(State(sim): State<Arc<Sim>>) -> Answer {
    let disarmed = sim.world().faults.disarm();
    ok(200, &json!({"disarmed": disarmed}))
}

/// A limit to change while the simulator runs.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitChange {
    account: String,
    route: String,
    limit: Option<u32>,
    window_s: Option<u64>,
    remaining: Option<u32>,
    user_24h: Option<u32>,
    user_24h_remaining: Option<u32>,
    app_24h: Option<u32>,
    app_24h_remaining: Option<u32>,
    media_24h: Option<u32>,
    media_24h_remaining: Option<u32>,
}

async fn set_limits(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<LimitChange>(&body).and_then(|change| {
        let mut world = sim.world();
        let route = Route::from_spec(&change.route).ok_or_else(|| unknown_route(&change.route))?;
        let account = world
            .accounts
            .by_handle(bare(&change.account))
            .ok_or_else(|| format!("there is no account `{}`", change.account))?
            .clone();
        let caller = limits::Caller {
            account: &account.id,
            app: &account.client_id,
            route,
        };
        let spec = LimitSpec {
            limit: change.limit,
            window_s: change.window_s,
            user_24h: change.user_24h,
            app_24h: change.app_24h,
            media_24h: change.media_24h,
        };
        let remaining = Remaining {
            window: change.remaining,
            user_24h: change.user_24h_remaining,
            app_24h: change.app_24h_remaining,
            media_24h: change.media_24h_remaining,
        };
        let now_us = world.clock.now_us();
        let crate::state::World {
            limits, options, ..
        } = &mut *world;
        limits.set(caller, &spec);
        let defaults = Defaults {
            limits: &options.limits,
            app_limits: options.documented_app_limits,
            media_24h: options.v1_media_24h,
        };
        limits.set_remaining(caller, &defaults, &remaining, now_us);
        Ok(ok(200, &json!({"ok": true})))
    }))
}

async fn show_options(State(sim): State<Arc<Sim>>) -> Answer {
    let options = sim.world().options.clone();
    ok(200, &serde_json::to_value(options).unwrap_or_default())
}

async fn set_options(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<Value>(&body).and_then(|changes| {
        let mut world = sim.world();
        world.options = world.options.merged(&changes)?;
        Ok(ok(200, &json!({"ok": true})))
    }))
}

async fn reset(State(sim): State<Arc<Sim>>) -> Answer {
    answered(
        sim.reset()
            .map(|()| ok(200, &json!({"ok": true})))
            .map_err(|error| error.to_string()),
    )
}
