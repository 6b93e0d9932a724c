//! What needs two things to come in the wrong order: answers that overtake each other, ends that come while somebody else has
//! stopped the job.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_store::{Claimed, NewSession, Settlement, Why};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

const NOW: Duration = Duration::ZERO;
const LEAD: Duration = Duration::from_mins(30);

fn why(code: &str) -> Why {
    Why {
        code: code.to_owned(),
        http_status: None,
        error: json!({"code": code, "title": "no", "detail": "", "step": "publish", "hint": ""}),
    }
}

async fn send(db: &Db, media_ids: &[String]) -> Claimed {
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .begin_sending(&job.lease, job.revision, TTL / 3, media_ids)
        .await
        .unwrap();
    job
}

async fn lose(db: &Db, job: &Claimed) {
    let unknown = Settlement::Unknown {
        look_after: NOW,
        why: why("no_answer"),
    };
    db.store.settle(&job.lease, &[], &unknown).await.unwrap();
}

fn of_reading(remaining: i64, resets_at: DateTime<Utc>) -> Window {
    Window {
        class: LimitClass::Account,
        length: WindowLength::QuarterHour,
        limit: Some(10),
        remaining: Some(remaining),
        resets_at,
    }
}

#[tokio::test]
async fn an_answer_that_was_overtaken_opens_no_window() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let now = db.store.now().await.unwrap();
    // X names its resets in whole seconds.
    let reset = DateTime::from_timestamp(now.timestamp() + 800, 0).unwrap();
    let note = async |remaining, resets_at| {
        let windows = [of_reading(remaining, resets_at)];
        db.store.note_read_windows(account, &windows).await.unwrap();
    };
    note(0, reset).await;
    // Said before the last call of this window was made.
    note(3, reset).await;
    // Said of the window before.
    note(5, reset - TimeDelta::seconds(790)).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'perhaps')")
        .await;
    let job = send(&db, &[]).await;
    lose(&db, &job).await;
    let look = db
        .store
        .claim_reconciles(Uuid::new_v4(), 9, TTL)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(look.reads_blocked_until, Some(reset));
    note(10, reset + TimeDelta::seconds(900)).await;
    let left = db
        .one("select remaining from crier.limit_windows where endpoint like 'GET %'")
        .await;
    assert_eq!(left["remaining"], 10, "the next window begins anew");
    db.drop().await;
}

#[tokio::test]
async fn a_search_in_hand_is_taken_back_once_its_lease_is_over_and_not_before() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'perhaps')")
        .await;
    let job = send(&db, &[]).await;
    lose(&db, &job).await;
    let worker = Uuid::new_v4();
    let look = db.store.claim_reconciles(worker, 9, TTL).await.unwrap();
    assert_eq!(look.len(), 1);
    db.advance("29 seconds").await;
    assert_eq!(db.store.expire_reconcile_leases(9).await.unwrap(), 0);
    db.store
        .look_again(&look[0].lease, NOW, true)
        .await
        .unwrap();
    assert_eq!(
        db.store
            .claim_reconciles(worker, 9, TTL)
            .await
            .unwrap()
            .len(),
        1
    );
    db.advance("31 seconds").await;
    assert_eq!(db.store.expire_reconcile_leases(9).await.unwrap(), 1);
    db.drop().await;
}

#[tokio::test]
async fn files_of_an_unknown_job_stay_as_they_were_sent() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        r#"insert into crier.jobs (account, text, media) values ('acme', 'x', '[{"path": "a.png"}]')"#,
    )
    .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    let claim = async || {
        db.store
            .claim_uploads(Uuid::new_v4(), 9, TTL, LEAD)
            .await
            .unwrap()
    };
    let upload = claim().await.remove(0);
    let session = NewSession {
        media_id: "7".into(),
        media_type: "image/png".into(),
        category: "tweet_image".into(),
        total_bytes: 9,
        file_stamp: "9:9".into(),
        segment_bytes: None,
        expires_in_s: None,
    };
    db.store.save_session(&upload, &session, TTL).await.unwrap();
    assert!(db.store.upload_ready(&upload, Some(86_400)).await.unwrap());
    let job = send(&db, &["7".to_owned()]).await;
    lose(&db, &job).await;
    // X's id of the file ends while nobody knows yet whether the post is on X.
    db.advance("2 days").await;
    assert_eq!(claim().await, []);
    assert_eq!(claim().await, [], "looking at them once changes nothing");
    let seen = db
        .one("select u.state, u.media_id, j.held from crier.media_uploads u join crier.jobs j on j.id = u.job_id")
        .await;
    assert_eq!(seen, json!({"state": "ready", "media_id": "7", "held": 0}));
    db.drop().await;
}

