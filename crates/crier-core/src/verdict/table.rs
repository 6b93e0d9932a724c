//! The table of verdicts, from X's documents and from what live clients met.
//!
//! **Invariant:** order is meaning. What concerns the fate of a create call comes first, then what X names, then what a
//! status alone says; the last rows leave no answer without a verdict.
//!
//! Sources: X's pages "Response codes and errors" (with the v1.1 codes it listed until 2025) and "Rate limits", the
//! problem types of its specification 2.167, and bodies met by published clients.

use super::{Action, Row, Signal, Step, Verdict, When};

mod call;
mod content;
mod standing;
mod status;
mod v1;

/// The rows in the order in which they are read.
pub(super) static GROUPS: [&[Row]; 5] = [
    call::ROWS,
    standing::ROWS,
    v1::ROWS,
    content::ROWS,
    status::ROWS,
];

const ANY: &[Step] = &Step::ALL;
const TOKEN: &[Step] = &[Step::Token];
const MEDIA: &[Step] = &[Step::Media];
const PUBLISH: &[Step] = &[Step::Publish];
const READ: &[Step] = &[Step::Read];
/// Steps whose refusal can be the job's own fault. A look-up that is refused says nothing about the job.
const JOB: &[Step] = &[Step::Media, Step::Publish];
/// Steps that can be repeated without harm.
const SAFE: &[Step] = &[Step::Token, Step::Media, Step::Read];
/// Steps that carry an access token.
const BEARER: &[Step] = &[Step::Media, Step::Publish, Step::Read];

const fn row(
    steps: &'static [Step],
    when: When,
    signal: Signal,
    means: (&'static str, Action, &'static str),
) -> Row {
    Row {
        steps,
        when,
        signal,
        verdict: Verdict {
            code: means.0,
            action: means.1,
            hint: means.2,
        },
    }
}

const fn says(words: &'static [&'static str]) -> Signal {
    Signal {
        problems: &[],
        words,
        codes: &[],
    }
}

const fn named(
    problems: &'static [&'static str],
    words: &'static [&'static str],
    codes: &'static [i64],
) -> Signal {
    Signal {
        problems,
        words,
        codes,
    }
}

const ALL: Signal = named(&[], &[], &[]);

/// What holds if no row does; the last rows of the table see to it that this never happens.
pub(super) const UNFORESEEN: Verdict = Verdict {
    code: "unexpected_answer",
    action: Action::Reconcile,
    hint: "look at the account before anything is sent again",
};

const LOOK: &str = "crier looks at the account's own posts before it sends anything again";
const WAITS: &str = "nothing to do: crier repeats the call by itself";
const LIMITED: &str = "nothing to do: crier waits until X's limit resets";
const LOGIN: &str =
    "authorise the account again with `crier auth login`; its jobs then go on by themselves";
const NETWORK: &str = "check the name lookup, the route and the firewall from this machine to X";
const BILLING: &str = "top up or raise the limit in X's developer console; crier notices within hours, `crier accounts resume` at once";
const PORTAL: &str = "mend the app in X's developer console; crier notices within hours, `crier accounts resume` at once";
const HUMAN: &str = "log in to the account at x.com and follow what X asks; crier notices within hours, `crier accounts resume` at once";
const EDIT: &str = "change the text or the options and insert the post again";
const FILE: &str = "check the file against X's rules for media and insert the post again";
const NOT_NOW: &str = "if it comes again, read X's words and look at the account at x.com";
