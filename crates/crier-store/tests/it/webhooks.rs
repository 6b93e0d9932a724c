//! The outbox of webhooks: what is told is what became so, in the same commit, and a try is one worker's.

use std::time::Duration;

use crier_store::{NewWebhook, Resealed, Settlement, Why};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, OWN_KEY, TTL};

const EVENTS: [&str; 5] = crier_core::webhook::EVENTS;

async fn hook(db: &Db, name: &str, events: &[&str], campaign: Option<&str>) {
    let events: Vec<String> = events.iter().map(|&event| event.to_owned()).collect();
    db.store
        .add_webhook(&NewWebhook {
            name,
            url: &format!("https://hooks.example.com/very-secret-{name}").into(),
            secret: &"whsec_c2VjcmV0".to_owned().into(),
            host: "hooks.example.com",
            events: &events,
            form: "json",
            campaign,
        })
        .await
        .unwrap();
}

fn why(code: &str) -> Why {
    Why {
        code: code.to_owned(),
        http_status: None,
        error: json!({"code": code, "title": "t", "detail": "d", "step": "publish", "hint": "h"}),
    }
}

/// Claims the one job that is due and settles it so.
async fn settle(db: &Db, settlement: &Settlement) {
    let claimed = db.claim(Uuid::new_v4()).await;
    let [job] = claimed.as_slice() else {
        panic!("{claimed:?}");
    };
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await
        .unwrap();
    db.store.settle(&job.lease, &[], settlement).await.unwrap();
}

async fn told(db: &Db) -> Vec<Value> {
    db.store
        .select_json(
            "select w.name, d.event, d.data #>> '{job,post_url}' as url, d.data #>> '{job,error,code}' as code
               from crier.webhook_deliveries d join crier.webhooks w on w.id = d.webhook_id order by d.created_at, w.name",
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn what_becomes_of_a_job_is_told_in_the_commit_that_makes_it_so() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    hook(&db, "all", &EVENTS, None).await;
    hook(&db, "spring", &["published"], Some("spring")).await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'a', 'spring')")
        .await;
    settle(
        &db,
        &Settlement::Published {
            post_id: "1".into(),
        },
    )
    .await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'b')")
        .await;
    settle(&db, &Settlement::Failed(why("text_refused"))).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'c')")
        .await;
    let look_after = Duration::from_secs(15);
    settle(
        &db,
        &Settlement::Unknown {
            look_after,
            why: why("no_answer"),
        },
    )
    .await;
    db.sql("insert into crier.jobs (account, text, run_at, max_lateness) values ('acme', 'd', now() - interval '1 hour', '1 minute')")
        .await;
    assert_eq!(db.store.mark_missed(100).await.unwrap(), 1);
    // Edits, cancels, and what is rolled back are told to nobody.
    db.sql("insert into crier.jobs (account, text, run_at) values ('acme', 'e', now() + interval '1 day')")
        .await;
    db.sql("update crier.jobs set text = 'e2' where text = 'e'; select crier.cancel(id) from crier.jobs where text = 'e2'")
        .await;
    db.sql("insert into crier.jobs (account, text, run_at) values ('acme', 'f', now() + interval '1 day')")
        .await;
    db.store
        .run_script("update crier.jobs set state = 'failed', error = '{\"code\": \"x\"}', finished_at = now() where text = 'f'; select 1 / 0")
        .await
        .unwrap_err();
    let row = |name: &str, event: &str, url: Option<&str>, code: Option<&str>| json!({"name": name, "event": event, "url": url, "code": code});
    let url = Some("https://x.com/acme/status/1");
    assert_eq!(
        told(&db).await,
        [
            row("all", "published", url, None),
            row("spring", "published", url, None),
            row("all", "failed", None, Some("text_refused")),
            row("all", "unknown", None, Some("no_answer")),
            row("all", "missed", None, Some("missed")),
        ]
    );
    db.drop().await;
}

#[tokio::test]
async fn an_account_that_needs_a_login_is_told_once() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    hook(&db, "ops", &["account_needs_login"], None).await;
    hook(&db, "quiet", &EVENTS, None).await;
    assert!(db.store.pause_webhook("quiet", true).await.unwrap());
    for _ in 0..2 {
        let reason = json!({"code": "grant_dead", "title": "X ended the grant"});
        db.store
            .pause_account(account.id, "needs_login", &reason)
            .await
            .unwrap();
    }
    let rows = db
        .store
        .select_json("select event, data from crier.webhook_deliveries")
        .await
        .unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["event"], "account_needs_login");
    assert_eq!(rows[0]["data"]["account"]["handle"], "acme");
    db.drop().await;
}

