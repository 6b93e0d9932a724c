//! Every setting, its unit and its default. The comments here are what `crier config schema` and docs/CONFIG.md show.
//!
//! **Invariant:** a number's name ends in its unit; a setting has one default, given here and nowhere else; no secret
//! is printed by `Debug` or by `crier config dump`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Environment;
use super::otlp::Otlp;
use super::prices::Prices;
use super::webhooks::Webhooks;
use crate::exit::Refuse;

/// Settings of crier. Each can be set in the file or as a variable: `worker.concurrency` is `CRIER__WORKER__CONCURRENCY`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The Postgres that holds everything.
    #[serde(deserialize_with = "or_default")]
    pub(crate) database: Database,
    /// Where X is, and how long to wait for it.
    #[serde(deserialize_with = "or_default")]
    pub(crate) x: X,
    /// The developer app that `crier auth login` asks for.
    #[serde(deserialize_with = "or_default")]
    pub(crate) app: App,
    /// The key that seals tokens.
    #[serde(deserialize_with = "or_default")]
    pub(crate) secrets: Secrets,
    /// Files of posts.
    #[serde(deserialize_with = "or_default")]
    pub(crate) media: Media,
    /// What publishes.
    #[serde(deserialize_with = "or_default")]
    pub(crate) worker: Worker,
    /// What X charges, in millionths of a US dollar, for the sums that crier keeps and the budgets that it obeys.
    #[serde(deserialize_with = "or_default")]
    pub(crate) prices: Prices,
    /// What makes due rows claimable.
    #[serde(deserialize_with = "or_default")]
    pub(crate) scheduler: Scheduler,
    /// Whom to tell what became of jobs; `crier webhooks add` says whom.
    #[serde(deserialize_with = "or_default")]
    pub(crate) webhooks: Webhooks,
    /// Pages for Prometheus and for whoever supervises the process.
    #[serde(deserialize_with = "or_default")]
    pub(crate) exporter: Exporter,
    /// Lines on stderr.
    #[serde(deserialize_with = "or_default")]
    pub(crate) log: Log,
    /// Traces for a collector of OpenTelemetry, by OTLP over HTTP in JSON; off unless an endpoint is given.
    #[serde(deserialize_with = "or_default")]
    pub(crate) otlp: Otlp,
    /// What the environment says beside settings.
    #[serde(skip)]
    pub(crate) environment: Environment,
}

/// The Postgres that holds everything.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// Address, `postgres://user:password@host:port/database`. `DATABASE_URL` sets it too.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked_address")]
    pub(crate) url: Option<SecretString>,
    /// File that holds the address.
    pub(crate) url_file: Option<PathBuf>,
    /// What the address leads to: `auto` finds a pooler out when it connects.
    pub(crate) pooler: Pooler,
    /// Address of Postgres itself, past the pooler: `crier migrate` needs it, and with it notifications arrive.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked_address")]
    pub(crate) direct_url: Option<SecretString>,
    /// File that holds the address past the pooler.
    pub(crate) direct_url_file: Option<PathBuf>,
    /// Connections of this process.
    pub(crate) max_connections: u32,
    /// Longest wait for a free connection, in seconds.
    pub(crate) acquire_timeout_s: u64,
    /// Folder of the private Postgres of `crier run --embedded`.
    pub(crate) embedded_folder: PathBuf,
    /// User that runs the private Postgres when crier is started by root, which Postgres refuses.
    pub(crate) embedded_user: String,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            pooler: Pooler::Auto,
            direct_url: None,
            direct_url_file: None,
            max_connections: 10,
            acquire_timeout_s: 10,
            embedded_folder: ".crier".into(),
            embedded_user: "nobody".into(),
        }
    }
}

/// What stands between crier and Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pooler {
    /// Found out when connecting.
    #[default]
    Auto,
    /// A pooler in transaction mode, such as pgbouncer.
    Transaction,
    /// Nothing, or a pooler that keeps sessions and their settings.
    None,
}

impl Pooler {
    /// As the store knows it.
    pub(crate) fn store(self) -> crier_store::Pooler {
        match self {
            Self::Auto => crier_store::Pooler::Auto,
            Self::Transaction => crier_store::Pooler::Transaction,
            Self::None => crier_store::Pooler::None,
        }
    }
}

