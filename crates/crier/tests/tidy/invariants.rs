//! Each invariant of docs/ARCHITECTURE.md names the tests that prove it, and they exist.

use std::collections::BTreeSet;

use super::{assert_none, read, root, rust_files};

/// Names of the functions under a test attribute (`#[test]`, `#[tokio::test]`, …).
pub(super) fn test_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut attribute = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") && (line.contains("test]") || line.contains("test(")) {
            attribute = true;
        }
        let function = line
            .split_once("fn ")
            .filter(|(before, _)| ["", "async ", "pub ", "pub async "].contains(before));
        if let Some((_, rest)) = function {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if attribute {
                names.insert(name);
            }
            attribute = false;
        }
    }
    names
}

/// Faults of the invariants table: a numbered row without a test, a test that is nowhere, or no table at all.
fn breaches_of_invariants(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut rows = 0;
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("invariant");
        }
        if !inside || !line.starts_with('|') {
            continue;
        }
        let number = line
            .split('|')
            .nth(1)
            .unwrap_or_default()
            .trim()
            .trim_end_matches('.');
        let numbered = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        rows += usize::from(numbered);
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
        };
        let named: Vec<&str> = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|span| span.contains("::") && span.split("::").all(is_word))
            .collect();
        if numbered && named.is_empty() {
            breaches.push(format!("invariant {number} names no test"));
        }
        for test in named {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !tests.contains(name) {
                breaches.push(format!(
                    "invariant {number}: no test is called `{name}` (`{test}`)"
                ));
            }
        }
    }
    if rows == 0 {
        breaches.push("there is no table of invariants with numbered rows".to_owned());
    }
    breaches
}

#[test]
fn invariants_name_tests_that_exist() {
    let page = root().join("docs/ARCHITECTURE.md");
    if page.exists() {
        let tests = rust_files()
            .iter()
            .flat_map(|(_, text)| test_names(text))
            .collect();
        assert_none(&breaches_of_invariants(&read(&page), &tests));
    }
}

#[test]
fn invariant_rule_sees_breaches() {
    let tests = test_names(
        "#[test]\nfn at_most_once() {}\n#[tokio::test]\n#[expect(x)]\nasync fn holds() {}\nfn helper() {}\n#[cfg(test)]\nfn no() {}\n",
    );
    assert_eq!(tests.iter().collect::<Vec<_>>(), ["at_most_once", "holds"]);
    let of = |rows: &str| {
        breaches_of_invariants(
            &format!(
                "# A\n## Invariants\n\n| # | what | test |\n|---|---|---|\n{rows}\n# B\n| 9 |\n"
            ),
            &tests,
        )
    };
    assert_none(&of(
        "| 1 | `State::Sent` once | `crier-worker::publish::at_most_once`, `x::holds` |",
    ));
    assert_eq!(
        of("| 1 | once | `publish::renamed` |"),
        ["invariant 1: no test is called `renamed` (`publish::renamed`)"]
    );
    assert_eq!(
        of("| 1. | once | `publish::helper` |").len(),
        1,
        "a function without the attribute is no test"
    );
    assert_eq!(of("| 2 | once | by care |"), ["invariant 2 names no test"]);
    assert_eq!(
        of(""),
        ["there is no table of invariants with numbered rows"]
    );
    assert_eq!(breaches_of_invariants("no table", &tests).len(), 1);
}
