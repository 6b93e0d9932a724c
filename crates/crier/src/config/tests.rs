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
            ("CRIER__WORKER__LOOK_WAITS_S", "[1, 2, 3, 4]"),
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
    assert_eq!(config.worker.look_waits_s, [1, 2, 3, 4]);
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
