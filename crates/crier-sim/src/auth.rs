//! Who calls, and whether they may: OAuth 2.0 tokens and OAuth 1.0a signatures (x-api.md 1 and 2).
//!
//! Invariant: nothing is done for a caller who is not proven; a proven caller without the right is
//! told apart from one who is not proven.

pub(crate) mod oauth1;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::call::{Call, form_of, value};
use crate::ingest::Payload;
use crate::problem;
use crate::reply::Reply;
use crate::route::Route;
use crate::state::World;

/// A proven caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// User id.
    pub(crate) account: String,
    /// App.
    pub(crate) client_id: String,
    rights: Rights,
}

#[derive(Debug, Clone)]
enum Rights {
    Scopes(String),
    ReadOnly,
    ReadAndWrite,
}

/// The text after the scheme, if the header has that scheme (its case is free, RFC 9110 11.1).
pub(crate) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (found, rest) = header.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Proves the caller, or 401.
pub(crate) fn prove(world: &mut World, call: &Call, now_us: i64) -> Result<Caller, Reply> {
    if let Some(token) = credentials(&call.headers, "Bearer") {
        let access = world
            .grants
            .access(token)
            .filter(|access| now_us < access.expires_us)
            .ok_or_else(problem::unauthorized)?;
        return Ok(Caller {
            account: access.account.clone(),
            client_id: access.client_id.clone(),
            rights: Rights::Scopes(access.scope.clone()),
        });
    }
    if let Some(parameters) = credentials(&call.headers, "OAuth") {
        let user = oauth1::verify(world, call, parameters, now_us)?;
        return Ok(Caller {
            account: user.account,
            client_id: user.client_id,
            rights: if user.may_write {
                Rights::ReadAndWrite
            } else {
                Rights::ReadOnly
            },
        });
    }
    Err(problem::unauthorized())
}

impl Caller {
    /// Whether the caller may do this, or 403.
    pub(crate) fn may(&self, route: Route) -> Result<(), Reply> {
        match &self.rights {
            Rights::ReadAndWrite => Ok(()),
            Rights::ReadOnly => {
                if matches!(
                    route,
                    Route::ReadPost | Route::ReadPosts | Route::UserPosts | Route::Me
                ) {
                    Ok(())
                } else {
                    Err(problem::read_only_app())
                }
            }
            Rights::Scopes(granted) => {
                let has = |wanted: &&str| granted.split(' ').any(|scope| scope == *wanted);
                if route.scopes().iter().all(has) {
                    Ok(())
                } else {
                    Err(problem::forbidden("Forbidden"))
                }
            }
        }
    }
}

/// The handle that a call seems to come from, proven or not: for records and for faults.
pub(crate) fn seeming_account(
    world: &World,
    route: Route,
    headers: &HeaderMap,
    payload: Option<&Payload>,
) -> Option<String> {
    let grants = &world.grants;
    let account = if route.names_caller_in_body() {
        let form = form_of(headers, payload?);
        let of = |name| value(&form, name);
        of("refresh_token")
            .or(of("token"))
            .and_then(|token| {
                let refresh = grants.refresh(token).map(|known| &known.account);
                refresh.or_else(|| grants.access(token).map(|known| &known.account))
            })
            .or_else(|| Some(&grants.code(of("code")?)?.account))?
    } else if let Some(token) = credentials(headers, "Bearer") {
        &grants.access(token)?.account
    } else {
        let parameters = oauth1::parameters(credentials(headers, "OAuth")?);
        let token = value(&parameters, "oauth_token")?;
        grants
            .user_token(token)
            .map(|known| &known.account)
            .or_else(|| world.handshakes.account(token))?
    };
    Some(world.accounts.handle(account))
}
