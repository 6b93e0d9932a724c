//! `crier jobs list --due`: what should be out and is not, the most late first, and what each waits for.
//!
//! **Invariant:** each job is told with one thing that it waits for: the one that has to come first.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use crier_store::{AccountRow, DueFilter, DueRow, Store};
use serde_json::json;

use super::super::standing::{Stops, needs};
use super::{Context, List, full};
use crate::connect;
use crate::screen::{instant, reason, short, span};

pub(super) async fn run(context: &Context, store: &Store, list: List) -> anyhow::Result<()> {
    let account = match &list.account {
        Some(handle) => Some(connect::account(store, handle).await?.id),
        None => None,
    };
    let filter = DueFilter {
        campaign: list.campaign,
        account,
        limit: i64::from(list.limit),
    };
    let rows = store.due_rows(&filter).await?;
    let mut accounts = BTreeMap::new();
    for row in &rows {
        let handle = &row.job.account;
        if !accounts.contains_key(handle) {
            let account = store.account_rows(Some(handle)).await?.pop();
            accounts.insert(handle.clone(), account);
        }
    }
    let waits = |row: &DueRow| {
        let account = accounts.get(&row.job.account).and_then(Option::as_ref);
        waits_for(row, account)
    };
    if context.screen.json {
        for row in &rows {
            let mut told = serde_json::to_value(row)?;
            told["waits_for"] = json!(waits(row));
            context.screen.object(&told)?;
        }
        return Ok(());
    }
    context
        .screen
        .rows(&rows, &HEAD, "nothing is due that is not out", |row| {
            vec![
                row.job.id.to_string(),
                row.job.account.clone(),
                row.job.state.clone(),
                span(row.late_s),
                short(&row.job.text, 30),
                waits(row),
            ]
        })
}

const HEAD: [&str; 6] = ["job", "account", "state", "late", "text", "waits for"];

/// What has to come before the job can go out.
fn waits_for(row: &DueRow, account: Option<&AccountRow>) -> String {
    let job = &row.job;
    if row.in_hand {
        return "the worker that has it in hand".to_owned();
    }
    match (job.state.as_str(), &job.campaign) {
        ("unknown", _) => {
            return format!(
                "a look on X: perhaps it is there; `crier jobs why {}`",
                job.id
            );
        }
        ("paused", Some(name)) if row.campaign_paused => {
            return format!("its campaign: select crier.resume_campaign('{name}')");
        }
        ("paused", _) => return "a person: it is paused".to_owned(),
        _ => {}
    }
    let stopped = account.and_then(|account| {
        let mut needs = needs(account).into_iter();
        needs.find(|need| need.stops == Stops::All)
    });
    if let Some(need) = stopped {
        return format!("@{}: {}; {}", job.account, need.what, need.cure);
    }
    if let Some(budget) = &row.budget {
        return full(budget);
    }
    if let Some(until) = account.and_then(|account| account.closed_until) {
        return format!("a limit of X, until {}", instant(until));
    }
    if let Some(before) = row.awaits_job {
        return format!("job {before} of its thread; `crier jobs why {before}`");
    }
    let why = reason(job.error.as_ref().or(job.warning.as_ref()));
    let with = |what: String| match why.as_str() {
        "" => what,
        why => format!("{what} ({why})"),
    };
    if row.awaits_media {
        return with("its media".to_owned());
    }
    // By the database's clock, which says how late it is.
    let now = job.run_at + late(row);
    if let Some(again) = job.next_attempt_at.filter(|again| *again > now) {
        return with(format!("its next attempt, at {}", instant(again)));
    }
    if let Some(other) = row.behind {
        return format!("job {other} of the same account, which is being published");
    }
    with("a worker; `crier doctor` says whether one runs".to_owned())
}

