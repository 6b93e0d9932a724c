//! `POST /2/oauth2/token` and `/revoke` (x-api.md 1.5 and 1.6).
//!
//! Invariant: the app is proven before the token is looked at, so that a wrong secret never spends a
//! refresh token.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Outcome;
use crate::auth::credentials;
use crate::call::{Call, members_of, value};
use crate::problem;
use crate::reply::Reply;
use crate::state::World;
use crate::state::grants::{Code, Terms, TokenSet};

/// A fresh pair of tokens, or the refusal in OAuth's own form.
pub(super) fn token(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let form = members_of(&call.headers, &call.payload);
    let grant = required(&form, "grant_type")?;
    let client_id = client(world, call, &form)?;
    match grant {
        "refresh_token" => {
            let token = required(&form, "refresh_token")?;
            let good = world
                .grants
                .refresh(token)
                .is_some_and(|known| !known.spent && known.client_id == client_id);
            let World { grants, chance, .. } = world;
            let set = if good {
                grants.rotate(chance, token, now_us)
            } else {
                None
            };
            let set = set.ok_or_else(|| {
                problem::oauth2(
                    400,
                    "invalid_request",
                    "Value passed for the token was invalid.",
                )
            })?;
            world.records.refreshes += 1;
            Ok(Reply::json(200, &token_body(&set)))
        }
        "authorization_code" => {
            let set = exchange(world, &form, &client_id, now_us)?;
            Ok(Reply::json(200, &token_body(&set)))
        }
        other => Err(problem::oauth2(
            400,
            "unsupported_grant_type",
            &format!("Value passed for the grant_type [{other}] was invalid."),
        )),
    }
}

/// Takes a token back. That a token is unknown is no error (RFC 7009 2.2).
pub(super) fn revoke(world: &mut World, call: &Call) -> Outcome {
    let form = members_of(&call.headers, &call.payload);
    let token = required(&form, "token")?;
    let client_id = client(world, call, &form)?;
    let owner = world
        .grants
        .refresh(token)
        .map(|known| &known.client_id)
        .or_else(|| world.grants.access(token).map(|known| &known.client_id));
    if owner.is_some_and(|owner| *owner != client_id) {
        return Err(problem::oauth2(
            400,
            "invalid_request",
            "Value passed for the token was invalid.",
        ));
    }
    world.grants.revoke(token);
    Ok(Reply::json(200, &json!({"revoked": true})))
}

fn token_body(set: &TokenSet) -> Value {
    let mut body = json!({
        "token_type": "bearer",
        "expires_in": set.expires_in,
        "access_token": set.access_token,
        "scope": set.scope,
    });
    if let (Some(token), Some(members)) = (&set.refresh_token, body.as_object_mut()) {
        members.insert("refresh_token".to_owned(), json!(token));
    }
    body
}

fn required<'a>(form: &'a [(String, String)], name: &str) -> Result<&'a str, Reply> {
    value(form, name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            problem::oauth2(
                400,
                "invalid_request",
                &format!("Missing required parameter [{name}]."),
            )
        })
}

/// Proves the app: Basic for confidential clients, `client_id` in the body for public ones.
fn client(world: &World, call: &Call, form: &[(String, String)]) -> Result<String, Reply> {
    let missing = || {
        problem::oauth2(
            401,
            "unauthorized_client",
            "Missing valid authorization header",
        )
    };
    let wrong = || problem::oauth2(401, "invalid_client", "Client authentication failed.");
    let named = value(form, "client_id");
    if call.header("authorization").is_some() {
        let decoded = credentials(&call.headers, "Basic")
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(missing)?;
        let (id, secret) = decoded.split_once(':').ok_or_else(missing)?;
        let known = world.grants.app(id).ok_or_else(wrong)?;
        // Both Basic and client_id are tolerated (x-api.md 1.5), two different apps are not.
        if known.client_secret.as_deref() != Some(secret) || named.is_some_and(|name| name != id) {
            return Err(wrong());
        }
        return Ok(id.to_owned());
    }
    let app = world
        .grants
        .app(named.ok_or_else(missing)?)
        .ok_or_else(wrong)?;
    if app.client_secret.is_some() {
        return Err(missing());
    }
    Ok(app.client_id.clone())
}

/// A code for tokens: single use, 30 seconds, same redirect, PKCE verified (x-api.md 1.2 and 1.4).
fn exchange(
    world: &mut World,
    form: &[(String, String)],
    client_id: &str,
    now_us: i64,
) -> Result<TokenSet, Reply> {
    let code = required(form, "code")?;
    let redirect_uri = required(form, "redirect_uri")?;
    let verifier = required(form, "code_verifier")?;
    let refused = |what: &str| {
        problem::oauth2(
            400,
            "invalid_request",
            &format!("Value passed for the {what} was invalid."),
        )
    };
    let known = world
        .grants
        .code(code)
        .filter(|known| now_us < known.expires_us && known.client_id == client_id)
        .cloned()
        .ok_or_else(|| refused("authorization code"))?;
    // A code that was shown with a wrong verifier is in the wrong hands.
    world.grants.spend_code(code);
    if known.redirect_uri != redirect_uri {
        return Err(refused("redirect uri"));
    }
    if !verifies(&known, verifier) {
        return Err(refused("code verifier"));
    }
    let expires_in = world
        .accounts
        .get(&known.account)
        .map_or(7_200, |account| account.expires_in);
    let terms = Terms {
        account: known.account,
        client_id: known.client_id,
        scope: known.scope,
        expires_in,
    };
    let World { grants, chance, .. } = world;
    Ok(grants.issue(chance, terms, now_us, (None, None)))
}

fn verifies(code: &Code, verifier: &str) -> bool {
    if code.hashed {
        URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == code.challenge
    } else {
        verifier == code.challenge
    }
}
