//! docs/X.md: each endpoint, field, limit and answer of X with the test that covers it.
//!
//! The fields are listed in `crates/crier-core/tests/x_fields.txt`, the endpoints and the answers in `crier_core`.

use std::collections::BTreeSet;

use crier_core::answer::Endpoint;
use crier_core::verdict::{Row, Step, When, rows};

use super::invariants::test_names;
use super::{assert_none, read, root, rust_files};

const EVERY_STEP: &str = "`e2e::every_answer_in_every_step_has_the_effect_that_its_row_says`";
const NEVER_LEFT: &str = "`e2e::a_request_that_cannot_leave_is_repeated_in_every_step`";

/// Cells of the table rows below a heading, without heads and rulers.
fn rows_of<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            inside = name == heading;
        }
        if inside && line.starts_with("| ") {
            found.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
    }
    // The head.
    found.into_iter().skip(1).collect()
}

/// The headings of the page that hold tables.
const HEADINGS: [&str; 6] = [
    "Endpoints",
    "Fields",
    "Rules between fields",
    "Limits and money",
    "Shapes of answers",
    "Answers",
];

/// Rows whose last cell names no test, or one that is nowhere.
fn untested(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    for heading in HEADINGS {
        let rows = rows_of(page, heading);
        if rows.is_empty() {
            breaches.push(format!("there is no table below `{heading}`"));
        }
        for row in rows {
            let last = row.last().copied().unwrap_or_default();
            let named: Vec<&str> = last
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|span| span.contains("::"))
                .collect();
            if named.is_empty() {
                breaches.push(format!(
                    "{heading}: {} names no test",
                    row[..row.len() - 1].join(" ")
                ));
            }
            for test in named {
                let name = test.rsplit("::").next().unwrap_or(test);
                if !tests.contains(name) {
                    breaches.push(format!("{heading}: no test is called `{name}`"));
                }
            }
        }
    }
    breaches
}

/// Lines of the list that have no row, and rows that are not in the list.
fn unlisted(page: &str, fields: &str) -> Vec<String> {
    let wanted: BTreeSet<String> = fields
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            match cells[..] {
                [endpoint, field, word] => format!("`{endpoint}` `{field}` = `{word}`"),
                _ => format!(
                    "`{}` `{}`",
                    cells[0],
                    cells.get(1).copied().unwrap_or_default()
                ),
            }
        })
        .collect();
    let there: BTreeSet<String> = rows_of(page, "Fields")
        .into_iter()
        .map(|row| row[..2].join(" "))
        .collect();
    let missing = wanted
        .difference(&there)
        .map(|line| format!("no row for {line}"));
    let strange = there
        .difference(&wanted)
        .map(|line| format!("not of X's specification: {line}"));
    missing.chain(strange).collect()
}

/// The table of verdicts as Markdown.
fn answers<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut page = String::from(
        "| step | X answers | and says | code | crier | test |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let steps = if row.steps.len() == Step::ALL.len() {
            "every".to_owned()
        } else {
            row.steps
                .iter()
                .map(|step| step.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let when = match row.when {
            When::NotSent => "nothing: the request never left".to_owned(),
            When::NoAnswer => "nothing that can be trusted".to_owned(),
            When::DailyWindow => "429, a 24 h window used up".to_owned(),
            When::Status(0, u16::MAX) => "any other status".to_owned(),
            When::Status(from, to) if from == to => from.to_string(),
            When::Status(from, to) => format!("{from} to {to}"),
        };
        let codes: Vec<String> = row.signal.codes.iter().map(i64::to_string).collect();
        let said: Vec<String> = [
            ("type or reason", row.signal.problems.join("`, `")),
            ("words", row.signal.words.join("`, `")),
            ("code", codes.join("`, `")),
        ]
        .into_iter()
        .filter(|(_, what)| !what.is_empty())
        .map(|(kind, what)| format!("{kind} `{what}`"))
        .collect();
        let does = serde_json::to_value(row.verdict.action).unwrap_or_default();
        let test = if row.when == When::NotSent {
            NEVER_LEFT
        } else {
            EVERY_STEP
        };
        let line = format!(
            "| {steps} | {when} | {} | `{}` | {} | {test} |\n",
            said.join("; "),
            row.verdict.code,
            does.as_str().unwrap_or_default().replace('_', " "),
        );
        page.push_str(&line);
    }
    page
}

fn page() -> String {
    read(&root().join("docs/X.md"))
}

#[test]
fn every_row_of_the_page_of_x_names_a_test_that_exists() {
    let tests = rust_files()
        .iter()
        .flat_map(|(_, text)| test_names(text))
        .collect();
    assert_none(&untested(&page(), &tests));
}

#[test]
fn every_feature_of_the_readme_names_a_test_that_exists() {
    let tests: BTreeSet<String> = rust_files()
        .iter()
        .flat_map(|(_, text)| test_names(text))
        .collect();
    let readme = read(&root().join("README.md"));
    let rows = rows_of(&readme, "X, feature by feature");
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let named: Vec<&str> = row[row.len() - 1].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row:?} names no test");
        for test in named {
            assert!(tests.contains(test), "no test is called `{test}`");
        }
    }
}

#[test]
fn every_field_and_endpoint_of_x_has_a_row() {
    let fields = read(&root().join("crates/crier-core/tests/x_fields.txt"));
    assert_none(&unlisted(&page(), &fields));
    let page = page();
    let there: BTreeSet<&str> = rows_of(&page, "Endpoints")
        .into_iter()
        .map(|row| row[0].trim_matches('`'))
        .collect();
    let missing: Vec<String> = Endpoint::ALL
        .iter()
        .filter(|endpoint| !there.contains(endpoint.label()))
        .map(|endpoint| format!("no row for the endpoint {}", endpoint.label()))
        .collect();
    assert_none(&missing);
}

#[test]
fn the_answers_on_the_page_are_those_of_the_table() {
    let wanted = answers(rows());
    let page = page();
    let there = page.split_once("## Answers\n").map(|(_, rest)| rest);
    let there = there
        .and_then(|rest| rest.find("| step |").map(|at| &rest[at..]))
        .unwrap_or_default();
    assert!(
        there == wanted,
        "docs/X.md must end with these lines:\n{wanted}"
    );
}

#[test]
fn the_rules_of_the_page_see_breaches() {
    let tests = BTreeSet::from(["there".to_owned()]);
    let page = |last: &str| {
        HEADINGS
            .map(|heading| {
                format!("## {heading}\n\n| a | b | test |\n|---|---|---|\n| `x` | `y` | {last} |\n")
            })
            .concat()
    };
    assert_none(&untested(&page("`crier-x::there`"), &tests));
    assert_eq!(
        untested(&page("`crier-x::gone`"), &tests).len(),
        HEADINGS.len()
    );
    assert_eq!(untested(&page("by care"), &tests).len(), HEADINGS.len());
    assert_eq!(untested("", &tests).len(), HEADINGS.len());
    assert_none(&unlisted(&page(""), "# of X\nx\ty\n"));
    assert_eq!(unlisted(&page(""), "x\ty\tz\n").len(), 2);
    let first = rows().take(1);
    assert!(answers(first).ends_with(&format!(
        "| every | nothing: the request never left |  | `not_sent` | retry | {NEVER_LEFT} |\n"
    )));
}
