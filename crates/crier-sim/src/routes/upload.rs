//! `POST /2/media/upload`: a file in one call (x-api.md 3.2).
//!
//! Invariant: what comes out is a medium like any other; there is no session before it.

use serde_json::Value;

use super::Outcome;
use super::media::{MAX_OWNERS, closed, member, too_big, unrecognized, upload, wrapped};
use crate::auth::Caller;
use crate::call::Call;
use crate::ingest::{MediaPart, Upload};
use crate::options::is_id;
use crate::problem;
use crate::reply::Reply;
use crate::sniff::Kind;
use crate::state::World;
use crate::state::media::{Class, NewMedia};

/// `media_category` of this call (spec 2.167).
const CATEGORIES: [&str; 7] = [
    "tweet_image",
    "tweet_video",
    "tweet_gif",
    "dm_image",
    "dm_video",
    "dm_gif",
    "subtitles",
];

/// Takes a whole file.
pub(super) fn one_shot(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let upload = upload(call)?;
    closed(upload, &["media_category", "additional_owners"])?;
    match upload.media {
        MediaPart::Stored(_) => {}
        MediaPart::Absent => return Err(member(upload, "media", "is missing but it is required")),
        MediaPart::Twice => return Err(member(upload, "media", "is there twice")),
        MediaPart::Undecodable => return Err(member(upload, "media", "must be a base64 string")),
    }
    let category = text(upload, "media_category")?
        .filter(|category| CATEGORIES.contains(category))
        .ok_or_else(|| {
            let what = format!("is required and must be one of {CATEGORIES:?}");
            member(upload, "media_category", &what)
        })?;
    let owners: Vec<String> = text(upload, "additional_owners")?
        .map(|list| list.split(',').map(|id| id.trim().to_owned()).collect())
        .unwrap_or_default();
    if owners.len() > MAX_OWNERS || !owners.iter().all(|id| is_id(id)) {
        let what = "must be user ids, separated by commas";
        return Err(member(upload, "additional_owners", what));
    }
    let class = Class::of(category).ok_or_else(unrecognized)?;
    let digest = upload
        .digest
        .as_ref()
        .ok_or_else(|| problem::internal("the file was not read"))?;
    let media_type = Kind::of(&digest.head)
        .map(Kind::media_type)
        .filter(|media_type| class.takes(media_type))
        .ok_or_else(unrecognized)?;
    if digest.bytes > class.max_bytes() {
        return Err(too_big(class, digest.bytes));
    }
    let new = NewMedia {
        id: world.chance.snowflake(now_us),
        owner: caller.account.clone(),
        additional_owners: owners,
        category: category.to_owned(),
        class,
        mime: media_type.to_owned(),
        total_bytes: digest.bytes,
    };
    let options = world.options.clone();
    let media = world.media.open(new, now_us);
    media.finish(digest, &options, now_us);
    let data = media.describe(&options, now_us).unwrap_or_default();
    Ok(wrapped(world, &data))
}

fn text<'a>(upload: &'a Upload, name: &str) -> Result<Option<&'a str>, Reply> {
    let found = upload.members.iter().find(|(key, _)| key == name);
    match found {
        None => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text)),
        Some(_) => Err(member(upload, name, "must be a string")),
    }
}