/// Where X is, and how long to wait for it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct X {
    /// Base of the API; `http://127.0.0.1:8090` for `crier sim`. Plain http goes to this machine only.
    pub(crate) base_url: String,
    /// Base of the token endpoint, if it is another.
    pub(crate) token_base_url: Option<String>,
    /// Base of the pages on which people grant access, if it is neither `https://x.com` nor the base of the API.
    pub(crate) authorize_base_url: Option<String>,
    /// Longest time for a connection, in seconds.
    pub(crate) connect_timeout_s: u64,
    /// Longest time for one call, in seconds.
    pub(crate) timeout_s: u64,
    /// Longest time for one segment of an upload, in seconds.
    pub(crate) upload_timeout_s: u64,
    /// How bytes of files travel; X has refused multipart for days at a time.
    pub(crate) media_encoding: MediaEncoding,
    /// Whether pictures go in segments, as X recommends, or in one call. GIFs and videos always go in segments.
    pub(crate) media_upload: MediaUpload,
}

/// How pictures are uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MediaUpload {
    /// In segments.
    #[default]
    Chunked,
    /// In one call.
    OneShot,
}

/// How bytes of files travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MediaEncoding {
    /// `multipart/form-data`.
    #[default]
    Multipart,
    /// JSON with base64, a third larger.
    Json,
}

impl Default for X {
    fn default() -> Self {
        Self {
            base_url: "https://api.x.com".into(),
            token_base_url: None,
            authorize_base_url: None,
            connect_timeout_s: 10,
            timeout_s: 30,
            upload_timeout_s: 120,
            media_encoding: MediaEncoding::Multipart,
            media_upload: MediaUpload::Chunked,
        }
    }
}

impl X {
    /// How to call X.
    pub(crate) fn config(&self) -> anyhow::Result<crier_x::XConfig> {
        let base = |name: &str, text: &str| {
            url::Url::parse(text).refused(format!("`x.{name}` is `{text}`, which is no address"))
        };
        let api = base("base_url", &self.base_url)?;
        let token = match &self.token_base_url {
            Some(text) => base("token_base_url", text)?,
            None => api.clone(),
        };
        let mut config = crier_x::XConfig::new(api, token);
        config.authorize_base = match &self.authorize_base_url {
            Some(text) => Some(base("authorize_base_url", text)?),
            None => None,
        };
        config.connect_timeout = Duration::from_secs(self.connect_timeout_s);
        config.timeout = Duration::from_secs(self.timeout_s);
        config.upload_timeout = Duration::from_secs(self.upload_timeout_s);
        config.media_encoding = match self.media_encoding {
            MediaEncoding::Multipart => crier_x::MediaEncoding::Multipart,
            MediaEncoding::Json => crier_x::MediaEncoding::Json,
        };
        Ok(config)
    }
}

/// The developer app that `crier auth login` asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct App {
    /// Its client id, from X's developer console (OAuth 2.0).
    pub(crate) client_id: Option<String>,
    /// Its client secret; a public client (native or single-page app) has none.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked")]
    pub(crate) client_secret: Option<SecretString>,
    /// File that holds the client secret.
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Its consumer key, which X calls API key as well (OAuth 1.0a).
    pub(crate) consumer_key: Option<String>,
    /// Its consumer secret.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked")]
    pub(crate) consumer_secret: Option<SecretString>,
    /// File that holds the consumer secret.
    pub(crate) consumer_secret_file: Option<PathBuf>,
    /// The callback that is registered for it, if it is another than `http://127.0.0.1:8723/callback`.
    pub(crate) redirect_uri: Option<String>,
}

/// The key that seals tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Secrets {
    /// 32 bytes in base64; `crier keys new` makes them. Tokens sealed with it open with no other.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked")]
    pub(crate) key: Option<SecretString>,
    /// File that holds the key.
    pub(crate) key_file: Option<PathBuf>,
    /// Further keys, one a line, that open what was sealed with them and seal nothing: the next key before a change to it,
    /// and the one before until `crier keys rotate` has sealed everything anew.
    #[schemars(with = "Option<String>")]
    #[serde(serialize_with = "masked")]
    pub(crate) other_keys: Option<SecretString>,
    /// File that holds the further keys.
    pub(crate) other_keys_file: Option<PathBuf>,
    /// Folder where refreshed tokens are kept, sealed, for the moment until the database has them: whoever dies in it
    /// finds them there at the next start. Let it outlive the process; none is the system's temporary folder.
    pub(crate) rescue_dir: Option<PathBuf>,
}

