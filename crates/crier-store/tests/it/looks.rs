//! Unknown jobs and what hangs on them: threads that wait, people who know better, looks that fail, searches that follow
//! each other.

use std::time::Duration;

use crier_core::price::{Charge, Priced, Prices};
use crier_store::{Claimed, Look, Ruling, Settlement, StoreError, Why};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, TTL};

const NOW: Duration = Duration::ZERO;

/// Sends a claimed job and loses the answer.
async fn lose(db: &Db, job: &Claimed) {
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    let why = Why {
        code: "no_answer".into(),
        http_status: None,
        error: fault("no_answer"),
    };
    let unknown = Settlement::Unknown {
        look_after: NOW,
        why,
    };
    db.store.settle(&job.lease, &[], &unknown).await.unwrap();
}

/// A database with these jobs of `acme`, the first of which was sent without an answer.
async fn lost(jobs: &str) -> Db {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(&format!(
        "insert into crier.jobs (account, text) values {jobs}"
    ))
    .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job).await;
    db
}

fn fault(code: &str) -> Value {
    json!({"code": code, "title": "Forbidden", "detail": "in X's words", "step": "read", "hint": "wait"})
}

async fn look(db: &Db) -> Look {
    let mut looks = db
        .store
        .claim_reconciles(Uuid::new_v4(), 1, TTL)
        .await
        .unwrap();
    looks.pop().unwrap()
}

fn price() -> Charge {
    Prices::default().charge(Priced::Post, 1)
}

async fn costs(db: &Db) -> Value {
    db.one("select count(*) as n, coalesce(sum(micro_usd), 0)::int as usd from crier.cost_deltas")
        .await
}

fn is_lost<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost { .. }))
}

fn words<T>(result: Result<T, StoreError>) -> String {
    result.err().unwrap().to_string()
}

/// A thread of three whose first post is unknown; the second has waited for it.
async fn thread() -> Db {
    let db = lost("('acme', 'one')").await;
    db.sql(
        "insert into crier.jobs (account, text, after) values ('acme', 'two', 1);
         insert into crier.jobs (account, text, after) values ('acme', 'three', 2)",
    )
    .await;
    db.store.sweep_held(None, 10).await.unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, [], "it waits");
    let awaited = db.store.awaited(2).await.unwrap().unwrap();
    assert_eq!((awaited.job, awaited.state.as_str()), (1, "unknown"));
    assert_eq!(db.store.awaited(1).await.unwrap(), None);
    let search = db.store.search(1).await.unwrap().unwrap();
    assert_eq!(search.followers, [2]);
    db
}

#[tokio::test]
async fn a_thread_waits_while_its_first_post_is_unknown_and_goes_on_once_it_is_found() {
    let db = thread().await;
    let found = look(&db).await;
    db.store
        .settle_found(&found.lease, "77", "found", None)
        .await
        .unwrap();
    let next = db.claim(Uuid::new_v4()).await.remove(0);
    assert_eq!(
        (next.lease.subject, next.reply_to.as_deref()),
        (2, Some("77"))
    );
    assert_eq!(db.store.awaited(2).await.unwrap(), None);
    db.drop().await;
}

#[tokio::test]
async fn a_thread_ends_with_its_first_post_that_a_person_says_is_absent() {
    let db = thread().await;
    let state = db
        .store
        .settle_by_operator(1, Ruling::Absent)
        .await
        .unwrap();
    assert_eq!(state, "failed");
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    let rows = db
        .store
        .select_json("select error->>'code' as code, error->>'title' as title, error->>'hint' as hint from crier.jobs order by id")
        .await
        .unwrap();
    assert_eq!(
        rows[0],
        json!({"code": "operator_absent", "title": "a person says that the post is not on X", "hint": "select crier.retry(1) sends it after all"})
    );
    for (row, before) in [(&rows[1], 1), (&rows[2], 2)] {
        assert_eq!(row["code"], "predecessor_ended");
        assert_eq!(
            row["title"],
            format!("job {before} of the thread did not go out")
        );
    }
    // And after all.
    db.sql("select crier.retry(1); select crier.retry(2)").await;
    assert_eq!(db.claim(Uuid::new_v4()).await[0].lease.subject, 1);
    db.drop().await;
}

