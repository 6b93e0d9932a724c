//! What the browser shows once a person has decided.
//!
//! **Invariant:** the page holds words of ours and of X, escaped, and no token; it loads and runs nothing.

use super::callback::Stray;

/// A page of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// Whether all is done.
    pub(super) well: bool,
    title: String,
    lines: Vec<String>,
}

const CLOSE: &str = "You can close this window.";
const BACK: &str = "The terminal says more. You can close this window.";

impl Page {
    /// The account is connected. `notes` are what is lacking.
    pub(super) fn connected(handle: &str, notes: &[String]) -> Self {
        let first = if notes.is_empty() {
            "crier may publish for this account now."
        } else {
            "crier has a token of this account now, but:"
        };
        let mut lines = vec![first.to_owned()];
        lines.extend(notes.iter().map(|note| sentence(note)));
        lines.push(CLOSE.to_owned());
        Self {
            well: true,
            title: format!("@{handle} is connected"),
            lines,
        }
    }

    /// It did not go well.
    pub(super) fn failed(what: &str, hint: &str) -> Self {
        let lines = vec![sentence(what), sentence(hint), BACK.to_owned()];
        Self::wrong("The account is not connected", lines)
    }

    /// A login that ended before this page could be shown.
    pub(super) fn broken_off() -> Self {
        Self::failed("crier was stopped before it was done.", "")
    }

    /// The answer was brought before.
    pub(super) fn taken() -> Self {
        Self::wrong(
            "This answer is being looked at already",
            vec!["The other window or the terminal shows how it ends.".to_owned()],
        )
    }

    /// What was brought is no answer to this login.
    pub(super) fn stray(stray: Stray) -> Self {
        let line = match stray {
            Stray::Foreign => {
                "It belongs to another login. Open the address that the terminal shows now."
            }
            Stray::Empty => "X said neither yes nor no. Open the address that the terminal shows.",
        };
        Self::wrong("This is not the answer", vec![line.to_owned()])
    }

    fn wrong(title: &str, lines: Vec<String>) -> Self {
        Self {
            well: false,
            title: title.to_owned(),
            lines,
        }
    }

    pub(super) fn html(&self) -> String {
        let (mark, class) = if self.well {
            ("&#10003;", "well")
        } else {
            ("!", "wrong")
        };
        let mut lines = String::new();
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            lines.push_str("<p>");
            lines.push_str(&escape(line));
            lines.push_str("</p>\n");
        }
        format!(
            r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · crier</title>
<style>
:root {{ color-scheme: light dark; --ground: #f6f6f4; --card: #fff; --ink: #1c1c1a; --soft: #5f5f5a; --line: #dededa; --well: #1a7f4b; --wrong: #b3372b; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #161615; --card: #20201f; --ink: #ecece8; --soft: #a5a59f; --line: #363634; --well: #4fc486; --wrong: #f0806f; }}
}}
* {{ box-sizing: border-box; margin: 0; }}
body {{ min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }}
main {{ max-width: 32rem; width: 100%; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }}
header {{ display: flex; gap: .875rem; align-items: center; }}
.mark {{ flex: none; width: 2rem; height: 2rem; border-radius: 50%; display: grid; place-items: center; color: var(--card);
  font-weight: 700; }}
.well {{ background: var(--well); }}
.wrong {{ background: var(--wrong); }}
h1 {{ font-size: 1.25rem; line-height: 1.3; overflow-wrap: anywhere; }}
p {{ margin-top: .875rem; overflow-wrap: anywhere; }}
p:last-of-type {{ color: var(--soft); }}
</style>
</head>
<body>
<main>
<header><span class="mark {class}" aria-hidden="true">{mark}</span><h1>{title}</h1></header>
{lines}</main>
</body>
</html>
"#,
            title = escape(&self.title),
        )
    }
}

/// Words of the terminal as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let end = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_text_and_never_markup() {
        let html = Page::failed("<script>alert('x')</script>", "a & \"b\"").html();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{html}");
        assert!(html.contains("<p>A &amp; &quot;b&quot;.</p>"), "{html}");
        let html = Page::connected("<b>", &["no media".into()]).html();
        assert!(html.contains("@&lt;b&gt; is connected"), "{html}");
        assert!(
            html.contains("<p>No media.</p>\n<p>You can close this window.</p>"),
            "{html}"
        );
    }
}
