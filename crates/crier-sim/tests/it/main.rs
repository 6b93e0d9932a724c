//! The simulator from outside: over a socket, byte by byte, with no client library in between.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on is a test that fails"
)]

mod answers;
mod client;
mod clients;
mod conform;
mod control;
mod faults;
mod handshake;
mod limits;
mod media;
mod media_about;
mod media_files;
mod money;
mod oauth1;
mod posts;
mod reads;
mod requests;
mod rules;
mod sign;
mod standing;
mod tokens;
mod v1;
