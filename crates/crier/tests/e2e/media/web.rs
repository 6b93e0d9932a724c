//! A web server of files that a test changes while it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the paths answer: whole answers, head and body.
type Answers = Arc<Mutex<HashMap<String, Vec<u8>>>>;

pub(super) struct Web {
    port: u16,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self {
            port: listener.local_addr().unwrap().port(),
            answers: Answers::default(),
            asked: Arc::default(),
        };
        let (answers, asked) = (web.answers.clone(), web.asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answers, asked) = (answers.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut request = vec![0; 8192];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..read]).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    asked.lock().unwrap().push(path.clone());
                    let missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                    let answer = answers.lock().unwrap().get(&path).cloned();
                    let _ = stream
                        .write_all(&answer.unwrap_or_else(|| missing.to_vec()))
                        .await;
                });
            }
        });
        web
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The path answers with a file, and says that it is a page.
    pub(super) fn put(&self, path: &str, content: &[u8]) {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            content.len()
        );
        self.answer(path, &[head.as_bytes(), content].concat());
    }

    /// The path answers with these very bytes.
    pub(super) fn answer(&self, path: &str, bytes: &[u8]) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), bytes.to_vec());
    }

    /// How often the path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| *one == path).count()
    }

    /// Settings of a role that may fetch from here.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CRIER__MEDIA__URL_ALLOW_HTTP", "true".to_owned()),
            ("CRIER__MEDIA__URL_ALLOW_PRIVATE", "true".to_owned()),
            ("CRIER__MEDIA__URL_PORTS", format!("[{}]", self.port)),
        ]
    }
}
