//! Who may depend on whom: layers among our crates, one user for each outside crate that matters, no I/O in the domain.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use super::{assert_none, read, root};

/// Which of our crates each crate may import: the layers of docs/ARCHITECTURE.md.
const LAYERS: &[(&str, &[&str])] = &[
    ("crier-core", &[]),
    ("crier-store", &["crier-core"]),
    ("crier-x", &["crier-core"]),
    ("crier-metrics", &["crier-core"]),
    ("crier-sim", &[]),
    (
        "crier-scheduler",
        &["crier-store", "crier-metrics", "crier-core"],
    ),
    (
        "crier-worker",
        &["crier-store", "crier-x", "crier-metrics", "crier-core"],
    ),
    (
        "crier",
        &[
            "crier-core",
            "crier-store",
            "crier-x",
            "crier-metrics",
            "crier-sim",
            "crier-scheduler",
            "crier-worker",
        ],
    ),
];

/// Outside crates that one of ours alone may use. Crates of the same family (`sqlx-core` with `sqlx`) count too.
const SOLE_USERS: &[(&str, &str)] = &[
    ("sqlx", "crier-store"),
    ("reqwest", "crier-x"),
    ("prometheus", "crier-metrics"),
    ("clap", "crier"),
    ("indicatif", "crier"),
    ("serde_yaml", "crier"),
    ("yaml_serde", "crier"),
    ("anyhow", "crier"),
];

/// What the domain must not reach, not even through another crate: I/O and the logging of it.
const NOT_IN_CORE: &[&str] = &["tokio", "sqlx", "reqwest", "tracing"];

/// Names of crates with the names of the crates that each depends on.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph(edges: &[(&str, &[&str])]) -> Graph {
    edges
        .iter()
        .map(|(from, to)| {
            (
                (*from).to_owned(),
                to.iter().map(|name| (*name).to_owned()).collect(),
            )
        })
        .collect()
}

/// Our crates with what their manifests declare for the program and for build scripts; tests may use more.
///
/// Manifests alone (`--no-deps`), since resolving for every platform would want crates that a build here never fetches.
fn declared() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--no-deps",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &Value| {
        value
            .as_array()
            .cloned()
            .expect("cargo metadata holds lists here")
    };
    let name = |value: &Value| {
        value["name"]
            .as_str()
            .expect("each package has a name")
            .to_owned()
    };
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let kept = dependencies
                .iter()
                .filter(|dependency| dependency["kind"] != "dev");
            (name(package), kept.map(name).collect())
        })
        .collect()
}

/// The outside crates of a `Cargo.lock` with what each depends on.
fn locked(lock: &str) -> Graph {
    let mut found = Graph::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .expect("each package of Cargo.lock has a name");
        // Two versions of one crate are taken together.
        found.entry(name.to_owned()).or_default().extend(
            package
                .lines()
                .filter_map(|line| line.trim().strip_prefix('"')?.split(['"', ' ']).next())
                .map(str::to_owned),
        );
    }
    found
}

fn breaches_of_layers(declared: &Graph) -> Vec<String> {
    let rules: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut breaches = Vec::new();
    for (user, used) in declared {
        let Some(allowed) = rules.get(user.as_str()) else {
            breaches.push(format!("`{user}` has no layer"));
            continue;
        };
        let ours = used
            .iter()
            .filter(|name| name.starts_with("crier-") || rules.contains_key(name.as_str()));
        breaches.extend(
            ours.filter(|name| !allowed.contains(&name.as_str()))
                .map(|name| format!("`{user}` may not import `{name}`")),
        );
    }
    for name in rules.keys().filter(|name| !declared.contains_key(**name)) {
        breaches.push(format!("`{name}` has a layer but is not in the workspace"));
    }
    breaches
}

fn same_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

fn breaches_of_sole_users(declared: &Graph) -> Vec<String> {
    let mut breaches = Vec::new();
    for (user, used) in declared {
        for (family, sole) in SOLE_USERS {
            breaches.extend(
                used.iter()
                    .filter(|name| same_family(name, family) && user != sole)
                    .map(|name| format!("`{user}` uses `{name}`, which only `{sole}` may")),
            );
        }
    }
    breaches
}

fn breaches_of_core(declared: &Graph, locked: &Graph) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(String, String)> = declared
        .get("crier-core")
        .into_iter()
        .flatten()
        .map(|name| (name.clone(), format!("crier-core → {name}")))
        .collect();
    while let Some((name, way)) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if NOT_IN_CORE.iter().any(|banned| same_family(&name, banned)) {
            breaches.push(format!("the domain reaches `{name}`: {way}"));
        }
        let next = locked.get(&name).into_iter().flatten();
        open.extend(next.map(|next| (next.clone(), format!("{way} → {next}"))));
    }
    breaches
}

