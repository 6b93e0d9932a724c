//! What keeps an account from publishing, or from publishing all of it, and what a person must do about it, in words.
//!
//! **Invariant:** whatever stops an account is said together with what ends it; a command that is named can be typed as it
//! stands.

use crier_store::AccountRow;
use serde_json::Value;

use crate::screen::reason;

/// One thing that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// What is wrong.
    pub(crate) what: String,
    /// What a person must do.
    pub(crate) cure: String,
    /// How much of it does not go out until then.
    pub(crate) stops: Stops,
}

/// What does not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stops {
    /// Nothing goes out.
    All,
    /// Nothing goes out once the access token has ended.
    Soon,
    /// Some posts do not go out.
    Some,
}

/// Scopes that publishing needs (x-api.md 1.3): together, what is lost without one of them, and how much.
const SCOPES: [(&[&str], &str, Stops); 3] = [
    (
        &["tweet.read", "tweet.write", "users.read"],
        "nothing can be published",
        Stops::All,
    ),
    (
        &["media.write"],
        "posts with media do not go out",
        Stops::Some,
    ),
    (
        &["offline.access"],
        "there is no refresh token, so publishing ends when the access token does",
        Stops::Soon,
    ),
];

/// What X has stopped and a person mends at x.com.
const AT_X: [&str; 2] = ["account_suspended", "account_locked"];

/// Whether X has ended the grant, so that only a login helps; a locked account has its grant still.
pub(crate) fn lacks_grant(row: &AccountRow) -> bool {
    let code = code(row.reason.as_ref());
    // What a gateway says of v1.1 ends no grant, and what does not open may be put back as it was.
    let mendable = ["account_locked", "credentials_damaged"].contains(&code);
    row.status == "needs_login" && !mendable && !code.starts_with("v1_")
}

/// Everything in the way, the worst first.
pub(crate) fn needs(row: &AccountRow) -> Vec<Need> {
    let mut needs = Vec::new();
    let handle = &row.account;
    let kind = if row.has_oauth1 && row.token_expires_in_s.is_none() {
        "--oauth1 "
    } else {
        ""
    };
    let login =
        format!("`crier auth login {kind}--account {handle}`; its jobs then go on by themselves");
    if let Some(what) = of_account(row) {
        let cure = match row.status.as_str() {
            _ if lacks_grant(row) => login.clone(),
            "paused" => format!("`crier accounts resume {handle}`"),
            // What X says of an app that has no row of its own stops the account.
            _ if !AT_X.contains(&code(row.reason.as_ref()))
                && !hint(row.reason.as_ref()).is_empty() =>
            {
                hint(row.reason.as_ref()).to_owned()
            }
            _ => format!(
                "log in at x.com as @{handle} and do what X asks; {}",
                goes_on(handle)
            ),
        };
        needs.push(Need {
            what,
            cure,
            stops: Stops::All,
        });
    }
    if row.app_status.as_deref() == Some("paused") {
        needs.push(Need {
            what: with("its app is paused", row.app_reason.as_ref()),
            cure: of_app(row),
            stops: Stops::All,
        });
    }
    let has_oauth2 = row.token_expires_in_s.is_some();
    if !has_oauth2 && !row.has_oauth1 && !lacks_grant(row) {
        needs.push(Need {
            what: "has no token".to_owned(),
            cure: login.clone(),
            stops: Stops::All,
        });
    }
    if has_oauth2 {
        for (scopes, lost, stops) in SCOPES {
            let lacks = |scope: &&&str| !row.scopes.iter().any(|granted| granted == **scope);
            let missing: Vec<&str> = scopes.iter().filter(lacks).copied().collect();
            if missing.is_empty() {
                continue;
            }
            needs.push(Need {
                what: format!("lacks {}: {lost}", missing.join(" and ")),
                cure: match stops {
                    // No permission of the app's: it is there for the asking.
                    Stops::Soon => format!("`crier auth login --account {handle}` asks for it"),
                    Stops::All | Stops::Some => format!(
                        "give the app this permission in X's developer console, then `crier auth login --account {handle}`"
                    ),
                },
                stops,
            });
        }
    }
    needs
}

