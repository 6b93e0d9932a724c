//! Accounts of OAuth 1.0a, what people say of accounts, rows that are only tried, posts that are deleted again.

use crier_core::answer::Endpoint;
use crier_core::limit::{LimitClass, Window, WindowLength};
use crier_core::tier::Tier;
use crier_core::v1::Publisher;
use crier_store::{
    Account, Deletion, Import, NewJob, OAuth1Tokens, Settlement, Trial, Waiting, Why,
};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

async fn signer(db: &Db, handle: &str, number: u32) -> Account {
    let secret = |word: &str| format!("{word}-{number}").into();
    db.store
        .import_account(&Import {
            x_user_id: number.to_string(),
            handle: handle.into(),
            oauth2: None,
            oauth1: Some(OAuth1Tokens {
                consumer_key: "consumer-key".to_owned().into(),
                consumer_secret: secret("consumer-secret"),
                access_token: secret("token"),
                access_token_secret: secret("token-secret"),
            }),
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn oauth_1_0a_tokens_are_sealed_and_their_app_is_known_by_no_secret() {
    let db = Db::new().await;
    let (first, second) = (signer(&db, "acme", 1).await, signer(&db, "other", 2).await);
    let opened = db.store.oauth1_tokens(first.id).await.unwrap().unwrap();
    assert_eq!(opened.version, 1);
    assert_eq!(opened.tokens.consumer_key.expose_secret(), "consumer-key");
    assert_eq!(
        opened.tokens.access_token_secret.expose_secret(),
        "token-secret-1"
    );
    let kept = db
        .one("select string_agg(encode(sealed, 'escape'), '') || (select string_agg(p::text, '') from crier.apps p)
                || (select string_agg(a::text, '') from crier.accounts a) as all from crier.credentials")
        .await;
    for secret in ["consumer-key", "consumer-secret", "token-1", "token-secret"] {
        assert!(!kept["all"].as_str().unwrap().contains(secret), "{secret}");
    }
    assert_eq!(first.app_id, second.app_id, "one key, one app");
    assert!(first.app_id.is_some());
    // So that what X says of the app stops both.
    db.store
        .pause_app(first.id, &json!({"code": "credits_depleted"}))
        .await
        .unwrap();
    let app = db.one("select status from crier.apps").await;
    assert_eq!(app["status"], "paused");
    assert!(db.store.tokens(first.id).await.unwrap().is_none());
    db.drop().await;
}

#[tokio::test]
async fn oauth_1_0a_brought_alone_lets_a_good_grant_be_and_replaces_a_dead_one() {
    let db = Db::new().await;
    let before = db.account("acme", 1).await;
    let after = signer(&db, "acme", 1).await;
    assert_eq!(
        (after.app_id, &after.scopes),
        (before.app_id, &before.scopes)
    );
    assert!(db.store.tokens(after.id).await.unwrap().is_some());
    // What a gateway says of v1.1 ends no grant of OAuth 2.0.
    db.sql("update crier.accounts set status = 'needs_login', reason = '{\"code\": \"v1_credentials\"}'")
        .await;
    assert_eq!(signer(&db, "acme", 1).await.status, "active");
    assert!(db.store.tokens(after.id).await.unwrap().is_some());
    db.sql(
        "update crier.accounts set status = 'needs_login', reason = '{\"code\": \"grant_dead\"}'",
    )
    .await;
    let revived = signer(&db, "acme", 1).await;
    assert_eq!(revived.status, "active");
    assert!(db.store.tokens(after.id).await.unwrap().is_none());
    assert_ne!(revived.app_id, before.app_id);
    assert_eq!(revived.scopes, Vec::<String>::new());
    db.drop().await;
}

#[tokio::test]
async fn an_app_without_a_row_stops_its_account_at_least() {
    let db = Db::new().await;
    let account = signer(&db, "acme", 1).await;
    // As it was imported before apps of OAuth 1.0a had rows.
    db.sql("update crier.accounts set app_id = null").await;
    db.store
        .pause_app(account.id, &json!({"code": "credits_depleted"}))
        .await
        .unwrap();
    let row = db
        .one("select status, reason->>'code' as code from crier.accounts")
        .await;
    assert_eq!(
        row,
        json!({"status": "suspended", "code": "credits_depleted"})
    );
    db.drop().await;
}

#[tokio::test]
async fn a_tier_sets_the_length_and_a_publisher_needs_its_tokens() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    assert_eq!(
        db.store.set_tier(account.id, Tier::Premium).await.unwrap(),
        25_000
    );
    db.sql("update crier.accounts set tier = 'standard'").await;
    assert_eq!(
        db.one("select text_limit from crier.accounts").await["text_limit"],
        280
    );
    db.sql("update crier.accounts set text_limit = 4000").await;
    assert_eq!(
        db.one("select tier from crier.accounts").await["tier"],
        "standard"
    );
    let v1 = Publisher::V1UpdateWithMedia;
    let refused = db.store.set_publisher(account.id, v1).await.unwrap_err();
    assert_eq!(refused.code(), "refused");
    signer(&db, "acme", 1).await;
    db.store.set_publisher(account.id, v1).await.unwrap();
    // Its media go with the post: nothing is planned, and nothing is waited for.
    db.sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'x', '[{"path": "a.png"}]')"#).await;
    db.store
        .plan_uploads(1, std::time::Duration::from_mins(30))
        .await
        .unwrap();
    let row = db
        .one("select held, (select count(*) from crier.media_uploads) as uploads from crier.jobs")
        .await;
    assert_eq!(row, json!({"held": 0, "uploads": 0}));
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed[0].publisher, v1);
    // X counts its calls apart, and the day's media hold for all.
    let resets_at = db.store.now().await.unwrap() + chrono::TimeDelta::hours(5);
    let resets_at = chrono::DateTime::from_timestamp(resets_at.timestamp(), 0).unwrap();
    let window = Window {
        class: LimitClass::Account,
        length: WindowLength::Day,
        limit: Some(3),
        remaining: Some(1),
        resets_at,
    };
    let endpoint = Endpoint::UpdateWithMedia;
    let why = Why {
        code: "x".into(),
        http_status: None,
        error: json!({}),
    };
    let snoozed = Settlement::Snoozed { until: None, why };
    db.store
        .settle_by(&claimed[0].lease, endpoint, &[window], &snoozed, None)
        .await
        .unwrap();
    assert_eq!(
        db.store.day_left(account.id, endpoint).await.unwrap(),
        Some((1, resets_at))
    );
    db.advance("6 hours").await;
    assert_eq!(db.store.day_left(account.id, endpoint).await.unwrap(), None);
    db.drop().await;
}

#[tokio::test]
async fn a_row_that_is_only_tried_leaves_no_trace() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let job = NewJob {
        account: "@ACME".into(),
        text: "hello".into(),
        dedupe_key: Some("k".into()),
        media: Some(json!([{"path": "a.png"}])),
        ..NewJob::default()
    };
    for _ in 0..2 {
        let Trial::New { draft, state, .. } = db.store.try_job(&job).await.unwrap() else {
            panic!("it is new");
        };
        assert_eq!(
            (draft.handle.as_str(), draft.text.as_str(), state.as_str()),
            ("acme", "hello", "scheduled")
        );
    }
    for table in [
        "jobs",
        "job_keys",
        "job_checks",
        "lane_signals",
        "total_deltas",
    ] {
        let left = db
            .one(&format!("select count(*) as n from crier.{table}"))
            .await;
        assert_eq!(left["n"], 0, "{table}");
    }
    let bad = NewJob {
        options: Some(json!({"colour": 1})),
        ..job.clone()
    };
    let refused = db.store.try_job(&bad).await.unwrap_err();
    assert!(refused.database_words().unwrap().0.contains("colour"));
    db.store.insert_job(&job).await.unwrap();
    assert_eq!(
        db.one("select id from crier.jobs").await["id"],
        1,
        "no number was spent"
    );
    assert_eq!(db.store.try_job(&job).await.unwrap(), Trial::Known(1));
    db.drop().await;
}

