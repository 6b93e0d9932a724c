//! What people's sessions and settings do to crier's: locks, snapshots, limits, and migrations that meet.

use std::time::Duration;

use crier_store::{Pooler, Settlement, Store, StoreError, StoreOptions, Way};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::db::{Db, TTL};

/// A session of a person, in a transaction.
async fn person(db: &Db, begin: &str) -> PgConnection {
    let mut session = PgConnection::connect(&db.url()).await.unwrap();
    say(&mut session, begin).await;
    session
}

async fn say(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(session)
        .await
        .unwrap();
}

async fn pid(session: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(session)
        .await
        .unwrap()
}

async fn publish(db: &Db, worker: Uuid, post: &str) {
    for job in db.claim(worker).await {
        db.store
            .begin_sending(&job.lease, job.revision, TTL / 3, &[])
            .await
            .unwrap();
        let post_id = format!("{post}{}", job.lease.subject);
        db.store
            .settle(&job.lease, &[], &Settlement::Published { post_id })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_row_that_a_person_holds_stops_its_job_alone_and_it_is_told_who_holds_it() {
    let db = Db::new().await;
    for (handle, number) in [("acme", 1), ("other", 2)] {
        db.account(handle, number).await;
    }
    db.sql("insert into crier.jobs (account, text) values ('acme', 'held'), ('other', 'free')")
        .await;
    let mut holder = person(&db, "begin; set application_name = 'psql of Ann'").await;
    say(
        &mut holder,
        "select from crier.jobs where id = 1 for update",
    )
    .await;
    let worker = Uuid::new_v4();
    let claimed = db.claim(worker).await;
    assert_eq!(claimed.len(), 2, "a lane is not a job");
    let (held, free) = (&claimed[0], &claimed[1]);
    let waits = {
        let (store, job) = (db.store.clone(), held.clone());
        tokio::spawn(async move {
            store
                .begin_sending(&job.lease, job.revision, TTL / 3, &[])
                .await
        })
    };
    db.store
        .begin_sending(&free.lease, free.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.store
        .settle(
            &free.lease,
            &[],
            &Settlement::Published {
                post_id: "1".into(),
            },
        )
        .await
        .unwrap();
    // However young, who blocks somebody now is told of.
    let pid = pid(&mut holder).await;
    let begin = std::time::Instant::now();
    loop {
        let holders = db.store.holders(Duration::from_hours(1)).await.unwrap();
        if let [holder] = &holders[..] {
            assert_eq!((holder.pid, holder.waiting, holder.locks), (pid, 1, true));
            assert_eq!(holder.application_name, "psql of Ann");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{holders:?}");
    }
    // Nothing is sent of a row that somebody may be editing; its lane tries it again.
    let refused = waits.await.unwrap();
    assert!(
        matches!(refused, Err(StoreError::JobChanged { job: 1 })),
        "{refused:?}"
    );
    let old = db.store.holders(Duration::ZERO).await.unwrap();
    assert_eq!((old[0].pid, old[0].waiting), (pid, 0), "nobody waits now");
    say(&mut holder, "rollback").await;
    assert_eq!(db.store.holders(Duration::ZERO).await.unwrap(), []);
    db.store
        .begin_sending(&held.lease, held.revision, TTL / 3, &[])
        .await
        .unwrap();
    holder.close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_table_that_a_person_locks_delays_all_and_is_told_in_words() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'waits')")
        .await;
    while db.store.apply_signals(1000).await.unwrap() > 0 {}
    let mut holder = person(&db, "begin; lock table crier.jobs").await;
    let worker = Uuid::new_v4();
    let error = db.store.claim(worker, 10, TTL).await.unwrap_err();
    assert_eq!(error.sqlstate().as_deref(), Some("55P03"), "{error}");
    assert!(error.is_outage() && error.advice().unwrap().contains("crier doctor"));
    say(&mut holder, "commit").await;
    publish(&db, worker, "1").await;
    assert_eq!(db.state(1).await, "published");
    holder.close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn limits_of_the_database_cut_no_statement_of_crier_off() {
    let db = Db::new().await;
    let name = db.one("select current_database() as name").await;
    let name = name["name"].as_str().unwrap();
    for setting in [
        "statement_timeout = '20ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "idle_session_timeout = '100ms'",
        "default_transaction_isolation = 'serializable'",
    ] {
        db.sql(&format!("alter database {name} set {setting}"))
            .await;
    }
    let other = db.connect().await;
    let session = "select current_setting('lock_timeout') as lock, current_setting('transaction_isolation') as level, pg_sleep(0.2)";
    let said = other.select_json(session).await.unwrap().remove(0);
    assert_eq!(
        (&said["lock"], &said["level"]),
        (&"2s".into(), &"read committed".into())
    );
    let sessions = "select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'";
    let before = other.select_json(sessions).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = db.store.select_json(sessions).await.unwrap();
    assert!(
        before.iter().all(|session| after.contains(session)),
        "an idle session was ended: {before:?} {after:?}"
    );
    other.close().await;
    db.drop().await;
}

#[tokio::test]
async fn migrations_of_two_hosts_wait_for_each_other_and_for_who_holds_a_table() {
    let db = Db::new().await;
    let versions = "select count(*) as n, max(version) as last from public._sqlx_migrations";
    let before = db.one(versions).await;
    db.sql("drop schema crier cascade; delete from public._sqlx_migrations")
        .await;
    // Longer than a statement waits for a lock.
    let mut holder = person(
        &db,
        "begin; lock table public._sqlx_migrations in access exclusive mode",
    )
    .await;
    let hosts: Vec<_> = (0..3)
        .map(|_| {
            let store = db.store.clone();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    say(&mut holder, "commit").await;
    let mut reached = Vec::new();
    for host in hosts {
        reached.push(host.await.unwrap().unwrap());
    }
    assert_eq!(db.one(versions).await, before);
    assert_eq!(reached, [before["last"].as_i64().unwrap(); 3]);
    db.account("acme", 1).await;
    holder.close().await.unwrap();
    db.drop().await;
}

/// The login `crier` finds the schema `crier` in front of its path, as anyone does to whom the database's settings give it.
#[tokio::test]
async fn the_history_of_migrations_is_found_whatever_the_path_of_the_login() {
    let db = Db::new().await;
    let versions = "select count(*) as n, max(version) as last from public._sqlx_migrations";
    let before = db.one(versions).await;
    let name = db.one("select current_database() as name").await["name"].clone();
    let name = name.as_str().unwrap();
    db.sql(&format!(
        "alter database {name} set search_path = crier, public"
    ))
    .await;
    let other = db.connect().await;
    other.migrate().await.unwrap();
    other.close().await;
    assert_eq!(db.one(versions).await, before);
    let second = "select to_regclass('crier._sqlx_migrations') is not null as there";
    assert_eq!(db.one(second).await["there"], false);
    db.drop().await;
}

/// A way to the server that can be made to carry nothing more, without a word: what was open stays open.
struct Cable {
    url: String,
    silent: watch::Sender<bool>,
}

impl Cable {
    async fn to(url: &str) -> Self {
        let (base, name) = url.rsplit_once('/').unwrap();
        let (user, server) = base.rsplit_once('@').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{user}@{}/{name}", listener.local_addr().unwrap());
        let (silent, hears) = watch::channel(false);
        let server = server.to_owned();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&server).await.unwrap();
                let mut hears = hears.clone();
                tokio::spawn(async move {
                    let silenced = async { hears.wait_for(|silent| *silent).await.is_ok() };
                    let silenced = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => false,
                        silenced = silenced => silenced,
                    };
                    if silenced {
                        // Both ends are held open.
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { url, silent }
    }
}

#[tokio::test]
async fn a_server_that_vanishes_without_a_word_is_not_waited_for_and_costs_no_connection() {
    let db = Db::new().await;
    let cable = Cable::to(&db.url()).await;
    let store = db.connect_at(cable.url.clone()).await;
    let hang = || {
        let store = store.clone();
        tokio::spawn(async move { store.select_json("select pg_sleep(5)").await })
    };
    // Every connection that the pool may have.
    let hanging: Vec<_> = (0..6).map(|_| hang()).collect();
    let begin = std::time::Instant::now();
    while db
        .one("select count(*) as n from pg_stat_activity where datname = current_database() and query ilike '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()")
        .await["n"]
        != 6
    {
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
    cable.silent.send(true).unwrap();
    // Some are given up by whoever asked, as a page that takes too long.
    for (n, hanging) in hanging.into_iter().enumerate() {
        if n % 2 == 0 {
            hanging.abort();
            continue;
        }
        let error = tokio::time::timeout(Duration::from_mins(1), hanging)
            .await
            .expect("it gives up by itself")
            .unwrap()
            .unwrap_err();
        assert!(error.is_outage(), "{error}");
        assert!(error.to_string().contains("no answer within"), "{error}");
    }
    cable.silent.send(false).unwrap();
    let again: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.now().await })
        })
        .collect();
    for one in again {
        one.await.unwrap().unwrap();
    }
    store.close().await;
    db.drop().await;
}

/// Pages that the front of the lanes costs.
async fn pages(session: &mut PgConnection) -> i64 {
    let plan: serde_json::Value = sqlx::query_scalar(
        "explain (analyze, buffers, format json)
         select account_id from crier.lanes where next_at <= crier.now() order by next_at limit 16 for update skip locked",
    )
    .fetch_one(session)
    .await
    .unwrap();
    let plan = &plan[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

#[tokio::test]
async fn a_snapshot_that_is_held_for_long_does_not_make_claims_slow() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 100) n")
        .await;
    let dump = person(&db, "begin isolation level repeatable read; select 1").await;
    let mut looker = PgConnection::connect(&db.url()).await.unwrap();
    let worker = Uuid::new_v4();
    let mut costs = Vec::new();
    costs.push(pages(&mut looker).await);
    for _ in 0..100 {
        publish(&db, worker, "9").await;
        costs.push(pages(&mut looker).await);
    }
    // A dead version of the lane a post at most, two to a page and no more.
    let most = costs.iter().max().copied().unwrap();
    assert!(most <= costs[0] + 50, "{costs:?}");
    let published = db
        .one("select count(*) as n from crier.jobs where state = 'published'")
        .await;
    assert_eq!(published["n"], 100);
    let snapshot = db.store.holders(Duration::ZERO).await.unwrap();
    assert_eq!(snapshot.len(), 1);
    assert!(!snapshot[0].locks, "it only reads");
    assert!(db.store.readings().await.unwrap().oldest_transaction_s > 0.0);
    dump.close().await.unwrap();
    looker.close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_session_that_takes_no_writes_is_not_used_again() {
    let db = Db::new().await;
    let name = db.one("select current_database() as name").await["name"].clone();
    let name = name.as_str().unwrap();
    db.sql(&format!(
        "alter database {name} set default_transaction_read_only = on"
    ))
    .await;
    // Its sessions are of that time; those to come are not.
    let (other, asks) = (db.connect().await, db.connect().await);
    db.sql(&format!(
        "alter database {name} reset default_transaction_read_only"
    ))
    .await;
    let refused = other.redate_leases().await.expect_err("read-only");
    assert_eq!(refused.sqlstate().as_deref(), Some("25006"));
    assert!(!asks.takes_writes().await.unwrap());
    // Each session of that time is tried once at most: the pool has no more than these.
    let (mut written, mut asked) = (false, false);
    for _ in 0..5 {
        written = written || other.redate_leases().await.is_ok();
        asked = asked || asks.takes_writes().await.unwrap();
    }
    assert!(written, "another session");
    assert!(asked, "another session");
    other.close().await;
    asks.close().await;
    db.drop().await;
}

#[tokio::test]
async fn behind_a_pooler_each_transaction_has_the_limits_of_a_session() {
    let db = Db::new().await;
    let options = StoreOptions {
        url: db.url().into(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier test".into(),
    };
    let way = Way {
        pooler: Pooler::Transaction,
        direct_url: None,
    };
    let pooled = Store::connect_by(&options, &way, None).await.unwrap();
    let limits = "select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
                         current_setting('idle_in_transaction_session_timeout') as idle, current_setting('jit') as jit,
                         current_setting('transaction_isolation') as isolation";
    for store in [&db.store, &pooled] {
        assert_eq!(
            store.select_json(limits).await.unwrap(),
            [
                json!({"statement": "15s", "lock": "2s", "idle": "15s", "jit": "off", "isolation": "read committed"})
            ]
        );
    }
    pooled.close().await;
    db.drop().await;
}
