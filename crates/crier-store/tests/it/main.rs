//! The store against a real Postgres, a database per test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod db;
mod fencing;
mod lanes;
mod rows;
mod secrets;
