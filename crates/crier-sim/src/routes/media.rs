//! The chunked upload: initialize, append, finalize, STATUS (x-api.md 3.3 to 3.6).
//!
//! Invariant: a session is seen by its owner only, and what it became holds exactly the bytes of the
//! newest copy of each segment, in order.

use serde_json::{Value, json};

use super::Outcome;
use crate::auth::Caller;
use crate::call::{Call, value};
use crate::clock::seconds;
use crate::ingest::{MediaPart, Payload, Upload};
use crate::options::is_id;
use crate::problem;
use crate::reply::Reply;
use crate::schema::{Checker, Place};
use crate::sniff::Kind;
use crate::state::World;
use crate::state::media::{Class, Media, NewMedia, SESSION_LIFE_S, Stage};

/// `media_category` of initialize (x-api.md 3.3).
const CATEGORIES: [&str; 8] = [
    "amplify_video",
    "tweet_gif",
    "tweet_image",
    "tweet_video",
    "dm_gif",
    "dm_image",
    "dm_video",
    "subtitles",
];

/// `media_type` of initialize (x-api.md 3.3).
const TYPES: [&str; 15] = [
    "video/mp4",
    "video/webm",
    "video/mp2t",
    "video/quicktime",
    "text/srt",
    "text/vtt",
    "image/jpeg",
    "image/gif",
    "image/bmp",
    "image/png",
    "image/webp",
    "image/pjpeg",
    "image/tiff",
    "model/gltf-binary",
    "model/vnd.usdz+zip",
];

/// `total_bytes` of the schema; the limits of 3.7 are far lower.
const SCHEMA_BYTES: u64 = 17_179_869_184;
/// Owners besides the uploading user (x-api.md 3.3).
pub(super) const MAX_OWNERS: usize = 100;
/// Highest `segment_index` (x-api.md 3.4).
const LAST_SEGMENT: u64 = 999;

/// The answer in X's envelope, or without it (x-api.md 3.1).
pub(super) fn wrapped(world: &World, data: &Value) -> Reply {
    if world.options.unwrapped_media_replies {
        Reply::json(200, data)
    } else {
        Reply::json(200, &json!({"data": data}))
    }
}

/// The refusal of a file that is too large for its kind (x-api.md 3.7).
pub(super) fn too_big(class: Class, bytes: u64) -> Reply {
    let message = format!(
        "File size of {bytes} bytes exceeds the limit of {} bytes.",
        class.max_bytes()
    );
    problem::invalid_parameter(&message, "total_bytes", &bytes.to_string())
}

/// The refusal of bytes that are not what they were said to be (x-api.md 3.5).
pub(super) fn unrecognized() -> Reply {
    problem::invalid_request("media type unrecognized")
}

/// Opens a session.
pub(super) fn initialize(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let members = call.json_object()?;
    let body = Place::root(&members);
    let mut check = Checker::default();
    check.closed(
        body,
        &[
            "additional_owners",
            "media_category",
            "media_type",
            "shared",
            "total_bytes",
        ],
    );
    // The schema marks none as required; every client sends all three (x-api.md 3.3).
    check.required(body, &["media_category", "media_type", "total_bytes"]);
    let category = check.word(body, "media_category", &CATEGORIES);
    let media_type = check.word(body, "media_type", &TYPES);
    let total_bytes = check.integer(body, "total_bytes", 0, SCHEMA_BYTES);
    let owners = check.ids(body, "additional_owners", 0, MAX_OWNERS);
    check.boolean(body, "shared");
    check.finish()?;
    let (Some(category), Some(media_type), Some(total_bytes)) = (category, media_type, total_bytes)
    else {
        return Err(problem::internal("a checked member is missing"));
    };
    let class = Class::of(&category).ok_or_else(unrecognized)?;
    if !class.takes(&media_type) {
        return Err(problem::invalid_parameter(
            &format!("$.media_type: [{media_type}] does not belong to media_category [{category}]"),
            "$.media_type",
            &media_type,
        ));
    }
    if total_bytes > class.max_bytes() {
        return Err(too_big(class, total_bytes));
    }
    let new = NewMedia {
        id: world.chance.snowflake(now_us),
        owner: caller.account.clone(),
        additional_owners: owners.unwrap_or_default(),
        category,
        class,
        mime: media_type,
        total_bytes,
    };
    let media = world.media.open(new, now_us);
    let data = json!({
        "id": media.id.to_string(),
        "media_key": media.key,
        "expires_after_secs": SESSION_LIFE_S,
    });
    Ok(wrapped(world, &data))
}

