//! What keeps the queue going by itself: missed jobs, lost wake-ups, notifications, retention.

use std::time::Duration;

use chrono::TimeDelta;
use crier_store::{SCHEDULER_CHANNEL, Store, StoreOptions, WORKER_CHANNEL, WakeUps};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

#[tokio::test]
async fn a_job_later_than_its_max_lateness_is_missed_and_says_why() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.account("other", 2).await;
    db.sql(
        "insert into crier.jobs (account, text, max_lateness, campaign) values ('acme', 'sent', '1 minute', null), ('acme', 'waits', '1 minute', null),
           ('acme', 'paused', '1 minute', 'c'), ('acme', 'patient', null, null), ('other', 'claimed', '1 minute', null);
         select crier.pause_campaign('c')",
    )
    .await;
    assert_eq!(db.store.mark_missed(10).await.unwrap(), 0);
    let mut claimed = db.claim(Uuid::new_v4()).await;
    let (sent, other) = (claimed.remove(0), claimed.remove(0));
    db.store
        .begin_sending(&sent.lease, sent.revision, TTL / 3, &[])
        .await
        .unwrap();
    let until = db.store.until_scheduler_due().await.unwrap().unwrap();
    assert!(
        until <= TimeDelta::zero(),
        "checks and signals wait: {until}"
    );
    db.advance("61 seconds").await;
    assert_eq!(db.store.mark_missed(10).await.unwrap(), 3);
    assert_eq!(db.store.mark_missed(10).await.unwrap(), 0);
    let rows = db
        .store
        .select_json("select state from crier.jobs order by id")
        .await
        .unwrap();
    let states: Vec<_> = rows.iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(
        states,
        ["scheduled", "missed", "missed", "scheduled", "missed"]
    );
    let detail = db.one("select error->>'code' as code, error->>'detail' as detail from crier.jobs where id = 3").await;
    assert_eq!(detail["code"], "missed");
    assert!(
        detail["detail"].as_str().unwrap().contains("it was paused"),
        "{detail}"
    );
    // The worker that held one of them is refused when it wants to send.
    let refused = db
        .store
        .begin_sending(&other.lease, other.revision, TTL / 3, &[])
        .await;
    assert!(refused.is_err());
    db.drop().await;
}