fn late(row: &DueRow) -> TimeDelta {
    let late = Duration::try_from_secs_f64(row.late_s).unwrap_or_default();
    TimeDelta::from_std(late).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::standing::tests::row as account;

    /// A job that nothing holds back, ten minutes late.
    fn due() -> DueRow {
        let run_at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        DueRow {
            job: crier_store::JobRow {
                id: 7,
                account: "acme".into(),
                state: "scheduled".into(),
                run_at,
                next_attempt_at: None,
                published_at: None,
                campaign: Some("spring".into()),
                after: None,
                text: "hi".into(),
                media: json!([]),
                attempts: 0,
                post_id: None,
                post_url: None,
                unpublished_at: None,
                error: None,
                warning: None,
                updated_at: run_at,
            },
            late_s: 600.0,
            in_hand: false,
            awaits_media: false,
            awaits_job: None,
            campaign_paused: false,
            behind: None,
            budget: None,
        }
    }

    type Change = Box<dyn Fn(&mut DueRow, &mut AccountRow)>;

    fn told(change: impl FnOnce(&mut DueRow, &mut AccountRow)) -> String {
        let (mut row, mut account) = (due(), account());
        change(&mut row, &mut account);
        waits_for(&row, Some(&account))
    }

    #[test]
    fn each_job_is_told_with_what_has_to_come_first() {
        let worker = "a worker; `crier doctor` says whether one runs";
        assert_eq!(told(|_, _| {}), worker);
        assert_eq!(waits_for(&due(), None), worker);
        // Each of these goes before all that stand above it.
        let mut all: Vec<Change> = Vec::new();
        let mut last = |change: Change| {
            all.push(change);
            told(|row, account| all.iter().for_each(|change| change(row, account)))
        };
        assert!(
            last(Box::new(|row, _| row.behind = Some(3))).starts_with("job 3 of the same account")
        );
        let fault = json!({"code": "rate_limited", "detail": "Too Many Requests"});
        assert_eq!(
            last(Box::new(move |row, _| {
                row.job.error = Some(fault.clone());
                row.job.next_attempt_at = Some(row.job.run_at + TimeDelta::seconds(601));
            })),
            "its next attempt, at 2027-01-15 08:10:01Z (rate_limited: Too Many Requests)"
        );
        assert_eq!(
            last(Box::new(|row, _| row.awaits_media = true)),
            "its media (rate_limited: Too Many Requests)"
        );
        assert_eq!(
            last(Box::new(|row, _| row.awaits_job = Some(5))),
            "job 5 of its thread; `crier jobs why 5`"
        );
        assert_eq!(
            last(Box::new(
                |row, account| account.closed_until = Some(row.job.run_at)
            )),
            "a limit of X, until 2027-01-15 08:00:00Z"
        );
        let spent = json!({"code": "budget_spent", "title": "spent", "hint": "wait"});
        assert_eq!(
            last(Box::new(move |row, _| row.budget = Some(spent.clone()))),
            "budget_spent: spent; wait"
        );
        let login = last(Box::new(|_, account| account.status = "needs_login".into()));
        assert!(
            login.starts_with("@acme: X no longer lets crier post for it; `crier auth login"),
            "{login}"
        );
        assert_eq!(
            last(Box::new(|row, _| row.job.state = "paused".into())),
            "a person: it is paused"
        );
        assert_eq!(
            last(Box::new(|row, _| row.campaign_paused = true)),
            "its campaign: select crier.resume_campaign('spring')"
        );
        assert!(
            last(Box::new(|row, _| row.job.state = "unknown".into()))
                .starts_with("a look on X: perhaps it is there")
        );
        assert!(last(Box::new(|row, _| row.in_hand = true)).starts_with("the worker"));
    }

    #[test]
    fn an_attempt_whose_time_has_come_is_not_waited_for() {
        let past = told(|row, _| {
            row.job.next_attempt_at = Some(row.job.run_at + TimeDelta::seconds(599));
            row.job.warning = Some(json!({"code": "media_missing", "detail": "no `a.png`"}));
        });
        assert_eq!(
            past,
            "a worker; `crier doctor` says whether one runs (media_missing: no `a.png`)"
        );
    }
}
