//! Reading back: one post, some posts, a user's posts, oneself (x-api.md 4.2).
//!
//! Invariant: reads see what X shows and not what was sent: t.co links, entities, a link for media, long
//! posts cut, new posts only after the read delay.

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::fields::{OF_POSTS, OF_USERS, closed};
use crate::auth::Caller;
use crate::call::{Call, value};
use crate::clock::millis_us;
use crate::options::is_id;
use crate::problem;
use crate::reply::Reply;
use crate::state::World;
use crate::state::posts::Post;
use crate::text;

/// How far back a user's posts go (x-api.md 4.2).
const DEPTH: usize = 3_200;
/// Posts of a page without `max_results`.
const PAGE: usize = 10;

/// The text that the API shows for a post.
pub(super) fn shown(post: &Post) -> String {
    let text = format!("{}{}", text::cut(&post.stored), post.tail);
    text::encode(text.trim_start())
}

/// Ids of all versions, as strings.
pub(super) fn history(post: &Post) -> Vec<String> {
    post.history.iter().map(ToString::to_string).collect()
}

/// The post as far as its fields are asked for.
fn render(post: &Post, query: &[(String, String)]) -> Value {
    let asked = |field: &str| {
        ["tweet.fields", "post.fields"].iter().any(|name| {
            value(query, name).is_some_and(|list| list.split(',').any(|item| item == field))
        })
    };
    let mut data = Map::new();
    data.insert("id".to_owned(), json!(post.id.to_string()));
    data.insert("text".to_owned(), json!(shown(post)));
    data.insert("edit_history_tweet_ids".to_owned(), json!(history(post)));
    if asked("created_at") {
        let at = DateTime::from_timestamp_micros(post.received_at_us).unwrap_or_default();
        let at = at.format("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        data.insert("created_at".to_owned(), json!(at));
    }
    if asked("author_id") {
        data.insert("author_id".to_owned(), json!(post.account));
    }
    if asked("attachments") && !post.media.is_empty() {
        let keys: Vec<_> = post.media.iter().map(|media| &media.key).collect();
        data.insert("attachments".to_owned(), json!({"media_keys": keys}));
    }
    let mut references = Vec::new();
    for (kind, id) in [("replied_to", post.reply_to), ("quoted", post.quotes)] {
        if let Some(id) = id {
            references.push(json!({"type": kind, "id": id.to_string()}));
        }
    }
    if asked("referenced_tweets") && !references.is_empty() {
        data.insert("referenced_tweets".to_owned(), json!(references));
    }
    for field in ["note_tweet", "note_post"] {
        if asked(field) && text::cut(&post.stored) != post.stored {
            let whole = text::encode(&post.stored);
            data.insert(field.to_owned(), json!({"text": whole}));
        }
    }
    Value::Object(data)
}

fn is_seen(world: &World, post: &Post, now_us: i64) -> bool {
    let delay_us = millis_us(world.options.read_delay_ms);
    post.received_at_us.saturating_add(delay_us) <= now_us
}

fn seen<'a>(world: &'a World, id: &str, now_us: i64) -> Option<&'a Post> {
    world
        .posts
        .live(id.parse().ok()?)
        .filter(|post| is_seen(world, post, now_us))
}

/// One post; one that is not there is 200 with `errors`, a partial error (x-api.md 6.1).
pub(super) fn post(world: &World, call: &Call, now_us: i64) -> Outcome {
    let id = call.path_id()?;
    let query = call.query();
    closed(&query, &[], &OF_POSTS)?;
    let body = seen(world, id, now_us).map_or_else(
        || json!({"errors": [problem::absent("tweet", "id", id)]}),
        |post| json!({"data": render(post, &query)}),
    );
    Ok(Reply::json(200, &body))
}

/// Up to 100 posts by id.
pub(super) fn posts(world: &World, call: &Call, now_us: i64) -> Outcome {
    let query = call.query();
    closed(&query, &["ids"], &OF_POSTS)?;
    let given = value(&query, "ids").unwrap_or_default();
    let ids: Vec<_> = given.split(',').collect();
    if ids.len() > 100 || !ids.iter().all(|id| is_id(id)) {
        return Err(problem::invalid_parameter(
            "The `ids` query parameter must be 1 to 100 ids, separated by commas",
            "ids",
            given,
        ));
    }
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        match seen(world, id, now_us) {
            Some(post) => data.push(render(post, &query)),
            None => errors.push(problem::absent("tweet", "ids", id)),
        }
    }
    let mut body = Map::new();
    for (name, list) in [("data", data), ("errors", errors)] {
        if !list.is_empty() {
            body.insert(name.to_owned(), Value::Array(list));
        }
    }
    Ok(Reply::json(200, &Value::Object(body)))
}

/// Oneself.
pub(super) fn me(world: &World, caller: &Caller, call: &Call) -> Outcome {
    closed(&call.query(), &[], &OF_USERS)?;
    let account = world
        .accounts
        .get(&caller.account)
        .ok_or_else(problem::unauthorized)?;
    let data = json!({"id": account.id, "name": account.name, "username": account.username});
    Ok(Reply::json(200, &json!({"data": data})))
}

