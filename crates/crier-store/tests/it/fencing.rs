//! Leases and phases: who may write, what a dead worker leaves behind, what a person's edit does to a job in hand.

use crier_store::{Expired, Leadership, Settlement, StoreError, Why};
use uuid::Uuid;

use crate::db::{Db, TTL};

fn published(id: &str) -> Settlement {
    Settlement::Published { post_id: id.into() }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let (slow, next) = (Uuid::new_v4(), Uuid::new_v4());
    let lost = db.claim(slow).await.remove(0);
    db.advance("31 seconds").await;
    assert_eq!(
        db.store.expire_leases(100).await.unwrap(),
        Expired {
            claimed: 1,
            sending: 0,
            quarantined: 0
        }
    );
    let held = db.claim(next).await.remove(0);
    assert_ne!(lost.lease.token, held.lease.token);
    for result in [
        db.store
            .begin_sending(&lost.lease, lost.revision, TTL / 3, &[])
            .await
            .map(|_| ()),
        db.store
            .settle(&lost.lease, &[], &published("1"))
            .await
            .map(|_| ()),
        db.store
            .settle(
                &lost.lease,
                &[],
                &Settlement::Failed(Why {
                    code: "x".into(),
                    http_status: None,
                    error: serde_json::json!({}),
                }),
            )
            .await
            .map(|_| ()),
    ] {
        assert!(
            matches!(result, Err(StoreError::LeaseLost { .. })),
            "{result:?}"
        );
    }
    assert_eq!(
        db.store
            .renew(slow, &[lost.lease.token], TTL)
            .await
            .unwrap(),
        [0_i64; 0]
    );
    assert_eq!(
        db.store
            .renew(next, &[held.lease.token], TTL)
            .await
            .unwrap(),
        [held.lease.token]
    );
    db.store
        .begin_sending(&held.lease, held.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.store
        .settle(&held.lease, &[], &published("2"))
        .await
        .unwrap();
    let row = db
        .one("select state, post_id, post_url from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "published", "post_id": "2", "post_url": "https://x.com/acme/status/2"})
    );
    db.drop().await;
}

#[tokio::test]
async fn sending_needs_a_lease_that_holds_with_margin() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.advance("25 seconds").await;
    let result = db
        .store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await;
    assert!(
        matches!(result, Err(StoreError::LeaseLost { .. })),
        "{result:?}"
    );
    assert_eq!(
        db.store.ledger(1).await.unwrap(),
        [],
        "no intent without a lease"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_worker_that_dies_while_sending_leaves_the_job_unknown_and_the_lane_open() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'perhaps'), ('acme', 'next')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.advance("31 seconds").await;
    assert_eq!(
        db.store.expire_leases(100).await.unwrap(),
        Expired {
            claimed: 0,
            sending: 1,
            quarantined: 0
        }
    );
    assert_eq!(db.state(1).await, "unknown");
    assert_eq!(
        db.one("select job_id from crier.reconciles").await["job_id"],
        1
    );
    let ledger = db.store.ledger(1).await.unwrap();
    assert_eq!(
        (
            ledger.len(),
            ledger[0].outcome.as_deref(),
            ledger[0].code.as_deref()
        ),
        (1, Some("unknown"), Some("worker_lost"))
    );
    // Never again by itself; the account goes on.
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(
        claimed.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        ["next"]
    );
    // The zombie wakes up: its outcome is refused.
    let late = db.store.settle(&job.lease, &[], &published("9")).await;
    assert!(
        matches!(late, Err(StoreError::LeaseLost { .. })),
        "{late:?}"
    );
    let (message, hint) = db.refused("select crier.cancel(1)").await;
    assert!(
        message.contains("unknown") && hint.contains("looking it up"),
        "{message} / {hint}"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_put_aside() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'poison')")
        .await;
    let mut quarantined = 0;
    for _ in 0..3 {
        assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
        db.advance("31 seconds").await;
        quarantined += db.store.expire_leases(100).await.unwrap().quarantined;
    }
    assert_eq!(quarantined, 1);
    let row = db
        .one("select state, attempts, crashes, error->>'code' as code from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "failed", "attempts": 0, "crashes": 3, "code": "quarantined"})
    );
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.drop().await;
}

