//! A small HTTP/1.1 client that hides nothing: it tells a lost answer from a cut one.

use std::net::SocketAddr;

use crier_sim::SimOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A running simulator; it stops when this is dropped.
pub(crate) struct X {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
}

impl Drop for X {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A user with all credentials, as `POST /_sim/accounts` answers.
#[derive(Clone)]
pub(crate) struct User(pub(crate) Value);

impl User {
    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    pub(crate) fn oauth2(&self, name: &str) -> &str {
        self.0["oauth2"][name].as_str().unwrap()
    }

    pub(crate) fn oauth1(&self, name: &str) -> &str {
        self.0["oauth1"][name].as_str().unwrap()
    }

    /// A request in this user's name.
    pub(crate) fn call(&self, method: &str, path: &str) -> Request {
        Request::new(method, path).bearer(self.oauth2("access_token"))
    }

    pub(crate) fn post(&self, text: &str) -> Request {
        self.call("POST", "/2/tweets").json(&json!({"text": text}))
    }
}

/// A request to send.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// The body, if it is a form.
    pub(crate) fn form_body(&self) -> &[u8] {
        let form = self
            .headers
            .iter()
            .any(|(_, value)| value.starts_with("application/x-www-form-urlencoded"));
        if form { &self.body } else { &[] }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, pairs: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.body("application/x-www-form-urlencoded", form)
    }

    /// Text parts, and a file part named `media` if given, before or after them.
    pub(crate) fn multipart(
        self,
        file: Option<&[u8]>,
        parts: &[(&str, &str)],
        file_last: bool,
    ) -> Self {
        let mut texts = Vec::new();
        for (name, value) in parts {
            texts.extend(
                format!(
                    "--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .into_bytes(),
            );
        }
        let mut media = Vec::new();
        if let Some(file) = file {
            media.extend(
                b"--edge\r\nContent-Disposition: form-data; name=\"media\"; filename=\"blob\"\r\nContent-Type: application/octet-stream\r\n\r\n",
            );
            media.extend(file);
            media.extend(b"\r\n");
        }
        let mut body = if file_last {
            [texts, media].concat()
        } else {
            [media, texts].concat()
        };
        body.extend(b"--edge--\r\n");
        self.body("multipart/form-data; boundary=edge", body)
    }

    fn bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.method,
            self.path,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body, if the status is this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The whole answer as text must hold this.
    #[track_caller]
    pub(crate) fn says(&self, status: u16, part: &str) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert!(body.contains(part), "{part:?} is not in {body}");
    }
}

/// What came instead of a whole answer.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) received: Vec<u8>,
}

impl X {
    pub(crate) async fn start() -> Self {
        Self::with(&json!({})).await
    }

    /// With these options; without a wait for videos unless they say otherwise.
    pub(crate) async fn with(options: &Value) -> Self {
        Self::with_options(SimOptions::from_json(&options.to_string()).unwrap()).await
    }

    pub(crate) async fn with_options(options: SimOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(crier_sim::serve(listener, options, stop.clone()));
        Self { addr, stop }
    }

    /// Sends a request on a connection of its own and waits for what comes.
    pub(crate) async fn attempt(&self, request: &Request) -> Result<Seen, Lost> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // The peer may close before it has read all; what it answered still counts.
        let _ = stream.write_all(&request.bytes(self.addr)).await;
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..count]);
        }
        parse(received)
    }

    pub(crate) async fn send(&self, request: Request) -> Seen {
        self.attempt(&request)
            .await
            .unwrap_or_else(|lost| panic!("{} {}: {lost:?}", request.method, request.path))
    }

    /// A control call that must work.
    pub(crate) async fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut request = Request::new(method, path);
        if !body.is_null() {
            request = request.json(body);
        }
        let seen = self.send(request).await;
        assert!(seen.status < 300, "{path}: {}", seen.json());
        seen.json()
    }

    pub(crate) async fn look(&self, path: &str) -> Value {
        self.control("GET", path, &Value::Null).await
    }

    pub(crate) async fn user(&self, username: &str) -> User {
        self.user_with(&json!({"username": username})).await
    }

    pub(crate) async fn user_with(&self, spec: &Value) -> User {
        User(self.control("POST", "/_sim/accounts", spec).await)
    }

    pub(crate) async fn fault(&self, fault: &Value) {
        self.control("POST", "/_sim/faults", fault).await;
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.control("POST", "/_sim/clock", &json!({"advance_s": seconds}))
            .await;
    }

    /// The number of live posts.
    pub(crate) async fn posts(&self) -> usize {
        self.look("/_sim/posts").await.as_array().unwrap().len()
    }

    /// The newest record.
    pub(crate) async fn last_request(&self) -> Value {
        let all = self.look("/_sim/requests").await;
        all.as_array().unwrap().last().unwrap().clone()
    }
}

fn parse(received: Vec<u8>) -> Result<Seen, Lost> {
    let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Err(Lost { received });
    };
    let head = String::from_utf8_lossy(&received[..at]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = received[at + 4..].to_vec();
    let announced = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    if body.len() < announced {
        return Err(Lost { received });
    }
    Ok(Seen {
        status,
        headers,
        body,
    })
}