#[tokio::test]
async fn waiting_jobs_are_read_in_pages() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql(
        "insert into crier.jobs (account, text, campaign) select 'acme', 'job ' || n, case when n > 3 then 'spring' end from generate_series(1, 5) n;
         select crier.cancel(5); select crier.pause_campaign('spring')",
    )
    .await;
    let read = async |waiting: &Waiting, above, limit| {
        let drafts = db
            .store
            .waiting_drafts(waiting, above, limit)
            .await
            .unwrap();
        drafts.iter().map(|draft| draft.job).collect::<Vec<_>>()
    };
    assert_eq!(read(&Waiting::All, 0, 2).await, [1, 2]);
    assert_eq!(read(&Waiting::All, 2, 9).await, [3, 4]);
    assert_eq!(read(&Waiting::Campaign("spring".into()), 0, 9).await, [4]);
    assert_eq!(read(&Waiting::Jobs(vec![5, 2]), 0, 9).await, [2]);
    db.drop().await;
}

#[tokio::test]
async fn a_reply_to_a_post_of_ones_own_is_known_as_such() {
    let db = Db::new().await;
    for (handle, number) in [("acme", 1), ("other", 2)] {
        db.account(handle, number).await;
    }
    db.sql(
        r#"insert into crier.posts (post_id, job_id, account_id, published_at) select '77', 100, id, crier.now() from crier.accounts where handle = 'acme';
           insert into crier.jobs (account, text, options) select h, 'x', '{"reply": {"in_reply_to_tweet_id": "77"}}' from unnest(array['acme', 'other']) h"#,
    )
    .await;
    let drafts = db.store.waiting_drafts(&Waiting::All, 0, 9).await.unwrap();
    let own: Vec<_> = drafts
        .iter()
        .map(|draft| (draft.draft.handle.as_str(), draft.draft.replies_to_own))
        .collect();
    assert_eq!(own, [("acme", true), ("other", false)]);
    let claimed = db.claim(Uuid::new_v4()).await;
    let own: Vec<_> = claimed.iter().map(|job| job.replies_to_own).collect();
    assert_eq!(own, [true, false]);
    db.drop().await;
}

