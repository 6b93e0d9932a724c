//! `POST /2/tweets` and `DELETE /2/tweets/{id}` (x-api.md 4.1 to 4.5).
//!
//! Invariant: a post is made only if everything that X checks holds, and then exactly once; nothing of
//! a refused post remains, so that it can be sent again.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::draft::{self, Draft};
use super::media::usable;
use super::{Outcome, reads};
use crate::auth::Caller;
use crate::call::Call;
use crate::clock::seconds_us;
use crate::problem;
use crate::reply::Reply;
use crate::state::World;
use crate::state::accounts::Account;
use crate::state::media::Class;
use crate::state::posts::{Attached, Likeness, Post};
use crate::text;

/// Weighted characters of a post (x-api.md 4.4).
pub(super) const LIMIT: i32 = 280;
/// The same for Premium.
const LONG_LIMIT: i32 = 25_000;
/// Photos of a post (x-api.md 3.7).
const PHOTOS: usize = 4;
/// How long a post may be edited, in seconds, and how often (x-api.md 4.3; the longer of two figures).
const EDIT_S: u64 = 3_600;
const EDITS: usize = 5;

/// Makes a post, or an edit of one.
pub(super) fn create(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    let members = call.json_object()?;
    let draft = draft::read(&members)?;
    let author = world
        .accounts
        .get(&caller.account)
        .cloned()
        .ok_or_else(problem::unauthorized)?;
    let cleaned = text::clean(&draft.text);
    check_text(world, &author, &draft, &cleaned)?;
    let media = check_media(world, &author, &draft, now_us)?;
    let reply_to = check_reply(world, &author, &draft)?;
    let quotes = check_quote(world, &draft)?;
    let history = check_edit(world, &author, &draft, now_us)?;
    let likeness = likeness(&author, &json!([cleaned, draft.reply_to, draft.media_ids]));
    if !draft.nullcast
        && world
            .posts
            .is_duplicate(&likeness, world.options.duplicate_window_s, now_us)
    {
        return Err(problem::forbidden(
            "You are not allowed to create a Tweet with duplicate content.",
        ));
    }
    let fresh = Fresh {
        account: author.id,
        text: draft.text,
        cleaned,
        media,
        reply_to,
        quotes,
        nullcast: draft.nullcast,
        history,
        request: Value::Object(members),
        likeness,
    };
    let post = store(world, fresh, now_us);
    let data = json!({
        "id": post.id.to_string(),
        "text": reads::shown(&post),
        "edit_history_tweet_ids": reads::history(&post),
    });
    Ok(Reply::json(201, &json!({"data": data})))
}

/// A post that everything was checked of.
pub(super) struct Fresh {
    pub(super) account: String,
    pub(super) text: String,
    pub(super) cleaned: String,
    pub(super) media: Vec<Attached>,
    pub(super) reply_to: Option<u64>,
    pub(super) quotes: Option<u64>,
    pub(super) nullcast: bool,
    pub(super) history: Vec<u64>,
    pub(super) request: Value,
    pub(super) likeness: Likeness,
}

/// Makes it live.
pub(super) fn store(world: &mut World, fresh: Fresh, now_us: i64) -> Post {
    let chance = &mut world.chance;
    let id = chance.snowflake(now_us);
    let stored = text::shorten_links(&fresh.cleaned, chance);
    let mut tail = String::new();
    for appended in [fresh.quotes.is_some(), !fresh.media.is_empty()] {
        if appended {
            tail.push(' ');
            tail.push_str(&text::link_to(chance));
        }
    }
    if let Some(previous) = fresh.history.last() {
        world.posts.delete(*previous);
    }
    let mut history = fresh.history;
    history.push(id);
    let post = Post {
        id,
        account: fresh.account,
        text: fresh.text,
        mentions: text::mentions(&fresh.cleaned),
        stored,
        tail,
        media: fresh.media,
        reply_to: fresh.reply_to,
        quotes: fresh.quotes,
        received_at_us: now_us,
        nullcast: fresh.nullcast,
        deleted: false,
        history,
        request: fresh.request,
    };
    world.posts.insert(post.clone(), Some(fresh.likeness));
    world.records.posts += 1;
    post
}

fn check_text(world: &World, author: &Account, draft: &Draft, cleaned: &str) -> Result<(), Reply> {
    if cleaned.is_empty() && draft.media_ids.is_empty() {
        return Err(problem::invalid_parameter(
            "$.text: is required unless media is given",
            "$.text",
            &draft.text,
        ));
    }
    let limit = if author.premium { LONG_LIMIT } else { LIMIT };
    if text::weighted_length(cleaned) > limit {
        // Sources disagree about the status (x-api.md 4.4).
        let words = "Your Tweet text is too long.";
        return Err(if world.options.too_long_is_forbidden {
            problem::forbidden(words)
        } else {
            problem::invalid_parameter(words, "$.text", &draft.text)
        });
    }
    if world.options.self_serve && text::cashtags(cleaned) > 1 {
        return Err(problem::forbidden("A post may hold at most one cashtag."));
    }
    Ok(())
}

