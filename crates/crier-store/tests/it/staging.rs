//! Staging: files of jobs as a queue of their own, under leases, and the moment at which a job may go out.

mod lent;
mod plans;

use std::time::Duration;

use crier_store::{NewSession, PutOff, Settlement, StageExpired, StoreError, Upload, Why};
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, TTL};

const LEAD: Duration = Duration::from_mins(30);
/// So long may a create call take.
const CALL: Duration = Duration::from_secs(10);

fn session(id: &str) -> NewSession {
    NewSession {
        media_id: id.into(),
        media_type: "video/mp4".into(),
        category: "tweet_video".into(),
        total_bytes: 10,
        file_stamp: "10:1".into(),
        segment_bytes: Some(2),
        expires_in_s: Some(1_295_999),
    }
}

fn why(code: &str) -> Why {
    Why {
        code: code.into(),
        http_status: Some(503),
        error: json!({"code": code, "title": "Oops", "detail": "x", "step": "media", "hint": "wait"}),
    }
}

fn lost<T: std::fmt::Debug>(result: &Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::LeaseLost { .. })),
        "{result:?}"
    );
}

impl Db {
    /// Plans job 1, then claims what is due.
    async fn uploads(&self) -> Vec<Upload> {
        self.store.plan_uploads(1, LEAD).await.unwrap();
        self.due().await
    }

    async fn due(&self) -> Vec<Upload> {
        let mut due = self
            .store
            .claim_uploads(Uuid::new_v4(), 100, TTL, LEAD)
            .await
            .unwrap();
        due.sort_by_key(|u| (u.job, u.position));
        due
    }

    async fn stage(&self, upload: &Upload, id: &str) -> bool {
        self.store
            .save_session(upload, &session(id), TTL)
            .await
            .unwrap();
        self.store.finalizing(upload, TTL).await.unwrap();
        self.store.upload_ready(upload, Some(86_400)).await.unwrap()
    }

    async fn held(&self) -> i64 {
        let row = self.one("select held from crier.jobs where id = 1").await;
        row["held"].as_i64().unwrap()
    }

    async fn rows(&self) -> Vec<serde_json::Value> {
        self.store
            .select_json("select id, position, state, next_at is null as in_hand, segments_done from crier.media_uploads order by id")
            .await
            .unwrap()
    }
}

async fn with_media(media: &str) -> Db {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(&format!(
        "insert into crier.jobs (account, text, media) values ('acme', 'x', '{media}')"
    ))
    .await;
    db
}

#[tokio::test]
async fn a_job_goes_out_only_after_its_last_file_and_with_their_ids_in_order() {
    let db = with_media(r#"[{"path": "a.png"}, {"path": "b.png"}]"#).await;
    let uploads = db.uploads().await;
    assert_eq!(
        uploads.iter().map(|u| u.position).collect::<Vec<_>>(),
        [0, 1]
    );
    let before = db.rows().await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    assert_eq!(before, db.rows().await, "planning twice is planning once");
    assert!(
        db.due().await.is_empty(),
        "what is in hand is nobody else's"
    );
    assert!(!db.stage(&uploads[1], "22").await);
    assert_eq!(db.held().await, 1);
    assert!(db.claim(Uuid::new_v4()).await.is_empty());
    assert!(db.stage(&uploads[0], "11").await);
    assert_eq!(db.held().await, 0);
    assert_eq!(db.store.media_ids(1, CALL).await.unwrap(), ["11", "22"]);
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn two_files_that_end_at_once_release_their_job_once() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        r#"insert into crier.jobs (account, text, media)
           select 'acme', 'x' || n, '[{"path": "a.png"}, {"path": "b.png"}, {"path": "c.png"}]' from generate_series(1, 20) n"#,
    )
    .await;
    for job in 1..=20 {
        db.store.plan_uploads(job, LEAD).await.unwrap();
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let store = db.store.clone();
        workers.spawn(async move {
            let (mut seen, mut released) = (Vec::new(), 0);
            loop {
                let claimed = store
                    .claim_uploads(Uuid::new_v4(), 4, TTL, LEAD)
                    .await
                    .unwrap();
                let next = store.until_next_upload().await.unwrap();
                if claimed.is_empty() && next.is_some_and(|until| until.num_hours() > 0) {
                    return (seen, released);
                }
                for upload in claimed {
                    seen.push(upload.lease.subject);
                    let id = upload.lease.subject.to_string();
                    store
                        .save_session(&upload, &session(&id), TTL)
                        .await
                        .unwrap();
                    released += i32::from(store.upload_ready(&upload, None).await.unwrap());
                }
            }
        });
    }
    let (mut seen, mut released) = (Vec::new(), 0);
    while let Some(done) = workers.join_next().await {
        let (more, count) = done.unwrap();
        seen.extend(more);
        released += count;
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=60).collect::<Vec<i64>>(), "each file once");
    assert_eq!(released, 20, "each job once");
    let row = db
        .one("select count(*) from crier.jobs where held = 0")
        .await;
    assert_eq!(row, json!({"count": 20}));
    db.drop().await;
}

