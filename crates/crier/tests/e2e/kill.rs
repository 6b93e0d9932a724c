//! Processes that die, or stand still, at each point that they reach: exactly the posts asked for go out.
//!
//! The points are those of `crier_core::failpoint`: before and after each statement, commit and call. A first run writes
//! down which ones there are, and then one process dies at each. `CRIER_KILL_ONLY="video: kill 1 before call POST
//! /2/tweets"` does one case alone.

mod answers;
mod commands;
mod expiry;
mod ground;
mod matrix;
mod refreshes;
mod zombies;