/// The caller's open session of that id, or 404.
fn session<'a>(
    world: &'a mut World,
    caller: &Caller,
    id: &str,
    now_us: i64,
) -> Result<&'a mut Media, Reply> {
    world
        .media
        .get_mut(id)
        .filter(|media| media.owner == caller.account && media.is_open(now_us))
        .ok_or_else(|| problem::not_found("media", "id", id))
}

/// Takes a segment; one of the same number replaces it.
pub(super) fn append(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let id = call.path_id()?;
    session(world, caller, id, now_us)?;
    let upload = upload(call)?;
    let index = segment_index(upload)?;
    let extent = match upload.media {
        MediaPart::Stored(extent) => extent,
        MediaPart::Absent => return Err(member(upload, "media", "is missing but it is required")),
        MediaPart::Twice => return Err(member(upload, "media", "is there twice")),
        MediaPart::Undecodable => {
            return Err(member(upload, "media", "must be a base64 string"));
        }
    };
    let media = session(world, caller, id, now_us)?;
    let resent = media.segments.insert(index, extent).is_some();
    media.version += 1;
    let expires_at = seconds(media.session_until_us);
    world.records.appends += 1;
    world.records.resent_segments += u64::from(resent);
    if let Some(record) = world.records.get_mut(call.number) {
        record.segment_index = Some(index);
        record.bytes = Some(extent.len);
    }
    if world.options.empty_append_replies {
        return Ok(Reply::empty(204));
    }
    Ok(wrapped(world, &json!({"expires_at": expires_at})))
}

/// The body of a call that carries a file, or why it is not one.
pub(super) fn upload(call: &Call) -> Result<&Upload, Reply> {
    match &call.payload {
        Payload::Upload(upload) => Ok(upload),
        Payload::Broken(why) => Err(problem::invalid_request(why)),
        Payload::Bytes(_)
        | Payload::Form(_)
        | Payload::TooLarge
        | Payload::Disk(_)
        | Payload::Gone
        | Payload::Discarded => Err(problem::invalid_request(
            "Requests with bodies must have content-type of application/json or multipart/form-data.",
        )),
    }
}

/// A fault of one member.
pub(super) fn member(upload: &Upload, name: &str, what: &str) -> Reply {
    let value = upload
        .members
        .iter()
        .find(|(key, _)| key == name)
        .map_or(&Value::Null, |(_, value)| value);
    let path = format!("$.{name}");
    problem::invalid(&[problem::field_error(
        &format!("{path}: {what}"),
        &path,
        value,
    )])
}

/// Refuses members that are not in the list, and those that are there twice.
pub(super) fn closed(upload: &Upload, allowed: &[&str]) -> Result<(), Reply> {
    for (at, (name, _)) in upload.members.iter().enumerate() {
        if !allowed.contains(&name.as_str()) {
            let what =
                "is not defined in the schema and the schema does not allow additional properties";
            return Err(member(upload, name, what));
        }
        if upload.members[..at].iter().any(|(other, _)| other == name) {
            return Err(member(upload, name, "is there twice"));
        }
    }
    Ok(())
}

