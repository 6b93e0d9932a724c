//! Spans for a collector: OTLP over HTTP, in JSON (OpenTelemetry Protocol 1, "JSON Protobuf Encoding").
//!
//! **Invariant:** plain HTTP goes to this machine only; one post is one request, which takes a bounded time.

use std::time::Duration;

use crier_core::trace::{Fact, Finished, Kind};
use reqwest::{Client, redirect, retry};
use serde_json::{Value, json};
use url::Url;

use crate::client::under;
use crate::config::{ConfigError, check_base};
use crate::faults::describe;

/// Longest time for one post.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A collector.
#[derive(Debug, Clone)]
pub struct Collector {
    http: Client,
    url: Url,
    resource: Value,
}

impl Collector {
    /// Whether a base may be called: by https, or on this machine.
    ///
    /// # Errors
    /// If it is neither, or holds more than an address.
    pub fn check(base: &Url) -> Result<(), ConfigError> {
        check_base("collector", base)
    }

    /// The collector at a base such as `http://127.0.0.1:4318`; `resource` says who sends, as names and values.
    ///
    /// # Errors
    /// If the base is neither https nor loopback, or no client can be made.
    pub fn new(base: &Url, resource: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::check(base)?;
        // An error only says that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder();
        if base.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .user_agent(concat!("crier/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| ConfigError::Setup {
                detail: describe(error),
            })?;
        let attributes: Vec<Value> = resource
            .iter()
            .map(|(name, value)| attribute(name, &Fact::Text(value.clone())))
            .collect();
        Ok(Self {
            http,
            url: under(base, &["v1", "traces"]),
            resource: json!({ "attributes": attributes }),
        })
    }

    /// Tells it of what is over.
    ///
    /// # Errors
    /// Why it did not take it, in words.
    pub async fn post(&self, spans: &[Finished]) -> Result<(), String> {
        let body = json!({"resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{"scope": {"name": "crier"}, "spans": spans.iter().map(span).collect::<Vec<_>>()}],
        }]});
        let answer = self.http.post(self.url.clone()).json(&body).send().await;
        let answer = answer.map_err(|error| describe(error.without_url()))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("it answers {}", answer.status()))
        }
    }
}

fn attribute(name: &str, fact: &Fact) -> Value {
    match fact {
        Fact::Text(text) => json!({"key": name, "value": {"stringValue": text}}),
        // Numbers of 64 bits are text in this encoding.
        Fact::Number(number) => json!({"key": name, "value": {"intValue": number.to_string()}}),
    }
}

fn span(over: &Finished) -> Value {
    let nanos =
        |at: chrono::DateTime<chrono::Utc>| at.timestamp_nanos_opt().unwrap_or(0).to_string();
    let attributes: Vec<Value> = over
        .facts
        .iter()
        .map(|(name, fact)| attribute(name, fact))
        .collect();
    let mut span = json!({
        "traceId": over.span.trace().to_string(),
        "spanId": over.span.id(),
        "name": over.name,
        "kind": match over.kind { Kind::Internal => 1, Kind::Client => 3 },
        "startTimeUnixNano": nanos(over.began),
        "endTimeUnixNano": nanos(over.ended),
        "attributes": attributes,
    });
    if let Some(parent) = over.span.parent() {
        span["parentSpanId"] = json!(parent);
    }
    if let Some(failed) = &over.failed {
        span["status"] = json!({"code": 2, "message": failed});
    }
    span
}
