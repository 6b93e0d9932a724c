//! What `statuses/update_with_media` says: its refusals are 403 for the most part, and only the words tell them apart.
//!
//! **Invariant:** a daily allowance that is used up never ends a job. These rows come before those of the post, whose words
//! they share.
//!
//! Source: X's page on the call as it was before it was retired, and its list of v1.1 codes until 2025.

use super::{EDIT, LIMITED, PUBLISH, SAFE, named, row, says};
use crate::verdict::Action::{FailJob, PauseAccount, WaitForLimit};
use crate::verdict::Row;
use crate::verdict::When::Status;

pub(super) static ROWS: &[Row] = &[
    row(
        PUBLISH,
        Status(403, 403),
        says(&["daily media", "media upload limit", "media rate limit"]),
        ("v1_media_limit", WaitForLimit, LIMITED),
    ),
    row(
        PUBLISH,
        Status(403, 403),
        says(&["cannot be appended", "text truncation"]),
        (
            "v1_text_no_room",
            FailJob,
            "shorten the text: each medium takes characters of it",
        ),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        named(&[], &["uploaded media is too large"], &[193]),
        ("v1_media_size", FailJob, "make the file smaller"),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        says(&["max_media_per_upload"]),
        (
            "v1_media_count",
            FailJob,
            "post fewer media, or let the account publish by v2",
        ),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        named(&[], &["parameter is missing"], &[38]),
        ("v1_parameter", FailJob, EDIT),
    ),
    row(
        PUBLISH,
        Status(401, 403),
        named(&[], &["do not allow access to this resource"], &[220]),
        (
            "v1_credentials",
            PauseAccount,
            "v1.1 takes OAuth 1.0a only: import such tokens with `crier auth import`, or let the account publish by v2",
        ),
    ),
    row(
        PUBLISH,
        Status(404, 410),
        named(
            &[],
            &["that page does not exist", "not part of v1.1"],
            &[34, 251],
        ),
        (
            "v1_retired",
            PauseAccount,
            "this gateway has no v1.1: `crier accounts publisher HANDLE v2`, then `crier accounts resume`",
        ),
    ),
    // The look at its figures comes before each first post.
    row(
        SAFE,
        Status(403, 403),
        named(&[], &["do not allow access to this resource"], &[220]),
        (
            "v1_credentials",
            PauseAccount,
            "v1.1 takes OAuth 1.0a only: import such tokens with `crier auth import`",
        ),
    ),
];