fn segment_index(upload: &Upload) -> Result<u32, Reply> {
    closed(upload, &["segment_index"])?;
    let what = "is required and must be an integer from 0 to 999";
    upload
        .members
        .first()
        .and_then(|(_, value)| match value {
            // A form has nothing but strings; in JSON the schema wants an integer.
            Value::String(text) if !upload.json && is_id(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64(),
            Value::String(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        })
        .filter(|index| *index <= LAST_SEGMENT)
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| member(upload, "segment_index", what))
}

/// Makes a medium of the session.
pub(super) fn finalize(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let id = call.path_id()?;
    let members = call.json_object()?;
    let mut check = Checker::default();
    check.closed(Place::root(&members), &[]);
    check.finish()?;
    let again = world
        .media
        .get(id)
        .filter(|media| media.owner == caller.account && media.is_live(now_us));
    if let Some(media) = again
        && !world.options.refuse_second_finalize
    {
        let data = media.describe(&world.options, now_us);
        return Ok(wrapped(world, &data.unwrap_or_default()));
    }
    let options = world.options.clone();
    let media = session(world, caller, id, now_us)?;
    let sum: u64 = media.segments.values().map(|extent| extent.len).sum();
    let gapless = media.segments.keys().copied().eq(0..count(media));
    if sum != media.total_bytes || !gapless {
        return Err(problem::invalid_request(
            "Segments do not add up to provided total file size.",
        ));
    }
    let Some((version, digest)) = &call.digest else {
        return Err(unrecognized());
    };
    if *version != media.version {
        return Err(problem::blank(
            503,
            "Service Unavailable",
            "Service Unavailable",
        ));
    }
    if !Kind::of(&digest.head).is_some_and(|kind| kind.is(&media.mime)) {
        return Err(unrecognized());
    }
    media.finish(digest, &options, now_us);
    let data = media.describe(&options, now_us).unwrap_or_default();
    Ok(wrapped(world, &data))
}

fn count(media: &Media) -> u32 {
    u32::try_from(media.segments.len()).unwrap_or(u32::MAX)
}

/// How processing goes. Only for what is processed: a plain image is 400 (x-api.md 3.6).
pub(super) fn status(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let query = call.query();
    if let Some((name, value)) = query
        .iter()
        .find(|(name, _)| name != "media_id" && name != "command")
    {
        return Err(problem::invalid_parameter(
            &format!("The query parameter [{name}] is not one of [media_id,command]"),
            name,
            value,
        ));
    }
    if let Some(other) = value(&query, "command").filter(|command| *command != "STATUS") {
        return Err(problem::invalid_parameter(
            &format!("The `command` query parameter value [{other}] is not one of [STATUS]"),
            "command",
            other,
        ));
    }
    let id = value(&query, "media_id").unwrap_or_default();
    if !is_id(id) {
        return Err(problem::invalid_parameter(
            &format!("The `media_id` query parameter value [{id}] does not match ^[0-9]{{1,19}}$"),
            "media_id",
            id,
        ));
    }
    let media = world
        .media
        .get(id)
        .filter(|media| media.is_open(now_us) || media.is_live(now_us))
        .filter(|media| media.may_use(&caller.account))
        .ok_or_else(|| problem::not_found("media", "media_id", id))?;
    let data = media
        .describe(&world.options, now_us)
        .filter(|data| data.get("processing_info").is_some());
    data.map(|data| wrapped(world, &data)).ok_or_else(|| {
        problem::invalid_parameter(
            &format!("The media [{id}] has no processing to ask about."),
            "media_id",
            id,
        )
    })
}

/// A medium that is ready for a post or for its metadata, and that the caller may use.
pub(super) fn usable<'a>(
    world: &'a World,
    account: &str,
    id: &str,
    now_us: i64,
) -> Option<&'a Media> {
    world.media.get(id).filter(|media| {
        media.may_use(account) && media.is_live(now_us) && media.stage(now_us) == Some(Stage::Ready)
    })
}
