//! Each account: may it publish, and for how long.
//!
//! **Invariant:** what stops all posts of an account is wrong; what stops some is a doubt.

use crier_store::{AccountRow, Store, StoreError};

use super::super::SEEN_S;
use super::{Mark, Report};
use crate::commands::standing::{Stops, needs};
use crate::config::Config;
use crate::connect;
use crate::screen::{instant, span};

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
            "`crier keys new` makes one for CRIER__SECRETS__KEY; keep it",
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
            "`crier auth login` adds one, `crier auth import` several",
        );
    }
    if has_key.as_ref().is_ok_and(Option::is_some) {
        keys(store, report).await?;
    }
    for row in &rows {
        let known = connect::account(store, &row.account).await?;
        let opened = match has_key {
            Ok(Some(_)) => opens(store, known.id, &row.account, report).await,
            Ok(None) | Err(_) => Ok(true),
        };
        account(row, &opened.map_err(|error| error.to_string()), report);
    }
    Ok(())
}

/// Whether what is kept of an account opens, and whether its token can be renewed.
async fn opens(
    store: &Store,
    account: i64,
    handle: &str,
    report: &mut Report,
) -> Result<bool, StoreError> {
    store.oauth1_tokens(account).await?;
    let Some(tokens) = store.tokens(account).await? else {
        return Ok(false);
    };
    let what = format!("@{handle}");
    let refreshes = &tokens.refreshes;
    if let Some(doubt) = refreshes.doubt {
        report.add(
            &what,
            Mark::Doubt,
            format!(
                "a refresh that began at {} has not ended yet; if it goes on for minutes, its process has died",
                instant(doubt.since)
            ),
            "nothing to do: crier tries again; a process that was killed may have left the new tokens in its `secrets.rescue_dir`, and brings them in when it is started again",
        );
    } else if let Some(fault) = refreshes.fault.as_ref().filter(|_| refreshes.faults > 0) {
        report.add(
            &what,
            Mark::Doubt,
            format!(
                "its token could not be refreshed {} times in a row: {}",
                refreshes.faults,
                fault["title"].as_str().unwrap_or_default()
            ),
            fault["hint"].as_str().unwrap_or_default(),
        );
    }
    Ok(tokens.refresh_token.is_some())
}

/// Keys that are missing here, and those on their way out.
async fn keys(store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let known = store.key_ids();
    let counts = store.sealed_counts(SEEN_S).await?;
    for count in &counts {
        let rows = count.values();
        let (what, hint) = match known.iter().position(|id| *id == count.key_id) {
            Some(0) => continue,
            Some(_) => (
                format!(
                    "{rows} values are sealed with key {}, which only opens",
                    count.key_id
                ),
                "`crier keys rotate` seals them with `secrets.key`",
            ),
            None => (
                format!(
                    "{rows} values are sealed with key {}, which is not configured here",
                    count.key_id
                ),
                "give it as `secrets.key`, or among `secrets.other_keys`; `crier keys list` shows what is sealed with which",
            ),
        };
        if rows > 0 {
            report.add("keys", Mark::Doubt, what, hint);
        }
        if count.processes > 0 {
            report.add(
                "keys",
                Mark::Doubt,
                format!(
                    "{} processes on {} seal with key {}, and this one does not",
                    count.processes,
                    count.hosts.join(", "),
                    count.key_id
                ),
                "let every process have the same `secrets.key`",
            );
        }
    }
    Ok(())
}

fn account(row: &AccountRow, renewable: &Result<bool, String>, report: &mut Report) {
    let what = format!("@{}", row.account);
    let before = report.0.len();
    for need in needs(row) {
        let mark = match need.stops {
            Stops::All => Mark::Wrong,
            Stops::Some => Mark::Doubt,
            // Here it is known whether there is a refresh token.
            Stops::Soon => continue,
        };
        report.add(&what, mark, need.what, &need.cure);
    }
    if let Err(error) = renewable {
        report.add(
            &what,
            Mark::Wrong,
            format!("its token does not open: {error}"),
            &format!(
                "configure the key that sealed it, or `crier auth login --account {}`",
                row.account
            ),
        );
    } else if row.token_expires_in_s.is_some() && *renewable == Ok(false) {
        report.add(
            &what,
            Mark::Wrong,
            "has no refresh token: it publishes until the access token ends",
            &format!(
                "`crier auth login --account {}` asks for the scope offline.access, which brings one",
                row.account
            ),
        );
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
    use crate::commands::standing::tests::row;

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
