//! Webhooks: one signed POST to an address of the operator's, guarded as the addresses of media are.
//!
//! **Invariant:** a request leaves only to an address that was checked, follows no redirect, and takes a bounded time and a
//! bounded part of the answer. Signatures are those of the Standard Webhooks specification, whose libraries verify them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crier_core::failpoint::{self, Deed};
use crier_core::fault::Fault;
use crier_core::media::UrlRules;
use crier_core::trace::Span;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::client::TRACEPARENT;
use crate::faults::describe;
use crate::fetch::{FetchOptions, Fetcher};

/// What a secret begins with, in front of its base64 (Standard Webhooks, "Signature scheme").
pub const SECRET_PREFIX: &str = "whsec_";
/// So much of a refusal is told to people, in characters.
const MOST_SAID: usize = 200;
/// So much of an answer is read.
const MOST_READ: usize = 4096;

/// One delivery.
#[derive(Debug)]
pub struct Hook<'a> {
    /// Where to; people's secret, as a rule.
    pub url: &'a SecretString,
    /// What signs it: `whsec_` and base64.
    pub secret: &'a SecretString,
    /// The same at every try.
    pub id: &'a str,
    /// Seconds since 1970, of this try.
    pub timestamp_s: i64,
    /// JSON.
    pub body: &'a str,
    /// The piece of work that it belongs to.
    pub span: Option<Span>,
}

/// Calls webhooks.
#[derive(Debug, Clone)]
pub struct HookClient {
    fetcher: Fetcher,
    timeout: Duration,
}

impl HookClient {
    /// A client that may call what the rules allow, for so long each time.
    pub fn new(rules: UrlRules, timeout: Duration) -> Self {
        let options = FetchOptions {
            rules,
            timeout,
            stall: timeout,
            connect_timeout: timeout,
            ..FetchOptions::default()
        };
        Self {
            fetcher: Fetcher::new(options),
            timeout,
        }
    }

    /// Whether an address may be called, by its letters alone.
    ///
    /// # Errors
    /// `webhook_refused`, in words for people.
    pub fn check(&self, url: &str) -> Result<String, Fault> {
        let url = self.fetcher.rules().check(url).map_err(refused)?;
        Ok(url.host_str().unwrap_or_default().to_owned())
    }

    /// Whether a secret can sign.
    ///
    /// # Errors
    /// `webhook_secret`, in words for people.
    pub fn check_secret(secret: &str) -> Result<(), Fault> {
        key_of(secret).map(drop)
    }

    /// Delivers once. Answers the status, which is one of success.
    ///
    /// # Errors
    /// The status if there was one, and the fault.
    pub async fn post(&self, hook: &Hook<'_>) -> Result<u16, (Option<u16>, Fault)> {
        let done = tokio::time::timeout(self.timeout, self.try_post(hook)).await;
        done.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", self.timeout.as_secs());
            Err((None, unreachable(detail)))
        })
    }

    async fn try_post(&self, hook: &Hook<'_>) -> Result<u16, (Option<u16>, Fault)> {
        let none = |fault| (None, fault);
        let url = self.fetcher.rules().check(hook.url.expose_secret());
        let url = url.map_err(refused).map_err(none)?;
        let signature = sign(hook).map_err(none)?;
        let client = self.fetcher.client(&url).await;
        let client = client.map_err(refused).map_err(none)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        failpoint::before(Deed::Call, "POST webhook");
        let mut request = client.post(url);
        if let Some(span) = hook.span {
            request = request.header(TRACEPARENT, span.to_string());
        }
        let answer = request
            .header("content-type", "application/json")
            .header("webhook-id", hook.id)
            .header("webhook-timestamp", hook.timestamp_s)
            .header("webhook-signature", signature)
            .body(hook.body.to_owned())
            .send()
            .await;
        failpoint::after(Deed::Call, "POST webhook");
        let mut response = answer
            // The address is often a secret: only its host is told.
            .map_err(|error| {
                none(unreachable(format!(
                    "`{host}`: {}",
                    describe(error.without_url())
                )))
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        let mut said = Vec::new();
        while said.len() < MOST_READ {
            match response.chunk().await {
                Ok(Some(chunk)) => said.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        let said: String = String::from_utf8_lossy(&said)
            .chars()
            .filter(|c| !c.is_control())
            .take(MOST_SAID)
            .collect();
        let fault = Fault::new(
            "webhook_status",
            "the receiver of a webhook did not take it",
            format!("`{host}` answers {status}: {said}"),
            "see to the receiver; crier tries again for about a day, and `crier webhooks redeliver` after that",
        )
        .at_step("webhook");
        Err((Some(status.as_u16()), fault))
    }
}

/// The key that a secret stands for.
///
/// # Errors
/// If it is not of its form, or empty.
fn key_of(secret: &str) -> Result<Vec<u8>, Fault> {
    let text = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let wrong = |detail: &str| {
        Fault::new(
            "webhook_secret",
            "the secret of a webhook cannot be used",
            detail,
            "remove the webhook, and add it anew",
        )
        .at_step("webhook")
    };
    let key = STANDARD
        .decode(text)
        .map_err(|_| wrong("it is not `whsec_` and base64"))?;
    if key.is_empty() {
        return Err(wrong("it is empty, so that anybody could sign"));
    }
    Ok(key)
}

/// `v1,` and base64 of HMAC-SHA256 over id, time and body, joined by full stops.
///
/// # Errors
/// If the secret is not of its form.
fn sign(hook: &Hook<'_>) -> Result<String, Fault> {
    let key = key_of(hook.secret.expose_secret())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(format!("{}.{}.{}", hook.id, hook.timestamp_s, hook.body).as_bytes());
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

/// The same fault as one of a webhook. What is shown of an address is its host at most.
fn refused(fault: Fault) -> Fault {
    let detail = match fault.detail.split_once("` ") {
        // The address comes first, in backticks, with a path that may be secret.
        Some((_, why)) if fault.detail.starts_with('`') => format!("the address {why}"),
        _ => fault.detail,
    };
    let passing = !fault.permanent;
    let fault = Fault::new(
        "webhook_refused",
        "the address of a webhook may not be called",
        detail,
        "give an https address on the public internet, or see `webhooks` in the configuration",
    )
    .at_step("webhook");
    if passing { fault.passing() } else { fault }
}

fn unreachable(detail: String) -> Fault {
    Fault::new(
        "webhook_unreachable",
        "the receiver of a webhook could not be reached",
        detail,
        "see whether it can be reached from where the workers run; crier tries again for about a day",
    )
    .at_step("webhook")
    .passing()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let hook = Hook {
            url: &"https://example.com".to_owned().into(),
            secret: &"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into(),
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp_s: 1_614_265_330,
            body: r#"{"test": 2432232314}"#,
            span: None,
        };
        assert_eq!(
            sign(&hook).unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn inner_addresses_are_refused_without_repeating_them() {
        let client = HookClient::new(UrlRules::default(), Duration::from_secs(1));
        for url in [
            "https://127.0.0.1/hooks/very-secret",
            "https://169.254.169.254/very-secret",
            "http://example.com/very-secret",
            "https://localhost/very-secret",
        ] {
            let fault = client.check(url).unwrap_err();
            assert_eq!(fault.code, "webhook_refused");
            assert!(!fault.to_string().contains("very-secret"), "{fault}");
        }
        assert_eq!(
            client.check("https://hooks.example.com/x").unwrap(),
            "hooks.example.com"
        );
    }
}
