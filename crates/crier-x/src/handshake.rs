//! Login by OAuth 1.0a: request token, the page of consent, access token; and taking a token back.
//!
//! **Invariant:** a request token is used only if X confirms the callback, as RFC 5849 section 2.1 demands; tokens stay
//! secret even where an answer cannot be read.

use crier_core::answer::{CallFault, Endpoint};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::auth::{Auth, Bearer, ConsumerCredentials};
use crate::client::{Call, Payload, XClient, under};
use crate::oauth1::percent_encode;
use crate::reply::{Reply, is_id};

/// Where X sends the person who is to be shown a number instead.
pub const OUT_OF_BAND: &str = "oob";

/// A token that stands for a login until a person has consented.
#[derive(Debug, Clone)]
pub struct RequestToken {
    /// The token; it is part of the address of the page of consent.
    pub token: SecretString,
    /// Its secret.
    pub secret: SecretString,
}

/// What a login by OAuth 1.0a brings.
#[derive(Debug, Clone)]
pub struct UserTokens {
    /// Token of the account.
    pub access_token: SecretString,
    /// Secret of that token.
    pub access_token_secret: SecretString,
    /// X's id of the account.
    pub user_id: String,
    /// Its handle without `@`.
    pub screen_name: String,
}

impl XClient {
    /// Asks for a request token. `callback` is where X sends the person back to, or [`OUT_OF_BAND`].
    pub async fn request_token(
        &self,
        consumer: &ConsumerCredentials,
        callback: &str,
    ) -> Result<Reply<RequestToken>, CallFault> {
        let call = Call {
            endpoint: Endpoint::RequestToken,
            path: &["oauth", "request_token"],
            query: &[],
            bearer: Bearer::Login {
                consumer,
                token: None,
                more: ("oauth_callback", callback),
            },
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read_form(
            "`oauth_token`, `oauth_token_secret` and `oauth_callback_confirmed=true`",
            |field| {
                let confirmed = field("oauth_callback_confirmed")? == "true";
                let token = RequestToken {
                    token: field("oauth_token")?.into(),
                    secret: field("oauth_token_secret")?.into(),
                };
                confirmed.then_some(token)
            },
        )
    }

    /// The page on which a person consents.
    pub fn oauth1_consent_url(&self, request: &RequestToken) -> Url {
        let base = self.config().authorize_base.as_ref();
        let base = base.unwrap_or(&self.config().api_base);
        let mut url = under(base, &["oauth", "authorize"]);
        let token = percent_encode(request.token.expose_secret());
        url.set_query(Some(&format!("oauth_token={token}")));
        url
    }

    /// Trades a request token that a person has consented to, with the verifier or PIN that X gave for it, for tokens of
    /// the account.
    pub async fn access_token(
        &self,
        consumer: &ConsumerCredentials,
        request: &RequestToken,
        verifier: &SecretString,
    ) -> Result<Reply<UserTokens>, CallFault> {
        let call = Call {
            endpoint: Endpoint::AccessToken,
            path: &["oauth", "access_token"],
            query: &[],
            bearer: Bearer::Login {
                consumer,
                token: Some(request),
                more: ("oauth_verifier", verifier.expose_secret()),
            },
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read_form(
            "`oauth_token`, `oauth_token_secret`, `user_id` and `screen_name`",
            |field| {
                Some(UserTokens {
                    access_token: field("oauth_token")?.into(),
                    access_token_secret: field("oauth_token_secret")?.into(),
                    user_id: field("user_id").filter(|id| is_id(id))?,
                    screen_name: field("screen_name")?,
                })
            },
        )
    }

    /// Takes the token of an account back; it must be one of OAuth 1.0a, and it signs its own end.
    pub async fn invalidate_token(&self, auth: &Auth) -> Result<Reply<()>, CallFault> {
        let call = Call {
            endpoint: Endpoint::InvalidateToken,
            path: &["1.1", "oauth", "invalidate_token"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.done()
    }
}
