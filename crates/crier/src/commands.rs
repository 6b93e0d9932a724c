//! What each command does, put together from the crates below.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use crier_metrics::{BoxFuture, Health, Metrics, Missing, Ready};
use crier_scheduler::{Scheduler, SchedulerOptions};
use crier_store::{Import, OAuth1Tokens, OAuth2Tokens, SchemaState, SealKey, Store, StoreOptions};
use crier_worker::{Worker, WorkerOptions};
use crier_x::{XClient, XConfig};
use secrecy::SecretString;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cli::{AccountsCommand, AuthCommand, Command, JobsCommand, say};
use crate::config::{Config, secret};

/// A loop that has not come round for this long is stalled.
const STALLED: Duration = Duration::from_mins(1);

/// Carries a command out.
pub(crate) async fn run(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Migrate => {
            let version = store(&config).await?.migrate().await?;
            say(&format!("the schema is at version {version}"));
            Ok(())
        }
        Command::Run => roles(&config, true, true).await,
        Command::Scheduler => roles(&config, true, false).await,
        Command::Worker => roles(&config, false, true).await,
        Command::Auth(AuthCommand::Import) => import(&config).await,
        Command::Accounts(AccountsCommand::List) => {
            print_rows(&store(&config).await?, "select handle, status, reason, scopes, text_limit from crier.accounts order by lower(handle)").await
        }
        Command::Jobs(JobsCommand::Show { id }) => {
            let store = store(&config).await?;
            let rows = store.select_json(&format!("select * from crier.jobs where id = {id}")).await?;
            let Some(row) = rows.first() else { bail!("there is no job {id}") };
            say(&row.to_string());
            Ok(())
        }
        Command::Jobs(JobsCommand::Why { id }) => {
            for row in store(&config).await?.ledger(id).await? {
                say(&serde_json::to_string(&row)?);
            }
            Ok(())
        }
        Command::Sim { listen, script } => {
            let options = match script {
                Some(path) => {
                    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
                    crier_sim::SimOptions::from_json(&text)?
                }
                None => crier_sim::SimOptions::default(),
            };
            let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            tracing::info!("the simulator of X listens on {}", listener.local_addr()?);
            Ok(crier_sim::serve(listener, options, until_signal()?).await?)
        }
    }
}

async fn print_rows(store: &Store, query: &str) -> anyhow::Result<()> {
    for row in store.select_json(query).await? {
        say(&row.to_string());
    }
    Ok(())
}

async fn store(config: &Config) -> anyhow::Result<Store> {
    let url = secret("database.url", config.database.url.as_ref(), config.database.url_file.as_deref())?
        .context("no database is configured: set DATABASE_URL to `postgres://user:password@host:port/database`")?;
    let key = secret(
        "secrets.key",
        config.secrets.key.as_ref(),
        config.secrets.key_file.as_deref(),
    )?;
    let key = key
        .map(|text| SealKey::from_base64(&text))
        .transpose()
        .context("`secrets.key` cannot be used")?;
    let options = StoreOptions {
        url,
        max_connections: config.database.max_connections,
        acquire_timeout: Duration::from_secs(10),
        application_name: "crier".into(),
    };
    Ok(Store::connect(&options, key).await?)
}

