//! Guards that nothing else needs on an ordinary day: each is passed by, and each holds alone.

use std::time::Duration;

use crier_store::{Check, Expansion, Expired, Finding, NewSession, Settlement, StoreError, Why};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

const CALL: Duration = Duration::from_secs(10);

fn why(code: &str) -> Why {
    Why {
        code: code.to_owned(),
        http_status: None,
        error: json!({"code": code, "title": "no", "detail": "", "step": "publish", "hint": ""}),
    }
}

/// A database with a job for each of so many accounts.
async fn jobs(accounts: u32) -> Db {
    let db = Db::new().await;
    for number in 1..=accounts {
        db.account(&format!("a{number}"), number).await;
        db.sql(&format!(
            "insert into crier.jobs (account, text) values ('a{number}', 'x')"
        ))
        .await;
    }
    db
}

#[tokio::test]
async fn a_lease_is_renewed_by_its_worker_while_it_holds_and_by_nobody_else() {
    let db = jobs(1).await;
    let worker = Uuid::new_v4();
    let token = db.claim(worker).await.remove(0).lease.token;
    let renew = async |who| db.store.renew(who, &[token], TTL).await.unwrap();
    assert_eq!(renew(Uuid::new_v4()).await, [0_i64; 0]);
    assert_eq!(renew(worker).await, [token]);
    db.advance("31 seconds").await;
    assert_eq!(renew(worker).await, [0_i64; 0], "it has run out");
    db.drop().await;
}

