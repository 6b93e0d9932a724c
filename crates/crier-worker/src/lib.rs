//! Claims, does, settles: tokens and publishing.
//!
//! **Invariant:** the create call leaves only after [`crier_store::Store::begin_sending`] has committed, at most once a
//! lease, and cannot outlast the lease.

mod attempt;
mod pool;
mod token;

pub use pool::{Worker, WorkerOptions};
