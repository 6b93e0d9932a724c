//! What a status alone says, once no words of X decided.
//!
//! **Invariant:** every status of every step ends here at the latest.

use super::{
    ALL, ANY, EDIT, JOB, LOOK, MEDIA, NOT_NOW, PUBLISH, READ, SAFE, TOKEN, WAITS, named, row, says,
};
use crate::verdict::Action::{FailJob, PauseAccount, Reconcile, Retry, RetrySlowly};
use crate::verdict::Row;
use crate::verdict::When::Status;

pub(super) static ROWS: &[Row] = &[
    // What a status alone says.
    row(
        ANY,
        Status(403, 403),
        says(&["cloudflare", "<html", "<!doctype", "just a moment"]),
        (
            "edge_blocked",
            RetrySlowly,
            "X's front refuses this machine's address: check proxy and reputation",
        ),
    ),
    row(
        PUBLISH,
        Status(403, 403),
        says(&["not permitted to perform this action"]),
        ("forbidden", FailJob, EDIT),
    ),
    row(
        PUBLISH,
        Status(403, 403),
        ALL,
        ("forbidden", RetrySlowly, NOT_NOW),
    ),
    row(
        MEDIA,
        Status(403, 403),
        ALL,
        (
            "scope_missing",
            PauseAccount,
            "authorise the account again with the scope `media.write`, then resume it",
        ),
    ),
    row(
        READ,
        Status(403, 403),
        ALL,
        (
            "read_forbidden",
            RetrySlowly,
            "grant `tweet.read` and `users.read`, or end the job with `crier jobs settle`",
        ),
    ),
    row(
        PUBLISH,
        Status(404, 404),
        named(&["resource-not-found"], &[], &[]),
        ("target_gone", FailJob, EDIT),
    ),
    row(
        PUBLISH,
        Status(404, 404),
        ALL,
        ("not_found", RetrySlowly, NOT_NOW),
    ),
    row(
        JOB,
        Status(410, 410),
        ALL,
        (
            "endpoint_retired",
            FailJob,
            "X has retired this call: update crier",
        ),
    ),
    row(
        JOB,
        Status(400, 499),
        ALL,
        (
            "bad_request",
            FailJob,
            "read X's words, change the row and insert it again",
        ),
    ),
    row(
        TOKEN,
        Status(400, 499),
        ALL,
        ("token_refused", RetrySlowly, NOT_NOW),
    ),
    row(
        READ,
        Status(400, 499),
        ALL,
        ("read_refused", RetrySlowly, NOT_NOW),
    ),
    // No success, yet no refusal either.
    row(
        PUBLISH,
        Status(0, u16::MAX),
        ALL,
        ("unexpected_answer", Reconcile, LOOK),
    ),
    row(
        SAFE,
        Status(0, u16::MAX),
        ALL,
        ("unexpected_answer", Retry, WAITS),
    ),
];
