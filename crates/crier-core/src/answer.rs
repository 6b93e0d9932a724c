//! What X said to one call, as a value that any layer can judge, store and show.
//!
//! **Invariant:** an answer holds X's words, never a token and never the bytes of a file.

use serde::{Deserialize, Serialize};

use crate::limit::Window;

/// One endpoint of X that crier calls; its [`Endpoint::label`] is the spelling of X's specification, used in
/// metrics, in `crier.limit_windows` and in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /2/oauth2/token`.
    Token,
    /// `POST /2/oauth2/revoke`.
    Revoke,
    /// `POST /oauth/request_token`, the first step of a login by OAuth 1.0a.
    RequestToken,
    /// `POST /oauth/access_token`, its last.
    AccessToken,
    /// `POST /1.1/oauth/invalidate_token`.
    InvalidateToken,
    /// `POST /2/media/upload`, a whole file at once.
    MediaUpload,
    /// `POST /2/media/upload/initialize`.
    MediaInitialize,
    /// `POST /2/media/upload/{id}/append`.
    MediaAppend,
    /// `POST /2/media/upload/{id}/finalize`.
    MediaFinalize,
    /// `GET /2/media/upload`.
    MediaStatus,
    /// `POST /2/media/metadata`.
    MediaMetadata,
    /// `POST /2/media/subtitles`.
    MediaSubtitles,
    /// `POST /2/tweets`.
    CreatePost,
    /// `DELETE /2/tweets/{id}`.
    DeletePost,
    /// `GET /2/users/me`.
    Me,
    /// `GET /2/users/{id}/tweets`.
    UserPosts,
    /// `POST /1.1/statuses/update_with_media`.
    UpdateWithMedia,
    /// `GET /1.1/help/configuration`.
    V1Configuration,
}

impl Endpoint {
    /// Every endpoint, in the order of a post's life.
    pub const ALL: [Self; 18] = [
        Self::Token,
        Self::Revoke,
        Self::RequestToken,
        Self::AccessToken,
        Self::InvalidateToken,
        Self::MediaUpload,
        Self::MediaInitialize,
        Self::MediaAppend,
        Self::MediaFinalize,
        Self::MediaStatus,
        Self::MediaMetadata,
        Self::MediaSubtitles,
        Self::CreatePost,
        Self::DeletePost,
        Self::Me,
        Self::UserPosts,
        Self::UpdateWithMedia,
        Self::V1Configuration,
    ];

    /// The endpoint as X's specification writes it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Token => "POST /2/oauth2/token",
            Self::Revoke => "POST /2/oauth2/revoke",
            Self::RequestToken => "POST /oauth/request_token",
            Self::AccessToken => "POST /oauth/access_token",
            Self::InvalidateToken => "POST /1.1/oauth/invalidate_token",
            Self::MediaUpload => "POST /2/media/upload",
            Self::MediaInitialize => "POST /2/media/upload/initialize",
            Self::MediaAppend => "POST /2/media/upload/{id}/append",
            Self::MediaFinalize => "POST /2/media/upload/{id}/finalize",
            Self::MediaStatus => "GET /2/media/upload",
            Self::MediaMetadata => "POST /2/media/metadata",
            Self::MediaSubtitles => "POST /2/media/subtitles",
            Self::CreatePost => "POST /2/tweets",
            Self::DeletePost => "DELETE /2/tweets/{id}",
            Self::Me => "GET /2/users/me",
            Self::UserPosts => "GET /2/users/{id}/tweets",
            Self::UpdateWithMedia => "POST /1.1/statuses/update_with_media",
            Self::V1Configuration => "GET /1.1/help/configuration",
        }
    }

    /// Whether a repeated call can do harm: only creating a post cannot be undone or repeated safely.
    pub const fn is_create(self) -> bool {
        matches!(self, Self::CreatePost | Self::UpdateWithMedia)
    }
}

/// A refusal, or any answer that is not the success the call hoped for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status, such as 403.
    pub status: u16,
    /// Last path segment of X's problem `type` (its host varies), such as `usage-capped`; empty if X sent none.
    pub problem: String,
    /// X's `title`, or `error` at the token endpoint.
    pub title: String,
    /// X's `detail`, `error_description` or first message; at most 1,000 characters.
    pub detail: String,
    /// Numeric codes of the v1.1 shape, such as 187.
    pub codes: Vec<i64>,
    /// X's `reason` where it gives one, such as `client-not-enrolled`.
    pub reason: String,
    /// X's `period` of a usage cap, such as `Monthly`; empty if it gave none.
    #[serde(default)]
    pub period: String,
    /// Whom a usage cap counts, X's `scope`: `Account` (of the developer) or `Product`; empty if it gave none.
    #[serde(default)]
    pub scope: String,
    /// Every rate limit window that the headers named.
    pub windows: Vec<Window>,
    /// `Retry-After` in seconds, if X sent one.
    pub retry_after_s: Option<u64>,
}

/// Why a call brought no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CallFault {
    /// The request certainly never left: name lookup, connection or TLS failed.
    NotSent {
        /// What the network said.
        detail: String,
    },
    /// The request may have been carried out, but no trustworthy answer came: timeout, cut connection, or a success
    /// without the promised content.
    NoAnswer {
        /// What happened, for people.
        detail: String,
    },
    /// X answered, and not with success.
    Refused(Answer),
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent { detail } => write!(f, "the request did not reach X: {detail}"),
            Self::NoAnswer { detail } => write!(f, "no trustworthy answer came from X: {detail}"),
            Self::Refused(answer) => {
                write!(
                    f,
                    "X answered {} {}: {}",
                    answer.status, answer.title, answer.detail
                )
            }
        }
    }
}

impl std::error::Error for CallFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_spelt_as_method_and_path() {
        let mut seen = std::collections::BTreeSet::new();
        for endpoint in Endpoint::ALL {
            let (method, path) = endpoint.label().split_once(' ').unwrap();
            assert!(["GET", "POST", "DELETE"].contains(&method));
            assert!(
                ["/2/", "/oauth/", "/1.1/"]
                    .iter()
                    .any(|known| path.starts_with(known))
            );
            assert!(seen.insert(endpoint.label()));
        }
    }

    #[test]
    fn only_creating_a_post_is_dangerous_to_repeat() {
        let dangerous: Vec<_> = Endpoint::ALL
            .into_iter()
            .filter(|e| e.is_create())
            .collect();
        assert_eq!(dangerous, [Endpoint::CreatePost, Endpoint::UpdateWithMedia]);
    }
}
