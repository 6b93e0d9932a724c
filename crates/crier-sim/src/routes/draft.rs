//! The body of `POST /2/tweets` by its schema, closed at every level (x-api.md 4.1).
//!
//! Invariant: a draft exists only if every member is of the right type, within its bounds, and no two
//! members exclude each other.

use serde_json::{Map, Value};

use crate::problem;
use crate::reply::Reply;
use crate::schema::{Checker, Place};

const MEMBERS: [&str; 16] = [
    "card_uri",
    "community_id",
    "direct_message_deep_link",
    "edit_options",
    "for_super_followers_only",
    "geo",
    "made_with_ai",
    "media",
    "nullcast",
    "paid_partnership",
    "poll",
    "quote_tweet_id",
    "reply",
    "reply_settings",
    "share_with_followers",
    "text",
];

const REPLY_SETTINGS: [&str; 4] = ["following", "mentionedUsers", "subscribers", "verified"];

/// At most one of these (x-api.md 4.1, mutual exclusions).
const EXCLUSIVE: [&str; 5] = [
    "poll",
    "quote_tweet_id",
    "direct_message_deep_link",
    "media",
    "card_uri",
];

/// What the deed needs of a body that is in order.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) media_ids: Vec<String>,
    pub(super) reply_to: Option<String>,
    pub(super) quotes: Option<String>,
    pub(super) edits: Option<String>,
    pub(super) nullcast: bool,
    pub(super) has_poll: bool,
    pub(super) for_community: bool,
}

/// Checks the body.
pub(super) fn read(members: &Map<String, Value>) -> Result<Draft, Reply> {
    let body = Place::root(members);
    let mut check = Checker::default();
    let mut draft = Draft::default();
    check.closed(body, &MEMBERS);
    draft.text = check.string(body, "text").unwrap_or_default();
    for name in ["card_uri", "direct_message_deep_link"] {
        check.string(body, name);
    }
    for name in [
        "for_super_followers_only",
        "made_with_ai",
        "paid_partnership",
        "share_with_followers",
    ] {
        check.boolean(body, name);
    }
    draft.nullcast = check.boolean(body, "nullcast") == Some(true);
    draft.for_community = check.id(body, "community_id").is_some();
    draft.quotes = check.id(body, "quote_tweet_id");
    check.word(body, "reply_settings", &REPLY_SETTINGS);
    if let Some(members) = check.object(body, "reply") {
        draft.reply_to = reply(&mut check, members);
    }
    if let Some(members) = check.object(body, "geo") {
        let place = inside(members, "$.geo");
        check.closed(place, &["place_id"]);
        check.required(place, &["place_id"]);
        check.string(place, "place_id");
    }
    if let Some(members) = check.object(body, "edit_options") {
        let place = inside(members, "$.edit_options");
        check.closed(place, &["previous_post_id"]);
        check.required(place, &["previous_post_id"]);
        draft.edits = check.id(place, "previous_post_id");
    }
    if let Some(members) = check.object(body, "poll") {
        draft.has_poll = true;
        poll(&mut check, members);
    }
    if let Some(members) = check.object(body, "media") {
        draft.media_ids = media(&mut check, members);
    }
    check.finish()?;
    let named: Vec<_> = EXCLUSIVE
        .into_iter()
        .filter(|name| members.contains_key(*name))
        .collect();
    if named.len() > 1 {
        return Err(problem::invalid_parameter(
            &format!("Only one of [{}] may be given.", named.join(", ")),
            named[1],
            named[1],
        ));
    }
    Ok(draft)
}

fn inside<'a>(members: &'a Map<String, Value>, path: &'a str) -> Place<'a> {
    Place { members, path }
}

fn reply(check: &mut Checker, members: &Map<String, Value>) -> Option<String> {
    let place = inside(members, "$.reply");
    check.closed(
        place,
        &[
            "auto_populate_reply_metadata",
            "exclude_reply_user_ids",
            "in_reply_to_tweet_id",
        ],
    );
    check.required(place, &["in_reply_to_tweet_id"]);
    check.boolean(place, "auto_populate_reply_metadata");
    check.ids(place, "exclude_reply_user_ids", 0, usize::MAX);
    check.id(place, "in_reply_to_tweet_id")
}

fn poll(check: &mut Checker, members: &Map<String, Value>) {
    let place = inside(members, "$.poll");
    check.closed(place, &["duration_minutes", "options", "reply_settings"]);
    check.required(place, &["duration_minutes", "options"]);
    check.integer(place, "duration_minutes", 5, 10_080);
    check.word(place, "reply_settings", &REPLY_SETTINGS);
    let Some(options) = members.get("options") else {
        return;
    };
    let good = |option: &Value| {
        option
            .as_str()
            .is_some_and(|text| (1..=25).contains(&text.chars().count()))
    };
    let list = options.as_array();
    if !list.is_some_and(|list| (2..=4).contains(&list.len()) && list.iter().all(good)) {
        check.fault(
            "$.poll.options",
            options,
            "must be an array of 2 to 4 strings of 1 to 25 characters",
        );
    }
}

fn media(check: &mut Checker, members: &Map<String, Value>) -> Vec<String> {
    let place = inside(members, "$.media");
    check.closed(
        place,
        &[
            "call_to_actions",
            "description",
            "embeddable",
            "media_ids",
            "preview_media_id",
            "tagged_user_ids",
            "title",
        ],
    );
    check.required(place, &["media_ids"]);
    check.string(place, "description");
    check.string(place, "title");
    check.boolean(place, "embeddable");
    check.id(place, "preview_media_id");
    check.ids(place, "tagged_user_ids", 0, 10);
    if let Some(members) = check.object(place, "call_to_actions") {
        call_to_actions(check, members);
    }
    check.ids(place, "media_ids", 1, 4).unwrap_or_default()
}

fn call_to_actions(check: &mut Checker, members: &Map<String, Value>) {
    let path = "$.media.call_to_actions";
    let place = inside(members, path);
    check.closed(place, &["app_install", "visit_site", "watch_now"]);
    if members.len() != 1 {
        let what = "must hold exactly one of [app_install, visit_site, watch_now]";
        check.fault(path, &Value::Object(members.clone()), what);
    }
    if let Some(stores) = check.object(place, "app_install") {
        let names = ["app_store_id", "ipad_app_store_id", "play_store_id"];
        let inner = inside(stores, "$.media.call_to_actions.app_install");
        check.closed(inner, &names);
        for name in names {
            check.string(inner, name);
        }
    }
    for (name, path) in [
        ("visit_site", "$.media.call_to_actions.visit_site"),
        ("watch_now", "$.media.call_to_actions.watch_now"),
    ] {
        if let Some(link) = check.object(place, name) {
            let inner = inside(link, path);
            check.closed(inner, &["url"]);
            check.required(inner, &["url"]);
            check.string(inner, "url");
        }
    }
}
