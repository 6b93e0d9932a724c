//! Bodies that X was seen to send, and what they mean.

use super::*;

fn said(status: u16, title: &str, detail: &str, problem: &str, codes: &[i64]) -> CallFault {
    CallFault::Refused(Answer {
        title: title.into(),
        detail: detail.into(),
        problem: problem.into(),
        codes: codes.to_vec(),
        ..refused(status)
    })
}

#[test]
fn what_was_met_live_is_judged_as_documented() {
    use Step::{Media, Publish, Read, Token};
    let duplicate = "You are not allowed to create a Tweet with duplicate content.";
    let token = "Value passed for the token was invalid.";
    let cap = "Usage cap exceeded: Monthly product cap";
    let action = "You are not permitted to perform this action.";
    let cases = [
        (
            Publish,
            said(403, "Forbidden", duplicate, "blank", &[]),
            "duplicate",
            Action::Reconcile,
        ),
        (
            Publish,
            said(403, "", "Status is a duplicate.", "", &[187]),
            "duplicate",
            Action::Reconcile,
        ),
        (
            Token,
            said(400, "invalid_request", token, "", &[]),
            "grant_dead",
            Action::PauseAccount,
        ),
        (
            Token,
            said(400, "invalid_grant", "", "", &[]),
            "grant_dead",
            Action::PauseAccount,
        ),
        (
            Token,
            said(401, "invalid_client", "", "", &[]),
            "app_credentials",
            Action::PauseApp,
        ),
        (
            Token,
            said(
                401,
                "unauthorized_client",
                "Missing valid authorization header",
                "",
                &[],
            ),
            "app_credentials",
            Action::PauseApp,
        ),
        (
            Token,
            said(503, "", "", "", &[]),
            "x_unavailable",
            Action::Retry,
        ),
        (
            Token,
            said(401, "Unauthorized", "Unauthorized", "", &[]),
            "token_refused",
            Action::RetrySlowly,
        ),
        (
            Token,
            said(
                400,
                "invalid_request",
                "Missing required parameter [refresh_token].",
                "",
                &[],
            ),
            "bad_request",
            Action::PauseApp,
        ),
        (
            Publish,
            said(401, "Unauthorized", "Unauthorized", "", &[]),
            "token_invalid",
            Action::RefreshToken,
        ),
        (
            Publish,
            said(401, "", "Could not authenticate you.", "", &[32]),
            "oauth1_refused",
            Action::RefreshToken,
        ),
        (
            Media,
            said(402, "CreditsDepleted", "", "credits", &[]),
            "credits_depleted",
            Action::PauseApp,
        ),
        (
            Publish,
            said(429, "Too Many Requests", "Too Many Requests", "", &[]),
            "rate_limited",
            Action::WaitForLimit,
        ),
        (
            Read,
            said(429, "", "Rate limit exceeded", "", &[88]),
            "rate_limited",
            Action::WaitForLimit,
        ),
        (
            Publish,
            said(429, "UsageCapExceeded", cap, "usage-capped", &[]),
            "usage_capped",
            Action::PauseApp,
        ),
        (
            Publish,
            said(403, "SpendCapReached", "", "", &[]),
            "spend_cap",
            Action::PauseApp,
        ),
        (
            Publish,
            said(
                403,
                "",
                "User is over daily status update limit.",
                "",
                &[185],
            ),
            "daily_limit",
            Action::WaitForLimit,
        ),
        (
            Publish,
            said(403, "Forbidden", action, "", &[]),
            "forbidden",
            Action::FailJob,
        ),
        (
            Publish,
            said(403, "Forbidden", "Forbidden", "", &[]),
            "forbidden",
            Action::RetrySlowly,
        ),
        (
            Media,
            said(403, "Forbidden", "Forbidden", "", &[]),
            "scope_missing",
            Action::PauseAccount,
        ),
        (
            Media,
            said(413, "", "", "", &[]),
            "chunk_too_large",
            Action::SmallerChunk,
        ),
        (
            Media,
            said(404, "", "", "", &[]),
            "media_session_lost",
            Action::NewSession,
        ),
        (
            Media,
            said(400, "", "Segments do not add up to total size", "", &[]),
            "media_session_lost",
            Action::NewSession,
        ),
        (
            Media,
            said(
                400,
                "Invalid Request",
                "Request body must be a JSON object.",
                "invalid-request",
                &[],
            ),
            "encoding_refused",
            Action::SwitchEncoding,
        ),
        (
            Publish,
            said(
                400,
                "Invalid Request",
                "Your media IDs are invalid.",
                "invalid-request",
                &[],
            ),
            "media_invalid",
            Action::Reupload,
        ),
        (
            Publish,
            said(400, "Invalid Request", "", "invalid-request", &[]),
            "bad_request",
            Action::FailJob,
        ),
        (
            Publish,
            said(403, "", "", "user-suspended", &[]),
            "account_suspended",
            Action::PauseAccount,
        ),
        (
            Publish,
            said(403, "", "", "app-suspended", &[]),
            "app_suspended",
            Action::PauseApp,
        ),
        (
            Publish,
            said(403, "", "", "oauth1-permissions", &[]),
            "oauth1_read_only",
            Action::PauseApp,
        ),
        (
            Publish,
            said(403, "Client Forbidden", "", "client-forbidden", &[]),
            "client_not_enrolled",
            Action::PauseApp,
        ),
        (
            Publish,
            said(520, "<html>", "", "", &[]),
            "x_unavailable",
            Action::Reconcile,
        ),
        (
            Publish,
            said(200, "", "", "", &[]),
            "unexpected_answer",
            Action::Reconcile,
        ),
        (
            Publish,
            CallFault::NoAnswer {
                detail: String::new(),
            },
            "no_answer",
            Action::Reconcile,
        ),
        (
            Publish,
            CallFault::NotSent {
                detail: String::new(),
            },
            "not_sent",
            Action::Retry,
        ),
    ];
    for (step, fault, code, action) in cases {
        let verdict = judge(step, &fault);
        assert_eq!(
            (verdict.code, verdict.action),
            (code, action),
            "{step:?} {fault:?}"
        );
    }
}