#[tokio::test]
async fn an_intent_is_recorded_once_a_lease() {
    let db = jobs(1).await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    let begin = async || {
        db.store
            .begin_sending(&job.lease, job.revision, CALL, &[])
            .await
    };
    begin().await.unwrap();
    let again = begin().await;
    assert!(
        matches!(again, Err(StoreError::LeaseLost { .. })),
        "{again:?}"
    );
    assert_eq!(db.store.ledger(1).await.unwrap().len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn what_changed_after_the_claim_is_not_sent_whatever_its_revision_says() {
    let db = jobs(3).await;
    let claimed = db.claim(Uuid::new_v4()).await;
    // As a version would write it that does not count revisions.
    db.sql(
        "alter table crier.jobs_open disable trigger jobs_before_update;
         update crier.jobs_open set state = 'paused' where id = 1;
         update crier.jobs_open set held = 2 where id = 2;
         update crier.jobs_open set revision = revision + 1 where id = 3",
    )
    .await;
    for job in &claimed {
        let begun = db
            .store
            .begin_sending(&job.lease, job.revision, CALL, &[])
            .await;
        assert!(
            matches!(begun, Err(StoreError::JobChanged { .. })),
            "{begun:?}"
        );
    }
    db.drop().await;
}

#[tokio::test]
async fn an_intent_names_only_files_that_are_ready_and_outlive_the_call() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        r#"insert into crier.jobs (account, text, media) values ('acme', 'x', '[{"path": "a.png"}]')"#,
    )
    .await;
    db.store.plan_uploads(1, CALL).await.unwrap();
    db.sql(
        "update crier.media_uploads set state = 'ready', media_id = '7', next_at = crier.now() + interval '1 hour', expires_at = crier.now() + interval '1 hour';
         update crier.jobs_open set held = 0",
    )
    .await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    for (off, on) in [
        (
            "expires_at = crier.now() + interval '5 seconds'",
            "expires_at = crier.now() + interval '1 hour'",
        ),
        ("state = 'processing'", "state = 'ready'"),
    ] {
        db.sql(&format!("update crier.media_uploads set {off}"))
            .await;
        let begun = db
            .store
            .begin_sending(&job.lease, job.revision, CALL, &["7".to_owned()])
            .await;
        assert!(
            matches!(begun, Err(StoreError::JobChanged { .. })),
            "{off}: {begun:?}"
        );
        db.sql(&format!("update crier.media_uploads set {on}"))
            .await;
    }
    db.store
        .begin_sending(&job.lease, job.revision, CALL, &["7".to_owned()])
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn an_upload_whose_lease_has_run_out_keeps_nothing_more() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        r#"insert into crier.jobs (account, text, media) values ('acme', 'x', '[{"path": "a.png"}]')"#,
    )
    .await;
    db.store.plan_uploads(1, CALL).await.unwrap();
    let upload = db
        .store
        .claim_uploads(Uuid::new_v4(), 9, TTL, CALL)
        .await
        .unwrap()
        .remove(0);
    db.advance("31 seconds").await;
    let session = NewSession {
        media_id: "7".into(),
        media_type: "image/png".into(),
        category: "tweet_image".into(),
        total_bytes: 9,
        file_stamp: "9:9".into(),
        segment_bytes: None,
        expires_in_s: None,
    };
    let saved = db.store.save_session(&upload, &session, TTL).await;
    assert!(
        matches!(saved, Err(StoreError::LeaseLost { .. })),
        "{saved:?}"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_lease_that_is_left_because_of_a_lock_does_not_stand_before_the_others() {
    let db = jobs(2).await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 2);
    db.advance("31 seconds").await;
    let store = db.store.clone();
    let holder = tokio::spawn(async move {
        store
            .run_script(
                "select 1 from crier.lanes where account_id = 1 for update; select pg_sleep(2)",
            )
            .await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut taken = Expired::default();
    // One at a time, and chance decides which.
    for _ in 0..60 {
        taken = db.store.expire_leases(1).await.unwrap();
        if taken.claimed > 0 {
            break;
        }
    }
    assert_eq!(taken.claimed, 1);
    assert!(!holder.is_finished(), "the other one was taken");
    holder.await.unwrap().unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_signal_of_an_account_that_is_gone_harms_no_other() {
    let db = jobs(1).await;
    db.sql("insert into crier.lane_signals (account_id, due_at) values (99, crier.now())")
        .await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn an_end_written_beside_the_call_is_never_taken_back_by_its_outcome() {
    // As a process would that writes an end without regard to the call.
    let off = "alter table crier.jobs_open disable trigger jobs_before_update;
               alter table crier.jobs_open disable trigger jobs_stand_while_sent;";
    let outcomes = [
        Settlement::Failed(why("refused")),
        Settlement::Retry {
            after: CALL,
            why: why("later"),
        },
        Settlement::Snoozed {
            until: None,
            why: why("later"),
        },
        Settlement::Unknown {
            look_after: CALL,
            why: why("no_answer"),
        },
    ];
    for outcome in outcomes {
        let db = jobs(1).await;
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        db.store
            .begin_sending(&job.lease, job.revision, CALL, &[])
            .await
            .unwrap();
        db.sql(&format!(
            "{off} update crier.jobs set state = 'cancelled', finished_at = crier.now() where id = 1"
        ))
        .await;
        let published = Settlement::Published {
            post_id: "7".into(),
        };
        let said = db.store.settle(&job.lease, &[], &published).await;
        assert!(
            matches!(said, Err(StoreError::JobChanged { job: 1 })),
            "{said:?}"
        );
        db.store.settle(&job.lease, &[], &outcome).await.unwrap();
        assert_eq!(db.state(1).await, "cancelled", "{outcome:?}");
        db.drop().await;
    }
}

#[tokio::test]
async fn whatever_somebody_holds_keeps_nobody_waiting() {
    let db = jobs(1).await;
    let (store, nobody) = (&db.store, Uuid::nil());
    while store.apply_signals(9).await.unwrap() > 0 {}
    // Something of every kind that is due, or was left by the dead.
    db.sql(
        r#"insert into crier.jobs (account, text, media) values ('a1', 'x', '[{"path": "a.png"}, {"path": "b.png"}]'), ('a1', 'y', '[]');
           insert into crier.jobs (account, text, after, max_lateness) values ('a1', 'reply', 3, null), ('a1', 'late', null, '0');
           insert into crier.recurring (name, account, cron, template) values ('r', 'a1', '0 9 * * *', '{"text": "x"}')"#,
    )
    .await;
    store.plan_uploads(2, CALL).await.unwrap();
    db.sql(
        "update crier.jobs set state = 'unknown' where id = 3;
         insert into crier.reconciles (job_id, account_id, attempt_id, since, next_at) values (3, 1, 1, crier.now(), crier.now());
         insert into crier.leases (kind, subject, account_id, worker, expires_at)
           select k, s, 1, '00000000-0000-0000-0000-000000000000', crier.now() - interval '1 minute'
             from (values ('publish', 1), ('stage', 2), ('reconcile', 3)) as l(k, s);
         update crier.apps set status = 'paused', probe_at = crier.now();
         update crier.accounts set status = 'suspended', probe_at = crier.now()",
    )
    .await;
    db.advance("1 second").await;
    let (checks, row) = (
        store.due_checks(9).await.unwrap(),
        store.due_recurring(9).await.unwrap().remove(0),
    );
    let warning = Finding::Warn {
        warning: json!({"code": "odd"}),
        again: None,
    };
    let findings: Vec<(&Check, Finding)> = checks.iter().map(|c| (c, warning.clone())).collect();
    let other = db.store.clone();
    let holder = tokio::spawn(async move {
        other
            .run_script(
                "select 1 from crier.jobs_open for update; select 1 from crier.lanes for update; select 1 from crier.lane_signals for update;
                 select 1 from crier.media_uploads for update; select 1 from crier.reconciles for update; select 1 from crier.recurring for update;
                 select 1 from crier.leases where kind <> 'publish' for update;
                 select 1 from crier.apps for no key update; select 1 from crier.accounts for no key update; select pg_sleep(4)",
            )
            .await
    });
    let held = async || {
        let free = db
            .one("select count(*) from (select 1 from crier.accounts for no key update skip locked) f")
            .await;
        free["count"] == 0
    };
    while !held().await && !holder.is_finished() {}
    // Each would give up after two seconds with an error if it waited for any of it.
    store.apply_signals(9).await.unwrap();
    store.claim(nobody, 9, TTL).await.unwrap();
    store.claim_uploads(nobody, 9, TTL, CALL).await.unwrap();
    store.claim_reconciles(nobody, 9, TTL).await.unwrap();
    store.expire_leases(9).await.unwrap();
    store.expire_stage_leases(9).await.unwrap();
    store.expire_reconcile_leases(9).await.unwrap();
    store.mark_missed(9).await.unwrap();
    store.sweep_held(None, 9).await.unwrap();
    store.repair_lanes(0, 9).await.unwrap();
    store.settle_checks(&findings).await.unwrap();
    store.claim_probe().await.unwrap();
    store
        .expand_recurring(&row, &Expansion::default())
        .await
        .unwrap();
    holder.await.unwrap().unwrap();
    db.drop().await;
}
