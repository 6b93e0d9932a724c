//! Rows' options: reading the column, what X does not take together, and the request they make.

use crier_core::options::{
    PostOptions, ReplySettings, check_exclusions, create_body, parse_options,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Each field of `POST /2/tweets` with a value that X takes, one by one.
fn good() -> Vec<(&'static str, Value)> {
    vec![
        ("card_uri", json!("card://1")),
        ("community_id", json!("1146654567674912769")),
        (
            "direct_message_deep_link",
            json!("https://x.com/messages/compose?recipient_id=1"),
        ),
        ("edit_options", json!({"previous_post_id": "1"})),
        ("for_super_followers_only", json!(true)),
        ("geo", json!({"place_id": "5a110d312052166f"})),
        ("made_with_ai", json!(true)),
        (
            "media",
            json!({"tagged_user_ids": ["1", "2"], "title": "t", "description": "d", "embeddable": false,
            "preview_media_id": "9", "call_to_actions": {"visit_site": {"url": "https://example.com"}}}),
        ),
        ("nullcast", json!(false)),
        ("paid_partnership", json!(true)),
        (
            "poll",
            json!({"options": ["yes", "no"], "duration_minutes": 5, "reply_settings": "verified"}),
        ),
        ("quote_tweet_id", json!("1")),
        (
            "reply",
            json!({"in_reply_to_tweet_id": "1", "exclude_reply_user_ids": ["2"],
            "auto_populate_reply_metadata": true}),
        ),
        ("reply_settings", json!("mentionedUsers")),
        ("share_with_followers", json!(true)),
    ]
}

fn parse(value: &Value) -> PostOptions {
    parse_options(value).unwrap_or_else(|fault| unreachable!("{fault}"))
}

fn codes(value: &Value, media_count: usize, is_reply: bool) -> Vec<String> {
    let faults = check_exclusions(&parse(value), media_count, is_reply);
    faults.into_iter().map(|fault| fault.code).collect()
}

#[test]
fn every_field_of_the_specification_goes_into_the_request_as_it_came() {
    for (key, value) in good() {
        let options = parse(&json!({key: value}));
        assert_eq!(
            create_body("hi", &options, &[], None),
            json!({"text": "hi", key: value})
        );
    }
    let all: serde_json::Map<_, _> = good()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    assert_eq!(
        serde_json::to_value(parse(&json!(all))).unwrap(),
        json!(all)
    );
}

/// A value that X takes for a field, by its path; a word where the field takes words.
fn value_of(path: &str, word: Option<&str>) -> Value {
    if let Some(word) = word {
        return json!(word);
    }
    let name = path.rsplit('.').next().unwrap_or(path);
    match name {
        "options" => json!(["yes", "no"]),
        "duration_minutes" => json!(10_080),
        "tagged_user_ids" | "exclude_reply_user_ids" => json!(["1", "9223372036854775807"]),
        "reply_settings" => json!("verified"),
        "embeddable"
        | "auto_populate_reply_metadata"
        | "for_super_followers_only"
        | "made_with_ai"
        | "nullcast"
        | "paid_partnership"
        | "share_with_followers" => json!(true),
        "url" => json!("https://example.com"),
        _ => json!("1346889436626259968"),
    }
}

/// What must stand beside a field, by X's specification.
fn beside(path: &str) -> Value {
    let root = path.split('.').next().unwrap_or(path);
    match root {
        "poll" => json!({"poll": {"options": ["yes", "no"], "duration_minutes": 5}}),
        "reply" => json!({"reply": {"in_reply_to_tweet_id": "1"}}),
        "edit_options" => json!({"edit_options": {"previous_post_id": "1"}}),
        "geo" => json!({"geo": {"place_id": "1"}}),
        _ => json!({}),
    }
}

fn put(into: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        Some((name, rest)) => put(&mut into[name], rest, value),
        None => into[path] = value,
    }
}

#[test]
fn every_field_and_word_of_the_specification_is_taken() {
    let mut taken = 0;
    for line in include_str!("x_fields.txt").lines() {
        let Some(line) = line.strip_prefix("POST /2/tweets\t") else {
            continue;
        };
        let (path, word) = line
            .split_once('\t')
            .map_or((line, None), |(path, word)| (path, Some(word)));
        // Columns of the row; and objects, which are there with each of their members.
        let is_object = include_str!("x_fields.txt").contains(&format!("POST /2/tweets\t{path}."));
        if is_object || ["text", "media.media_ids"].contains(&path) {
            continue;
        }
        let mut options = beside(path);
        put(&mut options, path, value_of(path, word));
        let body = create_body("hi", &parse(&options), &[], None);
        options["text"] = json!("hi");
        assert_eq!(body, options, "{line}");
        taken += 1;
    }
    assert!(taken > 30, "{taken}");
}