#[tokio::test]
async fn what_was_edited_or_cancelled_after_the_claim_is_not_sent() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.account("other", 2).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'typo'), ('other', 'regret')")
        .await;
    let claimed = db.claim(Uuid::new_v4()).await;
    db.sql("update crier.jobs set text = 'mended' where id = 1; select crier.cancel(2)")
        .await;
    for job in &claimed {
        let result = db
            .store
            .begin_sending(&job.lease, job.revision, TTL / 3, &[])
            .await;
        assert!(
            matches!(result, Err(StoreError::JobChanged { .. })),
            "{result:?}"
        );
        let give_back = Settlement::Snoozed {
            until: None,
            why: Why {
                code: "job_changed".into(),
                http_status: None,
                error: serde_json::Value::Null,
            },
        };
        db.store.settle(&job.lease, &[], &give_back).await.unwrap();
    }
    let again = db.claim(Uuid::new_v4()).await;
    assert_eq!(
        again.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        ["mended"]
    );
    assert_eq!(db.state(2).await, "cancelled");
    db.drop().await;
}

#[tokio::test]
async fn what_is_being_sent_can_neither_be_edited_nor_cancelled() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'x', 'c')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    for attempt in [
        "select crier.cancel(1)",
        "update crier.jobs set text = 'y' where id = 1",
    ] {
        let (message, _) = db.refused(attempt).await;
        assert!(message.contains("being sent"), "{message}");
    }
    db.sql("select crier.pause_campaign('c')").await;
    db.store
        .settle(&job.lease, &[], &published("5"))
        .await
        .unwrap();
    assert_eq!(db.state(1).await, "published");
    db.drop().await;
}

#[tokio::test]
async fn one_post_belongs_to_one_job() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'same'), ('acme', 'same')")
        .await;
    let first = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .settle(&first.lease, &[], &published("5"))
        .await
        .unwrap();
    let second = db.claim(Uuid::new_v4()).await.remove(0);
    let stolen = db.store.settle(&second.lease, &[], &published("5")).await;
    assert!(
        matches!(stolen, Err(StoreError::PostTaken { .. })),
        "{stolen:?}"
    );
    assert_eq!(
        db.state(2).await,
        "scheduled",
        "nothing of the refused outcome stays"
    );
    db.store
        .settle(&second.lease, &[], &published("6"))
        .await
        .unwrap();
    let (message, _) = db.refused("update crier.jobs set state = 'scheduled', finished_at = null, post_id = null where id = 1; insert into crier.posts values ('7', 1, 1, now())").await;
    assert!(message.contains("posts_job_id_key"), "{message}");
    db.drop().await;
}

#[tokio::test]
async fn many_claimers_never_share_a_job() {
    let db = Db::new().await;
    for number in 1..=20 {
        db.account(&format!("a{number}"), number).await;
    }
    db.sql("insert into crier.jobs (account, text) select 'a' || (n % 20 + 1), 'job ' || n from generate_series(1, 200) n").await;
    while db.store.apply_signals(1000).await.unwrap() > 0 {}
    let claimers = (0..6).map(|_| {
        let store = db.store.clone();
        tokio::spawn(async move {
            let (worker, mut done) = (Uuid::new_v4(), Vec::new());
            let mut idle = 0;
            while idle < 20 {
                let claimed = store.claim(worker, 7, TTL).await.unwrap();
                idle = if claimed.is_empty() { idle + 1 } else { 0 };
                for job in claimed {
                    store
                        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
                        .await
                        .unwrap();
                    store
                        .settle(
                            &job.lease,
                            &[],
                            &published(&format!("{}", 1000 + job.lease.subject)),
                        )
                        .await
                        .unwrap();
                    done.push(job.lease.subject);
                }
            }
            done
        })
    });
    let mut all = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        all.extend(claimer.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<i64>>());
    assert_eq!(
        db.one("select count(*) as n from crier.attempts where outcome = 'published'")
            .await["n"],
        200
    );
    db.drop().await;
}

