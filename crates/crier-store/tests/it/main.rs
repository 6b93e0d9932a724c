//! The store against a real Postgres, a database per test.

mod db;
mod fencing;
mod lanes;
mod rows;
mod secrets;
