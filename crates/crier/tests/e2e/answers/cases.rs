//! One case a row and step: what X must say for exactly this row to hold, found from the row itself.

use crier_core::answer::{Answer, CallFault};
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_core::verdict::{Action, Row, Step, When, row_of, rows};
use serde_json::{Value, json};

/// The step, as the test takes it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// An expired token.
    Token,
    /// A job with a file.
    Media,
    /// A job.
    Publish,
    /// A job whose answer was lost.
    Read,
}

/// What X does to the call.
#[derive(Debug, Clone)]
enum Said {
    NotSent,
    NoAnswer,
    Answer {
        status: u16,
        headers: Value,
        body: Value,
    },
}

/// A row in one of its steps.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) number: usize,
    pub(super) way: Way,
    pub(super) code: &'static str,
    pub(super) action: Action,
    said: Said,
}

const CREATE: &str = "POST /2/tweets";

impl Case {
    pub(super) fn handle(&self) -> String {
        format!("case_{}", self.number)
    }

    pub(super) fn is_unsendable(&self) -> bool {
        matches!(self.said, Said::NotSent)
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self.said {
            Said::Answer { status, .. } => Some(status),
            Said::NotSent | Said::NoAnswer => None,
        }
    }

    /// The file of its job.
    pub(super) fn file(&self) -> Option<&'static str> {
        match (self.way, self.action) {
            (Way::Media, _) => Some("large.png"),
            (Way::Publish, Action::Reupload) => Some("small.png"),
            (Way::Token | Way::Publish | Way::Read, _) => None,
        }
    }

    /// The endpoint that is struck.
    pub(super) fn route(&self) -> &'static str {
        match (self.way, self.action) {
            (Way::Token, _) => "POST /2/oauth2/token",
            // What is about segments is said of one.
            (Way::Media, Action::SmallerChunk | Action::SwitchEncoding) => {
                "POST /2/media/upload/{id}/append"
            }
            (Way::Media, _) => "POST /2/media/upload/initialize",
            (Way::Publish, _) => CREATE,
            (Way::Read, _) => "GET /2/users/{id}/tweets",
        }
    }

    /// What the simulator is told: once where the next call must go through, else again and again.
    pub(super) fn faults(&self) -> Vec<Value> {
        let once = matches!(
            self.action,
            Action::Reupload | Action::SmallerChunk | Action::SwitchEncoding | Action::Reconcile
        );
        let mut fault = json!({"route": self.route(), "account": self.handle(), "times": if once { 1 } else { 1000 }});
        match &self.said {
            Said::NotSent => return Vec::new(),
            Said::NoAnswer => fault["kind"] = json!("request_lost"),
            Said::Answer {
                status,
                headers,
                body,
            } => {
                fault["kind"] = json!("answer");
                fault["status"] = json!(status);
                fault["headers"] = headers.clone();
                fault["body"] = body.clone();
            }
        }
        let mut faults = vec![fault];
        if self.way == Way::Read {
            faults.push(json!({"route": CREATE, "account": self.handle(), "kind": "answer_lost"}));
        }
        faults
    }
}

/// Every row in every one of its steps.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, row) in rows().enumerate() {
        for step in row.steps {
            let said = example(place, row, *step).unwrap_or_else(|| {
                panic!("row {place} has no example in the step {step:?}: {row:?}")
            });
            cases.push(Case {
                number: cases.len(),
                way: match step {
                    Step::Token => Way::Token,
                    Step::Media => Way::Media,
                    Step::Publish => Way::Publish,
                    Step::Read => Way::Read,
                },
                code: row.verdict.code,
                action: row.verdict.action,
                said,
            });
        }
    }
    cases
}

/// What X can say so that this row holds and none before it.
fn example(place: usize, row: &Row, step: Step) -> Option<Said> {
    match row.when {
        When::NotSent => Some(Said::NotSent),
        When::NoAnswer => Some(Said::NoAnswer),
        When::DailyWindow => {
            let resets_at = chrono::DateTime::from_timestamp(4_000_000_000, 0)?;
            let answer = Answer {
                windows: vec![Window {
                    class: LimitClass::Account,
                    length: WindowLength::Day,
                    limit: Some(17),
                    remaining: Some(0),
                    resets_at,
                }],
                ..plain(429)
            };
            let headers = json!({"x-user-limit-24hour-limit": "17", "x-user-limit-24hour-remaining": "0",
                "x-user-limit-24hour-reset": "4000000000"});
            holds(place, step, &answer).then(|| Said::Answer {
                status: 429,
                headers,
                body: body(step, &answer),
            })
        }
        When::Status(from, to) => {
            let known = [
                302, 400, 401, 403, 404, 409, 410, 413, 422, 429, 431, 500, 503, 520,
            ];
            let statuses = [from, to]
                .into_iter()
                .chain(known)
                .filter(|status| (from..=to).contains(status) && (300..600).contains(status));
            let answers = statuses.flat_map(|status| answers(row, status));
            let answer = answers
                .into_iter()
                .find(|answer| holds(place, step, answer))?;
            Some(Said::Answer {
                status: answer.status,
                headers: json!({}),
                body: body(step, &answer),
            })
        }
    }
}

fn holds(place: usize, step: Step, answer: &Answer) -> bool {
    row_of(step, &CallFault::Refused(answer.clone())) == Some(place)
}

fn plain(status: u16) -> Answer {
    Answer {
        status,
        title: "Title".into(),
        detail: "X says so.".into(),
        problem: "about:blank".into(),
        ..Answer::default()
    }
}

fn answers(row: &Row, status: u16) -> Vec<Answer> {
    let base = plain(status);
    if row.signal.is_any() {
        return vec![base];
    }
    let problems = row.signal.problems.iter().map(|problem| Answer {
        problem: (*problem).to_owned(),
        ..base.clone()
    });
    let words = row.signal.words.iter().map(|word| Answer {
        detail: format!("X says: {word}."),
        ..base.clone()
    });
    let codes = row.signal.codes.iter().map(|code| Answer {
        codes: vec![*code],
        ..base.clone()
    });
    problems.chain(words).chain(codes).collect()
}

/// The body that `crier-x` reads as this answer; each of X's shapes has its turn.
fn body(step: Step, answer: &Answer) -> Value {
    if step == Step::Token {
        let mut body = json!({"error": answer.title, "error_description": answer.detail});
        if !answer.codes.is_empty() {
            body["errors"] = json!([{"code": answer.codes[0], "message": answer.detail}]);
        }
        if answer.problem != "about:blank" {
            body["type"] = json!(format!(
                "https://api.twitter.com/2/problems/{}",
                answer.problem
            ));
        }
        return body;
    }
    if !answer.codes.is_empty() {
        return json!({"title": answer.title, "errors": [{"code": answer.codes[0], "message": answer.detail}]});
    }
    let kind = match answer.problem.as_str() {
        "about:blank" => "about:blank".to_owned(),
        problem => format!("https://api.x.com/2/problems/{problem}"),
    };
    json!({"title": answer.title, "detail": answer.detail, "type": kind, "status": answer.status})
}
