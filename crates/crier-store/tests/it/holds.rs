//! What holds an account back, beside what people hold open and what processes of an older version write.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

#[tokio::test]
async fn an_account_is_held_back_by_the_limits_of_its_own_call() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql(&format!(
        "insert into crier.jobs (account, text) values ('acme', 'x');
         update crier.accounts set publisher = 'v1_update_with_media';
         insert into crier.limit_windows (class, owner_id, endpoint, length, remaining, resets_at)
         values ('account', {0}, 'POST /1.1/statuses/update_with_media', 'unstated', 0, crier.now() + interval '1 hour')",
        account.id
    ))
    .await;
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.sql("update crier.accounts set publisher = 'v2'; update crier.lanes set next_at = crier.now(), not_before = '-infinity'")
        .await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn an_open_insert_of_a_person_keeps_no_account_from_being_stopped() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    let store = db.connect().await;
    // Its dedupe key refers to the account, whose row is locked for as long as the transaction is open.
    let person = tokio::spawn(async move {
        store
            .run_script("insert into crier.jobs (account, text, dedupe_key) values ('acme', 'x', 'k'); select pg_sleep(1.5)")
            .await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let reason = json!({"code": "account_suspended"});
    let stopped = db.store.pause_account(account.id, "suspended", &reason);
    assert!(stopped.await.unwrap());
    assert!(!person.is_finished(), "it waited for nobody");
    person.await.unwrap().unwrap();
    db.drop().await;
}

#[tokio::test]
async fn what_a_person_paused_stays_so_whatever_an_older_process_writes() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("update crier.accounts set status = 'paused', reason = '{\"code\": \"paused\"}'")
        .await;
    db.sql("update crier.accounts set status = 'suspended', reason = '{\"code\": \"account_suspended\"}'")
        .await;
    assert_eq!(
        db.one("select status, reason ->> 'code' as code, probe_at from crier.accounts")
            .await,
        json!({"status": "paused", "code": "paused", "probe_at": null})
    );
    db.drop().await;
}

#[tokio::test]
async fn what_is_missed_says_what_it_had_waited_for() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, max_lateness) values ('acme', 'x', '1 minute');
         update crier.jobs_open set warning = '{\"title\": \"the budget of the month is spent\", \"detail\": \"5 of 5 USD\"}'",
    )
    .await;
    db.advance("2 minutes").await;
    assert_eq!(db.store.mark_missed(10).await.unwrap(), 1);
    let error = db
        .one("select error ->> 'detail' as d from crier.jobs")
        .await;
    assert!(
        error["d"]
            .as_str()
            .unwrap()
            .ends_with("before that: the budget of the month is spent: 5 of 5 USD"),
        "{error}"
    );
    db.drop().await;
}

#[tokio::test]
async fn two_edits_that_close_a_circle_at_once_end_with_one_refused() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, run_at) select 'acme', 'x', crier.now() + interval '1 hour' from generate_series(1, 2)")
        .await;
    let store = db.connect().await;
    let first = tokio::spawn(async move {
        store
            .run_script("update crier.jobs set after = 2 where id = 1; select pg_sleep(0.6)")
            .await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = db
        .store
        .run_script("update crier.jobs set after = 1 where id = 2")
        .await;
    first.await.unwrap().unwrap();
    let words = second.unwrap_err().to_string();
    assert!(words.contains("waits for job 2 itself"), "{words}");
    db.drop().await;
}

#[tokio::test]
async fn a_spent_budget_stops_uploads_until_it_is_raised() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    let app = account.app_id.unwrap();
    db.sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'x', '[{"path": "a.png"}]')"#)
        .await;
    let lead = Duration::from_mins(30);
    let (store, worker) = (&db.store, Uuid::new_v4());
    store.set_budget(app, Some(0.0)).await.unwrap();
    store.plan_uploads(1, lead).await.unwrap();
    let claim = async || {
        store
            .claim_uploads(worker, 10, Duration::from_secs(30), lead)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(claim().await, 0);
    assert_eq!(store.sweep_uploads(lead, 10).await.unwrap(), 0);
    store.set_budget(app, None).await.unwrap();
    assert_eq!(store.sweep_uploads(lead, 10).await.unwrap(), 1);
    assert_eq!(claim().await, 1);
    db.drop().await;
}
