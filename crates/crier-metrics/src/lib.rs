//! Every metric of crier, declared once; the exporter; log set-up and redaction.
//!
//! **Invariant:** a metric exists in [`Metrics`] and nowhere else: one table gives its name, HELP, labels and page
//! in the documentation, there is no global registry, and two instances in one process never meet.
//!
//! Labels hold words of closed sets or stable codes, never ids, texts or secrets.

mod escape;
pub mod exporter;
mod gather;
mod health;
mod labels;
pub mod log;
mod metrics;
mod reading;
mod redact;
mod table;

pub use escape::{still, still_json};
pub use gather::{BoxFuture, Gather, Missing, Ready, SourceError};
pub use health::{Health, Heartbeat, Stalled};
pub use labels::{
    AccountStatus, AppStatus, AttemptEnd, CheckEnd, Folder, HookEnd, HotTable, JobEnd, Label,
    LeasePhase, OpenState, RefreshEnd, SlotEnd, UnknownEnd, UploadEnd,
};
pub use metrics::{Busy, Metrics};
pub use reading::{Counts, LimitReading, Reading};
pub use redact::redact;
pub use table::markdown;
