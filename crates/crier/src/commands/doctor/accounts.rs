//! Each account: may it publish, and for how long.
//!
//! **Invariant:** what stops all posts of an account is wrong; what stops some is a doubt.

use crier_store::{AccountRow, Store};

use super::{Mark, Report};
use crate::config::Config;
use crate::connect;
use crate::screen::{reason, span};

/// What publishing needs (x-api.md 1.3): without these nothing goes out.
const NEEDED: [&str; 3] = ["tweet.read", "tweet.write", "users.read"];

/// Looks at the key, and at each account.
pub(super) async fn accounts(
    config: &Config,
    store: &Store,
    report: &mut Report,
) -> anyhow::Result<()> {
    let has_key = connect::key(config);
    match &has_key {
        Ok(Some(_)) => report.ok("key for tokens", "can be used"),
        Ok(None) => report.add(
            "key for tokens",
            Mark::Wrong,
            "none is configured",
            "`openssl rand -base64 32` makes one for CRIER__SECRETS__KEY; keep it",
        ),
        Err(error) => report.add(
            "key for tokens",
            Mark::Wrong,
            format!("{error:#}"),
            "it must be 32 bytes in base64",
        ),
    }
    let rows = store.account_rows(None).await?;
    if rows.is_empty() {
        report.add(
            "accounts",
            Mark::Doubt,
            "there are none",
            "`crier auth import` adds them",
        );
    }
    for row in &rows {
        let known = connect::account(store, &row.account).await?;
        let opened = match has_key {
            Ok(Some(_)) => store
                .tokens(known.id)
                .await
                .map(|tokens| tokens.is_some_and(|tokens| tokens.refresh_token.is_some())),
            Ok(None) | Err(_) => Ok(true),
        };
        account(row, &opened.map_err(|error| error.to_string()), report);
    }
    Ok(())
}

fn account(row: &AccountRow, renewable: &Result<bool, String>, report: &mut Report) {
    let what = format!("@{}", row.account);
    let before = report.0.len();
    if row.status != "active" {
        let why = reason(row.reason.as_ref());
        let hint = match row.status.as_str() {
            "needs_login" => "log in again and import the tokens with `crier auth import`",
            "paused" => "`crier accounts resume` lets it go on",
            _ => {
                "follow what X asks at x.com: crier goes on by itself, `crier accounts resume` at once"
            }
        };
        report.add(
            &what,
            Mark::Wrong,
            format!("{}: {why}", row.status).trim_end_matches(": "),
            hint,
        );
    }
    if row.app_status.as_deref() == Some("paused") {
        report.add(
            &what,
            Mark::Wrong,
            format!("its app is paused: {}", reason(row.app_reason.as_ref())),
            "mend it in X's developer console: crier goes on by itself, `crier accounts resume` at once",
        );
    }
    let has_oauth2 = row.token_expires_in_s.is_some();
    if let Err(error) = renewable {
        report.add(
            &what,
            Mark::Wrong,
            format!("its token does not open: {error}"),
            "configure the key that sealed it, or import the account again",
        );
    } else if has_oauth2 && *renewable == Ok(false) {
        report.add(
            &what,
            Mark::Wrong,
            "has no refresh token: it publishes until the access token ends",
            "log in with the scope offline.access",
        );
    } else if !has_oauth2 && !row.has_oauth1 {
        report.add(&what, Mark::Wrong, "has no token", "`crier auth import`");
    }
    if has_oauth2 {
        let lacks = |scope: &&&str| !row.scopes.iter().any(|granted| granted == **scope);
        let missing: Vec<&str> = NEEDED.iter().filter(lacks).copied().collect();
        if !missing.is_empty() {
            report.add(
                &what,
                Mark::Wrong,
                format!("lacks the scope {}", missing.join(" and ")),
                "log in again with all scopes",
            );
        }
        if lacks(&&"media.write") {
            report.add(
                &what,
                Mark::Doubt,
                "lacks the scope media.write: posts with media cannot go out",
                "log in again with all scopes",
            );
        }
    }
    if report.0.len() == before {
        let token = match row.token_expires_in_s {
            Some(left) if left < 0.0 => "token expired, is refreshed when next needed".to_owned(),
            Some(left) => format!(
                "token good for {}, renewed {} ago",
                span(left),
                span(row.token_age_s.unwrap_or(0.0))
            ),
            None => "OAuth 1.0a".to_owned(),
        };
        report.ok(&what, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> AccountRow {
        AccountRow {
            account: "acme".into(),
            status: "active".into(),
            reason: None,
            x_user_id: "1".into(),
            app: Some("app".into()),
            app_status: Some("active".into()),
            app_reason: None,
            probe_at: None,
            scopes: ["tweet.read", "tweet.write", "users.read", "media.write"]
                .map(str::to_owned)
                .to_vec(),
            text_limit: 280,
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

    fn marks(row: &AccountRow, renewable: &Result<bool, String>) -> Vec<Mark> {
        let mut report = Report::default();
        account(row, renewable, &mut report);
        report.0.iter().map(|check| check.result).collect()
    }

    #[test]
    fn each_fault_of_an_account_is_found() {
        assert_eq!(marks(&row(), &Ok(true)), [Mark::Ok]);
        assert_eq!(marks(&row(), &Ok(false)), [Mark::Wrong]);
        assert_eq!(
            marks(&row(), &Err("sealed with another key".into())),
            [Mark::Wrong]
        );
        let with = |change: fn(&mut AccountRow)| {
            let mut row = row();
            change(&mut row);
            marks(&row, &Ok(true))
        };
        assert_eq!(with(|row| row.status = "needs_login".into()), [Mark::Wrong]);
        assert_eq!(
            with(|row| row.app_status = Some("paused".into())),
            [Mark::Wrong]
        );
        assert_eq!(
            with(|row| row.scopes.retain(|scope| scope != "tweet.write")),
            [Mark::Wrong]
        );
        assert_eq!(
            with(|row| row.scopes.retain(|scope| scope != "media.write")),
            [Mark::Doubt]
        );
        assert_eq!(with(|row| row.token_expires_in_s = None), [Mark::Wrong]);
    }
}
