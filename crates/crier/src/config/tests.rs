//! The file, the environment over it, and what is refused in which words.

use secrecy::ExposeSecret;

use super::*;

fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

fn said(text: &str, variables: &[(&str, &str)]) -> String {
    format!("{:#}", read(text, &vars(variables)).unwrap_err())
}

#[test]
fn the_environment_goes_before_the_file() {
    let config = read(
        "worker:\n  concurrency: 3\n  poll_ms: 40\n",
        &vars(&[
            ("CRIER__WORKER__CONCURRENCY", "7"),
            ("CRIER__LOG__FILTER", "true"),
            ("CRIER__LOG__JSON", "true"),
            ("CRIER__WORKER__LOOK_WAITS_S", "[11, 22, 33, 44]"),
            ("CRIER__X__TOKEN_BASE_URL", ""),
            ("CRIER__X__MEDIA_UPLOAD", "one_shot"),
            ("CRIER__MEDIA__URL_PORTS", "[8443]"),
            ("CRIER__MEDIA__URL_ALLOW_PRIVATE", "true"),
            ("CRIER__MEDIA__SPOOL_DIR", "/var/tmp/crier"),
            ("DATABASE_URL", "postgres://u:pw@h/d"),
        ]),
    )
    .unwrap();
    assert_eq!((config.worker.concurrency, config.worker.poll_ms), (7, 40));
    assert_eq!(config.worker.look_waits_s, [11, 22, 33, 44]);
    let options = config
        .worker
        .options(&config.media, &config.x, &config.prices, &config.webhooks);
    assert!(options.one_shot && options.urls.rules.allow_private);
    assert_eq!(options.urls.rules.ports, [8443]);
    assert_eq!(options.spool_dir, Path::new("/var/tmp/crier"));
    assert_eq!(config.log.filter, "true");
    assert!(config.log.json);
    assert!(
        config.x.token_base_url.is_none(),
        "an empty variable is none"
    );
    assert_eq!(
        config.database.url.as_ref().unwrap().expose_secret(),
        "postgres://u:pw@h/d"
    );
    assert!(!format!("{config:?}").contains("pw"));
}