/// Runs the roles asked for until a signal, then lets what is in flight end.
async fn roles(config: &Config, scheduler: bool, worker: bool) -> anyhow::Result<()> {
    let store = store(config).await?;
    if let SchemaState::Older { database, program } = store.schema_state().await? {
        bail!(
            "the schema is at version {database}, this program needs {program}: run `crier migrate`"
        );
    }
    let stop = until_signal()?;
    let (metrics, health) = (Metrics::new(env!("CARGO_PKG_VERSION")), Health::new());
    let tasks = tokio_util::task::TaskTracker::new();
    if scheduler {
        let scheduler = Scheduler {
            store: store.clone(),
            metrics: metrics.clone(),
            id: Uuid::new_v4(),
            options: SchedulerOptions::default(),
        };
        tasks.spawn(scheduler.run(health.register("scheduler", STALLED), stop.clone()));
    }
    if worker {
        let base = config.x.base_url()?;
        let token_base = config.x.token_base_url()?;
        let worker = Worker {
            store: store.clone(),
            x: XClient::new(XConfig::new(base, token_base))?,
            metrics: metrics.clone(),
            id: Uuid::new_v4(),
            options: WorkerOptions {
                concurrency: config.worker.concurrency,
                ..WorkerOptions::default()
            },
            chance: rand::random::<f64>,
        };
        tasks.spawn(worker.run(health.register("worker", STALLED), stop.clone()));
    }
    let listener = tokio::net::TcpListener::bind(config.exporter.listen)
        .await
        .with_context(|| {
            format!(
                "the exporter cannot listen on {}: set CRIER__EXPORTER__LISTEN",
                config.exporter.listen
            )
        })?;
    tracing::info!(scheduler, worker, exporter = %listener.local_addr()?, "crier runs");
    let ready: Arc<dyn Ready> = Arc::new(DatabaseReady(store.clone()));
    crier_metrics::exporter::serve(listener, metrics, None, Some(ready), health, stop.clone())
        .await?;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    store.close().await;
    tracing::info!("crier has stopped");
    Ok(())
}

/// Cancelled by the first SIGTERM or SIGINT.
fn until_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

struct DatabaseReady(Store);

impl Ready for DatabaseReady {
    fn missing(&self) -> BoxFuture<'_, Vec<Missing>> {
        Box::pin(async {
            match self.0.now().await {
                Ok(_) => Vec::new(),
                Err(error) => vec![Missing {
                    what: "database".into(),
                    why: error.to_string(),
                }],
            }
        })
    }
}

/// The form of `crier auth import`, which is what the simulator's `POST /_sim/accounts` answers.
#[derive(Deserialize)]
struct ImportForm {
    id: String,
    username: String,
    oauth2: Option<OAuth2Form>,
    oauth1: Option<OAuth1Form>,
}

#[derive(Deserialize)]
struct OAuth2Form {
    client_id: String,
    client_secret: Option<SecretString>,
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    expires_in: i64,
    scope: String,
}

#[derive(Deserialize)]
struct OAuth1Form {
    consumer_key: SecretString,
    consumer_secret: SecretString,
    access_token: SecretString,
    access_token_secret: SecretString,
}

async fn import(config: &Config) -> anyhow::Result<()> {
    let text = std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?;
    let value: serde_json::Value =
        serde_json::from_str(&text).context("standard input is not JSON")?;
    let forms: Vec<ImportForm> = if value.is_array() {
        serde_json::from_value(value)
    } else {
        serde_json::from_value(value).map(|one| vec![one])
    }
    .context("each account needs `id`, `username`, and `oauth2` or `oauth1` with its tokens")?;
    let store = store(config).await?;
    for form in forms {
        if form.oauth2.is_none() && form.oauth1.is_none() {
            bail!(
                "the account `{}` has neither `oauth2` nor `oauth1`",
                form.username
            );
        }
        let account = store
            .import_account(&Import {
                x_user_id: form.id,
                handle: form.username.trim_start_matches('@').to_owned(),
                oauth2: form.oauth2.map(|t| OAuth2Tokens {
                    client_id: t.client_id,
                    client_secret: t.client_secret,
                    access_token: t.access_token,
                    refresh_token: t.refresh_token,
                    expires_in_s: t.expires_in,
                    scopes: t.scope.split_whitespace().map(str::to_owned).collect(),
                }),
                oauth1: form.oauth1.map(|t| OAuth1Tokens {
                    consumer_key: t.consumer_key,
                    consumer_secret: t.consumer_secret,
                    access_token: t.access_token,
                    access_token_secret: t.access_token_secret,
                }),
            })
            .await?;
        say(&serde_json::json!({"account": account.handle, "status": account.status, "scopes": account.scopes}).to_string());
    }
    Ok(())
}
