//! Every path that X answers here, by the words of its spec.
//!
//! Invariant: faults, limits, scopes and records all name a route by this one list.

use axum::http::Method;

/// Seconds of X's usual window.
pub(crate) const QUARTER_S: u64 = 900;
/// Seconds of a day.
pub(crate) const DAY_S: u64 = 86_400;

/// A path of X with its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    CreatePost,
    DeletePost,
    ReadPost,
    ReadPosts,
    UserPosts,
    Me,
    OneShot,
    Status,
    Initialize,
    Append,
    Finalize,
    Metadata,
    AddSubtitles,
    DeleteSubtitles,
    Token,
    Revoke,
    AuthorizePage,
    AuthorizeAnswer,
    RequestToken,
    OAuth1Page,
    OAuth1Answer,
    AccessToken,
    Invalidate,
}

/// What the documents say of a route.
#[derive(Debug)]
struct Facts {
    route: Route,
    /// As the spec writes it.
    spec: &'static str,
    /// OAuth 2.0 scopes that a token needs, all of them (x-api.md 1.3).
    scopes: &'static [&'static str],
    /// Calls per user and 15 minutes (x-api.md 5.1).
    user: Option<u32>,
    /// Calls per app and window, with the window in seconds (x-api.md 5.1).
    app: Option<(u32, u64)>,
}

const READ: &[&str] = &["tweet.read", "users.read"];
const WRITE: &[&str] = &["tweet.read", "tweet.write", "users.read"];
const MEDIA: &[&str] = &["media.write"];

const fn facts(
    route: Route,
    spec: &'static str,
    scopes: &'static [&'static str],
    user: Option<u32>,
    app: Option<(u32, u64)>,
) -> Facts {
    Facts {
        route,
        spec,
        scopes,
        user,
        app,
    }
}

/// In the order of the enum, which is what `facts_of` relies on.
#[rustfmt::skip]
const TABLE: [Facts; 23] = [
    facts(Route::CreatePost, "POST /2/tweets", WRITE, Some(100), Some((10_000, DAY_S))),
    facts(Route::DeletePost, "DELETE /2/tweets/{id}", WRITE, Some(50), None),
    facts(Route::ReadPost, "GET /2/tweets/{id}", READ, Some(900), Some((450, QUARTER_S))),
    facts(Route::ReadPosts, "GET /2/tweets", READ, Some(5_000), Some((3_500, QUARTER_S))),
    facts(Route::UserPosts, "GET /2/users/{id}/tweets", READ, Some(900), Some((10_000, QUARTER_S))),
    facts(Route::Me, "GET /2/users/me", READ, Some(75), None),
    facts(Route::OneShot, "POST /2/media/upload", MEDIA, Some(500), Some((50_000, DAY_S))),
    facts(Route::Status, "GET /2/media/upload", MEDIA, Some(1_000), Some((100_000, DAY_S))),
    facts(Route::Initialize, "POST /2/media/upload/initialize", MEDIA, Some(1_875), Some((180_000, DAY_S))),
    facts(Route::Append, "POST /2/media/upload/{id}/append", MEDIA, Some(1_875), Some((180_000, DAY_S))),
    facts(Route::Finalize, "POST /2/media/upload/{id}/finalize", MEDIA, Some(1_875), Some((180_000, DAY_S))),
    facts(Route::Metadata, "POST /2/media/metadata", MEDIA, Some(500), Some((50_000, DAY_S))),
    facts(Route::AddSubtitles, "POST /2/media/subtitles", MEDIA, Some(100), Some((10_000, DAY_S))),
    facts(Route::DeleteSubtitles, "DELETE /2/media/subtitles", MEDIA, Some(100), Some((10_000, DAY_S))),
    facts(Route::Token, "POST /2/oauth2/token", &[], None, None),
    facts(Route::Revoke, "POST /2/oauth2/revoke", &[], None, None),
    facts(Route::AuthorizePage, "GET /i/oauth2/authorize", &[], None, None),
    facts(Route::AuthorizeAnswer, "POST /i/oauth2/authorize", &[], None, None),
    facts(Route::RequestToken, "POST /oauth/request_token", &[], None, None),
    facts(Route::OAuth1Page, "GET /oauth/authorize", &[], None, None),
    facts(Route::OAuth1Answer, "POST /oauth/authorize", &[], None, None),
    facts(Route::AccessToken, "POST /oauth/access_token", &[], None, None),
    facts(Route::Invalidate, "POST /1.1/oauth/invalidate_token", &[], None, None),
];