#[test]
fn what_only_v1_takes_never_reaches_v2() {
    let options = parse(&json!({"v1": {"possibly_sensitive": true, "lat": 1.5, "long": 2}}));
    assert_eq!(
        create_body("hi", &options, &[], None),
        json!({"text": "hi"})
    );
    for (value, place) in [
        (json!({"lat": 91, "long": 0}), "`options.v1.lat`"),
        (json!({"lat": "1", "long": 0}), "`options.v1.lat`"),
        (json!({"lat": 1}), "`options.v1` has one of"),
        (json!({"trim_user": true}), "`options.v1.trim_user`"),
    ] {
        let fault = parse_options(&json!({"v1": value})).unwrap_err();
        assert!(fault.detail.contains(place), "{}", fault.detail);
    }
}

#[test]
fn a_button_leads_to_an_https_address() {
    for name in ["visit_site", "watch_now"] {
        let value = json!({"media": {"call_to_actions": {name: {"url": "http://example.com"}}}});
        let fault = parse_options(&value).unwrap_err();
        assert!(
            fault.detail.contains("no https address"),
            "{}",
            fault.detail
        );
    }
}

#[test]
fn null_is_absent() {
    for value in [json!(null), json!({}), json!({"poll": null})] {
        assert_eq!(parse(&value), PostOptions::default());
    }
    let options =
        parse(&json!({"reply_settings": "following", "reply": {"in_reply_to_tweet_id": null}}));
    assert_eq!(options.reply_settings, Some(ReplySettings::Following));
}

#[test]
fn a_mistake_is_told_by_its_place() {
    for (value, place) in [
        (json!([]), "`options`"),
        (json!({"pol": {}}), "`options.pol`"),
        (json!({"text": "x"}), "`options.text`"),
        (
            json!({"media": {"media_ids": ["1"]}}),
            "`options.media.media_ids`",
        ),
        (
            json!({"quote_tweet_id": 1_460_323_737_035_677_698_u64}),
            "`options.quote_tweet_id`",
        ),
        (
            json!({"quote_tweet_id": "12345678901234567890"}),
            "`options.quote_tweet_id`",
        ),
        (json!({"quote_tweet_id": ""}), "`options.quote_tweet_id`"),
        (json!({"quote_tweet_id": "１"}), "`options.quote_tweet_id`"),
        (json!({"nullcast": "true"}), "`options.nullcast`"),
        (
            json!({"reply_settings": "everyone"}),
            "`options.reply_settings`",
        ),
        (json!({"geo": {}}), "`options.geo.place_id`"),
        (
            json!({"geo": {"place_id": "a", "lat": 1}}),
            "`options.geo.lat`",
        ),
        (
            json!({"edit_options": {}}),
            "`options.edit_options.previous_post_id`",
        ),
        (
            json!({"poll": {"options": ["a", "b"]}}),
            "`options.poll.duration_minutes`",
        ),
        (
            json!({"poll": {"options": ["a"], "duration_minutes": 5}}),
            "`options.poll.options`",
        ),
        (
            json!({"poll": {"options": ["a", ""], "duration_minutes": 5}}),
            "`options.poll.options[1]`",
        ),
        (
            json!({"poll": {"options": ["a", "é".repeat(26)], "duration_minutes": 5}}),
            "`options.poll.options[1]`",
        ),
        (
            json!({"poll": {"options": ["a", "b"], "duration_minutes": 4}}),
            "`options.poll.duration_minutes`",
        ),
        (
            json!({"poll": {"options": ["a", "b"], "duration_minutes": 10081}}),
            "`options.poll.duration_minutes`",
        ),
        (
            json!({"poll": {"options": ["a", "b"], "duration_minutes": 5.5}}),
            "`options.poll.duration_minutes`",
        ),
        (
            json!({"media": {"tagged_user_ids": vec!["1"; 11]}}),
            "`options.media.tagged_user_ids`",
        ),
        (
            json!({"media": {"call_to_actions": {}}}),
            "`options.media.call_to_actions`",
        ),
        (
            json!({"media": {"call_to_actions": {"visit_site": {"url": "u"}, "watch_now": {"url": "u"}}}}),
            "`options.media.call_to_actions`",
        ),
        (
            json!({"media": {"call_to_actions": {"app_install": {}}}}),
            "`options.media.call_to_actions.app_install`",
        ),
        (
            json!({"media": {"call_to_actions": {"visit_site": {}}}}),
            "`options.media.call_to_actions.visit_site.url`",
        ),
        (
            json!({"reply": {"exclude_reply_user_ids": ["a"]}}),
            "`options.reply.exclude_reply_user_ids[0]`",
        ),
    ] {
        let fault = parse_options(&value).unwrap_err();
        assert!(fault.detail.contains(place), "{value}: {fault}");
        assert_eq!(fault.code, "options_invalid");
        assert!(fault.permanent && !fault.hint.is_empty());
    }
}

