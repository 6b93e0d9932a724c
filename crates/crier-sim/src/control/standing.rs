//! Money, standing and consent: what happens to apps and users outside of the API.
//!
//! Invariant: these change what later calls are answered, and no token, post or record that is there
//! already, save for a consent that is taken back.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::time::micros;
use super::{Answer, answered, ok, read};
use crate::options::bare;
use crate::state::accounts::{Account, Standing};
use crate::state::grants::AppStanding;
use crate::state::{Sim, World};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credits {
    client_id: String,
    usd: Option<f64>,
    spend_cap_usd: Option<f64>,
    owner: Option<String>,
}

/// Sets the balance and the spending limit of an app; absent is endless.
pub(super) async fn credits(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<Credits>(&body).and_then(|credits| {
        let mut world = sim.world();
        let owner = match &credits.owner {
            Some(handle) => Some(account(&world, handle)?.id.clone()),
            None => None,
        };
        let app = world
            .grants
            .app_mut(&credits.client_id)
            .ok_or_else(|| no_app(&credits.client_id))?;
        let balance = credits.usd.map(micros).transpose()?;
        let cap = credits.spend_cap_usd.map(micros).transpose()?;
        if owner.is_some() {
            app.owner = owner;
        }
        let now_us = world.clock.now_us();
        world.money.set(&credits.client_id, balance, cap, now_us);
        Ok(ok(200, &json!({"ok": true})))
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stand {
    account: Option<String>,
    client_id: Option<String>,
    state: String,
}

/// Suspends, locks, restricts and frees a user or an app.
pub(super) async fn standing(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<Stand>(&body).and_then(|stand| {
        let mut world = sim.world();
        match (&stand.account, &stand.client_id) {
            (Some(handle), None) => {
                let standing = match stand.state.as_str() {
                    "active" => Standing::Active,
                    "suspended" => Standing::Suspended,
                    "locked" => Standing::Locked,
                    "read_only" => Standing::ReadOnly,
                    "silenced" => Standing::Silenced,
                    other => {
                        return Err(format!(
                            "the state of an account is `active`, `suspended`, `locked`, `read_only` or `silenced`, not `{other}`"
                        ));
                    }
                };
                let id = account(&world, handle)?.id.clone();
                if let Some(account) = world.accounts.get_mut(&id) {
                    account.standing = standing;
                }
            }
            (None, Some(client_id)) => {
                let standing = match stand.state.as_str() {
                    "active" => AppStanding::Active,
                    "suspended" => AppStanding::Suspended,
                    "not_enrolled" => AppStanding::NotEnrolled,
                    other => {
                        return Err(format!(
                            "the state of an app is `active`, `suspended` or `not_enrolled`, not `{other}`"
                        ));
                    }
                };
                let app = world.grants.app_mut(client_id);
                app.ok_or_else(|| no_app(client_id))?.standing = standing;
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err("give either `account` or `client_id`".to_owned());
            }
        }
        Ok(ok(200, &json!({"ok": true})))
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    account: String,
    client_id: Option<String>,
}

/// The user takes access back from an app, or from all apps.
pub(super) async fn revoke(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<Revoke>(&body).and_then(|revoke| {
        let mut world = sim.world();
        let id = account(&world, &revoke.account)?.id.clone();
        world.grants.disown(&id, revoke.client_id.as_deref());
        Ok(ok(200, &json!({"ok": true})))
    }))
}

fn account<'a>(world: &'a World, handle: &str) -> Result<&'a Account, String> {
    world
        .accounts
        .by_handle(bare(handle))
        .ok_or_else(|| format!("there is no account `{handle}`"))
}

fn no_app(client_id: &str) -> String {
    format!("there is no app `{client_id}`")
}
