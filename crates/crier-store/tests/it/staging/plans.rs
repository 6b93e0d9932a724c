//! What is staged when: edits, times that move, accounts and limits that hold uploads back.

use std::time::Duration;

use crier_core::limit::{LimitClass, Window, WindowLength};
use serde_json::json;
use uuid::Uuid;

use super::{CALL, LEAD, lost, session, why, with_media};
use crate::db::TTL;

#[tokio::test]
async fn an_edit_of_the_media_is_planned_anew_and_what_is_in_hand_stops() {
    let db = with_media(r#"[{"path": "a.png"}, {"path": "b.png"}]"#).await;
    let old = db.uploads().await;
    db.sql(
        r#"update crier.jobs set media = '[{"path": "a.png"}, {"path": "c.png"}]' where id = 1"#,
    )
    .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    lost(&db.store.upload_ready(&old[1], None).await);
    assert!(!db.stage(&old[0], "11").await, "the same file goes on");
    let new = db.due().await.remove(0);
    assert_eq!(new.item, Ok(json!({"path": "c.png"})));
    assert!(db.stage(&new, "33").await);
    db.sql("update crier.jobs set text = 'better' where id = 1")
        .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    assert_eq!(
        (db.held().await, db.rows().await.len()),
        (0, 2),
        "another text needs no upload"
    );
    // There and back again: what is on X already is good again.
    db.sql(r#"update crier.jobs set media = '[{"path": "a.png"}]' where id = 1"#)
        .await;
    assert_eq!(db.held().await, 1, "held from the edit on");
    db.sql(
        r#"update crier.jobs set media = '[{"path": "a.png"}, {"path": "c.png"}]' where id = 1"#,
    )
    .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    assert_eq!(db.held().await, 0);
    // Media of another account are none.
    db.account("other", 2).await;
    db.sql("update crier.jobs set account = 'other' where id = 1")
        .await;
    let anew = db.uploads().await;
    assert_eq!((db.held().await, anew.len()), (1, 2));
    assert!(db.store.media_ids(1, CALL).await.unwrap().is_empty());
    db.sql("update crier.jobs set media = '[]' where id = 1")
        .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    assert_eq!((db.held().await, db.rows().await.len()), (0, 0));
    lost(
        &db.store
            .upload_failed(&anew[0], &why("media_missing"))
            .await,
    );
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn a_file_that_an_edit_replaced_fails_nobody_and_releases_nobody() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    let old = db.uploads().await.remove(0);
    db.sql(r#"update crier.jobs set media = '[{"path": "c.png"}]' where id = 1"#)
        .await;
    // Not planned yet: the row is still the old one.
    db.store
        .upload_failed(&old, &why("media_missing"))
        .await
        .unwrap();
    assert_eq!(db.state(1).await, "scheduled");
    db.advance("6 seconds").await;
    assert!(
        db.due().await.is_empty(),
        "a stale row is not worth an upload"
    );
    assert_eq!(db.store.sweep_uploads(LEAD, 10).await.unwrap(), 1);
    let new = db.due().await.remove(0);
    assert_eq!(new.item, Ok(json!({"path": "c.png"})));
    db.sql(r#"update crier.jobs set media = '[{"path": "d.png"}]' where id = 1"#)
        .await;
    assert!(!db.stage(&new, "44").await);
    assert_eq!(db.held().await, 1);
    db.drop().await;
}

#[tokio::test]
async fn files_are_staged_ahead_of_their_time_and_follow_it() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    db.sql("update crier.jobs set run_at = crier.now() + interval '2 hours'")
        .await;
    assert!(db.uploads().await.is_empty());
    let until = db.store.until_next_upload().await.unwrap().unwrap();
    assert!((89..=90).contains(&until.num_minutes()), "{until}");
    // Later: the row is not served at the old time.
    db.sql("update crier.jobs set run_at = crier.now() + interval '3 hours'")
        .await;
    db.advance("91 minutes").await;
    assert!(db.due().await.is_empty());
    // Sooner: the sweep sees it.
    db.sql("update crier.jobs set run_at = crier.now() + interval '20 minutes'")
        .await;
    assert_eq!(db.store.sweep_uploads(LEAD, 10).await.unwrap(), 1);
    assert_eq!(db.due().await.len(), 1);
    assert_eq!(
        db.store.sweep_uploads(LEAD, 10).await.unwrap(),
        0,
        "what is in hand is fine"
    );
    db.drop().await;
}

#[tokio::test]
async fn nothing_that_waits_for_media_is_lost() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    assert_eq!(
        db.store.sweep_uploads(LEAD, 10).await.unwrap(),
        1,
        "never planned"
    );
    let upload = db.due().await.remove(0);
    db.store.release_upload(&upload).await.unwrap();
    db.sql("update crier.accounts set status = 'needs_login'")
        .await;
    assert!(db.due().await.is_empty());
    let until = db.store.until_next_upload().await.unwrap().unwrap();
    assert!(until.num_hours() >= 5, "it must not spin: {until}");
    assert_eq!(db.store.sweep_uploads(LEAD, 10).await.unwrap(), 0);
    db.sql("update crier.accounts set status = 'active'").await;
    assert_eq!(db.store.sweep_uploads(LEAD, 10).await.unwrap(), 1);
    let upload = db.due().await.remove(0);
    // A paused campaign waits too; a cancelled job leaves nothing behind.
    db.store.release_upload(&upload).await.unwrap();
    db.sql("update crier.jobs set state = 'paused' where id = 1")
        .await;
    assert!(db.due().await.is_empty());
    assert!(
        db.store
            .until_next_upload()
            .await
            .unwrap()
            .unwrap()
            .num_hours()
            >= 5
    );
    db.sql("update crier.jobs set state = 'scheduled' where id = 1")
        .await;
    assert_eq!(db.store.sweep_uploads(LEAD, 10).await.unwrap(), 1);
    db.sql("select crier.cancel(1)").await;
    assert!(db.due().await.is_empty());
    assert!(db.rows().await.is_empty());
    db.drop().await;
}

#[tokio::test]
async fn a_used_up_window_of_uploads_holds_uploads_back_and_nothing_else() {
    let db = with_media(r#"[{"path": "a.png"}]"#).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'plain')")
        .await;
    let upload = db.uploads().await.remove(0);
    db.store
        .save_session(&upload, &session("11"), TTL)
        .await
        .unwrap();
    let window = Window {
        class: LimitClass::Account,
        length: WindowLength::QuarterHour,
        limit: Some(500),
        remaining: Some(0),
        resets_at: db.store.now().await.unwrap() + Duration::from_secs(20),
    };
    let account = upload.lease.account;
    let endpoint = "POST /2/media/upload/{id}/append";
    db.store
        .note_media_windows(account, endpoint, &[window])
        .await
        .unwrap();
    let blocked = db.store.segment_done(&upload, "11", 1, TTL).await.unwrap();
    assert_eq!(blocked.unwrap().timestamp(), window.resets_at.timestamp());
    db.store.release_upload(&upload).await.unwrap();
    assert!(db.due().await.is_empty());
    let until = db.store.until_next_upload().await.unwrap().unwrap();
    assert!((20..=21).contains(&until.num_seconds()), "{until}");
    assert_eq!(db.claim(Uuid::new_v4()).await[0].text, "plain");
    db.advance("19 seconds").await;
    assert!(db.due().await.is_empty());
    db.advance("3 seconds").await;
    assert_eq!(db.due().await[0].segments_done, 1);
    db.drop().await;
}
