//! `crier webhooks`: whom to tell what became of jobs, and what was told.
//!
//! **Invariant:** an address and a secret are shown once, when they are given or made; lists show the host of an address at most.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use crier_core::webhook::{EVENTS, Form, body};
use crier_store::{NewWebhook, Store};
use crier_x::{Hook, HookClient, SECRET_PREFIX};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::Context;
use crate::config;
use crate::connect;
use crate::embedded::home::new_key;
use crate::exit::Refusal;
use crate::screen::{maybe, note, reason};

const ADD: &str = "\
Prints the secret that signs the deliveries, once. A receiver verifies them as the Standard Webhooks
specification says: `webhook-signature` is `v1,` and base64 of HMAC-SHA256 over `webhook-id`,
`webhook-timestamp` and the body, joined by full stops. The id stays the same when a delivery is
repeated. With --form slack the body is what Slack takes, and nothing needs to be verified.";

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Tell an address what becomes of jobs from now on.
    #[command(after_help = ADD)]
    Add(Add),
    /// List them, and how their deliveries go.
    List,
    /// Send a test to one, now, and say what it answers.
    Test(One),
    /// Tell one nothing for now; news of meanwhile is never told.
    Pause(One),
    /// Go on with one.
    Resume(One),
    /// Forget one, with all that was to be told to it.
    Remove(One),
    /// List deliveries, the newest first.
    Deliveries(Deliveries),
    /// Deliver after all what was given up.
    Redeliver(Redeliver),
}

/// A webhook to be.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// A name for it.
    name: String,
    /// Its address; https, on the public internet (see `webhooks` in the configuration).
    #[arg(required_unless_present = "url_file")]
    url: Option<String>,
    /// File that holds the address instead, since addresses such as Slack's are secrets.
    #[arg(long, conflicts_with = "url")]
    url_file: Option<PathBuf>,
    /// What to tell it.
    #[arg(long, value_delimiter = ',', default_values_t = EVENTS.map(str::to_owned),
        value_parser = clap::builder::PossibleValuesParser::new(EVENTS))]
    events: Vec<String>,
    /// `json` for programs, `slack` for Slack and what is compatible with it.
    #[arg(long, default_value = "json", value_parser = clap::builder::PossibleValuesParser::new(Form::ALL.map(Form::as_str)))]
    form: String,
    /// Only jobs of this campaign.
    #[arg(long)]
    campaign: Option<String>,
    /// File that holds a secret that you have already: `whsec_` and base64.
    #[arg(long)]
    secret_file: Option<PathBuf>,
}

/// A webhook.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its name.
    name: String,
}

/// Which deliveries.
#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Only of this webhook.
    name: Option<String>,
    /// Only these.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["waiting", "delivered", "dead"]))]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// Which deliveries.
#[derive(Debug, Args)]
pub(crate) struct Redeliver {
    /// Only of this webhook.
    name: Option<String>,
    /// Only this one, whatever became of it.
    #[arg(long)]
    id: Option<Uuid>,
}

impl Webhooks {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let store = connect::ready_store(&context.config).await?;
        match self {
            Self::Add(add) => add.run(&context, &store).await,
            Self::List => list(&context, &store).await,
            Self::Test(One { name }) => test(&context, &store, &name).await,
            Self::Pause(One { name }) => {
                let known = store.pause_webhook(&name, true).await?;
                said(&context, &name, known, "paused")
            }
            Self::Resume(One { name }) => {
                let known = store.pause_webhook(&name, false).await?;
                said(&context, &name, known, "told again")
            }
            Self::Remove(One { name }) => {
                let known = store.remove_webhook(&name).await?;
                said(&context, &name, known, "removed")
            }
            Self::Deliveries(which) => which.run(&context, &store).await,
            Self::Redeliver(Redeliver { name, id }) => {
                known(&store, name.as_deref()).await?;
                let count = store.redeliver(name.as_deref(), id).await?;
                if let (0, Some(id)) = (count, id) {
                    return Refusal::new(format!("no delivery {id} has ended"))
                        .hint("`crier webhooks deliveries` lists them; one that waits is told by itself")
                        .fail();
                }
                if context.screen.json {
                    return context.screen.object(&json!({"redelivered": count}));
                }
                context
                    .screen
                    .line(&format!("{count} are delivered once more"));
                Ok(())
            }
        }
    }
}

fn client(context: &Context) -> HookClient {
    let settings = &context.config.webhooks;
    HookClient::new(settings.rules(), Duration::from_secs(settings.timeout_s))
}

/// What a file holds that a person named.
fn held_in(name: &str, file: &Path) -> anyhow::Result<String> {
    let text = config::secret(name, None, Some(file))?;
    Ok(text.map_or_else(String::new, |text| text.expose_secret().to_owned()))
}

