//! A database with one account for a test of the command line.

use serde_json::Value;

use super::{Said, crier_with};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The database; dropped when the test succeeds, kept when it fails.
pub(super) struct Desk {
    store: crier_store::Store,
    admin: crier_store::Store,
    runtime: tokio::runtime::Runtime,
    pub(super) url: String,
    name: String,
}

fn options(url: &str) -> crier_store::StoreOptions {
    crier_store::StoreOptions {
        url: url.to_owned().into(),
        max_connections: 2,
        acquire_timeout: std::time::Duration::from_secs(30),
        application_name: "crier test".into(),
    }
}

impl Desk {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's server is named by the script that started it"
    )]
    pub(super) fn new() -> Self {
        let url = std::env::var("CRIER_TEST_DATABASE_URL")
            .expect("run `make test`, or `scripts/with-postgres cargo test`");
        let name = format!("crier_cli_{}", uuid::Uuid::new_v4().simple());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let admin = runtime
            .block_on(crier_store::Store::connect(&options(&url), None))
            .unwrap();
        runtime
            .block_on(admin.run_outside_transaction(&format!("create database {name}")))
            .unwrap();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        let store = runtime
            .block_on(crier_store::Store::connect(&options(&url), None))
            .unwrap();
        Self {
            store,
            admin,
            runtime,
            url,
            name,
        }
    }

    /// With the schema and the account `@acme`.
    pub(super) fn furnished() -> Self {
        let desk = Self::new();
        let said = desk.done(&["migrate"]).out;
        assert!(said.starts_with("the schema is at version "), "{said}");
        let said = desk.feed(&["auth", "import", "--json"], &account("acme", "1"));
        assert_eq!(said.code, 0, "{}", said.err);
        desk
    }

    pub(super) fn feed(&self, words: &[&str], input: &str) -> Said {
        let variables = [
            ("DATABASE_URL", self.url.as_str()),
            ("CRIER__SECRETS__KEY", KEY),
            ("CRIER__MEDIA__ROOT", "/tmp"),
        ];
        crier_with(words, &variables, input)
    }

    pub(super) fn say(&self, words: &[&str]) -> Said {
        self.feed(words, "")
    }

    /// A command that must be done.
    pub(super) fn done(&self, words: &[&str]) -> Said {
        let said = self.say(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        said
    }

    /// The JSON lines of a command that must be done.
    pub(super) fn json(&self, words: &[&str]) -> Vec<Value> {
        let said = self.done(&[words, &["--json"][..]].concat());
        said.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A command that must be refused, with these words.
    pub(super) fn refused(&self, words: &[&str], parts: &[&str]) {
        let said = self.say(words);
        assert_eq!(
            (said.code, said.out.as_str()),
            (1, ""),
            "{words:?}: {}",
            said.err
        );
        for part in parts {
            assert!(
                said.err.contains(part),
                "{words:?}: no `{part}` in\n{}",
                said.err
            );
        }
    }

    pub(super) fn sql(&self, sql: &str) {
        self.runtime.block_on(self.store.run_script(sql)).unwrap();
    }

    pub(super) fn close(self) {
        self.runtime.block_on(async {
            self.store.close().await;
            self.admin
                .run_outside_transaction(&format!("drop database {} with (force)", self.name))
                .await
                .unwrap();
            self.admin.close().await;
        });
    }
}

pub(super) fn account(handle: &str, id: &str) -> String {
    serde_json::json!({"id": id, "username": handle, "oauth2": {"client_id": "app", "client_secret": "app-s3cr3t",
        "access_token": "at-s3cr3t", "refresh_token": "rt-s3cr3t", "expires_in": 7200,
        "scope": "tweet.read tweet.write users.read media.write offline.access"}})
    .to_string()
}
