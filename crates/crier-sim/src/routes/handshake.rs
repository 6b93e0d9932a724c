//! OAuth 1.0a in three legs, with a callback or with a PIN (x-api.md 2.2).
//!
//! Invariant: a verifier goes only to the callback that the app named in its signed question, or to the
//! page that the user looks at; it is good once, and for the request token it was made for.

use url::{Url, form_urlencoded};

use super::Outcome;
use super::authorize::{chosen, error_page, escape, users};
use crate::auth::credentials;
use crate::auth::oauth1::{self, Claim, bad_data, bad_token};
use crate::call::{Call, value};
use crate::problem;
use crate::reply::Reply;
use crate::state::World;
use crate::state::handshakes::RequestToken;

/// A request token for the app that signs with its key alone.
pub(super) fn request_token(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let claim = claim(world, call, now_us)?;
    claim.prove(world, call, "")?;
    let callback = claim
        .parameter(call, "oauth_callback")
        .filter(|callback| !callback.is_empty())
        .ok_or_else(|| problem::v1(403, 38, "oauth_callback parameter is missing."))?;
    let uris = &claim.app.redirect_uris;
    let registered = uris.is_empty() || uris.contains(&callback);
    if callback != "oob" && (!registered || Url::parse(&callback).is_err()) {
        return Err(problem::v1(
            403,
            415,
            "Callback URL not approved for this client application. Approved callback URLs can be adjusted in your application settings",
        ));
    }
    // The app may ask for less than it has, never for more.
    let may_write = match claim.parameter(call, "x_auth_access_type").as_deref() {
        None | Some("write") => claim.app.may_write,
        Some("read") => false,
        Some(_) => {
            return Err(problem::v1(
                400,
                44,
                "x_auth_access_type parameter is invalid.",
            ));
        }
    };
    let World {
        handshakes, chance, ..
    } = world;
    let client_id = &claim.app.client_id;
    let (token, secret) = handshakes.open(chance, client_id, &callback, may_write, now_us);
    Ok(form(&[
        ("oauth_token", &token),
        ("oauth_token_secret", &secret),
        ("oauth_callback_confirmed", "true"),
    ]))
}

/// The page with its buttons.
pub(super) fn page(world: &World, call: &Call, now_us: i64) -> Outcome {
    let query = call.query();
    let (token, known) = asked(world, &query, now_us)?;
    let page = format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Authorize {client}</title></head>
<body><main>
<h1>Authorize {client} to access your account?</h1>
<p>It will be able to: {rights}</p>
<form method="post" action="/oauth/authorize">
<input type="hidden" name="oauth_token" value="{token}">
<label>Account <select name="account">
{users}</select></label>
<button name="decision" value="allow">Authorize app</button>
<button name="decision" value="deny">Cancel</button>
</form>
</main></body></html>
"#,
        client = escape(&known.client_id),
        rights = if known.may_write {
            "see and create posts"
        } else {
            "see posts"
        },
        token = escape(token),
        users = users(world, value(&query, "screen_name")),
    );
    Ok(Reply::html(200, page))
}

/// What a button does. A script may send the same members in a form or in the query, and `account` may
/// be left out where there is only one user.
pub(super) fn answer(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let mut given = call.form();
    given.extend(call.query());
    let (token, known) = asked(world, &given, now_us)?;
    let known = known.clone();
    if known.granted.is_some() {
        return Err(error_page("this page was answered already"));
    }
    let callback = Url::parse(&known.callback).ok();
    if value(&given, "decision") == Some("deny") {
        world.handshakes.close(token);
        return Ok(callback.map_or_else(
            || notice("You have denied access", "The app was not given access."),
            |url| redirect(url, &[("denied", token)]),
        ));
    }
    let account = chosen(world, &given)?;
    let World {
        handshakes, chance, ..
    } = world;
    let verifier = handshakes
        .grant(chance, token, &account)
        .ok_or_else(|| error_page("the request token is gone"))?;
    Ok(callback.map_or_else(
        || {
            let pin = format!("Enter this PIN in the app: <code id=\"pin\">{verifier}</code>");
            notice("You've granted access", &pin)
        },
        |url| {
            redirect(
                url,
                &[("oauth_token", token), ("oauth_verifier", &verifier)],
            )
        },
    ))
}

/// The user's token, for the app that shows the verifier. One look at the verifier ends the handshake.
pub(super) fn access_token(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let claim = claim(world, call, now_us)?;
    let token = claim.token.clone().ok_or_else(bad_data)?;
    let known = world
        .handshakes
        .get(&token, now_us)
        .filter(|known| known.client_id == claim.app.client_id)
        .cloned()
        .ok_or_else(bad_token)?;
    claim.prove(world, call, &known.secret)?;
    let verifier = claim.parameter(call, "oauth_verifier").unwrap_or_default();
    world.handshakes.close(&token);
    let account = known
        .granted
        .filter(|granted| granted.verifier == verifier)
        .and_then(|granted| world.accounts.get(&granted.account).cloned())
        .ok_or_else(|| {
            let words = "Error processing your OAuth request: Invalid oauth_verifier parameter";
            problem::oauth1(32, words)
        })?;
    let World { grants, chance, .. } = world;
    let app = (known.client_id.as_str(), known.may_write);
    let (token, secret) = grants.user_token_for(chance, &account.id, app);
    Ok(form(&[
        ("oauth_token", &token),
        ("oauth_token_secret", &secret),
        ("user_id", &account.id),
        ("screen_name", &account.username),
    ]))
}

/// Takes back the token that signs.
pub(super) fn invalidate(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let claim = claim(world, call, now_us)?;
    let token = claim.token.clone().ok_or_else(bad_data)?;
    let user = world
        .grants
        .user_token(&token)
        .filter(|user| user.client_id == claim.app.client_id)
        .cloned()
        .ok_or_else(bad_token)?;
    claim.prove(world, call, &user.secret)?;
    world.grants.invalidate(&token);
    Ok(Reply::json(
        200,
        &serde_json::json!({"access_token": token}),
    ))
}

fn claim(world: &World, call: &Call, now_us: i64) -> Result<Claim, Reply> {
    let header = credentials(&call.headers, "OAuth").ok_or_else(bad_data)?;
    oauth1::claim(world, header, now_us)
}

fn asked<'a, 'b>(
    world: &'a World,
    given: &'b [(String, String)],
    now_us: i64,
) -> Result<(&'b str, &'a RequestToken), Reply> {
    let token = value(given, "oauth_token").unwrap_or_default();
    let known = world.handshakes.get(token, now_us).ok_or_else(|| {
        error_page("the request token for this page is invalid: it may have been used already, or be too old")
    })?;
    Ok((token, known))
}

/// The form that this flow answers with. X says `text/html` of it.
fn form(pairs: &[(&str, &str)]) -> Reply {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    Reply::typed(200, "text/html; charset=utf-8", body)
}

fn redirect(mut callback: Url, pairs: &[(&str, &str)]) -> Reply {
    callback.query_pairs_mut().extend_pairs(pairs);
    Reply::empty(302).with("location", &callback)
}

fn notice(title: &str, html: &str) -> Reply {
    Reply::html(
        200,
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body><main><h1>{title}</h1><p>{html}</p></main></body></html>\n"
        ),
    )
}
