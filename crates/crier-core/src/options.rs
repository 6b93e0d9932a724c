//! The `options` column: every field of `POST /2/tweets` beside text and uploaded media, by X's own names.
//!
//! **Invariant:** closed at every level, as X's schema is (specification 2.167): what parses here X's schema takes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fault::{Fault, Shape, check_shape, quoted, without_nulls};

/// Who may reply; absent = everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplySettings {
    /// Accounts that the author follows.
    Following,
    /// Accounts that the post mentions.
    MentionedUsers,
    /// Paying subscribers.
    Subscribers,
    /// Verified accounts.
    Verified,
}

/// A closed struct of optional fields that are left out of the request when absent.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }
    };
}

closed! {
    /// Fields of `POST /2/tweets`; ids are strings of 1 to 19 digits.
    PostOptions {
        /// Card to show.
        card_uri: String,
        /// Community to post to.
        community_id: String,
        /// Link that opens a direct message.
        direct_message_deep_link: String,
        /// Edit a post instead of creating one.
        edit_options: EditOptions,
        /// Only for paying followers.
        for_super_followers_only: bool,
        /// Place.
        geo: Geo,
        /// Label as made with AI.
        made_with_ai: bool,
        /// What goes with the uploaded media.
        media: MediaOptions,
        /// Keep it out of the public timeline.
        nullcast: bool,
        /// Label as paid partnership.
        paid_partnership: bool,
        /// Poll.
        poll: Poll,
        /// Post to quote.
        quote_tweet_id: String,
        /// Reply.
        reply: Reply,
        /// Who may reply.
        reply_settings: ReplySettings,
        /// Share an exclusive or community post with all followers.
        share_with_followers: bool,
        /// What only `statuses/update_with_media` of v1.1 takes; never part of a request to v2.
        v1: V1Options,
    }
}
closed! {
    /// Parameters of v1.1 that v2 does not have, by X's own names.
    V1Options {
        /// Show the pin at the exact place.
        display_coordinates: bool,
        /// Latitude, −90 to 90; with `long`.
        lat: serde_json::Number,
        /// Longitude, −180 to 180; with `lat`.
        long: serde_json::Number,
        /// The media may upset some.
        possibly_sensitive: bool,
    }
}
closed! {
    /// Fields of `media` beside the ids, which come from the uploads.
    MediaOptions {
        /// Button on the media.
        call_to_actions: CallToActions,
        /// Description on a video's card.
        description: String,
        /// Whether it may be played elsewhere.
        embeddable: bool,
        /// Uploaded picture to show before it plays.
        preview_media_id: String,
        /// Users tagged in it, up to 10.
        tagged_user_ids: Vec<String>,
        /// Title on a video's card.
        title: String,
    }
}
closed! {
    /// Exactly one button.
    CallToActions {
        /// Install an app.
        app_install: AppInstall,
        /// Visit a site.
        visit_site: Target,
        /// Watch now.
        watch_now: Target,
    }
}
closed! {
    /// At least one shop's id.
    AppInstall {
        /// Apple, iPhone.
        app_store_id: String,
        /// Apple, iPad.
        ipad_app_store_id: String,
        /// Google.
        play_store_id: String,
    }
}
closed! {
    /// Reply to a post. The id is left out in a job that has `after`.
    Reply {
        /// Accepted and ignored by X.
        auto_populate_reply_metadata: bool,
        /// Users to leave out of the thread.
        exclude_reply_user_ids: Vec<String>,
        /// Post to reply to.
        in_reply_to_tweet_id: String,
    }
}

/// Where a button leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// https address.
    pub url: String,
}

/// The post to edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditOptions {
    /// Its id.
    pub previous_post_id: String,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geo {
    /// X's id of it.
    pub place_id: String,
}

/// A poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// How long it is open, 5 to 10,080 minutes.
    pub duration_minutes: u16,
    /// Two to four choices of 1 to 25 characters.
    pub options: Vec<String>,
    /// Accepted and ignored by X.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_settings: Option<ReplySettings>,
}

