//! Makes one log event one line that cannot act on a terminal.
//!
//! **Invariant:** what comes out holds no line break, no control character except tab, and nothing that reorders
//! text (Unicode UAX 9), so that a post or an answer of X can neither forge a line nor hide one. With colours on, those
//! few that the log itself uses pass wherever they stand: none of them moves the cursor or conceals anything.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How the escapes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As in Rust, for people: `\n`, `\u{9b}`.
    Text {
        /// Whether the log writes colours.
        ansi: bool,
    },
    /// As in JSON, which stays valid and means the same: `\u009b`.
    Json,
}

/// Reset, bold, dim, italic and the colours of the levels: all that tracing-subscriber's formatter writes.
const COLOURS: [&str; 9] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m",
    "\x1b[35m",
];

/// A text for people, of which only line breaks and tabs act: whatever a row or an answer of X holds, it neither steers
/// the terminal that shows it nor hides a part of it.
pub fn still(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|one| acts(one) && one != '\n') {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| escape(line, Form::Text { ansi: false }))
        .collect();
    Cow::Owned(lines.join("\n"))
}

/// A JSON value as it stands on one line, which stays the same value.
pub fn still_json(line: &str) -> Cow<'_, str> {
    escape(line, Form::Json)
}

/// The line with everything escaped that could act; the very line when it holds nothing of the kind.
pub(crate) fn escape(line: &str, form: Form) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut kept = 0;
    for (at, one) in line.char_indices().filter(|(_, one)| acts(*one)) {
        let is_colour = || COLOURS.iter().any(|own| line[at..].starts_with(own));
        if form == (Form::Text { ansi: true }) && is_colour() {
            continue;
        }
        escaped.push_str(&line[kept..at]);
        kept = at + one.len_utf8();
        match (form, one) {
            (Form::Json, _) => write!(escaped, "\\u{:04x}", u32::from(one)),
            (Form::Text { .. }, _) => write!(escaped, "{}", one.escape_default()),
        }
        .expect("writing to a string cannot fail");
    }
    if kept == 0 {
        return Cow::Borrowed(line);
    }
    escaped.push_str(&line[kept..]);
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separator, embeddings, overrides and isolates of direction.
fn acts(one: char) -> bool {
    (one.is_control() && one != '\t')
        || matches!(one, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Form = Form::Text { ansi: false };
    const COLOURED: Form = Form::Text { ansi: true };

    #[test]
    fn what_acts_is_written_out() {
        let line = "a\nb\r\u{1b}[1mc\u{7f}\u{9b}\u{202e}\u{2069}é🎉";
        assert_eq!(
            escape(line, PLAIN),
            r"a\nb\r\u{1b}[1mc\u{7f}\u{9b}\u{202e}\u{2069}é🎉"
        );
        assert_eq!(
            escape(line, Form::Json),
            r"a\u000ab\u000d\u001b[1mc\u007f\u009b\u202e\u2069é🎉"
        );
    }

    #[test]
    fn no_sequence_but_the_logs_own_colours_passes() {
        let line = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[31mred\u{1b}[0m";
        assert!(matches!(escape(line, COLOURED), Cow::Borrowed(same) if same == line));
        for steers in [
            "\u{1b}[2J",
            "\u{1b}[8m",
            "\u{1b}[30;40m",
            "\u{1b}]0;title\u{7}",
            "\u{1b}[1",
            "\u{1b}",
        ] {
            assert!(!escape(steers, COLOURED).contains('\u{1b}'), "{steers:?}");
        }
    }

    #[test]
    fn lines_of_a_text_stay_lines() {
        assert_eq!(still("a\tb\nc\u{1b}[2J\r\n"), "a\tb\nc\\u{1b}[2J\\r\n");
        assert!(matches!(still("a\nb"), Cow::Borrowed(_)));
        assert_eq!(
            still_json("{\"text\":\"a\u{9b}31m\u{202e}\"}"),
            r#"{"text":"a\u009b31m\u202e"}"#
        );
    }

    #[test]
    fn ordinary_lines_are_not_copied() {
        for line in ["", "job 7\tpublished", "Grüße 🎉 \u{200f}שלום"] {
            for form in [PLAIN, COLOURED, Form::Json] {
                assert!(matches!(escape(line, form), Cow::Borrowed(same) if same == line));
            }
        }
    }
}
