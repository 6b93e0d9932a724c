//! Checks of new rows: what is read, what a finding does, and what it never touches.

use std::time::Duration;

use crier_store::{Check, Finding};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, TTL};

fn fault(code: &str) -> Value {
    json!({"code": code, "title": "t", "detail": "d", "step": "check", "hint": "h"})
}

async fn one(db: &Db) -> Check {
    let mut due = db.store.due_checks(10).await.unwrap();
    assert_eq!(due.len(), 1, "{due:?}");
    due.remove(0)
}

async fn settle(db: &Db, check: &Check, finding: Finding) -> Vec<i64> {
    db.store.settle_checks(&[(check, finding)]).await.unwrap()
}

async fn inbox(db: &Db) -> i64 {
    db.one("select count(*) as n from crier.job_checks").await["n"]
        .as_i64()
        .unwrap()
}

#[tokio::test]
async fn a_check_shows_the_row_its_account_and_its_predecessor() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, run_at) values ('acme', 'first', crier.now() + interval '2 hours')").await;
    let first = one(&db).await;
    settle(&db, &first, Finding::Fine).await;
    db.sql("insert into crier.jobs (account, text, run_at, after) values ('acme', 'second', crier.now() + interval '1 hour', 1)").await;
    let check = one(&db).await;
    let draft = check.draft.unwrap();
    assert_eq!(
        (check.job, draft.text.as_str(), draft.after),
        (2, "second", Some(1))
    );
    assert!(draft.follows && draft.predecessor_run_at.unwrap() > draft.run_at);
    assert!((3590..=3600).contains(&draft.due_in_s));
    assert_eq!((draft.handle.as_str(), draft.text_limit), ("acme", 280));
    assert_eq!(draft.scopes, Some(vec!["tweet.write".to_owned()]));
    assert_eq!(draft.account_status, "active");
    // Without OAuth 2.0 there are no scopes to lack.
    db.sql("delete from crier.credentials").await;
    assert_eq!(one(&db).await.draft.unwrap().scopes, None);
    db.drop().await;
}

#[tokio::test]
async fn a_permanent_fault_ends_the_job_at_once_and_a_passing_one_warns_until_it_is_gone() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, run_at) values ('acme', 'bad', crier.now() + interval '1 day')").await;
    let check = one(&db).await;
    assert_eq!(
        settle(&db, &check, Finding::Fail(fault("text_too_long"))).await,
        [1]
    );
    let row = db
        .one("select state, error->>'code' as code from crier.jobs")
        .await;
    assert_eq!(row, json!({"state": "failed", "code": "text_too_long"}));
    assert_eq!(inbox(&db).await, 0);

    db.sql("insert into crier.jobs (account, text, run_at) values ('acme', 'waits', crier.now() + interval '1 day')").await;
    let again = Some(Duration::from_secs(30));
    let warn = || Finding::Warn {
        warning: fault("media_missing"),
        again,
    };
    settle(&db, &one(&db).await, warn()).await;
    let code = "select warning->>'code' as code, revision from crier.jobs where id = 2";
    assert_eq!(
        db.one(code).await,
        json!({"code": "media_missing", "revision": 1})
    );
    assert_eq!(
        db.store.due_checks(10).await.unwrap(),
        [],
        "not before 30 s"
    );
    db.advance("30 seconds").await;
    settle(&db, &one(&db).await, warn()).await;
    assert_eq!(
        db.one(code).await["revision"],
        1,
        "the same warning is not written again"
    );
    db.advance("30 seconds").await;
    settle(&db, &one(&db).await, Finding::Fine).await;
    assert_eq!(db.one(code).await["code"], Value::Null);
    assert_eq!(inbox(&db).await, 0);
    db.drop().await;
}

