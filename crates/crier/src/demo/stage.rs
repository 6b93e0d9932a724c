//! The demo's stage: a folder, a Postgres, a simulator, roles.
//!
//! **Invariant:** everything on it is dropped with it: roles first, then the simulator, then Postgres, then the folder.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use crier_store::{JobRow, SealKey, Store, StoreOptions};
use serde_json::{Value, json};

use super::media;
use crate::commands::auth::import_text;
use crate::config::Config;
use crate::embedded::home::new_key;
use crate::embedded::user::Owner;
use crate::embedded::{Server, ServerOptions, binaries};
use crate::http;
use crate::processes::{Nursery, Role};
use crate::screen::note;

/// Seconds until X lets @orbit post again, from the arming of the fault: some seconds after its first try.
const RESET_S: i64 = 9;
/// How long a role may take to stop.
const STOP: Duration = Duration::from_secs(8);

/// All that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    roles: Vec<Role>,
    x: Option<(Role, SocketAddr)>,
    exporter: Option<SocketAddr>,
    store: Option<Store>,
    nursery: Option<Nursery>,
    server: Option<Server>,
    reset_us: i64,
    // Last, as it is dropped last.
    folder: Folder,
}

/// A folder that goes with its handle.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            note(&format!("the logs are in `{}`", self.path.display()));
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// One line about the stage.
pub(super) fn say(what: &str, how: &str) {
    note(&format!("  {what:<10}{how}"));
}

impl Stage {
    /// An empty one.
    pub(crate) fn new(keep: bool) -> anyhow::Result<Self> {
        // In /tmp, whatever TMPDIR says: the user that runs Postgres must be able to reach it.
        let path = PathBuf::from(format!("/tmp/crier-demo-{}", uuid::Uuid::new_v4().simple()));
        std::fs::DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .context("no folder can be made in /tmp")?;
        let folder = Folder { path, keep };
        std::fs::create_dir(folder.path.join("logs"))?;
        Ok(Self {
            roles: Vec::new(),
            x: None,
            exporter: None,
            store: None,
            nursery: None,
            server: None,
            reset_us: 0,
            folder,
        })
    }

    /// Where the media files are.
    pub(crate) fn media_root(&self) -> PathBuf {
        self.folder.path.join("media")
    }

    /// Makes the media files.
    pub(crate) fn files(&self) -> anyhow::Result<()> {
        let root = self.media_root();
        std::fs::create_dir(&root)?;
        media::make(&root)?;
        say(
            "files",
            &format!("picture.png, film.mp4 ({} MiB)", media::FILM_BYTES >> 20),
        );
        Ok(())
    }

    /// Starts Postgres and brings the schema.
    pub(crate) async fn postgres(&mut self, config: &Config) -> anyhow::Result<()> {
        let binaries = binaries::find(&config.environment)?;
        let owner = Owner::find(&config.database.embedded_user)?;
        let folder = self.folder.path.join("postgres");
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        owner.give(&folder)?;
        let server = Server::start(&ServerOptions {
            bin: &binaries.folder,
            path: &config.environment.path,
            owner: &owner,
            folder,
            password: uuid::Uuid::new_v4().simple().to_string(),
            port: None,
            durable: false,
        })
        .await?;
        let (url, port, key) = (server.url(), server.port(), new_key());
        self.server = Some(server);
        let options = StoreOptions {
            url: url.clone().into(),
            max_connections: 4,
            acquire_timeout: Duration::from_secs(10),
            application_name: "crier demo".into(),
        };
        let store =
            Store::connect(&options, Some(SealKey::from_base64(&key.clone().into())?)).await?;
        store.migrate().await?;
        self.store = Some(store);
        say(
            "postgres",
            &format!("{} on port {port}, private to this demo", binaries.version),
        );
        let mut nursery = Nursery::new(&config.environment.path, &self.folder.path.join("logs"))?;
        nursery.set("DATABASE_URL", url);
        nursery.set("CRIER__SECRETS__KEY", key);
        nursery.set("CRIER__MEDIA__ROOT", self.media_root().to_string_lossy());
        nursery.set("CRIER__EXPORTER__LISTEN", "127.0.0.1:0");
        nursery.set("NO_COLOR", "1");
        self.nursery = Some(nursery);
        Ok(())
    }

    /// Starts the simulator.
    pub(crate) async fn x(&mut self) -> anyhow::Result<()> {
        let nursery = self.nursery.as_mut().context("Postgres comes first")?;
        let (role, base) = nursery
            .start("simulator", &["sim", "--listen", "127.0.0.1:0"])
            .await?;
        let address = base
            .trim_start_matches("http://")
            .parse()
            .with_context(|| format!("the simulator said `{base}`"))?;
        nursery.set("CRIER__X__BASE_URL", base.clone());
        self.x = Some((role, address));
        say("x", &format!("simulated at {base}"));
        Ok(())
    }