#[test]
fn what_x_does_not_take_together_is_told() {
    let one_of_five = [
        "card_uri",
        "direct_message_deep_link",
        "poll",
        "quote_tweet_id",
    ];
    let value = |key: &str| good().into_iter().find(|(k, _)| *k == key).unwrap().1;
    for first in one_of_five {
        assert_eq!(codes(&json!({first: value(first)}), 0, false), [""; 0]);
        assert_eq!(
            codes(&json!({first: value(first)}), 1, false),
            ["options_conflict"],
            "{first}"
        );
        for second in one_of_five.into_iter().filter(|second| *second != first) {
            let both = json!({first: value(first), second: value(second)});
            assert_eq!(
                codes(&both, 0, false),
                ["options_conflict"],
                "{first} {second}"
            );
        }
    }
    assert_eq!(
        codes(&json!({"media": {"title": "t"}}), 0, false),
        ["options_conflict"]
    );
    assert_eq!(codes(&json!({"media": {"title": "t"}}), 1, false), [""; 0]);
    assert_eq!(
        codes(
            &json!({"edit_options": value("edit_options"), "community_id": "1"}),
            0,
            false
        ),
        ["options_conflict"]
    );
}

#[test]
fn a_post_replies_to_exactly_one() {
    let to = json!({"reply": {"in_reply_to_tweet_id": "1"}});
    let without = json!({"reply": {"exclude_reply_user_ids": ["2"]}});
    assert_eq!(codes(&to, 0, false), [""; 0]);
    assert_eq!(codes(&to, 0, true), ["options_conflict"]);
    assert_eq!(codes(&without, 0, true), [""; 0]);
    assert_eq!(codes(&without, 0, false), ["options_invalid"]);
}

#[test]
fn the_request_has_text_media_and_reply() {
    let options =
        parse(&json!({"media": {"title": "t"}, "reply": {"exclude_reply_user_ids": ["2"]}}));
    let ids = ["7".to_owned(), "8".to_owned()];
    assert_eq!(
        create_body("hi", &options, &ids, Some("5")),
        json!({
            "text": "hi",
            "media": {"title": "t", "media_ids": ["7", "8"]},
            "reply": {"exclude_reply_user_ids": ["2"], "in_reply_to_tweet_id": "5"},
        })
    );
    let none = PostOptions::default();
    assert_eq!(
        create_body("", &none, &ids[..1], None),
        json!({"text": "", "media": {"media_ids": ["7"]}})
    );
    assert_eq!(
        create_body("a", &none, &[], Some("5")),
        json!({"text": "a", "reply": {"in_reply_to_tweet_id": "5"}})
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "([0-9]{0,20}|\\PC{0,30}|verified)".prop_map(Value::from),
    ];
    let key = "(poll|options|duration_minutes|reply|reply_settings|media|title|geo|place_id|nullcast|é{70}|x)";
    leaf.prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused_and_what_is_read_reads_again(value in any_json()) {
        if let Ok(options) = parse_options(&value) {
            let written = serde_json::to_value(&options).unwrap();
            prop_assert_eq!(parse_options(&written).unwrap(), options);
        }
    }

    #[test]
    fn any_choice_of_fields_is_read_and_judged(picks in proptest::collection::vec(0_usize..15, 0..6), media in 0_usize..5) {
        let fields: serde_json::Map<_, _> =
            picks.iter().map(|pick| good().swap_remove(*pick)).map(|(k, v)| (k.to_owned(), v)).collect();
        let exclusive = ["card_uri", "direct_message_deep_link", "poll", "quote_tweet_id"];
        let attached = exclusive.iter().filter(|key| fields.contains_key(**key)).count() + usize::from(media > 0);
        let options = parse(&json!(fields));
        let faults = check_exclusions(&options, media, false);
        prop_assert_eq!(faults.iter().any(|f| f.detail.starts_with("there are")), attached > 1);
    }
}
