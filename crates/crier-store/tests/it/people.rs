//! Listings, pausing and kept numbers, as the command line and the exporter use them.

use crier_store::{Inserted, JobFilter, NewJob, Settlement, Totals};
use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

fn filter(states: &[&str]) -> JobFilter {
    JobFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        limit: 100,
        ..JobFilter::default()
    }
}

async fn ids(db: &Db, filter: &JobFilter) -> Vec<i64> {
    let rows = db.store.job_rows(filter).await.unwrap();
    rows.iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_trace_is_a_traceparent_or_a_trace_id_and_a_job_without_one_has_its_own() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let db = Db::new().await;
    db.account("acme", 1).await;
    let insert = |trace: &str| {
        format!("insert into crier.jobs (account, text, trace) values ('acme', 'x', '{trace}')")
    };
    for (bad, why) in [
        ("", "is neither"),
        ("4bf9", "is neither"),
        (&format!("01-{ID}-00f067aa0ba902b7-01"), "is neither"),
        (&format!("00-{ID}-00f067aa0ba902b7-01-x"), "is neither"),
        (&format!("00-{ID}-0000000000000000-01"), "an id of zeros"),
        (&"0".repeat(32), "an id of zeros"),
    ] {
        let error = db.store.run_script(&insert(bad)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{bad}: {error}");
    }
    db.sql(&insert(&format!(" {} ", ID.to_uppercase()))).await;
    db.sql(&insert(&format!("00-{ID}-00f067aa0ba902b7-00")))
        .await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'y'), ('acme', 'z')")
        .await;
    let error = db
        .store
        .run_script("update crier.jobs set trace = 'x' where id = (select min(id) from crier.jobs)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is neither"), "{error}");
    let rows = db.store.job_rows(&filter(&[])).await.unwrap();
    let mut traces = Vec::new();
    for row in rows.iter().rev() {
        let job = db.store.job(row.id).await.unwrap().unwrap();
        traces.push(job["trace_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(traces[..2], [ID, ID]);
    assert!(
        traces[2] != traces[3] && traces[2].len() == 32,
        "{traces:?}"
    );
    let own = traces[2].clone();
    db.sql("update crier.jobs set text = 'edited' where text = 'y'")
        .await;
    db.store.apply_signals(100).await.unwrap();
    let claimed = db
        .store
        .claim(Uuid::new_v4(), 10, std::time::Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(claimed[0].trace.unwrap().to_string(), ID);
    let again = db.store.job(rows[1].id).await.unwrap().unwrap();
    assert_eq!(
        again["trace_id"],
        json!(own),
        "the same whenever it is asked for"
    );
    db.drop().await;
}

#[tokio::test]
async fn jobs_are_listed_by_state_campaign_and_account() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let other = db.account("orbit", 2).await;
    db.sql(
        "insert into crier.jobs (account, text, campaign) values ('acme', 'a', 'spring'), ('orbit', 'b', 'spring'), ('acme', 'c', null);
         select crier.cancel(3)",
    )
    .await;
    assert_eq!(ids(&db, &filter(&[])).await, [3, 2, 1], "the newest first");
    assert_eq!(ids(&db, &filter(&["cancelled"])).await, [3]);
    assert_eq!(ids(&db, &filter(&["scheduled", "failed"])).await, [2, 1]);
    assert_eq!(
        ids(&db, &filter(&["scheduled') or (true"])).await,
        [0_i64; 0],
        "a word that is no state matches nothing"
    );
    let spring = JobFilter {
        campaign: Some("spring".into()),
        account: Some(other.id),
        ..filter(&[])
    };
    assert_eq!(ids(&db, &spring).await, [2]);
    let some = JobFilter {
        ids: vec![1, 3],
        limit: 1,
        ..filter(&[])
    };
    assert_eq!(ids(&db, &some).await, [3]);
    db.drop().await;
}

#[tokio::test]
async fn a_job_is_inserted_as_a_person_would_and_once_a_key() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let job = NewJob {
        account: "@ACME".into(),
        text: "hello".into(),
        run_at: Some("2031-12-01 09:00 Europe/Berlin".into()),
        dedupe_key: Some("k".into()),
        max_lateness: Some("30 minutes".into()),
        options: Some(json!({"reply_settings": "following"})),
        ..NewJob::default()
    };
    let id = match db.store.insert_job(&job).await.unwrap() {
        Inserted::New(id) => id,
        Inserted::Known(id) => panic!("job {id} is new"),
    };
    assert_eq!(
        db.store.insert_job(&job).await.unwrap(),
        Inserted::Known(id)
    );
    let row = db.store.job(id).await.unwrap().unwrap();
    assert_eq!(row["run_at"], "2031-12-01T08:00:00+00:00");
    assert_eq!(row["account"], "acme");
    let bad = NewJob {
        run_at: Some("soon".into()),
        dedupe_key: None,
        ..job
    };
    let error = db.store.insert_job(&bad).await.unwrap_err();
    assert_eq!(error.sqlstate().as_deref(), Some("22007"), "{error}");
    db.drop().await;
}

#[tokio::test]
async fn a_paused_account_waits_and_goes_on() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a')")
        .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    let reason = json!({"code": "paused"});
    db.store
        .pause_account(account.id, "paused", &reason)
        .await
        .unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    let row = db
        .store
        .account_rows(Some("@Acme"))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (row.status.as_str(), row.closed, row.waiting),
        ("paused", true, 1)
    );
    assert_eq!(row.next_at, None, "infinity is no time");
    assert_eq!(db.store.resume_account(account.id).await.unwrap(), ["acme"]);
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn resuming_an_account_resumes_its_app_but_no_account_that_a_person_paused() {
    let db = Db::new().await;
    let one = db.account("one", 1).await;
    let two = db.account("two", 2).await;
    db.account("three", 3).await;
    db.sql(
        "insert into crier.jobs (account, text) values ('one', 'a'), ('two', 'b'), ('three', 'c')",
    )
    .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    let reason = json!({"code": "credits_depleted"});
    db.store.pause_app(one.id, &reason).await.unwrap();
    db.store
        .pause_account(two.id, "paused", &json!({"code": "paused"}))
        .await
        .unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    assert_eq!(
        db.store.resume_account(one.id).await.unwrap(),
        ["one", "three"]
    );
    let claimed = db.claim(Uuid::new_v4()).await;
    let jobs: Vec<i64> = claimed.iter().map(|job| job.lease.subject).collect();
    assert_eq!(jobs, [1, 3]);
    db.drop().await;
}

