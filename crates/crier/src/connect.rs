//! The way to the database and to X, by the configuration.
//!
//! **Invariant:** no role starts on a schema that is older than the program.

use std::time::Duration;

use anyhow::Context;
use crier_metrics::Metrics;
use crier_store::{SchemaState, SealKey, Store, StoreOptions, Way};
use crier_worker::{News, Quit, Rescue, V1Cache, Worker};
use crier_x::XClient;
use secrecy::ExposeSecret as _;

use crate::config::{Config, secret};
use crate::exit::{Refusal, Refuse};

/// The database.
pub(crate) async fn store(config: &Config) -> anyhow::Result<Store> {
    let url = secret(
        "database.url",
        config.database.url.as_ref(),
        config.database.url_file.as_deref(),
    )?;
    let Some(url) = url else {
        return Refusal::new("no database is configured")
            .hint("set DATABASE_URL, such as postgres://crier:password@127.0.0.1:5432/crier; without a Postgres, `crier run --embedded` brings one")
            .fail();
    };
    let options = StoreOptions {
        url,
        max_connections: config.database.max_connections,
        acquire_timeout: Duration::from_secs(config.database.acquire_timeout_s),
        application_name: "crier".into(),
    };
    let (key, others) = (key(config)?, other_keys(config)?);
    let way = Way {
        pooler: config.database.pooler.store(),
        direct_url: secret(
            "database.direct_url",
            config.database.direct_url.as_ref(),
            config.database.direct_url_file.as_deref(),
        )?,
    };
    let store = Store::connect_by(&options, &way, key).await?;
    Ok(store.with_other_keys(others))
}

/// The keys that open and do not seal.
pub(crate) fn other_keys(config: &Config) -> anyhow::Result<Vec<SealKey>> {
    let text = secret(
        "secrets.other_keys",
        config.secrets.other_keys.as_ref(),
        config.secrets.other_keys_file.as_deref(),
    )?;
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    if key(config)?.is_none() {
        return Refusal::new("`secrets.other_keys` are set, and no `secrets.key`")
            .hint("the key that seals is `secrets.key`; the others open what was sealed with them")
            .fail();
    }
    text.expose_secret()
        .split_whitespace()
        .map(|key| SealKey::from_base64(&key.to_owned().into()))
        .collect::<Result<_, _>>()
        .refused("`secrets.other_keys` cannot be used: one key a line")
}

/// The key that seals tokens, if one is configured.
pub(crate) fn key(config: &Config) -> anyhow::Result<Option<SealKey>> {
    let text = secret(
        "secrets.key",
        config.secrets.key.as_ref(),
        config.secrets.key_file.as_deref(),
    )?;
    text.map(|text| SealKey::from_base64(&text))
        .transpose()
        .refused("`secrets.key` cannot be used")
}

/// The database, with the schema that this program needs.
pub(crate) async fn ready_store(config: &Config) -> anyhow::Result<Store> {
    let store = store(config).await?;
    if let SchemaState::Older { database, program } = store.schema_state().await? {
        return Refusal::new(format!(
            "the schema is at version {database}, this program needs {program}"
        ))
        .hint("run `crier migrate`")
        .fail();
    }
    Ok(store)
}

/// X.
pub(crate) fn x(config: &Config) -> anyhow::Result<XClient> {
    XClient::new(config.x.config()?).refused("X cannot be called as configured")
}

/// A worker that is no role: for one deed that a person asks for.
pub(crate) fn worker(config: &Config, store: &Store) -> anyhow::Result<Worker> {
    Ok(Worker {
        store: store.clone(),
        x: x(config)?,
        metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
        id: uuid::Uuid::new_v4(),
        options: config
            .worker
            .options(&config.media, &config.x, &config.prices, &config.webhooks),
        news: News::default(),
        sink: None,
        chance: rand::random::<f64>,
        v1: V1Cache::default(),
        quit: Quit::default(),
        rescue: Rescue::new(config.secrets.rescue_dir()),
    })
}

/// An account by its handle.
pub(crate) async fn account(store: &Store, handle: &str) -> anyhow::Result<crier_store::Account> {
    let found = store
        .account(handle)
        .await
        .context("cannot read the accounts")?;
    match found {
        Some(account) => Ok(account),
        None => Refusal::new(format!(
            "the account `{}` is not known to crier",
            handle.trim_start_matches('@')
        ))
        .hint("`crier accounts list` shows the known ones, `crier auth login` adds one")
        .fail(),
    }
}
