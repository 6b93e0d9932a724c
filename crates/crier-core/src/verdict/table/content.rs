//! What X says about the post and its files.
//!
//! **Invariant:** only what X names ends a job for good here; what a status alone says comes later.

use super::{ALL, EDIT, FILE, JOB, MEDIA, PUBLISH, WAITS, named, row, says};
use crate::verdict::Action::{FailJob, NewSession, Reupload, SmallerChunk, SwitchEncoding};
use crate::verdict::Row;
use crate::verdict::When::Status;

pub(super) static ROWS: &[Row] = &[
    // The post.
    row(
        JOB,
        Status(400, 403),
        named(&[], &["might be automated", "looks automated"], &[226]),
        (
            "looks_automated",
            FailJob,
            "X's spam filter stopped it: post less often, and vary the text",
        ),
    ),
    row(
        JOB,
        Status(400, 403),
        says(&[
            "not permitted to access this feature",
            "longer than 2 minutes",
            "not authorized to post videos longer",
        ]),
        (
            "tier",
            FailJob,
            "the account's subscription does not hold this: shorten it, or subscribe to X Premium",
        ),
    ),
    row(
        JOB,
        Status(400, 403),
        named(
            &[],
            &[
                "needs to be a bit shorter",
                "text is too long",
                "tweet is too long",
                "post is too long",
            ],
            &[186],
        ),
        (
            "text_too_long",
            FailJob,
            "shorten the text: X counts a link as 23 characters and an emoji as 2",
        ),
    ),
    row(
        PUBLISH,
        Status(400, 404),
        named(&[], &["deleted or not visible"], &[144, 385]),
        (
            "target_gone",
            FailJob,
            "the post that this one replies to or quotes is gone or hidden",
        ),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        named(
            &[],
            &[
                "reply to this conversation is not allowed",
                "replies are restricted",
                "quoting this post is not allowed",
                "not been mentioned",
                "otherwise engaged",
            ],
            &[433],
        ),
        (
            "reply_not_allowed",
            FailJob,
            "X lets this account reply or quote only where its author has engaged it",
        ),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        named(
            &["disallowed-resource"],
            &["one cashtag", "invalid url", "malicious", "spam"],
            &[44, 407],
        ),
        ("content_refused", FailJob, EDIT),
    ),
    row(
        PUBLISH,
        Status(400, 403),
        named(
            &[],
            &["media ids are invalid", "media id is invalid"],
            &[325],
        ),
        (
            "media_invalid",
            Reupload,
            "nothing to do: crier uploads the media once more",
        ),
    ),
    row(
        JOB,
        Status(400, 422),
        named(
            &[],
            &[
                "media type unrecognized",
                "media type not supported",
                "invalidmedia",
            ],
            &[323, 324, 344, 386],
        ),
        ("media_invalid", FailJob, FILE),
    ),
    // The upload.
    row(
        MEDIA,
        Status(400, 415),
        says(&[
            "content-type of application/json",
            "must be a json object",
            "unsupported media type",
            "must be multipart",
        ]),
        (
            "encoding_refused",
            SwitchEncoding,
            "X has changed the form of this call: tell the makers of crier",
        ),
    ),
    row(
        MEDIA,
        Status(400, 400),
        says(&[
            "segments do not add up",
            "session expired",
            "session not found",
            "session has expired",
        ]),
        ("media_session_lost", NewSession, WAITS),
    ),
    row(
        MEDIA,
        Status(404, 404),
        ALL,
        ("media_session_lost", NewSession, WAITS),
    ),
    row(
        MEDIA,
        Status(413, 413),
        ALL,
        ("chunk_too_large", SmallerChunk, WAITS),
    ),
    row(
        MEDIA,
        Status(431, 431),
        ALL,
        ("chunk_too_large", SmallerChunk, WAITS),
    ),
];
