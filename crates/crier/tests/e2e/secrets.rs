//! Everything is driven with known secrets, at the most talkative level of logging and with an X that repeats them in its
//! errors; then all that came out is searched for them, and so is the database.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crier_store::{SealKey, Store, StoreOptions};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{KEY, Role, Stage};

const SOON: Duration = Duration::from_mins(1);
const ACCESS: &str = "at-7fKq0Zb3ThatNobodyMaySee";
const REFRESH: &str = "rt-91LmPwXThatNobodyMaySee";
const CLIENT_SECRET: &str = "cs-Hu3rT5vThatNobodyMaySee";
const DATABASE_PASSWORD: &str = "pw-2xNnD8kThatNobodyMaySee";

/// What all processes said, in files.
struct Said {
    folder: PathBuf,
    url: String,
}

impl Said {
    fn file(&self, name: &str) -> Stdio {
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.join(name))
            .unwrap()
            .into()
    }

    fn command(&self, stage: &Stage, words: &[&str]) -> tokio::process::Command {
        let mut command = stage.command(words);
        command
            .env("DATABASE_URL", &self.url)
            .env("CRIER__MEDIA__ROOT", &self.folder)
            .env("CRIER__LOG__FILTER", "trace")
            .stdin(Stdio::null())
            .stdout(self.file("stdout"))
            .stderr(self.file("stderr"));
        command
    }

    fn start(&self, stage: &Stage, json: bool) -> Role {
        let mut command = self.command(stage, &["run"]);
        command.env("CRIER__LOG__JSON", json.to_string());
        Role::spawn(&mut command)
    }

    async fn say(&self, stage: &Stage, words: &[&str]) {
        self.command(stage, words).status().await.unwrap();
    }

    fn all(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.join(name)).unwrap();
        read("stdout") + &read("stderr")
    }
}

/// A secret as it is, and as it looks in the forms that text takes on its way.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let base64 = STANDARD.encode(secret);
    // Inside a longer base64 text the last characters depend on what follows.
    vec![
        secret.to_owned(),
        hex,
        base64[..base64.len() - 4].to_owned(),
    ]
}

fn assert_none_in(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        for form in forms(secret) {
            if let Some(at) = text.find(&form) {
                let from = text.floor_char_boundary(at.saturating_sub(300));
                let to = text.floor_char_boundary((at + form.len() + 50).min(text.len()));
                panic!("a secret is in {place}: …{}…", &text[from..to]);
            }
        }
    }
}