#[tokio::test]
async fn a_reply_whose_predecessor_ended_unseen_is_found_by_the_sweep() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) select 'acme', 'p' || n from generate_series(1, 4) n").await;
    db.sql("insert into crier.jobs (account, text, after) select 'acme', 'reply to ' || n, n from generate_series(1, 4) n").await;
    // Ended as if the replies had not been there yet: no signal told of it.
    db.sql("insert into crier.posts (post_id, job_id, account_id, published_at) values ('11', 1, 1, crier.now());
            update crier.jobs set state = 'published', post_id = '11' where id = 1;
            update crier.jobs set state = 'failed', error = '{}' where id = 2; delete from crier.jobs where id = 3; delete from crier.lane_signals")
        .await;
    let (mut released, mut failed, mut from, mut pages) = (0, 0, None, 0);
    loop {
        let sweep = db.store.sweep_held(from, 1).await.unwrap();
        (released, failed, pages) = (released + sweep.released, failed + sweep.failed, pages + 1);
        from = sweep.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((released, failed), (1, 2));
    assert!(pages > 3, "page by page");
    assert_eq!(
        db.one("select held from crier.jobs where id = 5").await["held"],
        0
    );
    let errors = db.store.select_json("select id, error->>'detail' as d from crier.jobs where state = 'failed' and id > 4 order by id").await.unwrap();
    assert_eq!(
        errors,
        [
            json!({"id": 6, "d": "this job replies to job 2, which is failed"}),
            json!({"id": 7, "d": "this job replies to job 3, which is no longer there"}),
        ]
    );
    assert_eq!(
        db.one("select state, held from crier.jobs where id = 8")
            .await,
        json!({"state": "scheduled", "held": 2})
    );
    assert_eq!(db.claim(Uuid::new_v4()).await[0].text, "p4");
    db.drop().await;
}

#[tokio::test]
async fn a_lane_that_lost_its_wake_up_is_mended() {
    let db = Db::new().await;
    for number in 1..=4 {
        db.account(&format!("a{number}"), number).await;
    }
    db.sql("insert into crier.jobs (account, text) values ('a1', 'x'), ('a2', 'x'), ('a3', 'x')")
        .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    // Lost: the time of one, the lease of another; the third has no lane at all, the fourth nothing to do.
    db.sql("update crier.lanes set next_at = null where account_id = 1; update crier.lanes set next_at = null, in_flight = true where account_id = 2;
            delete from crier.lanes where account_id = 3").await;
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    let (mut from, mut mended) = (0, 0);
    loop {
        let (n, next) = db.store.repair_lanes(from, 2).await.unwrap();
        mended += n;
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(mended, 3);
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed.len(), 3);
    // In flight with a lease is as it should be.
    assert_eq!(db.store.repair_lanes(0, 100).await.unwrap(), (0, None));
    db.drop().await;
}

#[tokio::test]
async fn the_scheduler_sleeps_until_the_next_thing_is_due() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    assert_eq!(db.store.until_scheduler_due().await.unwrap(), None);
    db.sql("insert into crier.jobs (account, text, run_at, max_lateness) values ('acme', 'x', crier.now() + interval '1 hour', '5 minutes')").await;
    assert!(db.store.until_scheduler_due().await.unwrap().unwrap() <= TimeDelta::zero());
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    db.sql("delete from crier.job_checks").await;
    let minutes = |delta: TimeDelta| delta.num_seconds().div_euclid(60) + 1;
    assert_eq!(
        minutes(db.store.until_scheduler_due().await.unwrap().unwrap()),
        65
    );
    db.sql(
        "insert into crier.recurring (name, account, cron, template) values ('r', 'acme', '@daily', '{\"text\": \"x\"}');
         update crier.recurring set next_at = crier.now() + interval '30 minutes'",
    )
    .await;
    assert_eq!(
        minutes(db.store.until_scheduler_due().await.unwrap().unwrap()),
        30
    );
    db.sql("insert into crier.leases (kind, subject, account_id, worker, expires_at) values ('stage', 1, 1, gen_random_uuid(), crier.now() + interval '10 minutes')").await;
    assert_eq!(
        minutes(db.store.until_scheduler_due().await.unwrap().unwrap()),
        10
    );
    db.drop().await;
}

/// Another process on the same database: settings of a database concern new connections only.
#[expect(
    clippy::disallowed_methods,
    reason = "the test's server is named by the script that started it"
)]
async fn again(db: &Db) -> Store {
    let url = std::env::var("CRIER_TEST_DATABASE_URL").unwrap();
    let name = db.one("select current_database() as name").await;
    let (base, _) = url.rsplit_once('/').unwrap();
    let options = StoreOptions {
        url: format!("{base}/{}", name["name"].as_str().unwrap()).into(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    };
    Store::connect(&options, None).await.unwrap()
}

#[tokio::test]
async fn notifications_wake_and_can_be_switched_off() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let soon = Duration::from_secs(5);
    let mut scheduler = db.store.listen(SCHEDULER_CHANNEL);
    let mut worker = db.store.listen(WORKER_CHANNEL);
    // Each begins with a look of its own.
    for wakes in [&mut scheduler, &mut worker] {
        tokio::time::timeout(soon, wakes.next()).await.unwrap();
    }
    let quiet = async |wakes: &mut WakeUps| {
        tokio::time::timeout(Duration::from_millis(200), wakes.next())
            .await
            .is_err()
    };
    db.store.wake_workers().await.unwrap();
    assert!(quiet(&mut worker).await, "nothing is due");
    db.sql("insert into crier.jobs (account, text) values ('acme', 'now')")
        .await;
    tokio::time::timeout(soon, scheduler.next()).await.unwrap();
    db.store.apply_signals(100).await.unwrap();
    db.store.wake_workers().await.unwrap();
    tokio::time::timeout(soon, worker.next()).await.unwrap();
    // A connection that breaks is made again, with a look for what was missed.
    db.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN \"crier_worker\"%' and datname = current_database()").await;
    tokio::time::timeout(Duration::from_secs(20), worker.next())
        .await
        .unwrap();
    db.sql("do $$ begin execute format('alter database %I set crier.notify = off', current_database()); end $$").await;
    drop((scheduler, worker));
    let (off, mut scheduler, mut worker) = {
        let off = again(&db).await;
        let listeners = (off.listen(SCHEDULER_CHANNEL), off.listen(WORKER_CHANNEL));
        (off, listeners.0, listeners.1)
    };
    for wakes in [&mut scheduler, &mut worker] {
        tokio::time::timeout(soon, wakes.next()).await.unwrap();
    }
    off.run_script("insert into crier.jobs (account, text) values ('acme', 'unheard')")
        .await
        .unwrap();
    off.wake_workers().await.unwrap();
    assert!(quiet(&mut scheduler).await && quiet(&mut worker).await);
    assert!(quiet(&mut WakeUps::never()).await);
    off.close().await;
    db.drop().await;
}

