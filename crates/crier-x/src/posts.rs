//! Posts: create, delete, and look for what is there; and whom a token belongs to.
//!
//! **Invariant:** "there is no such post" is only ever said by an answer that lists posts, never by one that could not
//! be read.

use chrono::{DateTime, SecondsFormat, Utc};
use crier_core::answer::{CallFault, Endpoint};
use serde_json::Value;

use crate::auth::{Auth, Bearer};
use crate::client::{Call, Payload, XClient};
use crate::departure::Departure;
use crate::faults;
use crate::reply::{Reply, count, data, id, is_id, text};

/// Posts a page; 100 is the most that X gives.
const PAGE: u8 = 100;

/// Id of a post: digits, at most 19.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PostId(pub String);

impl std::fmt::Display for PostId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The account that a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Id of the account.
    pub id: String,
    /// Handle without `@`.
    pub username: String,
}

/// A post as X lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPost {
    /// Its id.
    pub id: String,
    /// Its text as X shows it: links as t.co, `&`, `<` and `>` as entities, perhaps a link for its media.
    pub text: String,
}

/// One page of an account's posts, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostPage {
    /// The posts.
    pub posts: Vec<SeenPost>,
    /// Where the next page begins; `None` on the last.
    pub next_token: Option<String>,
}

impl XClient {
    /// Whom the token belongs to.
    pub async fn me(&self, auth: &Auth) -> Result<Reply<Me>, CallFault> {
        let call = Call {
            endpoint: Endpoint::Me,
            path: &["2", "users", "me"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call)
            .await?
            .read("`data.id` and `data.username`", |value| {
                let data = data(value);
                Some(Me {
                    id: id(data)?,
                    username: text(data, "username")?,
                })
            })
    }

    /// Creates a post, if the call can leave in time. The one call that must not be repeated blindly: X knows no
    /// idempotency key.
    ///
    /// # Errors
    /// `NoAnswer`, and `Refused` with a status from 500, leave open whether the post exists.
    pub async fn create_post(
        &self,
        auth: &Auth,
        post: &Value,
        departure: &Departure,
    ) -> Result<Reply<PostId>, CallFault> {
        let call = Call {
            endpoint: Endpoint::CreatePost,
            path: &["2", "tweets"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::Json(post.clone()),
            body_secrets: Vec::new(),
        };
        self.call_until(call, Some(departure))
            .await?
            .read("`data.id`", |value| id(value.get("data")?).map(PostId))
    }

    /// The account's own posts since `start_time`, newest first.
    pub async fn user_posts(
        &self,
        auth: &Auth,
        user_id: &str,
        start_time: DateTime<Utc>,
        pagination_token: Option<&str>,
    ) -> Result<Reply<PostPage>, CallFault> {
        let endpoint = Endpoint::UserPosts;
        check_id(endpoint, user_id)?;
        let mut query = vec![
            ("max_results", PAGE.to_string()),
            (
                "start_time",
                start_time.to_rfc3339_opts(SecondsFormat::Secs, true),
            ),
        ];
        if let Some(token) = pagination_token {
            query.push(("pagination_token", token.to_owned()));
        }
        let call = Call {
            endpoint,
            path: &["2", "users", user_id, "tweets"],
            query: &query,
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read("a list of posts", page)
    }

    /// Deletes an own post; the value is whether X says that it is gone.
    pub async fn delete_post(&self, auth: &Auth, post_id: &str) -> Result<Reply<bool>, CallFault> {
        let endpoint = Endpoint::DeletePost;
        check_id(endpoint, post_id)?;
        let call = Call {
            endpoint,
            path: &["2", "tweets", post_id],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read("`data.deleted`", |value| {
            data(value).get("deleted")?.as_bool()
        })
    }
}

/// Refuses an id that would make another path of the URL.
pub(crate) fn check_id(endpoint: Endpoint, text: &str) -> Result<(), CallFault> {
    if is_id(text) {
        return Ok(());
    }
    let shown: String = text.chars().take(40).collect();
    Err(faults::not_sent(
        endpoint,
        format!("`{}` is no id of X: up to 19 digits", shown.escape_debug()),
    ))
}

fn page(value: &Value) -> Option<PostPage> {
    let meta = value.get("meta").unwrap_or(&Value::Null);
    let posts = match value.get("data") {
        // One entry that cannot be read could be the very post that is looked for.
        Some(Value::Array(items)) => items.iter().map(seen).collect::<Option<Vec<_>>>()?,
        _ if count(meta, "result_count") == Some(0) => Vec::new(),
        _ => return None,
    };
    Some(PostPage {
        posts,
        next_token: text(meta, "next_token"),
    })
}

fn seen(item: &Value) -> Option<SeenPost> {
    // Long posts: `text` is cut, the whole is beside it (specification 2.167, and the name before it).
    let long = ["note_post", "note_tweet"]
        .into_iter()
        .find_map(|name| text(item.get(name)?, "text"));
    let text = long.or_else(|| item.get("text")?.as_str().map(ToOwned::to_owned))?;
    Some(SeenPost {
        id: id(item)?,
        text,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_timeline_is_told_from_an_unreadable_one() {
        assert_eq!(
            page(&json!({"meta": {"result_count": 0}})).unwrap().posts,
            []
        );
        for unreadable in [
            json!({}),
            json!({"meta": {}}),
            json!({"errors": [{"title": "x"}]}),
            json!({"meta": {"result_count": 3}}),
            json!({"data": [{"id": "1"}]}),
            json!({"data": [{"text": "a"}], "meta": {"result_count": 1}}),
        ] {
            assert_eq!(page(&unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn a_long_post_is_read_whole() {
        let seen =
            seen(&json!({"id": "1", "text": "cut…", "note_tweet": {"text": "the whole"}})).unwrap();
        assert_eq!(seen.text, "the whole");
    }
}