#[test]
fn the_long_name_goes_before_the_short_one() {
    let config = read(
        "",
        &vars(&[
            ("CRIER__DATABASE__URL", "postgres://long/d"),
            ("DATABASE_URL", "postgres://short/d"),
        ]),
    )
    .unwrap();
    assert_eq!(
        config.database.url.unwrap().expose_secret(),
        "postgres://long/d"
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (text, variables, words) in [
        ("colour: red", &[][..], "unknown field `colour`"),
        ("worker:\n  concurrency: ten", &[], "worker.concurrency"),
        ("worker:\n  concurrency: ten", &[], "line 2"),
        ("worker: {lease_s: 20}", &[], "`worker.lease_s` must be"),
        ("worker: {look_waits_s: [1]}", &[], "worker.look_waits_s"),
        (
            "worker: {look_waits_s: [1, 2, 3, 4]}",
            &[],
            "120 s or more together",
        ),
        ("- a", &[], "sections"),
        ("a: [", &[], "not YAML"),
        (
            "",
            &[("CRIER__WORKER__COLOUR", "1")],
            "`CRIER__WORKER__COLOUR`",
        ),
        ("", &[("CRIER__ODD", "1")], "`CRIER__ODD` names no setting"),
        (
            "",
            &[("CRIER__EXPORTER__LISTEN", "here")],
            "exporter.listen",
        ),
        (
            "media: {url_ports: []}",
            &[],
            "`media.url_ports` needs a port",
        ),
        ("", &[("CRIER__X__MEDIA_UPLOAD", "twice")], "x.media_upload"),
        ("x: {base_url: nowhere}", &[], "`x.base_url` is `nowhere`"),
        (
            "database: {url: a, url_file: b}",
            &[],
            "`database.url_file` are both set",
        ),
        (
            "app: {client_secret_file: b}",
            &[("CRIER__APP__CLIENT_SECRET", "s3cr3t")],
            "`app.client_secret_file` are both set",
        ),
        (
            "app: {consumer_secret: a, consumer_secret_file: b}",
            &[],
            "`app.consumer_secret_file` are both set",
        ),
        (
            "x: {authorize_base_url: nowhere}",
            &[],
            "`x.authorize_base_url` is `nowhere`",
        ),
    ] {
        let error = said(text, variables);
        assert!(error.contains(words), "{text} {variables:?}: {error}");
    }
}

#[test]
fn a_secret_is_a_value_or_a_file() {
    let value: SecretString = "x".to_owned().into();
    assert!(secret("key", Some(&value), Some(Path::new("/nowhere"))).is_err());
    assert!(secret("key", None, Some(Path::new("/nowhere"))).is_err());
    assert!(secret("key", None, None).unwrap().is_none());
}

#[test]
fn what_is_dumped_can_be_read_again_and_holds_no_secret() {
    let config = read(
        "log: {json: true}",
        &vars(&[
            ("DATABASE_URL", "postgres://u:s3cr3t@h/d"),
            ("CRIER__SECRETS__KEY", "s3cr3t"),
            ("CRIER__APP__CLIENT_SECRET", "s3cr3t"),
            ("CRIER__APP__CONSUMER_SECRET", "s3cr3t"),
        ]),
    )
    .unwrap();
    let dumped = serde_yaml::to_string(&config).unwrap();
    assert!(!dumped.contains("s3cr3t"), "{dumped}");
    let again = read(&dumped, &[]).unwrap();
    assert_eq!(serde_yaml::to_string(&again).unwrap(), dumped);
    assert!(again.log.json);
}

#[test]
fn the_example_is_the_defaults() {
    let shipped = include_str!("../../../../config/crier.yaml");
    assert_eq!(
        shipped,
        example(),
        "`crier config schema --yaml >config/crier.yaml` makes it anew"
    );
    let read = serde_json::to_value(read(shipped, &[]).unwrap()).unwrap();
    assert_eq!(read, serde_json::to_value(Config::default()).unwrap());
    // Every setting stands in it, if only as a comment.
    for (section, keys) in read.as_object().unwrap() {
        for key in keys.as_object().unwrap().keys() {
            assert!(shipped.contains(&format!(" {key}:")), "{section}.{key}");
        }
    }
}

#[test]
fn the_page_is_up_to_date() {
    assert_eq!(
        include_str!("../../../../docs/CONFIG.md"),
        markdown(),
        "`crier config schema --markdown >docs/CONFIG.md` makes it anew"
    );
}

/// Values that are wrong for most settings, as YAML.
const NONSENSE: &[&str] = &[
    "ten",
    "-1",
    "0",
    "1.5",
    "1e99",
    "99999999999999999999",
    "18446744073709551615",
    "4294967295",
    "65535",
    ".nan",
    ".inf",
    "-.inf",
    "true",
    "yes",
    "''",
    "' '",
    "[]",
    "[[]]",
    "[-1, x]",
    "{}",
    "{a: 1}",
    "null",
    "2026-01-01",
    "0x10",
    "!!binary aGk=",
    "!evil x",
    "\"\\u0000\"",
    "\"\\e[31m\"",
    "&a [*a]",
    "*a",
    "{<<: 1}",
    "\u{202e}evil",
    "http://u:hunter22@h",
    "::1",
    "/dev/zero",
];

#[test]
fn no_value_of_any_setting_makes_it_panic_and_each_refusal_names_the_setting() {
    let schema = schema();
    let (mut taken, mut refused) = (0, 0);
    for (section, about) in schema["properties"].as_object().unwrap() {
        for key in about["properties"].as_object().unwrap().keys() {
            let variable = format!("CRIER__{}__{}", section.to_uppercase(), key.to_uppercase());
            for value in NONSENSE {
                let in_file = read(&format!("{section}:\n  {key}: {value}\n"), &[]);
                let in_environment = read("", &vars(&[(&variable, value)]));
                for (from, said) in [(false, in_file), (true, in_environment)] {
                    let Err(error) = said else {
                        taken += 1;
                        continue;
                    };
                    refused += 1;
                    let words = format!("{error:#}");
                    let (message, _) = crate::exit::told(&error);
                    let named = words.contains(&format!("{section}.{key}"))
                        || words.contains(&variable)
                        || words.contains(key.as_str());
                    // What is no YAML has a line and a column.
                    assert!(
                        named || words.contains(" line "),
                        "{section}.{key}: {value}: {words}"
                    );
                    assert!(
                        !message.contains("hunter22"),
                        "{from} {section}.{key}: {message}"
                    );
                    assert!(words.len() < 2_000, "{words}");
                }
            }
        }
    }
    assert!(taken > 500 && refused > 2_000, "{taken} {refused}");
}

#[test]
fn what_is_taken_can_be_reckoned_with() {
    let schema = schema();
    for (section, about) in schema["properties"].as_object().unwrap() {
        for key in about["properties"].as_object().unwrap().keys() {
            for value in [
                "18446744073709551615",
                "9223372036854775807",
                "1000000000000000",
            ] {
                let text = format!("worker: {{lease_s: 1000}}\n{section}_x: 1")
                    .replace(&format!("{section}_x: 1"), "");
                let text = if section == "worker" {
                    format!("worker:\n  {key}: {value}\n")
                } else {
                    format!("{text}{section}:\n  {key}: {value}\n")
                };
                if let Ok(config) = read(&text, &[]) {
                    // No sum of what is taken overflows.
                    let _ = config.worker.options(
                        &config.media,
                        &config.x,
                        &config.prices,
                        &config.webhooks,
                    );
                    let number: u64 = value.parse().unwrap();
                    let dumped = serde_json::to_value(&config).unwrap();
                    assert_ne!(
                        dumped[section][key].as_u64(),
                        Some(number),
                        "{section}.{key}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_section_that_is_none_is_refused_without_its_words() {
    for section in [
        "database",
        "x",
        "app",
        "secrets",
        "media",
        "worker",
        "prices",
        "scheduler",
        "exporter",
        "log",
    ] {
        for value in [
            "hunter22",
            "postgres://u:hunter22@h/d",
            "[hunter22]",
            "[[hunter22]]",
            "{hunter22: 1, 1: 2}",
            "12",
            "true",
            "!x hunter22",
        ] {
            let Err(error) = read(&format!("{section}: {value}\n"), &[]) else {
                panic!("{section}: {value} is taken");
            };
            let (message, hints) = crate::exit::told(&error);
            assert!(message.contains(section), "{message}");
            // A name of a setting is no secret; it is repeated to be found.
            let secret =
                ["database", "app", "secrets"].contains(&section) && !value.starts_with('{');
            assert!(
                !secret || !format!("{message}{hints}").contains("hunter22"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_secret_that_is_no_text_is_not_repeated() {
    for setting in SECRETS.map(|(section, key)| format!("{section}: {{{key}: VALUE}}")) {
        for value in [
            "4711007",
            "4711.007",
            "[4711007]",
            "{4711007: 1}",
            "!x 4711007",
        ] {
            let error = read(&setting.replace("VALUE", value), &[]).unwrap_err();
            let (message, hints) = crate::exit::told(&error);
            assert!(
                message.contains("must be text") && !hints.is_empty(),
                "{message}"
            );
            assert!(!format!("{message}{hints}").contains("4711"), "{message}");
        }
    }
}

#[test]
fn files_made_to_keep_us_busy_are_refused_at_once() {
    let mut laughs = "a0: &a0 [lol]\n".to_owned();
    for level in 1..30 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = std::fmt::Write::write_fmt(
            &mut laughs,
            format_args!("a{level}: &a{level} [{before}]\n"),
        );
    }
    let deep = format!("x: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    let keys: Vec<String> = (0..50_000)
        .map(|number| format!("k{number}: 1\n"))
        .collect();
    let keys = keys.concat();
    for text in [
        laughs.as_str(),
        &deep,
        &keys,
        "a: *a",
        "--- a\n--- b",
        "? [a]\n: b",
        "\u{feff}",
        "%YAML 9.9\n---\na: 1",
        "x: {x: 1, x: 2}",
        "\t- x",
    ] {
        if let Err(error) = read(text, &[]) {
            let (message, _) = crate::exit::told(&error);
            assert!(message.chars().count() < 2_000, "{message}");
        } else {
            assert_eq!(text, "\u{feff}");
        }
    }
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_by_what_it_is() {
    let folder = std::env::temp_dir().join(format!("crier-config-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let put = |name: &str, content: &[u8]| {
        std::fs::write(folder.join(name), content).unwrap();
        folder.join(name)
    };
    let (bytes, empty) = (put("bytes", b"hunter22\xff"), put("empty", b" \n"));
    let huge = put("huge", &vec![b'x'; 2 * 1024 * 1024]);
    for (path, why) in [
        (Path::new("/dev/zero"), "more than"),
        (&huge, "more than"),
        (&bytes, "not text in UTF-8"),
        (&empty, "is empty"),
        (&folder, "directory"),
        (&folder.join("none"), "No such file"),
    ] {
        let error = secret("secrets.key", None, Some(path)).unwrap_err();
        let words = format!("{error:#}");
        assert!(
            words.contains("secrets.key_file") && words.contains(why),
            "{words}"
        );
        assert!(!words.contains("hunter22"), "{words}");
        if why != "is empty" {
            let words = format!("{:#}", load(Some(path)).unwrap_err());
            assert!(
                words.contains("cannot read the configuration") && words.contains(why),
                "{words}"
            );
        }
    }
    // An editor ends a file with a line break, and it is none of the secret.
    let ended = secret("key", None, Some(&put("ended", b"hunter22\r\n"))).unwrap();
    assert_eq!(ended.unwrap().expose_secret(), "hunter22");
    std::fs::remove_dir_all(&folder).unwrap();
}
