//! `/i/oauth2/authorize`: the page on which a user grants access (x-api.md 1.2).
//!
//! Invariant: a code goes only to a redirect URI that the app may use, with the state unchanged; a
//! request that cannot be trusted gets a page and never a redirect.

use std::fmt::Write as _;

use url::Url;

use super::Outcome;
use crate::call::{Call, value};
use crate::options::bare;
use crate::reply::Reply;
use crate::state::World;
use crate::state::grants::Code;

/// Longest state (x-api.md 1.2).
const STATE_LIMIT: usize = 500;

/// All scopes of the spec's `securitySchemes`.
const SCOPES: [&str; 24] = [
    "block.read",
    "block.write",
    "bookmark.read",
    "bookmark.write",
    "broadcast.read",
    "broadcast.write",
    "dm.read",
    "dm.write",
    "follows.read",
    "follows.write",
    "like.read",
    "like.write",
    "list.read",
    "list.write",
    "media.write",
    "mute.read",
    "mute.write",
    "offline.access",
    "space.read",
    "timeline.read",
    "tweet.moderate.write",
    "tweet.read",
    "tweet.write",
    "users.read",
];

/// Members that the form hands on from the query.
const CARRIED: [&str; 7] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// A checked request.
struct Ask {
    code: Code,
    redirect: Url,
    state: String,
}

/// The page with its button.
pub(super) fn page(world: &World, call: &Call) -> Outcome {
    let query = call.query();
    let ask = check(world, &query).map_err(|why| error_page(&why))?;
    let mut hidden = String::new();
    for name in CARRIED {
        if let Some(value) = value(&query, name) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                hidden,
                r#"<input type="hidden" name="{name}" value="{}">"#,
                escape(value)
            );
        }
    }
    let page = format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Authorize {client}</title></head>
<body><main>
<h1>{client} wants to access your account</h1>
<p>It asks for: {scope}</p>
<form method="post" action="/i/oauth2/authorize">
{hidden}<label>Account <select name="account">
{users}</select></label>
<button name="decision" value="allow">Authorize app</button>
<button name="decision" value="deny">Cancel</button>
</form>
</main></body></html>
"#,
        users = users(world, None),
        client = escape(&ask.code.client_id),
        scope = escape(&ask.code.scope),
    );
    Ok(Reply::html(200, page))
}

/// What the button does. A script may send the same members in a form or in the query, and `account`
/// may be left out where there is only one user.
pub(super) fn answer(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let mut given = call.form();
    given.extend(call.query());
    let Ask {
        mut code,
        mut redirect,
        state,
    } = check(world, &given).map_err(|why| error_page(&why))?;
    if value(&given, "decision") == Some("deny") {
        redirect
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("state", &state);
        return Ok(Reply::empty(302).with("location", &redirect));
    }
    code.account = chosen(world, &given)?;
    let World { grants, chance, .. } = world;
    let fresh = grants.add_code(chance, code, now_us);
    redirect
        .query_pairs_mut()
        .append_pair("state", &state)
        .append_pair("code", &fresh);
    Ok(Reply::empty(302).with("location", &redirect))
}

/// The users to choose from, as options of a `select`.
pub(super) fn users(world: &World, preferred: Option<&str>) -> String {
    let preferred = preferred.and_then(|handle| world.accounts.by_handle(bare(handle)));
    let mut options = String::new();
    for account in world.accounts.list() {
        let selected = preferred.is_some_and(|chosen| chosen.id == account.id);
        // Writing to a String cannot fail.
        let _ = writeln!(
            options,
            r#"<option value="{0}"{1}>@{0}</option>"#,
            escape(&account.username),
            if selected { " selected" } else { "" }
        );
    }
    options
}

/// The id of the user who pressed the button.
pub(super) fn chosen(world: &World, given: &[(String, String)]) -> Result<String, Reply> {
    let mut all = world.accounts.list();
    let account = value(given, "account").map_or_else(
        || all.next().filter(|_| all.next().is_none()),
        |handle| world.accounts.by_handle(bare(handle)),
    );
    account.map(|account| account.id.clone()).ok_or_else(|| {
        error_page(
            "`account` must name a user of this simulator (it may be left out if there is only one)",
        )
    })
}

fn check(world: &World, given: &[(String, String)]) -> Result<Ask, String> {
    let of = |name: &str| {
        value(given, name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("`{name}` is missing"))
    };
    if of("response_type")? != "code" {
        return Err("`response_type` must be `code`".to_owned());
    }
    let client_id = of("client_id")?;
    let app = world
        .grants
        .app(client_id)
        .ok_or_else(|| format!("there is no app `{client_id}`"))?;
    let redirect_uri = of("redirect_uri")?;
    if !app.redirect_uris.is_empty() && !app.redirect_uris.iter().any(|uri| uri == redirect_uri) {
        return Err(format!(
            "`{redirect_uri}` is not a registered callback of this app"
        ));
    }
    let redirect =
        Url::parse(redirect_uri).map_err(|error| format!("`{redirect_uri}`: {error}"))?;
    let scope = of("scope")?;
    if let Some(unknown) = scope.split(' ').find(|scope| !SCOPES.contains(scope)) {
        return Err(format!("there is no scope `{unknown}`"));
    }
    let state = of("state")?;
    if state.chars().count() > STATE_LIMIT {
        return Err(format!("`state` is longer than {STATE_LIMIT} characters"));
    }
    let hashed = match value(given, "code_challenge_method") {
        // twitter-api-v2 of npm writes it small, and X takes that.
        Some("S256" | "s256") => true,
        Some("plain") | None => false,
        Some(other) => return Err(format!("`{other}` is not a code challenge method")),
    };
    Ok(Ask {
        code: Code {
            account: String::new(),
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: of("code_challenge")?.to_owned(),
            hashed,
            expires_us: 0,
        },
        redirect,
        state: state.to_owned(),
    })
}

pub(super) fn error_page(why: &str) -> Reply {
    Reply::html(
        400,
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Something went wrong</title></head>\n\
             <body><h1>Something went wrong</h1><p>You weren't able to give access to the app: {}</p></body></html>\n",
            escape(why)
        ),
    )
}

pub(super) fn escape(text: &str) -> String {
    crate::text::encode(text).replace('"', "&quot;")
}
