//! Which developer app asks: by argument, by configuration, or one that is known from before.
//!
//! **Invariant:** a secret is sent for the app that it was given with, and for no other.

use std::path::Path;

use crier_store::{Account, Store};
use crier_x::{AppCredentials, ConsumerCredentials};
use secrecy::{ExposeSecret, SecretString};

use super::Options;
use crate::config::{App, secret};
use crate::exit::{Refusal, Refuse};

/// The client of OAuth 2.0.
pub(super) async fn client(
    options: &Options,
    config: &App,
    store: &Store,
    account: Option<&Account>,
) -> anyhow::Result<AppCredentials> {
    let known = match account {
        Some(account) => store
            .tokens(account.id)
            .await?
            .map(|tokens| tokens.client_id),
        None => None,
    };
    let client_id = match (&options.client_id, known, &config.client_id) {
        (Some(given), _, _) => given.clone(),
        (None, Some(known), _) => known,
        (None, None, Some(configured)) => configured.clone(),
        (None, None, None) => only(&store.login_apps().await?)?,
    };
    if options.public {
        return Ok(AppCredentials {
            client_id,
            client_secret: None,
        });
    }
    let configured = is_meant(
        config.client_id.as_ref(),
        options.client_id.as_ref(),
        &client_id,
    );
    let mut client_secret = match &options.client_secret_file {
        Some(file) => Some(from_file("--client-secret-file", file)?),
        None if configured => secret(
            "app.client_secret",
            config.client_secret.as_ref(),
            config.client_secret_file.as_deref(),
        )?,
        None => None,
    };
    if client_secret.is_none() {
        let Some(known) = store.login_app(&client_id).await? else {
            return Refusal::new(format!("the secret of the app `{client_id}` is not known"))
                .hint("give it with --client-secret-file or CRIER__APP__CLIENT_SECRET; if the app is a public client (native or single-page), add --public")
                .fail();
        };
        client_secret = known.client_secret;
    }
    Ok(AppCredentials {
        client_id,
        client_secret,
    })
}

/// Whether a configured secret is meant for this app: it is configured beside its id, or the id came with the command.
fn is_meant(configured: Option<&String>, given: Option<&String>, id: &str) -> bool {
    match configured {
        Some(configured) => configured == id,
        None => given.is_some(),
    }
}

fn only(known: &[String]) -> anyhow::Result<String> {
    match known {
        [one] => Ok(one.clone()),
        [] => Refusal::new("no developer app is known yet")
            .hint("give its id with --client-id (or CRIER__APP__CLIENT_ID) and its secret with --client-secret-file; X's developer console shows both")
            .fail(),
        several => Refusal::new(format!(
            "several developer apps are known: {}",
            several.join(", ")
        ))
        .hint("name one with --client-id, or an account of it with --account")
        .fail(),
    }
}

/// The app of OAuth 1.0a.
pub(super) async fn consumer(
    options: &Options,
    config: &App,
    store: &Store,
    account: Option<&Account>,
) -> anyhow::Result<ConsumerCredentials> {
    let known = match account {
        Some(account) => store
            .oauth1_tokens(account.id)
            .await?
            .map(|opened| opened.tokens),
        None => None,
    };
    let known = known.map(|tokens| {
        let key = tokens.consumer_key.expose_secret().to_owned();
        (key, tokens.consumer_secret)
    });
    let given = options
        .consumer_key
        .as_ref()
        .or(config.consumer_key.as_ref());
    let key = match (given, &known) {
        (Some(given), _) => given.clone(),
        (None, Some((known, _))) => known.clone(),
        (None, None) => {
            return Refusal::new("no developer app of OAuth 1.0a is named")
                .hint("give its key with --consumer-key (or CRIER__APP__CONSUMER_KEY) and its secret with --consumer-secret-file; X's developer console shows both")
                .fail();
        }
    };
    let configured = is_meant(
        config.consumer_key.as_ref(),
        options.consumer_key.as_ref(),
        &key,
    );
    let given = match &options.consumer_secret_file {
        Some(file) => Some(from_file("--consumer-secret-file", file)?),
        None if configured => secret(
            "app.consumer_secret",
            config.consumer_secret.as_ref(),
            config.consumer_secret_file.as_deref(),
        )?,
        None => None,
    };
    let secret = given.or_else(|| {
        known
            .filter(|(known, _)| *known == key)
            .map(|(_, secret)| secret)
    });
    match secret {
        Some(secret) => Ok(ConsumerCredentials { key, secret }),
        None => Refusal::new("the consumer secret of the app is not known")
            .hint("give it with --consumer-secret-file or CRIER__APP__CONSUMER_SECRET")
            .fail(),
    }
}

/// A secret from a file, or from a line of standard input.
fn from_file(argument: &str, file: &Path) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_line(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.refused(format!("cannot read {argument} `{}`", file.display()))?;
    if text.trim().is_empty() {
        return Refusal::new(format!("{argument} `{}` is empty", file.display())).fail();
    }
    Ok(text.trim().to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_secret_goes_to_no_other_app() {
        let (one, two) = ("one".to_owned(), "two".to_owned());
        for (configured, given, meant) in [
            (Some(&one), None, true),
            (Some(&one), Some(&one), true),
            (Some(&two), Some(&one), false),
            (Some(&two), None, false),
            (None, Some(&one), true),
            // The app is one that crier knows, and so is its secret.
            (None, None, false),
        ] {
            assert_eq!(
                is_meant(configured, given, "one"),
                meant,
                "{configured:?} {given:?}"
            );
        }
    }

    #[test]
    fn an_app_is_chosen_only_if_there_is_no_choice() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(only(&names(&["one"])).unwrap(), "one");
        assert!(only(&[]).is_err());
        let error = only(&names(&["one", "two"])).unwrap_err().to_string();
        assert!(error.contains("one, two"), "{error}");
    }
}