/// Why the account itself is stopped.
fn of_account(row: &AccountRow) -> Option<String> {
    let said = match (row.status.as_str(), code(row.reason.as_ref())) {
        ("active", _) => return None,
        ("needs_login", "account_locked") => "X has locked it until a person unlocks it",
        ("needs_login", "revoked") => "its grants were revoked",
        ("needs_login", "scope_missing") => "its grant does not hold what publishing needs",
        ("needs_login", "rotation_lost") => "its new tokens were lost on their way from X",
        ("needs_login", "credentials_damaged") => "its tokens do not open",
        ("needs_login", _) => "X no longer lets crier post for it",
        ("suspended", _) => "X has suspended it",
        ("paused", "paused") => return Some("paused by a person".to_owned()),
        (other, _) => return Some(with(other, row.reason.as_ref())),
    };
    Some(with(said, row.reason.as_ref()))
}

fn of_app(row: &AccountRow) -> String {
    let handle = &row.account;
    let goes_on = goes_on(handle);
    match code(row.app_reason.as_ref()) {
        "app_credentials" => format!(
            "`crier auth login --account {handle} --client-secret-file FILE` with the secret that X's developer console shows"
        ),
        "client_not_enrolled" => format!(
            "move the app into a project and its production environment in X's developer console; {goes_on}"
        ),
        "oauth1_read_only" => format!(
            "give the app read and write permission in X's developer console, then `crier auth login --oauth1 --account {handle}`"
        ),
        "credits_depleted" | "spend_cap" => {
            format!("buy credits or raise the spending limit in X's developer console; {goes_on}")
        }
        _ => match hint(row.app_reason.as_ref()) {
            "" => format!("look at the app in X's developer console; {goes_on}"),
            hint => hint.to_owned(),
        },
    }
}

/// How what X has stopped goes on once a person has done what X asks.
fn goes_on(handle: &str) -> String {
    format!("crier notices within hours, `crier accounts resume {handle}` at once")
}

fn hint(fault: Option<&Value>) -> &str {
    fault
        .and_then(|fault| fault["hint"].as_str())
        .unwrap_or_default()
}

fn code(fault: Option<&Value>) -> &str {
    fault
        .and_then(|fault| fault["code"].as_str())
        .unwrap_or_default()
}

