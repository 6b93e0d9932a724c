//! Unknown jobs: one search at a time, one end, and what each end leaves behind.

use std::time::Duration;

use chrono::TimeDelta;
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_store::{Absent, Claimed, Lease, Look, Ruling, Settlement, StoreError, Why};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

const NOW: Duration = Duration::ZERO;

fn unknown(code: &str) -> Settlement {
    Settlement::Unknown {
        look_after: NOW,
        why: Why {
            code: code.into(),
            http_status: None,
            error: json!({"code": code, "title": "Forbidden", "detail": "in X's words", "step": "publish", "hint": ""}),
        },
    }
}

/// Sends a claimed job and loses the answer.
async fn lose(db: &Db, job: &Claimed, code: &str) {
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.store
        .settle(&job.lease, &[], &unknown(code))
        .await
        .unwrap();
}

/// A database with these jobs of `acme`, each sent once without an answer.
async fn lost(texts: &[&str]) -> Db {
    let db = Db::new().await;
    db.account("acme", 1).await;
    for text in texts {
        db.sql(&format!(
            "insert into crier.jobs (account, text) values ('acme', '{text}')"
        ))
        .await;
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        lose(&db, &job, "no_answer").await;
    }
    db
}

async fn looks(db: &Db) -> Vec<Look> {
    let mut looks = db
        .store
        .claim_reconciles(Uuid::new_v4(), 100, TTL)
        .await
        .unwrap();
    looks.sort_by_key(|look| look.lease.subject);
    looks
}

async fn count(db: &Db, table: &str) -> i64 {
    db.one(&format!("select count(*) as n from crier.{table}"))
        .await["n"]
        .as_i64()
        .unwrap()
}

fn on_x(post_id: &str) -> Ruling<'_> {
    Ruling::Published {
        post_id,
        charge: None,
    }
}

fn is_lost<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost { .. }))
}

#[tokio::test]
async fn a_search_is_claimed_by_one_worker_and_tells_what_to_look_for() {
    let db = lost(&["perhaps"]).await;
    let (one, other) = tokio::join!(looks(&db), looks(&db));
    let [look] = [one, other].concat().try_into().unwrap();
    assert_eq!(
        (
            look.lease.subject,
            look.text.as_str(),
            look.media_count,
            look.x_user_id.as_str(),
            look.looks,
            look.duplicate_seen
        ),
        (1, "perhaps", 0, "1", 0, false)
    );
    assert_eq!(look.first_doubtful, Some(look.since));
    assert_eq!(looks(&db).await, []);
    // Waits grow the count; what could not be read does not.
    for (counted, made) in [(false, 0), (true, 1), (true, 2)] {
        let look = match looks(&db).await.pop() {
            Some(look) => look,
            None => look.clone(),
        };
        db.store
            .look_again(&look.lease, Duration::from_mins(1), counted)
            .await
            .unwrap();
        assert_eq!(looks(&db).await, [], "not before its time");
        db.advance("61 seconds").await;
        let next = db
            .one("select looks, next_at <= crier.now() as due from crier.reconciles")
            .await;
        assert_eq!(next, json!({"looks": made, "due": true}));
    }
    db.drop().await;
}

#[tokio::test]
async fn a_look_that_lacked_a_grant_is_made_as_soon_as_the_account_has_logged_in() {
    let db = lost(&["read in vain", "looked at before"]).await;
    let [vain, before] = looks(&db).await.try_into().unwrap();
    // The second one was read: its wait gives X time to show the post, and no login shortens it.
    let wait = Duration::from_mins(2);
    db.store
        .look_again(&before.lease, wait, true)
        .await
        .unwrap();
    let reason = json!({"code": "grant_dead"});
    db.store
        .pause_account(vain.lease.account, "needs_login", &reason)
        .await
        .unwrap();
    let wait = Duration::from_mins(5);
    db.store.look_again(&vain.lease, wait, false).await.unwrap();
    db.advance("1 minute").await;
    assert_eq!(looks(&db).await, [], "nothing can be read before the login");
    db.account("acme", 1).await;
    let [now] = looks(&db).await.try_into().unwrap();
    assert_eq!((now.lease.subject, now.looks), (vain.lease.subject, 0));
    db.store.look_again(&now.lease, wait, false).await.unwrap();
    assert_eq!(looks(&db).await, [], "with a grant the wait is kept");
    db.advance("61 seconds").await;
    let [due] = looks(&db).await.try_into().unwrap();
    assert_eq!((due.lease.subject, due.looks), (before.lease.subject, 1));
    db.drop().await;
}