pub(crate) async fn opened(url: &str, account: i64) -> Vec<String> {
    let options = StoreOptions {
        url: url.to_owned().into(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    };
    let key = SealKey::from_base64(&KEY.to_owned().into()).unwrap();
    let store = Store::connect(&options, Some(key)).await.unwrap();
    let tokens = store.tokens(account).await.unwrap().unwrap();
    store.close().await;
    let refresh = tokens.refresh_token.unwrap();
    [tokens.access_token, refresh]
        .map(|token| token.expose_secret().to_owned())
        .to_vec()
}

/// Every row of every table of crier, as text.
async fn whole_database(stage: &Stage) -> String {
    let tables = stage
        .rows("select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'crier'")
        .await;
    assert!(tables.len() > 15, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let rows = stage
            .rows(&format!(
                "select t::text as line from {} t",
                table["name"].as_str().unwrap()
            ))
            .await;
        for row in rows {
            all += row["line"].as_str().unwrap();
            all.push('\n');
        }
    }
    all
}

fn png(path: &Path) {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xE0".to_vec();
    file.resize(5000, 7);
    std::fs::write(path, file).unwrap();
}

#[tokio::test]
async fn no_secret_leaves_in_logs_pages_errors_or_rows() {
    let stage = Stage::new(&json!({})).await;
    let folder = std::env::temp_dir().join(format!("crier-secrets-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    png(&folder.join("a.png"));
    let url = stage
        .url
        .replacen("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"), 1);
    assert_ne!(url, stage.url);
    let said = Said { folder, url };

    let wanted = json!({"username": "acme", "access_token": ACCESS, "refresh_token": REFRESH,
        "client_id": "app-one", "client_secret": CLIENT_SECRET});
    let made = stage
        .sim("POST", "/_sim/accounts", &wanted.to_string())
        .await;
    let form = said.folder.join("form.json");
    std::fs::write(&form, made.to_string()).unwrap();
    let mut import = said.command(&stage, &["auth", "import"]);
    import.stdin(std::fs::File::open(&form).unwrap());
    assert!(import.status().await.unwrap().success());
    std::fs::remove_file(&form).unwrap();

    // X, or what stands before it, repeats what it was sent by each call.
    let echo = format!("Authorization: Bearer {ACCESS}");
    let answer = |route: &str, status: u16, body: Value| json!({"route": route, "kind": "answer", "status": status, "body": body});
    for fault in [
        answer(
            "POST /2/tweets",
            401,
            json!({"title": "rate_limited", "detail": ACCESS}),
        ),
        answer(
            "POST /2/tweets",
            403,
            json!({"title": "no", "detail": echo, "type": "about:blank"}),
        ),
        answer(
            "POST /2/tweets",
            429,
            json!(format!("<html>{ACCESS}</html>")),
        ),
        answer(
            "POST /2/media/upload/initialize",
            503,
            json!({"detail": echo}),
        ),
        answer(
            "POST /2/oauth2/token",
            503,
            json!({"error": "x", "error_description":
            format!("refresh_token={REFRESH} {CLIENT_SECRET} {}", STANDARD.encode(format!("app-one:{CLIENT_SECRET}")))}),
        ),
    ] {
        stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
    }
    let crier = said.start(&stage, false);
    stage
        .sql(
            r#"insert into crier.jobs (account, text, options) values ('acme', 'first', '{"reply_settings": "following"}');
               insert into crier.jobs (account, text, media) values ('acme', 'second', '[{"path": "a.png", "alt_text": "seven"}]');
               insert into crier.jobs (account, text) select 'acme', 'more ' || n from generate_series(1, 5) n"#,
        )
        .await;
    stage
        .until(
            "select bool_or(error ->> 'code' = 'rate_limited') as done from crier.jobs",
            SOON,
        )
        .await;
    stage
        .sql("update crier.clock set shift = '118 minutes'")
        .await;
    stage
        .until(
            "select bool_and(state in ('published', 'failed')) as done from crier.jobs",
            SOON,
        )
        .await;
    let rotated_once = opened(&stage.url, 1).await;
    assert!(
        !rotated_once.contains(&ACCESS.to_owned()),
        "it was refreshed"
    );
    let out = std::fs::read_to_string(said.folder.join("stdout")).unwrap();
    let page = out
        .lines()
        .find_map(|line| line.strip_prefix("http://")?.strip_suffix("/metrics"));
    let metrics = stage.page(page.unwrap(), "/metrics").await;
    crier.stop().await;
    let other = said.start(&stage, true);
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'logged as JSON')")
        .await;
    stage
        .until(
            "select bool_and(state in ('published', 'failed')) as done from crier.jobs",
            SOON,
        )
        .await;
    other.stop().await;
    for words in [
        &["auth", "refresh", "acme"][..],
        &["auth", "refresh", "acme"],
        &["auth", "refresh", "acme", "--force"],
        &["keys", "list"],
        &["keys", "rotate", "--dry-run"],
        &["keys", "rotate", "--json"],
        &["accounts", "show", "acme"],
        &["accounts", "list", "--json"],
        &["jobs", "list", "--json"],
        &["jobs", "show", "1"],
        &["jobs", "why", "1", "--json"],
        &["jobs", "why", "2"],
        &["config", "dump"],
        &["config", "dump", "--json"],
        &["config", "check"],
        &["doctor"],
        &["--help"],
        &["auth", "import", "--help"],
        &["jobs", "show", "999"],
        &["auth", "refresh", "nobody"],
    ] {
        said.say(&stage, words).await;
    }

    let mut secrets: Vec<String> = [ACCESS, REFRESH, CLIENT_SECRET, DATABASE_PASSWORD, KEY]
        .map(str::to_owned)
        .to_vec();
    for member in ["consumer_secret", "access_token", "access_token_secret"] {
        secrets.push(made["oauth1"][member].as_str().unwrap().to_owned());
    }
    secrets.extend(rotated_once);
    secrets.extend(opened(&stage.url, 1).await);
    assert!(
        secrets.iter().all(|secret| secret.len() > 15),
        "{secrets:?}"
    );
    let logs = said.all();
    for word in [
        "TRACE",
        "\"level\":\"TRACE\"",
        "refresh",
        "rate_limited",
        "job 1",
    ] {
        assert!(logs.contains(word), "`{word}` should have been logged");
    }
    assert!(metrics.contains("crier_build_info"), "{metrics}");
    assert_none_in("the logs or a command's output", &logs, &secrets);
    assert_none_in("the metrics", &metrics, &secrets);
    assert_none_in("the database", &whole_database(&stage).await, &secrets);
    std::fs::remove_dir_all(&said.folder).unwrap();
    stage.done().await;
}
