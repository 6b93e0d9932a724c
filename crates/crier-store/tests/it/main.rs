//! The store against a real Postgres, a database per test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod answers;
mod bounds;
mod checks;
mod db;
mod fencing;
mod holds;
mod keys;
mod lanes;
mod logins;
mod people;
mod posts;
mod reconcile;
mod recurring;
mod refresh;
mod rows;
mod secrets;
mod staging;
mod upkeep;
mod webhooks;