#[tokio::test]
async fn a_row_that_was_edited_meanwhile_is_looked_at_again() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'too long, says the check')")
        .await;
    let stale = one(&db).await;
    db.sql("update crier.jobs set text = 'short now' where id = 1")
        .await;
    assert_eq!(
        settle(&db, &stale, Finding::Fail(fault("text_too_long"))).await,
        [0_i64; 0]
    );
    assert_eq!(db.state(1).await, "scheduled");
    let due = db.store.due_checks(10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].draft.as_ref().unwrap().text, "short now");
    // Done twice, as by two schedulers: nothing happens.
    settle(&db, &due[0], Finding::Fine).await;
    settle(&db, &due[0], Finding::Fail(fault("late"))).await;
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_is_being_sent_is_not_failed_by_its_check() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x'), ('acme', 'y')")
        .await;
    let checks = db.store.due_checks(10).await.unwrap();
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    let findings: Vec<_> = checks
        .iter()
        .map(|c| (c, Finding::Fail(fault("text_too_long"))))
        .collect();
    let failed = db.store.settle_checks(&findings).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_ne!(failed[0], job.lease.subject);
    assert_eq!(db.state(job.lease.subject).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn a_campaign_paused_while_the_insert_was_open_pauses_the_job() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    // As if the INSERT had not yet seen the pause, nor the pause the INSERT.
    db.sql("alter table crier.campaigns disable trigger campaigns_pause_at_commit")
        .await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'x', 'launch'); insert into crier.campaigns (name, paused) values ('launch', true)").await;
    let check = one(&db).await;
    assert!(check.draft.as_ref().unwrap().campaign_paused);
    settle(&db, &check, Finding::Fine).await;
    assert_eq!(db.state(1).await, "paused");
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.sql("select crier.resume_campaign('launch')").await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);

    // Resumed between the look and the act: it is not paused for ever.
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'y', 'autumn'); insert into crier.campaigns (name, paused) values ('autumn', true)").await;
    let check = one(&db).await;
    db.sql("select crier.resume_campaign('autumn')").await;
    settle(&db, &check, Finding::Fine).await;
    assert_eq!(db.state(2).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn checks_of_ended_and_removed_jobs_leave_the_inbox() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) select 'acme', 'n ' || n from generate_series(1, 40) n").await;
    db.sql("select crier.cancel(1); delete from crier.jobs where id = 2")
        .await;
    let checks = db.store.due_checks(100).await.unwrap();
    assert_eq!(checks.iter().filter(|c| c.draft.is_none()).count(), 2);
    let findings: Vec<_> = checks.iter().map(|c| (c, Finding::Fine)).collect();
    db.store.settle_checks(&findings).await.unwrap();
    assert_eq!(inbox(&db).await, 0);
    db.sql("update crier.jobs set text = 'edited' where id = 3")
        .await;
    db.store
        .put_off_check(&one(&db).await, Duration::from_secs(9))
        .await
        .unwrap();
    assert_eq!(db.store.due_checks(9).await.unwrap(), []);
    db.drop().await;
}

#[tokio::test]
async fn a_suspect_is_cleared_in_the_commit_that_ends_its_job_and_in_no_other() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, run_at) values ('acme', 'kills', crier.now() + interval '1 day');
         insert into crier.suspects (step, subject, crashes) values ('checks', 1, 3)",
    )
    .await;
    let check = one(&db).await;
    let suspects = async || {
        let row = db.one("select count(*) as n from crier.suspects").await;
        row["n"].as_i64().unwrap()
    };
    // Somebody edits it meanwhile: that text did not fail, and is as suspect.
    db.sql("update crier.jobs set text = 'edited' where id = 1")
        .await;
    let fail = || Finding::Fail(fault("quarantined"));
    assert!(settle(&db, &check, fail()).await.is_empty());
    assert_eq!(suspects().await, 1);
    assert_eq!(settle(&db, &one(&db).await, fail()).await, [1]);
    assert_eq!(suspects().await, 0, "a person's retry begins anew");
    db.drop().await;
}