#[tokio::test]
async fn what_was_sent_while_its_recurring_post_was_paused_waits_with_it() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        r#"insert into crier.recurring (name, account, cron, template) values ('r', 'acme', '0 9 * * *', '{"text": "x"}');
           insert into crier.jobs (account, text) values ('acme', 'x');
           update crier.jobs_open set recurring_id = (select id from crier.recurring)"#,
    )
    .await;
    let job = send(&db, &[]).await;
    db.sql("update crier.recurring set paused = true").await;
    assert_eq!(
        db.state(1).await,
        "scheduled",
        "what is being sent goes out"
    );
    let retry = Settlement::Retry {
        after: NOW,
        why: why("server_error"),
    };
    db.store.settle(&job.lease, &[], &retry).await.unwrap();
    assert_eq!(db.state(1).await, "paused");
    db.drop().await;
}

#[tokio::test]
async fn a_row_that_its_writer_has_paused_stays_so_in_a_campaign_that_runs() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, campaign, state) values ('acme', 'x', 'c', 'paused')")
        .await;
    assert_eq!(db.state(1).await, "paused");
    db.sql("select crier.resume_campaign('c')").await;
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn an_account_that_a_person_paused_stays_so_though_its_grant_ends() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let pause = async |status: &str| {
        let reason = json!({"code": status});
        db.store
            .pause_account(account, status, &reason)
            .await
            .unwrap();
        db.one("select status from crier.accounts").await["status"].clone()
    };
    assert_eq!(pause("paused").await, "paused");
    for by_x in ["needs_login", "suspended"] {
        assert_eq!(pause(by_x).await, "paused", "a login would open it");
    }
    db.drop().await;
}

#[tokio::test]
async fn an_edit_of_the_time_moves_the_last_moment_with_it() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, max_lateness) values ('acme', 'x', '1 hour');
         update crier.jobs set run_at = run_at + interval '1 day'",
    )
    .await;
    db.advance("23 hours").await;
    assert_eq!(db.store.mark_missed(9).await.unwrap(), 0);
    db.sql("update crier.jobs set run_at = run_at - interval '3 hours'")
        .await;
    assert_eq!(db.store.mark_missed(9).await.unwrap(), 1);
    // Retried, it is posted now, and not missed once more.
    db.sql("select crier.retry(1)").await;
    assert_eq!(db.store.mark_missed(9).await.unwrap(), 0);
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn what_may_be_on_x_is_neither_edited_nor_ended_by_a_person() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'perhaps')")
        .await;
    let job = send(&db, &[]).await;
    lose(&db, &job).await;
    for (edit, words) in [
        ("text = 'another'", "may already be on X"),
        (
            "state = 'cancelled'",
            "is unknown and cannot become cancelled",
        ),
        ("state = 'paused'", "is unknown and cannot become paused"),
    ] {
        let (message, hint) = db.refused(&format!("update crier.jobs set {edit}")).await;
        assert!(message.contains(words), "{edit}: {message}");
        assert!(hint.contains("settle"), "{edit}: {hint}");
    }
    db.drop().await;
}

