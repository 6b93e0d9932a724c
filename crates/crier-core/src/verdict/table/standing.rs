//! The standing of the app and of the account at X.
//!
//! **Invariant:** a refusal of the app never counts against one account, so the app's rows come first.

use super::{ALL, ANY, BEARER, HUMAN, LOGIN, PORTAL, named, row, says};
use crate::verdict::Action::{PauseAccount, PauseApp, RefreshToken, Retry, RetrySlowly};
use crate::verdict::Row;
use crate::verdict::When::Status;

pub(super) static ROWS: &[Row] = &[
    // The app.
    row(
        ANY,
        Status(401, 403),
        named(&["app-suspended"], &[], &[416]),
        ("app_suspended", PauseApp, PORTAL),
    ),
    row(
        ANY,
        Status(401, 403),
        named(
            &[
                "client-forbidden",
                "client-not-enrolled",
                "user-not-enrolled",
                "official-client-forbidden",
            ],
            &[
                "client-not-enrolled",
                "must use keys and tokens from a twitter developer app that is attached",
            ],
            &[],
        ),
        (
            "client_not_enrolled",
            PauseApp,
            "move the app into a paid project's production environment at X's console",
        ),
    ),
    row(
        ANY,
        Status(401, 403),
        named(
            &["oauth1-permissions"],
            &["oauth1 app permissions", "cannot perform write actions"],
            &[261],
        ),
        (
            "oauth1_read_only",
            PauseApp,
            "give the app read and write permission, then issue its user tokens anew",
        ),
    ),
    row(
        ANY,
        Status(401, 403),
        named(&[], &["access to a subset of"], &[453]),
        (
            "access_level",
            PauseApp,
            "the app's plan does not hold this call: raise it in X's developer console",
        ),
    ),
    // The account.
    row(
        ANY,
        Status(401, 403),
        named(&["user-suspended"], &["your account is suspended"], &[64]),
        ("account_suspended", PauseAccount, HUMAN),
    ),
    row(
        ANY,
        Status(401, 403),
        named(&[], &["temporarily locked"], &[326]),
        ("account_locked", PauseAccount, HUMAN),
    ),
    row(
        BEARER,
        Status(401, 401),
        named(&[], &["timestamp out of bounds"], &[135]),
        (
            "clock_skew",
            Retry,
            "set this machine's clock by NTP; crier signs by X's clock as soon as an answer has stated it",
        ),
    ),
    row(
        BEARER,
        Status(401, 401),
        named(&[], &[], &[32, 89, 215]),
        (
            "oauth1_refused",
            RefreshToken,
            "check the app's consumer keys, or authorise the account again",
        ),
    ),
    row(
        BEARER,
        Status(401, 403),
        says(&["authenticating with unknown"]),
        (
            "auth_unknown",
            RetrySlowly,
            "a passing fault of X's front; if it stays, authorise the account again",
        ),
    ),
    row(
        BEARER,
        Status(401, 403),
        named(
            &["unsupported-authentication"],
            &["unsupported authentication"],
            &[],
        ),
        (
            "auth_kind",
            RefreshToken,
            "the call needs a token of the account, not of the app: authorise it again",
        ),
    ),
    row(
        BEARER,
        Status(401, 403),
        says(&[
            "insufficient_scope",
            "insufficient scope",
            "missing scope",
            "required scope",
            "media.write",
            "tweet.write",
        ]),
        ("scope_missing", PauseAccount, LOGIN),
    ),
    row(
        BEARER,
        Status(401, 401),
        ALL,
        ("token_invalid", RefreshToken, LOGIN),
    ),
];
