//! One request to a server of our own on this machine: the simulator's control paths, the exporter's pages.
//!
//! **Invariant:** it speaks to addresses of this machine only, one request a connection. Whatever else there is to say over
//! HTTP is said by `crier-x`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Our own servers answer at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of a successful answer.
pub(crate) async fn call(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<String> {
    let call = async {
        let mut stream = TcpStream::connect(server).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, call)
        .await
        .with_context(|| format!("{server} gave no answer to {method} {path}"))?
        .with_context(|| format!("{server} did not answer {method} {path}"))?;
    let answer = String::from_utf8(answer).context("the answer is not text")?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 2") {
        bail!("{method} {path} was answered with `{status}`: {body}");
    }
    Ok(body.to_owned())
}

/// The same, as JSON.
pub(crate) async fn json(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = call(server, method, path, &body).await?;
    serde_json::from_str(&answer)
        .with_context(|| format!("{method} {path} was not answered with JSON"))
}