impl Add {
    async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => held_in("url", file)?,
            (None, None) => return Refusal::new("no address is given").fail(),
        };
        let host = match client(context).check(&url) {
            Ok(host) => host,
            Err(fault) => {
                return Refusal::new(format!("{}: {}", fault.title, fault.detail))
                    .hint(fault.hint)
                    .fail();
            }
        };
        let (secret, made) = match &self.secret_file {
            Some(file) => (held_in("secret", file)?, false),
            None => (format!("{SECRET_PREFIX}{}", new_key()), true),
        };
        if let Err(fault) = HookClient::check_secret(&secret) {
            return Refusal::new(format!("{}: {}", fault.title, fault.detail))
                .hint("give `whsec_` and base64 of 24 to 64 bytes, or leave --secret-file out: crier makes one")
                .fail();
        }
        let webhook = NewWebhook {
            name: &self.name,
            url: &SecretString::from(url),
            secret: &SecretString::from(secret.clone()),
            host: &host,
            events: &self.events,
            form: &self.form,
            campaign: self.campaign.as_deref(),
        };
        store.add_webhook(&webhook).await?;
        if context.screen.json {
            let secret = made.then_some(&secret);
            return context
                .screen
                .object(&json!({"webhook": self.name, "host": host, "events": self.events, "secret": secret}));
        }
        context.screen.line(&format!(
            "{} at {host} is told of: {}",
            self.name,
            self.events.join(", ")
        ));
        if made && self.form == Form::Json.as_str() {
            note("its secret, shown this once:");
            context.screen.line(&secret);
        }
        note(&format!("`crier webhooks test {}` tries it", self.name));
        Ok(())
    }
}

async fn list(context: &Context, store: &Store) -> anyhow::Result<()> {
    let rows = store.webhooks().await?;
    let head = [
        "webhook",
        "host",
        "form",
        "told of",
        "waiting",
        "dead",
        "last delivered",
        "last fault",
    ];
    let none = "there are no webhooks yet: `crier webhooks add` adds one";
    context.screen.rows(&rows, &head, none, |row| {
        let mut events = row.events.join(" ");
        if let Some(campaign) = &row.campaign {
            events = format!("{events} (campaign {campaign})");
        }
        if row.paused {
            events = format!("nothing: paused ({events})");
        }
        vec![
            row.name.clone(),
            row.host.clone(),
            row.form.clone(),
            events,
            row.waiting.to_string(),
            row.dead.to_string(),
            maybe(row.delivered_at),
            reason(row.error.as_ref()),
        ]
    })
}

/// One delivery that is in no outbox.
async fn test(context: &Context, store: &Store, name: &str) -> anyhow::Result<()> {
    let Some(target) = store.open_webhook(name).await? else {
        return unknown(name);
    };
    let now = store.now().await?;
    let id = Uuid::new_v4().to_string();
    let data = json!({"job": {"id": 0, "account": "nobody", "state": "published", "text": "This is a test of a webhook of crier."}});
    let form = Form::parse(&target.form).unwrap_or_default();
    let text = body(form, &id, "test", &now.to_rfc3339(), &data);
    let hook = Hook {
        url: &target.url,
        secret: &target.secret,
        id: &id,
        timestamp_s: now.timestamp(),
        body: &text,
        span: None,
    };
    match client(context).post(&hook).await {
        Ok(status) => {
            if context.screen.json {
                return context
                    .screen
                    .object(&json!({"webhook": name, "status": status}));
            }
            context
                .screen
                .line(&format!("{name} answers {status}: it works"));
            Ok(())
        }
        Err((_, fault)) => Refusal::new(format!("{name}: {}: {}", fault.title, fault.detail))
            .hint(fault.hint)
            .fail(),
    }
}

fn unknown(name: &str) -> anyhow::Result<()> {
    Refusal::new(format!("there is no webhook `{name}`"))
        .hint("`crier webhooks list`")
        .fail()
}

fn said(context: &Context, name: &str, known: bool, what: &str) -> anyhow::Result<()> {
    if !known {
        return unknown(name);
    }
    if context.screen.json {
        return context
            .screen
            .object(&json!({"webhook": name, "state": what}));
    }
    context.screen.line(&format!("{name} is {what}"));
    Ok(())
}

/// Refuses a name that no webhook has.
async fn known(store: &Store, name: Option<&str>) -> anyhow::Result<()> {
    let Some(name) = name else { return Ok(()) };
    if store.webhooks().await?.iter().any(|row| row.name == name) {
        return Ok(());
    }
    unknown(name)
}

impl Deliveries {
    async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        known(store, self.name.as_deref()).await?;
        let rows = store
            .deliveries(
                self.name.as_deref(),
                self.state.as_deref(),
                self.limit.into(),
            )
            .await?;
        let head = [
            "delivery", "webhook", "event", "job", "state", "tries", "next", "http", "reason",
        ];
        context
            .screen
            .rows(&rows, &head, "nothing was told to anybody", |row| {
                vec![
                    row.id.to_string(),
                    row.webhook.clone(),
                    row.event.clone(),
                    row.job_id.map(|id| id.to_string()).unwrap_or_default(),
                    row.state.clone(),
                    row.attempts.to_string(),
                    maybe(row.next_at),
                    row.http_status
                        .map(|status| status.to_string())
                        .unwrap_or_default(),
                    reason(row.error.as_ref()),
                ]
            })
    }
}
