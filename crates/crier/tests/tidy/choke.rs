//! Where a process may die: every way to the database and to X passes a choke point that a test can stop at.

use super::{assert_none, rust_files};

/// Words that get past a choke point, and the files of that crate that may hold them.
const WAYS_PAST: &[(&str, &str, &[&str])] = &[
    // sqlx's own pool and transactions; `wake.rs` only listens, and migrations take their own lock.
    (
        "crates/crier-store/src/",
        "PgPool",
        &["gate.rs", "connect.rs", "diagnosis.rs", "wake.rs"],
    ),
    ("crates/crier-store/src/", "pool.pool()", &["lib.rs"]),
    ("crates/crier-store/src/", "sqlx::Transaction", &[]),
    (
        "crates/crier-store/src/",
        ".acquire()",
        &["gate.rs", "connect.rs"],
    ),
    ("crates/crier-store/src/", "PgConnection::connect", &[]),
    // Files of posts, webhooks and spans go past X: a process that dies there leaves nothing half done at it.
    (
        "crates/crier-x/src/",
        ".send()",
        &["fetch.rs", "hook.rs", "otlp.rs"],
    ),
    ("crates/crier-x/src/", ".execute(", &["client.rs"]),
];

/// Lines of one file that get past; `path` is relative to the workspace.
fn breaches_of_choke_points(path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for (folder, way, allowed) in WAYS_PAST {
        let Some(file) = path.strip_prefix(folder) else {
            continue;
        };
        if allowed.contains(&file) {
            continue;
        }
        for (index, _) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(way))
        {
            breaches.push(format!(
                "{path}:{}: `{way}` gets past the choke point, where a test may end the process",
                index + 1
            ));
        }
    }
    breaches
}

/// Functions of the release build that say that a point is reached must be empty there.
fn watches_only_in_debug(text: &str) -> bool {
    let guarded = |part: &str| {
        text.match_indices(part).all(|(at, _)| {
            text[..at]
                .lines()
                .rev()
                .take(4)
                .any(|line| line.contains("#[cfg(debug_assertions)]"))
        })
    };
    text.contains("WATCHER")
        && guarded("static WATCHER")
        && guarded("WATCHER.get()")
        && guarded("WATCHER.set(")
}

#[test]
fn every_way_to_the_database_and_to_x_passes_a_choke_point() {
    let breaches: Vec<String> = rust_files()
        .iter()
        .flat_map(|(path, text)| breaches_of_choke_points(path, text))
        .collect();
    assert_none(&breaches);
}

#[test]
fn nothing_watches_a_release_build() {
    let files = rust_files();
    let (_, text) = files
        .iter()
        .find(|(path, _)| path == "crates/crier-core/src/failpoint.rs")
        .expect("the module of the points is there");
    assert!(watches_only_in_debug(text));
    assert!(!watches_only_in_debug("static WATCHER: X;\n"));
}

#[test]
fn the_rule_of_choke_points_sees_breaches() {
    let of = |path, text| breaches_of_choke_points(path, text).len();
    assert_eq!(of("crates/crier-store/src/a.rs", "self.pool.begin()"), 0);
    assert_eq!(of("crates/crier-store/src/a.rs", "x: sqlx::PgPool"), 1);
    assert_eq!(of("crates/crier-store/src/a.rs", "self.pool.acquire()"), 1);
    assert_eq!(of("crates/crier-store/src/a.rs", "f(self.pool.pool())"), 1);
    assert_eq!(of("crates/crier-store/src/gate.rs", "sqlx::PgPool"), 0);
    assert_eq!(of("crates/crier-x/src/a.rs", "request.send()"), 1);
    assert_eq!(
        of("crates/crier-x/src/client.rs", "self.http.execute(request)"),
        0
    );
    assert_eq!(of("crates/crier-worker/src/a.rs", "request.send()"), 0);
}
