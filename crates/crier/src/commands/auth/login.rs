//! `crier auth login`: a person grants access on X's page, and the account is kept with its tokens.
//!
//! **Invariant:** what X has granted is kept before anything else is done with it; an account is kept under the name and id
//! that X gives for the token, never under what somebody typed.

mod app;
mod callback;
mod oauth1;
mod oauth2;
mod page;
mod wait;

use std::path::PathBuf;

use clap::Args;
use crier_store::{Account, Import, Store, StoreError};
use crier_x::{AppCredentials, Auth, XClient};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::commands::Context;
use crate::connect;
use crate::exit::{Refusal, told};
use crate::screen::note;
use callback::Visitor;
use page::Page;

/// What publishing with media and without a login every two hours needs (x-api.md 1.3).
const USUAL_SCOPE: &str = "tweet.read tweet.write users.read media.write offline.access";

const ABOUT: &str = "\
Register the callback http://127.0.0.1:8723/callback in X's developer console, to the letter; or
another, and give it by --port or --redirect-uri. `crier sim` takes any callback.
Where there is no browser: --paste, or --oauth1 --pin.

The secret of an app is given once: in a file, or as CRIER__APP__CLIENT_SECRET or
CRIER__APP__CONSUMER_SECRET. It is known from then on.

Logging in again renews the grant of an account; its jobs then go on by themselves.";

/// How to log in.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the command line"
)]
pub(crate) struct Options {
    /// Take no other account than this one, with or without `@`; at x.com it depends on who is logged in there.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Client id of the developer app; may be left out if one is configured or known.
    #[arg(long, value_name = "ID", conflicts_with = "oauth1")]
    client_id: Option<String>,
    /// File that holds its client secret; `-` reads a line from standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "oauth1")]
    client_secret_file: Option<PathBuf>,
    /// The app is a public client (native or single-page app): it has no secret.
    #[arg(long, conflicts_with_all = ["client_secret_file", "oauth1"])]
    public: bool,
    /// Scopes to ask for, separated by spaces.
    #[arg(long, default_value = USUAL_SCOPE, conflicts_with = "oauth1")]
    scope: String,
    /// Port to wait on for X's answer; without it 8723, and for a simulator a free one.
    #[arg(long, value_name = "NUMBER")]
    port: Option<u16>,
    /// Callback as it is registered for the app, if it is another than `http://127.0.0.1:PORT/callback`.
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<String>,
    /// Read the address that X redirects to from standard input instead of waiting for it.
    #[arg(long, conflicts_with = "port")]
    paste: bool,
    /// Open no browser; the address is printed either way.
    #[arg(long)]
    no_browser: bool,
    /// Wait so long for the person, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait_s: u64,
    /// Log in by OAuth 1.0a.
    #[arg(long, help_heading = "OAuth 1.0a")]
    oauth1: bool,
    /// Consumer key (API key) of the developer app.
    #[arg(
        long,
        value_name = "KEY",
        requires = "oauth1",
        help_heading = "OAuth 1.0a"
    )]
    consumer_key: Option<String>,
    /// File that holds its consumer secret; `-` reads a line from standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "oauth1",
        help_heading = "OAuth 1.0a"
    )]
    consumer_secret_file: Option<PathBuf>,
    /// X shows a number, which is read from standard input.
    #[arg(long, requires = "oauth1", conflicts_with_all = ["paste", "port", "redirect_uri"], help_heading = "OAuth 1.0a")]
    pin: bool,
}

/// What X has granted.
#[derive(Debug)]
struct Granted {
    import: Import,
    /// The app, as people know it; OAuth 2.0 only.
    app: Option<String>,
    /// Scopes that were asked for or are needed and were not granted.
    missing: Vec<String>,
    /// What cannot be done for lack of them, and the cure.
    lacks: Vec<String>,
}

