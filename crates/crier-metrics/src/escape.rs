//! Makes one log event one line that cannot act on a terminal.
//!
//! **Invariant:** what comes out holds no line break, no control character except tab, and nothing that reorders
//! text (Unicode UAX 9), so that a post or an answer of X can neither forge a line nor hide one. The colours that the
//! log itself writes pass; tracing-subscriber has made those of values harmless before.

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

/// The line with everything escaped that could act; the very line when it holds nothing of the kind.
pub(crate) fn escape(line: &str, form: Form) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut kept = 0;
    for (at, one) in line.char_indices().filter(|(_, one)| acts(*one)) {
        if form == (Form::Text { ansi: true }) && colour(&line.as_bytes()[at..]) > 0 {
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

/// Length of the colour sequence (ECMA-48 SGR) at the start, 0 when there is none.
pub(crate) fn colour(text: &[u8]) -> usize {
    let Some(codes) = text.strip_prefix(b"\x1b[") else {
        return 0;
    };
    let len = codes
        .iter()
        .position(|byte| !(byte.is_ascii_digit() || *byte == b';'))
        .unwrap_or(codes.len());
    if codes.get(len) == Some(&b'm') {
        len + 3
    } else {
        0
    }
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
    fn only_the_logs_own_colours_pass() {
        let line = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m";
        assert!(matches!(escape(line, COLOURED), Cow::Borrowed(same) if same == line));
        for steers in ["\u{1b}[2J", "\u{1b}]0;title\u{7}", "\u{1b}[1", "\u{1b}"] {
            assert!(!escape(steers, COLOURED).contains('\u{1b}'), "{steers:?}");
        }
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
