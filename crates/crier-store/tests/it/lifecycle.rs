//! What kills its worker, and clocks that leap: bounded harm, and nothing is stranded.

use std::collections::BTreeSet;

use crier_store::{Absent, Claimed, Expired, Leadership, Risky, Ruling, Settlement, StoreError};
use uuid::Uuid;

use crate::db::{Db, TTL};

fn published(id: i64) -> Settlement {
    Settlement::Published {
        post_id: id.to_string(),
    }
}

async fn crashes(db: &Db, job: i64) -> i64 {
    let row = db
        .one(&format!(
            "select crashes as n from crier.jobs where id = {job}"
        ))
        .await;
    row["n"].as_i64().unwrap()
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_put_aside_and_takes_no_other_along() {
    let db = Db::new().await;
    for number in 1..=6 {
        db.account(&format!("a{number}"), number).await;
    }
    db.sql("insert into crier.jobs (account, text) select 'a' || n, 'post ' || n from generate_series(1, 6) n")
        .await;
    let poison = 3;
    let (mut worker, mut deaths) = (Uuid::new_v4(), 0);
    for _ in 0..40 {
        let claimed = db.claim(worker).await;
        let mut suspects = 0;
        for job in &claimed {
            suspects += i32::from(crashes(&db, job.lease.subject).await >= 2);
        }
        assert!(suspects <= 1, "{suspects} at once");
        if claimed.iter().any(|job| job.lease.subject == poison) {
            // SIGKILL: whatever it held is left behind.
            deaths += 1;
            worker = Uuid::new_v4();
            db.advance("31 seconds").await;
            db.store.expire_leases(100).await.unwrap();
            continue;
        }
        for job in claimed {
            db.store
                .settle(&job.lease, &[], &published(job.lease.subject))
                .await
                .unwrap();
        }
        // Those that were passed over are due again.
        db.advance("1 second").await;
    }
    assert_eq!(deaths, 3, "a bounded number");
    let ends = db
        .one("select jsonb_object_agg(id, state) as states, max(attempts) as attempts from crier.jobs")
        .await;
    let expected = serde_json::json!({"states": {"1": "published", "2": "published", "3": "failed", "4": "published",
        "5": "published", "6": "published"}, "attempts": 1});
    assert_eq!(ends, expected);
    let why = db
        .one("select error->>'code' as code, attempts from crier.jobs where id = 3")
        .await;
    assert_eq!(
        why,
        serde_json::json!({"code": "quarantined", "attempts": 0})
    );
    // A person's retry begins anew.
    db.sql("select crier.retry(3)").await;
    let retried = db.claim(worker).await;
    assert_eq!(retried.len(), 1);
    let again = db
        .one("select crashes, (select alone from crier.leases where subject = 3) as alone from crier.jobs where id = 3")
        .await;
    assert_eq!(again, serde_json::json!({"crashes": 0, "alone": false}));
    db.drop().await;
}

#[tokio::test]
async fn a_worker_that_holds_a_suspect_takes_no_second_of_any_kind() {
    let db = Db::new().await;
    for (handle, number) in [("acme", 1), ("other", 2), ("third", 3)] {
        db.account(handle, number).await;
    }
    db.sql(
        "insert into crier.jobs (account, text) values ('acme', 'x'), ('other', 'y'), ('third', 'z');
         update crier.jobs_open set crashes = 2 where id in (1, 2);
         insert into crier.attempts (job_id, account_id, number, token, worker, step) values (1, 1, 1, 1, gen_random_uuid(), 'publish');
         insert into crier.reconciles (job_id, account_id, attempt_id, since, next_at, crashes) values (2, 2, 1, crier.now(), crier.now(), 2)",
    )
    .await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let subjects = |claimed: Vec<Claimed>| -> BTreeSet<i64> {
        claimed.iter().map(|job| job.lease.subject).collect()
    };
    assert_eq!(subjects(db.claim(one).await), BTreeSet::from([1, 3]));
    db.sql("update crier.jobs_open set state = 'unknown' where id = 2")
        .await;
    let looks = db.store.claim_reconciles(one, 9, TTL).await.unwrap();
    assert_eq!(looks, [], "it has one in hand");
    let looks = db.store.claim_reconciles(two, 9, TTL).await.unwrap();
    assert_eq!(looks.len(), 1, "another worker has none");
    // A job and a file that come to be suspect while it is at it.
    db.account("fourth", 4).await;
    db.sql(
        r#"insert into crier.jobs (account, text, media) values ('fourth', 'a', '[]'), ('fourth', 'b', '[{"path": "a.png"}]');
           update crier.jobs_open set crashes = 2 where id = 4"#,
    )
    .await;
    db.store.plan_uploads(5, TTL).await.unwrap();
    db.sql("update crier.media_uploads set crashes = 2").await;
    let files = async |worker| {
        let claimed = db.store.claim_uploads(worker, 9, TTL, TTL).await;
        db.sql("update crier.media_uploads set next_at = crier.now() where next_at is not null")
            .await;
        claimed.unwrap().len()
    };
    for busy in [one, two] {
        assert_eq!(files(busy).await, 0, "no file beside it");
        assert_eq!(subjects(db.claim(busy).await), BTreeSet::new(), "no job");
        db.sql("update crier.lanes set next_at = crier.now() where next_at is not null")
            .await;
    }
    assert_eq!(files(Uuid::new_v4()).await, 1);
    assert_eq!(
        subjects(db.claim(Uuid::new_v4()).await),
        BTreeSet::from([4])
    );
    db.drop().await;
}

#[tokio::test]
async fn a_job_that_kills_whoever_sends_it_is_not_sent_for_ever() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    for death in 1..=3 {
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        db.store
            .begin_sending(&job.lease, job.revision, TTL / 3, &[])
            .await
            .unwrap();
        db.advance("31 seconds").await;
        assert_eq!(db.store.expire_leases(9).await.unwrap().sending, 1);
        let look = db
            .store
            .claim_reconciles(Uuid::new_v4(), 9, TTL)
            .await
            .unwrap()
            .remove(0);
        let absent = db.store.settle_absent(&look.lease).await.unwrap();
        let expected = if death < 3 {
            Absent::Again
        } else {
            Absent::Failed
        };
        assert_eq!(absent, expected, "death {death}");
    }
    let row = db
        .one("select state, attempts, crashes, error->>'code' as code from crier.jobs")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "failed", "attempts": 3, "crashes": 3, "code": "quarantined"})
    );
    db.drop().await;
}

