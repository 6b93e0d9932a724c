//! What each verdict must have come to, in the ledger, the job, the upload, the account, its app, and the metrics.

use crier_core::verdict::Action;
use serde::Deserialize;

use super::cases::{Case, Way};

/// Least wait of a slow repeat, a little less than crier's own.
const SLOW_S: f64 = 590.0;
/// Refusals of reading that no waiting mends: a person is told at once.
const NEVER_READABLE: [&str; 3] = ["read_forbidden", "scope_missing", "access_level"];

/// One case as the database has it.
#[derive(Debug, Deserialize)]
pub(super) struct Seen {
    pub(super) handle: String,
    account_status: String,
    account_code: Option<String>,
    app_status: Option<String>,
    app_code: Option<String>,
    state: String,
    attempts: i64,
    job_code: Option<String>,
    job_step: Option<String>,
    waits_s: f64,
    /// First row of the ledger that has an outcome.
    outcome: Option<String>,
    code: Option<String>,
    http_status: Option<u16>,
    step: Option<String>,
    upload_state: Option<String>,
    upload_attempts: i64,
    upload_waits_s: f64,
    segment_bytes: Option<i64>,
    version: i64,
    look_waits_s: f64,
    looks: i64,
    closed: bool,
}

/// What is not as the row says, yet or for good.
pub(super) fn unmet(case: &Case, seen: &Seen, metrics: &str) -> Option<String> {
    // The call was made, answered so, and judged so.
    let status = case
        .status()
        .map_or_else(|| "none".to_owned(), |status| status.to_string());
    let series = format!(
        r#"crier_x_requests_total{{code="{}",endpoint="{}",status="{status}"}} "#,
        case.code,
        case.route()
    );
    // The token endpoint is not counted among the calls of a job.
    if case.way != Way::Token && !metrics.contains(&series) {
        return Some(format!("no metric {series}"));
    }
    let met: Vec<(&str, bool)> = match case.way {
        Way::Publish => published(case, seen),
        Way::Token => {
            let mut met = match case.action {
                // The endpoint ails: the job waits with it, at no cost, and the grant lives.
                Action::Retry | Action::RetrySlowly | Action::RefreshToken => vec![
                    ("the outcome", seen.outcome.as_deref() == Some("snoozed")),
                    ("the code", seen.code.as_deref() == Some(case.code)),
                    ("the status", seen.http_status == case.status()),
                    ("the job waits", seen.state == "scheduled"),
                    ("at no cost", seen.attempts == 0),
                    ("the grant lives", seen.account_status == "active"),
                ],
                Action::WaitForLimit
                | Action::PauseAccount
                | Action::PauseApp
                | Action::FailJob
                | Action::Reupload
                | Action::NewSession
                | Action::SmallerChunk
                | Action::SwitchEncoding
                | Action::Reconcile => published(case, seen),
            };
            met.push((
                "the step is the token",
                seen.job_step.as_deref() == Some("token"),
            ));
            met
        }
        Way::Media => staged(case, seen),
        Way::Read => read(case, seen),
    };
    met.into_iter()
        .find(|(_, met)| !met)
        .map(|(what, _)| what.to_owned())
}

fn account_waits(case: &Case, seen: &Seen) -> Vec<(&'static str, bool)> {
    let at_x = ["account_suspended", "account_locked"].contains(&case.code);
    let status = if at_x { "suspended" } else { "needs_login" };
    vec![
        ("the account waits", seen.account_status == status),
        (
            "and says why",
            seen.account_code.as_deref() == Some(case.code),
        ),
        ("at no cost", seen.attempts == 0 || seen.state == "unknown"),
    ]
}

fn app_waits(case: &Case, seen: &Seen) -> Vec<(&'static str, bool)> {
    vec![
        (
            "the app waits",
            seen.app_status.as_deref() == Some("paused"),
        ),
        ("and says why", seen.app_code.as_deref() == Some(case.code)),
        ("the account does not", seen.account_status == "active"),
    ]
}

