//! Reasons why something did not go out, in the form of `jobs.error`.
//!
//! **Invariant:** X's own words are kept as X gave them; ours say what happened and what to do.

use crier_core::answer::CallFault;
use crier_core::verdict::{Step, Verdict};
use crier_store::Why;
use serde_json::json;

/// The status of X's answer, if there was one.
pub(crate) fn status(fault: &CallFault) -> Option<u16> {
    match fault {
        CallFault::Refused(answer) => Some(answer.status),
        CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => None,
    }
}

/// What X said of a call, or what became of the call.
pub(crate) fn why(fault: &CallFault, verdict: Verdict, step: Step) -> Why {
    let (title, detail) = match fault {
        CallFault::Refused(answer) => (answer.title.clone(), answer.detail.clone()),
        CallFault::NotSent { detail } => ("the request did not reach X".to_owned(), detail.clone()),
        CallFault::NoAnswer { detail } => (
            "no trustworthy answer came from X".to_owned(),
            detail.clone(),
        ),
    };
    let error = json!({"code": verdict.code, "title": title, "detail": detail, "step": step.as_str(), "hint": verdict.hint});
    Why {
        code: verdict.code.to_owned(),
        http_status: status(fault),
        error,
    }
}

/// A reason of our own.
pub(crate) fn plain_why(code: &str, title: &str, step: &str, hint: &str) -> Why {
    let error = json!({"code": code, "title": title, "detail": "", "step": step, "hint": hint});
    Why {
        code: code.to_owned(),
        http_status: None,
        error,
    }
}

/// No grant is left with which anything could be done.
pub(crate) fn no_grant() -> Why {
    plain_why(
        "no_grant",
        "the account has no grant that can be used",
        "token",
        "log in again: `crier auth login`",
    )
}
