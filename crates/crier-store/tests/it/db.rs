//! A database per test in the server that `scripts/with-postgres` started. The database is dropped when the test
//! succeeds and kept when it fails.

use std::time::Duration;

use crier_store::{Account, Claimed, Import, OAuth2Tokens, SealKey, Store, StoreOptions};
use uuid::Uuid;

pub(crate) struct Db {
    pub(crate) store: Store,
    admin: Store,
    name: String,
}

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// The key of [`Db::store`].
pub(crate) const OWN_KEY: u8 = 1;

/// A key of 32 equal bytes.
pub(crate) fn key(fill: u8) -> SealKey {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode([fill; 32]);
    SealKey::from_base64(&text.into()).unwrap()
}

fn options(url: String) -> StoreOptions {
    StoreOptions {
        url: url.into(),
        max_connections: 6,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    }
}

impl Db {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's server is named by the script that started it"
    )]
    pub(crate) async fn new() -> Self {
        let url = std::env::var("CRIER_TEST_DATABASE_URL")
            .expect("CRIER_TEST_DATABASE_URL names the server for tests: run `make test`, or `scripts/with-postgres cargo test`");
        let admin = Store::connect(&options(url.clone()), None).await.unwrap();
        let name = format!("crier_test_{}", Uuid::new_v4().simple());
        // CREATE DATABASE runs outside a transaction only, hence not through `run_script`.
        admin
            .run_outside_transaction(&format!("create database {name}"))
            .await
            .unwrap();
        let (base, _) = url.rsplit_once('/').unwrap();
        let store = Store::connect(&options(format!("{base}/{name}")), Some(key(OWN_KEY)))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        Self { store, admin, name }
    }

    /// Another process with the same database and keys of its own: the first seals, the others open.
    pub(crate) async fn with_keys(&self, keys: &[u8]) -> Store {
        let mut keys = keys.iter().map(|fill| key(*fill));
        let first = keys.next();
        Store::connect(&options(self.url()), first)
            .await
            .unwrap()
            .with_other_keys(keys.collect())
    }

    /// Where the database is.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's server is named by the script that started it"
    )]
    pub(crate) fn url(&self) -> String {
        let url = std::env::var("CRIER_TEST_DATABASE_URL").unwrap();
        let (base, _) = url.rsplit_once('/').unwrap();
        format!("{base}/{}", self.name)
    }

    /// Another process with the same database.
    pub(crate) async fn connect(&self) -> Store {
        self.connect_at(self.url()).await
    }

    /// One that has another way to it.
    pub(crate) async fn connect_at(&self, url: String) -> Store {
        Store::connect(&options(url), None).await.unwrap()
    }

    pub(crate) async fn account(&self, handle: &str, number: u32) -> Account {
        self.store
            .import_account(&Import {
                x_user_id: number.to_string(),
                handle: handle.into(),
                oauth2: Some(OAuth2Tokens {
                    client_id: "app".into(),
                    client_secret: Some("app-secret".to_owned().into()),
                    access_token: "access-token".to_owned().into(),
                    refresh_token: Some("refresh-token".to_owned().into()),
                    expires_in_s: 7200,
                    scopes: vec!["tweet.write".into()],
                }),
                oauth1: None,
            })
            .await
            .unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.store.run_script(sql).await.unwrap();
    }

    /// The database's words of refusal: message and hint.
    pub(crate) async fn refused(&self, sql: &str) -> (String, String) {
        let error = self.store.run_script(sql).await.expect_err(sql);
        let (message, hint) = error
            .database_words()
            .unwrap_or_else(|| panic!("{sql}: {error}"));
        (message, hint.unwrap_or_default())
    }

    pub(crate) async fn advance(&self, interval: &str) {
        self.sql(&format!(
            "update crier.clock set shift = shift + interval '{interval}'"
        ))
        .await;
    }

    pub(crate) async fn one(&self, query: &str) -> serde_json::Value {
        let mut rows = self.store.select_json(query).await.unwrap();
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.remove(0)
    }

    pub(crate) async fn state(&self, job: i64) -> String {
        let row = self
            .one(&format!("select state from crier.jobs where id = {job}"))
            .await;
        row["state"].as_str().unwrap().to_owned()
    }

    /// Applies every signal, then claims as `worker`.
    pub(crate) async fn claim(&self, worker: Uuid) -> Vec<Claimed> {
        while self.store.apply_signals(1000).await.unwrap() > 0 {}
        let mut claimed = self.store.claim(worker, 100, TTL).await.unwrap();
        claimed.sort_by_key(|c| c.lease.subject);
        claimed
    }

    pub(crate) async fn drop(self) {
        self.store.close().await;
        self.admin
            .run_outside_transaction(&format!("drop database {} with (force)", self.name))
            .await
            .unwrap();
        self.admin.close().await;
    }
}
