//! v1.1: `POST /1.1/statuses/update_with_media.json` and the figures it goes by (x-api.md 7.1).
//!
//! Invariant: OAuth 1.0a alone opens it; a picture counts in the user's day only if its post is live;
//! every limit refuses with 403 and words of its own.

mod tweet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Outcome;
use super::posts::{Fresh, LIMIT, likeness, store};
use crate::auth::{credentials, oauth1};
use crate::call::{Call, value};
use crate::ingest::{Form, Payload};
use crate::limits;
use crate::problem;
use crate::reply::Reply;
use crate::route::Route;
use crate::sniff::Kind;
use crate::spool::{Digest, digest_of};
use crate::state::World;
use crate::state::accounts::Account;
use crate::state::posts::Attached;
use crate::text;

/// Largest GIF in bytes, animated or not (x-api.md 7.1).
const GIF_BYTES: u64 = 3 << 20;
/// Weighted characters of a link (x-api.md 4.4).
const LINK: u32 = 23;

/// Answers a call of v1.1: the caller, the plan, the window, the right, the request.
pub(super) fn answer(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let Some(header) = credentials(&call.headers, "OAuth") else {
        let known = credentials(&call.headers, "Bearer")
            .and_then(|token| world.grants.access(token))
            .is_some_and(|access| now_us < access.expires_us);
        return Err(if known {
            let words = "Your credentials do not allow access to this resource.";
            problem::v1(403, 220, words)
        } else {
            oauth1::bad_data()
        });
    };
    let user = oauth1::verify(world, call, header, now_us)?;
    if !world.options.v1 {
        return Err(problem::v1(
            403,
            453,
            "You currently have access to a subset of X API V2 endpoints and limited v1.1 endpoints (e.g. media post, oauth) only. If you need access to this endpoint, you may need a different access level. You can learn more here: https://developer.x.com/en/portal/product",
        ));
    }
    let author = world
        .accounts
        .get(&user.account)
        .cloned()
        .ok_or_else(oauth1::bad_token)?;
    let caller = limits::Caller {
        account: &user.account,
        app: &user.client_id,
        route: call.route,
    };
    let taken = world.take_limit(caller, now_us);
    let outcome = if !taken.allowed {
        let day_is_over = taken
            .standings
            .iter()
            .any(|standing| standing.remaining == 0 && standing.prefix == "x-user-limit-24hour");
        Err(if day_is_over {
            problem::v1(403, 185, "User is over daily status update limit.")
        } else {
            problem::v1(429, 88, "Rate limit exceeded")
        })
    } else if call.route == Route::Configuration {
        Ok(Reply::json(200, &configuration(world)))
    } else if user.may_write {
        update(world, caller, &author, call, now_us)
    } else {
        let words = "Application cannot perform write actions. Contact Twitter Platform Operations through https://support.twitter.com/forms/platform.";
        Err(problem::v1(403, 261, words))
    };
    let mut reply = outcome.unwrap_or_else(|refusal| refusal);
    let mut standings = taken.standings;
    // The daily limits of v2 have no headers here.
    standings.retain(|standing| standing.prefix == "x-rate-limit");
    if call.route == Route::UpdateWithMedia {
        standings.extend(world.take_media(caller, 0, now_us).standings);
    }
    for standing in &standings {
        reply.headers.extend(standing.headers());
    }
    Ok(reply)
}

/// What `GET /1.1/help/configuration.json` tells.
fn configuration(world: &World) -> Value {
    let options = &world.options;
    let size = |w: u32, h: u32, resize: &str| json!({"w": w, "h": h, "resize": resize});
    json!({
        "characters_reserved_per_media": options.v1_characters_reserved_per_media,
        "dm_text_character_limit": 10_000,
        "max_media_per_upload": options.v1_max_media_per_upload,
        "non_username_paths": ["about", "account", "i", "login", "oauth", "search", "share"],
        "photo_size_limit": options.v1_photo_size_limit,
        "photo_sizes": {
            "thumb": size(150, 150, "crop"),
            "small": size(340, 480, "fit"),
            "medium": size(600, 1_200, "fit"),
            "large": size(1_024, 2_048, "fit"),
        },
        "short_url_length": LINK,
        "short_url_length_https": LINK,
    })
}

/// A picture of a form, and the id it gets.
struct Picture {
    id: u64,
    kind: Kind,
    digest: Digest,
}

