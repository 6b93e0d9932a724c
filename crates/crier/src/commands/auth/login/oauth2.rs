//! Login by OAuth 2.0: authorization code with PKCE.
//!
//! **Invariant:** the code, which lives 30 seconds, is traded at once; what was granted is compared with what was asked, and
//! what is lacking is said with its cure.

use std::time::Duration;

use crier_core::answer::CallFault;
use crier_store::{Account, Import, OAuth2Tokens, Store};
use crier_x::{AppCredentials, Auth, ConsentRequest, Me, Pkce, Tokens, XClient};
use secrecy::{ExposeSecret, SecretString};
use url::Host;

use super::callback::{Expected, Place, USUAL_PORT, Visitor};
use super::wait::{Way, answer};
use super::{Granted, Options, app};
use crate::commands::Context;
use crate::commands::auth::trouble;
use crate::exit::Refusal;
use crate::screen::note;

/// Without these X does not say whose token it is.
const OF_THE_LOGIN: [&str; 2] = ["tweet.read", "users.read"];
/// Scopes that crier uses, with what is lost without them.
const USED: [(&str, &str); 3] = [
    ("tweet.write", "nothing can be published"),
    ("media.write", "posts with media will not go out"),
    (
        "offline.access",
        "there is no refresh token, so publishing ends when the access token does, in about two hours",
    ),
];
/// How often a call is tried that is safe to repeat.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Asks a person, and trades the code.
pub(super) async fn ask(
    options: &Options,
    context: &Context,
    store: &Store,
    x: &XClient,
    account: Option<&Account>,
) -> anyhow::Result<(anyhow::Result<Granted>, Option<Visitor>)> {
    let config = &context.config.app;
    let client = app::client(options, config, store, account).await?;
    let asked = scopes(&options.scope)?;
    let registered = options
        .redirect_uri
        .as_ref()
        .or(config.redirect_uri.as_ref());
    let place = Place::new(
        registered.map(String::as_str),
        port(options, x, registered),
        options.paste,
    )?;
    let (redirect_uri, callback) = place.open().await?;
    let pkce = Pkce::new(rand::random());
    let state = chance();
    let page = x.consent_url(&ConsentRequest {
        client_id: &client.client_id,
        redirect_uri: &redirect_uri,
        scope: &asked.join(" "),
        state: &state,
        pkce: &pkce,
    });
    if is_far(&page) && registered.is_none() && options.port.is_none() {
        note(&format!(
            "the callback is {redirect_uri}: X takes it only if it is registered for the app to the letter"
        ));
    }
    let way = callback.map_or(Way::Paste, Way::Callback);
    let (code, visitor) = answer(options, context, &page, way, Expected::State(state)).await?;
    let granted = match code {
        Ok(code) => trade(x, &client, &code, &redirect_uri, &pkce, &asked).await,
        Err(error) => Err(error),
    };
    Ok((granted, visitor))
}

/// The port that was chosen; at X itself, where a callback has to be registered, the usual one.
pub(super) fn port(options: &Options, x: &XClient, registered: Option<&String>) -> Option<u16> {
    let config = x.config();
    let page = config.authorize_base.as_ref().unwrap_or(&config.api_base);
    let usual = (registered.is_none() && is_far(page)).then_some(USUAL_PORT);
    options.port.or(usual)
}

/// 128 bits that nobody can guess.
pub(super) fn chance() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Whether the page is not on this machine.
pub(super) fn is_far(page: &url::Url) -> bool {
    match page.host() {
        Some(Host::Ipv4(address)) => !address.is_loopback(),
        Some(Host::Ipv6(address)) => !address.is_loopback(),
        Some(Host::Domain(name)) => name != "localhost",
        None => true,
    }
}

fn scopes(text: &str) -> anyhow::Result<Vec<String>> {
    let asked: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let lacks: Vec<&str> = OF_THE_LOGIN
        .into_iter()
        .filter(|scope| !asked.iter().any(|asked| asked == scope))
        .collect();
    if lacks.is_empty() {
        return Ok(asked);
    }
    Refusal::new(format!("--scope lacks {}", lacks.join(" and ")))
        .hint("without them X does not say whose account it is, and nothing can be published")
        .fail()
}

