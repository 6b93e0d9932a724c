//! The answer of the page of consent: where X sends it, what it says, and a server on this machine that takes it.
//!
//! **Invariant:** an answer counts only if it repeats what this login was begun with; whoever else calls is answered and
//! changes nothing. The server listens while one login waits, and no longer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::page::Page;
use crate::exit::{Refusal, Refuse};

/// The port of a callback that nobody chose: the one that the README and the hints register at X.
pub(super) const USUAL_PORT: u16 = 8723;
/// How long the last page may take to reach the browser.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the answer must repeat.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// The state of OAuth 2.0.
    State(String),
    /// The request token of OAuth 1.0a.
    RequestToken(String),
}

/// What a person has decided.
#[derive(Debug)]
pub(super) enum Decision {
    /// Yes: the code or verifier.
    Granted(SecretString),
    /// No, or X has refused the question: its words.
    Refused(String),
}

/// Why something is no answer to this login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// It was begun by another login.
    Foreign,
    /// It says neither yes nor no.
    Empty,
}

impl Expected {
    /// Reads the fields of a redirect.
    pub(super) fn read(&self, fields: &[(String, String)]) -> Result<Decision, Stray> {
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        match self {
            Self::State(state) => {
                let given = field("state").ok_or(Stray::Empty)?;
                if !same(given, state) {
                    return Err(Stray::Foreign);
                }
                if let Some(error) = field("error") {
                    let words = field("error_description").unwrap_or_default();
                    return Ok(Decision::Refused(
                        format!("{error} {words}").trim().to_owned(),
                    ));
                }
                granted(field("code"))
            }
            Self::RequestToken(token) => {
                let denied = field("denied");
                let given = denied.or(field("oauth_token")).ok_or(Stray::Empty)?;
                if !same(given, token) {
                    return Err(Stray::Foreign);
                }
                if denied.is_some() {
                    return Ok(Decision::Refused("access_denied".to_owned()));
                }
                granted(field("oauth_verifier"))
            }
        }
    }
}

fn granted(code: Option<&str>) -> Result<Decision, Stray> {
    let code = code.filter(|code| !code.is_empty()).ok_or(Stray::Empty)?;
    Ok(Decision::Granted(code.to_owned().into()))
}

/// Whether two texts are the same, in a time that tells nothing of where they differ: hashes are compared.
fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one.as_bytes()) == Sha256::digest(other.as_bytes())
}

/// The fields after the `?`.
pub(super) fn fields(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Where X sends the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As it is registered, to the letter.
    uri: Option<String>,
    /// Where to listen; none if the answer is brought by a person.
    listen: Option<SocketAddr>,
    path: String,
}

impl Place {
    /// By a registered callback, a port, or neither.
    pub(super) fn new(
        redirect_uri: Option<&str>,
        port: Option<u16>,
        by_hand: bool,
    ) -> anyhow::Result<Self> {
        let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let Some(uri) = redirect_uri else {
            let port = port.unwrap_or(if by_hand { USUAL_PORT } else { 0 });
            return Ok(Self {
                uri: by_hand.then(|| local(here(port))),
                listen: (!by_hand).then(|| here(port)),
                path: "/callback".to_owned(),
            });
        };
        let url = Url::parse(uri).refused(format!("`{uri}` is no address to be sent to"))?;
        let address = match url.host() {
            _ if url.scheme() != "http" => None,
            Some(Host::Ipv4(address)) if address.is_loopback() => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) if address.is_loopback() => Some(IpAddr::V6(address)),
            Some(Host::Domain("localhost")) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | None => None,
        };
        let listen = match (address, port) {
            _ if by_hand => None,
            (Some(address), port) => Some(SocketAddr::new(
                address,
                port.or(url.port_or_known_default()).unwrap_or(80),
            )),
            // Something forwards what comes there to this machine.
            (None, Some(port)) => Some(here(port)),
            (None, None) => {
                return Refusal::new(format!("what is sent to `{uri}` does not come to this machine"))
                    .hint("add --paste and bring the answer by hand, or --port with the local port that it is forwarded to")
                    .fail();
            }
        };
        Ok(Self {
            uri: Some(uri.to_owned()),
            listen,
            path: url.path().to_owned(),
        })
    }

    /// Begins to listen, if that is the way; answers the callback as X is to be told.
    pub(super) async fn open(self) -> anyhow::Result<(String, Option<Callback>)> {
        let Some(address) = self.listen else {
            return Ok((self.uri.unwrap_or_default(), None));
        };
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                let hint = if self.uri.is_some() {
                    "end the program that has this port, change the callback (and register it), or use --paste"
                } else if error.kind() == std::io::ErrorKind::AddrInUse {
                    "another program has this port: end it, choose another with --port (and register its callback), or use --paste"
                } else {
                    "choose another port with --port, or use --paste"
                };
                return Refusal::new(format!("cannot wait for X's answer on {address}: {error}"))
                    .hint(hint)
                    .fail();
            }
        };
        let uri = match self.uri {
            Some(uri) => uri,
            None => local(listener.local_addr()?),
        };
        let callback = Callback {
            listener,
            path: self.path,
        };
        Ok((uri, Some(callback)))
    }
}

