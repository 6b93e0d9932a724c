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
mod due;
mod fencing;
mod guards;
mod holds;
mod hostile;
mod keys;
mod lanes;
mod lifecycle;
mod logins;
mod looks;
mod people;
mod posts;
mod rare;
mod reconcile;
mod recurring;
mod refresh;
mod roles;
mod rows;
mod secrets;
mod staging;
mod unwilling;
mod upkeep;
mod webhooks;
