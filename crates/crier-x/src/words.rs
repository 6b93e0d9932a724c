//! X's words out of the body of an answer, whatever its shape: problem+json, `errors` lists, the codes of v1.1, the
//! token endpoint's `error`, HTML pages of the edge, plain text, nothing at all.
//!
//! **Invariant:** any bytes are read without failing, and what comes out is short, of one line, and free of the
//! secrets that the call had sent.

use serde_json::{Map, Value};

/// Longest detail, in characters.
const MAX_DETAIL: usize = 1000;
/// Longest title, problem or reason, in characters.
const MAX_NAME: usize = 200;
/// More codes than this say nothing more.
const MAX_CODES: usize = 16;
/// So much of a page that is not JSON is looked at, in characters.
const MAX_PAGE: usize = 16_384;
/// A shorter secret is no secret of X's, and striking it out would garble the text.
const MIN_SECRET: usize = 6;

/// What a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) problem: String,
    pub(crate) title: String,
    pub(crate) detail: String,
    pub(crate) codes: Vec<i64>,
    pub(crate) reason: String,
    pub(crate) period: String,
    pub(crate) scope: String,
}

/// Reads a body; `secrets` are struck out wherever they appear.
pub(crate) fn read(body: &[u8], secrets: &[String]) -> Words {
    let text = strike(&String::from_utf8_lossy(body), secrets);
    let mut found = Found::default();
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => found.absorb(&value),
        Err(_) => found.absorb_page(&text.chars().take(MAX_PAGE).collect::<String>()),
    }
    // Once more, since JSON may have spelt a secret with escapes.
    let short = |text: &str, max| one_line(&strike(text, secrets), max);
    Words {
        problem: short(last_segment(&found.problem), MAX_NAME),
        title: short(&found.title, MAX_NAME),
        detail: short(&found.messages.join("; "), MAX_DETAIL),
        codes: found.codes,
        reason: short(&found.reason, MAX_NAME),
        period: short(&found.period, MAX_NAME),
        scope: short(&found.scope, MAX_NAME),
    }
}

fn strike(text: &str, secrets: &[String]) -> String {
    let long = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET);
    long.fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "[redacted]")
    })
}

#[derive(Default)]
struct Found {
    problem: String,
    title: String,
    messages: Vec<String>,
    codes: Vec<i64>,
    reason: String,
    period: String,
    scope: String,
}