#[tokio::test]
async fn a_limit_of_the_app_holds_by_its_window_and_by_the_app_each_alone() {
    for forgotten in [
        "update crier.apps set blocked_until = '-infinity'",
        "delete from crier.limit_windows",
    ] {
        let db = Db::new().await;
        for (number, handle) in [(1, "a"), (2, "b")] {
            db.account(handle, number).await;
        }
        db.sql("insert into crier.jobs (account, text) values ('a', 'x')")
            .await;
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        let now = db.store.now().await.unwrap();
        let window = Window {
            class: LimitClass::App,
            ..of_reading(0, now + TimeDelta::seconds(600))
        };
        let snoozed = Settlement::Snoozed {
            until: None,
            why: why("rate_limited"),
        };
        db.store
            .settle(&job.lease, &[window], &snoozed)
            .await
            .unwrap();
        // As a process leaves it that dies before the second commit, or a lane that was opened by hand.
        db.sql(&format!(
            "{forgotten}; insert into crier.jobs (account, text) values ('b', 'y');
             update crier.lanes set not_before = '-infinity', next_at = crier.now()"
        ))
        .await;
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "{forgotten}");
        db.drop().await;
    }
}

#[tokio::test]
async fn what_was_inserted_into_a_paused_campaign_goes_on_if_it_is_resumed_before_the_commit() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("select crier.pause_campaign('c')").await;
    let person = db.connect().await;
    let insert = tokio::spawn(async move {
        person
            .run_script("insert into crier.jobs (account, text, campaign) values ('acme', 'x', 'c'); select pg_sleep(2)")
            .await
    });
    let is_open = "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while db.one(is_open).await["n"] != 1 {
        assert!(!insert.is_finished());
    }
    db.sql("select crier.resume_campaign('c')").await;
    assert!(!insert.is_finished());
    insert.await.unwrap().unwrap();
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn rows_that_are_inserted_paused_stay_so_wherever_they_stand_among_others() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    // All at once: the campaign is resumed by the time of the commit, which resumes what was paused for its sake alone.
    db.sql(
        "select crier.pause_campaign('c');
         insert into crier.jobs (account, text, campaign, state)
           select 'acme', n::text, 'c', case when n in (1, 2, 3, 5, 8, 9) then 'paused' else 'scheduled' end from generate_series(1, 9) n order by n;
         insert into crier.jobs (account, text, campaign, state) values ('acme', '10', 'c', 'paused'), ('acme', '11', 'c', 'scheduled');
         select crier.resume_campaign('c');
         insert into crier.jobs (account, text, campaign, state) values ('acme', '12', 'c', 'paused')",
    )
    .await;
    let noted = "select string_agg(id::text, ',' order by id) as ids from crier.jobs where state = 'paused'";
    let seen = db.one(noted).await;
    // What was there when the campaign was resumed was resumed with it.
    assert_eq!(seen["ids"], "12", "{seen}");
    db.sql("select crier.pause_campaign('d')").await;
    let person = db.connect().await;
    let insert = tokio::spawn(async move {
        person
            .run_script(
                "insert into crier.jobs (account, text, campaign, state)
                   select 'acme', n::text, 'd', case when n in (1, 2, 3, 5, 8, 9) then 'paused' else 'scheduled' end from generate_series(1, 9) n order by n;
                 do $$ begin
                   while (select paused from crier.campaigns where name = 'd') loop perform pg_sleep(0.05); end loop;
                 end $$",
            )
            .await
    });
    let is_open = "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while db.one(is_open).await["n"] != 1 {
        assert!(!insert.is_finished());
    }
    db.sql("select crier.resume_campaign('d')").await;
    insert.await.unwrap().unwrap();
    let seen = db
        .one("select string_agg(text, ',' order by id) as texts from crier.jobs where state = 'paused' and campaign = 'd'")
        .await;
    assert_eq!(seen["texts"], "1,2,3,5,8,9", "{seen}");
    db.drop().await;
}

#[tokio::test]
async fn a_worker_that_lives_through_a_call_ends_the_row_of_crashes() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x'); update crier.jobs_open set crashes = 2")
        .await;
    let job = send(&db, &[]).await;
    lose(&db, &job).await;
    let seen = db.one("select state, crashes from crier.jobs").await;
    assert_eq!(seen, json!({"state": "unknown", "crashes": 0}));
    db.drop().await;
}