#[tokio::test]
async fn a_found_post_publishes_the_job_once() {
    let db = lost(&["perhaps"]).await;
    let look = looks(&db).await.remove(0);
    db.store
        .settle_found(&look.lease, "77", "found", None)
        .await
        .unwrap();
    let row = db
        .one("select state, post_id, attempts, error, published_at is not null as at from crier.jobs")
        .await;
    assert_eq!(
        row,
        json!({"state": "published", "post_id": "77", "attempts": 1, "error": null, "at": true})
    );
    assert_eq!(
        (count(&db, "reconciles").await, count(&db, "leases").await),
        (0, 0)
    );
    let ledger: Vec<_> = db
        .store
        .ledger(1)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.step, row.outcome.unwrap(), row.code))
        .collect();
    assert_eq!(
        ledger,
        [
            ("publish".into(), "unknown".into(), Some("no_answer".into())),
            ("reconcile".into(), "published".into(), Some("found".into())),
        ]
    );
    assert!(is_lost(
        &db.store
            .settle_found(&look.lease, "78", "found", None)
            .await
    ));
    db.drop().await;
}

#[tokio::test]
async fn a_search_that_lost_its_lease_writes_nothing() {
    let db = lost(&["perhaps"]).await;
    let slow = looks(&db).await.remove(0);
    assert_eq!(db.store.expire_reconcile_leases(10).await.unwrap(), 0);
    db.advance("31 seconds").await;
    assert_eq!(db.store.expire_reconcile_leases(10).await.unwrap(), 1);
    let next = looks(&db).await.remove(0);
    assert_ne!(slow.lease.token, next.lease.token);
    let before = db.one("select * from crier.reconciles").await;
    let error = json!({"code": "x", "title": "", "detail": "", "step": "reconcile", "hint": ""});
    assert!(is_lost(
        &db.store.settle_found(&slow.lease, "1", "found", None).await
    ));
    assert!(is_lost(&db.store.settle_absent(&slow.lease).await));
    assert!(is_lost(&db.store.settle_duplicate(&slow.lease).await));
    assert!(is_lost(&db.store.look_again(&slow.lease, NOW, true).await));
    assert!(is_lost(
        &db.store.leave_to_operator(&slow.lease, &error).await
    ));
    assert_eq!(db.state(1).await, "unknown");
    assert_eq!(db.one("select * from crier.reconciles").await, before);
    assert_eq!(count(&db, "attempts").await, 1);
    db.store
        .settle_found(&next.lease, "2", "found", None)
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn one_post_is_adopted_by_one_job() {
    let db = lost(&["same", "same"]).await;
    let [first, second] = looks(&db).await.try_into().unwrap();
    let ids = ["5".to_owned(), "6".to_owned()];
    let contest = db.store.contest(&first.lease, &ids).await.unwrap();
    assert_eq!(
        contest.rivals.iter().map(|r| r.job).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(contest.taken, [""; 0]);
    db.store
        .settle_found(&first.lease, "5", "found", None)
        .await
        .unwrap();
    let contest = db.store.contest(&second.lease, &ids).await.unwrap();
    assert_eq!((contest.rivals, contest.taken), (vec![], vec!["5".into()]));
    let taken = db
        .store
        .settle_found(&second.lease, "5", "found", None)
        .await;
    assert!(
        matches!(&taken, Err(StoreError::PostTaken { post_id }) if post_id == "5"),
        "{taken:?}"
    );
    assert_eq!(db.state(2).await, "unknown");
    // Nothing of it was written: the lease still holds.
    db.store
        .settle_found(&second.lease, "6", "found", None)
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_is_being_sent_is_a_rival() {
    let db = lost(&["same"]).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'same'), ('acme', 'waits')")
        .await;
    let look = looks(&db).await.remove(0);
    let sending = db.claim(Uuid::new_v4()).await.remove(0);
    assert_eq!(db.store.contest(&look.lease, &[]).await.unwrap().rivals, []);
    db.store
        .begin_sending(&sending.lease, sending.revision, TTL / 3, &[])
        .await
        .unwrap();
    let rivals = db.store.contest(&look.lease, &[]).await.unwrap().rivals;
    assert_eq!(rivals.iter().map(|r| r.job).collect::<Vec<_>>(), [2]);
    // Refused as a duplicate, its call made nothing.
    db.store
        .settle(&sending.lease, &[], &unknown("duplicate"))
        .await
        .unwrap();
    assert_eq!(db.store.contest(&look.lease, &[]).await.unwrap().rivals, []);
    db.drop().await;
}

#[tokio::test]
async fn an_absent_post_is_sent_again_until_no_attempt_is_left() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, max_attempts) values ('acme', 'x', 2)")
        .await;
    for end in [Absent::Again, Absent::Failed] {
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        lose(&db, &job, "no_answer").await;
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "never before the look");
        let look = looks(&db).await.remove(0);
        assert_eq!(db.store.settle_absent(&look.lease).await.unwrap(), end);
    }
    let row = db
        .one("select state, attempts, error->>'code' as code, error->>'detail' as detail from crier.jobs")
        .await;
    assert_eq!(
        row,
        json!({"state": "failed", "attempts": 2, "code": "unknown_absent",
               "detail": "X did not show it among the account's own posts in 1 looks"})
    );
    assert_eq!(
        (count(&db, "reconciles").await, count(&db, "leases").await),
        (0, 0)
    );
    assert_eq!(count(&db, "attempts").await, 4);
    db.drop().await;
}