#[tokio::test]
async fn a_worker_that_lost_an_upload_writes_nothing_and_the_next_goes_on_where_x_is() {
    let db = with_media(r#"[{"path": "a.mp4"}]"#).await;
    let old = db.uploads().await.remove(0);
    db.store
        .save_session(&old, &session("11"), TTL)
        .await
        .unwrap();
    for done in [1, 3, 2] {
        db.store.segment_done(&old, "11", done, TTL).await.unwrap();
    }
    lost(&db.store.segment_done(&old, "another", 4, TTL).await);
    db.advance("31 seconds").await;
    lost(&db.store.segment_done(&old, "11", 4, TTL).await);
    assert!(db.due().await.is_empty(), "until the lease is taken back");
    assert_eq!(
        db.store.expire_stage_leases(100).await.unwrap(),
        StageExpired {
            expired: 1,
            quarantined: 0
        }
    );
    let new = db.due().await.remove(0);
    assert_eq!(
        (new.media_id.as_deref(), new.segments_done, new.finalizing),
        (Some("11"), 3, false),
        "the high-water mark never falls"
    );
    lost(&db.store.save_session(&old, &session("33"), TTL).await);
    lost(&db.store.finalizing(&old, TTL).await);
    lost(&db.store.upload_ready(&old, None).await);
    lost(&db.store.upload_failed(&old, &why("x")).await);
    lost(&db.store.release_upload(&old).await);
    let (failed, now) = (why("x"), db.store.now().await.unwrap());
    let later = PutOff {
        why: &failed,
        costs_attempt: true,
        new_session: true,
        as_warning: false,
    };
    lost(&db.store.put_off_upload(&old, now, &later).await);
    db.store.finalizing(&new, TTL).await.unwrap();
    db.store.release_upload(&new).await.unwrap();
    let again = db.due().await.remove(0);
    assert!(again.finalizing);
    assert!(db.store.upload_ready(&again, None).await.unwrap());
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn a_file_that_kills_three_workers_is_put_aside_with_its_job() {
    let db = with_media(r#"[{"path": "a.mp4"}, {"path": "b.mp4"}]"#).await;
    let other = db.uploads().await.remove(1);
    db.store.release_upload(&other).await.unwrap();
    for crash in 1..=3 {
        if crash > 1 {
            let mut due = db.due().await;
            db.store.release_upload(&due.remove(1)).await.unwrap();
        }
        db.advance("31 seconds").await;
        let taken = db.store.expire_stage_leases(100).await.unwrap();
        assert_eq!(
            (taken.expired, taken.quarantined),
            (1, u64::from(crash == 3))
        );
    }
    let row = db
        .one("select state, error->>'code' as code, error->>'hint' as hint from crier.jobs where id = 1")
        .await;
    assert_eq!(
        (&row["state"], &row["code"]),
        (&json!("failed"), &json!("quarantined"))
    );
    assert!(row["hint"].as_str().unwrap().contains("crier.retry(1)"));
    assert_eq!(db.rows().await.len(), 1, "the other file is dropped");
    assert!(db.due().await.is_empty());
    db.sql("select crier.retry(1)").await;
    assert_eq!(db.uploads().await.len(), 2, "a retry begins anew");
    db.drop().await;
}

#[tokio::test]
async fn crashes_over_a_file_are_counted_in_a_row() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    let reason = why("token_busy");
    let later = PutOff {
        why: &reason,
        costs_attempt: false,
        new_session: false,
        as_warning: false,
    };
    for round in 1..=4 {
        db.uploads().await;
        db.advance("31 seconds").await;
        let taken = db.store.expire_stage_leases(9).await.unwrap();
        assert_eq!((taken.expired, taken.quarantined), (1, 0), "round {round}");
        // A worker that lives gives it back, or puts it off.
        let upload = db.due().await.remove(0);
        if round % 2 == 0 {
            db.store.release_upload(&upload).await.unwrap();
        } else {
            let now = db.store.now().await.unwrap();
            db.store.put_off_upload(&upload, now, &later).await.unwrap();
        }
    }
    db.drop().await;
}

#[tokio::test]
async fn what_may_pass_fails_a_job_only_once_its_time_has_come() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    db.sql("update crier.jobs set max_attempts = 2, run_at = crier.now() + interval '10 minutes'")
        .await;
    let reason = why("x_unavailable");
    let later = PutOff {
        why: &reason,
        costs_attempt: true,
        new_session: false,
        as_warning: false,
    };
    for _ in 0..3 {
        let upload = db.uploads().await.remove(0);
        let now = db.store.now().await.unwrap();
        assert!(!db.store.put_off_upload(&upload, now, &later).await.unwrap());
    }
    let row = db
        .one("select state, error->>'title' as title, attempts from crier.jobs")
        .await;
    assert_eq!(
        row,
        json!({"state": "scheduled", "title": "Oops", "attempts": 0})
    );
    let missing = why("media_missing");
    let warn = PutOff {
        why: &missing,
        costs_attempt: false,
        as_warning: true,
        ..later
    };
    let upload = db.due().await.remove(0);
    assert_eq!(upload.attempts, 3);
    let now = db.store.now().await.unwrap();
    db.store.put_off_upload(&upload, now, &warn).await.unwrap();
    let row = db
        .one("select warning->>'code' as code from crier.jobs")
        .await;
    assert_eq!(row, json!({"code": "media_missing"}));
    db.advance("11 minutes").await;
    let upload = db.due().await.remove(0);
    assert!(db.store.put_off_upload(&upload, now, &later).await.unwrap());
    assert_eq!(db.state(1).await, "failed");
    let ledger = db.store.ledger(1).await.unwrap();
    let outcomes: Vec<_> = ledger
        .iter()
        .map(|row| row.outcome.as_deref().unwrap())
        .collect();
    assert_eq!(outcomes, ["retry", "retry", "retry", "failed"]);
    assert!(
        ledger
            .iter()
            .all(|row| row.step == "media" && row.http_status == Some(503))
    );
    db.drop().await;
}

#[tokio::test]
async fn a_ready_file_clears_what_was_said_of_it() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    db.sql(r#"update crier.jobs set warning = '{"code": "media_missing"}', error = '{"code": "x", "step": "media"}'"#)
        .await;
    let upload = db.uploads().await.remove(0);
    assert!(db.stage(&upload, "11").await);
    let row = db.one("select warning, error from crier.jobs").await;
    assert_eq!(row, json!({"warning": null, "error": null}));
    db.drop().await;
}

#[tokio::test]
async fn ids_at_the_end_of_their_life_send_the_job_back_to_staging() {
    let db = with_media(r#"[{"path": "a.png"}, {"path": "b.png"}]"#).await;
    let uploads = db.uploads().await;
    db.stage(&uploads[0], "11").await;
    db.stage(&uploads[1], "22").await;
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.sql("update crier.media_uploads set expires_at = crier.now() where position = 1")
        .await;
    assert_eq!(db.store.media_ids(1, CALL).await.unwrap(), ["11"]);
    db.store.restage(&job.lease, CALL).await.unwrap();
    let changed = db
        .store
        .begin_sending(&job.lease, job.revision, TTL / 3, &[])
        .await;
    assert!(
        matches!(changed, Err(StoreError::JobChanged { job: 1 })),
        "{changed:?}"
    );
    let snoozed = Settlement::Snoozed {
        until: None,
        why: why("media_not_ready"),
    };
    db.store.settle(&job.lease, &[], &snoozed).await.unwrap();
    assert!(
        db.claim(Uuid::new_v4()).await.is_empty(),
        "never a bare post"
    );
    lost(&db.store.restage(&job.lease, CALL).await);
    let anew = db.due().await;
    assert_eq!(anew.iter().map(|u| u.position).collect::<Vec<_>>(), [1]);
    assert!(db.stage(&anew[0], "33").await);
    assert_eq!(db.store.media_ids(1, CALL).await.unwrap(), ["11", "33"]);
    // Nobody needs to publish for that: the row's own time comes ten minutes before X's.
    db.advance("23 hours 49 minutes").await;
    assert!(db.due().await.is_empty());
    assert_eq!(db.held().await, 0);
    db.advance("2 minutes").await;
    assert!(
        db.due().await.is_empty(),
        "the first look only puts them back"
    );
    assert_eq!((db.held().await, db.due().await.len()), (1, 2));
    db.drop().await;
}

#[tokio::test]
async fn media_that_x_does_not_take_is_uploaded_once_more_and_no_more() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    let refused = Settlement::Retry {
        after: Duration::ZERO,
        why: why("media_invalid"),
    };
    for (round, allowed) in [("11", true), ("22", false)] {
        let upload = db.uploads().await.remove(0);
        assert!(db.stage(&upload, round).await);
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        db.store
            .begin_sending(&job.lease, job.revision, TTL / 3, &[round.to_owned()])
            .await
            .unwrap();
        assert_eq!(db.store.reupload(&job.lease).await.unwrap(), allowed);
        if allowed {
            db.store.settle(&job.lease, &[], &refused).await.unwrap();
            assert!(db.claim(Uuid::new_v4()).await.is_empty());
        }
    }
    db.drop().await;
}
