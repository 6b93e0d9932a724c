//! What X would refuse of a row, as people are told: the scheduler's early check, asked for by hand.
//!
//! **Invariant:** the judgement is the scheduler's own; here it is only shown.

use crier_core::fault::Fault;
use crier_scheduler::MediaProbe;
use crier_store::CheckDraft;
use serde_json::{Value, json};

use crate::config::Config;
use crate::probe::Folder;

/// All faults of a row, the gravest first. It looks at files and may block.
pub(crate) fn faults(config: &Config, draft: &CheckDraft) -> Vec<Fault> {
    let folder = Folder(config.media.root.clone());
    let probe: &dyn MediaProbe = &folder;
    let mut faults = crier_scheduler::look(
        draft,
        Some(probe),
        &config.media.url_rules(),
        config.scheduler.self_serve,
    );
    faults.sort_by_key(|fault| !fault.permanent);
    faults
}

/// A fault with what its column does not hold.
pub(crate) fn shown(fault: &Fault) -> Value {
    json!({"code": fault.code, "title": fault.title, "detail": fault.detail, "step": fault.step,
        "hint": fault.hint, "permanent": fault.permanent})
}

/// A fault as a line: `error` if it can never pass, else `warning`.
pub(crate) fn line(fault: &Fault) -> String {
    let word = if fault.permanent { "error" } else { "warning" };
    format!("{word}: {}: {fault}", fault.code)
}