/// What the kept numbers must be, by counting.
async fn counted(db: &Db) -> Totals {
    let row = db
        .one(
            "select count(*) filter (where state = 'scheduled') as scheduled, count(*) filter (where state = 'paused') as paused,
                    count(*) filter (where state = 'unknown') as unknown from crier.jobs_open",
        )
        .await;
    let number = |key: &str| row[key].as_i64().unwrap();
    Totals {
        scheduled: number("scheduled"),
        paused: number("paused"),
        unknown: number("unknown"),
        ..Totals::default()
    }
}

#[tokio::test]
async fn kept_numbers_follow_every_way_a_job_can_go() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, campaign, run_at) select 'acme', 'post ' || n, 'spring', crier.now() + interval '1 day'
           from generate_series(1, 10) n;
         insert into crier.jobs (account, text) values ('acme', 'now');
         insert into crier.jobs (account, text, dedupe_key) values ('acme', 'key', 'k');
         insert into crier.jobs (account, text, dedupe_key) values ('acme', 'key', 'k');
         select crier.pause_campaign('spring');
         select crier.cancel(1), crier.cancel(2);
         select crier.retry(2);
         delete from crier.jobs where id = 3",
    )
    .await;
    let claimed = db.claim(Uuid::new_v4()).await;
    let published = Settlement::Published {
        post_id: "77".into(),
    };
    db.store
        .settle(&claimed[0].lease, &[], &published)
        .await
        .unwrap();
    let check = async |folded: &str| {
        let kept = db.store.totals().await.unwrap();
        let open = counted(&db).await;
        assert_eq!(
            kept,
            Totals {
                inserted: 12,
                published: 1,
                // Ends are counted as they happen: a retry takes none back.
                cancelled: 2,
                ..open
            },
            "{folded}"
        );
        // The campaign is paused: job 2 came back into it.
        assert_eq!((kept.scheduled, kept.paused), (1, 8), "{folded}");
    };
    check("before").await;
    assert!(db.store.fold_totals().await.unwrap() > 3);
    assert_eq!(db.store.fold_totals().await.unwrap(), 0);
    check("after").await;
    db.sql("select crier.cancel_campaign('spring')").await;
    let kept = db.store.totals().await.unwrap();
    assert_eq!((kept.paused, kept.cancelled), (0, 10));
    db.drop().await;
}

#[tokio::test]
async fn an_open_insert_of_a_person_holds_up_neither_folding_nor_another_insert() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    // A transaction of a person that is not over yet, on a connection of its own.
    let script =
        "insert into crier.jobs (account, text) values ('acme', 'slow'); select pg_sleep(1.5)";
    let begin = std::time::Instant::now();
    let slow = db.store.run_script(script);
    let quick = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        db.sql("insert into crier.jobs (account, text) values ('acme', 'quick')")
            .await;
        db.store.fold_totals().await.unwrap();
        (db.store.totals().await.unwrap().inserted, begin.elapsed())
    };
    let (slow, (seen, took)) = tokio::join!(slow, quick);
    slow.unwrap();
    assert_eq!(seen, 1, "what is not committed is not counted");
    assert!(took < std::time::Duration::from_millis(1_400), "{took:?}");
    assert_eq!(db.store.totals().await.unwrap().inserted, 2);
    db.drop().await;
}

#[tokio::test]
async fn readings_tell_what_is_due_and_what_is_held() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, run_at, priority) values ('acme', 'old', crier.now() - interval '1 hour', 0),
           ('acme', 'urgent', crier.now() - interval '1 minute', 5), ('acme', 'later', crier.now() + interval '1 hour', 9);
         insert into crier.jobs (account, text, run_at, media) values ('acme', 'held', crier.now() - interval '2 hours', '[{\"path\": \"a.png\"}]')",
    )
    .await;
    let before = db.store.readings().await.unwrap();
    assert!(before.signals > 0);
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed.len(), 1);
    let readings = db.store.readings().await.unwrap();
    assert_eq!(readings.due, 3);
    let oldest = readings.oldest_due_s.unwrap();
    assert!((7_200.0..7_300.0).contains(&oldest), "{oldest}");
    assert_eq!(
        readings.leases,
        [("publish".to_owned(), "claimed".to_owned(), 1)]
    );
    assert_eq!(readings.accounts, [("active".to_owned(), 1)]);
    assert_eq!(readings.totals.scheduled, 4);
    let left = readings.token_expiry_s.unwrap();
    assert!((7_100.0..=7_200.0).contains(&left), "{left}");
    // A lane that a limit has closed still has due work.
    db.sql(&format!(
        "delete from crier.leases; update crier.lanes set in_flight = false, not_before = crier.now() + interval '1 hour',
           next_at = crier.now() + interval '1 hour' where account_id = {}",
        account.id
    ))
    .await;
    assert_eq!(db.store.readings().await.unwrap().due, 3);
    db.drop().await;
}
