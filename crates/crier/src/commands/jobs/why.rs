//! `crier jobs why`: every attempt of a job, and what it waits for.
//!
//! **Invariant:** an open job is told with what happens next, or with what a person can do about it.

use crier_store::{LedgerRow, Standing, Store};
use serde_json::Value;

use super::super::standing::{Stops, needs};
use super::{Context, OPEN, existing, full};
use crate::screen::{counted, instant, note};

pub(super) async fn run(context: &Context, store: &Store, id: i64) -> anyhow::Result<()> {
    let job = existing(store, id).await?;
    let rows = store.ledger(id).await?;
    let none = format!(
        "nothing was tried yet: job {id} is {}",
        job["state"].as_str().unwrap_or_default()
    );
    context.screen.rows(
        &rows,
        &[
            "attempt",
            "step",
            "began",
            "took",
            "outcome",
            "HTTP",
            "what X said",
        ],
        &none,
        attempt,
    )?;
    if context.screen.json {
        return Ok(());
    }
    if let Some(trace) = job["trace_id"].as_str() {
        note(&format!(
            "trace id, in the log and in each request: {trace}"
        ));
    }
    for (name, word) in [("error", "now"), ("warning", "warning")] {
        let told = rows.last().and_then(|row| row.answer.as_ref());
        if let Some(fault) = job
            .get(name)
            .filter(|fault| !fault.is_null() && Some(*fault) != told)
        {
            note(&format!("{word}: {}", full(fault)));
        }
    }
    if let Some(search) = store.search(id).await? {
        searched(id, &search);
    }
    if let Some(other) = store.awaited(id).await? {
        note(&format!(
            "waits: for job {} of its thread, which is {}; see `crier jobs why {}`",
            other.job, other.state, other.job
        ));
    }
    held_back(store, &job).await
}

/// How a search stands, in one line.
pub(super) fn told(search: &Standing) -> String {
    let looked = match search.looked_at {
        Some(at) => format!(
            "X listed the account's posts {}, the last time at {}",
            counted(u64::try_from(search.looks).unwrap_or(0), "time", "times"),
            instant(at)
        ),
        None => "X has not listed the account's posts yet".to_owned(),
    };
    let failed = match (&search.fault, search.failed_looks) {
        (Some(fault), 1..) => format!(
            "; then {} failed: {}",
            counted(
                u64::try_from(search.failed_looks).unwrap_or(0),
                "look",
                "looks"
            ),
            full(fault)
        ),
        _ => String::new(),
    };
    let next = match search.next_look_at {
        _ if search.in_hand => "a worker looks at this moment".to_owned(),
        Some(at) => format!("next look at {}", instant(at)),
        None => "crier looks no more".to_owned(),
    };
    format!("{looked}{failed}; {next}")
}

fn searched(id: i64, search: &Standing) {
    note(&format!(
        "perhaps on X: the last call left at {}{}",
        instant(search.sent_at),
        if search.refused_as_duplicate {
            ", and X refused it as a duplicate"
        } else {
            " and brought no trustworthy answer"
        }
    ));
    note(&format!("looked for: {}", told(search)));
    if !search.followers.is_empty() {
        let list: Vec<String> = search.followers.iter().map(ToString::to_string).collect();
        note(&format!("wait for it: {}", list.join(", ")));
    }
    let person = format!(
        "look at the account on X, then `crier jobs settle {id} --published POST_ID`, `--retry` or `--absent`"
    );
    if search.in_hand || search.next_look_at.is_some() {
        note(&format!(
            "to do: nothing, crier goes on by itself; if you know better: {person}"
        ));
    } else {
        note(&format!("to do: {person}"));
    }
}

/// Says what holds the account of an open job back: the job itself may know nothing of it.
async fn held_back(store: &Store, job: &Value) -> anyhow::Result<()> {
    let word = |key: &str| job[key].as_str().unwrap_or_default();
    if !OPEN.contains(&word("state")) {
        return Ok(());
    }
    for row in store.account_rows(Some(word("account"))).await? {
        for need in needs(&row)
            .into_iter()
            .filter(|need| need.stops == Stops::All)
        {
            note(&format!("waits: @{}: {}", row.account, need.what));
            note(&format!("to do: {}", need.cure));
        }
        if let Some(until) = row.closed_until {
            note(&format!(
                "waits: a limit of X holds @{} back until {}",
                row.account,
                instant(until)
            ));
        }
    }
    let Some(account) = job["account_id"].as_i64() else {
        return Ok(());
    };
    for hold in store.account_holds(account).await? {
        // What stops the account or its app was said above.
        if hold["code"] == "budget_spent" {
            note(&format!("waits: {}", full(&hold)));
        }
    }
    Ok(())
}

fn attempt(row: &LedgerRow) -> Vec<String> {
    let took = row.finished_at.map(|end| {
        let took = end - row.sent_at.unwrap_or(row.started_at);
        format!("{} ms", took.num_milliseconds())
    });
    vec![
        row.number.to_string(),
        row.step.clone(),
        instant(row.started_at),
        took.unwrap_or_default(),
        row.outcome
            .clone()
            .unwrap_or_else(|| "under way".to_owned()),
        row.http_status
            .map(|status| status.to_string())
            .unwrap_or_default(),
        row.answer.as_ref().map(full).unwrap_or_default(),
    ]
}