#[tokio::test]
async fn an_absent_post_of_a_paused_campaign_waits_with_it() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'x', 'spring')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "no_answer").await;
    db.sql("select crier.pause_campaign('spring')").await;
    let look = looks(&db).await.remove(0);
    db.store.settle_absent(&look.lease).await.unwrap();
    assert_eq!(db.state(1).await, "paused");
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.sql("select crier.resume_campaign('spring')").await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn a_duplicate_is_told_from_a_lost_answer() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "duplicate").await;
    let look = looks(&db).await.remove(0);
    assert_eq!((look.duplicate_seen, look.first_doubtful), (true, None));
    db.store.settle_duplicate(&look.lease).await.unwrap();
    let row = db
        .one("select state, error->>'code' as code, error->>'detail' as detail from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        json!({"state": "failed", "code": "duplicate", "detail": "in X's words"})
    );
    // A call without an answer, then a duplicate: the first may be what X remembers.
    db.sql("insert into crier.jobs (account, text) values ('acme', 'y')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "no_answer").await;
    let first = looks(&db).await.remove(0);
    db.store.settle_absent(&first.lease).await.unwrap();
    db.advance("5 minutes").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "duplicate").await;
    let look = looks(&db).await.remove(0);
    assert!(look.duplicate_seen);
    assert_eq!(look.first_doubtful, Some(first.since));
    assert!(look.since - first.since >= TimeDelta::minutes(5));
    db.drop().await;
}

#[tokio::test]
async fn what_is_left_to_a_person_says_so_and_is_ended_by_one() {
    let db = lost(&["one", "two", "three"]).await;
    let error = json!({"code": "read_forbidden", "title": "Forbidden", "detail": "in X's words", "step": "read", "hint": "?"});
    for look in looks(&db).await {
        db.store
            .leave_to_operator(&look.lease, &error)
            .await
            .unwrap();
    }
    db.advance("1 day").await;
    assert_eq!(looks(&db).await, [], "it is not looked up again");
    let row = db
        .one("select state, error from crier.jobs where id = 2")
        .await;
    assert_eq!(row["state"], "unknown");
    assert_eq!(row["error"]["detail"], "in X's words");
    let hint = row["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("crier jobs settle 2 --published POST_ID") && hint.contains("--retry"),
        "{hint}"
    );

    let store = &db.store;
    assert_eq!(
        store.settle_by_operator(1, on_x("11")).await.unwrap(),
        "published"
    );
    assert_eq!(
        store.settle_by_operator(3, Ruling::Again).await.unwrap(),
        "scheduled"
    );
    assert_eq!(
        db.one("select post_id, attempts from crier.jobs where id = 1")
            .await,
        json!({"post_id": "11", "attempts": 1})
    );
    let words = |result: Result<&str, StoreError>| result.unwrap_err().to_string();
    assert_eq!(
        words(store.settle_by_operator(2, on_x("11")).await),
        "the post `11` belongs to another job already"
    );
    assert_eq!(
        words(store.settle_by_operator(1, Ruling::Again).await),
        "job 1 is published, not unknown: there is nothing to settle"
    );
    assert_eq!(
        words(store.settle_by_operator(9, Ruling::Again).await),
        "there is no job 9"
    );
    assert!(
        words(
            store
                .settle_by_operator(2, on_x("https://x.com/a/status/1"))
                .await
        )
        .contains("no id of a post")
    );
    // Refused, it is as it was.
    assert_eq!(db.state(2).await, "unknown");
    assert_eq!(count(&db, "reconciles").await, 1);
    assert_eq!(
        db.claim(Uuid::new_v4())
            .await
            .iter()
            .map(|c| c.text.as_str())
            .collect::<Vec<_>>(),
        ["three"]
    );
    db.drop().await;
}

