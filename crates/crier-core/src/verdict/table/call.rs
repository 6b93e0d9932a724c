//! What happened to the call itself, what the token endpoint says, and limits of calls and money.
//!
//! **Invariant:** a create call whose fate is unknown is judged here, before anything that X says can be taken for a plain refusal.

use super::{
    ALL, ANY, BILLING, LIMITED, LOGIN, LOOK, NETWORK, PUBLISH, SAFE, TOKEN, WAITS, named, row, says,
};
use crate::verdict::Action::{PauseAccount, PauseApp, Reconcile, Retry, WaitForLimit};
use crate::verdict::Row;
use crate::verdict::When::{DailyWindow, NoAnswer, NotSent, Status};

pub(super) static ROWS: &[Row] = &[
    // The fate of the call.
    row(ANY, NotSent, ALL, ("not_sent", Retry, NETWORK)),
    row(PUBLISH, NoAnswer, ALL, ("no_answer", Reconcile, LOOK)),
    row(SAFE, NoAnswer, ALL, ("no_answer", Retry, WAITS)),
    row(
        PUBLISH,
        Status(500, 599),
        ALL,
        ("x_unavailable", Reconcile, LOOK),
    ),
    row(SAFE, Status(500, 599), ALL, ("x_unavailable", Retry, WAITS)),
    row(
        PUBLISH,
        Status(408, 408),
        ALL,
        ("x_unavailable", Reconcile, LOOK),
    ),
    row(SAFE, Status(408, 408), ALL, ("x_unavailable", Retry, WAITS)),
    row(
        PUBLISH,
        Status(400, 499),
        named(&[], &["duplicate content", "status is a duplicate"], &[187]),
        (
            "duplicate",
            Reconcile,
            "X has seen this text lately: crier looks whether the earlier post is this job's own",
        ),
    ),
    // The token endpoint speaks OAuth: its `error` is the title.
    row(
        TOKEN,
        Status(400, 499),
        says(&[
            "missing required parameter",
            "unsupported_grant_type",
            "invalid_scope",
        ]),
        (
            "bad_request",
            PauseApp,
            "this version of crier asks in a way that X does not accept: update crier",
        ),
    ),
    row(
        TOKEN,
        Status(400, 499),
        says(&[
            "invalid_client",
            "unauthorized_client",
            "missing valid authorization header",
        ]),
        (
            "app_credentials",
            PauseApp,
            "check client id, client secret and type of the app in X's developer console",
        ),
    ),
    row(
        TOKEN,
        Status(400, 401),
        says(&["invalid_grant", "invalid_request"]),
        ("grant_dead", PauseAccount, LOGIN),
    ),
    // Money and limits.
    row(
        ANY,
        Status(402, 402),
        ALL,
        ("credits_depleted", PauseApp, BILLING),
    ),
    row(
        ANY,
        Status(400, 429),
        named(
            &["credits", "credits-depleted"],
            &["creditsdepleted", "credits depleted"],
            &[],
        ),
        ("credits_depleted", PauseApp, BILLING),
    ),
    row(
        ANY,
        Status(400, 429),
        says(&["spendcapreached", "spend cap"]),
        ("spend_cap", PauseApp, BILLING),
    ),
    row(
        ANY,
        Status(400, 429),
        named(
            &["usage-capped"],
            &["usagecapexceeded", "usage cap exceeded"],
            &[],
        ),
        ("usage_capped", PauseApp, BILLING),
    ),
    row(
        ANY,
        DailyWindow,
        ALL,
        ("daily_limit", WaitForLimit, LIMITED),
    ),
    row(
        ANY,
        Status(400, 429),
        named(
            &[],
            &["daily status update limit", "over posting limit"],
            &[185],
        ),
        ("daily_limit", WaitForLimit, LIMITED),
    ),
    row(
        ANY,
        Status(429, 429),
        ALL,
        ("rate_limited", WaitForLimit, LIMITED),
    ),
    row(
        ANY,
        Status(400, 428),
        named(&["rate-limit-exceeded"], &[], &[88]),
        ("rate_limited", WaitForLimit, LIMITED),
    ),
];