#[tokio::test]
async fn one_scheduler_leads_and_another_takes_over() {
    let db = Db::new().await;
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(db.store.lead(a, TTL).await.unwrap(), Leadership::Leads);
    assert_eq!(db.store.lead(b, TTL).await.unwrap(), Leadership::Follows);
    assert_eq!(db.store.lead(a, TTL).await.unwrap(), Leadership::Leads);
    db.advance("31 seconds").await;
    assert_eq!(db.store.lead(b, TTL).await.unwrap(), Leadership::Leads);
    db.store.resign(a).await.unwrap();
    assert_eq!(
        db.store.lead(a, TTL).await.unwrap(),
        Leadership::Follows,
        "only the holder can resign"
    );
    db.store.resign(b).await.unwrap();
    assert_eq!(db.store.lead(a, TTL).await.unwrap(), Leadership::Leads);
    db.drop().await;
}

#[tokio::test]
async fn a_lease_that_was_renewed_at_the_last_moment_is_not_taken_back() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    assert_eq!(
        db.store.expire_leases(100).await.unwrap(),
        Expired::default(),
        "it lives"
    );
    db.advance("31 seconds").await;
    // The scheduler sees it expired and waits for its row, which a renewal that is not committed yet holds.
    let store = db.store.clone();
    let holder = tokio::spawn(async move {
        store
            .run_script(
                "update crier.leases set expires_at = crier.now() + interval '1 minute'; select pg_sleep(1)",
            )
            .await
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let store = db.store.clone();
    let expiry = tokio::spawn(async move { store.expire_leases(100).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!expiry.is_finished(), "it waits for the lease");
    holder.await.unwrap().unwrap();
    assert_eq!(expiry.await.unwrap().unwrap(), Expired::default());
    db.store
        .settle(&job.lease, &[], &published("1"))
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_lane_or_job_that_somebody_holds_keeps_no_other_lease_waiting() {
    let db = Db::new().await;
    for (handle, id) in [("acme", 1), ("orbit", 2), ("nova", 3)] {
        db.account(handle, id).await;
    }
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x'), ('orbit', 'x'), ('nova', 'x')")
        .await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 3);
    db.advance("31 seconds").await;
    let store = db.store.clone();
    let holder = tokio::spawn(async move {
        store
            .run_script(
                "select 1 from crier.lanes where account_id = 1 for update;
                 select 1 from crier.jobs_open where account_id = 2 for update; select pg_sleep(1)",
            )
            .await
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let taken = |n| Expired {
        claimed: n,
        ..Expired::default()
    };
    assert_eq!(db.store.expire_leases(100).await.unwrap(), taken(1));
    assert!(!holder.is_finished(), "it waited for nobody");
    holder.await.unwrap().unwrap();
    assert_eq!(
        db.store.expire_leases(100).await.unwrap(),
        taken(2),
        "their turn comes once they are free"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_cancel_that_commits_while_sending_waits_for_the_row_wins() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'regret')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    let store = db.store.clone();
    let person = tokio::spawn(async move {
        store
            .run_script("select crier.cancel(1); select pg_sleep(0.6)")
            .await
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let result = db
        .store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await;
    assert!(
        matches!(result, Err(StoreError::JobChanged { .. })),
        "{result:?}"
    );
    person.await.unwrap().unwrap();
    assert_eq!(db.state(1).await, "cancelled");
    assert_eq!(db.store.ledger(1).await.unwrap(), []);
    db.drop().await;
}
