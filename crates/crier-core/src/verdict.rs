//! What X's answer means, and what to do about it.
//!
//! **Invariant:** every fault has exactly one verdict, found in one table; a create call whose fate is unknown is never
//! judged as a plain repeat.

use serde::Serialize;

use crate::answer::{Answer, CallFault};
use crate::limit::{Window, WindowLength};

mod table;

/// The step of a job during which the call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Refreshing or revoking a token.
    Token,
    /// Any call on a file: upload, status, alt text, subtitles.
    Media,
    /// Creating the post.
    Publish,
    /// Reading back: who am I, what did I post.
    Read,
}

impl Step {
    /// Every step, in the order of a job's life.
    pub const ALL: [Self; 4] = [Self::Token, Self::Media, Self::Publish, Self::Read];

    /// The word used in tables, metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Media => "media",
            Self::Publish => "publish",
            Self::Read => "read",
        }
    }
}

/// What to do. Each says how far its effect goes; how often it may be tried is the caller's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Surely nothing was done, or a repeat does no harm: again, with backoff.
    Retry,
    /// Refused without a reason that can be relied on: again, but after minutes, and only once or twice; then a person.
    RetrySlowly,
    /// Refresh the access token once, then repeat. If the fresh token is refused too, or there is none to refresh
    /// (OAuth 1.0a), as [`Action::RetrySlowly`], and then as [`Action::PauseAccount`]: X has had outages that looked so.
    RefreshToken,
    /// Wait for X's reset; costs no attempt.
    WaitForLimit,
    /// Nothing of this account will pass until a person has acted; its jobs wait.
    PauseAccount,
    /// Nothing of this developer app will pass until a person has acted; the jobs of all its accounts wait.
    PauseApp,
    /// This job can never go out as it is; others are not concerned.
    FailJob,
    /// Upload the job's media anew, once, then repeat.
    Reupload,
    /// Begin the upload of this file anew, a bounded number of times.
    NewSession,
    /// Begin the upload of this file anew with segments of half the size (their indexes shift).
    SmallerChunk,
    /// Repeat with the other encoding of the body (multipart or JSON), and tell the operator.
    SwitchEncoding,
    /// The post may exist: look before anything else.
    Reconcile,
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Verdict {
    /// Stable name in snake case: tables, metrics and scripts rely on it.
    pub code: &'static str,
    /// What to do.
    pub action: Action,
    /// What a person can do about it.
    pub hint: &'static str,
}

/// Which faults a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The request never left.
    NotSent,
    /// No trustworthy answer came.
    NoAnswer,
    /// An answer with a status from the first to the second, both included.
    Status(u16, u16),
    /// A 429 with the 24-hour window exhausted.
    DailyWindow,
}

/// What an answer must say for a row to hold: one of these is enough, and none at all means any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// X's problem (last segment of `type`) or its `reason`, in full.
    pub problems: &'static [&'static str],
    /// Parts of X's title, detail or reason, in lower case.
    pub words: &'static [&'static str],
    /// Codes of the v1.1 shape.
    pub codes: &'static [i64],
}

impl Signal {
    /// Whether any answer will do.
    pub const fn is_any(&self) -> bool {
        self.problems.is_empty() && self.words.is_empty() && self.codes.is_empty()
    }

    fn is_in(&self, answer: &Answer, said: &str) -> bool {
        self.is_any()
            || self
                .problems
                .iter()
                .any(|problem| answer.problem == *problem || answer.reason == *problem)
            || self.codes.iter().any(|code| answer.codes.contains(code))
            || self.words.iter().any(|word| said.contains(word))
    }
}

/// One row of the table: if the step and all of the conditions hold, this is the verdict. The first such row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The steps it is about.
    pub steps: &'static [Step],
    /// The faults it is about.
    pub when: When,
    /// What X must have said.
    pub signal: Signal,
    /// What it means.
    pub verdict: Verdict,
}

impl Row {
    fn holds(&self, step: Step, fault: &CallFault, said: &str) -> bool {
        if !self.steps.contains(&step) {
            return false;
        }
        match (self.when, fault) {
            (When::NotSent, CallFault::NotSent { .. })
            | (When::NoAnswer, CallFault::NoAnswer { .. }) => true,
            (When::Status(from, to), CallFault::Refused(answer)) => {
                (from..=to).contains(&answer.status) && self.signal.is_in(answer, said)
            }
            (When::DailyWindow, CallFault::Refused(answer)) => {
                let is_spent =
                    |window: &Window| window.length == WindowLength::Day && window.is_exhausted();
                answer.status == 429 && answer.windows.iter().any(is_spent)
            }
            (_, CallFault::NotSent { .. } | CallFault::NoAnswer { .. } | CallFault::Refused(_)) => {
                false
            }
        }
    }
}

/// The whole table, in the order in which it is read; the docs are made from it.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    table::GROUPS.into_iter().flatten()
}

/// What the fault means for a job in that step.
pub fn judge(step: Step, fault: &CallFault) -> Verdict {
    first_row(step, fault).map_or(table::UNFORESEEN, |(_, row)| row.verdict)
}

/// Place in [`rows`] of the row that counts, for tests and tables; none for what no row foresees.
pub fn row_of(step: Step, fault: &CallFault) -> Option<usize> {
    first_row(step, fault).map(|(place, _)| place)
}

/// The row that counts, and its place.
fn first_row(step: Step, fault: &CallFault) -> Option<(usize, &'static Row)> {
    let said = match fault {
        CallFault::Refused(answer) => {
            format!("{}\n{}\n{}", answer.title, answer.detail, answer.reason).to_lowercase()
        }
        CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => String::new(),
    };
    rows()
        .enumerate()
        .find(|(_, row)| row.holds(step, fault, &said))
}

#[cfg(test)]
mod tests;