impl Found {
    fn absorb(&mut self, value: &Value) {
        match value {
            Value::Object(object) => self.absorb_object(object),
            Value::Array(items) => items.iter().for_each(|item| self.absorb_error(item)),
            Value::String(text) => self.message(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn absorb_object(&mut self, object: &Map<String, Value>) {
        self.absorb_members(object);
        match object.get("error") {
            Some(Value::String(error)) => fill(&mut self.title, error),
            Some(other) => self.absorb_error(other),
            None => {}
        }
        match object.get("errors") {
            Some(Value::Array(errors)) => errors.iter().for_each(|error| self.absorb_error(error)),
            Some(other) => self.absorb_error(other),
            None => {}
        }
    }

    fn absorb_error(&mut self, error: &Value) {
        match error {
            Value::Object(object) => self.absorb_members(object),
            Value::String(text) => self.message(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
        }
    }

    fn absorb_members(&mut self, object: &Map<String, Value>) {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        fill(&mut self.problem, text("type"));
        fill(&mut self.title, text("title"));
        fill(&mut self.reason, text("reason"));
        fill(&mut self.period, text("period"));
        fill(&mut self.scope, text("scope"));
        for name in ["detail", "error_description", "message"] {
            self.message(text(name));
        }
        if let Some(parameters) = object.get("parameters").and_then(Value::as_object) {
            for name in parameters.keys().take(4) {
                self.message(&format!("parameter `{name}`"));
            }
        }
        let code = object.get("code");
        let code =
            code.and_then(|code| code.as_i64().or_else(|| code.as_str()?.trim().parse().ok()));
        if let Some(code) =
            code.filter(|code| self.codes.len() < MAX_CODES && !self.codes.contains(code))
        {
            self.codes.push(code);
        }
    }

    fn absorb_page(&mut self, page: &str) {
        if page.trim_start().starts_with('<') {
            fill(&mut self.title, &page_title(page));
            self.message(&page_text(page));
        } else {
            self.message(page);
        }
    }

    /// Adds a message unless it says nothing new; X often repeats its detail in the list of errors.
    fn message(&mut self, text: &str) {
        let text = text.trim();
        let known = self.messages.iter().any(|message| message.contains(text));
        if !text.is_empty() && !known && self.messages.len() < MAX_CODES {
            self.messages.push(text.to_owned());
        }
    }
}

fn fill(slot: &mut String, text: &str) {
    if slot.is_empty() {
        text.trim().clone_into(slot);
    }
}

/// `https://api.twitter.com/2/problems/usage-capped` → `usage-capped`; `about:blank` stays.
fn last_segment(kind: &str) -> &str {
    let path = kind.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

/// At most `max` characters, white space and control characters (which no database text may hold) folded to spaces.
fn one_line(text: &str, max: usize) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut folded = String::new();
    for word in spaced.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    match folded.char_indices().nth(max) {
        Some((end, _)) => folded.get(..end).unwrap_or_default().trim_end().to_owned(),
        None => folded,
    }
}

fn page_title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = || {
        let open = lower.find("<title")?;
        let start = open + lower.get(open..)?.find('>')? + 1;
        let end = start + lower.get(start..)?.find('<')?;
        page.get(start..end)
    };
    title().unwrap_or_default().to_owned()
}

/// The text of a page without its tags, scripts and styles.
fn page_text(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        out.push_str(before);
        out.push(' ');
        let lower = tag.to_ascii_lowercase();
        let hidden = ["script", "style"]
            .into_iter()
            .find(|name| lower.starts_with(name));
        let skipped = match hidden {
            Some(name) => lower
                .find(&format!("</{name}"))
                .and_then(|end| tag.get(end + 1..))
                .unwrap_or_default(),
            None => tag,
        };
        rest = skipped.split_once('>').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(body: &str) -> Words {
        read(body.as_bytes(), &[])
    }

    #[test]
    fn problem_json() {
        let got = words(
            r#"{"title":"UsageCapExceeded","detail":"Usage cap exceeded: Monthly product cap",
                "type":"https://api.twitter.com/2/problems/usage-capped","period":"Monthly","scope":"Product","status":429}"#,
        );
        assert_eq!(
            (got.period.as_str(), got.scope.as_str()),
            ("Monthly", "Product")
        );
        assert_eq!(got.problem, "usage-capped");
        assert_eq!(got.title, "UsageCapExceeded");
        assert_eq!(got.detail, "Usage cap exceeded: Monthly product cap");
        let got = words(
            r#"{"title":"Forbidden","reason":"client-not-enrolled","type":"https://api.x.com/2/problems/client-forbidden/?x#y"}"#,
        );
        assert_eq!(
            (got.problem.as_str(), got.reason.as_str()),
            ("client-forbidden", "client-not-enrolled")
        );
        assert_eq!(words(r#"{"type":"about:blank"}"#).problem, "about:blank");
    }

    #[test]
    fn an_errors_list_beside_the_detail_is_not_lost() {
        let got = words(
            r#"{"errors":[{"parameters":{"media.media_ids":["1"]},"message":"Your media IDs are invalid."}],
                "title":"Invalid Request","detail":"One or more parameters to your request was invalid.",
                "type":"https://api.x.com/2/problems/invalid-request"}"#,
        );
        assert_eq!(got.title, "Invalid Request");
        assert_eq!(
            got.detail,
            "One or more parameters to your request was invalid.; Your media IDs are invalid.; parameter `media.media_ids`"
        );
    }

    #[test]
    fn codes_of_v1() {
        let got = words(
            r#"{"errors":[{"code":187,"message":"Status is a duplicate."},{"code":"88","message":"x"},{"code":187}]}"#,
        );
        assert_eq!(got.codes, [187, 88]);
        assert_eq!(got.detail, "Status is a duplicate.; x");
        assert_eq!(
            words(r#"{"code":131,"message":"Internal error"}"#).codes,
            [131]
        );
    }

    #[test]
    fn token_endpoint() {
        let got = words(
            r#"{"error":"invalid_request","error_description":"Value passed for the token was invalid."}"#,
        );
        assert_eq!(
            (got.title.as_str(), got.detail.as_str()),
            ("invalid_request", "Value passed for the token was invalid.")
        );
    }

    #[test]
    fn errors_as_a_string_an_object_or_a_list_of_strings() {
        assert_eq!(
            words(r#"{"errors":"media type unrecognized"}"#).detail,
            "media type unrecognized"
        );
        assert_eq!(words(r#"{"errors":{"message":"a","code":5}}"#).codes, [5]);
        assert_eq!(words(r#"{"errors":["a","b"]}"#).detail, "a; b");
        assert_eq!(words(r#"{"error":{"message":"deep"}}"#).detail, "deep");
        assert_eq!(words(r#""just text""#).detail, "just text");
    }

    #[test]
    fn a_page_of_the_edge() {
        let got = words(
            "<!DOCTYPE html><html><head><TITLE>api.x.com | 520: Web server is returning an unknown error</TITLE>\n\
             <style>b{}</style><script>var a = '<b>';</script></head><body><h1>Error 520</h1></body></html>",
        );
        assert_eq!(
            got.title,
            "api.x.com | 520: Web server is returning an unknown error"
        );
        assert_eq!(
            got.detail,
            "api.x.com | 520: Web server is returning an unknown error Error 520"
        );
    }

    #[test]
    fn nothing_and_plain_text() {
        assert_eq!(words(""), Words::default());
        assert_eq!(
            words(" upstream\r\n connect error\u{0} ").detail,
            "upstream connect error"
        );
        assert_eq!(words(r#"{"detail":"a\u0000b"}"#).detail, "a b");
    }

    #[test]
    fn a_secret_that_comes_back_is_struck_out() {
        let got = read(
            br#"{"detail":"bad token hunter22"}"#,
            &["hunter22".to_owned(), "a".to_owned(), String::new()],
        );
        assert_eq!(got.detail, "bad token [redacted]");
        let got = read(
            br#"{"detail":"bad hunter\/22","title":"\u0068unter\/22"}"#,
            &["hunter/22".to_owned()],
        );
        assert_eq!(
            (got.title.as_str(), got.detail.as_str()),
            ("[redacted]", "bad [redacted]")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let got = read(&body, &[]);
            prop_assert!(got.detail.chars().count() <= MAX_DETAIL);
        }

        #[test]
        fn any_page_is_read(page in "(<|>|/|script|style|title|</script>|<title>|é|\u{0}| ){0,60}") {
            let got = words(&format!("<{page}"));
            prop_assert!(!got.detail.chars().any(char::is_control));
        }

        #[test]
        fn any_text_is_cut_and_of_one_line(text in "[\\PC\u{0}\n]{0,1500}", key in "detail|message|title|reason|type|error|errors") {
            let got = read(serde_json::json!({ key: text }).to_string().as_bytes(), &[]);
            for (part, max) in [(&got.detail, MAX_DETAIL), (&got.title, MAX_NAME), (&got.problem, MAX_NAME), (&got.reason, MAX_NAME)] {
                prop_assert!(part.chars().count() <= max);
                prop_assert!(!part.chars().any(char::is_control));
            }
        }
    }
}
