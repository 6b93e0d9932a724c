//! `crier auth`: grants of accounts.
//!
//! **Invariant:** tokens come in on standard input or from X, secrets in files, never as arguments; none goes out.

mod login;
mod revoke;

use std::time::Duration;

use clap::{Args, Subcommand};
use crier_core::answer::CallFault;
use crier_core::verdict::{Step, judge};
use crier_store::{Import, OAuth1Tokens, OAuth2Tokens, Store};
use crier_worker::{Gate, NoToken, TokenWait};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use crate::connect;
use crate::exit::{Outage, Refusal, Refuse};
use crate::screen::{instant, span};

/// Longer than connecting, asking and saving.
const REFRESH_LEASE: Duration = Duration::from_mins(2);

const IMPORT: &str = "\
The form, of which `oauth2`, `oauth1` or both are needed:
  {\"id\": \"2244994945\", \"username\": \"acme\",
   \"oauth2\": {\"client_id\": \"…\", \"client_secret\": \"…\", \"access_token\": \"…\",
     \"refresh_token\": \"…\", \"expires_in\": 7200,
     \"scope\": \"tweet.read tweet.write users.read media.write offline.access\"},
   \"oauth1\": {\"consumer_key\": \"…\", \"consumer_secret\": \"…\",
     \"access_token\": \"…\", \"access_token_secret\": \"…\"}}
Importing an account again renews its tokens and lets it go on.";

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Grant crier access to an account on X's page, for the first time or again.
    Login(login::Options),
    /// Read accounts with their tokens as JSON (one object or an array) from standard input.
    #[command(after_help = IMPORT)]
    Import,
    /// Renew an account's access token now, whether it is old or not.
    Refresh(Renew),
    /// Take an account's grants back at X and forget them; its jobs wait for the next login.
    Revoke(revoke::Options),
}

/// An account whose token to renew.
#[derive(Debug, Args)]
#[command(
    after_help = "crier renews tokens by itself. X gives each pair for the one before it, once: a token that was renewed in the last ten minutes, or that X has just refused to renew, is left alone."
)]
pub(crate) struct Renew {
    /// Its handle, with or without `@`.
    account: String,
    /// Ask X although that was done, or failed, a moment ago.
    #[arg(long)]
    force: bool,
}

impl Auth {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        match self {
            Self::Login(options) => options.run(&context).await,
            Self::Import => import(&context).await,
            Self::Refresh(options) => refresh(&context, &options).await,
            Self::Revoke(options) => options.run(&context).await,
        }
    }
}

/// What the simulator's `POST /_sim/accounts` answers, too.
#[derive(Deserialize)]
struct ImportForm {
    id: String,
    username: String,
    oauth2: Option<OAuth2Form>,
    oauth1: Option<OAuth1Form>,
}

#[derive(Deserialize)]
struct OAuth2Form {
    client_id: String,
    client_secret: Option<SecretString>,
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    expires_in: i64,
    scope: String,
}

#[derive(Deserialize)]
struct OAuth1Form {
    consumer_key: SecretString,
    consumer_secret: SecretString,
    access_token: SecretString,
    access_token_secret: SecretString,
}

/// Reads one object or an array of them.
fn forms(text: &str) -> anyhow::Result<Vec<Import>> {
    let value: serde_json::Value =
        serde_json::from_str(text).refused("standard input is not JSON")?;
    let forms: Vec<ImportForm> = if value.is_array() {
        serde_json::from_value(value)
    } else {
        serde_json::from_value(value).map(|one| vec![one])
    }
    .refused("standard input is not of the form of `crier auth import --help`")?;
    let imports: Vec<Import> = forms.into_iter().map(Import::from).collect();
    if let Some(bare) = imports
        .iter()
        .find(|import| import.oauth2.is_none() && import.oauth1.is_none())
    {
        return Refusal::new(format!(
            "the account `{}` has neither `oauth2` nor `oauth1`",
            bare.handle
        ))
        .hint("`crier auth import --help` shows the form")
        .fail();
    }
    Ok(imports)
}