    /// Makes two accounts: @orbit's token is about to expire, and X will turn it away once.
    pub(crate) async fn accounts(&mut self) -> anyhow::Result<()> {
        let acme = self
            .sim("POST", "/_sim/accounts", &json!({"username": "acme"}))
            .await?;
        let mut orbit = self
            .sim("POST", "/_sim/accounts", &json!({"username": "orbit"}))
            .await?;
        orbit["oauth2"]["expires_in"] = 2.into();
        import_text(self.store()?, &json!([acme, orbit]).to_string()).await?;
        say(
            "accounts",
            "@acme; @orbit, whose token is to end in 2 s and whom X will turn away with a 429",
        );
        Ok(())
    }

    async fn arm(&mut self) -> anyhow::Result<()> {
        let clock = self.sim("GET", "/_sim/clock", &Value::Null).await?;
        let now_us = clock["now_us"]
            .as_i64()
            .context("the simulator has no clock")?;
        let reset_s = now_us / 1_000_000 + RESET_S;
        self.reset_us = reset_s * 1_000_000;
        let fault = json!({"route": "POST /2/tweets", "kind": "answer", "account": "orbit", "status": 429,
            "headers": {"x-rate-limit-limit": "100", "x-rate-limit-remaining": "0", "x-rate-limit-reset": reset_s.to_string()},
            "body": {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}});
        self.sim("POST", "/_sim/faults", &fault).await?;
        Ok(())
    }

    /// Starts the roles.
    pub(crate) async fn roles(&mut self) -> anyhow::Result<()> {
        let nursery = self.nursery.as_ref().context("Postgres comes first")?;
        for (name, word) in [
            ("exporter", "exporter"),
            ("scheduler", "scheduler"),
            ("worker-1", "worker"),
            ("worker-2", "worker"),
        ] {
            let (role, pages) = nursery.start(name, &[word]).await?;
            self.roles.push(role);
            if word == "exporter" {
                let address = pages
                    .trim_start_matches("http://")
                    .trim_end_matches("/metrics");
                self.exporter = Some(
                    address
                        .parse()
                        .with_context(|| format!("the exporter said `{pages}`"))?,
                );
            }
        }
        self.arm().await?;
        say(
            "roles",
            "scheduler, two workers, exporter, each a process of its own",
        );
        Ok(())
    }

    /// The database.
    pub(crate) fn store(&self) -> anyhow::Result<&Store> {
        self.store.as_ref().context("there is no database yet")
    }

    async fn sim(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (_, address) = self.x.as_ref().context("the simulator comes first")?;
        http::json(*address, method, path, body).await
    }

    /// What is live on X.
    pub(crate) async fn posts(&self) -> anyhow::Result<Vec<Value>> {
        let posts = self.sim("GET", "/_sim/posts", &Value::Null).await?;
        serde_json::from_value(posts).context("the simulator's posts are no list")
    }

    /// Fails if a process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let x = self.x.iter_mut().map(|(role, _)| role);
        self.roles.iter_mut().chain(x).try_for_each(Role::check)
    }

    /// What else the demo promises, and whether it is so.
    pub(crate) async fn claims(&self, jobs: &[JobRow]) -> anyhow::Result<Vec<(String, bool)>> {
        let stats = self.sim("GET", "/_sim/stats", &Value::Null).await?;
        let calls = self.sim("GET", "/_sim/requests", &Value::Null).await?;
        let calls = calls
            .as_array()
            .context("the simulator's calls are no list")?;
        let orbit = |call: &&Value| call["route"] == "POST /2/tweets" && call["account"] == "orbit";
        let refused = calls
            .iter()
            .filter(orbit)
            .filter(|call| call["status"] == 429)
            .count();
        let early = calls
            .iter()
            .filter(orbit)
            .skip(1)
            .filter(|call| call["received_at_us"].as_i64() < Some(self.reset_us))
            .count();
        let segments = stats["appends"].as_u64().unwrap_or(0);
        let published = jobs.iter().filter(|job| job.state == "published").count();
        let metrics = match self.exporter {
            Some(exporter) => http::call(exporter, "GET", "/metrics", "").await?,
            None => String::new(),
        };
        let counted = format!("crier_jobs_ended_total{{state=\"published\"}} {published}");
        Ok(vec![
            (
                format!(
                    "@orbit's token was refreshed once ({} refresh)",
                    stats["refreshes"]
                ),
                stats["refreshes"] == 1,
            ),
            (
                format!(
                    "the 429 was waited out: {refused} refused call, {early} calls before the reset that X named"
                ),
                refused == 1 && early == 0,
            ),
            (
                format!("the media went up in {segments} segments"),
                segments > 8,
            ),
            (
                format!("the exporter counts {published} published posts"),
                metrics.lines().any(|line| line == counted),
            ),
        ])
    }

    /// What the processes complained of.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let x = self.x.iter().map(|(role, _)| role);
        self.roles
            .iter()
            .chain(x)
            .flat_map(Role::complaints)
            .collect()
    }

    /// Ends everything in order.
    pub(crate) async fn close(mut self) {
        let mut stops = tokio::task::JoinSet::new();
        for role in self.roles.drain(..) {
            stops.spawn(role.stop(STOP));
        }
        while stops.join_next().await.is_some() {}
        if let Some((x, _)) = self.x.take() {
            x.stop(STOP).await;
        }
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

/// The file of a row.
pub(super) fn file_of(root: &Path, item: &Value) -> Option<PathBuf> {
    Some(root.join(item["path"].as_str()?))
}