fn update(
    world: &mut World,
    caller: limits::Caller<'_>,
    author: &Account,
    call: &Call,
    now_us: i64,
) -> Outcome {
    let empty = Form::default();
    let form = match &call.payload {
        Payload::Form(form) => form,
        Payload::Broken(why) => return Err(problem::v1(400, 214, why)),
        Payload::Bytes(_)
        | Payload::Upload(_)
        | Payload::TooLarge
        | Payload::Disk(_)
        | Payload::Gone
        | Payload::Discarded => &empty,
    };
    let of = |name| value(&form.members, name);
    let missing = |name: &str| problem::v1(403, 38, &format!("{name} parameter is missing."));
    let status = of("status").ok_or_else(|| missing("status"))?;
    if form.files.is_empty() {
        return Err(missing("media[]"));
    }
    let sensitive = flag(of("possibly_sensitive"), "possibly_sensitive")?;
    let show_place = flag(of("display_coordinates"), "display_coordinates")?;
    let pictures = pictures(world, &form.files, now_us)?;
    let cleaned = text::clean(status);
    check_length(world, &cleaned, &pictures)?;
    let reply_to = reply_target(world, of("in_reply_to_status_id"), &cleaned)?;
    let hashes: Vec<_> = pictures.iter().map(|p| &p.digest.sha256).collect();
    // Nothing but the bytes can tell two uploads of one picture apart from two pictures.
    let likeness = likeness(author, &json!(["v1.1", cleaned, reply_to, hashes]));
    if world
        .posts
        .is_duplicate(&likeness, world.options.duplicate_window_s, now_us)
    {
        return Err(problem::v1(403, 187, "Status is a duplicate."));
    }
    let count = u32::try_from(pictures.len()).unwrap_or(u32::MAX);
    if !world.take_media(caller, count, now_us).allowed {
        let words = "User is over daily media upload limit.";
        return Err(Reply::json(403, &json!({"errors": [{"message": words}]})));
    }
    let request = form
        .members
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let fresh = Fresh {
        account: author.id.clone(),
        text: status.to_owned(),
        cleaned: cleaned.clone(),
        media: pictures.iter().map(attached).collect(),
        reply_to,
        quotes: None,
        nullcast: false,
        history: Vec::new(),
        request: Value::Object(request),
        likeness,
    };
    let post = store(world, fresh, now_us);
    let mut tweet = tweet::tweet(world, author, &post, &cleaned, &pictures);
    tweet["possibly_sensitive"] = json!(sensitive);
    tweet::place(&mut tweet, of, show_place);
    Ok(Reply::json(200, &tweet))
}

fn flag(given: Option<&str>, name: &str) -> Result<bool, Reply> {
    match given {
        Some("true" | "t" | "1") => Ok(true),
        None | Some("false" | "f" | "0" | "") => Ok(false),
        Some(_) => Err(problem::v1(
            400,
            44,
            &format!("{name} parameter is invalid."),
        )),
    }
}

/// The pictures of a form, raw or in base64, within the figures of the configuration.
fn pictures(world: &mut World, files: &[Vec<u8>], now_us: i64) -> Result<Vec<Picture>, Reply> {
    if files.len() > world.options.v1_max_media_per_upload {
        let words = "The number of media files exceeds max_media_per_upload.";
        return Err(problem::v1(403, 324, words));
    }
    let mut pictures: Vec<Picture> = Vec::new();
    for file in files {
        let mut digest = digest_of(file);
        let mut kind = Kind::of(&digest.head);
        if kind.is_none() {
            let text: Vec<u8> = file
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            if let Ok(decoded) = STANDARD.decode(text) {
                digest = digest_of(&decoded);
                kind = Kind::of(&digest.head);
            }
        }
        let Some(kind @ (Kind::Png | Kind::Jpeg | Kind::Gif)) = kind else {
            let words = "The media is neither PNG, JPG nor GIF.";
            return Err(problem::v1(400, 324, words));
        };
        let mut limit = world.options.v1_photo_size_limit;
        if kind == Kind::Gif {
            limit = limit.min(GIF_BYTES);
        }
        if digest.bytes > limit {
            let words = "One or more of the uploaded media is too large.";
            return Err(problem::v1(403, 193, words));
        }
        let id = world.chance.snowflake(now_us);
        pictures.push(Picture { id, kind, digest });
    }
    if pictures.len() > 1 && pictures.iter().any(|picture| picture.kind == Kind::Gif) {
        let words = "A GIF cannot be attached beside other media.";
        return Err(problem::v1(403, 323, words));
    }
    Ok(pictures)
}

/// Each picture takes characters of the text away (x-api.md 7.1).
fn check_length(world: &World, cleaned: &str, pictures: &[Picture]) -> Result<(), Reply> {
    let length = text::weighted_length(cleaned);
    if length > LIMIT {
        return Err(problem::v1(403, 186, "Tweet needs to be a bit shorter."));
    }
    let count = u32::try_from(pictures.len()).unwrap_or(u32::MAX);
    let reserved = world
        .options
        .v1_characters_reserved_per_media
        .saturating_mul(count);
    if length.saturating_add_unsigned(reserved) > LIMIT {
        let words = "Tweet needs to be a bit shorter: the media URL(s) cannot be appended without text truncation.";
        return Err(problem::v1(403, 186, words));
    }
    Ok(())
}

/// The post to reply to, unless the text does not mention its author.
fn reply_target(world: &World, given: Option<&str>, cleaned: &str) -> Result<Option<u64>, Reply> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let id: u64 = given
        .parse()
        .map_err(|_| problem::v1(400, 44, "in_reply_to_status_id parameter is invalid."))?;
    let target = world.posts.live(id).ok_or_else(|| {
        let words = "You attempted to reply to a Tweet that is deleted or not visible to you.";
        problem::v1(403, 385, words)
    })?;
    let author = world.accounts.handle(&target.account).to_ascii_lowercase();
    Ok(text::mentions(cleaned).contains(&author).then_some(id))
}

fn attached(picture: &Picture) -> Attached {
    let category = if picture.kind == Kind::Gif {
        "tweet_gif"
    } else {
        "tweet_image"
    };
    Attached {
        sha256: picture.digest.sha256.clone(),
        bytes: picture.digest.bytes,
        category: category.to_owned(),
        alt_text: None,
        key: format!("3_{}", picture.id),
    }
}
