//! A server that keeps what it was sent and answers what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use crier_x::{Auth, Chance, Departure, MediaEncoding, Start, XClient, XConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn form(&self) -> Vec<(String, String)> {
        assert_eq!(
            self.header("content-type"),
            "application/x-www-form-urlencoded"
        );
        url::form_urlencoded::parse(&self.body)
            .into_owned()
            .collect()
    }
}

/// A departure that no call of a test misses.
pub(crate) fn in_time() -> Departure {
    Departure::within(Start::now(), Duration::from_hours(1))
}

#[derive(Clone)]
struct Told {
    seen: Arc<Mutex<Vec<Seen>>>,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers every request with a status, headers and a body.
    pub(crate) async fn answering(
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let told = Told {
            seen: seen.clone(),
            status,
            headers,
            body: body.into(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(told);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen }
    }

    /// A success with this JSON.
    pub(crate) async fn ok(body: serde_json::Value) -> Self {
        Self::answering(
            200,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) fn client(&self) -> XClient {
        client(self.address, MediaEncoding::Multipart)
    }

    /// The one request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// All that came, in order.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(State(told): State<Told>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let line = format!("{} {}", head.method, head.uri);
    told.seen.lock().unwrap().push(Seen {
        line,
        headers: head.headers,
        body,
    });
    let mut response = Response::builder().status(told.status);
    for (name, value) in told.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(told.body)).unwrap()
}

/// A socket that reads a whole request head (and what follows at once), writes `bytes` and closes.
pub(crate) async fn raw(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65_536];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    address
}

pub(crate) fn config(address: SocketAddr) -> XConfig {
    let base = url::Url::parse(&format!("http://{address}")).unwrap();
    XConfig::new(base.clone(), base)
}

pub(crate) fn client(address: SocketAddr, media_encoding: MediaEncoding) -> XClient {
    let config = XConfig {
        media_encoding,
        ..config(address)
    };
    XClient::new(config).unwrap().with_chance(Arc::new(Fixed))
}

/// Nonce and time of X's documented example.
#[derive(Debug)]
pub(crate) struct Fixed;

impl Chance for Fixed {
    fn nonce(&self) -> String {
        "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg".to_owned()
    }

    fn unix_time_s(&self) -> i64 {
        1_318_622_958
    }
}

/// The bearer token of the tests.
pub(crate) const TOKEN: &str = "bearer-hunter22";

pub(crate) fn bearer() -> Auth {
    Auth::OAuth2 {
        access_token: TOKEN.into(),
    }
}

pub(crate) fn oauth1() -> Auth {
    Auth::OAuth1 {
        consumer_key: "ck".to_owned(),
        consumer_secret: "consumer-hunter22".into(),
        access_token: "token-hunter22".into(),
        access_token_secret: "secret-hunter22".into(),
    }
}
