//! What goes to stdout: tables for people, JSON for programs; and notes to stderr.
//!
//! **Invariant:** stdout carries data only; a reader that stops early (`| head`) is no error. Nothing that a row, an answer
//! of X or a file holds acts on the terminal: control characters are written out.

use std::io::Write;

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Where data goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// JSON, one object a line.
    pub(crate) json: bool,
}

impl Screen {
    /// For this process.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// One line of data.
    pub(crate) fn line(self, text: &str) {
        self.raw(&crier_metrics::still(text));
    }

    #[expect(
        clippy::unused_self,
        reason = "only who was given the screen writes to it"
    )]
    fn raw(self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed pipe means that nobody reads on: there is nobody to tell.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// One JSON object.
    pub(crate) fn object(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.raw(&crier_metrics::still_json(&serde_json::to_string(value)?));
        Ok(())
    }

    /// Rows as JSON lines, or as a table of what `cells` makes of each; `none` says so when there are none.
    pub(crate) fn rows<T: Serialize>(
        self,
        rows: &[T],
        head: &[&str],
        none: &str,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| self.object(row));
        }
        if rows.is_empty() {
            note(none);
            return Ok(());
        }
        self.table(head, rows.iter().map(cells));
        Ok(())
    }

    /// A table with a heading.
    pub(crate) fn table(self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.set_header(head.iter().map(|word| word.to_uppercase()));
        table.add_rows(rows.map(stilled));
        self.draw(table);
    }

    /// Names and values, a pair a line.
    pub(crate) fn facts(self, facts: impl Iterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.add_rows(facts.map(stilled));
        self.draw(table);
    }

    fn draw(self, mut table: Table) {
        table.load_style(presets::NOTHING);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // Whoever reads a file or a pipe wants a row to be a line.
        match terminal_size::terminal_size_of(std::io::stdout()) {
            Some((width, _)) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width.0),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }
}

/// A note for people, on stderr.
#[expect(clippy::print_stderr, reason = "notes go to stderr")]
pub(crate) fn note(text: &str) {
    eprintln!("{}", crier_metrics::redact(&crier_metrics::still(text)));
}

/// Cells before they are laid out: what is written out takes its room.
fn stilled(cells: Vec<String>) -> impl Iterator<Item = String> {
    let cells = cells.into_iter();
    cells.map(|cell| crier_metrics::still(&cell).into_owned())
}

/// What a person is to do now, on stderr, word for word: an address that is to be opened is no secret.
#[expect(clippy::print_stderr, reason = "what a person is asked goes to stderr")]
pub(crate) fn ask(text: &str) {
    eprintln!("{}", crier_metrics::still(text));
}

/// An instant, to the second.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// An instant, or nothing.
pub(crate) fn maybe(at: Option<DateTime<Utc>>) -> String {
    at.map(instant).unwrap_or_default()
}

/// An instant of JSON as people read it; whatever else it is, as it stands.
pub(crate) fn told_instant(text: &str) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| text.to_owned(), |at| instant(at.to_utc()))
}

/// A number with its noun.
pub(crate) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// The first line of a text, cut to so many characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = line.chars().count() > most || text.lines().count() > 1;
    let mut short: String = line.chars().take(most).collect();
    if cut {
        short.push('…');
    }
    short
}

/// A span of seconds for people: `45 s`, `12 min`, `3 h`, `5 d`.
pub(crate) fn span(seconds: f64) -> String {
    let size = seconds.abs();
    let (divisor, unit) = if size < 90.0 {
        (1.0, "s")
    } else if size < 5_400.0 {
        (60.0, "min")
    } else if size < 129_600.0 {
        (3_600.0, "h")
    } else {
        (86_400.0, "d")
    };
    format!("{:.0} {unit}", seconds / divisor)
}

/// Code and words, in short, of a column `error` or `warning`.
pub(crate) fn reason(fault: Option<&serde_json::Value>) -> String {
    let Some(fault) = fault.filter(|fault| !fault.is_null()) else {
        return String::new();
    };
    let word = |key: &str| {
        fault
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    // The title says less: `Forbidden`.
    let words = match word("detail") {
        "" => word("title"),
        detail => detail,
    };
    // On one line, so that no other can be forged.
    let words = words.replace(['\n', '\r'], " ");
    match (word("code"), words.as_str()) {
        ("", words) => words.to_owned(),
        (code, "") => code.to_owned(),
        (code, words) => format!("{code}: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_texts_are_short() {
        assert_eq!(
            [0.4, 89.0, -90.0, 600.0, 7_199.0, 864_000.0].map(span),
            ["0 s", "89 s", "-2 min", "10 min", "2 h", "10 d"]
        );
        assert_eq!(short("one\ntwo", 10), "one…");
        assert_eq!(short("äöüß", 3), "äöü…");
        assert_eq!(short("äöü", 3), "äöü");
    }

    #[test]
    fn a_reason_is_code_and_particulars() {
        let mut fault = serde_json::json!({"code": "media_missing", "title": "a file is not there", "detail": "no `a.png`"});
        assert_eq!(reason(Some(&fault)), "media_missing: no `a.png`");
        fault["detail"] = "".into();
        assert_eq!(reason(Some(&fault)), "media_missing: a file is not there");
        assert_eq!(reason(Some(&serde_json::Value::Null)), "");
        let forged = serde_json::json!({"code": "c", "detail": "no\njob 7  acme  published"});
        assert_eq!(reason(Some(&forged)), "c: no job 7  acme  published");
    }
}
