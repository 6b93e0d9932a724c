//! The workspace's own rules: who may depend on whom, and what no source file may hold.
//!
//! Each rule is a pure function from a small value (a dependency graph, a file's text) to the list of its breaches, and
//! each has a test that shows it a breach: a rule that cannot fail proves nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "tidy/choke.rs"]
mod choke;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/invariants.rs"]
mod invariants;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/x.rs"]
mod x;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|error| unreachable!("`{}` cannot be read: {error}", path.display()))
}

/// The tracked files, and those not tracked yet but not ignored either; paths relative to the workspace.
///
/// Without git, as in an unpacked archive: every file outside of what builds and runs leave behind.
fn files() -> Vec<String> {
    let git = Command::new("git")
        // The tests may run as another user than the one who owns the checkout.
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output();
    if let Ok(output) = git.as_ref()
        && output.status.success()
    {
        let names = String::from_utf8_lossy(&output.stdout);
        let present = names.split('\0').filter(|name| root().join(name).is_file());
        return present.map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the checkout can be read") {
            let path = entry.expect("the checkout can be read").path();
            let name = path
                .strip_prefix(root())
                .expect("the walk begins at the root")
                .to_string_lossy()
                .into_owned();
            if path.is_file() {
                found.push(name);
            } else if path.is_dir() && ![".git", ".crier", "target"].contains(&name.as_str()) {
                open.push(path);
            }
        }
    }
    found
}

fn rust_files() -> Vec<(String, String)> {
    let found: Vec<(String, String)> = files()
        .into_iter()
        .filter(|path| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .filter(|path| path.starts_with("crates/") || path.starts_with("tests/"))
        .map(|path| (path.clone(), read(&root().join(path))))
        .collect();
    assert!(
        found
            .iter()
            .any(|(path, _)| path == "crates/crier/tests/tidy.rs"),
        "the list of files does not even hold this one"
    );
    found
}

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n  {}\n", breaches.join("\n  "));
}
