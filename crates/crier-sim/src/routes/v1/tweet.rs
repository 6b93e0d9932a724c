//! A post as v1.1 shows it.
//!
//! Invariant: places in the text are counted in characters of the text before its entities are encoded.

use chrono::DateTime;
use serde_json::{Value, json};

use super::Picture;
use crate::sniff;
use crate::state::World;
use crate::state::accounts::Account;
use crate::state::posts::Post;
use crate::text;

/// Coordinates count only if both are there and in range (x-api.md 7.1).
pub(super) fn place<'a>(
    tweet: &mut Value,
    of: impl Fn(&'static str) -> Option<&'a str>,
    shown: bool,
) {
    let number = |name, bound: f64| {
        of(name)
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|number| number.abs() <= bound)
    };
    let point = number("lat", 90.0).zip(number("long", 180.0));
    let (mut geo, mut coordinates) = (Value::Null, Value::Null);
    if let Some((lat, long)) = point.filter(|_| shown) {
        geo = json!({"type": "Point", "coordinates": [lat, long]});
        coordinates = json!({"type": "Point", "coordinates": [long, lat]});
    }
    let place = of("place_id").map(|id| json!({"id": id}));
    tweet["geo"] = geo;
    tweet["coordinates"] = coordinates;
    tweet["place"] = place.unwrap_or_default();
}

/// The post as v1.1 shows it.
pub(super) fn tweet(
    world: &World,
    author: &Account,
    post: &Post,
    cleaned: &str,
    pictures: &[Picture],
) -> Value {
    let id: u64 = author.id.parse().unwrap_or(0);
    let parent = post.reply_to.and_then(|id| world.posts.live(id));
    let parent_author = parent.and_then(|parent| world.accounts.get(&parent.account));
    let whole = format!("{}{}", post.stored, post.tail);
    let whole = whole.trim_start();
    json!({
        "created_at": v1_date(post.received_at_us),
        "id": post.id,
        "id_str": post.id.to_string(),
        "text": text::encode(whole),
        "truncated": false,
        "entities": entities(world, author, post, cleaned, whole, pictures),
        "source": "<a href=\"https://example.org\" rel=\"nofollow\">crier-sim</a>",
        "in_reply_to_status_id": post.reply_to,
        "in_reply_to_status_id_str": post.reply_to.map(|id| id.to_string()),
        "in_reply_to_user_id": parent_author.and_then(|author| author.id.parse::<u64>().ok()),
        "in_reply_to_user_id_str": parent_author.map(|author| &author.id),
        "in_reply_to_screen_name": parent_author.map(|author| &author.username),
        "user": {
            "id": id,
            "id_str": author.id,
            "name": author.name,
            "screen_name": author.username,
            "protected": false,
            "verified": author.premium,
            "geo_enabled": true,
        },
        "contributors": null,
        "is_quote_status": false,
        "retweet_count": 0,
        "favorite_count": 0,
        "favorited": false,
        "retweeted": false,
        "lang": "und",
    })
}

fn v1_date(at_us: i64) -> String {
    let at = DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    at.format("%a %b %d %H:%M:%S +0000 %Y").to_string()
}

/// Places of a part of the text in characters.
fn indices(whole: &str, part: &str) -> [usize; 2] {
    let at = whole.find(part).unwrap_or(0);
    let start = whole[..at].chars().count();
    [start, start + part.chars().count()]
}

fn entities(
    world: &World,
    author: &Account,
    post: &Post,
    cleaned: &str,
    whole: &str,
    pictures: &[Picture],
) -> Value {
    let shortened = text::links(&post.stored);
    let urls: Vec<_> = text::links(cleaned)
        .iter()
        .zip(&shortened)
        .map(|(written, short)| {
            json!({
                "url": short,
                "expanded_url": written,
                "display_url": bare_link(written),
                "indices": indices(whole, short),
            })
        })
        .collect();
    let mentions: Vec<_> = post
        .mentions
        .iter()
        .filter_map(|handle| world.accounts.by_handle(handle))
        .map(|user| {
            json!({
                "id": user.id.parse::<u64>().unwrap_or(0),
                "id_str": user.id,
                "name": user.name,
                "screen_name": user.username,
            })
        })
        .collect();
    let link = post.tail.trim();
    let media: Vec<_> = pictures
        .iter()
        .map(|picture| {
            let name = format!("pbs.twimg.com/media/{}.jpg", picture.id);
            let (w, h) = sniff::size(&picture.digest.head).unwrap_or((0, 0));
            let size = json!({"w": w, "h": h, "resize": "fit"});
            json!({
                "id": picture.id,
                "id_str": picture.id.to_string(),
                "indices": indices(whole, link),
                "media_url": format!("http://{name}"),
                "media_url_https": format!("https://{name}"),
                "url": link,
                "display_url": format!("pic.twitter.com/{}", link.rsplit('/').next().unwrap_or("")),
                "expanded_url": format!(
                    "https://twitter.com/{}/status/{}/photo/1",
                    author.username, post.id
                ),
                "type": "photo",
                "sizes": {"thumb": {"w": 150, "h": 150, "resize": "crop"}, "large": size},
            })
        })
        .collect();
    json!({
        "hashtags": [],
        "symbols": [],
        "urls": urls,
        "user_mentions": mentions,
        "media": media,
    })
}

fn bare_link(link: &str) -> &str {
    link.split_once("://").map_or(link, |(_, rest)| rest)
}
