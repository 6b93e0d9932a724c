//! The core under fire: seeded lists of operations with injected faults, against the real store on a real Postgres, with
//! a small model of X beside it; every promise is checked after every operation (docs/ARCHITECTURE.md lists them).
//!
//! **Invariant:** a seed is reproducible: one operation at a time, and a clock that only the list moves. A list that fails
//! is shrunk and printed as Rust, to be kept in `cases.rs`.
//!
//! `CRIER_SIM_SEEDS=N` runs N seeds (from `CRIER_SIM_FROM`), `CRIER_SIM_SEED=x` one, with its operations printed;
//! `CRIER_SIM_SHRINK=0` leaves a failing list as long as it is.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a helper that fails is a test that fails, a failing seed prints itself, and most ways to go on concern one step"
)]

mod cases;
mod chance;
mod claim;
mod db;
mod desk;
mod faults;
mod held;
mod history;
mod look;
mod ops;
mod people;
mod plan;
mod publish;
mod repeat;
mod rest;
mod run;
mod scenes;
mod scheduler;
mod shrink;
mod stage;
mod tokens;
mod world;
mod x;
