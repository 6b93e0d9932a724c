//! One request, from its parts to a usable answer or a fault.
//!
//! **Invariant:** one call is at most one request on the wire: no retry, no redirect, no sleep; and an answer takes at
//! most [`MAX_ANSWER_BYTES`] of memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::failpoint::{self, Deed};
use crier_core::trace::{Sink, Span};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, Response, redirect, retry};
use serde_json::Value;
use url::Url;

use crate::auth::{Bearer, Chance, SystemChance};
use crate::clock::{Corrected, XClock, out_of_bounds};
use crate::config::{ConfigError, XConfig};
use crate::departure::Departure;
use crate::reply::Received;
use crate::work::Work;
use crate::{faults, headers};

/// So much of an answer is read; X's own are a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The header that tells which piece of work a call belongs to.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// X over HTTP. Cheap to clone: clones share the connections.
#[derive(Debug, Clone)]
pub struct XClient {
    http: Client,
    config: Arc<XConfig>,
    chance: Arc<dyn Chance>,
    clock: XClock,
    /// What its calls are a part of.
    work: Option<Work>,
}

/// The parts of one request.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) bearer: Bearer<'a>,
    pub(crate) payload: Payload,
    /// Secrets in the body, to be struck out of what comes back.
    pub(crate) body_secrets: Vec<String>,
}

pub(crate) enum Payload {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
    Multipart(reqwest::multipart::Form),
}

impl XClient {
    /// A client with its own connection pool. TLS is rustls with ring, which becomes the process default unless one
    /// is set already.
    ///
    /// # Errors
    /// If a base is neither https nor loopback, or the TLS roots of this machine cannot be read.
    pub fn new(config: XConfig) -> Result<Self, ConfigError> {
        config.check()?;
        // An error only says that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder();
        if config.is_plain() {
            // No TLS is spoken, so a machine without root certificates (a bare container) will do.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .user_agent(&config.user_agent)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(config.connect_within())
            .tcp_user_timeout(config.delivered_within())
            .pool_idle_timeout(Duration::from_mins(1))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ConfigError::Setup {
                detail: faults::describe(error),
            })?;
        Ok(Self {
            http,
            config: Arc::new(config),
            chance: Arc::new(SystemChance),
            clock: XClock::default(),
            work: None,
        })
    }

