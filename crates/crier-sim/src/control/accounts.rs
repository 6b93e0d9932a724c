//! `POST /_sim/accounts`: users, their apps and their tokens.
//!
//! Invariant: the answer is all that a client needs to act for the user, in the form that `crier auth
//! import` reads.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, answered, ok, read};
use crate::limits;
use crate::options::{AccountSpec, DEFAULT_SCOPE};
use crate::route::Route;
use crate::state::accounts::Account;
use crate::state::grants::{App, Terms};
use crate::state::{Sim, World};

/// The app of accounts that name none: always the same, so that configurations outlive a restart.
const SHARED_CLIENT: &str = "sim-client-id";
const SHARED_SECRET: &str = "sim-client-secret";
const SHARED_KEY: &str = "sim-consumer-key";
const SHARED_KEY_SECRET: &str = "sim-consumer-secret";
/// The app of accounts that ask for a public client and name none.
const SHARED_PUBLIC_CLIENT: &str = "sim-public-client-id";

/// Life of an access token in seconds (x-api.md 1.4).
const EXPIRES_IN: u64 = 7_200;

pub(super) async fn add(State(sim): State<Arc<Sim>>, body: Bytes) -> Answer {
    answered(read::<AccountSpec>(&body).and_then(|spec| {
        let made = make(&mut sim.world(), &spec)?;
        Ok(ok(201, &made))
    }))
}

pub(super) async fn list(State(sim): State<Arc<Sim>>) -> Answer {
    let world = sim.world();
    let all: Vec<Value> = world
        .accounts
        .list()
        .map(|account| {
            json!({
                "id": account.id,
                "username": account.username,
                "name": account.name,
                "premium": account.premium,
                "client_id": account.client_id,
            })
        })
        .collect();
    ok(200, &Value::Array(all))
}

/// Makes a user and grants an app access; a user who is there already gets another grant.
pub(crate) fn make(world: &mut World, spec: &AccountSpec) -> Result<Value, String> {
    spec.check()?;
    let known = world.accounts.by_handle(spec.handle()).cloned();
    if let (Some(known), Some(id)) = (&known, &spec.id)
        && known.id != *id
    {
        return Err(format!("@{} has the id `{}`", known.username, known.id));
    }
    if known.is_none()
        && let Some(id) = &spec.id
        && world.accounts.get(id).is_some()
    {
        return Err(format!("the id `{id}` is taken"));
    }
    for token in [&spec.access_token, &spec.refresh_token]
        .into_iter()
        .flatten()
    {
        if !world.grants.is_free(token) {
            return Err("that token is taken".to_owned());
        }
    }
    let app = app(world, spec)?;
    let now_us = world.clock.now_us();
    let id = match &known {
        Some(known) => known.id.clone(),
        None => spec
            .id
            .clone()
            .unwrap_or_else(|| world.chance.snowflake(now_us).to_string()),
    };
    if known.is_none() {
        world.accounts.insert(Account {
            id: id.clone(),
            username: spec.handle().to_owned(),
            name: spec.handle().to_owned(),
            premium: false,
            expires_in: EXPIRES_IN,
            client_id: app.client_id.clone(),
        });
    }
    let account = world
        .accounts
        .get_mut(&id)
        .ok_or("the account is gone".to_owned())?;
    account.client_id.clone_from(&app.client_id);
    if let Some(name) = &spec.name {
        account.name.clone_from(name);
    }
    account.premium = spec.premium.unwrap_or(account.premium);
    account.expires_in = spec.expires_in.unwrap_or(account.expires_in);
    let account = account.clone();
    for (route, limit) in &spec.limits {
        if let Some(route) = Route::from_spec(route) {
            let caller = limits::Caller {
                account: &id,
                app: &app.client_id,
                route,
            };
            world.limits.set(caller, limit);
        }
    }
    let terms = Terms {
        account: id.clone(),
        client_id: app.client_id.clone(),
        scope: spec.scope.clone().unwrap_or(DEFAULT_SCOPE.to_owned()),
        expires_in: account.expires_in,
    };
    let names = (spec.access_token.clone(), spec.refresh_token.clone());
    let World { grants, chance, .. } = world;
    let tokens = grants.issue(chance, terms, now_us, names);
    let (token, secret) = grants.add_user_token(chance, &id, &app.client_id, app.may_write);
    let mut oauth2 = json!({
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_in": tokens.expires_in,
        "scope": tokens.scope,
    });
    // A public client has no secret, and a grant without offline.access no refresh token.
    if let Some(members) = oauth2.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Ok(json!({
        "id": id,
        "username": account.username,
        "oauth2": oauth2,
        "oauth1": {
            "consumer_key": app.consumer_key,
            "consumer_secret": app.consumer_secret,
            "access_token": token,
            "access_token_secret": secret,
        },
    }))
}

/// The app that the user grants access to, made if it is not there.
fn app(world: &mut World, spec: &AccountSpec) -> Result<App, String> {
    let public = spec.public == Some(true);
    let client_id = match &spec.client_id {
        Some(id) if id.is_empty() || id.contains(':') => {
            return Err("`client_id` must not be empty or hold a colon".to_owned());
        }
        Some(id) => id.as_str(),
        None if spec.client_secret.is_some() => {
            return Err("`client_secret` needs a `client_id`".to_owned());
        }
        None if public => SHARED_PUBLIC_CLIENT,
        None => SHARED_CLIENT,
    };
    if let Some(app) = world.grants.app_mut(client_id) {
        let other_secret = spec.client_secret.is_some() && spec.client_secret != app.client_secret;
        let other_kind = spec
            .public
            .is_some_and(|public| public == app.client_secret.is_some());
        if other_secret || other_kind {
            return Err(format!(
                "the app `{client_id}` is there with another secret"
            ));
        }
        app.redirect_uris.extend(spec.redirect_uris.iter().cloned());
        app.may_write = spec.may_write();
        return Ok(app.clone());
    }
    let chance = &mut world.chance;
    let shared = client_id == SHARED_CLIENT;
    let fixed = |text: &str| shared.then(|| text.to_owned());
    let client_secret = (!public).then(|| {
        spec.client_secret
            .clone()
            .or_else(|| fixed(SHARED_SECRET))
            .unwrap_or_else(|| chance.word(50))
    });
    let app = App {
        client_id: client_id.to_owned(),
        client_secret,
        consumer_key: fixed(SHARED_KEY).unwrap_or_else(|| chance.word(25)),
        consumer_secret: fixed(SHARED_KEY_SECRET).unwrap_or_else(|| chance.word(50)),
        redirect_uris: spec.redirect_uris.clone(),
        may_write: spec.may_write(),
    };
    world.grants.add_app(app.clone());
    Ok(app)
}
