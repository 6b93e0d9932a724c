//! X as its documents describe it, on a port of this machine, with faults on demand.
//!
//! Run it with [`serve`]; set it up with [`SimOptions`] or, while it runs, over the control paths
//! under `/_sim/` on the same port. The crate's `README.md` lists those paths, and where the simulator is stricter
//! or looser than X.
//!
//! Invariant: nothing here is shared with the crates that talk to X, so that one misreading of the
//! documents cannot pass on both sides.

mod auth;
mod call;
mod chance;
mod clock;
mod control;
mod error;
mod faults;
mod film;
mod ingest;
mod limits;
mod options;
mod pipeline;
mod problem;
mod record;
mod reply;
mod route;
mod routes;
mod schema;
mod server;
mod sniff;
mod spool;
mod state;
mod text;

pub use error::SimError;
pub use faults::{FaultKind, FaultSpec};
pub use options::{AccountSpec, DEFAULT_SCOPE, LimitSpec, ProcessingFailure, SimOptions};
pub use server::serve;