impl Secrets {
    /// Where refreshed tokens are kept until the database has them.
    pub(crate) fn rescue_dir(&self) -> PathBuf {
        self.rescue_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Files of posts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Media {
    /// Folder that `path` in the media column is relative to; nothing outside of it is read.
    pub(crate) root: PathBuf,
    /// Files uploaded at once by this process.
    pub(crate) uploads: u16,
    /// Bytes of a segment; after a 413 or 431 crier halves it by itself, and remembers that for a day.
    pub(crate) segment_bytes: u32,
    /// How long X may process a video or GIF before it is uploaded anew, in seconds.
    pub(crate) processing_timeout_s: u64,
    /// Files are uploaded so long before their post is due, in seconds; X keeps them for a day.
    pub(crate) lead_s: u64,
    /// Folder on a disk with room for what is fetched from a `url`, until X has it; none is the system's temporary folder.
    pub(crate) spool_dir: Option<PathBuf>,
    /// Most bytes of a file that is fetched from a `url`; X's own limits hold too.
    pub(crate) url_max_bytes: u64,
    /// Longest time for fetching one file, in seconds.
    pub(crate) url_timeout_s: u64,
    /// Ports that a `url` may have.
    pub(crate) url_ports: Vec<u16>,
    /// Whether a `url` may be plain http.
    pub(crate) url_allow_http: bool,
    /// Whether a `url` may lead into the network of the machine: loopback, private, link-local addresses. Whoever may
    /// insert rows could then have inner pages posted.
    pub(crate) url_allow_private: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            root: "media".into(),
            uploads: 4,
            segment_bytes: 1024 * 1024,
            processing_timeout_s: 900,
            lead_s: 1_800,
            spool_dir: None,
            url_max_bytes: 512 * 1024 * 1024,
            url_timeout_s: 600,
            url_ports: vec![80, 443],
            url_allow_http: false,
            url_allow_private: false,
        }
    }
}

impl Media {
    /// Where fetched files wait.
    pub(crate) fn spool(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Which addresses may be fetched.
    pub(crate) fn url_rules(&self) -> crier_core::media::UrlRules {
        crier_core::media::UrlRules {
            allow_http: self.url_allow_http,
            allow_private: self.url_allow_private,
            ports: self.url_ports.clone(),
        }
    }

    fn fetch(&self) -> crier_x::FetchOptions {
        crier_x::FetchOptions {
            rules: self.url_rules(),
            max_bytes: self.url_max_bytes,
            timeout: Duration::from_secs(self.url_timeout_s),
            ..crier_x::FetchOptions::default()
        }
    }
}

/// What publishes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    /// Accounts served at once.
    pub(crate) concurrency: u16,
    /// How long a worker holds a job before another may take it, in seconds; longer than a call to X.
    pub(crate) lease_s: u64,
    /// Longest sleep when nothing is due, in milliseconds.
    pub(crate) poll_ms: u64,
    /// Whether to listen for notifications of Postgres; polling finds the work either way.
    pub(crate) notify: bool,
    /// When a post whose answer was lost is first looked for on X, in seconds.
    pub(crate) first_look_s: u64,
    /// Waits after each look that found nothing, in seconds; after one look more the post is held to be absent. Short
    /// waits risk posting twice: shorten them against a simulator only.
    pub(crate) look_waits_s: [u64; 4],
    /// Access tokens are refreshed so long before they end, in seconds.
    pub(crate) refresh_ahead_s: u64,
    /// How long a stop waits for what is in flight, in seconds; what still runs then is taken up by others.
    pub(crate) stop_grace_s: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 16,
            lease_s: 90,
            poll_ms: 500,
            notify: true,
            first_look_s: 15,
            look_waits_s: [15, 30, 60, 120],
            refresh_ahead_s: 300,
            stop_grace_s: 25,
        }
    }
}

impl Worker {
    /// Settings of the pool.
    pub(crate) fn options(
        &self,
        media: &Media,
        x: &X,
        prices: &Prices,
        webhooks: &Webhooks,
    ) -> crier_worker::WorkerOptions {
        crier_worker::WorkerOptions {
            concurrency: self.concurrency,
            lease: Duration::from_secs(self.lease_s),
            poll: Duration::from_millis(self.poll_ms),
            notify: self.notify,
            first_look: Duration::from_secs(self.first_look_s),
            look_waits: self.look_waits_s.map(Duration::from_secs),
            uploads: media.uploads,
            media_root: media.root.clone(),
            spool_dir: media.spool(),
            urls: media.fetch(),
            one_shot: x.media_upload == MediaUpload::OneShot,
            segment_bytes: media.segment_bytes,
            processing: Duration::from_secs(media.processing_timeout_s),
            lead: Duration::from_secs(media.lead_s),
            refresh_ahead: Duration::from_secs(self.refresh_ahead_s),
            prices: prices.table(),
            webhook_rules: webhooks.rules(),
            webhook_timeout: Duration::from_secs(webhooks.timeout_s),
            stop_grace: Duration::from_secs(self.stop_grace_s),
        }
    }
}

