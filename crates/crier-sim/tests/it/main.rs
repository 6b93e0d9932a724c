//! The simulator from outside: over a socket, byte by byte, with no client library in between.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on is a test that fails"
)]

mod client;
mod control;
mod faults;
mod handshake;
mod limits;
mod media;
mod media_about;
mod media_files;
mod oauth1;
mod posts;
mod reads;
mod rules;
mod sign;
mod tokens;