/// The ledger of an attempt to publish.
fn published(case: &Case, seen: &Seen) -> Vec<(&'static str, bool)> {
    let ended = |outcome: &str| {
        vec![
            ("the outcome", seen.outcome.as_deref() == Some(outcome)),
            ("the code", seen.code.as_deref() == Some(case.code)),
            ("the status", seen.http_status == case.status()),
        ]
    };
    let scheduled = ("the job waits", seen.state == "scheduled");
    match case.action {
        Action::Retry => ended("retry"),
        Action::RetrySlowly => {
            let slowly = ("for minutes", seen.waits_s > SLOW_S);
            [ended("retry"), vec![scheduled, slowly]].concat()
        }
        Action::RefreshToken => {
            let refreshed = ("the token was refreshed", seen.version >= 2);
            [ended("retry"), vec![refreshed]].concat()
        }
        Action::WaitForLimit => {
            let free = ("at no cost", seen.attempts == 0);
            let closed = if case.way == Way::Token {
                // The next refresh waits; what a token that is still good does is no matter of this limit.
                ("and no other call", !seen.closed)
            } else {
                ("for the whole account", seen.closed)
            };
            let later = ("for a while", seen.waits_s > 30.0);
            [ended("snoozed"), vec![scheduled, free, closed, later]].concat()
        }
        Action::PauseAccount => {
            [ended("snoozed"), vec![scheduled], account_waits(case, seen)].concat()
        }
        Action::PauseApp => [ended("snoozed"), vec![scheduled], app_waits(case, seen)].concat(),
        Action::FailJob => {
            let failed = ("the job failed", seen.state == "failed");
            let why = ("and says why", seen.job_code.as_deref() == Some(case.code));
            [ended("failed"), vec![failed, why]].concat()
        }
        Action::Reupload => {
            let again = ("it went out in the end", seen.state == "published");
            [ended("retry"), vec![again]].concat()
        }
        Action::Reconcile => {
            let unknown = (
                "the job is looked up",
                seen.state == "unknown" && seen.looks > 0,
            );
            [ended("unknown"), vec![unknown]].concat()
        }
        Action::NewSession | Action::SmallerChunk | Action::SwitchEncoding => {
            vec![(
                "an upload's verdict in another step: give it an effect here",
                false,
            )]
        }
    }
}

/// The ledger of an upload, and what was kept of it.
fn staged(case: &Case, seen: &Seen) -> Vec<(&'static str, bool)> {
    let ended = |outcome: &str| {
        vec![
            ("the outcome", seen.outcome.as_deref() == Some(outcome)),
            ("the code", seen.code.as_deref() == Some(case.code)),
            ("the status", seen.http_status == case.status()),
            ("the step", seen.step.as_deref() == Some("media")),
        ]
    };
    let said = (
        "the job says why",
        seen.job_code.as_deref() == Some(case.code),
    );
    match case.action {
        Action::Retry | Action::NewSession => ended("retry"),
        Action::RetrySlowly => {
            let slowly = ("for minutes", seen.upload_waits_s > SLOW_S);
            [ended("retry"), vec![slowly]].concat()
        }
        Action::RefreshToken => {
            let refreshed = ("the token was refreshed", seen.version >= 2);
            [ended("retry"), vec![refreshed]].concat()
        }
        Action::WaitForLimit => vec![
            said,
            ("at no cost", seen.upload_attempts == 0),
            ("for the whole account", seen.closed),
            ("for a while", seen.upload_waits_s > 30.0),
        ],
        Action::PauseAccount => [vec![said], account_waits(case, seen)].concat(),
        Action::PauseApp => [vec![said], app_waits(case, seen)].concat(),
        Action::FailJob => {
            let failed = ("the job failed", seen.state == "failed");
            [ended("failed"), vec![failed, said]].concat()
        }
        Action::SmallerChunk => vec![
            ("halved", seen.segment_bytes == Some(65_536)),
            ("it went out in the end", seen.state == "published"),
        ],
        Action::SwitchEncoding => vec![
            (
                "the file is ready",
                seen.upload_state.as_deref() == Some("ready") || seen.state == "published",
            ),
            ("it went out in the end", seen.state == "published"),
        ],
        Action::Reupload | Action::Reconcile => {
            vec![(
                "a post's verdict in another step: give it an effect here",
                false,
            )]
        }
    }
}

/// What became of a look among the account's posts.
fn read(case: &Case, seen: &Seen) -> Vec<(&'static str, bool)> {
    let unknown = ("the job stays unknown", seen.state == "unknown");
    let uncounted = ("the look does not count", seen.looks == 0);
    if NEVER_READABLE.contains(&case.code) {
        return vec![
            (
                "the job is left to a person",
                seen.state == "unknown" && seen.looks == 1,
            ),
            ("and says why", seen.job_code.as_deref() == Some(case.code)),
        ];
    }
    match case.action {
        Action::PauseAccount => [vec![unknown, uncounted], account_waits(case, seen)].concat(),
        Action::PauseApp => [vec![unknown, uncounted], app_waits(case, seen)].concat(),
        Action::WaitForLimit => {
            let closed = ("for the whole account", seen.closed);
            vec![
                unknown,
                uncounted,
                closed,
                ("it looks later", seen.look_waits_s > 30.0),
            ]
        }
        Action::RefreshToken => {
            let refreshed = ("the token was refreshed", seen.version >= 2);
            vec![unknown, uncounted, refreshed]
        }
        Action::Retry | Action::RetrySlowly => {
            vec![
                unknown,
                uncounted,
                ("it looks later", seen.look_waits_s > 0.0),
            ]
        }
        Action::FailJob
        | Action::Reupload
        | Action::NewSession
        | Action::SmallerChunk
        | Action::SwitchEncoding
        | Action::Reconcile => vec![("no verdict of a look: give it an effect here", false)],
    }
}
