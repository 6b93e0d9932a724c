//! Login by OAuth 1.0a: three legs, with a callback or with a number that X shows.

use crier_core::answer::CallFault;
use crier_store::{Account, Import, OAuth1Tokens, Store};
use crier_x::{OUT_OF_BAND, XClient};
use secrecy::ExposeSecret;

use super::callback::{Expected, Place, Visitor};
use super::oauth2::port;
use super::wait::{Way, answer};
use super::{Granted, Options, app};
use crate::commands::Context;
use crate::commands::auth::trouble;

/// Asks a person, and trades the verifier.
pub(super) async fn ask(
    options: &Options,
    context: &Context,
    store: &Store,
    x: &XClient,
    account: Option<&Account>,
) -> anyhow::Result<(anyhow::Result<Granted>, Option<Visitor>)> {
    let config = &context.config.app;
    let consumer = app::consumer(options, config, store, account).await?;
    let (callback_uri, way) = if options.pin {
        (OUT_OF_BAND.to_owned(), Way::Pin)
    } else {
        let registered = options
            .redirect_uri
            .as_ref()
            .or(config.redirect_uri.as_ref());
        let place = Place::new(
            registered.map(String::as_str),
            port(options, x, registered),
            options.paste,
        )?;
        let (uri, callback) = place.open().await?;
        (uri, callback.map_or(Way::Paste, Way::Callback))
    };
    let request = match x.request_token(&consumer, &callback_uri).await {
        Ok(reply) => reply.value,
        Err(fault) => return Err(not_begun(&fault, &callback_uri)),
    };
    let page = x.oauth1_consent_url(&request);
    let expected = Expected::RequestToken(request.token.expose_secret().to_owned());
    let (verifier, visitor) = answer(options, context, &page, way, expected).await?;
    let granted = match verifier {
        Ok(verifier) => match x.access_token(&consumer, &request, &verifier).await {
            Ok(reply) => Ok(Granted {
                app: None,
                missing: Vec::new(),
                lacks: Vec::new(),
                import: Import {
                    x_user_id: reply.value.user_id,
                    handle: reply.value.screen_name,
                    oauth2: None,
                    oauth1: Some(OAuth1Tokens {
                        consumer_key: consumer.key.into(),
                        consumer_secret: consumer.secret,
                        access_token: reply.value.access_token,
                        access_token_secret: reply.value.access_token_secret,
                    }),
                },
            }),
            Err(fault) => Err(trouble(
                "the account was not connected",
                &fault,
                if options.pin {
                    "the number was wrong, too old or used before: log in again"
                } else {
                    "log in again"
                },
            )),
        },
        Err(error) => Err(error),
    };
    Ok((granted, visitor))
}

fn not_begun(fault: &CallFault, callback: &str) -> anyhow::Error {
    let mut hint = "check consumer key and secret, and this machine's clock".to_owned();
    if let CallFault::Refused(answer) = fault {
        // X's code for a callback that the app has not registered.
        if answer.codes.contains(&415) || answer.detail.to_lowercase().contains("callback") {
            hint = format!(
                "register the callback `{callback}` for the app in X's developer console, to the letter, or use --pin"
            );
        } else if answer.status >= 500 || answer.status == 429 {
            "try again a little later".clone_into(&mut hint);
        }
    }
    trouble("X does not begin a login", fault, &hint)
}