/// Our words, then X's.
fn with(said: &str, fault: Option<&Value>) -> String {
    match reason(fault) {
        words if words.is_empty() => said.to_owned(),
        words => format!("{said} ({words})"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An account that lacks nothing.
    pub(crate) fn row() -> AccountRow {
        AccountRow {
            account: "acme".into(),
            status: "active".into(),
            reason: None,
            x_user_id: "1".into(),
            app: Some("app".into()),
            app_status: Some("active".into()),
            app_reason: None,
            probe_at: None,
            scopes: SCOPES
                .iter()
                .flat_map(|(scopes, ..)| scopes.iter().map(|scope| (*scope).to_owned()))
                .collect(),
            text_limit: 280,
            tier: "standard".into(),
            publisher: "v2".into(),
            token_expires_in_s: Some(3_000.0),
            token_age_s: Some(60.0),
            has_oauth1: false,
            next_at: None,
            closed_until: None,
            closed: false,
            in_flight: false,
            waiting: 0,
        }
    }

    fn said(change: impl FnOnce(&mut AccountRow)) -> Vec<(String, String, Stops)> {
        let mut row = row();
        change(&mut row);
        let needs = needs(&row).into_iter();
        needs
            .map(|need| (need.what, need.cure, need.stops))
            .collect()
    }

    /// What one change brings.
    fn one(change: impl FnOnce(&mut AccountRow)) -> (String, String) {
        let mut said = said(change);
        assert_eq!(said.len(), 1, "{said:?}");
        let (what, cure, stops) = said.remove(0);
        assert_eq!(stops, Stops::All, "{what}");
        (what, cure)
    }

    #[test]
    fn who_may_publish_needs_nothing() {
        assert_eq!(said(|_| {}), []);
        assert_eq!(
            said(|row| {
                row.token_expires_in_s = None;
                row.has_oauth1 = true;
                row.scopes.clear();
            }),
            [],
            "OAuth 1.0a knows no scopes"
        );
    }

    #[test]
    fn what_stops_an_account_is_said_with_what_ends_it() {
        let stopped = |status: &str, code: &str, detail: &str| {
            one(|row| {
                row.status = status.into();
                row.reason =
                    Some(json!({"code": code, "title": "", "detail": detail, "hint": "?"}));
            })
        };
        let login = "`crier auth login --account acme`; its jobs then go on by themselves";
        let (what, cure) = stopped(
            "needs_login",
            "grant_dead",
            "Value passed for the token was invalid.",
        );
        assert_eq!(
            what,
            "X no longer lets crier post for it (grant_dead: Value passed for the token was invalid.)"
        );
        assert_eq!(cure, login);
        assert_eq!(stopped("needs_login", "revoked", "").1, login);
        let (_, cure) = one(|row| {
            row.status = "needs_login".into();
            row.token_expires_in_s = None;
            row.has_oauth1 = true;
        });
        assert!(cure.starts_with("`crier auth login --oauth1 --account acme`"));
        for (status, code) in [
            ("suspended", "account_suspended"),
            ("needs_login", "account_locked"),
        ] {
            let (what, cure) = stopped(status, code, "");
            assert!(what.starts_with("X has "), "{what}");
            assert!(
                cure.starts_with("log in at x.com as @acme")
                    && cure.ends_with("`crier accounts resume acme` at once"),
                "{cure}"
            );
        }
        assert_eq!(
            stopped("paused", "paused", ""),
            (
                "paused by a person".to_owned(),
                "`crier accounts resume acme`".to_owned()
            )
        );
    }

    #[test]
    fn what_stops_an_app_is_mended_where_it_can_be() {
        let stopped = |code: &str, hint: &str| {
            let (what, cure) = one(|row| {
                row.app_status = Some("paused".into());
                row.app_reason =
                    Some(json!({"code": code, "title": "t", "detail": "", "hint": hint}));
            });
            assert_eq!(what, format!("its app is paused ({code}: t)"));
            cure
        };
        assert!(stopped("app_credentials", "").contains("--client-secret-file FILE"));
        assert!(stopped("credits_depleted", "").starts_with("buy credits"));
        assert!(stopped("client_not_enrolled", "").contains("production environment"));
        assert!(stopped("oauth1_read_only", "").contains("auth login --oauth1 --account acme"));
        assert_eq!(stopped("access_level", "raise the plan"), "raise the plan");
        assert!(stopped("odd", "").starts_with("look at the app"));
    }

    #[test]
    fn scopes_that_are_missing_are_told_apart() {
        let lacks = |scope: &str| {
            let mut said = said(|row| row.scopes.retain(|granted| granted != scope));
            assert_eq!(said.len(), 1, "{said:?}");
            said.remove(0)
        };
        assert_eq!(lacks("tweet.write").2, Stops::All);
        assert_eq!(lacks("offline.access").2, Stops::Soon);
        let (what, _) = one(|row| {
            row.scopes
                .retain(|granted| granted != "tweet.write" && granted != "users.read");
        });
        assert_eq!(
            what,
            "lacks tweet.write and users.read: nothing can be published"
        );
        let (what, cure, stops) = lacks("media.write");
        assert_eq!(what, "lacks media.write: posts with media do not go out");
        assert_eq!(stops, Stops::Some);
        assert!(
            cure.ends_with("`crier auth login --account acme`"),
            "{cure}"
        );
        assert!(lacks("offline.access").0.contains("no refresh token"));
        let (what, cure) = one(|row| row.token_expires_in_s = None);
        assert_eq!(what, "has no token");
        assert!(cure.starts_with("`crier auth login --account acme`"));
    }
}