impl Options {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = connect::ready_store(&context.config).await?;
        // Nobody shall consent in vain.
        if connect::key(&context.config)?.is_none() {
            return Err(StoreError::NoKey.into());
        }
        let x = connect::x(&context.config)?;
        let known = match &self.account {
            Some(handle) => store.account(handle).await?,
            None => None,
        };
        let (granted, visitor) = if self.oauth1 {
            oauth1::ask(&self, context, &store, &x, known.as_ref()).await?
        } else {
            oauth2::ask(&self, context, &store, &x, known.as_ref()).await?
        };
        let kept = match granted {
            Ok(granted) => self.keep(&store, &x, known.as_ref(), granted).await,
            Err(error) => Err(error),
        };
        if let Some(visitor) = visitor {
            farewell(visitor, &kept).await;
        }
        let (account, granted) = kept?;
        report(context, &store, &account, &granted).await
    }

    async fn keep(
        &self,
        store: &Store,
        x: &XClient,
        known: Option<&Account>,
        granted: Granted,
    ) -> anyhow::Result<(Account, Granted)> {
        let is = &granted.import.handle;
        if let Some(wanted) = &self.account {
            let wanted = wanted.trim_start_matches('@');
            // A handle may have changed, an id never does.
            let right = match known {
                Some(known) => known.x_user_id == granted.import.x_user_id,
                None => wanted.eq_ignore_ascii_case(is),
            };
            if !right {
                // X gives the same OAuth 1.0a token to the same account again: ending it would end what crier holds.
                let held = store.account(is).await?.is_some();
                if !held {
                    give_back(x, &granted.import).await;
                }
                let stays = if held {
                    format!(", and `@{is}` stays as it was")
                } else {
                    String::new()
                };
                return Refusal::new(format!(
                    "access was granted for `@{is}`, not for `@{wanted}`: nothing was kept{stays}"
                ))
                .hint(format!(
                    "log in to x.com as `@{wanted}`, or use a private window, then try again"
                ))
                .fail();
            }
        }
        let account = store.import_account(&granted.import).await?;
        Ok((account, granted))
    }
}

/// Takes back at X what nobody wanted. If that fails, it is a grant that nobody holds.
async fn give_back(x: &XClient, import: &Import) {
    let mut ended = Ok(());
    if let Some(tokens) = &import.oauth2 {
        let app = AppCredentials {
            client_id: tokens.client_id.clone(),
            client_secret: tokens.client_secret.clone(),
        };
        let token = tokens.refresh_token.as_ref();
        let token = token.unwrap_or(&tokens.access_token);
        ended = x.revoke(&app, token).await.map(|_| ());
    }
    if let Some(tokens) = &import.oauth1 {
        let auth = Auth::OAuth1 {
            consumer_key: tokens.consumer_key.expose_secret().to_owned(),
            consumer_secret: tokens.consumer_secret.clone(),
            access_token: tokens.access_token.clone(),
            access_token_secret: tokens.access_token_secret.clone(),
        };
        ended = x.invalidate_token(&auth).await.map(|_| ());
    }
    if let Err(fault) = ended {
        tracing::warn!("the grant was not given back to X: {fault}");
    }
}

async fn farewell(visitor: Visitor, kept: &anyhow::Result<(Account, Granted)>) {
    let page = match kept {
        Ok((account, granted)) => Page::connected(&account.handle, &granted.lacks),
        Err(error) => {
            let (what, hint) = told(error);
            Page::failed(&what, &hint)
        }
    };
    visitor.show(page).await;
}

async fn report(
    context: &Context,
    store: &Store,
    account: &Account,
    granted: &Granted,
) -> anyhow::Result<()> {
    let handle = &account.handle;
    let again = if granted.import.oauth2.is_some() {
        store.app_proved(account.id).await?
    } else {
        Vec::new()
    };
    let rows = store.account_rows(Some(handle)).await?;
    let waiting = rows.first().map_or(0, |row| row.waiting);
    let kind = if granted.import.oauth2.is_some() {
        "oauth2"
    } else {
        "oauth1"
    };
    if context.screen.json {
        context.screen.object(&json!({
            "account": handle, "id": account.x_user_id, "status": account.status, "kind": kind, "app": granted.app,
            "scopes": granted.import.oauth2.as_ref().map(|tokens| &tokens.scopes), "missing": granted.missing, "waiting": waiting,
        }))?;
    } else {
        let by = match &granted.app {
            Some(app) => format!("the app {app}"),
            None => "OAuth 1.0a".to_owned(),
        };
        context.screen.line(&format!(
            "@{handle} is connected by {by}; its id on X is {}",
            account.x_user_id
        ));
    }
    for lack in &granted.lacks {
        note(&format!("warning: {lack}"));
    }
    let others: Vec<&String> = again.iter().filter(|other| *other != handle).collect();
    if !others.is_empty() {
        note(&format!(
            "X takes the app's credentials again: {} other accounts of it go on",
            others.len()
        ));
    }
    match account.status.as_str() {
        "active" if waiting > 0 => note("its waiting jobs go on by themselves"),
        "active" => {}
        status => note(&format!(
            "it stays {status}: `crier accounts resume {handle}` lets it publish"
        )),
    }
    Ok(())
}
