//! Through pgbouncer in transaction mode, as Debian has it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::cluster::{folder_for_servers, server_command, told_by};
use super::watched::{QUICK, Watched};
use super::{ALL_PUBLISHED, each_job_has_its_post};
use crate::media::files::{Files, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(2);

/// A pgbouncer before the test's own server.
struct Bouncer {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl Bouncer {
    /// `more` are lines of its configuration.
    async fn start(stage: &Stage, more: &str) -> Self {
        // From PATH, or from Debian's package; if neither is to be had, the script says what to install.
        let program = told_by("tool", &["pgbouncer"]).await.into();
        let folder = folder_for_servers().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = stage.url.parse::<url::Url>().unwrap();
        let (host, at) = (server.host_str().unwrap(), server.port().unwrap());
        // Fewer connections than any one process would like, so that they change hands all the time.
        let config = format!(
            "[databases]\n* = host={host} port={at}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\n{more}\n"
        );
        let config = config.replace("* = host", &format!("* = user={} host", server.username()));
        std::fs::write(folder.join("pgbouncer.ini"), config).unwrap();
        let mut bouncer = Self {
            program,
            folder,
            port,
            server: None,
        };
        bouncer.run().await;
        bouncer
    }

    async fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let mut command = server_command(&self.program).await;
        command
            .arg(self.folder.join("pgbouncer.ini"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(command.spawn().unwrap());
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().await.unwrap();
    }

    fn url(&self, stage: &Stage) -> String {
        let (_, database) = stage.url.rsplit_once('/').unwrap();
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn doctor(stage: &Stage, settings: &[(&str, &str)]) -> Vec<Value> {
    let output = stage
        .command(&["doctor", "--json"])
        .envs(settings.iter().copied())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn result_of<'a>(checks: &'a [Value], what: &str) -> &'a str {
    let found = checks.iter().find(|check| check["what"] == what);
    found.map_or("absent", |check| check["result"].as_str().unwrap())
}

#[tokio::test]
async fn everything_works_through_a_pooler_that_lends_connections_for_a_transaction() {
    let stage = Stage::new(&json!({})).await;
    let mut bouncer = Bouncer::start(&stage, "").await;
    let (pooled, direct) = (bouncer.url(&stage), stage.url.clone());
    for n in 0..5 {
        stage.account(&format!("acme{n}")).await;
    }
    let files = Files::new();
    files.put("a.png", &png(300_000));
    let root = files.folder();
    let base = [
        &QUICK[..],
        &[
            ("DATABASE_URL", pooled.as_str()),
            ("CRIER__MEDIA__ROOT", &root),
            ("CRIER__MEDIA__SEGMENT_BYTES", "131072"),
        ],
    ]
    .concat();
    // One knows only the pooler, one the way past it as well, one was told.
    let past = [&base[..], &[("CRIER__DATABASE__DIRECT_URL", &direct)]].concat();
    let told = [&base[..], &[("CRIER__DATABASE__POOLER", "transaction")]].concat();
    let roles = [
        Watched::start(&stage, "run", &base),
        Watched::start(&stage, "run", &past),
        Watched::start(&stage, "worker", &told),
    ];
    for role in &roles {
        role.until_ready_is(&stage, true).await;
    }
    roles[0].until_said("a pooler is in between").await;
    roles[0].until_said("work is found by polling").await;
    let rows = "insert into crier.jobs (account, text) select 'acme' || n % 5, 'post ' || n from generate_series(1, 40) n;
        insert into crier.jobs (account, text, media) select 'acme' || n, 'picture ' || n, '[{\"path\": \"a.png\"}]' from generate_series(0, 4) n;
        insert into crier.jobs (account, text) values ('acme0', 'thread');
        insert into crier.jobs (account, text, after) select 'acme0', 'reply', max(id) from crier.jobs";
    stage.sql(rows).await;
    // The pooler itself comes and goes.
    bouncer.stop().await;
    bouncer.run().await;
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    let listens = "select count(*) > 0 as done from pg_stat_activity where application_name = 'crier' and query ilike 'listen%' and datname = current_database()";
    stage.until(listens, SOON).await;
    for role in &roles {
        assert!(
            !role.said().contains("prepared statement"),
            "{}",
            role.said()
        );
    }

    let checks = doctor(&stage, &base).await;
    assert_eq!(result_of(&checks, "pooler"), "doubt", "{checks:?}");
    assert_eq!(result_of(&checks, "database"), "ok", "{checks:?}");
    let checks = doctor(&stage, &past).await;
    assert_eq!(result_of(&checks, "pooler"), "ok", "{checks:?}");
    assert_eq!(result_of(&checks, "notifications"), "ok", "{checks:?}");

    let migrated = stage
        .command(&["migrate"])
        .envs(base.iter().copied())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(migrated.stderr).unwrap();
    assert_eq!(migrated.status.code(), Some(1), "{said}");
    assert!(said.contains("database.direct_url"), "{said}");
    let migrated = stage
        .command(&["migrate"])
        .envs(past.iter().copied())
        .output()
        .await
        .unwrap();
    assert!(migrated.status.success());
    for role in roles {
        role.stop().await;
    }
    bouncer.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_pooler_that_drops_settings_without_a_word_is_found_out() {
    let stage = Stage::new(&json!({})).await;
    let more = "ignore_startup_parameters = options,extra_float_digits";
    let mut bouncer = Bouncer::start(&stage, more).await;
    let url = bouncer.url(&stage);
    stage.account("acme").await;
    let checks = doctor(&stage, &[("DATABASE_URL", &url)]).await;
    assert_eq!(result_of(&checks, "pooler"), "doubt", "{checks:?}");
    let settings = [&QUICK[..], &[("DATABASE_URL", url.as_str())]].concat();
    let role = Watched::start(&stage, "run", &settings);
    role.until_said("a pooler is in between").await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'through')")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    role.stop().await;
    bouncer.stop().await;
    stage.done().await;
}