/// What makes due rows claimable.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Scheduler {
    /// Longest sleep between two looks, in milliseconds.
    pub(crate) poll_ms: u64,
    /// How long leadership holds, in seconds; another scheduler takes over after it.
    pub(crate) leader_ttl_s: u64,
    /// Whether to listen for notifications of Postgres and to send them; polling does the work either way.
    pub(crate) notify: bool,
    /// Whether to warn of what X does not let self-serve apps do: quotes, replies to strangers, two cashtags.
    pub(crate) self_serve: bool,
    /// Whether the media folder is there where the scheduler runs, so that it looks at files early.
    pub(crate) check_media: bool,
    /// When old rows are removed and partitions made: six fields of cron, second first, UTC.
    pub(crate) retention_cron: String,
    /// When lanes are swept for lost wake-ups: six fields of cron, second first, UTC.
    pub(crate) sweep_cron: String,
    /// Ended jobs are kept for so many days, to whole months; `null` is for ever.
    pub(crate) history_days: Option<u32>,
    /// The ledger of ended jobs is kept for so many days; `null` is for ever.
    pub(crate) attempts_days: Option<u32>,
    /// What is known of uploads of ended jobs is kept for so many days.
    pub(crate) uploads_days: u32,
    /// Processes not seen any more and limit windows that ended are kept for so many days.
    pub(crate) workers_days: u32,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            poll_ms: 1_000,
            leader_ttl_s: 5,
            notify: true,
            self_serve: true,
            check_media: true,
            retention_cron: "0 17 3 * * *".into(),
            sweep_cron: "30 * * * * *".into(),
            history_days: None,
            attempts_days: Some(90),
            uploads_days: 2,
            workers_days: 7,
        }
    }
}

impl Scheduler {
    /// Settings of the loop.
    pub(crate) fn options(
        &self,
        media: &Media,
        webhooks: &Webhooks,
    ) -> crier_scheduler::SchedulerOptions {
        crier_scheduler::SchedulerOptions {
            poll: Duration::from_millis(self.poll_ms),
            leader_ttl: Duration::from_secs(self.leader_ttl_s),
            notify: self.notify,
            lead: Duration::from_secs(media.lead_s),
            self_serve: self.self_serve,
            media: self.check_media.then(|| {
                let probe: Arc<dyn crier_scheduler::MediaProbe> =
                    Arc::new(crate::probe::Folder(media.root.clone()));
                probe
            }),
            urls: media.url_rules(),
            housekeeping: crier_scheduler::Housekeeping {
                retention_cron: self.retention_cron.clone(),
                sweep_cron: self.sweep_cron.clone(),
                history_days: self.history_days,
                attempts_days: self.attempts_days,
                uploads_days: self.uploads_days,
                workers_days: self.workers_days,
                webhooks_days: webhooks.keep_days,
            },
        }
    }
}

/// Pages for Prometheus and for whoever supervises the process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Exporter {
    /// Address of `/metrics`, `/healthz` and `/readyz`; port 0 takes a free one.
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9187).into(),
        }
    }
}

/// Lines on stderr.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What is logged: a level, or levels by module such as `info,crier_worker=debug`.
    pub(crate) filter: String,
    /// One JSON object a line.
    pub(crate) json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            // The alarm clock tells of its own start and end.
            filter: "info,tokio_cron_scheduler=warn".into(),
            json: false,
        }
    }
}

/// A section whose lines are all comments is null, which stands for its defaults.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn masked<S: Serializer>(value: &Option<SecretString>, out: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|_| "<hidden>").serialize(out)
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn masked_address<S: Serializer>(value: &Option<SecretString>, out: S) -> Result<S::Ok, S::Error> {
    let address = value
        .as_ref()
        .map(|url| crier_metrics::redact(url.expose_secret()).into_owned());
    address.serialize(out)
}
