//! Help, wrong input and exit codes, without a database.

use super::{Said, crier, crier_with};

/// Every command, by its words.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["run"],
    &["scheduler"],
    &["worker"],
    &["exporter"],
    &["migrate"],
    &["doctor"],
    &["health"],
    &["post"],
    &["jobs"],
    &["jobs", "list"],
    &["jobs", "show"],
    &["jobs", "why"],
    &["jobs", "cancel"],
    &["jobs", "retry"],
    &["jobs", "settle"],
    &["jobs", "watch"],
    &["jobs", "lint"],
    &["jobs", "unpublish"],
    &["accounts"],
    &["accounts", "list"],
    &["accounts", "show"],
    &["accounts", "pause"],
    &["accounts", "resume"],
    &["accounts", "tier"],
    &["accounts", "publisher"],
    &["accounts", "budget"],
    &["auth"],
    &["auth", "login"],
    &["auth", "import"],
    &["auth", "refresh"],
    &["auth", "revoke"],
    &["keys"],
    &["keys", "new"],
    &["keys", "list"],
    &["keys", "rotate"],
    &["webhooks"],
    &["webhooks", "add"],
    &["webhooks", "list"],
    &["webhooks", "test"],
    &["webhooks", "pause"],
    &["webhooks", "resume"],
    &["webhooks", "remove"],
    &["webhooks", "deliveries"],
    &["webhooks", "redeliver"],
    &["config"],
    &["config", "check"],
    &["config", "dump"],
    &["config", "schema"],
    &["sim"],
];

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        for words in COMMANDS {
            let said = crier(&[words, &["--help"][..]].concat());
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}");
            insta::assert_snapshot!(
                ["help", &words.join("-")].join("-").trim_end_matches('-'),
                said.out
            );
        }
    });
}

#[test]
fn no_command_is_left_out_above() {
    // A command that help lists and the list above lacks would have no snapshot.
    for words in COMMANDS {
        let help = crier(&[words, &["--help"][..]].concat()).out;
        let Some((_, rest)) = help.split_once("Commands:\n") else {
            continue;
        };
        for line in rest.lines().take_while(|line| line.starts_with("  ")) {
            let word = line.split_whitespace().next().unwrap();
            let known =
                word == "help" || COMMANDS.contains(&[words, &[word][..]].concat().as_slice());
            assert!(known, "`{} {word}`", words.join(" "));
        }
    }
}

/// Words, variables, exit code, parts of what stderr says.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str]);

#[test]
fn wrong_input_is_answered_with_what_to_do() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let cases: &[Case<'_>] = &[
        (
            &["jobs", "list"],
            &[],
            1,
            &["error: no database is configured", "hint: set DATABASE_URL"],
        ),
        (
            &["jobs", "list"],
            &[("DATABASE_URL", "nowhere")],
            1,
            &["not of the form", "hint: set DATABASE_URL"],
        ),
        (
            &["jobs", "list"],
            &[("DATABASE_URL", "postgres://u:s3cr3t@127.0.0.1:1/d")],
            3,
            &["error: cannot connect", "hint: is the server running"],
        ),
        (
            &["jobs", "list"],
            &[("CRIER__WORKER__CONCURENCY", "3")],
            1,
            &["`CRIER__WORKER__CONCURENCY` is wrong", "concurrency"],
        ),
        (
            &["worker"],
            &[
                ("CRIER__SECRETS__KEY", "short"),
                ("CRIER__SECRETS__KEY_FILE", "/nowhere"),
            ],
            1,
            &["both set"],
        ),
        (
            &["config", "check"],
            &[("CRIER__SECRETS__KEY", "s3cr3t")],
            1,
            &["`secrets.key` cannot be used", "32 bytes"],
        ),
        (
            &["config", "check"],
            &[
                ("CRIER__SECRETS__KEY", key),
                ("CRIER__X__BASE_URL", "http://x.example"),
            ],
            1,
            &["not https"],
        ),
        (
            &["config", "check"],
            &[("CRIER__LOG__FILTER", "a=b=c")],
            1,
            &["`log.filter` cannot be used"],
        ),
        (
            &["--config", "/nowhere.yaml", "config", "dump"],
            &[],
            1,
            &["cannot read the configuration `/nowhere.yaml`"],
        ),
        (
            &["sim", "--script", "/nowhere.json"],
            &[],
            1,
            &["cannot read `/nowhere.json`"],
        ),
        (
            &["demo"],
            &[("CRIER_PG_BIN", "/nowhere")],
            1,
            &["`CRIER_PG_BIN` is `/nowhere`", "hint: unset it"],
        ),
        (
            &["run", "--embedded"],
            &[("DATABASE_URL", "postgres://h/d")],
            1,
            &[
                "a database is configured already",
                "hint: leave out --embedded",
            ],
        ),
        (
            &["run", "--embedded"],
            &[("CRIER__DATABASE__DIRECT_URL", "postgres://h/d")],
            1,
            &["a database is configured already", "`database.direct_url`"],
        ),
        (&["post", "hi"], &[], 2, &["--account"]),
        (&["jobs", "settle", "7"], &[], 2, &["--published"]),
        (
            &["jobs", "settle", "7", "--retry", "--published", "1"],
            &[],
            2,
            &["cannot be used with"],
        ),
        (&["jobs", "list", "--state", "done"], &[], 2, &["published"]),
        (&["jobs", "watch"], &[], 2, &["required"]),
        (&["fly"], &[], 2, &["unrecognized subcommand 'fly'"]),
    ];
    for (words, variables, code, parts) in cases {
        let said = crier_with(words, variables, "");
        assert_eq!(
            (said.code, said.out.as_str()),
            (*code, ""),
            "{words:?} {variables:?}: {}",
            said.err
        );
        for part in *parts {
            assert!(
                said.err.contains(part),
                "{words:?} {variables:?}: no `{part}` in\n{}",
                said.err
            );
        }
        assert!(!said.err.contains("s3cr3t"), "{}", said.err);
    }
}

#[test]
fn the_configuration_is_shown_without_secrets_and_can_be_read_again() {
    let variables = [
        ("DATABASE_URL", "postgres://crier:s3cr3t@db/crier"),
        (
            "CRIER__SECRETS__KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
        ("CRIER__WORKER__CONCURRENCY", "3"),
    ];
    let said = crier_with(&["config", "dump"], &variables, "");
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(
        !said.out.contains("s3cr3t") && !said.out.contains("AAEC"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("concurrency: 3") && said.out.contains("@db/crier"),
        "{}",
        said.out
    );
    let json: serde_json::Value =
        serde_json::from_str(&crier_with(&["config", "dump", "--json"], &variables, "").out)
            .unwrap();
    assert_eq!(json["worker"]["concurrency"], 3);
    assert_eq!(crier_with(&["config", "check"], &variables, "").code, 0);
}

#[test]
fn the_schema_comes_whatever_the_configuration() {
    let said = crier_with(&["config", "schema"], &[("CRIER__ODD__KEY", "1")], "");
    assert_eq!(said.code, 0, "{}", said.err);
    let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        schema["properties"]["worker"]["properties"]["concurrency"]["default"],
        16
    );
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let mut child = super::command(&["config", "schema"], &[])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: String::new(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn a_new_key_is_json_if_json_is_asked_for() {
    let said = crier(&["keys", "new", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, made["key"].as_str().unwrap().len()), (0, 8));
    assert_eq!(made["secret"].as_str().unwrap().len(), 44);
}
