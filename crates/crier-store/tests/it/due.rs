//! What is due and not out, the most late first; and that ranges of `run_at` are read along an index.

use std::time::Duration;

use crier_store::DueFilter;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::db::{Db, OWN_KEY};

fn all() -> DueFilter {
    DueFilter {
        limit: 100,
        ..DueFilter::default()
    }
}

async fn ids(db: &Db, filter: &DueFilter) -> Vec<i64> {
    let rows = db.store.due_rows(filter).await.unwrap();
    rows.iter().map(|row| row.job.id).collect()
}

#[tokio::test]
async fn what_is_due_comes_the_most_late_first_with_what_it_waits_for() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let orbit = db.account("orbit", 2).await;
    db.sql(
        "insert into crier.jobs (account, text, run_at, campaign, media) values
           ('acme', 'in hand', crier.now() - interval '1 minute', null, '[]'),
           ('acme', 'behind it', crier.now(), null, '[]'),
           ('acme', 'of a paused campaign', crier.now() - interval '1 hour', 'spring', '[]'),
           ('orbit', 'with a picture', crier.now() - interval '2 hours', 'summer', '[{\"path\": \"a.png\"}]'),
           ('acme', 'not yet', crier.now() + interval '1 minute', null, '[]'),
           ('orbit', 'over', crier.now() - interval '3 hours', null, '[]');
         insert into crier.jobs (account, text, run_at, after) select 'orbit', 'a reply', run_at + interval '1 second', id from crier.jobs where id = 4;
         insert into crier.jobs (account, text, run_at) values ('orbit', 'unknown', crier.now() - interval '3 hours');
         update crier.jobs set state = 'unknown' where id = 8;
         select crier.cancel(6);
         select crier.pause_campaign('spring')",
    )
    .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed[0].lease.subject, 1);
    let rows = db.store.due_rows(&all()).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.job.id,
                row.in_hand,
                row.awaits_media,
                row.awaits_job,
                row.campaign_paused,
                row.behind,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (8, false, false, None, false, None),
            (4, false, true, None, false, None),
            (7, false, false, Some(4), false, None),
            (3, false, false, None, true, Some(1)),
            (1, true, false, None, false, None),
            (2, false, false, None, false, Some(1)),
        ]
    );
    assert!((10_800.0..10_900.0).contains(&rows[0].late_s), "{rows:?}");
    assert_eq!(
        ids(
            &db,
            &DueFilter {
                account: Some(orbit.id),
                ..all()
            }
        )
        .await,
        [8, 4, 7]
    );
    assert_eq!(
        ids(
            &db,
            &DueFilter {
                campaign: Some("spring".into()),
                ..all()
            }
        )
        .await,
        [3]
    );
    assert_eq!(ids(&db, &DueFilter { limit: 2, ..all() }).await, [8, 4]);
    db.drop().await;
}

/// How a plan reads tables: the names of its indexes, and `Seq Scan`.
fn reads(plan: &Value, found: &mut Vec<String>) {
    match (plan["Index Name"].as_str(), plan["Node Type"].as_str()) {
        (Some(index), _) => found.push(index.to_owned()),
        (None, Some("Seq Scan")) => found.push("Seq Scan".to_owned()),
        _ => {}
    }
    for inner in plan["Plans"].as_array().into_iter().flatten() {
        reads(inner, found);
    }
}

#[tokio::test]
async fn ranges_of_run_at_are_read_along_their_index_whatever_else_waits() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, run_at, campaign)
           select 'acme', 'post ' || n, crier.now() + (n - 100) * interval '10 minutes', case when n % 2 = 0 then 'spring' end from generate_series(1, 5000) n;
         select crier.pause_campaign('spring')",
    )
    .await;
    // Only outside a transaction.
    db.store
        .run_outside_transaction("analyze crier.jobs_open")
        .await
        .unwrap();
    let mut session = PgConnection::connect(&db.url()).await.unwrap();
    // The recipes of docs/SQL.md.
    let page = include_str!("../../../../docs/SQL.md");
    let recipes = page.split("```sql").skip(1).flat_map(|block| {
        let block = block.split("```").next().unwrap();
        block.split_inclusive(';').map(|one| {
            let lines = one.lines().filter(|line| !line.starts_with("--"));
            lines.collect::<Vec<_>>().join("\n")
        })
    });
    let ranges: Vec<String> = recipes
        .filter(|one| {
            one.trim_start().starts_with("select") && one.contains("state = 'scheduled' and run_at")
        })
        .collect();
    assert_eq!(ranges.len(), 3, "{ranges:#?}");
    for range in ranges {
        let explain = sqlx::AssertSqlSafe(format!("explain (format json) {range}"));
        let plan: Value = sqlx::query_scalar(explain)
            .fetch_one(&mut session)
            .await
            .unwrap();
        let mut found = Vec::new();
        reads(&plan[0]["Plan"], &mut found);
        assert_eq!(found, ["jobs_open_run_at"], "{range}\n{plan:#}");
    }
    session.close().await.unwrap();
    // What is due, too. A session that ends says what it has read.
    let read = "select coalesce(sum(idx_scan), 0)::bigint as probes, coalesce(sum(idx_tup_read), 0)::bigint as entries,
                       (select seq_scan from pg_stat_user_tables where relname = 'jobs_open') as scans
                  from pg_stat_user_indexes where indexrelname in ('jobs_open_run_at', 'jobs_open_stopped')";
    let before = db.one(read).await;
    let other = db.with_keys(&[OWN_KEY]).await;
    let some = DueFilter {
        limit: 10,
        ..DueFilter::default()
    };
    assert_eq!(other.due_rows(&some).await.unwrap().len(), 10);
    other.close().await;
    let mut after = db.one(read).await;
    for _ in 0..300 {
        if after["probes"] != before["probes"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = db.one(read).await;
    }
    let grown = |what: &str| after[what].as_i64().unwrap() - before[what].as_i64().unwrap();
    assert_eq!(
        (grown("probes"), grown("scans")),
        (2, 0),
        "{before} {after}"
    );
    assert!(grown("entries") < 50, "{before} {after}");
    db.drop().await;
}
