//! Rows of owners and restores that no trigger was asked about, and limits that no window of X can have.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_store::Settlement;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::Db;

#[tokio::test]
async fn what_crier_writes_no_insert_sets_and_no_edit_turns_against_it() {
    let db = Db::new().await;
    let acme = db.account("acme", 1).await;
    db.account("other", 2).await;
    for written in [
        "attempts) values ('acme', 'x', 1",
        "crashes) values ('acme', 'x', 1",
        r#"error) values ('acme', 'x', '{"code": 1e400}'"#,
        r#"warning) values ('acme', 'x', '{"code": 1e400}'"#,
        "published_at) values ('acme', 'x', now()",
    ] {
        let (message, hint) = db
            .refused(&format!(
                "insert into crier.jobs (account, text, {written})"
            ))
            .await;
        assert!(
            message.contains("the other columns that crier writes") && !hint.is_empty(),
            "{written}: {message}"
        );
    }
    let (message, _) = db
        .refused("insert into crier.jobs (account, text) values (repeat('x', 1000000), 'x')")
        .await;
    assert!(message.chars().count() <= 501, "{}", message.len());
    // The number of the account goes by its handle alone.
    db.sql("insert into crier.jobs (account, text) values ('acme', 'mine'); update crier.jobs set account_id = 2, text = 'ours'; update crier.jobs set account_id = 77")
        .await;
    let row = db
        .one("select account, account_id, text from crier.jobs")
        .await;
    assert_eq!(
        row,
        json!({"account": "acme", "account_id": acme.id, "text": "ours"})
    );
    db.sql("update crier.jobs set account = '@OTHER'").await;
    let row = db.one("select account, account_id from crier.jobs").await;
    assert_eq!(row, json!({"account": "other", "account_id": 2}));
    // A warning that cannot be read hides no row from a check or a listing.
    db.sql(r#"update crier.jobs set warning = '{"code": 1e400}'"#)
        .await;
    let due = db.store.due_checks(10).await.unwrap();
    assert!(due.iter().all(|check| check.draft.is_some()) && !due.is_empty());
    let id = db.one("select id from crier.jobs").await["id"].as_i64();
    let listed = db.store.job(id.unwrap()).await.unwrap().unwrap();
    assert!(listed["warning"].is_string(), "{listed}");
    db.drop().await;
}

#[tokio::test]
async fn what_comes_past_all_triggers_can_be_reckoned_with_and_brought_to_its_end() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let past = |columns: &str, values: &str| {
        format!(
            "set local session_replication_role = replica;
             insert into crier.jobs (account, account_id, text, {columns}) values ('acme', 1, 'x', {values})"
        )
    };
    for (columns, values) in [
        ("run_at", "'infinity'"),
        ("run_at", "'-infinity'"),
        ("next_attempt_at", "'infinity'"),
        ("miss_at", "'infinity'"),
        ("max_lateness", "'178000000 years'"),
        ("created_at", "'294276-12-31'"),
        ("updated_at", "'4713-01-01 BC'"),
        ("attempts", "30001"),
        ("crashes", "32767"),
        ("revision", "2147483647"),
        ("revision", "-1"),
        ("media", "'{}'"),
        ("media", "'1'"),
        ("media", "'[1, 2, 3, 4, 5]'"),
        ("options", "'[]'"),
    ] {
        db.refused(&past(columns, values)).await;
    }
    // At the very end of what is taken; nothing that counts up fails.
    db.sql(&past(
        "attempts, crashes, revision",
        "30000, 30000, 2000000000",
    ))
    .await;
    db.sql("insert into crier.lane_signals (account_id, due_at) values (1, crier.now())")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, Duration::from_secs(1), &[])
        .await
        .unwrap();
    let published = Settlement::Published {
        post_id: "1".into(),
    };
    db.store.settle(&job.lease, &[], &published).await.unwrap();
    assert_eq!(db.state(job.lease.subject).await, "published");
    db.sql(&past(
        "attempts, crashes, revision",
        "30000, 30000, 2000000000",
    ))
    .await;
    db.sql("update crier.jobs_open set text = 'y'; update crier.jobs_open set crashes = crashes + 1, attempts = attempts + 1")
        .await;
    let row = db
        .one("select attempts, crashes, revision from crier.jobs_open")
        .await;
    assert_eq!(
        row,
        json!({"attempts": 30000, "crashes": 30000, "revision": 1})
    );
    db.drop().await;
}

#[tokio::test]
async fn a_reset_that_no_window_can_have_closes_nothing_in_any_table() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'first'), ('acme', 'second')")
        .await;
    let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
    // The year 1970, the year 9999, milliseconds in the place of seconds.
    let resets = [at(0), at(253_402_300_799), at(1_780_000_000_000)];
    let windows: Vec<Window> = [LimitClass::Account, LimitClass::App]
        .into_iter()
        .flat_map(|class| {
            resets.into_iter().flat_map(move |resets_at| {
                [WindowLength::QuarterHour, WindowLength::Day].map(|length| Window {
                    class,
                    length,
                    limit: Some(-1),
                    remaining: Some(0),
                    resets_at,
                })
            })
        })
        .collect();
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, Duration::from_secs(1), &[])
        .await
        .unwrap();
    let published = Settlement::Published {
        post_id: "1".into(),
    };
    db.store
        .settle(&job.lease, &windows, &published)
        .await
        .unwrap();
    let store = &db.store;
    store
        .note_media_windows(account.id, "GET /2/media/upload", &windows)
        .await
        .unwrap();
    store.note_read_windows(account.id, &windows).await.unwrap();
    let far = "select endpoint from crier.limit_windows where resets_at > crier.now()
               union all select handle from crier.lanes join crier.accounts on id = account_id where not_before > crier.now()
               union all select client_id from crier.apps where blocked_until > crier.now()";
    assert_eq!(store.select_json(far).await.unwrap(), Vec::<Value>::new());
    let next = db.claim(Uuid::new_v4()).await;
    assert_eq!(next.len(), 1, "the lane stays open");
    db.drop().await;
}