#[test]
fn crates_import_lower_layers_only() {
    assert_none(&breaches_of_layers(&declared()));
}

#[test]
fn outside_crates_have_one_user_each() {
    assert_none(&breaches_of_sole_users(&declared()));
}

#[test]
fn sole_users_use_what_is_theirs() {
    // A rule about a crate that was swapped for another guards nothing.
    let declared = declared();
    for (family, sole) in SOLE_USERS
        .iter()
        .filter(|(family, _)| *family != "serde_yaml")
    {
        assert!(
            declared[*sole].iter().any(|name| same_family(name, family)),
            "`{sole}` no longer uses `{family}`: mend the rule"
        );
    }
}

#[test]
fn domain_reaches_no_io() {
    let locked = locked(&read(&root().join("Cargo.lock")));
    assert!(
        locked.contains_key("tokio"),
        "Cargo.lock was not understood"
    );
    assert_none(&breaches_of_core(&declared(), &locked));
}

#[test]
fn layer_rule_sees_breaches() {
    let whole = graph(LAYERS);
    assert_none(&breaches_of_layers(&whole));
    for (user, used, breach) in [
        (
            "crier-core",
            "crier-store",
            "`crier-core` may not import `crier-store`",
        ),
        (
            "crier-x",
            "crier-store",
            "`crier-x` may not import `crier-store`",
        ),
        (
            "crier-sim",
            "crier-core",
            "`crier-sim` may not import `crier-core`",
        ),
        (
            "crier-scheduler",
            "crier-x",
            "`crier-scheduler` may not import `crier-x`",
        ),
        (
            "crier-worker",
            "crier-sim",
            "`crier-worker` may not import `crier-sim`",
        ),
        (
            "crier-worker",
            "crier",
            "`crier-worker` may not import `crier`",
        ),
        (
            "crier-metrics",
            "crier-ninth",
            "`crier-metrics` may not import `crier-ninth`",
        ),
    ] {
        let mut broken = whole.clone();
        broken
            .entry(user.to_owned())
            .or_default()
            .insert(used.to_owned());
        assert_eq!(breaches_of_layers(&broken), [breach]);
    }
    let mut grown = whole.clone();
    grown.insert("crier-ninth".to_owned(), BTreeSet::new());
    assert_eq!(breaches_of_layers(&grown), ["`crier-ninth` has no layer"]);
    let mut shrunk = whole;
    shrunk.remove("crier-sim");
    assert_eq!(
        breaches_of_layers(&shrunk),
        ["`crier-sim` has a layer but is not in the workspace"]
    );
}

#[test]
fn sole_user_rule_sees_breaches() {
    for (family, sole) in SOLE_USERS {
        assert_none(&breaches_of_sole_users(&graph(&[(sole, &[family])])));
        assert_eq!(
            breaches_of_sole_users(&graph(&[("crier-core", &["serde", family])])),
            [format!(
                "`crier-core` uses `{family}`, which only `{sole}` may"
            )]
        );
    }
    assert_eq!(
        breaches_of_sole_users(&graph(&[("crier-x", &["sqlx-core"])])).len(),
        1
    );
    assert_none(&breaches_of_sole_users(&graph(&[(
        "crier-x",
        &["clapper"],
    )])));
}

#[test]
fn domain_rule_sees_breaches() {
    for banned in NOT_IN_CORE {
        let direct = graph(&[("crier-core", &["serde", banned])]);
        assert_eq!(
            breaches_of_core(&direct, &Graph::new()),
            [format!(
                "the domain reaches `{banned}`: crier-core → {banned}"
            )]
        );
        let harmless = graph(&[("crier-core", &["cards"]), ("crier-x", &[banned])]);
        assert_none(&breaches_of_core(
            &harmless,
            &graph(&[("cards", &["serde"])]),
        ));
        let lock = format!(
            "[[package]]\nname = \"cards\"\nversion = \"1.0.0\"\ndependencies = [\n \"deck 0.2.1\",\n]\n\n\
             [[package]]\nname = \"deck\"\nversion = \"0.2.1\"\ndependencies = [\n \"cards\",\n \"{banned}\",\n]\n"
        );
        assert_eq!(
            breaches_of_core(&harmless, &locked(&lock)),
            [format!(
                "the domain reaches `{banned}`: crier-core → cards → deck → {banned}"
            )]
        );
    }
}