/// What a page of a user's posts is to hold.
struct Wanted {
    since_id: u64,
    until_id: u64,
    from_us: i64,
    to_us: i64,
    replies: bool,
    page: usize,
    token: Option<Token>,
}

/// Where a page begins or ends.
enum Token {
    /// Posts older than this.
    Below(u64),
    /// Posts newer than this, the nearest of them.
    Above(u64),
}

/// A user's posts, newest first.
pub(super) fn user_posts(world: &World, call: &Call, now_us: i64) -> Outcome {
    let id = call.path_id()?;
    let query = call.query();
    let wanted = wanted(&query)?;
    if world.accounts.get(id).is_none() {
        let errors = [problem::absent("user", "id", id)];
        return Ok(Reply::json(200, &json!({"errors": errors})));
    }
    let all: Vec<&Post> = world
        .posts
        .of(id)
        .filter(|post| !post.nullcast && is_seen(world, post, now_us))
        .take(DEPTH)
        .filter(|post| {
            post.id > wanted.since_id
                && post.id < wanted.until_id
                && post.received_at_us >= wanted.from_us
                && post.received_at_us < wanted.to_us
                && (wanted.replies || post.reply_to.is_none())
        })
        .collect();
    let start = match wanted.token {
        None => 0,
        Some(Token::Below(id)) => all.partition_point(|post| post.id >= id),
        Some(Token::Above(id)) => all
            .partition_point(|post| post.id > id)
            .saturating_sub(wanted.page),
    };
    let end = start.saturating_add(wanted.page).min(all.len());
    let page = &all[start..end];
    let mut meta = Map::new();
    meta.insert("result_count".to_owned(), json!(page.len()));
    let mut body = Map::new();
    if let (Some(newest), Some(oldest)) = (page.first(), page.last()) {
        let (newest, oldest) = (newest.id, oldest.id);
        meta.insert("newest_id".to_owned(), json!(newest.to_string()));
        meta.insert("oldest_id".to_owned(), json!(oldest.to_string()));
        if end < all.len() {
            meta.insert("next_token".to_owned(), json!(format!("7140b{oldest:x}")));
        }
        if start > 0 {
            meta.insert(
                "previous_token".to_owned(),
                json!(format!("7740a{newest:x}")),
            );
        }
        let data: Vec<_> = page.iter().map(|post| render(post, &query)).collect();
        body.insert("data".to_owned(), Value::Array(data));
    }
    body.insert("meta".to_owned(), Value::Object(meta));
    Ok(Reply::json(200, &Value::Object(body)))
}

fn wanted(query: &[(String, String)]) -> Result<Wanted, Reply> {
    closed(
        query,
        &[
            "max_results",
            "pagination_token",
            "start_time",
            "end_time",
            "since_id",
            "until_id",
            "exclude",
        ],
        &OF_POSTS,
    )?;
    let refused = |name: &str, given: &str, what: &str| {
        let message = format!("The `{name}` query parameter value [{given}] {what}");
        problem::invalid_parameter(&message, name, given)
    };
    let id = |name: &str| {
        value(query, name)
            .map(|given| {
                Some(given)
                    .filter(|given| is_id(given))
                    .and_then(|given| given.parse::<u64>().ok())
                    .ok_or_else(|| refused(name, given, "does not match ^[0-9]{1,19}$"))
            })
            .transpose()
    };
    let time = |name: &str| {
        value(query, name)
            .map(|given| {
                DateTime::parse_from_rfc3339(given)
                    .map(|time| time.timestamp_micros())
                    .map_err(|_| refused(name, given, "is not an RFC 3339 date-time"))
            })
            .transpose()
    };
    let page = value(query, "max_results").map_or(Ok(PAGE), |given| {
        given
            .parse()
            .ok()
            .filter(|count| (5..=100).contains(count))
            .ok_or_else(|| refused("max_results", given, "is not between 5 and 100"))
    })?;
    let exclude = value(query, "exclude").unwrap_or("retweets");
    if let Some(other) = exclude
        .split(',')
        .find(|item| !matches!(*item, "replies" | "retweets"))
    {
        return Err(refused(
            "exclude",
            other,
            "is not one of [replies,retweets]",
        ));
    }
    let token = value(query, "pagination_token")
        .map(|given| {
            let hex = |prefix| u64::from_str_radix(given.strip_prefix(prefix)?, 16).ok();
            hex("7140b")
                .map(Token::Below)
                .or_else(|| hex("7740a").map(Token::Above))
                .ok_or_else(|| refused("pagination_token", given, "is not valid"))
        })
        .transpose()?;
    let (since_id, until_id) = (id("since_id")?, id("until_id")?);
    // Ids win over times (x-api.md 4.2).
    let from_us = time("start_time")?.filter(|_| since_id.is_none());
    let to_us = time("end_time")?.filter(|_| until_id.is_none());
    Ok(Wanted {
        since_id: since_id.unwrap_or(0),
        until_id: until_id.unwrap_or(u64::MAX),
        from_us: from_us.unwrap_or(i64::MIN),
        to_us: to_us.unwrap_or(i64::MAX),
        replies: !exclude.split(',').any(|item| item == "replies"),
        page,
        token,
    })
}
