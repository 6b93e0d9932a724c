//! Settings of webhooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whom to tell what became of jobs; `crier webhooks add` says whom.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Webhooks {
    /// Longest time for one try, in seconds.
    pub(crate) timeout_s: u64,
    /// Ports that an address may have.
    pub(crate) ports: Vec<u16>,
    /// Whether an address may be plain http: anybody on the way could read it.
    pub(crate) allow_http: bool,
    /// Whether an address may lead into the network of the machine: loopback, private, link-local addresses. Only those
    /// who may run `crier webhooks add` choose addresses.
    pub(crate) allow_private: bool,
    /// Deliveries that were made are kept for so many days; those given up four times as long.
    pub(crate) keep_days: u32,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            timeout_s: 15,
            ports: vec![443],
            allow_http: false,
            allow_private: false,
            keep_days: 7,
        }
    }
}

impl Webhooks {
    /// Which addresses may be called.
    pub(crate) fn rules(&self) -> crier_core::media::UrlRules {
        crier_core::media::UrlRules {
            allow_http: self.allow_http,
            allow_private: self.allow_private,
            ports: self.ports.clone(),
        }
    }
}
