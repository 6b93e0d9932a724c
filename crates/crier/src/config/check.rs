//! What no single setting can be wrong about.
//!
//! **Invariant:** what passes here cannot stop a role from starting, but for what lies outside: files, the database, X.

use crier_core::reconcile::LATEST_DEED;
use serde_json::Value;

use super::Config;
use crate::exit::Refusal;

/// The most of each unit that is taken: what is reckoned with it must end on some calendar. The last one is for all others.
const MOST: [(&str, u64); 5] = [
    ("_s", 366 * 86_400),
    ("_ms", 86_400_000),
    ("_days", 36_500),
    ("_bytes", 1 << 40),
    ("", 4_294_967_295),
];

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
            self.database.direct_url.is_some() && self.database.direct_url_file.is_some(),
            "`database.direct_url` and `database.direct_url_file` are both set: leave one out",
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
        self.otlp.base()?;
        let x = self.x.config()?;
        let looked_s = self
            .worker
            .look_waits_s
            .iter()
            .fold(self.worker.first_look_s, |sum, wait| {
                sum.saturating_add(*wait)
            });
        fault(
            x.api_base.scheme() != "http"
                && looked_s < u64::try_from(LATEST_DEED.num_seconds()).unwrap_or(u64::MAX),
            "`worker.first_look_s` and `worker.look_waits_s` must be 120 s or more together, unless X is a simulator: so long after a call left its post may be made",
        )?;
        self.check_sizes()
    }

    /// Whether each number is one that can be reckoned with.
    fn check_sizes(&self) -> anyhow::Result<()> {
        let tree = serde_json::to_value(self)?;
        let sections = tree.as_object().into_iter().flatten();
        for (section, settings) in sections {
            for (key, value) in settings.as_object().into_iter().flatten() {
                let most = MOST.iter().find(|(unit, _)| key.ends_with(unit));
                let most = most.map_or(0, |(_, most)| *most);
                let numbers = value
                    .as_array()
                    .map_or_else(|| vec![value], |list| list.iter().collect());
                let above = numbers
                    .into_iter()
                    .filter_map(Value::as_u64)
                    .find(|number| *number > most);
                if let Some(number) = above {
                    return Refusal::new(format!(
                        "`{section}.{key}` is {number}, at most {most} is taken"
                    ))
                    .fail();
                }
            }
        }
        Ok(())
    }
}