#[tokio::test]
async fn crashes_are_counted_in_a_row() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    for _ in 1..=4 {
        db.claim(Uuid::new_v4()).await;
        db.advance("31 seconds").await;
        db.store.expire_leases(9).await.unwrap();
        assert_eq!(crashes(&db, 1).await, 1);
        // A worker that lives puts it off.
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        let why = crier_store::Why {
            code: "token_busy".into(),
            http_status: None,
            error: serde_json::json!({}),
        };
        let off = Settlement::Snoozed { until: None, why };
        db.store.settle(&job.lease, &[], &off).await.unwrap();
    }
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn a_search_that_kills_its_workers_is_left_to_a_person() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.advance("31 seconds").await;
    db.store.expire_leases(9).await.unwrap();
    for death in 1..=3 {
        let looks = db.store.claim_reconciles(Uuid::new_v4(), 9, TTL).await;
        assert_eq!(looks.unwrap().len(), 1, "death {death}");
        db.advance("31 seconds").await;
        assert_eq!(db.store.expire_reconcile_leases(9).await.unwrap(), 1);
    }
    db.advance("1 day").await;
    let looks = db.store.claim_reconciles(Uuid::new_v4(), 9, TTL).await;
    assert_eq!(looks.unwrap(), [], "it kills nobody any more");
    let row = db
        .one("select state, error->>'code' as code, error->>'hint' like '%jobs settle 1%' as told from crier.jobs")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "unknown", "code": "quarantined", "told": true})
    );
    db.store.settle_by_operator(1, Ruling::Again).await.unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    assert_eq!(crashes(&db, 1).await, 0);
    db.drop().await;
}

