//! Settings of traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::exit::Refuse as _;

/// Traces for a collector of OpenTelemetry, by OTLP over HTTP in JSON; off unless an endpoint is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Otlp {
    /// Base of the collector, such as `http://127.0.0.1:4318`; plain http goes to this machine only. A worker posts to
    /// `/v1/traces` below it: each attempt, upload and look, and each call to X within them. Nothing waits for it: what it
    /// does not take is dropped.
    pub(crate) endpoint: Option<String>,
}

impl Otlp {
    /// Where the collector is, if there is one.
    pub(crate) fn base(&self) -> anyhow::Result<Option<Url>> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let base = Url::parse(endpoint).refused("`otlp.endpoint` is not an address")?;
        crier_x::Collector::check(&base).refused("`otlp.endpoint` cannot be used")?;
        Ok(Some(base))
    }
}
