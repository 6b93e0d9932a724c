//! What a file must and must not hold: a purpose, a bounded length, nothing unfinished, no path of one machine.

use std::fs;

use super::{assert_none, files, root, rust_files};

/// More lines than this is more than one idea.
const MAX_LINES: usize = 600;

/// Faults of one Rust file; `path` is relative to the workspace.
fn breaches_of_source(path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    if path.starts_with("crates/")
        && path.split('/').nth(2) == Some("src")
        && !text.starts_with("//!")
    {
        breaches.push(format!(
            "{path}: does not begin with `//!`, the module's purpose"
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        breaches.push(format!(
            "{path}: {lines} lines, at most {MAX_LINES}: one idea a file"
        ));
    }
    // In pieces, so that this file does not breach its own rule.
    for unfinished in [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
    ] {
        for (index, _) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(unfinished))
        {
            breaches.push(format!(
                "{path}:{}: `{unfinished}`: finished or not there",
                index + 1
            ));
        }
    }
    breaches
}

/// The folders that betray the machine of a checkout: its own and the one around it.
fn machine_paths(checkout: &str) -> Vec<String> {
    // Names that stand on every machine, and so in honest text, betray nothing.
    const EVERYWHERE: &[&str] = &[
        "", "/app", "/build", "/home", "/mnt", "/opt", "/root", "/src", "/srv", "/tmp", "/usr/src",
        "/var/lib", "/var/tmp",
    ];
    let around = checkout.rsplit_once('/').map_or("", |(around, _)| around);
    [checkout, around]
        .into_iter()
        .filter(|path| !EVERYWHERE.contains(path))
        .map(|path| format!("{path}/"))
        .collect()
}

fn breaches_of_machine_paths(path: &str, text: &str, forbidden: &[String]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for machine_path in forbidden {
            // `https://host/name/` holds `/name/`, but is no path of a machine.
            let begins_there = line.match_indices(machine_path.as_str()).any(|(at, _)| {
                !line[..at].ends_with(|before: char| {
                    before.is_alphanumeric() || "._-~*})/".contains(before)
                })
            });
            if begins_there {
                breaches.push(format!(
                    "{path}:{}: `{machine_path}` is a path of one machine",
                    index + 1
                ));
            }
        }
    }
    breaches
}

#[test]
fn sources_are_tidy() {
    let breaches: Vec<String> = rust_files()
        .iter()
        .flat_map(|(path, text)| breaches_of_source(path, text))
        .collect();
    assert_none(&breaches);
}

#[test]
fn no_file_names_this_machine() {
    let forbidden = machine_paths(&root().to_string_lossy());
    let breaches: Vec<String> = files()
        .iter()
        .filter_map(|path| Some((path, fs::read_to_string(root().join(path)).ok()?)))
        .flat_map(|(path, text)| breaches_of_machine_paths(path, &text, &forbidden))
        .collect();
    assert_none(&breaches);
}

#[test]
fn source_rule_sees_breaches() {
    let of = |path, text: &str| breaches_of_source(path, text).len();
    assert_eq!(of("crates/crier-x/src/a.rs", "//! Purpose.\n"), 0);
    assert_eq!(of("crates/crier-x/src/a.rs", "use std::fs;\n"), 1);
    assert_eq!(of("crates/crier-x/src/a/b.rs", "\n//! Late.\n"), 1);
    assert_eq!(of("crates/crier-x/tests/a.rs", "use std::fs;\n"), 0);
    let long = |lines| format!("//! Purpose.\n{}", "// one\n".repeat(lines - 1));
    assert_eq!(of("crates/crier-x/src/a.rs", &long(MAX_LINES)), 0);
    assert_eq!(of("crates/crier-x/src/a.rs", &long(MAX_LINES + 1)), 1);
    for unfinished in [
        concat!("todo", "!()"),
        concat!("unimplemented", "!()"),
        concat!("#[", "ignore]"),
    ] {
        assert_eq!(
            of("tests/a.rs", &format!("fn a() {{\n    {unfinished}\n}}\n")),
            1
        );
    }
}

#[test]
fn machine_path_rule_sees_breaches() {
    assert_eq!(machine_paths("/anvil/main"), ["/anvil/main/", "/anvil/"]);
    assert_eq!(
        machine_paths("/home/eve/src/crier"),
        ["/home/eve/src/crier/", "/home/eve/src/"]
    );
    assert_eq!(machine_paths("/tmp/crier"), ["/tmp/crier/"]);
    assert_eq!(machine_paths("/crier"), ["/crier/"]);
    let forbidden = machine_paths("/anvil/main");
    let of = |text| breaches_of_machine_paths("README.md", text, &forbidden);
    assert_eq!(
        of("one\nsee `/anvil/shared`\n"),
        ["README.md:2: `/anvil/` is a path of one machine"]
    );
    assert_eq!(
        of("file:///anvil/x").len(),
        0,
        "a third slash is part of the address"
    );
    assert_eq!(of("root=/anvil/main/target").len(), 2);
    assert_none(&of(
        "https://example.org/anvil/ and ./anvil/ and $HOME/anvil/ and /anvils",
    ));
}