impl From<ImportForm> for Import {
    fn from(form: ImportForm) -> Self {
        Self {
            x_user_id: form.id,
            handle: form.username.trim_start_matches('@').to_owned(),
            oauth2: form.oauth2.map(|tokens| OAuth2Tokens {
                client_id: tokens.client_id,
                client_secret: tokens.client_secret,
                access_token: tokens.access_token,
                refresh_token: tokens.refresh_token,
                expires_in_s: tokens.expires_in,
                scopes: tokens.scope.split_whitespace().map(str::to_owned).collect(),
            }),
            oauth1: form.oauth1.map(|tokens| OAuth1Tokens {
                consumer_key: tokens.consumer_key,
                consumer_secret: tokens.consumer_secret,
                access_token: tokens.access_token,
                access_token_secret: tokens.access_token_secret,
            }),
        }
    }
}

/// Imports what stands in a text; answers the handles.
pub(crate) async fn import_text(
    store: &Store,
    text: &str,
) -> anyhow::Result<Vec<crier_store::Account>> {
    let mut accounts = Vec::new();
    // All are read before the first is kept.
    for import in forms(text)? {
        accounts.push(store.import_account(&import).await?);
    }
    Ok(accounts)
}

async fn import(context: &Context) -> anyhow::Result<()> {
    let store = connect::ready_store(&context.config).await?;
    let text = std::io::read_to_string(std::io::stdin()).refused("cannot read standard input")?;
    let accounts = import_text(&store, &text).await?;
    let rows: Vec<_> = accounts
        .iter()
        .map(|account| json!({"account": account.handle, "status": account.status, "scopes": account.scopes}))
        .collect();
    context.screen.rows(
        &rows,
        &["account", "status", "scopes"],
        "nothing to import",
        |row| {
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let scopes: Vec<&str> = row["scopes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(serde_json::Value::as_str)
                .collect();
            vec![word("account"), word("status"), scopes.join(" ")]
        },
    )
}

async fn refresh(context: &Context, options: &Renew) -> anyhow::Result<()> {
    let store = connect::ready_store(&context.config).await?;
    let worker = connect::worker(&context.config, &store)?;
    let account = connect::account(&store, &options.account).await?;
    let handle = &account.handle;
    let renewable = store
        .tokens(account.id)
        .await?
        .filter(|tokens| tokens.refresh_token.is_some());
    let Some(tokens) = renewable else {
        return nothing_to_refresh(&store, &account).await;
    };
    let gate = if options.force {
        Gate::FORCED
    } else {
        Gate::REFUSED
    };
    let what = format!("the token of `{handle}` was not refreshed");
    let force = format!("`crier auth refresh {handle} --force` asks X all the same");
    let fresh = match worker.refresh(account.id, tokens.version, gate).await {
        Ok(fresh) => fresh,
        Err(NoToken::Absent) => return nothing_to_refresh(&store, &account).await,
        Err(NoToken::Busy) => {
            return Refusal::new(format!(
                "another process is refreshing the token of `{handle}` at this moment"
            ))
            .hint("wait a few seconds and look with `crier accounts show`")
            .fail();
        }
        Err(NoToken::TooSoon(until)) => {
            return Refusal::new(format!(
                "{what}: that was done a moment ago, and whoever does it over and over loses the grant; it may be again at {}",
                instant(until)
            ))
            .hint(force)
            .fail();
        }
        Err(NoToken::Later(wait)) => return Err(put_off(&what, &force, &wait)),
        Err(NoToken::Fault(fault)) => {
            return Err(trouble(&what, &fault, judge(Step::Token, &fault).hint));
        }
        Err(NoToken::Store(error)) => return Err(error.into()),
    };
    let life = fresh.access_expires_at - store.now().await?;
    if context.screen.json {
        return context
            .screen
            .object(&json!({"account": handle, "expires_in_s": life.num_seconds()}));
    }
    context.screen.line(&format!(
        "the token of {handle} is new and lasts {}",
        span(life.as_seconds_f64())
    ));
    Ok(())
}

/// What X said just now, or what it said the last time and why it is not asked again yet.
fn put_off(what: &str, force: &str, wait: &TokenWait) -> anyhow::Error {
    let said = |key: &str| wait.why.error[key].as_str().unwrap_or_default();
    let words = match said("detail") {
        "" => said("title").to_owned(),
        detail => format!("{}: {detail}", said("title")),
    };
    match (&wait.fault, wait.until) {
        (Some(fault), _) if !said("code").starts_with("rotation_") => {
            trouble(what, fault, said("hint"))
        }
        (None, Some(until)) => Refusal::new(format!(
            "{what}: the last time it was {words}; X is asked again at {}",
            instant(until)
        ))
        .hint(force)
        .into(),
        _ => Refusal::new(format!("{what}: {words}"))
            .hint(said("hint"))
            .into(),
    }
}

async fn nothing_to_refresh(store: &Store, account: &crier_store::Account) -> anyhow::Result<()> {
    let handle = &account.handle;
    let rows = store.account_rows(Some(handle)).await?;
    let error = match rows.first() {
        Some(row) if row.token_expires_in_s.is_some() => {
            Refusal::new(format!("`{handle}` has no refresh token")).hint(format!(
                "`crier auth login --account {handle}` asks for the scope `offline.access`, which brings one"
            ))
        }
        Some(row) if row.has_oauth1 => Refusal::new(format!(
            "`{handle}` publishes by OAuth 1.0a, whose tokens do not expire: there is nothing to refresh"
        )),
        _ => Refusal::new(format!("`{handle}` has no token"))
            .hint(format!("`crier auth login --account {handle}`")),
    };
    error.fail()
}

/// What went wrong with a call to X, in words. What X refuses a person can mend; the network's faults are nobody's input.
fn trouble(what: &str, fault: &CallFault, hint: &str) -> anyhow::Error {
    let words = match fault {
        CallFault::NotSent { detail } => format!("the request did not reach X: {detail}"),
        CallFault::NoAnswer { detail } => format!("no trustworthy answer came from X: {detail}"),
        CallFault::Refused(answer) => {
            let mut said = vec![answer.title.as_str()];
            if answer.detail != answer.title {
                said.push(&answer.detail);
            }
            said.retain(|words| !words.is_empty());
            format!("X refused with {}: {}", answer.status, said.join(": "))
        }
    };
    let words = format!("{what}: {}", words.trim_end_matches([' ', ':']));
    if matches!(fault, CallFault::Refused(answer) if answer.status < 500) {
        return Refusal::new(words).hint(hint).into();
    }
    Outage {
        words,
        hint: hint.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_or_an_array_and_no_account_without_tokens() {
        let one = r#"{"id":"1","username":"@acme","oauth2":{"client_id":"c","access_token":"a","expires_in":7200,"scope":"tweet.read tweet.write"}}"#;
        let imports = forms(one).unwrap();
        assert_eq!(imports[0].handle, "acme");
        assert_eq!(imports[0].oauth2.as_ref().unwrap().scopes.len(), 2);
        assert_eq!(forms(&format!("[{one},{one}]")).unwrap().len(), 2);
        for (text, words) in [
            ("acme", "not JSON"),
            (r#"{"username":"acme"}"#, "not of the form"),
            (r#"{"id":"1","username":"acme"}"#, "neither"),
        ] {
            let error = forms(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = format!(
            "{:#}",
            forms(
                r#"{"id":"1","username":"a","oauth1":{"access_token":"s3cr3t","consumer_key":7}}"#
            )
            .unwrap_err()
        );
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}
