//! The domain of crier as pure values and functions: no I/O, no clock, no randomness of its own.
//!
//! **Invariant:** nothing here can fail for a reason outside its arguments, so every rule is a property test away.

pub mod answer;
pub mod failpoint;
pub mod fault;
pub mod limit;
pub mod lint;
pub mod media;
pub mod options;
pub mod price;
pub mod reconcile;
pub mod recurrence;
pub mod retry;
pub mod template;
pub mod text;
pub mod tier;
pub mod trace;
pub mod v1;
pub mod verdict;
pub mod webhook;
