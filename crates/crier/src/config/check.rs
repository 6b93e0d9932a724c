//! What no single setting can be wrong about.
//!
//! **Invariant:** what passes here cannot stop a role from starting, but for what lies outside: files, the database, X.

use super::Config;
use crate::exit::Refusal;

impl Config {
    /// What no single setting can be wrong about.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let fault = |wrong: bool, message: &str| {
            if wrong {
                Refusal::new(message).fail()
            } else {
                Ok(())
            }
        };
        fault(
            self.database.url.is_some() && self.database.url_file.is_some(),
            "`database.url` and `database.url_file` are both set: leave one out",
        )?;
        fault(
            self.secrets.key.is_some() && self.secrets.key_file.is_some(),
            "`secrets.key` and `secrets.key_file` are both set: leave one out",
        )?;
        fault(
            self.secrets.other_keys.is_some() && self.secrets.other_keys_file.is_some(),
            "`secrets.other_keys` and `secrets.other_keys_file` are both set: leave one out",
        )?;
        fault(
            self.app.client_secret.is_some() && self.app.client_secret_file.is_some(),
            "`app.client_secret` and `app.client_secret_file` are both set: leave one out",
        )?;
        fault(
            self.app.consumer_secret.is_some() && self.app.consumer_secret_file.is_some(),
            "`app.consumer_secret` and `app.consumer_secret_file` are both set: leave one out",
        )?;
        fault(
            self.database.max_connections < 2,
            "`database.max_connections` must be at least 2",
        )?;
        fault(
            self.worker.concurrency == 0,
            "`worker.concurrency` must be at least 1",
        )?;
        fault(
            self.media.uploads == 0 || self.media.segment_bytes == 0,
            "`media.uploads` and `media.segment_bytes` must be at least 1",
        )?;
        fault(
            self.media.url_max_bytes == 0
                || self.media.url_timeout_s == 0
                || self.media.url_ports.is_empty(),
            "`media.url_max_bytes` and `media.url_timeout_s` must be at least 1, and `media.url_ports` needs a port",
        )?;
        fault(
            self.webhooks.timeout_s == 0
                || self.webhooks.timeout_s > 60
                || self.webhooks.ports.is_empty(),
            "`webhooks.timeout_s` must be 1 to 60, and `webhooks.ports` needs a port",
        )?;
        fault(
            self.worker.lease_s < self.x.timeout_s.saturating_add(10),
            "`worker.lease_s` must be at least 10 s more than `x.timeout_s`: a call must end before its lease does",
        )?;
        fault(
            self.worker.poll_ms == 0 || self.scheduler.poll_ms == 0,
            "`worker.poll_ms` and `scheduler.poll_ms` must be at least 1",
        )?;
        fault(
            self.scheduler.leader_ttl_s == 0
                || self.scheduler.leader_ttl_s.saturating_mul(1_000)
                    < self.scheduler.poll_ms.saturating_mul(3),
            "`scheduler.leader_ttl_s` must be at least three times `scheduler.poll_ms`",
        )?;
        self.x.config().map(|_| ())
    }
}
