//! What a script, a test or the command line may set before the start or change later.
//!
//! Invariant: every member has a default that follows the documents; a member that is misspelt is
//! refused, never ignored.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SimError;
use crate::faults::FaultSpec;
use crate::route::Route;

/// Scopes of an account for which none are named: all that a publisher needs (x-api.md 1.3).
pub const DEFAULT_SCOPE: &str = "tweet.read tweet.write users.read media.write offline.access";

/// Settings of a simulator, and the form of a script file (JSON, every member optional).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent line of a script file"
)]
pub struct SimOptions {
    /// Users that exist from the start, as for `POST /_sim/accounts`.
    pub accounts: Vec<AccountSpec>,
    /// Faults that are armed from the start, as for `POST /_sim/faults`.
    pub faults: Vec<FaultSpec>,
    /// Makes tokens and slugs repeat from run to run; without it they come from the system.
    pub seed: Option<u64>,
    /// Folder for upload bytes while a session is open; the system's temporary folder if absent.
    pub spool_dir: Option<PathBuf>,
    /// How long X works on a video or an animated GIF after finalize, in milliseconds.
    pub processing_delay_ms: u64,
    /// What `check_after_secs` says meanwhile, in seconds.
    pub check_after_s: u64,
    /// Lets the processing of videos and GIFs fail.
    pub processing_failure: Option<ProcessingFailure>,
    /// Largest request body that the edge lets through to `append` and to JSON routes, in bytes;
    /// above it the answer is 413 without a body. X's own figure is not documented (x-api.md 3.4).
    pub edge_limit_bytes: u64,
    /// The same for the one-shot upload, in bytes.
    pub one_shot_limit_bytes: u64,
    /// Media answers without the `data` around them, as seen live in 2025 (x-api.md 3.1).
    pub unwrapped_media_replies: bool,
    /// Append answers 204 without a body instead of 200 with `expires_at` (x-api.md 3.4).
    pub empty_append_replies: bool,
    /// A second finalize is 404 instead of the first one's answer (not documented, x-api.md 3.5).
    pub refuse_second_finalize: bool,
    /// New posts are not seen by reads until so many milliseconds later (x-api.md 4.2).
    pub read_delay_ms: u64,
    /// The rules for self-serve apps: no quotes, replies only when summoned, one cashtag
    /// (x-api.md 4.3).
    pub self_serve: bool,
    /// A text that is too long is 403 instead of 400 (sources disagree, x-api.md 4.4).
    pub too_long_is_forbidden: bool,
    /// How long the same post by the same user is a duplicate, in seconds (x-api.md 4.5).
    pub duplicate_window_s: u64,
    /// Longest video for accounts without Premium, in milliseconds (x-api.md 3.7).
    pub max_video_ms: u64,
    /// Enforces the "per app" column of x-api.md 5.1 too. Off, since one default app is shared by
    /// all accounts of a simulator.
    pub documented_app_limits: bool,
    /// Limits of all accounts, by route; those of an account go first.
    pub limits: BTreeMap<String, LimitSpec>,
    /// Base URLs, without a path, that OAuth 1.0a callers may have signed besides the `Host` they
    /// called, such as `https://api.x.com` behind a redirecting proxy.
    pub oauth1_bases: Vec<String>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            faults: Vec::new(),
            seed: None,
            spool_dir: None,
            processing_delay_ms: 600,
            check_after_s: 1,
            processing_failure: None,
            edge_limit_bytes: (4 << 20) + (64 << 10),
            one_shot_limit_bytes: 16 << 20,
            unwrapped_media_replies: false,
            empty_append_replies: false,
            refuse_second_finalize: false,
            read_delay_ms: 0,
            self_serve: true,
            too_long_is_forbidden: false,
            duplicate_window_s: 12 * 3_600,
            max_video_ms: 140_000,
            documented_app_limits: false,
            limits: BTreeMap::new(),
            oauth1_bases: Vec::new(),
        }
    }
}

impl SimOptions {
    /// Reads a script: a JSON object with any of these members, all checked.
    ///
    /// # Errors
    /// [`SimError::Script`] names the member or the route that is wrong and where it stands.
    pub fn from_json(text: &str) -> Result<Self, SimError> {
        let options: Self =
            serde_json::from_str(text).map_err(|error| SimError::Script(error.to_string()))?;
        options.check().map_err(SimError::Script)?;
        Ok(options)
    }

    /// The same options with the members of `changes` in their place.
    pub(crate) fn merged(&self, changes: &Value) -> Result<Self, String> {
        let changes = changes
            .as_object()
            .ok_or("options must be a JSON object".to_owned())?;
        let mut whole = serde_json::to_value(self).map_err(|error| error.to_string())?;
        if let Some(members) = whole.as_object_mut() {
            for (name, value) in changes {
                if !members.contains_key(name) {
                    return Err(format!("there is no option `{name}`"));
                }
                members.insert(name.clone(), value.clone());
            }
        }
        let merged: Self = serde_json::from_value(whole).map_err(|error| error.to_string())?;
        merged.check()?;
        Ok(merged)
    }

    /// What types alone cannot say.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_routes(self.limits.keys())?;
        for account in &self.accounts {
            account.check()?;
        }
        for fault in &self.faults {
            fault.check()?;
        }
        Ok(())
    }
}

