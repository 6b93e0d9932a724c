//! What a row may hold at most, and that a row beyond it harms nobody else; what PUBLIC may call.

use std::time::Duration;

use crier_store::{Finding, JobFilter, Settlement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, TTL};

const HUGE: &str = r#"{"geo":{"place_id":1e999}}"#;
const HUGE_OWNER: &str = r#"[{"path":"p.png","additional_owners":[1e999]}]"#;

/// Lets rows in that the bounds refuse.
const WITHOUT_BOUNDS: &str = "alter table crier.jobs_open disable trigger jobs_a_bounds;
    alter table crier.jobs_open disable trigger jobs_a_bounds_edited;
    alter table crier.recurring disable trigger recurring_a_bounds;";

#[tokio::test]
async fn an_edit_is_held_to_the_same_bounds_and_a_row_beyond_them_can_still_end() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'good'); insert into crier.recurring (name, account, cron, template) values ('r', 'acme', '0 9 * * *', '{\"text\": \"x\"}')")
        .await;
    let number = format!("options = '{HUGE}'");
    for (edit, expected) in [
        ("run_at = '20261-12-01'", "run_at is in the year 20261"),
        ("run_at = '-infinity'", "run_at must be an instant"),
        (
            "next_attempt_at = 'infinity'",
            "next_attempt_at must be an instant",
        ),
        (
            "next_attempt_at = '280000-01-01'",
            "next_attempt_at is in the year 280000",
        ),
        ("max_lateness = '101 years'", "at most 100 years"),
        ("max_lateness = '-1 second'", "must not be negative"),
        (number.as_str(), "options holds the number"),
    ] {
        let (message, hint) = db.refused(&format!("update crier.jobs set {edit}")).await;
        assert!(message.contains(expected) && !hint.is_empty(), "{message}");
    }
    for (edit, expected) in [
        ("starts_at = 'infinity'", "starts_at must be an instant"),
        (
            "starts_at = '0044-03-15 BC'",
            "starts_at is in the year 44 BC",
        ),
        ("ends_at = '-infinity'", "ends_at must be an instant"),
        ("ends_at = '280000-01-01'", "ends_at is in the year 280000"),
    ] {
        let (message, hint) = db
            .refused(&format!("update crier.recurring set {edit}"))
            .await;
        assert!(message.contains(expected) && !hint.is_empty(), "{message}");
    }
    db.sql("update crier.recurring set starts_at = '-infinity', ends_at = 'infinity'")
        .await;
    let bounds = db
        .one("select starts_at, ends_at from crier.recurring")
        .await;
    assert_eq!(bounds, json!({"starts_at": null, "ends_at": null}));
    // The bounds themselves are within.
    db.sql("update crier.jobs set run_at = '9999-12-31 23:59:59+00', max_lateness = '100 years', next_attempt_at = '2000-01-01 00:00+00'").await;
    db.sql(&format!("{WITHOUT_BOUNDS} update crier.jobs set run_at = '280000-01-01', options = '{HUGE}'; alter table crier.jobs_open enable trigger all"))
        .await;
    db.sql("select crier.cancel(1)").await;
    let (message, _) = db.refused("select crier.retry(1)").await;
    assert!(message.contains("280000"), "{message}");
    db.drop().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_harms_only_itself() {
    let db = Db::new().await;
    let handles = ["number", "deep", "far", "past", "good"];
    for (number, handle) in (1..).zip(handles) {
        db.account(handle, number).await;
    }
    let deep = "('{\"geo\":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb";
    db.sql(&format!(
        "{WITHOUT_BOUNDS}
         insert into crier.jobs (account, text, options) values ('number', 'x', '{HUGE}'), ('deep', 'x', {deep});
         insert into crier.jobs (account, text, run_at, next_attempt_at) values ('far', 'x', '280000-01-01', null), ('past', 'x', '0044-03-15 BC', null);
         insert into crier.jobs (account, text, after) values ('good', 'x', null);
         insert into crier.jobs (account, text, run_at) values ('far', 'never', '20261-12-01'), ('far', 'never', '290000-12-01');
         insert into crier.jobs (account, media) values ('number', '{HUGE_OWNER}');
         insert into crier.recurring (name, account, cron, template, starts_at, ends_at) values
           ('r', 'good', '0 9 * * *', '{{\"text\": \"x\"}}', '0044-03-15 BC', '280000-01-01')"
    ))
    .await;
    // Put off to a nearer time.
    db.sql("update crier.jobs set next_attempt_at = crier.now() where id = 3")
        .await;
    // Checks: each row for itself.
    let due = db.store.due_checks(100).await.unwrap();
    assert_eq!(due.len(), 8);
    let unread = |job: i64| {
        let draft = due.iter().find(|c| c.job == job).unwrap().draft.as_ref();
        let draft = draft.unwrap();
        (draft.options.is_err(), draft.media.is_err())
    };
    assert_eq!(
        [1, 2, 5, 8].map(unread),
        [(true, false), (true, false), (false, false), (false, true)]
    );
    let fine: Vec<_> = due.iter().map(|check| (check, Finding::Fine)).collect();
    db.store.settle_checks(&fine).await.unwrap();
    // Claims: five lanes, two of them with a fault in place of their options.
    let claimed = db.claim(Uuid::new_v4()).await;
    let read: Vec<_> = claimed
        .iter()
        .map(|c| (c.lease.subject, c.options.is_ok()))
        .collect();
    assert_eq!(
        read,
        [(1, false), (2, false), (3, true), (4, true), (5, true)]
    );
    let fault = claimed[0].options.as_ref().unwrap_err();
    assert_eq!(fault.code, "options_invalid");
    let published = |id: &str| Settlement::Published { post_id: id.into() };
    for (job, id) in [(&claimed[2], "33"), (&claimed[4], "55")] {
        db.store
            .begin_sending(&job.lease, job.revision, Duration::from_secs(1), &[])
            .await
            .unwrap();
        db.store
            .settle(&job.lease, &[], &published(id))
            .await
            .unwrap();
    }
    // Uploads.
    db.store
        .plan_uploads(8, Duration::from_mins(30))
        .await
        .unwrap();
    let uploads = db
        .store
        .claim_uploads(Uuid::new_v4(), 10, TTL, Duration::from_mins(30))
        .await
        .unwrap();
    assert_eq!(uploads.len(), 1);
    assert!(uploads[0].item.is_err());
    // Listings and recurring posts.
    let filter = JobFilter {
        limit: 100,
        ..JobFilter::default()
    };
    let rows = db.store.job_rows(&filter).await.unwrap();
    assert_eq!(rows.len(), 8);
    assert!(matches!(&rows[0].media, Value::String(text) if text.contains("p.png")));
    let job = db.store.job(1).await.unwrap().unwrap();
    assert!(job["options"].is_string() && job["media"] == json!([]));
    assert_eq!(db.store.account_rows(None).await.unwrap().len(), 5);
    assert_eq!(db.store.due_recurring(10).await.unwrap().len(), 1);
    // Searches.
    db.sql("update crier.jobs_open set state = 'unknown' where id in (1, 4);
            insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, started_at, sent_at, finished_at)
              select id, account_id, 1, 1, gen_random_uuid(), 'publish', 'unknown', crier.now(), crier.now(), crier.now() from crier.jobs_open where id in (1, 4);
            insert into crier.reconciles (job_id, account_id, attempt_id, since, next_at)
              select job_id, account_id, id, sent_at, crier.now() from crier.attempts where job_id in (1, 4) and outcome = 'unknown'")
        .await;
    let mut looks = db
        .store
        .claim_reconciles(Uuid::new_v4(), 10, TTL)
        .await
        .unwrap();
    looks.sort_by_key(|look| look.lease.subject);
    let read: Vec<_> = looks.iter().map(|look| look.options.is_ok()).collect();
    assert_eq!(read, [false, true]);
    db.drop().await;
}

