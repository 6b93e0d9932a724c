//! X: the simulator, in this process, since it holds the truth and must outlive everything.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy)]
pub(crate) struct X {
    pub(crate) port: u16,
}

impl X {
    pub(crate) async fn start(script: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = crier_sim::SimOptions::from_json(&script.to_string()).unwrap();
        let for_ever = tokio_util::sync::CancellationToken::new();
        tokio::spawn(crier_sim::serve(listener, options, for_ever));
        Self { port }
    }

    /// One call of a control path.
    pub(crate) async fn ask(self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    pub(crate) async fn list(self, path: &str) -> Vec<Value> {
        let answer = self.ask("GET", path, &Value::Null).await;
        answer.as_array().unwrap().clone()
    }

    pub(crate) async fn now_us(self) -> i64 {
        self.ask("GET", "/_sim/clock", &Value::Null).await["now_us"]
            .as_i64()
            .unwrap()
    }
}
