//! Alt text and the rest of a medium's metadata, and subtitles (x-api.md 3.8).
//!
//! Invariant: only the owner describes a medium, and only while it lives.

use serde_json::{Value, json};

use super::Outcome;
use crate::auth::Caller;
use crate::call::Call;
use crate::problem;
use crate::reply::Reply;
use crate::schema::{Checker, Place};
use crate::state::World;
use crate::state::media::{Class, Media};

/// Longest alt text in characters (x-api.md 3.8).
const ALT_LIMIT: usize = 1_000;
/// Most stickers (x-api.md 3.8).
const STICKERS: usize = 25;

/// The subtitle endpoints' own spelling of categories (x-api.md 3.8).
const SUBTITLED: [&str; 2] = ["AmplifyVideo", "TweetVideo"];

/// Members of `metadata`, all of them objects.
const METADATA: [&str; 13] = [
    "allow_download_status",
    "alt_text",
    "audience_policy",
    "content_expiration",
    "domain_restrictions",
    "found_media_origin",
    "geo_restrictions",
    "management_info",
    "preview_image",
    "sensitive_media_warning",
    "shared_info",
    "sticker_info",
    "upload_source",
];

fn owned<'a>(
    world: &'a mut World,
    caller: &Caller,
    id: &str,
    now_us: i64,
) -> Result<&'a mut Media, Reply> {
    world
        .media
        .get_mut(id)
        .filter(|media| media.owner == caller.account && media.is_live(now_us))
        .ok_or_else(|| problem::not_found("media", "id", id))
}

/// Sets metadata; what is not named stays.
pub(super) fn set(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let members = call.json_object()?;
    let body = Place::root(&members);
    let mut check = Checker::default();
    check.closed(body, &["id", "metadata"]);
    check.required(body, &["id"]);
    let id = check.id(body, "id");
    let mut alt_text = None;
    let metadata = check.object(body, "metadata");
    if let Some(metadata) = metadata {
        alt_text = check_metadata(&mut check, metadata);
    }
    check.finish()?;
    let media = owned(world, caller, &id.unwrap_or_default(), now_us)?;
    if let Some(metadata) = metadata {
        media.metadata.extend(metadata.clone());
    }
    if alt_text.is_some() {
        media.alt_text = alt_text;
    }
    let data = json!({
        "id": media.id.to_string(),
        "associated_metadata": media.metadata,
    });
    Ok(Reply::json(200, &json!({"data": data})))
}

/// Checks the members of `metadata` by the spec, and gives the alt text.
fn check_metadata(
    check: &mut Checker,
    metadata: &serde_json::Map<String, Value>,
) -> Option<String> {
    let place = Place {
        members: metadata,
        path: "$.metadata",
    };
    check.closed(place, &METADATA);
    let mut alt_text = None;
    for name in METADATA {
        let Some(members) = check.object(place, name) else {
            continue;
        };
        let path = format!("$.metadata.{name}");
        let inner = Place {
            members,
            path: &path,
        };
        match name {
            "alt_text" => {
                only(check, inner, &["text"]);
                alt_text = check.short_string(inner, "text", ALT_LIMIT);
            }
            "allow_download_status" => {
                check.closed(inner, &["allow_download"]);
                check.boolean(inner, "allow_download");
            }
            "content_expiration" => {
                only(check, inner, &["timestamp_sec"]);
                check.number(inner, "timestamp_sec");
            }
            "domain_restrictions" => {
                only(check, inner, &["whitelist"]);
                check.strings(inner, "whitelist");
            }
            "found_media_origin" => {
                only(check, inner, &["id", "provider"]);
                check.string(inner, "id");
                check.string(inner, "provider");
            }
            "management_info" => {
                only(check, inner, &["managed"]);
                check.boolean(inner, "managed");
            }
            "preview_image" => {
                only(check, inner, &["media_key"]);
                check.object(inner, "media_key");
            }
            "sensitive_media_warning" => {
                let kinds = ["adult_content", "graphic_violence", "other"];
                check.closed(inner, &kinds);
                for kind in kinds {
                    check.boolean(inner, kind);
                }
            }
            "shared_info" => {
                only(check, inner, &["shared"]);
                check.boolean(inner, "shared");
            }
            "sticker_info" => {
                only(check, inner, &["stickers"]);
                let stickers = members.get("stickers").unwrap_or(&Value::Null);
                let good =
                    |list: &Vec<Value>| list.len() <= STICKERS && list.iter().all(Value::is_object);
                if !stickers.as_array().is_some_and(good) {
                    let what = format!("must be an array of at most {STICKERS} objects");
                    check.fault(&format!("{path}.stickers"), stickers, &what);
                }
            }
            "upload_source" => {
                only(check, inner, &["upload_source"]);
                check.string(inner, "upload_source");
            }
            _ => {}
        }
    }
    alt_text
}