#[tokio::test]
async fn a_search_that_runs_writes_nothing_after_a_person_said_that_the_post_is_absent() {
    let db = lost("('acme', 'one')").await;
    let running = look(&db).await;
    db.store
        .settle_by_operator(1, Ruling::Absent)
        .await
        .unwrap();
    let store = &db.store;
    assert!(is_lost(
        &store.settle_found(&running.lease, "1", "found", None).await
    ));
    assert!(is_lost(&store.settle_absent(&running.lease).await));
    assert!(is_lost(&store.look_again(&running.lease, NOW, true).await));
    assert!(is_lost(
        &store.look_failed(&running.lease, NOW, &fault("x")).await
    ));
    assert_eq!(db.state(1).await, "failed");
    assert_eq!(
        words(store.settle_by_operator(1, Ruling::Absent).await),
        "job 1 is failed, not unknown: there is nothing to settle"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_post_that_a_person_names_is_charged_once_and_is_no_other_jobs() {
    let db = lost("('acme', 'one'), ('acme', 'two')").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    let named = Ruling::Published {
        post_id: "11",
        charge: Some(price()),
    };
    assert_eq!(
        words(db.store.settle_by_operator(2, named).await),
        "job 2 is scheduled, not unknown: there is nothing to settle",
        "it is in a worker's hands"
    );
    lose(&db, &job).await;
    assert_eq!(
        db.store.settle_by_operator(1, named).await.unwrap(),
        "published"
    );
    let once = costs(&db).await;
    assert_eq!(once, json!({"n": 1, "usd": price().micro_usd}));
    assert_eq!(
        words(db.store.settle_by_operator(2, named).await),
        "the post `11` belongs to another job already"
    );
    assert_eq!(db.state(2).await, "unknown");
    assert_eq!(costs(&db).await, once);
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_is_being_sent_is_settled_by_nobody() {
    let db = lost("('acme', 'one'), ('acme', 'two')").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    for ruling in [Ruling::Again, Ruling::Absent] {
        assert_eq!(
            words(db.store.settle_by_operator(2, ruling).await),
            "job 2 is scheduled, not unknown: there is nothing to settle"
        );
    }
    let published = Settlement::Published {
        post_id: "22".into(),
    };
    db.store.settle(&job.lease, &[], &published).await.unwrap();
    assert_eq!(db.state(2).await, "published");
    db.drop().await;
}

#[tokio::test]
async fn a_person_and_a_worker_who_settle_at_once_come_to_one_end() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let other = db.connect().await;
    for n in 1..=8 {
        db.sql(&format!(
            "insert into crier.jobs (account, text) values ('acme', 'job {n}')"
        ))
        .await;
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        lose(&db, &job).await;
        let running = look(&db).await;
        let post_id = n.to_string();
        let charge = Some(price());
        let (found, said) = tokio::join!(
            db.store
                .settle_found(&running.lease, &post_id, "found", charge),
            other.settle_by_operator(n, Ruling::Absent)
        );
        let state = db.state(n).await;
        match (found.is_ok(), said.is_ok()) {
            (true, false) => assert_eq!(state, "published"),
            (false, true) => assert_eq!(state, "failed"),
            both => panic!("{both:?}: {state}"),
        }
    }
    let wrong = db
        .one("select count(*) as n from crier.posts p full join crier.jobs j on j.id = p.job_id where (j.state = 'published') is distinct from (p.post_id is not null)")
        .await;
    assert_eq!(wrong["n"], 0);
    other.close().await;
    db.drop().await;
}

#[tokio::test]
async fn the_lease_of_an_earlier_search_settles_nothing_of_the_next_one() {
    let db = lost("('acme', 'one')").await;
    let earlier = look(&db).await;
    // As a person leaves it whose word comes between the two steps of a claim: the search is gone, its lease is not.
    db.sql("delete from crier.reconciles; update crier.jobs set state = 'scheduled' where id = 1")
        .await;
    let again = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &again).await;
    let claimed = db
        .store
        .claim_reconciles(Uuid::new_v4(), 1, TTL)
        .await
        .unwrap();
    assert_eq!(claimed, [], "its holder may write yet");
    assert!(is_lost(&db.store.settle_absent(&earlier.lease).await));
    assert_eq!(db.state(1).await, "unknown");
    db.advance("31 seconds").await;
    db.store.expire_reconcile_leases(10).await.unwrap();
    let later = look(&db).await;
    db.store
        .settle_found(&later.lease, "7", "found", None)
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_job_of_long_ago_lays_claim_to_its_post_still() {
    let db = lost("('acme', 'same'), ('acme', 'same')").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    lose(&db, &job).await;
    // X was not to be read for a day.
    db.advance("1 day").await;
    let first = look(&db).await;
    let rivals = db.store.contest(&first.lease, &[]).await.unwrap().rivals;
    assert_eq!(rivals.iter().map(|r| r.job).collect::<Vec<_>>(), [2]);
    db.drop().await;
}

#[tokio::test]
async fn looks_that_fail_prove_nothing_are_told_and_are_forgotten_after_one_that_does_not() {
    let db = lost("('acme', 'one')").await;
    let warning = "select warning->>'code' as code from crier.jobs";
    for (code, before, told) in [
        ("server", 0, Value::Null),
        ("server", 1, json!("server")),
        ("unauthorized", 2, json!("server")),
        ("unauthorized", 1, json!("unauthorized")),
    ] {
        let look = look(&db).await;
        assert_eq!((look.looks, look.unread), (0, before), "{code}");
        db.store
            .look_failed(&look.lease, NOW, &fault(code))
            .await
            .unwrap();
        assert_eq!(db.one(warning).await["code"], told, "{code}");
    }
    let search = db.store.search(1).await.unwrap().unwrap();
    assert_eq!(
        (search.looks, search.looked_at, search.failed_looks),
        (0, None, 2)
    );
    assert_eq!(search.fault, Some(fault("unauthorized")));
    assert!(search.next_look_at.is_some() && !search.in_hand);

    let read = look(&db).await;
    assert_eq!(read.fault_code.as_deref(), Some("unauthorized"));
    assert!(db.store.search(1).await.unwrap().unwrap().in_hand);
    db.store
        .look_again(&read.lease, Duration::from_mins(1), true)
        .await
        .unwrap();
    assert_eq!(db.one(warning).await["code"], Value::Null);
    let search = db.store.search(1).await.unwrap().unwrap();
    assert_eq!(
        (search.looks, search.failed_looks, search.fault),
        (1, 0, None)
    );
    assert!(search.looked_at.is_some() && search.next_look_at.unwrap() > search.looked_at.unwrap());
    // A warning of a search does not outlive it.
    db.advance("61 seconds").await;
    for _ in 0..2 {
        let look = look(&db).await;
        db.store
            .look_failed(&look.lease, NOW, &fault("server"))
            .await
            .unwrap();
    }
    let absent = look(&db).await;
    db.store.settle_absent(&absent.lease).await.unwrap();
    assert_eq!(db.one(warning).await["code"], Value::Null);
    assert_eq!(db.store.search(1).await.unwrap(), None);
    db.drop().await;
}
