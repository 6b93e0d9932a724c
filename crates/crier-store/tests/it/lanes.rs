//! Lanes: what is claimed, in which order, and what a closed lane costs the others.

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_store::{Settlement, Why};
use uuid::Uuid;

use crate::db::{Db, TTL};

fn why(code: &str) -> Why {
    Why {
        code: code.into(),
        http_status: Some(429),
        error: serde_json::json!({"code": code, "title": "t"}),
    }
}

fn exhausted(class: LimitClass, resets_at: DateTime<Utc>) -> Window {
    Window {
        class,
        length: WindowLength::QuarterHour,
        limit: Some(100),
        remaining: Some(0),
        resets_at,
    }
}

#[tokio::test]
async fn one_account_is_served_in_order_and_one_at_a_time() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, run_at, priority) values
           ('acme', 'third', crier.now() - interval '1 minute', 0),
           ('acme', 'second', crier.now() - interval '2 minutes', 0),
           ('acme', 'first', crier.now() - interval '1 second', 5),
           ('acme', 'future, though important', crier.now() + interval '1 day', 9)",
    )
    .await;
    let worker = Uuid::new_v4();
    let mut order = Vec::new();
    for number in 1.. {
        let claimed = db.claim(worker).await;
        let Some(job) = claimed.first() else { break };
        assert_eq!(claimed.len(), 1);
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "the lane is in flight");
        order.push(job.text.clone());
        db.store
            .begin_sending(&job.lease, job.revision, TTL / 3, &[])
            .await
            .unwrap();
        db.store
            .settle(
                &job.lease,
                &[],
                &Settlement::Published {
                    post_id: number.to_string(),
                },
            )
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(order, ["first", "second", "third"]);
    let wait = db.store.until_next_lane().await.unwrap().unwrap();
    assert!(
        wait > TimeDelta::hours(23) && wait <= TimeDelta::days(1),
        "{wait}"
    );
    db.advance("1 day").await;
    assert_eq!(db.claim(worker).await.len(), 1, "a day in a line");
    db.drop().await;
}

#[tokio::test]
async fn a_limit_that_one_worker_saw_holds_for_all_and_for_that_account_only() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.account("other", 2).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a1'), ('acme', 'a2'), ('other', 'o1')").await;
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(
        claimed.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        ["a1", "o1"]
    );
    let reset = db.store.now().await.unwrap() + TimeDelta::seconds(20);
    let window = exhausted(LimitClass::Account, reset);
    db.store
        .settle(
            &claimed[0].lease,
            &[window],
            &Settlement::Snoozed {
                until: Some(reset),
                why: why("rate_limited"),
            },
        )
        .await
        .unwrap();
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a3')")
        .await;
    db.store
        .settle(
            &claimed[1].lease,
            &[],
            &Settlement::Published {
                post_id: "1".into(),
            },
        )
        .await
        .unwrap();
    db.sql("insert into crier.jobs (account, text) values ('other', 'o2')")
        .await;
    let others: Vec<_> = db
        .claim(Uuid::new_v4())
        .await
        .into_iter()
        .map(|c| c.text)
        .collect();
    assert_eq!(others, ["o2"]);
    db.advance("19 seconds").await;
    assert_eq!(
        db.claim(Uuid::new_v4()).await,
        [],
        "not one call before the reset"
    );
    db.advance("2 seconds").await;
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].attempts, 0, "a limit costs no attempt");
    db.drop().await;
}

#[tokio::test]
async fn a_limit_of_the_app_closes_all_its_lanes() {
    let db = Db::new().await;
    for (number, handle) in ["a", "b", "c"].iter().enumerate() {
        db.account(handle, u32::try_from(number).unwrap() + 1).await;
    }
    db.sql("insert into crier.jobs (account, text) values ('a', '1'), ('b', '2')")
        .await;
    let claimed = db.claim(Uuid::new_v4()).await;
    let reset = db.store.now().await.unwrap() + TimeDelta::hours(2);
    let snooze = Settlement::Snoozed {
        until: Some(reset),
        why: why("rate_limited"),
    };
    db.store
        .settle(
            &claimed[0].lease,
            &[exhausted(LimitClass::App, reset)],
            &snooze,
        )
        .await
        .unwrap();
    // In flight while the app closed: its lane is closed at release.
    db.store
        .settle(
            &claimed[1].lease,
            &[],
            &Settlement::Published {
                post_id: "1".into(),
            },
        )
        .await
        .unwrap();
    db.sql("insert into crier.jobs (account, text) values ('a', '3'), ('b', '4')")
        .await;
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.advance("2 hours 1 second").await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 2);
    db.drop().await;
}