#[tokio::test]
async fn history_is_dropped_by_the_month_and_open_jobs_are_never_touched() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    // An end before there was a partition, as on a database that is older than this program.
    db.sql("insert into crier.jobs (account, text, dedupe_key) values ('acme', 'in the default', 'k'); select crier.cancel(1)").await;
    assert_eq!(
        db.store.ensure_partitions(3).await.unwrap(),
        3,
        "this month lies in the default"
    );
    assert_eq!(db.store.ensure_partitions(3).await.unwrap(), 0);
    db.advance("32 days").await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'in a partition'), ('acme', 'waits for ever')").await;
    db.sql("select crier.cancel(2)").await;
    let where_is = db
        .one("select tableoid::regclass::text as t from crier.jobs where id = 2")
        .await;
    assert!(
        where_is["t"]
            .as_str()
            .unwrap()
            .starts_with("crier.jobs_final_2"),
        "{where_is}"
    );
    assert_eq!(
        db.store.drop_history(90).await.unwrap(),
        crier_store::Dropped::default()
    );
    db.advance("130 days").await;
    let dropped = db.store.drop_history(90).await.unwrap();
    assert_eq!(dropped.rows, 1);
    assert!(!dropped.partitions.is_empty(), "{dropped:?}");
    let left = db
        .store
        .select_json("select id, state from crier.jobs order by id")
        .await
        .unwrap();
    assert_eq!(left, [json!({"id": 3, "state": "scheduled"})]);
    // The key outlives its job.
    db.sql("insert into crier.jobs (account, text, dedupe_key) values ('acme', 'again', 'k')")
        .await;
    assert_eq!(db.one("select count(*) as n from crier.jobs").await["n"], 1);
    assert!(db.store.ensure_partitions(2).await.unwrap() >= 1);
    db.drop().await;
}

#[tokio::test]
async fn old_attempts_uploads_and_workers_go_and_those_of_open_jobs_stay() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text) values ('acme', 'ended'), ('acme', 'open');
         insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, finished_at)
           select 1 + n % 2, 1, 1, n, gen_random_uuid(), 'publish', 'retry', crier.now() from generate_series(0, 4999) n;
         insert into crier.media_uploads (job_id, position, account_id, item) select j, p, 1, '{}' from generate_series(1, 2) j, generate_series(0, 1) p;
         insert into crier.leases (kind, subject, account_id, worker, expires_at)
           select 'stage', id, 1, gen_random_uuid(), crier.now() + interval '1 year' from crier.media_uploads where job_id = 1 and position = 1;
         insert into crier.workers (id, role, host, version) values (gen_random_uuid(), 'worker', 'h', '1');
         insert into crier.limit_windows (class, owner_id, endpoint, length, resets_at) values ('account', 1, 'e', '24h', crier.now());
         select crier.cancel(1)",
    )
    .await;
    assert_eq!(db.store.trim_attempts(30).await.unwrap(), 0);
    assert_eq!(db.store.trim_uploads(30).await.unwrap(), 0);
    assert_eq!(db.store.trim_workers(30).await.unwrap(), 0);
    db.advance("31 days").await;
    db.sql("insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, finished_at)
              values (1, 1, 1, 1, gen_random_uuid(), 'publish', 'retry', crier.now())").await;
    assert_eq!(db.store.trim_attempts(30).await.unwrap(), 2500);
    assert_eq!(db.store.trim_uploads(30).await.unwrap(), 1);
    assert_eq!(db.store.trim_workers(30).await.unwrap(), 2);
    let left = db.one("select (select count(*) from crier.attempts where job_id = 2) as open, (select count(*) from crier.attempts) as all,
                              (select count(*) from crier.media_uploads) as uploads").await;
    assert_eq!(left, json!({"open": 2500, "all": 2501, "uploads": 3}));
    db.drop().await;
}