#[tokio::test]
async fn a_delivery_is_one_workers_until_its_time_is_over_and_ends_once() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    hook(&db, "all", &EVENTS, None).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a')")
        .await;
    settle(&db, &Settlement::Failed(why("text_refused"))).await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let first = db
        .store
        .claim_deliveries(one, 10, (10, 10), TTL)
        .await
        .unwrap();
    let [first] = first.as_slice() else {
        panic!("{first:?}");
    };
    let target = first.target.as_ref().unwrap();
    assert_eq!(
        target.url.expose_secret(),
        "https://hooks.example.com/very-secret-all"
    );
    assert!(
        db.store
            .claim_deliveries(other, 10, (10, 10), TTL)
            .await
            .unwrap()
            .is_empty()
    );
    db.advance("1 minute").await;
    let second = db
        .store
        .claim_deliveries(other, 10, (10, 10), TTL)
        .await
        .unwrap();
    assert_eq!(
        (second[0].id, second[0].tries),
        (first.id, 2),
        "the id stays"
    );
    // The first worker comes back too late.
    db.store.delivered(one, first, 200).await.unwrap_err();
    let error = json!({"code": "webhook_status"});
    let after = Some(Duration::from_mins(1));
    db.store
        .not_delivered(other, &second[0], after, Some(503), &error)
        .await
        .unwrap();
    assert!(
        db.store
            .claim_deliveries(one, 10, (10, 10), TTL)
            .await
            .unwrap()
            .is_empty()
    );
    db.advance("61 seconds").await;
    let third = db
        .store
        .claim_deliveries(one, 10, (10, 10), TTL)
        .await
        .unwrap();
    db.store
        .not_delivered(one, &third[0], None, None, &error)
        .await
        .unwrap();
    assert_eq!(db.store.webhooks().await.unwrap()[0].dead, 1);
    db.advance("1 hour").await;
    assert!(
        db.store
            .claim_deliveries(one, 10, (10, 10), TTL)
            .await
            .unwrap()
            .is_empty(),
        "dead"
    );
    assert_eq!(db.store.redeliver(None, None).await.unwrap(), 1);
    let again = db
        .store
        .claim_deliveries(one, 10, (10, 10), TTL)
        .await
        .unwrap();
    assert_eq!(again[0].id, first.id);
    db.store.delivered(one, &again[0], 200).await.unwrap();
    assert_eq!(db.store.webhooks().await.unwrap()[0].waiting, 0);
    db.advance("8 days").await;
    assert_eq!(db.store.trim_deliveries(7).await.unwrap(), 1);
    db.drop().await;
}