/// How processing goes wrong (x-api.md 3.6).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessingFailure {
    /// `error.code`, such as 1 (`InvalidMedia`) or 3 (`UnsupportedMedia`).
    pub code: u32,
    /// `error.name`.
    pub name: String,
    /// `error.message`.
    pub message: String,
    /// The state beside the error: `failed`, or `in_progress` as seen live on stuck videos.
    #[serde(default = "failed")]
    pub state: String,
}

fn failed() -> String {
    "failed".to_owned()
}

/// A user to make, as `POST /_sim/accounts` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSpec {
    /// Handle, with or without `@`.
    pub username: String,
    /// User id; a new one if absent.
    pub id: Option<String>,
    /// Display name; the handle if absent.
    pub name: Option<String>,
    /// Scopes that the user granted, space separated; [`DEFAULT_SCOPE`] if absent.
    pub scope: Option<String>,
    /// Life of access tokens in seconds; 7200 if absent (x-api.md 1.4).
    pub expires_in: Option<u64>,
    /// Long posts and long videos.
    pub premium: Option<bool>,
    /// App that the user granted access to; one shared app if absent.
    pub client_id: Option<String>,
    /// Secret of a new app; made up if absent.
    pub client_secret: Option<String>,
    /// The app is a public client, which has no secret (x-api.md 1.2).
    pub public: Option<bool>,
    /// Callbacks registered for the app; any goes if there are none.
    pub redirect_uris: Vec<String>,
    /// What the app's OAuth 1.0a tokens may do: `read-write` (default) or `read` (x-api.md 2.2).
    pub oauth1_access: Option<String>,
    /// Fixes the first access token; made up if absent.
    pub access_token: Option<String>,
    /// Fixes the first refresh token; made up if absent.
    pub refresh_token: Option<String>,
    /// Limits of this user by route.
    pub limits: BTreeMap<String, LimitSpec>,
}

impl AccountSpec {
    pub(crate) fn check(&self) -> Result<(), String> {
        let handle = self.handle();
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if handle.is_empty() || handle.len() > 50 || !handle.chars().all(good) {
            return Err(format!(
                "`username` must be 1 to 50 letters, digits or underscores, not `{}`",
                self.username
            ));
        }
        if let Some(id) = &self.id
            && !is_id(id)
        {
            return Err(format!("`id` must be 1 to 19 digits, not `{id}`"));
        }
        if let Some(access) = &self.oauth1_access
            && !matches!(access.as_str(), "read" | "read-write")
        {
            return Err(format!(
                "`oauth1_access` must be `read` or `read-write`, not `{access}`"
            ));
        }
        if self.public == Some(true) && self.client_secret.is_some() {
            return Err("a public client has no `client_secret`".to_owned());
        }
        check_routes(self.limits.keys())
    }

    /// Whether the app's OAuth 1.0a tokens may write.
    pub(crate) fn may_write(&self) -> bool {
        self.oauth1_access.as_deref() != Some("read")
    }

    /// The handle without its `@`.
    pub(crate) fn handle(&self) -> &str {
        bare(&self.username)
    }
}

/// Limits of one route; what is absent stays as it was.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSpec {
    /// Calls per window and user.
    pub limit: Option<u32>,
    /// Length of that window in seconds.
    pub window_s: Option<u64>,
    /// Calls per user and 24 hours.
    pub user_24h: Option<u32>,
    /// Calls per app and 24 hours.
    pub app_24h: Option<u32>,
}

/// A handle without its `@`.
pub(crate) fn bare(username: &str) -> &str {
    username.trim().trim_start_matches('@')
}

/// X's pattern for ids (x-api.md 4.1).
pub(crate) fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_routes<'a>(specs: impl Iterator<Item = &'a String>) -> Result<(), String> {
    for spec in specs {
        if Route::from_spec(spec).is_none() {
            return Err(unknown_route(spec));
        }
    }
    Ok(())
}

/// The message for a route that is not there.
pub(crate) fn unknown_route(spec: &str) -> String {
    format!(
        "there is no route `{spec}`; routes are {}",
        Route::all_specs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_and_its_faults_are_named() {
        let good = r#"{"processing_delay_ms": 5, "accounts": [{"username": "@acme"}],
            "faults": [{"route": "POST /2/tweets", "kind": "answer_lost"}]}"#;
        let options = SimOptions::from_json(good).unwrap();
        assert_eq!(options.processing_delay_ms, 5);
        assert_eq!(options.accounts[0].handle(), "acme");

        for (script, part) in [
            (r#"{"procesing": 1}"#, "unknown field `procesing`"),
            (
                r#"{"faults": [{"route": "POST /x", "kind": "cut"}]}"#,
                "no route `POST /x`",
            ),
            (
                r#"{"faults": [{"route": "*", "kind": "boom"}]}"#,
                "unknown variant `boom`",
            ),
            (r#"{"accounts": [{"username": "a b"}]}"#, "`a b`"),
            (r#"{"limits": {"GET /": {"limit": 1}}}"#, "no route `GET /`"),
            ("[", "EOF"),
        ] {
            let error = SimOptions::from_json(script).unwrap_err().to_string();
            assert!(error.contains(part), "{script}: {error}");
        }
    }

    #[test]
    fn merging_changes_one_member_and_refuses_strangers() {
        let options = SimOptions::default();
        let merged = options
            .merged(&serde_json::json!({"read_delay_ms": 9}))
            .unwrap();
        assert_eq!(merged.read_delay_ms, 9);
        assert_eq!(merged.processing_delay_ms, options.processing_delay_ms);
        assert!(options.merged(&serde_json::json!({"nope": 1})).is_err());
    }
}
