//! Webhooks: what is told, in which form, and how often a delivery is tried.
//!
//! **Invariant:** the body of a delivery is the same at every try, so that a receiver may tell repetitions by the id alone, and a
//! signature covers what it reads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::retry::backoff;

/// Every event, by its word. The check of `crier.webhooks.events` has the same.
pub const EVENTS: [&str; 5] = [
    "published",
    "failed",
    "missed",
    "unknown",
    "account_needs_login",
];

/// Tries of one delivery before it is dead: with the waits between them about a day.
pub const MOST_TRIES: u32 = 16;
/// Ceiling of the wait after the first try, and of all waits. The Standard Webhooks specification asks for waits that grow over
/// days, with jitter.
const BASE: Duration = Duration::from_secs(10);
const CAP: Duration = Duration::from_hours(6);
/// No wait is shorter: a receiver that fails at once is not asked again at once.
const LEAST: Duration = Duration::from_secs(2);

/// Characters of a post's text in a message for people.
const MOST_TEXT: usize = 120;

/// What the body looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `{"id", "type", "timestamp", "data"}`, for programs.
    #[default]
    Json,
    /// `{"text"}`, as Slack and what is compatible with it show it.
    Slack,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Json, Self::Slack];

    /// The word of the column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }

    /// The form of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == word)
    }
}

/// The body of a delivery. `at` is the time of the event, RFC 3339; `data` as the outbox holds it.
pub fn body(form: Form, id: &str, event: &str, at: &str, data: &Value) -> String {
    match form {
        Form::Json => json!({"id": id, "type": event, "timestamp": at, "data": data}).to_string(),
        Form::Slack => json!({"text": message(event, data)}).to_string(),
    }
}

/// When a delivery is tried again after so many tries, or none: it is dead. Half of a wait is jitter.
pub fn next_try(tries: u32, unit_random: f64) -> Option<Duration> {
    let half = |unit: f64| backoff(tries, BASE, CAP, unit) / 2;
    (tries < MOST_TRIES).then(|| (half(1.0) + half(unit_random)).max(LEAST))
}

/// One line or two for people, with what to do.
fn message(event: &str, data: &Value) -> String {
    let of = |pointer: &str| escape(data.pointer(pointer).and_then(Value::as_str).unwrap_or(""));
    if event == "account_needs_login" {
        let handle = of("/account/handle");
        let said = of("/account/reason/title");
        return format!(
            ":key: *@{handle}* needs a login{}{said}\n`crier auth login --account {handle}`; its posts wait",
            if said.is_empty() { "" } else { ": " }
        );
    }
    let id = data.pointer("/job/id").and_then(Value::as_i64).unwrap_or(0);
    let account = of("/job/account");
    let text: String = data
        .pointer("/job/text")
        .and_then(Value::as_str)
        .unwrap_or("")
        .chars()
        .take(MOST_TEXT)
        .collect();
    let text = escape(&text.replace('\n', " "));
    let (sign, what) = match event {
        "published" => (":white_check_mark:", "is published"),
        "failed" => (":x:", "has failed"),
        "missed" => (":hourglass:", "was missed: it came too late"),
        "unknown" => (":grey_question:", "is perhaps on X, and is looked up"),
        other => (":information_source:", other),
    };
    let mut lines = format!("{sign} Job {id} of *@{account}* {what}");
    let url = of("/job/post_url");
    if !url.is_empty() {
        lines.push_str(": ");
        lines.push_str(&url);
    }
    if !text.is_empty() {
        lines.push_str("\n> ");
        lines.push_str(&text);
    }
    let told = [of("/job/error/title"), of("/job/error/detail")];
    let told = told.iter().filter(|said| !said.is_empty()).cloned();
    let told = told.collect::<Vec<_>>().join(": ");
    if !told.is_empty() {
        lines.push('\n');
        lines.push_str(&told);
    }
    let hint = of("/job/error/hint");
    if !hint.is_empty() {
        lines.push_str("\n_");
        lines.push_str(&hint);
        lines.push('_');
    }
    lines
}

/// Slack reads these three characters as markup, and nothing else of the kind may come from a text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_at_every_try_and_holds_the_id() {
        let data = json!({"job": {"id": 7, "account": "acme", "state": "published"}});
        let first = body(Form::Json, "a", "published", "2026-01-01T00:00:00Z", &data);
        assert_eq!(
            first,
            body(Form::Json, "a", "published", "2026-01-01T00:00:00Z", &data)
        );
        let read: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(
            (&read["id"], &read["type"]),
            (&json!("a"), &json!("published"))
        );
        assert_eq!(read["data"]["job"]["id"], 7);
    }

    #[test]
    fn people_read_what_happened_why_and_what_to_do() {
        let data = json!({"job": {"id": 12, "account": "acme", "text": "We <are> live & well\nhere",
            "error": {"code": "text_too_long", "title": "the text is too long for X", "detail": "", "hint": "shorten it"}}});
        let said: Value =
            serde_json::from_str(&body(Form::Slack, "a", "failed", "", &data)).unwrap();
        assert_eq!(
            said["text"],
            ":x: Job 12 of *@acme* has failed\n> We &lt;are&gt; live &amp; well here\nthe text is too long for X\n_shorten it_"
        );
        let data = json!({"account": {"handle": "acme", "reason": {"title": "X ended the grant"}}});
        let said: Value =
            serde_json::from_str(&body(Form::Slack, "a", "account_needs_login", "", &data))
                .unwrap();
        assert_eq!(
            said["text"],
            ":key: *@acme* needs a login: X ended the grant\n`crier auth login --account acme`; its posts wait"
        );
    }

    #[test]
    fn the_waits_grow_over_days_and_end() {
        let most: Vec<_> = (1..MOST_TRIES)
            .map(|tries| next_try(tries, 1.0).unwrap())
            .collect();
        assert!(most.windows(2).all(|pair| pair[0] <= pair[1]), "{most:?}");
        let whole: Duration = most.iter().sum();
        assert!(
            whole > Duration::from_hours(24) && whole < Duration::from_hours(48),
            "{whole:?}"
        );
        assert_eq!(next_try(MOST_TRIES, 0.5), None);
        assert!(next_try(1, 0.0).unwrap() >= LEAST);
    }
}