#[tokio::test]
async fn addresses_are_sealed_and_move_to_a_new_key() {
    let db = Db::new().await;
    hook(&db, "all", &EVENTS, None).await;
    let everything = db
        .store
        .select_json("select to_jsonb(w) #>> '{}' as row from crier.webhooks w")
        .await
        .unwrap();
    assert!(!format!("{everything:?}").contains("very-secret"));
    let newer = db.with_keys(&[2, OWN_KEY]).await;
    let rows = newer.sealed_elsewhere(None, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(newer.reseal(&rows[0]).await.unwrap(), Resealed::Done);
    let only_new = db.with_keys(&[2]).await;
    let target = only_new.open_webhook("all").await.unwrap().unwrap();
    assert!(target.url.expose_secret().contains("very-secret-all"));
    db.store.open_webhook("all").await.unwrap_err();
    newer.close().await;
    only_new.close().await;
    db.drop().await;
}

/// Deliveries of webhooks, as if so many jobs had ended.
async fn outbox(db: &Db, webhook: &str, count: u32) {
    db.sql(&format!(
        "insert into crier.webhook_deliveries (webhook_id, event, data)
           select w.id, 'failed', '{{}}' from crier.webhooks w, generate_series(1, {count}) where w.name = '{webhook}'"
    ))
    .await;
}

#[tokio::test]
async fn a_webhook_that_hangs_has_a_share_of_the_places_and_one_that_is_paused_keeps_what_waits() {
    let db = Db::new().await;
    for name in ["hangs", "healthy", "paused"] {
        hook(&db, name, &EVENTS, None).await;
    }
    outbox(&db, "hangs", 50).await;
    outbox(&db, "healthy", 2).await;
    outbox(&db, "paused", 1).await;
    assert!(db.store.pause_webhook("paused", true).await.unwrap());
    let worker = Uuid::new_v4();
    let claim = async |free: i64| {
        let claimed = db.store.claim_deliveries(worker, free, (16, 4), TTL);
        let claimed = claimed.await;
        let mut names: Vec<String> = claimed
            .unwrap()
            .into_iter()
            .map(|one| one.webhook)
            .collect();
        names.sort();
        names
    };
    let hangs = ["hangs"; 4];
    assert_eq!(
        claim(16).await,
        [&hangs[..], &["healthy", "healthy"]].concat()
    );
    outbox(&db, "healthy", 1).await;
    assert_eq!(claim(10).await, ["healthy"], "its share is in hand");
    assert!(db.store.pause_webhook("paused", false).await.unwrap());
    assert_eq!(claim(10).await, ["paused"]);
    // What this worker had in hand for too long is due again, and its share is free.
    db.advance("1 minute").await;
    assert_eq!(
        claim(16)
            .await
            .iter()
            .filter(|name| **name == "hangs")
            .count(),
        4
    );
    db.drop().await;
}

#[tokio::test]
async fn webhooks_that_hang_together_leave_places_to_those_that_do_not() {
    let db = Db::new().await;
    for name in ["a", "b", "c", "d", "healthy"] {
        hook(&db, name, &EVENTS, None).await;
        if name != "healthy" {
            outbox(&db, name, 50).await;
        }
    }
    let worker = Uuid::new_v4();
    let claimed = db.store.claim_deliveries(worker, 16, (16, 4), TTL).await;
    assert_eq!(claimed.unwrap().len(), 4 * 3);
    outbox(&db, "healthy", 1).await;
    let claimed = db.store.claim_deliveries(worker, 4, (16, 4), TTL).await;
    let names: Vec<_> = claimed
        .unwrap()
        .into_iter()
        .map(|one| one.webhook)
        .collect();
    assert_eq!(names, ["healthy"]);
    // Whoever has the fewest in hand comes first, however long the others have waited.
    outbox(&db, "healthy", 1).await;
    let other = Uuid::new_v4();
    let claimed = db.store.claim_deliveries(other, 5, (16, 4), TTL).await;
    let names: Vec<_> = claimed
        .unwrap()
        .into_iter()
        .map(|one| one.webhook)
        .collect();
    assert!(names.contains(&"healthy".to_owned()), "{names:?}");
    db.drop().await;
}

#[tokio::test]
async fn a_webhook_that_is_being_removed_keeps_no_job_from_ending() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    hook(&db, "all", &EVENTS, None).await;
    outbox(&db, "all", 3).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a')")
        .await;
    let other = db.connect().await;
    let removal = tokio::spawn(async move {
        other
            .run_script(
                "begin; delete from crier.webhooks;
                 do $$ begin
                   while not exists (select 1 from crier.jobs where id = 1 and state = 'failed') loop perform pg_sleep(0.05); end loop;
                 end $$;
                 commit",
            )
            .await
    });
    let is_open = "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while db.one(is_open).await["n"] != 1 {
        assert!(!removal.is_finished());
    }
    settle(&db, &Settlement::Failed(why("text_refused"))).await;
    assert_eq!(db.state(1).await, "failed");
    removal.await.unwrap().unwrap();
    let worker = Uuid::new_v4();
    let left = db.store.claim_deliveries(worker, 10, (10, 10), TTL).await;
    assert!(left.unwrap().is_empty(), "told to nobody");
    // What waited went with it; what the job told meanwhile, with the old ones.
    assert_eq!(db.store.trim_deliveries(7).await.unwrap(), 1);
    // By the command, nothing is left.
    hook(&db, "all", &EVENTS, None).await;
    outbox(&db, "all", 3).await;
    assert!(db.store.remove_webhook("all").await.unwrap());
    assert!(!db.store.remove_webhook("all").await.unwrap());
    let left = "select count(*) as n from crier.webhook_deliveries";
    assert_eq!(db.one(left).await["n"], 0);
    db.drop().await;
}
