//! A person before a terminal and a browser, played over real processes and sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr};
use url::Url;

use crate::support::Stage;

pub(super) const ALL_SCOPES: &str = "tweet.read tweet.write users.read media.write offline.access";

/// A login under way.
pub(super) struct Login {
    child: Child,
    err: BufReader<ChildStderr>,
    said: String,
    url: Url,
    sim: SocketAddr,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    /// No secret of the simulator's apps is in it, nor a token, a code or a verifier: the simulator's are 91 characters long.
    pub(super) fn holds_no_secret(&self) {
        let all = format!("{}{}", self.out, self.err);
        for word in ["sim-client-secret", "sim-consumer-secret"] {
            assert!(!all.contains(word), "{word}: {all}");
        }
        let words = all.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
        let long: Vec<&str> = words.filter(|word| word.len() > 60).collect();
        assert_eq!(long, [""; 0], "{all}");
    }
}

/// A file of one line, gone with its value.
pub(super) struct SecretFile(String);

impl SecretFile {
    pub(super) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) fn secret_file(text: &str) -> SecretFile {
    let name = format!("crier-test-{}", uuid::Uuid::new_v4().simple());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    SecretFile(path.to_str().unwrap().to_owned())
}

/// An answer to a browser.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) async fn get(server: SocketAddr, method: &str, path: &str, form: &str) -> Seen {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Seen {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Login {
    /// Begins one, and reads on until the address is printed.
    pub(super) async fn begin(stage: &Stage, words: &[&str]) -> Self {
        Self::begin_with(stage, words, "").await
    }

    /// The same, with something typed in at once.
    pub(super) async fn begin_with(stage: &Stage, words: &[&str], input: &str) -> Self {
        let words = [&["auth", "login"], words].concat();
        let mut child = stage
            .command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let typed = child.stdin.as_mut().unwrap();
        typed.write_all(input.as_bytes()).await.unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let url = loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_secs(30), err.read_line(&mut line));
            assert!(read.await.unwrap().unwrap() > 0, "{words:?}: {said}");
            said.push_str(&line);
            if let Some(url) = line.trim().strip_prefix("http") {
                break Url::parse(&format!("http{url}")).unwrap();
            }
        };
        Self {
            child,
            err,
            said,
            url,
            sim: stage.sim_address(),
        }
    }

    /// The fields of the address.
    pub(super) fn asked(&self) -> BTreeMap<String, String> {
        assert_eq!(self.url.port(), Some(self.sim.port()));
        self.url.query_pairs().into_owned().collect()
    }

    /// Where the command waits for the answer.
    pub(super) fn callback(&self) -> SocketAddr {
        let uri = Url::parse(&self.asked()["redirect_uri"]).unwrap();
        let host = uri.host_str().unwrap();
        format!("{host}:{}", uri.port().unwrap()).parse().unwrap()
    }

    /// X's page in answer to the address, then its form with these fields; the address that X redirects to.
    pub(super) async fn decide(&self, fields: &[(&str, &str)]) -> Url {
        let answer = self.press(fields).await;
        assert_eq!(answer.status, 302, "{}", answer.body);
        let mut head = answer.head.lines();
        let there = head.find_map(|line| line.strip_prefix("location: "));
        Url::parse(there.unwrap()).unwrap()
    }

    /// The same on the page of OAuth 1.0a, which says yes if nothing else is said.
    pub(super) async fn decide_oauth1(&self, fields: &[(&str, &str)]) -> Url {
        assert_eq!(self.url.path(), "/oauth/authorize");
        self.decide(fields).await
    }

    /// The form of X's page, with these fields beside those of the address.
    pub(super) async fn press(&self, fields: &[(&str, &str)]) -> Seen {
        let path = &self.url[url::Position::BeforePath..];
        let page = get(self.sim, "GET", path, "").await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("Authorize"), "{}", page.body);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.url.query_pairs() {
            let changed = fields.iter().any(|(known, _)| *known == name);
            if !changed {
                form.append_pair(&name, &value);
            }
        }
        form.extend_pairs(fields);
        get(self.sim, "POST", self.url.path(), &form.finish()).await
    }

    /// The browser goes where X sends it.
    pub(super) async fn visit(&self, there: &Url) -> Seen {
        let host = there.host_str().unwrap();
        let address = format!("{host}:{}", there.port().unwrap()).parse().unwrap();
        get(address, "GET", &there[url::Position::BeforePath..], "").await
    }

    pub(super) async fn type_in(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(super) async fn end(mut self) -> Said {
        drop(self.child.stdin.take());
        self.err.read_to_string(&mut self.said).await.unwrap();
        let output = tokio::time::timeout(Duration::from_secs(30), self.child.wait_with_output());
        let output = output.await.unwrap().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: self.said,
        }
    }
}