const AUDIENCE: Shape = Shape::Word(&["following", "mentionedUsers", "subscribers", "verified"]);
const TARGET: Shape = Shape::Object {
    keys: &[("url", Shape::TEXT)],
    required: &["url"],
};
const SHOPS: Shape = Shape::Object {
    keys: &[
        ("app_store_id", Shape::TEXT),
        ("ipad_app_store_id", Shape::TEXT),
        ("play_store_id", Shape::TEXT),
    ],
    required: &[],
};
const CALL_TO_ACTIONS: Shape = Shape::Object {
    keys: &[
        ("app_install", SHOPS),
        ("visit_site", TARGET),
        ("watch_now", TARGET),
    ],
    required: &[],
};
const EDIT: Shape = Shape::Object {
    keys: &[("previous_post_id", Shape::Id)],
    required: &["previous_post_id"],
};
const GEO: Shape = Shape::Object {
    keys: &[("place_id", Shape::TEXT)],
    required: &["place_id"],
};
const MEDIA: Shape = Shape::Object {
    keys: &[
        ("call_to_actions", CALL_TO_ACTIONS),
        ("description", Shape::TEXT),
        ("embeddable", Shape::Flag),
        ("preview_media_id", Shape::Id),
        ("tagged_user_ids", Shape::list(&Shape::Id, 0, 10)),
        ("title", Shape::TEXT),
    ],
    required: &[],
};
const POLL: Shape = Shape::Object {
    keys: &[
        (
            "duration_minutes",
            Shape::Number {
                min: 5,
                max: 10_080,
            },
        ),
        (
            "options",
            Shape::list(&Shape::Text { min: 1, max: 25 }, 2, 4),
        ),
        ("reply_settings", AUDIENCE),
    ],
    required: &["duration_minutes", "options"],
};
const REPLY: Shape = Shape::Object {
    keys: &[
        ("auto_populate_reply_metadata", Shape::Flag),
        ("exclude_reply_user_ids", Shape::list(&Shape::Id, 0, 1000)),
        ("in_reply_to_tweet_id", Shape::Id),
    ],
    required: &[],
};
const V1: Shape = Shape::Object {
    keys: &[
        ("display_coordinates", Shape::Flag),
        ("lat", Shape::Decimal { most: 90 }),
        ("long", Shape::Decimal { most: 180 }),
        ("possibly_sensitive", Shape::Flag),
    ],
    required: &[],
};
const OPTIONS: Shape = Shape::Object {
    keys: &[
        ("card_uri", Shape::TEXT),
        ("community_id", Shape::Id),
        ("direct_message_deep_link", Shape::TEXT),
        ("edit_options", EDIT),
        ("for_super_followers_only", Shape::Flag),
        ("geo", GEO),
        ("made_with_ai", Shape::Flag),
        ("media", MEDIA),
        ("nullcast", Shape::Flag),
        ("paid_partnership", Shape::Flag),
        ("poll", POLL),
        ("quote_tweet_id", Shape::Id),
        ("reply", REPLY),
        ("reply_settings", AUDIENCE),
        ("share_with_followers", Shape::Flag),
        ("v1", V1),
    ],
    required: &[],
};

fn refuse(detail: impl Into<String>, hint: &str) -> Fault {
    Fault::new(
        "options_invalid",
        "the `options` column is not as X takes it",
        detail,
        hint,
    )
}