#[tokio::test]
async fn a_person_ends_a_search_that_runs() {
    let db = lost(&["one"]).await;
    let look = looks(&db).await.remove(0);
    db.sql("update crier.jobs set max_attempts = 1").await;
    assert_eq!(
        db.store.settle_by_operator(1, Ruling::Again).await.unwrap(),
        "scheduled"
    );
    assert!(is_lost(
        &db.store.settle_found(&look.lease, "1", "found", None).await
    ));
    assert!(is_lost(&db.store.settle_absent(&look.lease).await));
    assert_eq!(
        db.one("select state, attempts from crier.jobs").await,
        json!({"state": "scheduled", "attempts": 0}),
        "who asks for another attempt gets one"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_lease_without_its_search_writes_nothing() {
    let db = lost(&["one"]).await;
    let look = looks(&db).await.remove(0);
    db.sql("delete from crier.reconciles").await;
    assert!(is_lost(&db.store.settle_absent(&look.lease).await));
    assert!(is_lost(&db.store.look_again(&look.lease, NOW, true).await));
    assert_eq!(db.state(1).await, "unknown");
    db.drop().await;
}

#[tokio::test]
async fn a_deleted_job_ends_its_search() {
    let db = lost(&["one", "two"]).await;
    db.sql("delete from crier.jobs where id = 1").await;
    let looks = looks(&db).await;
    assert_eq!(
        looks.iter().map(|l| l.lease.subject).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(
        db.one("select job_id from crier.reconciles").await,
        json!({"job_id": 2})
    );
    db.drop().await;
}

#[tokio::test]
async fn a_limit_on_reading_holds_for_all_searches_and_no_lane() {
    let db = lost(&["one", "two"]).await;
    db.account("other", 2).await;
    db.sql("insert into crier.jobs (account, text) values ('other', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "no_answer").await;
    let look = db
        .store
        .claim_reconciles(Uuid::new_v4(), 1, TTL)
        .await
        .unwrap()
        .remove(0);
    let window = |class| Window {
        class,
        length: WindowLength::QuarterHour,
        limit: Some(900),
        remaining: Some(0),
        resets_at: look.now + TimeDelta::minutes(10),
    };
    db.store
        .note_read_windows(look.lease.account, &[window(LimitClass::Account)])
        .await
        .unwrap();
    assert_eq!(
        looks(&db)
            .await
            .iter()
            .map(|l| (l.lease.subject, l.reads_blocked_until))
            .collect::<Vec<_>>(),
        [(3, None)],
        "the account's other search waits, another account's does not"
    );
    // What becomes unknown meanwhile is claimed with the reset, and publishing goes on.
    db.sql("insert into crier.jobs (account, text) values ('acme', 'late')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job, "no_answer").await;
    let late = looks(&db).await.remove(0);
    assert_eq!(
        (late.lease.subject, late.reads_blocked_until),
        (4, Some(window(LimitClass::Account).resets_at))
    );
    let lease: Lease = late.lease;
    db.store.look_again(&lease, NOW, false).await.unwrap();
    // The app's limit closes every account of the app.
    db.store
        .note_read_windows(2, &[window(LimitClass::App)])
        .await
        .unwrap();
    assert_eq!(looks(&db).await, []);
    db.advance("11 minutes").await;
    db.store.expire_reconcile_leases(10).await.unwrap();
    assert_eq!(looks(&db).await.len(), 4);
    db.drop().await;
}