#[tokio::test]
async fn the_isolation_level_of_the_database_is_not_that_of_crier() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    for level in ["repeatable read", "serializable"] {
        db.sql(&format!("do $$ begin execute format('alter database %I set default_transaction_isolation = %L', current_database(), '{level}'); end $$"))
            .await;
        let store = db.connect().await;
        store
            .run_script("insert into crier.jobs (account, text) values ('acme', 'x')")
            .await
            .unwrap();
        store
            .run_script("select crier.cancel(max(id)) from crier.jobs")
            .await
            .unwrap();
        store.close().await;
    }
    db.drop().await;
}

#[tokio::test]
async fn public_may_call_nothing_and_every_function_of_the_owner_names_its_search_path() {
    let db = Db::new().await;
    let functions = "from pg_proc p where p.pronamespace = 'crier'::regnamespace";
    let open = db
        .store
        .select_json(&format!(
            "select p.oid::regprocedure::text as function {functions}
                and (p.proacl is null or exists (select 1 from aclexplode(p.proacl) a where a.grantee = 0))"
        ))
        .await
        .unwrap();
    assert_eq!(open, Vec::<Value>::new());
    let lost = db
        .store
        .select_json(&format!(
            "select p.oid::regprocedure::text as function {functions} and p.prosecdef
                and not exists (select 1 from unnest(p.proconfig) c where c like 'search_path=%')"
        ))
        .await
        .unwrap();
    assert_eq!(lost, Vec::<Value>::new());
    let count = db
        .one(&format!(
            "select count(*) > 20 as many, count(*) filter (where p.prosecdef) > 10 as owners {functions}"
        ))
        .await;
    assert_eq!(count, json!({"many": true, "owners": true}));
    db.drop().await;
}
