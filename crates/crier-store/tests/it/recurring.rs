//! Recurring posts: rules in words, slots that become jobs once, edits and pauses that take effect at once.

use chrono::{DateTime, TimeDelta, Utc};
use crier_store::{Expanded, Expansion, RecurringRow};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

const DAILY: &str = "insert into crier.recurring (name, account, cron, template) values ('daily', '@ACME', '0 9 * * *', '{\"text\": \"good morning\"}')";

async fn due(db: &Db) -> RecurringRow {
    let mut rows = db.store.due_recurring(10).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// The slots at so many hours from the row's time, settled for two days.
fn plan(row: &RecurringRow, hours: &[i64]) -> Expansion {
    let hour = row.now - TimeDelta::nanoseconds(i64::from(row.now.timestamp_subsec_nanos()))
        + TimeDelta::hours(1);
    let slot = |h: &i64| {
        (
            hour + TimeDelta::hours(*h),
            format!("{} in {h} hours", row.text),
        )
    };
    Expansion {
        slots: hours.iter().map(slot).collect(),
        until: row.now + TimeDelta::days(2),
        next_at: Some(row.now + TimeDelta::days(1)),
    }
}

async fn expand(db: &Db, hours: &[i64]) -> Expanded {
    let row = due(db).await;
    db.store
        .expand_recurring(&row, &plan(&row, hours))
        .await
        .unwrap()
}

async fn texts(db: &Db) -> Vec<String> {
    let rows = db
        .store
        .select_json("select state || ': ' || text as t from crier.jobs order by id")
        .await
        .unwrap();
    rows.iter()
        .map(|r| r["t"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn bad_recurring_rows_are_refused_in_words() {
    let db = Db::new().await;
    db.account("Acme", 1).await;
    let good = [
        "'r'",
        "'acme'",
        "'0 9 * * *'",
        "'UTC'",
        "'{\"text\":\"x\"}'",
    ];
    for (column, value, expected) in [
        (0, "''", "name must have 1 to 200"),
        (1, "'nobody'", "account \"nobody\" is not known"),
        (2, "'0 9 * *'", "has 4 fields"),
        (2, "''", "has 0 fields"),
        (3, "'Europe/Atlantis'", "is no time zone"),
        (4, "'[]'", "template must be a JSON object"),
        (4, "'{}'", "the post is empty"),
        (
            4,
            "'{\"text\":\"x\",\"colour\":1}'",
            "unknown key \"colour\"",
        ),
        (4, "'{\"text\":7}'", "text must be text"),
        (
            4,
            "'{\"text\":\"x\",\"priority\":1.5}'",
            "priority must be a whole number",
        ),
        (
            4,
            "'{\"text\":\"x\",\"max_attempts\":0}'",
            "between 1 and 100",
        ),
        (
            4,
            "'{\"text\":\"x\",\"max_lateness\":\"soon\"}'",
            "is no interval",
        ),
        (
            4,
            "'{\"text\":\"x\",\"max_lateness\":\"-1 hour\"}'",
            "must not be negative",
        ),
        (
            4,
            "'{\"text\":\"x\",\"max_lateness\":\"200 years\"}'",
            "template: max_lateness must be at most 100 years",
        ),
        (
            4,
            "'{\"text\":\"x\",\"options\":{\"geo\":{\"place_id\":1e999}}}'",
            "template holds the number 1000",
        ),
        (
            4,
            "('{\"text\":\"x\",\"media\":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb",
            "template is nested more than 32 levels deep",
        ),
        (4, "'{\"text\":\"x\",\"media\":7}'", "template: media must"),
        (
            4,
            "'{\"text\":\"x\",\"options\":{\"a\":1}}'",
            "template: options has the unknown key",
        ),
        (4, "'{\"text\":\"x\",\"campaign\":\"\"}'", "campaign must"),
    ] {
        let mut row = good;
        row[column] = value;
        let insert = format!(
            "insert into crier.recurring (name, account, cron, time_zone, template) values ({})",
            row.join(", ")
        );
        let (message, hint) = db.refused(&insert).await;
        assert!(
            message.contains(expected) && !hint.is_empty(),
            "{value}: {message}"
        );
    }
    for (column, value, expected) in [
        ("missed", "'never'", "not one of skip, once, all"),
        ("ahead", "'91 days'", "at most 90 days"),
        ("ends_at", "'2020-01-01'", "later than starts_at"),
    ] {
        let insert = format!(
            "insert into crier.recurring (name, account, cron, template, starts_at, {column}) values ('r', 'acme', '@daily', '{{\"text\":\"x\"}}', '2026-01-01', {value})"
        );
        assert!(
            db.refused(&insert).await.0.contains(expected),
            "{column} {value}"
        );
    }
    db.sql(DAILY).await;
    let (message, _) = db
        .refused("update crier.recurring set cron = 'daily'")
        .await;
    assert!(message.contains("1 fields"), "{message}");
    assert_eq!(
        db.one("select account, revision from crier.recurring")
            .await,
        json!({"account": "Acme", "revision": 0})
    );
    db.drop().await;
}

#[tokio::test]
async fn a_slot_becomes_one_job_however_many_schedulers_see_it() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.recurring (name, account, cron, template) values ('r', 'acme', '0 * * * *',
      '{\"text\": \"t\", \"priority\": 3, \"campaign\": \"c\", \"max_lateness\": \"5 minutes\", \"max_attempts\": 2, \"options\": {\"reply_settings\": \"following\"}}')").await;
    let row = due(&db).await;
    let plan = plan(&row, &[1, 2, 3]);
    let (one, two) = tokio::join!(
        db.store.expand_recurring(&row, &plan),
        db.store.expand_recurring(&row, &plan)
    );
    let outcomes = [one.unwrap(), two.unwrap()];
    let done = Expanded::Done {
        created: 3,
        duplicates: 0,
    };
    assert!(
        outcomes.contains(&done) && outcomes.contains(&Expanded::Changed),
        "{outcomes:?}"
    );
    let jobs = db.one("select count(*) as n, min(priority) as p, min(campaign) as c, min(max_lateness)::text as l, min(max_attempts) as a,
        bool_and(options = '{\"reply_settings\": \"following\"}') as o, bool_and(recurring_id = 1) as r, count(distinct run_at) as t from crier.jobs").await;
    assert_eq!(
        jobs,
        json!({"n": 3, "p": 3, "c": "c", "l": "00:05:00", "a": 2, "o": true, "r": true, "t": 3})
    );
    let row = db.one("select slots, expanded_until > crier.now() + interval '47 hours' as ahead, next_at > crier.now() as later from crier.recurring").await;
    assert_eq!(row, json!({"slots": 3, "ahead": true, "later": true}));
    // The key holds even if what is settled were forgotten.
    db.sql("update crier.recurring set expanded_until = null, next_at = crier.now()")
        .await;
    let row = due(&db).await;
    let duplicates = Expanded::Done {
        created: 0,
        duplicates: 3,
    };
    assert_eq!(
        db.store.expand_recurring(&row, &plan).await.unwrap(),
        duplicates
    );
    assert_eq!(
        db.one("select count(*) as n from crier.recurring_slots s join crier.jobs j on j.id = s.job_id and j.run_at = s.slot").await["n"],
        3
    );
    db.drop().await;
}

#[tokio::test]
async fn an_edit_withdraws_what_was_made_ahead_and_a_stale_expansion_does_nothing() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(DAILY).await;
    let stale = due(&db).await;
    expand(&db, &[1, 2, 3, 4]).await;
    // One was cancelled by a person, one failed its check: only the latter is made anew.
    db.sql(
        "select crier.cancel(2); update crier.jobs set state = 'failed', error = '{}' where id = 3",
    )
    .await;
    db.sql("update crier.recurring set template = '{\"text\": \"good evening\"}'")
        .await;
    assert_eq!(
        texts(&db).await,
        [
            "cancelled: good morning in 2 hours",
            "failed: good morning in 3 hours"
        ]
    );
    assert_eq!(
        db.store
            .expand_recurring(&stale, &plan(&stale, &[1]))
            .await
            .unwrap(),
        Expanded::Changed
    );
    let row = due(&db).await;
    assert!(row.expanded_until.unwrap() <= row.now);
    assert_eq!(row.slots, 1);
    let plan = Expansion {
        slots: plan(&row, &[])
            .slots
            .into_iter()
            .chain(slots_of(&stale, &[1, 2, 3, 4]))
            .collect(),
        ..plan(&row, &[])
    };
    assert_eq!(
        db.store.expand_recurring(&row, &plan).await.unwrap(),
        Expanded::Done {
            created: 3,
            duplicates: 1
        }
    );
    // A new name alone withdraws nothing.
    db.sql("update crier.recurring set name = 'nightly'").await;
    assert_eq!(texts(&db).await.len(), 5);
    db.sql("delete from crier.recurring").await;
    assert_eq!(
        db.one("select count(*) as n from crier.jobs_open").await["n"],
        0
    );
    db.drop().await;
}

fn slots_of(row: &RecurringRow, hours: &[i64]) -> Vec<(DateTime<Utc>, String)> {
    plan(row, hours).slots
}

#[tokio::test]
async fn an_edit_before_the_first_expansion_is_not_overtaken_by_it() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(DAILY).await;
    let stale = due(&db).await;
    db.sql("update crier.recurring set template = '{\"text\": \"good evening\"}'")
        .await;
    let outcome = db.store.expand_recurring(&stale, &plan(&stale, &[1])).await;
    assert_eq!(outcome.unwrap(), Expanded::Changed);
    // Nor is the fault of the old row said of the new one.
    let retry = std::time::Duration::from_mins(1);
    db.store
        .recurring_fault(&stale, &json!({"code": "old"}), Some(retry))
        .await
        .unwrap();
    assert_eq!(due(&db).await.text, "good evening");
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_a_person_moved_is_not_lost_by_an_edit() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(DAILY).await;
    expand(&db, &[-3, 1, 2]).await;
    // The first was put off, the second brought forward; only the third is as it was made.
    db.sql(
        "update crier.jobs set run_at = crier.now() + interval '1 day' where id = 1;
         update crier.jobs set run_at = crier.now() where id = 2;
         update crier.recurring set missed = 'all'",
    )
    .await;
    assert_eq!(
        texts(&db).await,
        [
            "scheduled: good morning in -3 hours",
            "scheduled: good morning in 1 hours"
        ]
    );
    assert_eq!(due(&db).await.slots, 2);
    db.drop().await;
}

#[tokio::test]
async fn a_pause_takes_effect_at_once_and_spares_what_is_being_sent() {
    let db = Db::new().await;
    let (first, second) = (db.account("acme", 1).await, db.account("other", 2).await);
    assert_ne!(first.id, second.id);
    db.sql(DAILY).await;
    expand(&db, &[-2, 0, 5]).await;
    db.advance("90 minutes").await;
    // The first is being sent, the second is due as well, the third lies ahead.
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.sql("update crier.recurring set paused = true").await;
    assert_eq!(
        texts(&db).await,
        [
            "scheduled: good morning in -2 hours",
            "paused: good morning in 0 hours"
        ]
    );
    assert_eq!(db.store.due_recurring(9).await.unwrap(), []);
    db.advance("1 day").await;
    db.sql("update crier.recurring set paused = false").await;
    assert_eq!(db.state(2).await, "scheduled");
    let row = due(&db).await;
    assert!(
        row.now - row.expanded_until.unwrap() < TimeDelta::minutes(1),
        "what passed during the pause is settled: {row:?}"
    );
    db.drop().await;
}

#[tokio::test]
async fn an_edit_of_an_older_snapshot_is_refused_rather_than_blind() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(DAILY).await;
    let (message, _) = db.refused("set transaction isolation level repeatable read; update crier.recurring set paused = true").await;
    assert!(message.contains("READ COMMITTED"), "{message}");
    db.drop().await;
}

#[tokio::test]
async fn an_account_that_is_gone_is_said_on_the_row_and_loses_no_slot() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(DAILY).await;
    db.sql("delete from crier.accounts").await;
    let row = due(&db).await;
    let Expanded::Refused { message, hint } = db
        .store
        .expand_recurring(&row, &plan(&row, &[1, 2]))
        .await
        .unwrap()
    else {
        panic!("expanded")
    };
    assert!(
        message.contains("\"acme\" is not known") && !hint.is_empty(),
        "{message}"
    );
    let error = json!({"code": "recurring_refused", "detail": message});
    let retry = std::time::Duration::from_mins(1);
    db.store
        .recurring_fault(&row, &error, Some(retry))
        .await
        .unwrap();
    let seen = db.one("select error->>'code' as code, (select count(*) from crier.recurring_slots) as slots, expanded_until from crier.recurring").await;
    assert_eq!(
        seen,
        json!({"code": "recurring_refused", "slots": 0, "expanded_until": null})
    );
    assert_eq!(db.store.due_recurring(9).await.unwrap(), []);
    db.account("acme", 1).await;
    db.advance("1 minute").await;
    let done = Expanded::Done {
        created: 2,
        duplicates: 0,
    };
    assert_eq!(expand(&db, &[1, 2]).await, done);
    assert_eq!(
        db.one("select error from crier.recurring").await["error"],
        serde_json::Value::Null
    );
    db.drop().await;
}