#[tokio::test]
async fn crashes_over_a_search_are_counted_in_a_row() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.advance("31 seconds").await;
    db.store.expire_leases(9).await.unwrap();
    let look = async || {
        let looks = db.store.claim_reconciles(Uuid::new_v4(), 9, TTL).await;
        looks.unwrap().remove(0)
    };
    let nothing = serde_json::json!({"code": "x_unavailable"});
    for round in 1..=4 {
        look().await;
        db.advance("31 seconds").await;
        assert_eq!(db.store.expire_reconcile_leases(9).await.unwrap(), 1);
        // A worker that lives ends its look.
        let lease = look().await.lease;
        if round % 2 == 0 {
            db.store.look_again(&lease, TTL, false).await.unwrap();
        } else {
            let failed = db.store.look_failed(&lease, TTL, &nothing).await;
            failed.unwrap();
        }
        db.advance("31 seconds").await;
    }
    db.drop().await;
}

#[tokio::test]
async fn what_a_dead_scheduler_had_in_hand_is_suspect_and_what_a_live_one_put_down_is_not() {
    let db = Db::new().await;
    let (dead, next) = (Uuid::new_v4(), Uuid::new_v4());
    let store = &db.store;
    store
        .take_in_hand(Risky::Checks, dead, &[4, 5])
        .await
        .unwrap();
    store.take_in_hand(Risky::Checks, dead, &[6]).await.unwrap();
    store
        .take_in_hand(Risky::Recurring, dead, &[7])
        .await
        .unwrap();
    store.put_down(Risky::Recurring, dead).await.unwrap();
    assert_eq!(store.suspect_what_was_left(dead).await.unwrap(), 0);
    assert_eq!(store.suspect_what_was_left(next).await.unwrap(), 1);
    assert_eq!(store.suspect_what_was_left(next).await.unwrap(), 0);
    let suspects = store.suspects(Risky::Checks, &[4, 5, 6]).await.unwrap();
    assert_eq!(suspects.into_iter().collect::<Vec<_>>(), [(6, 1)]);
    assert_eq!(store.count_crash(Risky::Checks, 6).await.unwrap(), 2);
    store.clear_suspects(Risky::Checks, &[6]).await.unwrap();
    assert!(
        store
            .suspects(Risky::Checks, &[6])
            .await
            .unwrap()
            .is_empty()
    );
    db.drop().await;
}