    /// The same client by other settings, with connections of its own. What is known of X's time is shared.
    ///
    /// # Errors
    /// As for [`XClient::new`].
    pub fn with_config(&self, config: XConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            chance: Arc::clone(&self.chance),
            clock: self.clock.clone(),
            work: self.work.clone(),
            ..Self::new(config)?
        })
    }

    /// The same client with another source of nonces and time for OAuth 1.0a.
    pub fn with_chance(mut self, chance: Arc<dyn Chance>) -> Self {
        self.chance = chance;
        self
    }

    /// The same client whose calls are parts of a piece of work: each carries a `traceparent` (W3C Trace Context), and the
    /// sink is told how it ended.
    pub fn traced(mut self, span: Span, chance: fn() -> f64, sink: Option<Arc<dyn Sink>>) -> Self {
        let sink = sink.filter(|_| span.is_sampled());
        self.work = Some(Work { span, chance, sink });
        self
    }

    /// A better witness of the time than this machine's clock, until X's own answers say what it is: signatures of
    /// OAuth 1.0a state it.
    pub fn told_the_time(&self, now: DateTime<Utc>) {
        self.clock.told(now);
    }

    /// The configuration it was made of.
    pub fn config(&self) -> &XConfig {
        &self.config
    }

    /// Sends one request and reads its answer.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Received, CallFault> {
        self.call_until(call, None).await
    }

    /// The same, if it can leave in time.
    pub(crate) async fn call_until(
        &self,
        call: Call<'_>,
        departure: Option<&Departure>,
    ) -> Result<Received, CallFault> {
        let Call {
            endpoint,
            path,
            query,
            bearer,
            payload,
            body_secrets,
        } = call;
        let mut secrets = bearer.secrets();
        secrets.extend(body_secrets);
        let (method, _) = endpoint
            .label()
            .split_once(' ')
            .expect("a label is a method, a space and a path");
        let url = self.url(endpoint, path, query);
        let form = match &payload {
            Payload::Form(form) => form.as_slice(),
            Payload::None | Payload::Json(_) | Payload::Multipart(_) => &[],
        };
        let chance = Corrected {
            chance: self.chance.as_ref(),
            clock: &self.clock,
            signed_s: Mutex::default(),
        };
        let header = bearer
            .header(method, &url, form, &chance)
            .map_err(|why| faults::not_sent(endpoint, why))?;
        let method =
            Method::from_bytes(method.as_bytes()).expect("a label begins with an HTTP method");
        let upload = matches!(endpoint, Endpoint::MediaAppend | Endpoint::MediaUpload);
        let timeout = if upload {
            self.config.upload_timeout
        } else {
            self.config.timeout
        };
        let mut request = self.http.request(method, url).timeout(timeout);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let part = self.work.as_ref().map(Work::begin);
        if let Some(part) = &part {
            request = request.header(TRACEPARENT, part.span.to_string());
        }
        request = match payload {
            Payload::None => request,
            Payload::Json(value) => request.json(&value),
            Payload::Form(form) => request.form(&form),
            Payload::Multipart(form) => request.multipart(form),
        };
        let mut request = request
            .build()
            .map_err(|error| faults::from_transport(endpoint, error))?;
        if let Some(departure) = departure
            && let Some(body) = request.body_mut().take()
        {
            *request.body_mut() = Some(departure.guard(endpoint, body));
        }
        failpoint::before(Deed::Call, endpoint.label());
        let answer = match self.http.execute(request).await {
            Ok(response) => {
                self.receive(endpoint, response, secrets, chance.signed_s())
                    .await
            }
            Err(_) if departure.is_some_and(Departure::is_missed) => Err(faults::not_sent(
                endpoint,
                "it was held back, since it is too late for it to leave",
            )),
            Err(error) => Err(faults::from_transport(endpoint, error)),
        };
        failpoint::after(Deed::Call, endpoint.label());
        if let Some(part) = part {
            part.end(endpoint, &answer);
        }
        answer
    }

    async fn receive(
        &self,
        endpoint: Endpoint,
        mut response: Response,
        secrets: Vec<String>,
        signed_s: Option<i64>,
    ) -> Result<Received, CallFault> {
        let status = response.status();
        tracing::debug!(
            endpoint = endpoint.label(),
            status = status.as_u16(),
            "X answered"
        );
        let head = response.headers().clone();
        let date = headers::server_date(&head);
        if let Some(date) = date {
            self.clock.told(date);
        }
        let (body, overlong) = read_capped(&mut response)
            .await
            .map_err(|error| faults::cut_off(endpoint, status, error))?;
        if !status.is_success() {
            let mut fault = faults::refused(status, &head, &body, &secrets);
            if let (CallFault::Refused(answer), Some(signed_s), Some(date)) =
                (&mut fault, signed_s, date)
                && answer.status == 401
                && let Some(words) = out_of_bounds(signed_s, date)
            {
                answer.detail = format!("{words}; X says: {}", answer.detail);
            }
            return Err(fault);
        }
        Ok(Received {
            endpoint,
            status: status.as_u16(),
            windows: headers::windows(&head),
            server_date: date,
            body,
            overlong,
            secrets,
        })
    }

    fn url(&self, endpoint: Endpoint, path: &[&str], query: &[(&str, String)]) -> Url {
        let token = matches!(endpoint, Endpoint::Token | Endpoint::Revoke);
        let base = if token {
            &self.config.token_base
        } else {
            &self.config.api_base
        };
        let mut url = under(base, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// A path under a base.
pub(crate) fn under(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut()
        .expect("a base with a host has a path")
        .pop_if_empty()
        .extend(path);
    url
}

/// The body up to the cap, and whether there was more.
async fn read_capped(response: &mut Response) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_ANSWER_BYTES - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk.slice(..room));
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}
