//! A stage for one test: its own database, its own simulator, the binary's roles as processes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crier_store::{Store, StoreError, StoreOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Of one account whose grant X has ended: nobody was to ask again before it was stopped.
pub(crate) const NO_HEEDED: &str =
    "select refresh_not_before > (select updated_at from crier.accounts) as done
  from crier.credentials where kind = 'oauth2'";
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) struct Stage {
    store: Store,
    admin: Store,
    pub(crate) url: String,
    name: String,
    sim: std::net::SocketAddr,
    stop_sim: CancellationToken,
}

pub(crate) struct Role {
    child: Child,
}

impl Role {
    /// SIGTERM; the process must end by itself, in time and well.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM").await;
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait())
            .await
            .expect("stops in time")
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Role {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self {
            child: command.spawn().unwrap(),
        }
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGTERM, and nothing is waited for.
    pub(crate) async fn terminate(&self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status();
        assert!(told.await.unwrap().success());
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How it ended, once it has by itself.
    pub(crate) async fn end(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(Duration::from_mins(1), self.child.wait())
            .await
            .expect("ends in time")
            .unwrap()
    }

    /// A signal by its name, such as `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
    }

    /// Whether the process is no more.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether a SIGSTOP holds it.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// SIGKILL: nothing is said and nothing is finished.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn options(url: String) -> StoreOptions {
    StoreOptions {
        url: url.into(),
        max_connections: 3,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    }
}

impl Stage {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's server is named by the script that started it"
    )]
    pub(crate) async fn new(script: &Value) -> Self {
        let url = std::env::var("CRIER_TEST_DATABASE_URL")
            .expect("run `make test`, or `scripts/with-postgres cargo test`");
        Self::on(url, script).await
    }

    /// On a server of its own.
    pub(crate) async fn on(url: String, script: &Value) -> Self {
        let admin = Store::connect(&options(url.clone()), None).await.unwrap();
        let name = format!("crier_e2e_{}", uuid::Uuid::new_v4().simple());
        admin
            .run_outside_transaction(&format!("create database {name}"))
            .await
            .unwrap();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        let store = Store::connect(&options(url.clone()), None).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sim = listener.local_addr().unwrap();
        let stop_sim = CancellationToken::new();
        let options = crier_sim::SimOptions::from_json(&script.to_string()).unwrap();
        tokio::spawn(crier_sim::serve(listener, options, stop_sim.clone()));
        let stage = Self {
            store,
            admin,
            url,
            name,
            sim,
            stop_sim,
        };
        let migrated = stage.command(&["migrate"]).output().await.unwrap();
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        stage
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crier"));
        command
            .args(words)
            .env("DATABASE_URL", &self.url)
            .env("CRIER__X__BASE_URL", format!("http://{}", self.sim))
            .env("CRIER__SECRETS__KEY", KEY)
            .env("CRIER__EXPORTER__LISTEN", "127.0.0.1:0")
            .kill_on_drop(true);
        command
    }

    pub(crate) fn start(&self, role: &str) -> Role {
        self.start_with(role, &[])
    }

    /// A role with settings of its own, by the names of the environment.
    pub(crate) fn start_with(&self, role: &str, settings: &[(&str, &str)]) -> Role {
        let mut command = self.command(&[role]);
        command.envs(settings.iter().copied()).stdin(Stdio::null());
        Role::spawn(&mut command)
    }

    /// An account of the simulator, imported as a user would.
    pub(crate) async fn account(&self, handle: &str) {
        self.account_without(&serde_json::json!({"username": handle}), "")
            .await;
    }

    /// An account as the simulator is told to make it, imported without one of the two kinds of grants.
    pub(crate) async fn account_without(&self, wanted: &Value, kind: &str) -> Value {
        let mut made = self
            .sim("POST", "/_sim/accounts", &wanted.to_string())
            .await;
        made.as_object_mut().unwrap().remove(kind);
        let said = self.import(&made).await;
        assert_eq!(said[0]["account"], wanted["username"]);
        made
    }

    /// Imports accounts of the simulator, one or many, as a user would; answers what was said of each.
    pub(crate) async fn import(&self, made: &Value) -> Vec<Value> {
        let mut import = self
            .command(&["auth", "import", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = import.stdin.take().unwrap();
        input.write_all(made.to_string().as_bytes()).await.unwrap();
        drop(input);
        let output = import.wait_with_output().await.unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What a command printed; it must be done.
    pub(crate) async fn done_by(&self, words: &[&str]) -> String {
        let (code, out, err) = self.say(words).await;
        assert_eq!(code, Some(0), "{words:?}: {err}");
        out
    }

    /// Its exit code, stdout and stderr.
    pub(crate) async fn say(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(words).output().await.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.store.run_script(sql).await.unwrap();
    }

    /// The same, if the database takes it.
    pub(crate) async fn tried(&self, sql: &str) -> Result<(), StoreError> {
        self.store.run_script(sql).await
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<Value> {
        self.store.select_json(query).await.unwrap()
    }

    /// Asks until the query answers `done`.
    pub(crate) async fn until(&self, query: &str, within: Duration) {
        let begin = Instant::now();
        while self.rows(query).await != [serde_json::json!({"done": true})] {
            if begin.elapsed() > within {
                let jobs = self
                    .rows("select id, left(text, 300) as text, state, attempts, crier.readable(error) as error from crier.jobs order by id")
                    .await;
                panic!("not within {within:?}: {query}\n{jobs:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where the simulator listens.
    pub(crate) fn sim_address(&self) -> std::net::SocketAddr {
        self.sim
    }

    /// One call of the simulator's control paths.
    pub(crate) async fn sim(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.sim).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// A page that one of the processes serves, as soon as it listens.
    pub(crate) async fn page(&self, address: &str, path: &str) -> String {
        let begin = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(error) => assert!(
                    begin.elapsed() < Duration::from_secs(30),
                    "{address}: {error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: crier\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Drops the database; a failing test leaves it to be looked at.
    pub(crate) async fn done(self) {
        self.stop_sim.cancel();
        self.store.close().await;
        self.admin
            .run_outside_transaction(&format!("drop database {} with (force)", self.name))
            .await
            .unwrap();
        self.admin.close().await;
    }
}
