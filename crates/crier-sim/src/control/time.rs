//! `/_sim/clock`: X's clock, to read and to move.
//!
//! Invariant: it moves whole: there is no second clock.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answered, ok, read};
use crate::clock::LATEST_US;
use crate::state::Sim;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance_s: Option<f64>,
    set_us: Option<i64>,
}

pub(super) async fn show(State(sim): State<Arc<Sim>>) -> Answer {
    ok(200, &json!({"now_us": sim.world().clock.now_us()}))
}

pub(super) async fn set(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<Move>(&body).and_then(|to| {
        let mut world = sim.world();
        let moved = match (to.advance_s, to.set_us) {
            (Some(seconds), None) => world.clock.advance_us(micros(seconds)?),
            (None, Some(us)) => world.clock.set_us(us),
            (Some(_), Some(_)) | (None, None) => {
                return Err("give either `advance_s` or `set_us`".to_owned());
            }
        };
        if !moved {
            return Err(format!("the clock goes from 0 to {LATEST_US} microseconds"));
        }
        Ok(ok(200, &json!({"now_us": world.clock.now_us()})))
    }))
}

/// Seconds or dollars, of either sign and with a fraction, as millionths.
pub(super) fn micros(seconds: f64) -> Result<i64, String> {
    std::time::Duration::try_from_secs_f64(seconds.abs())
        .ok()
        .and_then(|span| i64::try_from(span.as_micros()).ok())
        .map(|us| if seconds < 0.0 { -us } else { us })
        .ok_or_else(|| format!("`{seconds}` is not a usable number"))
}
