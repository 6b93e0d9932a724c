//! How a command ends: the exit code, and what stderr says.
//!
//! **Invariant:** 0 done, 1 the user's input or a refusal, 2 the command line (clap), 3 unexpected; each cause is said
//! once, secrets in it masked, and what to do about it comes last, as `hint:`.

use std::process::ExitCode;

use crier_metrics::{redact, still};
use crier_store::{KeyError, StoreError};

/// The user's input, or a refusal: something a person can mend.
const REFUSED: u8 = 1;
/// Everything else: no database, a broken network, a mistake of ours.
const UNEXPECTED: u8 = 3;

/// A failure that the user can mend.
#[derive(Debug)]
pub(crate) struct Refusal {
    message: String,
    hint: Option<String>,
    source: Option<anyhow::Error>,
}

impl Refusal {
    /// What is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As the result of a command.
    pub(crate) fn fail<T>(self) -> anyhow::Result<T> {
        Err(self.into())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(AsRef::as_ref)
    }
}

/// A failure of the network or of X, which is nobody's input.
#[derive(Debug)]
pub(crate) struct Outage {
    /// What is wrong.
    pub(crate) words: String,
    /// What to do about it.
    pub(crate) hint: String,
}

impl std::fmt::Display for Outage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Outage {}

/// Marks an error as one that the user can mend.
pub(crate) trait Refuse<T> {
    /// With these words above its own.
    fn refused(self, message: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Refuse<T> for Result<T, E> {
    fn refused(self, message: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| {
            Refusal {
                message: message.into(),
                hint: None,
                source: Some(error.into()),
            }
            .into()
        })
    }
}

/// What stderr says, line by line, and the code.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    code: u8,
    causes: Vec<String>,
    hints: Vec<String>,
}

fn judge(error: &anyhow::Error) -> Verdict {
    let mut verdict = Verdict {
        code: UNEXPECTED,
        causes: Vec::new(),
        hints: Vec::new(),
    };
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            verdict.code = REFUSED;
            verdict.hints.extend(refusal.hint.clone());
        }
        if let Some(outage) = cause.downcast_ref::<Outage>() {
            verdict.hints.push(outage.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            judge_store(error, &mut verdict);
            if let Some((words, _)) = error.database_words() {
                verdict.causes.push(words);
                break;
            }
        }
        let words = cause.to_string();
        // Libraries often repeat their cause in their own words.
        if !verdict.causes.iter().any(|said| said.contains(&words)) {
            verdict.causes.push(words);
        }
    }
    verdict
}

fn judge_store(error: &StoreError, verdict: &mut Verdict) {
    let state = error.sqlstate().unwrap_or_default();
    let mut hint = |text: &str| verdict.hints.push(text.to_owned());
    match error {
        StoreError::Url => {
            verdict.code = REFUSED;
            hint("set DATABASE_URL, such as postgres://crier:password@127.0.0.1:5432/crier");
        }
        StoreError::Connect(_) => {
            hint(error.advice().unwrap_or(
                "is the server running, and are host, port, user, password and database of DATABASE_URL right?",
            ));
        }
        StoreError::NoKey => {
            verdict.code = REFUSED;
            hint(
                "`crier keys new` makes a key; keep it, since tokens sealed with it open with no other",
            );
        }
        StoreError::Key(_) => {
            verdict.code = REFUSED;
            hint(
                "`crier keys new` makes one; keep it, since tokens sealed with it open with no other",
            );
        }
        StoreError::Sealed { error, .. } => {
            verdict.code = REFUSED;
            hint(match error {
                KeyError::OtherKey { .. } => {
                    "give that key as `secrets.key`, or among `secrets.other_keys`; or log in again: `crier auth login`"
                }
                KeyError::Damaged | KeyError::Form => {
                    "it was altered, or belongs to something else: put the row back, or log in again: `crier auth login`"
                }
            });
        }
        StoreError::Database(_) => {
            if let Some((_, Some(words))) = error.database_words() {
                verdict.hints.push(words);
            }
            let mut hint = |text: &str| verdict.hints.push(text.to_owned());
            // SQLSTATE (PostgreSQL, appendix A): 22 bad value, 23 a rule, 42501 rights, 3F000 and 42P01 no such table.
            match state.as_str() {
                "3F000" | "42P01" | "42883" => {
                    verdict.code = REFUSED;
                    hint("the database has no schema for this program: run `crier migrate`");
                }
                "42501" => {
                    verdict.code = REFUSED;
                    hint("this user of the database may not do that: see DATABASE_URL");
                }
                "57014" => {
                    hint("it took too long: narrow it down with --campaign, --account or --state");
                }
                state if state.starts_with("22") || state.starts_with("23") => {
                    verdict.code = REFUSED;
                }
                _ => {
                    if let Some(advice) = error.advice() {
                        hint(advice);
                    }
                }
            }
        }
        StoreError::Refused(_) => verdict.code = REFUSED,
        StoreError::PostTaken { .. } => {
            verdict.code = REFUSED;
            hint("one post belongs to one job: `crier jobs list` shows whose it is");
        }
        StoreError::Migrate(_)
        | StoreError::LeaseLost { .. }
        | StoreError::JobChanged { .. }
        | StoreError::Inconsistent { .. }
        | _ => {}
    }
}

/// What went wrong and what to do about it, each in one text.
pub(crate) fn told(error: &anyhow::Error) -> (String, String) {
    let verdict = judge(error);
    let text = |lines: &[String], between: &str| redact(&lines.join(between)).into_owned();
    (text(&verdict.causes, ": "), text(&verdict.hints, "; "))
}

/// Says what went wrong on stderr; answers the exit code.
#[expect(
    clippy::print_stderr,
    reason = "errors of the command line go to stderr"
)]
pub(crate) fn complain(error: &anyhow::Error) -> ExitCode {
    let verdict = judge(error);
    for (index, cause) in verdict.causes.iter().enumerate() {
        let label = if index == 0 { "error" } else { "  caused by" };
        eprintln!("{label}: {}", redact(&still(cause)));
    }
    for hint in &verdict.hints {
        eprintln!("hint: {}", redact(&still(hint)));
    }
    ExitCode::from(verdict.code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn what_a_person_can_mend_is_1_and_the_rest_3() {
        let refused = Refusal::new("there is no job 7").hint("`crier jobs list`");
        let verdict = judge(&refused.into());
        assert_eq!(verdict.code, 1);
        assert_eq!(verdict.causes, ["there is no job 7"]);
        assert_eq!(verdict.hints, ["`crier jobs list`"]);
        assert_eq!(judge(&anyhow::anyhow!("the disk is full")).code, 3);
        let key = judge(&anyhow::Error::from(StoreError::NoKey).context("cannot import"));
        assert_eq!((key.code, key.causes.len(), key.hints.len()), (1, 2, 1));
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner: Result<(), _> = Err(std::io::Error::other("connection refused"));
        let error = inner
            .context("cannot connect: connection refused")
            .unwrap_err();
        assert_eq!(judge(&error).causes, ["cannot connect: connection refused"]);
        let inner: Result<(), _> = Err(std::io::Error::other("no such file"));
        let error = inner.refused("cannot read `a.yaml`").unwrap_err();
        assert_eq!(
            judge(&error).causes,
            ["cannot read `a.yaml`", "no such file"]
        );
    }
}
