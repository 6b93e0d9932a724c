//! Who a call speaks for, and how that is written into its `Authorization` header.
//!
//! **Invariant:** a token or secret leaves its `SecretString` only to become a header value marked sensitive.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::handshake::RequestToken;
use crate::oauth1::Signing;

/// The account that a call acts for.
#[derive(Debug, Clone)]
pub enum Auth {
    /// OAuth 2.0 user context.
    OAuth2 {
        /// The bearer token; X lets it live two hours.
        access_token: SecretString,
    },
    /// OAuth 1.0a user context; its tokens do not expire.
    OAuth1 {
        /// Key of the developer app; public, like a user name.
        consumer_key: String,
        /// Secret of the developer app.
        consumer_secret: SecretString,
        /// Token of the account.
        access_token: SecretString,
        /// Secret of that token.
        access_token_secret: SecretString,
    },
}

/// The OAuth 2.0 client that a grant belongs to.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// Client id from X's developer console.
    pub client_id: String,
    /// Its secret; `None` for a public client (native or single-page app), which names itself in the body instead.
    pub client_secret: Option<SecretString>,
}

/// The app that a grant of OAuth 1.0a belongs to.
#[derive(Debug, Clone)]
pub struct ConsumerCredentials {
    /// Its key from X's developer console; public, like a user name.
    pub key: String,
    /// Its secret.
    pub secret: SecretString,
}

/// What OAuth 1.0a needs from outside: a nonce that is never used twice, and the wall clock.
pub trait Chance: std::fmt::Debug + Send + Sync {
    /// Letters and digits, new at each call.
    fn nonce(&self) -> String;
    /// Seconds since 1970; X answers code 135 if it is minutes off.
    fn unix_time_s(&self) -> i64;
}

/// The chance and clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn nonce(&self) -> String {
        format!("{:032x}", rand::random::<u128>())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an OAuth 1.0a signature states the wall clock of its signer"
    )]
    fn unix_time_s(&self) -> i64 {
        chrono::Utc::now().timestamp()
    }
}

/// Which header a call carries.
#[derive(Clone, Copy)]
pub(crate) enum Bearer<'a> {
    Account(&'a Auth),
    /// Basic for a confidential client, no header for a public one.
    App(&'a AppCredentials),
    /// The steps of a login by OAuth 1.0a: a signature with a token that is no account's yet, or with none.
    Login {
        consumer: &'a ConsumerCredentials,
        token: Option<&'a RequestToken>,
        /// One more signed parameter: name and value.
        more: (&'a str, &'a str),
    },
}

impl Bearer<'_> {
    /// The header value, `Ok(None)` if the call carries none, and `Err` (without the secret) if no header can hold it.
    pub(crate) fn header(
        self,
        method: &str,
        url: &Url,
        form: &[(&str, String)],
        chance: &dyn Chance,
    ) -> Result<Option<HeaderValue>, &'static str> {
        let text = match self {
            Self::Account(Auth::OAuth2 { access_token }) => {
                format!("Bearer {}", access_token.expose_secret())
            }
            Self::Account(Auth::OAuth1 {
                consumer_key,
                consumer_secret,
                access_token,
                access_token_secret,
            }) => Signing {
                consumer_key,
                consumer_secret: consumer_secret.expose_secret(),
                token: access_token.expose_secret(),
                token_secret: access_token_secret.expose_secret(),
                nonce: &chance.nonce(),
                timestamp_s: chance.unix_time_s(),
            }
            .header(method, url, form),
            Self::Login {
                consumer,
                token,
                more,
            } => Signing {
                consumer_key: &consumer.key,
                consumer_secret: consumer.secret.expose_secret(),
                token: token.map_or("", |token| token.token.expose_secret()),
                token_secret: token.map_or("", |token| token.secret.expose_secret()),
                nonce: &chance.nonce(),
                timestamp_s: chance.unix_time_s(),
            }
            .header_with(&[more], method, url, form),
            Self::App(AppCredentials {
                client_secret: None,
                ..
            }) => return Ok(None),
            Self::App(AppCredentials {
                client_id,
                client_secret: Some(secret),
            }) => {
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{client_id}:{}", secret.expose_secret()))
                )
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "the stored token holds characters that no HTTP header may hold; authorise the account again")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Every secret that this call sends, to be struck out of what comes back.
    pub(crate) fn secrets(self) -> Vec<String> {
        match self {
            Self::Account(Auth::OAuth2 { access_token }) => {
                vec![access_token.expose_secret().to_owned()]
            }
            Self::Account(Auth::OAuth1 {
                consumer_secret,
                access_token,
                access_token_secret,
                ..
            }) => [consumer_secret, access_token, access_token_secret]
                .map(|secret| secret.expose_secret().to_owned())
                .to_vec(),
            Self::Login {
                consumer,
                token,
                more: (name, value),
            } => {
                let mut secrets = vec![consumer.secret.expose_secret().to_owned()];
                if let Some(RequestToken { token, secret }) = token {
                    secrets.extend([token, secret].map(|secret| secret.expose_secret().to_owned()));
                }
                if name == "oauth_verifier" {
                    secrets.push(value.to_owned());
                }
                secrets
            }
            Self::App(AppCredentials {
                client_secret: None,
                ..
            }) => Vec::new(),
            Self::App(AppCredentials {
                client_id,
                client_secret: Some(secret),
            }) => vec![
                secret.expose_secret().to_owned(),
                STANDARD.encode(format!("{client_id}:{}", secret.expose_secret())),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || SecretString::from("hunter22-hunter22");
        let shown = format!(
            "{:?} {:?} {:?}",
            Auth::OAuth2 {
                access_token: secret()
            },
            Auth::OAuth1 {
                consumer_key: "key".into(),
                consumer_secret: secret(),
                access_token: secret(),
                access_token_secret: secret(),
            },
            AppCredentials {
                client_id: "id".into(),
                client_secret: Some(secret())
            },
        );
        assert!(!shown.contains("hunter22"), "{shown}");
    }

    #[test]
    fn a_header_is_sensitive_and_a_broken_token_is_not_repeated() {
        let url = Url::parse("https://api.x.com/2/users/me").unwrap();
        let good = Auth::OAuth2 {
            access_token: "good-token".into(),
        };
        let header = Bearer::Account(&good)
            .header("GET", &url, &[], &SystemChance)
            .unwrap()
            .unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer good-token");
        assert!(!format!("{header:?}").contains("good-token"));

        let broken = Auth::OAuth2 {
            access_token: "hunter22\n".into(),
        };
        let error = Bearer::Account(&broken)
            .header("GET", &url, &[], &SystemChance)
            .unwrap_err();
        assert!(!error.contains("hunter22"));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(SystemChance.nonce(), SystemChance.nonce());
        assert_eq!(SystemChance.nonce().len(), 32);
    }
}