impl Route {
    fn facts(self) -> &'static Facts {
        TABLE
            .iter()
            .find(|facts| facts.route == self)
            .unwrap_or(&TABLE[0])
    }

    /// As the spec writes it, such as `POST /2/media/upload/{id}/append`.
    pub(crate) fn spec(self) -> &'static str {
        self.facts().spec
    }

    /// Scopes that an OAuth 2.0 token needs, all of them.
    pub(crate) fn scopes(self) -> &'static [&'static str] {
        self.facts().scopes
    }

    /// Calls per user and 15 minutes by the documents' table.
    pub(crate) fn user_limit(self) -> Option<u32> {
        self.facts().user
    }

    /// Calls per app and window in seconds by the documents' table.
    pub(crate) fn app_limit(self) -> Option<(u32, u64)> {
        self.facts().app
    }

    /// True where the caller is named in the body and not by an `Authorization` for a user.
    pub(crate) fn names_caller_in_body(self) -> bool {
        matches!(self, Self::Token | Self::Revoke)
    }

    /// True where the body holds a file.
    pub(crate) fn carries_file(self) -> bool {
        matches!(self, Self::Append | Self::OneShot)
    }

    /// Reads the spec's form.
    pub(crate) fn from_spec(spec: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|facts| facts.spec == spec)
            .map(|facts| facts.route)
    }

    /// All spec forms, for messages.
    pub(crate) fn all_specs() -> String {
        let specs: Vec<_> = TABLE
            .iter()
            .map(|facts| format!("`{}`", facts.spec))
            .collect();
        specs.join(", ")
    }

    /// The route of a request, with the id that its path holds.
    pub(crate) fn find(method: &Method, path: &str) -> Option<(Self, Option<String>)> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let found = match (method.as_str(), segments.as_slice()) {
            ("POST", ["2", "tweets"]) => (Self::CreatePost, None),
            ("GET", ["2", "tweets"]) => (Self::ReadPosts, None),
            ("DELETE", ["2", "tweets", id]) => (Self::DeletePost, Some(*id)),
            ("GET", ["2", "tweets", id]) => (Self::ReadPost, Some(*id)),
            ("GET", ["2", "users", "me"]) => (Self::Me, None),
            ("GET", ["2", "users", id, "tweets"]) => (Self::UserPosts, Some(*id)),
            ("POST", ["2", "media", "upload"]) => (Self::OneShot, None),
            ("GET", ["2", "media", "upload"]) => (Self::Status, None),
            ("POST", ["2", "media", "upload", "initialize"]) => (Self::Initialize, None),
            ("POST", ["2", "media", "upload", id, "append"]) => (Self::Append, Some(*id)),
            ("POST", ["2", "media", "upload", id, "finalize"]) => (Self::Finalize, Some(*id)),
            ("POST", ["2", "media", "metadata"]) => (Self::Metadata, None),
            ("POST", ["2", "media", "subtitles"]) => (Self::AddSubtitles, None),
            ("DELETE", ["2", "media", "subtitles"]) => (Self::DeleteSubtitles, None),
            ("POST", ["2", "oauth2", "token"]) => (Self::Token, None),
            ("POST", ["2", "oauth2", "revoke"]) => (Self::Revoke, None),
            // x-api.md 1.1: the page and the spec name different hosts and paths.
            ("GET", ["i" | "2", "oauth2", "authorize"]) => (Self::AuthorizePage, None),
            ("POST", ["i" | "2", "oauth2", "authorize"]) => (Self::AuthorizeAnswer, None),
            ("POST", ["oauth", "request_token"]) => (Self::RequestToken, None),
            ("GET", ["oauth", "authorize" | "authenticate"]) => (Self::OAuth1Page, None),
            ("POST", ["oauth", "authorize" | "authenticate"]) => (Self::OAuth1Answer, None),
            ("POST", ["oauth", "access_token"]) => (Self::AccessToken, None),
            ("POST", ["1.1", "oauth", "invalidate_token" | "invalidate_token.json"]) => {
                (Self::Invalidate, None)
            }
            _ => return None,
        };
        Some((found.0, found.1.map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_form_is_found_again_by_its_own_path() {
        for facts in &TABLE {
            let (method, path) = facts.spec.split_once(' ').unwrap();
            let path = path.replace("{id}", "123");
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = Route::find(&method, &path).unwrap().0;
            assert_eq!(found, facts.route, "{}", facts.spec);
            assert_eq!(Route::from_spec(facts.spec), Some(facts.route));
            assert_eq!(facts.route.spec(), facts.spec);
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for (method, path) in [
            (Method::PUT, "/2/tweets"),
            (Method::POST, "/2/tweets/"),
            (Method::GET, "/2/media/upload/1/append"),
            (Method::POST, "/1.1/statuses/update.json"),
        ] {
            assert!(Route::find(&method, path).is_none(), "{method} {path}");
        }
    }
}
