//! Claims, does, settles: tokens and publishing.
//!
//! **Invariant:** the create call leaves only after [`crier_store::Store::begin_sending`] has committed, at most once a
//! lease, and cannot outlast the lease.

mod attempt;
mod by_v1;
mod folder;
mod hold;
mod loops;
mod news;
mod pool;
mod probe;
mod quit;
mod reasons;
mod reconcile;
mod refresh;
mod rescue;
mod spool;
mod stage;
mod token;
mod unpublish;
mod webhooks;

pub use by_v1::V1Cache;
pub use folder::{SeenFile, look_at_file};
pub use news::{News, Settings};
pub use pool::{Worker, WorkerOptions};
pub use quit::Quit;
pub use refresh::Gate;
pub use rescue::{Held, Rescue};
pub use token::{NoToken, TokenWait};