fn check_media(
    world: &World,
    author: &Account,
    draft: &Draft,
    now_us: i64,
) -> Result<Vec<Attached>, Reply> {
    let (mut attached, mut classes, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let mut longest_ms = 0;
    for id in &draft.media_ids {
        let found = usable(world, &author.id, id, now_us).filter(|media| {
            media.category.starts_with("tweet_") || media.category == "amplify_video"
        });
        let Some((media, done)) = found.and_then(|media| Some((media, media.done.as_ref()?)))
        else {
            bad.push(id.clone());
            continue;
        };
        if media.category != "amplify_video" {
            longest_ms = longest_ms.max(done.duration_ms.unwrap_or(0));
        }
        classes.push(media.class);
        attached.push(Attached {
            sha256: done.sha256.clone(),
            bytes: done.bytes,
            category: media.category.clone(),
            alt_text: media.alt_text.clone(),
            key: media.key.clone(),
        });
    }
    if !bad.is_empty() {
        return Err(problem::invalid(&[json!({
            "message": "Your media IDs are invalid.",
            "parameters": {"media.media_ids": bad},
        })]));
    }
    let photos = classes
        .iter()
        .filter(|class| **class == Class::Image)
        .count();
    if classes.len() > PHOTOS || (photos < classes.len() && classes.len() > 1) {
        return Err(problem::invalid(&[json!({
            "message": "A post may hold up to 4 photos, or 1 animated GIF, or 1 video.",
            "parameters": {"media.media_ids": draft.media_ids},
        })]));
    }
    if longest_ms > world.options.max_video_ms && !author.premium {
        return Err(problem::forbidden(
            "This user is not allowed to post a video longer than 2 minutes",
        ));
    }
    Ok(attached)
}

fn target(world: &World, parameter: &str, id: &str) -> Result<Post, Reply> {
    id.parse()
        .ok()
        .and_then(|id| world.posts.live(id))
        .cloned()
        .ok_or_else(|| problem::not_found("tweet", parameter, id))
}

/// Replies only to one's own posts, or when summoned: the author mentions or quotes you (4.3).
fn check_reply(world: &World, author: &Account, draft: &Draft) -> Result<Option<u64>, Reply> {
    let Some(id) = &draft.reply_to else {
        return Ok(None);
    };
    let target = target(world, "reply.in_reply_to_tweet_id", id)?;
    let handle = author.username.to_ascii_lowercase();
    let quoted = target
        .quotes
        .and_then(|id| world.posts.live(id))
        .is_some_and(|quoted| quoted.account == author.id);
    let summoned = target.account == author.id || quoted || target.mentions.contains(&handle);
    if world.options.self_serve && !summoned {
        return Err(problem::forbidden(
            "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author of the post you are replying to.",
        ));
    }
    Ok(Some(target.id))
}

fn check_quote(world: &World, draft: &Draft) -> Result<Option<u64>, Reply> {
    let Some(id) = &draft.quotes else {
        return Ok(None);
    };
    if world.options.self_serve {
        return Err(problem::forbidden(
            "Quoting posts is not allowed with your current access level.",
        ));
    }
    target(world, "quote_tweet_id", id).map(|post| Some(post.id))
}

/// The ids of the versions before this one: empty unless it is an edit (x-api.md 4.3).
fn check_edit(
    world: &World,
    author: &Account,
    draft: &Draft,
    now_us: i64,
) -> Result<Vec<u64>, Reply> {
    let Some(id) = &draft.edits else {
        return Ok(Vec::new());
    };
    let previous = target(world, "edit_options.previous_post_id", id)?;
    let to_others = previous.reply_to.is_some_and(|id| {
        world
            .posts
            .live(id)
            .is_none_or(|post| post.account != author.id)
    });
    let age_us = now_us.saturating_sub(previous.received_at_us);
    let allowed = author.premium
        && previous.account == author.id
        && !draft.has_poll
        && !draft.for_community
        && !to_others
        && age_us < seconds_us(EDIT_S)
        && previous.history.len() <= EDITS;
    if allowed {
        Ok(previous.history)
    } else {
        Err(problem::forbidden(
            "You are not permitted to perform this action.",
        ))
    }
}

/// What makes a post a duplicate of another: its user and these parts of it.
pub(super) fn likeness(author: &Account, parts: &Value) -> Likeness {
    let hash = Sha256::digest(parts.to_string().as_bytes());
    (author.id.clone(), hash.into())
}

/// Deletes one of the caller's own posts.
pub(super) fn delete(world: &mut World, caller: &Caller, call: &Call) -> Outcome {
    let post = target(world, "id", call.path_id()?)?;
    if post.account != caller.account {
        return Err(problem::forbidden(
            "You are not authorized to delete this Tweet.",
        ));
    }
    world.posts.delete(post.id);
    Ok(Reply::json(200, &json!({"data": {"deleted": true}})))
}