#[tokio::test]
async fn a_deleted_post_stays_its_jobs_one_post() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    let worker = Uuid::new_v4();
    let job = db.claim(worker).await.remove(0);
    db.store
        .begin_sending(
            &job.lease,
            job.revision,
            std::time::Duration::from_secs(1),
            &[],
        )
        .await
        .unwrap();
    let post_id = "77".to_owned();
    db.store
        .settle(&job.lease, &[], &Settlement::Published { post_id })
        .await
        .unwrap();
    let post = db.store.job_post(1).await.unwrap().unwrap();
    assert_eq!(
        (post.post_id.as_str(), post.deleted_at, post.is_awaited),
        ("77", None, false)
    );
    let asked = db.store.now().await.unwrap();
    let why = Why {
        code: "no_answer".into(),
        http_status: None,
        error: json!({"code": "no_answer"}),
    };
    let unknown = Deletion::Unknown(why);
    let gone = Deletion::Gone(None);
    for (deletion, is_gone) in [(&unknown, false), (&gone, true), (&gone, true)] {
        let at = db
            .store
            .note_deletion(worker, &post, asked, deletion, &[])
            .await
            .unwrap();
        assert_eq!(at.is_some(), is_gone);
    }
    let ledger = db.store.ledger(1).await.unwrap();
    let outcomes: Vec<_> = ledger
        .iter()
        .map(|row| {
            (
                row.number,
                row.step.as_str(),
                row.outcome.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, "publish", "published"),
            (1, "unpublish", "unknown"),
            (2, "unpublish", "unpublished"),
            (3, "unpublish", "unpublished")
        ]
    );
    let row = db.store.job(1).await.unwrap().unwrap();
    assert!(row["state"] == "published" && row["unpublished_at"].is_string());
    let (message, hint) = db.refused("select crier.retry(1)").await;
    assert!(message.contains("its post was deleted") && hint.contains("insert a new one"));
    assert!(db.store.job_post(2).await.unwrap().is_none());
    db.drop().await;
}