/// Reads the `options` column. Null is no options, at the top and for each key.
///
/// # Errors
/// `options_invalid` for the first thing wrong, naming the key, such as `options.poll.duration_minutes`.
pub fn parse_options(value: &Value) -> Result<PostOptions, Fault> {
    if value.is_null() {
        return Ok(PostOptions::default());
    }
    let value = without_nulls(value);
    if value.get("text").is_some() {
        return Err(refuse(
            "`options.text` has a column of its own",
            "use the column `text`",
        ));
    }
    if value.pointer("/media/media_ids").is_some() {
        return Err(refuse(
            "`options.media.media_ids` come from the files in `media`",
            "name the files in the column `media`",
        ));
    }
    let hint = "correct the row's `options`; the keys are those of X's `POST /2/tweets`";
    check_shape("options", &value, &OPTIONS).map_err(|detail| refuse(detail, hint))?;
    let options: PostOptions =
        serde_json::from_value(value).map_err(|e| refuse(e.to_string(), hint))?;
    if let Some(actions) = options
        .media
        .as_ref()
        .and_then(|media| media.call_to_actions.as_ref())
    {
        let buttons = [
            actions.app_install.is_some(),
            actions.visit_site.is_some(),
            actions.watch_now.is_some(),
        ];
        if buttons.iter().filter(|there| **there).count() != 1 {
            return Err(refuse(
                "`options.media.call_to_actions` must have exactly one key",
                hint,
            ));
        }
        let targets = [&actions.visit_site, &actions.watch_now];
        if let Some(target) = targets
            .into_iter()
            .flatten()
            .find(|target| !target.url.starts_with("https://"))
        {
            let url = target.url.escape_debug();
            return Err(refuse(
                format!(
                    "`options.media.call_to_actions` leads to `{url}`, which is no https address"
                ),
                hint,
            ));
        }
        if actions.app_install == Some(AppInstall::default()) {
            return Err(refuse(
                "`options.media.call_to_actions.app_install` names no shop",
                hint,
            ));
        }
    }
    if let Some(v1) = &options.v1
        && v1.lat.is_some() != v1.long.is_some()
    {
        return Err(refuse(
            "`options.v1` has one of `lat` and `long`, and X takes only both",
            hint,
        ));
    }
    Ok(options)
}

impl PostOptions {
    /// The post that the options name to reply to.
    pub fn reply_target(&self) -> Option<&str> {
        self.reply.as_ref()?.in_reply_to_tweet_id.as_deref()
    }
}

/// Every pair of things that X does not take in one post. `is_reply`: the job has `after`.
///
/// Sources: the specification 2.166 and X's playground (at most one of five); X's page on editing posts.
pub fn check_exclusions(options: &PostOptions, media_count: usize, is_reply: bool) -> Vec<Fault> {
    let title = "X does not take these together in one post";
    let conflict = |detail: &str, hint: &str| Fault::new("options_conflict", title, detail, hint);
    let mut faults = Vec::new();
    let attached: Vec<&str> = [
        ("poll", options.poll.is_some()),
        ("quote_tweet_id", options.quote_tweet_id.is_some()),
        (
            "direct_message_deep_link",
            options.direct_message_deep_link.is_some(),
        ),
        ("card_uri", options.card_uri.is_some()),
        ("media", media_count > 0),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    if attached.len() > 1 {
        let names = quoted(attached.into_iter());
        faults.push(conflict(&format!("there are {names}"), "keep one of them"));
    }
    if options.media.is_some() && media_count == 0 {
        let detail = "`options.media` is there, but the row has no media";
        faults.push(conflict(detail, "name the files in the column `media`"));
    }
    let target = options
        .reply
        .as_ref()
        .and_then(|reply| reply.in_reply_to_tweet_id.as_ref());
    if is_reply && target.is_some() {
        let detail = "the row has both `after` and `options.reply.in_reply_to_tweet_id`";
        faults.push(conflict(
            detail,
            "keep one of them: a post replies to one post",
        ));
    }
    if options.reply.is_some() && target.is_none() && !is_reply {
        let detail = "`options.reply.in_reply_to_tweet_id` is missing, and the row has no `after`";
        faults.push(refuse(detail, "say what the post replies to"));
    }
    if options.edit_options.is_some() && (options.poll.is_some() || options.community_id.is_some())
    {
        let detail = "`edit_options` is there with `poll` or `community_id`";
        faults.push(conflict(
            detail,
            "X does not edit polls or community posts; delete and post anew",
        ));
    }
    faults
}

/// The body of `POST /2/tweets`. `reply_to` (the post of the job named by `after`) goes before the options' own.
pub fn create_body(
    text: &str,
    options: &PostOptions,
    media_ids: &[String],
    reply_to: Option<&str>,
) -> Value {
    let mut options = options.clone();
    options.v1 = None;
    if let Some(id) = reply_to {
        options.reply.get_or_insert_default().in_reply_to_tweet_id = Some(id.to_owned());
    }
    let mut body = match json!(options) {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    // X wants a text even when there is none (specification 2.167, `text`).
    body.insert("text".to_owned(), json!(text));
    if !media_ids.is_empty() {
        let media = body.entry("media").or_insert_with(|| json!({}));
        media["media_ids"] = json!(media_ids);
    }
    Value::Object(body)
}