#[tokio::test]
async fn an_empty_lane_sleeps_although_its_limit_ran_out() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'last')")
        .await;
    let claimed = db.claim(Uuid::new_v4()).await;
    let reset = db.store.now().await.unwrap() + TimeDelta::seconds(5);
    let window = exhausted(LimitClass::Account, reset);
    db.store
        .settle(
            &claimed[0].lease,
            &[window],
            &Settlement::Published {
                post_id: "1".into(),
            },
        )
        .await
        .unwrap();
    db.advance("1 minute").await;
    assert_eq!(db.store.until_next_lane().await.unwrap(), None);
    db.drop().await;
}

#[tokio::test]
async fn a_thread_waits_for_its_first_post_and_learns_its_id() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'head'); insert into crier.jobs (account, text, after) values ('acme', 'reply', 1)").await;
    let worker = Uuid::new_v4();
    let head = db.claim(worker).await.remove(0);
    assert_eq!(
        (head.text.as_str(), head.reply_to.as_deref()),
        ("head", None)
    );
    db.store
        .settle(
            &head.lease,
            &[],
            &Settlement::Published {
                post_id: "77".into(),
            },
        )
        .await
        .unwrap();
    let reply = db.claim(worker).await.remove(0);
    assert_eq!(
        (reply.text.as_str(), reply.reply_to.as_deref()),
        ("reply", Some("77"))
    );
    db.drop().await;
}

#[tokio::test]
async fn a_thread_whose_post_failed_says_so_down_to_its_end() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text) values ('acme', 'head');
         insert into crier.jobs (account, text, after) values ('acme', 'second', 1);
         insert into crier.jobs (account, text, after) values ('acme', 'third', 2)",
    )
    .await;
    let head = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .settle(&head.lease, &[], &Settlement::Failed(why("forbidden")))
        .await
        .unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    for job in [2, 3] {
        let row = db.one(&format!("select state, error->>'code' as code, error->>'hint' as hint from crier.jobs where id = {job}")).await;
        assert_eq!(
            (row["state"].as_str(), row["code"].as_str()),
            (Some("failed"), Some("predecessor_ended"))
        );
        assert!(row["hint"].as_str().unwrap().contains("crier.retry"));
    }
    db.drop().await;
}

#[tokio::test]
async fn a_retry_costs_an_attempt_and_the_last_one_fails_the_job() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, max_attempts) values ('acme', 'x', 2)")
        .await;
    let retry = Settlement::Retry {
        after: std::time::Duration::from_mins(1),
        why: why("x_unavailable"),
    };
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store.settle(&job.lease, &[], &retry).await.unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, [], "backoff");
    db.advance("61 seconds").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    assert_eq!(job.attempts, 1);
    db.store.settle(&job.lease, &[], &retry).await.unwrap();
    let row = db
        .one("select state, attempts, error->>'code' as code from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "failed", "attempts": 2, "code": "x_unavailable"})
    );
    let outcomes: Vec<_> = db
        .store
        .ledger(1)
        .await
        .unwrap()
        .into_iter()
        .map(|a| (a.number, a.outcome.unwrap()))
        .collect();
    assert_eq!(outcomes, [(1, "retry".to_owned()), (2, "retry".to_owned())]);
    db.drop().await;
}

#[tokio::test]
async fn a_signal_for_a_lane_in_flight_waits_for_its_release() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'first')")
        .await;
    let first = db.claim(Uuid::new_v4()).await.remove(0);
    db.sql("insert into crier.jobs (account, text) values ('acme', 'second')")
        .await;
    assert_eq!(db.claim(Uuid::new_v4()).await, [], "one at a time");
    db.store
        .settle(
            &first.lease,
            &[],
            &Settlement::Published {
                post_id: "1".into(),
            },
        )
        .await
        .unwrap();
    let second = db.claim(Uuid::new_v4()).await;
    assert_eq!(
        second.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        ["second"]
    );
    db.drop().await;
}

/// Any backlog of one account goes out by priority, then time, then number.
#[tokio::test]
async fn any_backlog_is_served_in_its_order() {
    let db = Db::new().await;
    let worker = Uuid::new_v4();
    for seed in 1..=6_i64 {
        let handle = format!("a{seed}");
        db.account(&handle, u32::try_from(seed).unwrap()).await;
        // Few priorities and few instants, so that every rule has ties to break.
        db.sql(&format!(
            "select setseed({seed} / 10.0);
             insert into crier.jobs (account, text, priority, run_at)
             select '{handle}', 'x', floor(random() * 4)::int - 1, crier.now() - floor(random() * 5) * interval '1 minute'
               from generate_series(1, 25)"
        ))
        .await;
        let expected: Vec<i64> = db
            .store
            .select_json(&format!(
                "select id from crier.jobs where account = '{handle}' order by priority desc, run_at, id"
            ))
            .await
            .unwrap()
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect();
        let mut served = Vec::new();
        while let Some(job) = db.claim(worker).await.first() {
            served.push(job.lease.subject);
            let done = Settlement::Published {
                post_id: job.lease.subject.to_string(),
            };
            db.store.settle(&job.lease, &[], &done).await.unwrap();
        }
        assert_eq!(served, expected, "seed {seed}");
    }
    db.drop().await;
}