async fn trade(
    x: &XClient,
    client: &AppCredentials,
    code: &SecretString,
    redirect_uri: &str,
    pkce: &Pkce,
    asked: &[String],
) -> anyhow::Result<Granted> {
    let mut tries = 1;
    let tokens = loop {
        match x
            .exchange_code(client, code, redirect_uri, &pkce.verifier)
            .await
        {
            Ok(reply) => break reply.value,
            // It never left: the code is as good as before.
            Err(CallFault::NotSent { .. }) if tries < TRIES => {}
            Err(fault) => return Err(not_traded(&fault)),
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    };
    let token = tokens
        .refresh_token
        .as_ref()
        .unwrap_or(&tokens.access_token);
    let token = token.expose_secret().to_owned().into();
    let granted = complete(x, client, tokens, asked).await;
    if granted.is_err()
        && let Err(fault) = x.revoke(client, &token).await
    {
        tracing::warn!("the grant was not given back to X: {fault}");
    }
    granted
}

/// What X has granted, and to whom.
async fn complete(
    x: &XClient,
    client: &AppCredentials,
    tokens: Tokens,
    asked: &[String],
) -> anyhow::Result<Granted> {
    // X may leave it out if it is what was asked for (RFC 6749 section 5.1).
    let granted: Vec<String> = if tokens.scope.trim().is_empty() {
        asked.to_vec()
    } else {
        tokens.scope.split_whitespace().map(str::to_owned).collect()
    };
    let (missing, lacks) = compare(asked, &granted, tokens.refresh_token.is_some());
    if let Some(scope) = OF_THE_LOGIN
        .iter()
        .find(|scope| !granted.iter().any(|g| g == *scope))
    {
        return Refusal::new(format!(
            "X granted {} but not {scope}: it does not say whose account it is, and nothing was kept",
            granted.join(", ")
        ))
        .hint("give the app these permissions in X's developer console, then log in again")
        .fail();
    }
    let me = whose(x, &tokens).await?;
    Ok(Granted {
        app: Some(client.client_id.clone()),
        missing,
        lacks,
        import: Import {
            x_user_id: me.id,
            handle: me.username,
            oauth2: Some(OAuth2Tokens {
                client_id: client.client_id.clone(),
                client_secret: client.client_secret.clone(),
                access_token: tokens.access_token,
                refresh_token: tokens.refresh_token,
                expires_in_s: i64::try_from(tokens.expires_in_s).unwrap_or(i64::MAX),
                scopes: granted,
            }),
            oauth1: None,
        },
    })
}

fn not_traded(fault: &CallFault) -> anyhow::Error {
    let what = "the account was not connected";
    if let CallFault::Refused(answer) = fault
        && answer.status == 400
        && answer.detail.to_lowercase().contains("authorization code")
    {
        return trouble(
            what,
            fault,
            "the code was more than 30 seconds old or used before: log in again",
        );
    }
    let hint = crier_core::verdict::judge(crier_core::verdict::Step::Token, fault);
    match hint.code {
        "grant_dead" => trouble(
            what,
            fault,
            "log in again; if it stays so, look at the callback and the type of the app in X's developer console",
        ),
        "app_credentials" => trouble(
            what,
            fault,
            "check client id and secret; a public client (native or single-page app) has no secret: --public",
        ),
        _ => trouble(what, fault, hint.hint),
    }
}

/// Whom the token belongs to, with some patience: the consent would be lost with it.
async fn whose(x: &XClient, tokens: &Tokens) -> anyhow::Result<Me> {
    let auth = Auth::OAuth2 {
        access_token: tokens.access_token.expose_secret().to_owned().into(),
    };
    let mut tries = 1;
    loop {
        match x.me(&auth).await {
            Ok(reply) => return Ok(reply.value),
            Err(fault) => {
                // X has had outages that looked like a 401, and a limit passes.
                let definite = matches!(&fault, CallFault::Refused(answer)
                    if answer.status < 500 && ![401, 429].contains(&answer.status));
                if definite || tries >= TRIES {
                    return Err(trouble(
                        "access was granted, but X does not say for which account; nothing was kept",
                        &fault,
                        "log in again a little later",
                    ));
                }
            }
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Scopes that are missing, and what that means.
fn compare(asked: &[String], granted: &[String], renewable: bool) -> (Vec<String>, Vec<String>) {
    let has = |scope: &str| granted.iter().any(|granted| granted == scope);
    let mut missing: Vec<String> = Vec::new();
    let mut lacks = Vec::new();
    for (scope, lost) in USED {
        if has(scope) {
            continue;
        }
        missing.push(scope.to_owned());
        let cure = if asked.iter().any(|asked| asked == scope) {
            "give the app this permission in X's developer console, then log in again: a grant cannot be widened"
        } else {
            "log in again with it: a grant cannot be widened"
        };
        lacks.push(format!(
            "the scope {scope} was not granted: {lost}. Cure: {cure}."
        ));
    }
    if has("offline.access") && !renewable {
        lacks.push(
            "X gave no refresh token: publishing ends when the access token does, in about two hours. Cure: log in again."
                .to_owned(),
        );
    }
    let others: Vec<&str> = asked
        .iter()
        .map(String::as_str)
        .filter(|scope| !has(scope) && !missing.iter().any(|known| known == scope))
        .collect();
    if !others.is_empty() {
        lacks.push(format!("X did not grant {}", others.join(", ")));
    }
    missing.extend(others.into_iter().map(str::to_owned));
    (missing, lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_not_granted_is_said_with_what_it_costs() {
        let all = super::super::USUAL_SCOPE;
        assert_eq!(compare(&words(all), &words(all), true), (vec![], vec![]));
        let (missing, lacks) = compare(
            &words(all),
            &words("users.read tweet.read tweet.write offline.access"),
            true,
        );
        assert_eq!(missing, ["media.write"]);
        assert_eq!(lacks.len(), 1);
        assert!(
            lacks[0].contains("posts with media will not go out"),
            "{lacks:?}"
        );
        assert!(lacks[0].contains("developer console"), "{lacks:?}");
        let (missing, lacks) = compare(
            &words("tweet.read users.read like.write"),
            &words("tweet.read users.read"),
            false,
        );
        assert_eq!(
            missing,
            ["tweet.write", "media.write", "offline.access", "like.write"]
        );
        assert!(
            lacks[2].contains("two hours") && lacks[2].contains("log in again with it"),
            "{lacks:?}"
        );
        assert_eq!(lacks[3], "X did not grant like.write");
        let (missing, lacks) = compare(&words(all), &words(all), false);
        assert!(
            missing.is_empty() && lacks[0].contains("no refresh token"),
            "{lacks:?}"
        );
    }

    #[test]
    fn a_login_asks_at_least_for_whose_account_it_is() {
        assert_eq!(scopes(" tweet.read  users.read ").unwrap().len(), 2);
        let error = scopes("tweet.write").unwrap_err().to_string();
        assert_eq!(error, "--scope lacks tweet.read and users.read");
    }
}