fn local(address: SocketAddr) -> String {
    format!("http://{address}/callback")
}

/// A server that waits for one answer.
#[derive(Debug)]
pub(super) struct Callback {
    listener: TcpListener,
    path: String,
}

/// A browser that has brought the answer and waits for a page.
#[derive(Debug)]
pub(super) struct Visitor {
    page: oneshot::Sender<Page>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

struct Desk {
    path: String,
    expected: Expected,
    answers: mpsc::Sender<(Decision, oneshot::Sender<Page>)>,
}

impl Callback {
    /// The answer, once it has come. Dropped before, the server ends.
    pub(super) async fn answer(self, expected: Expected) -> anyhow::Result<(Decision, Visitor)> {
        let (answers, mut heard) = mpsc::channel(1);
        let desk = Desk {
            path: self.path,
            expected,
            answers,
        };
        let router = Router::new().fallback(receive).with_state(Arc::new(desk));
        let stop = CancellationToken::new();
        let ends = stop.clone().drop_guard();
        let told = stop.clone();
        let server = tokio::spawn(async move {
            let served = axum::serve(self.listener, router)
                .with_graceful_shutdown(async move { told.cancelled().await })
                .await;
            if let Err(error) = served {
                tracing::warn!("the server for X's answer stopped: {error}");
            }
        });
        let Some((decision, page)) = heard.recv().await else {
            anyhow::bail!("the server for X's answer has stopped");
        };
        let stop = ends.disarm();
        Ok((decision, Visitor { page, stop, server }))
    }
}

impl Visitor {
    /// Shows how it ended, and closes the server.
    pub(super) async fn show(self, page: Page) {
        // A browser that has gone needs no page.
        let _ = self.page.send(page);
        self.stop.cancel();
        let mut server = self.server;
        if tokio::time::timeout(FAREWELL, &mut server).await.is_err() {
            server.abort();
        }
    }
}

async fn receive(
    State(desk): State<Arc<Desk>>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Response {
    if uri.path() != desk.path {
        return (StatusCode::NOT_FOUND, headers()).into_response();
    }
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, headers()).into_response();
    }
    let page = match desk.expected.read(&fields(&query.unwrap_or_default())) {
        Ok(decision) => {
            let (shown, page) = oneshot::channel();
            match desk.answers.try_send((decision, shown)) {
                Ok(()) => page.await.unwrap_or_else(|_| Page::broken_off()),
                Err(_) => Page::taken(),
            }
        }
        Err(stray) => Page::stray(stray),
    };
    let status = if page.well {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    (status, headers(), page.html()).into_response()
}

/// The address of the page holds a code: it is neither kept nor told to anybody, and the page runs nothing.
fn headers() -> HeaderMap {
    let value = HeaderValue::from_static;
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, value("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, value("no-store")),
        (header::REFERRER_POLICY, value("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, value("nosniff")),
        (
            header::CONTENT_SECURITY_POLICY,
            value("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ),
        (header::CONNECTION, value("close")),
    ])
}

#[cfg(test)]
mod tests;