#[tokio::test]
async fn after_the_clock_went_back_nothing_stays_held_for_longer_than_a_lease() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.account("other", 2).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'of the dead'), ('other', 'of the living')")
        .await;
    for (leap, back) in [("1 hour", "-1 hour"), ("1 year", "-1 year")] {
        db.advance(leap).await;
        let (dead, living) = (Uuid::new_v4(), Uuid::new_v4());
        assert_eq!(
            db.store.lead(dead, TTL / 6).await.unwrap(),
            Leadership::Leads
        );
        let refresh = db.store.begin_refresh(dead, 1, TTL).await.unwrap();
        assert!(refresh.is_some());
        while db.store.apply_signals(1000).await.unwrap() > 0 {}
        let held = db.store.claim(living, 9, TTL).await.unwrap();
        assert_eq!(held.len(), 2);
        db.advance(back).await;
        // A fail-over, and another clock: who lives goes on, and what was left comes free.
        assert_eq!(
            db.store.lead(living, TTL / 6).await.unwrap(),
            Leadership::Leads,
            "{leap}"
        );
        let refresh = db.store.begin_refresh(living, 1, TTL).await.unwrap();
        db.store.abandon_refresh(&refresh.unwrap()).await.unwrap();
        assert_eq!(db.store.redate_leases().await.unwrap(), 2, "{leap}");
        assert_eq!(db.store.redate_leases().await.unwrap(), 0, "once");
        assert_eq!(
            db.store.expire_leases(9).await.unwrap(),
            Expired::default(),
            "who lives has its time"
        );
        let lived = held.iter().find(|job| job.lease.account == 2).unwrap();
        let token = lived.lease.token;
        assert_eq!(
            db.store.renew(living, &[token], TTL).await.unwrap(),
            [token]
        );
        db.advance("29 seconds").await;
        assert_eq!(
            db.store.renew(living, &[token], TTL).await.unwrap(),
            [token]
        );
        db.advance("2 seconds").await;
        assert_eq!(db.store.expire_leases(9).await.unwrap().claimed, 1);
        let lost = held.iter().find(|job| job.lease.account == 1).unwrap();
        let sent = db
            .store
            .begin_sending(&lost.lease, lost.revision, TTL / 3, &[])
            .await;
        assert!(
            matches!(sent, Err(StoreError::LeaseLost { .. })),
            "{sent:?}"
        );
        let again = db.claim(Uuid::new_v4()).await;
        assert_eq!(again.len(), 1, "{leap}");
        for lease in [again[0].lease, lived.lease] {
            let why = crier_store::Why {
                code: "x".into(),
                http_status: None,
                error: serde_json::json!({}),
            };
            let off = Settlement::Snoozed { until: None, why };
            db.store.settle(&lease, &[], &off).await.unwrap();
        }
        db.store.resign(living).await.unwrap();
    }
    db.drop().await;
}

#[tokio::test]
async fn a_clock_that_leapt_removes_no_history_for_a_day() {
    let db = Db::new().await;
    let steady = || async { db.store.clock_is_steady().await.unwrap() };
    assert!(steady().await, "nothing is known against it");
    db.advance("1 day").await;
    assert!(steady().await, "each night");
    for leap in ["1 year", "-1 year", "-2 hours"] {
        db.advance(leap).await;
        assert!(!steady().await, "{leap}");
        assert!(!steady().await, "{leap}, asked twice");
        db.advance("19 hours").await;
        assert!(!steady().await, "{leap}, on the same day");
        db.advance("2 hours").await;
        assert!(steady().await, "{leap}, the day after");
    }
    db.drop().await;
}

#[tokio::test]
async fn a_time_in_words_is_what_postgres_makes_of_it_and_none_is_lost_between() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    for (said, is) in [
        // In the gap of the spring: by the offset before it, so half past three.
        (
            "2027-03-28 02:30 Europe/Berlin",
            "2027-03-28T01:30:00+00:00",
        ),
        // Shown twice in the autumn: the second time.
        (
            "2027-10-31 02:30 Europe/Berlin",
            "2027-10-31T01:30:00+00:00",
        ),
        (
            "2027-03-14 02:30 America/New_York",
            "2027-03-14T07:30:00+00:00",
        ),
        // Lord Howe moves by half an hour.
        (
            "2027-10-03 02:15 Australia/Lord_Howe",
            "2027-10-02T15:45:00+00:00",
        ),
        // A leap second is the next minute; midnight may be written as 24:00.
        ("2026-12-31 23:59:60+00", "2027-01-01T00:00:00+00:00"),
        ("2026-12-31 24:00 UTC", "2027-01-01T00:00:00+00:00"),
    ] {
        db.sql(&format!(
            "insert into crier.jobs (account, text, run_at) values ('acme', '{said}', '{said}')"
        ))
        .await;
        let kept = db
            .one(&format!(
                "select to_char(run_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') || '+00:00' as at from crier.jobs where text = '{said}'"
            ))
            .await;
        assert_eq!(kept["at"], is, "{said}");
    }
    db.drop().await;
}
