//! How a call that did not succeed is told apart: never left, no trustworthy answer, refused.
//!
//! **Invariant:** `NotSent` is said only where no byte of the request can have left; in doubt it is `NoAnswer`.

use crier_core::answer::{Answer, CallFault, Endpoint};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::{headers, words};

/// A request that could not be made into bytes.
pub(crate) fn not_sent(endpoint: Endpoint, why: impl std::fmt::Display) -> CallFault {
    CallFault::NotSent {
        detail: format!("`{}`: {why}", endpoint.label()),
    }
}

/// The transport failed before a status line came.
pub(crate) fn from_transport(endpoint: Endpoint, error: reqwest::Error) -> CallFault {
    let never_left = error.is_builder() || error.is_connect();
    let timed_out = error.is_timeout();
    let why = describe(error);
    if never_left {
        not_sent(endpoint, why)
    } else if timed_out {
        CallFault::NoAnswer {
            detail: format!("`{}` timed out: {why}", endpoint.label()),
        }
    } else {
        CallFault::NoAnswer {
            detail: format!("`{}` broke off: {why}", endpoint.label()),
        }
    }
}

/// The transport failed after the status line. The status alone is not trusted: it may be the body that tells a
/// duplicate from a plain refusal.
pub(crate) fn cut_off(endpoint: Endpoint, status: StatusCode, error: reqwest::Error) -> CallFault {
    CallFault::NoAnswer {
        detail: format!(
            "the answer {} to `{}` broke off: {}",
            status.as_u16(),
            endpoint.label(),
            describe(error)
        ),
    }
}

/// A success that does not hold what it promises.
pub(crate) fn empty_success(
    endpoint: Endpoint,
    status: u16,
    promised: &str,
    body: &[u8],
    secrets: &[String],
) -> CallFault {
    let words = words::read(body, secrets);
    let mut said: Vec<_> = [words.title, words.detail]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    if matches!(
        endpoint,
        Endpoint::Token | Endpoint::RequestToken | Endpoint::AccessToken
    ) {
        // An unreadable success of the token endpoint may well be a token in another dress.
        said = vec!["something that may hold a token and is not shown".to_owned()];
    }
    let said = if said.is_empty() {
        "nothing readable".to_owned()
    } else {
        said.join(": ")
    };
    CallFault::NoAnswer {
        detail: format!(
            "the answer {status} to `{}` lacks {promised}; it says: {said}",
            endpoint.label()
        ),
    }
}

/// Any answer but a success.
pub(crate) fn refused(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[String],
) -> CallFault {
    let words = words::read(body, secrets);
    let title = match words.title {
        title if title.is_empty() => status.canonical_reason().unwrap_or_default().to_owned(),
        title => title,
    };
    CallFault::Refused(Answer {
        status: status.as_u16(),
        problem: words.problem,
        title,
        detail: words.detail,
        codes: words.codes,
        reason: words.reason,
        period: words.period,
        scope: words.scope,
        windows: headers::windows(headers),
        retry_after_s: headers::retry_after_s(headers),
    })
}

/// The error with its causes and without its URL, whose query may be private.
pub(crate) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}
