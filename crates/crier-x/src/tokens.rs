//! The OAuth 2.0 token endpoint: refresh, code exchange, revoke.
//!
//! **Invariant:** a token that X has handed out is never dropped for a detail: an answer with an access token is a
//! success, whatever else it lacks, since the refresh token sent for it is spent.

use crier_core::answer::{CallFault, Endpoint};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::auth::{AppCredentials, Bearer};
use crate::client::{Call, Payload, XClient};
use crate::departure::Departure;
use crate::reply::{Reply, count, text};

/// Life of an access token where the answer does not say, in seconds (X's page "OAuth 2.0 authorization code flow").
const DOCUMENTED_LIFE_S: u64 = 7200;
/// No token lives longer: a life that no calendar holds must not keep a rotated token from being written down.
const MOST_LIFE_S: u64 = 366 * 86_400;

/// What the token endpoint hands out.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The bearer token.
    pub access_token: SecretString,
    /// The next refresh token; X gives it with the scope `offline.access`, and spends the one before.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token in seconds.
    pub expires_in_s: u64,
    /// Granted scopes, separated by spaces; empty if X did not say.
    pub scope: String,
}

impl XClient {
    /// Trades a refresh token for new tokens, if it can leave in time: who stood still meanwhile spends no token that another
    /// has spent since. Make them durable before using them: the old refresh token is spent.
    ///
    /// # Errors
    /// `NotSent` if it was too late. A fault other than that and `Refused` leaves open whether the token was rotated.
    pub async fn refresh(
        &self,
        app: &AppCredentials,
        refresh_token: &SecretString,
        departure: &Departure,
    ) -> Result<Reply<Tokens>, CallFault> {
        let form = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", refresh_token.expose_secret().to_owned()),
        ];
        let secrets = vec![refresh_token.expose_secret().to_owned()];
        self.token(app, form, secrets, Some(departure)).await
    }

    /// Trades the code of a consent (30 seconds old at most) for tokens, with the PKCE verifier it was asked with.
    pub async fn exchange_code(
        &self,
        app: &AppCredentials,
        code: &SecretString,
        redirect_uri: &str,
        code_verifier: &SecretString,
    ) -> Result<Reply<Tokens>, CallFault> {
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.expose_secret().to_owned()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("code_verifier", code_verifier.expose_secret().to_owned()),
        ];
        let secrets = vec![
            code.expose_secret().to_owned(),
            code_verifier.expose_secret().to_owned(),
        ];
        self.token(app, form, secrets, None).await
    }

    /// Takes a token back, access or refresh; X accepts either.
    pub async fn revoke(
        &self,
        app: &AppCredentials,
        token: &SecretString,
    ) -> Result<Reply<()>, CallFault> {
        let form = vec![("token", token.expose_secret().to_owned())];
        let secrets = vec![token.expose_secret().to_owned()];
        self.call(token_call(
            Endpoint::Revoke,
            &["2", "oauth2", "revoke"],
            app,
            form,
            secrets,
        ))
        .await?
        .done()
    }

    async fn token(
        &self,
        app: &AppCredentials,
        form: Vec<(&'static str, String)>,
        secrets: Vec<String>,
        departure: Option<&Departure>,
    ) -> Result<Reply<Tokens>, CallFault> {
        let call = token_call(
            Endpoint::Token,
            &["2", "oauth2", "token"],
            app,
            form,
            secrets,
        );
        let answer = self.call_until(call, departure).await?;
        answer.read("an `access_token`", tokens)
    }
}

fn token_call<'a>(
    endpoint: Endpoint,
    path: &'a [&'a str],
    app: &'a AppCredentials,
    mut form: Vec<(&'static str, String)>,
    body_secrets: Vec<String>,
) -> Call<'a> {
    if app.client_secret.is_none() {
        form.push(("client_id", app.client_id.clone()));
    }
    Call {
        endpoint,
        path,
        query: &[],
        bearer: Bearer::App(app),
        payload: Payload::Form(form),
        body_secrets,
    }
}

fn tokens(value: &Value) -> Option<Tokens> {
    Some(Tokens {
        access_token: text(value, "access_token")?.into(),
        refresh_token: text(value, "refresh_token").map(Into::into),
        expires_in_s: count(value, "expires_in")
            .map_or(DOCUMENTED_LIFE_S, |life| life.min(MOST_LIFE_S)),
        scope: text(value, "scope").unwrap_or_default(),
    })
}