/// These members, all of them and no other.
fn only(check: &mut Checker, place: Place<'_>, names: &[&str]) {
    check.closed(place, names);
    check.required(place, names);
}

/// Ties a subtitle track to a video.
pub(super) fn add_subtitles(
    world: &mut World,
    caller: &Caller,
    call: &Call,
    now_us: i64,
) -> Outcome {
    let members = call.json_object()?;
    let body = Place::root(&members);
    let mut check = Checker::default();
    check.closed(body, &["id", "media_category", "subtitles"]);
    check.required(body, &["id", "media_category", "subtitles"]);
    let id = check.id(body, "id").unwrap_or_default();
    let category = check.word(body, "media_category", &SUBTITLED);
    let mut track = None;
    if let Some(members) = check.object(body, "subtitles") {
        let inner = Place {
            members,
            path: "$.subtitles",
        };
        check.closed(inner, &["id", "language_code", "display_name"]);
        check.required(inner, &["id", "language_code"]);
        check.string(inner, "display_name");
        let language = check.string(inner, "language_code").filter(|code| {
            let good = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
            if !good {
                let value = Value::String(code.clone());
                check.fault("$.subtitles.language_code", &value, "must match ^[A-Z]{2}$");
            }
            good
        });
        track = check.id(inner, "id").zip(language);
    }
    check.finish()?;
    let (Some((track, language)), Some(category)) = (track, category) else {
        return Err(problem::internal("a checked member is missing"));
    };
    let is_track = world.media.get(&track).is_some_and(|media| {
        media.owner == caller.account && media.is_live(now_us) && media.class == Class::Subtitles
    });
    if !is_track {
        return Err(problem::not_found("media", "subtitles.id", &track));
    }
    let video = video(world, caller, &id, &category, now_us)?;
    let subtitles = members.get("subtitles").cloned().unwrap_or_default();
    video.subtitles.insert(language, subtitles);
    let all: Vec<_> = video.subtitles.values().cloned().collect();
    let data = json!({
        "id": id,
        "media_category": category,
        "associated_subtitles": {"subtitles": all},
    });
    Ok(Reply::json(200, &json!({"data": data})))
}

/// Takes a track away; the body is JSON here too (x-api.md 3.8).
pub(super) fn delete_subtitles(
    world: &mut World,
    caller: &Caller,
    call: &Call,
    now_us: i64,
) -> Outcome {
    let members = call.json_object()?;
    let body = Place::root(&members);
    let mut check = Checker::default();
    let names = ["id", "media_category", "language_code"];
    check.closed(body, &names);
    check.required(body, &names);
    let id = check.id(body, "id").unwrap_or_default();
    let category = check.word(body, "media_category", &SUBTITLED);
    let language = check.string(body, "language_code").unwrap_or_default();
    check.finish()?;
    let video = video(world, caller, &id, &category.unwrap_or_default(), now_us)?;
    let deleted = video.subtitles.remove(&language).is_some();
    Ok(Reply::json(200, &json!({"data": {"deleted": deleted}})))
}

fn video<'a>(
    world: &'a mut World,
    caller: &Caller,
    id: &str,
    category: &str,
    now_us: i64,
) -> Result<&'a mut Media, Reply> {
    let wanted = if category == "AmplifyVideo" {
        "amplify_video"
    } else {
        "tweet_video"
    };
    owned(world, caller, id, now_us).and_then(|media| {
        if media.category == wanted {
            Ok(media)
        } else {
            Err(problem::invalid_parameter(
                &format!("$.media_category: the media is not a [{category}]"),
                "$.media_category",
                category,
            ))
        }
    })
}
