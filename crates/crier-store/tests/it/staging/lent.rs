//! What uploads leave for others: the media id for accounts that its owner named, the size of segments for the next.

use crier_store::{Lent, Upload};
use serde_json::{Value, json};

use crate::db::Db;
use crate::staging::LEAD;

/// Job 1 of `lender` with the upload of `item`, ready; job 2 of `borrower`, claimed.
async fn pair(lender: &Value, borrower: &Value) -> (Db, Upload, Upload) {
    let db = Db::new().await;
    db.account("lender", 1).await;
    db.account("borrower", 2).await;
    db.sql(&format!(
        "insert into crier.jobs (account, text, media) values ('lender', 'x', '[{lender}]'), ('borrower', 'y', '[{borrower}]')"
    ))
    .await;
    db.store.plan_uploads(1, LEAD).await.unwrap();
    db.store.plan_uploads(2, LEAD).await.unwrap();
    let mut due = db.due().await;
    let (second, first) = (due.pop().unwrap(), due.pop().unwrap());
    (db, first, second)
}

fn shared() -> Value {
    json!({"path": "a.mp4", "alt_text": "a", "shared": true})
}

fn lent_to(id: &str) -> Value {
    let mut item = shared();
    item["additional_owners"] = json!([id]);
    item
}

#[tokio::test]
async fn an_upload_is_lent_only_to_whom_its_owner_names_for_the_same_item_and_bytes() {
    let (db, first, second) = pair(&lent_to("2"), &shared()).await;
    let look = async |stamp: &str| db.store.lent_upload(&second, stamp).await.unwrap();
    assert_eq!(look("10:1").await, Lent::Coming, "it is in hand");
    db.stage(&first, "77").await;
    let Lent::Ready {
        media_id,
        expires_in_s,
    } = look("10:1").await
    else {
        panic!()
    };
    assert_eq!(media_id, "77");
    assert!((80_000..86_400).contains(&expires_in_s), "{expires_in_s}");
    assert_eq!(look("10:2").await, Lent::None, "another file of that name");
    // It must outlive the borrower's time.
    db.sql("update crier.media_uploads set expires_at = crier.now() + interval '9 minutes' where job_id = 1")
        .await;
    assert_eq!(look("10:1").await, Lent::None);
    db.sql("update crier.media_uploads set expires_at = crier.now() + interval '1 hour' where job_id = 1")
        .await;
    assert_ne!(look("10:1").await, Lent::None);
    // Once refused, never again.
    db.sql(
        "insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, code, finished_at)
         select 2, account_id, 1, 1, gen_random_uuid(), 'publish', 'retry', 'media_invalid', crier.now() from crier.jobs where id = 2",
    )
    .await;
    assert_eq!(look("10:1").await, Lent::None);
    db.drop().await;

    let mut other_words = shared();
    other_words["alt_text"] = json!("b");
    let mut other_file = shared();
    other_file["path"] = json!("b.mp4");
    for (lender, borrower) in [
        (lent_to("3"), shared()),
        (shared(), shared()),
        (lent_to("2"), other_words),
        (lent_to("2"), other_file),
    ] {
        let (db, first, second) = pair(&lender, &borrower).await;
        let look = async || db.store.lent_upload(&second, "10:1").await.unwrap();
        assert_eq!(look().await, Lent::None, "{lender} {borrower}");
        db.stage(&first, "77").await;
        assert_eq!(look().await, Lent::None, "{lender} {borrower}");
        db.drop().await;
    }
}

#[tokio::test]
async fn an_upload_that_is_put_off_is_not_waited_for() {
    let (db, first, second) = pair(&lent_to("2"), &shared()).await;
    db.store.release_upload(&first).await.unwrap();
    let look = async || db.store.lent_upload(&second, "10:1").await.unwrap();
    assert_eq!(look().await, Lent::Coming, "about to be taken");
    db.sql("update crier.media_uploads set next_at = crier.now() + interval '1 minute' where job_id = 1")
        .await;
    assert_eq!(look().await, Lent::None);
    db.drop().await;
}

#[tokio::test]
async fn a_size_of_segments_that_x_takes_holds_for_the_account_and_for_a_day() {
    let (db, first, second) = pair(&shared(), &shared()).await;
    assert_eq!(first.account_segment_bytes, None);
    let account = first.lease.account;
    db.store.note_segment_bytes(account, 4096).await.unwrap();
    for upload in [&first, &second] {
        db.store.release_upload(upload).await.unwrap();
    }
    let sizes = async || -> Vec<Option<i32>> {
        let due = db.due().await;
        let sizes = due.iter().map(|u| u.account_segment_bytes).collect();
        for upload in &due {
            db.store.release_upload(upload).await.unwrap();
        }
        sizes
    };
    assert_eq!(sizes().await, [Some(4096), None]);
    db.advance("23 hours").await;
    assert_eq!(sizes().await, [Some(4096), None]);
    db.advance("2 hours").await;
    assert_eq!(sizes().await, [None, None]);
    db.drop().await;
}
