//! Query parameters that shape the answer of a read: fields and expansions (x-api.md 4.2).
//!
//! Invariant: a word is taken only if spec 2.167 or the pages and spec 2.166 have it; sources disagree
//! about names, so both go.

use crate::problem;
use crate::reply::Reply;

/// `post.fields` and `tweet.fields`: the enum, the members of a post, and their older names.
const POST_FIELDS: [&str; 39] = [
    "article",
    "article_title",
    "attachments",
    "author_id",
    "card_uri",
    "community_id",
    "context_annotations",
    "conversation_id",
    "created_at",
    "display_text_range",
    "edit_controls",
    "edit_history_post_ids",
    "edit_history_tweet_ids",
    "entities",
    "geo",
    "id",
    "in_reply_to_user_id",
    "lang",
    "matched_media_notes",
    "media_metadata",
    "non_public_metrics",
    "note_post",
    "note_request_suggestions",
    "note_tweet",
    "organic_metrics",
    "paid_partnership",
    "possibly_sensitive",
    "promoted_metrics",
    "public_metrics",
    "referenced_posts",
    "referenced_tweets",
    "reply_settings",
    "scopes",
    "source",
    "suggested_source_links",
    "suggested_source_links_with_counts",
    "text",
    "username",
    "withheld",
];

/// `expansions` of posts.
const EXPANSIONS: [&str; 17] = [
    "article.cover_media",
    "article.media_entities",
    "attachments.media_keys",
    "attachments.media_source_tweet",
    "attachments.poll_ids",
    "author_id",
    "edit_history_post_ids",
    "edit_history_tweet_ids",
    "entities.mentions.username",
    "entities.note.mentions.username",
    "geo.place_id",
    "in_reply_to_user_id",
    "referenced_posts",
    "referenced_tweets.id",
    "referenced_tweets.id.attachments.media_keys",
    "referenced_tweets.id.author_id",
    "username",
];

/// `expansions` of users.
const USER_EXPANSIONS: [&str; 5] = [
    "affiliation",
    "most_recent_post_id",
    "most_recent_tweet_id",
    "pinned_post_id",
    "pinned_tweet_id",
];

/// `user.fields`.
const USER_FIELDS: [&str; 29] = [
    "affiliation",
    "confirmed_email",
    "connection_status",
    "created_at",
    "description",
    "entities",
    "id",
    "is_identity_verified",
    "location",
    "most_recent_post_id",
    "most_recent_tweet_id",
    "name",
    "parody",
    "pinned_post_id",
    "pinned_tweet_id",
    "profile_banner_url",
    "profile_image_url",
    "protected",
    "public_metrics",
    "receives_your_dm",
    "subscribes_to_you",
    "subscription",
    "subscription_type",
    "url",
    "username",
    "verified",
    "verified_followers_count",
    "verified_type",
    "withheld",
];

/// `media.fields`.
const MEDIA_FIELDS: [&str; 13] = [
    "alt_text",
    "duration_ms",
    "height",
    "media_key",
    "non_public_metrics",
    "organic_metrics",
    "preview_image_url",
    "promoted_metrics",
    "public_metrics",
    "type",
    "url",
    "variants",
    "width",
];

/// `poll.fields`.
const POLL_FIELDS: [&str; 5] = [
    "duration_minutes",
    "end_datetime",
    "id",
    "options",
    "voting_status",
];

/// `place.fields`.
const PLACE_FIELDS: [&str; 8] = [
    "contained_within",
    "country",
    "country_code",
    "full_name",
    "geo",
    "id",
    "name",
    "place_type",
];

/// A parameter and the words it takes.
type Shaping = (&'static str, &'static [&'static str]);

/// Of reads of posts.
pub(super) const OF_POSTS: [Shaping; 7] = [
    ("post.fields", &POST_FIELDS),
    ("tweet.fields", &POST_FIELDS),
    ("expansions", &EXPANSIONS),
    ("media.fields", &MEDIA_FIELDS),
    ("poll.fields", &POLL_FIELDS),
    ("user.fields", &USER_FIELDS),
    ("place.fields", &PLACE_FIELDS),
];

/// Of reads of users.
pub(super) const OF_USERS: [Shaping; 4] = [
    ("post.fields", &POST_FIELDS),
    ("tweet.fields", &POST_FIELDS),
    ("expansions", &USER_EXPANSIONS),
    ("user.fields", &USER_FIELDS),
];

/// Refuses query parameters that the route does not have, and words that they do not take.
pub(super) fn closed(
    query: &[(String, String)],
    allowed: &[&str],
    shaping: &[Shaping],
) -> Result<(), Reply> {
    for (name, given) in query {
        if allowed.contains(&name.as_str()) {
            continue;
        }
        let Some((_, words)) = shaping.iter().find(|(known, _)| known == name) else {
            let shaping = shaping.iter().map(|(name, _)| *name);
            let known: Vec<_> = allowed.iter().copied().chain(shaping).collect();
            let known = known.join(",");
            return Err(problem::invalid_parameter(
                &format!("The query parameter [{name}] is not one of [{known}]"),
                name,
                given,
            ));
        };
        if let Some(stranger) = given.split(',').find(|word| !words.contains(word)) {
            let known = words.join(",");
            return Err(problem::invalid_parameter(
                &format!("The `{name}` query parameter value [{stranger}] is not one of [{known}]"),
                name,
                given,
            ));
        }
    }
    Ok(())
}
