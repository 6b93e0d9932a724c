//! Apps that a login may use, what it proves, and grants that are forgotten.

use std::time::Duration;

use crier_store::{Import, OAuth1Tokens, OAuth2Tokens};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

const TTL: Duration = Duration::from_secs(30);

async fn with_job(db: &Db, handle: &str) {
    db.sql(&format!(
        "insert into crier.jobs (account, text) values ('{handle}', 'x')"
    ))
    .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
}

#[tokio::test]
async fn an_app_is_known_with_its_secret_and_a_signer_is_none() {
    let db = Db::new().await;
    assert_eq!(db.store.login_apps().await.unwrap(), [""; 0]);
    assert!(db.store.login_app("app").await.unwrap().is_none());
    db.account("acme", 1).await;
    db.store
        .import_account(&Import {
            x_user_id: "2".into(),
            handle: "signer".into(),
            oauth2: None,
            oauth1: Some(OAuth1Tokens {
                consumer_key: "key".to_owned().into(),
                consumer_secret: "secret".to_owned().into(),
                access_token: "token".to_owned().into(),
                access_token_secret: "token-secret".to_owned().into(),
            }),
        })
        .await
        .unwrap();
    let known = db.store.login_apps().await.unwrap();
    assert_eq!(
        known,
        ["app"],
        "an app of OAuth 1.0a has no page of OAuth 2.0"
    );
    let app = db.store.login_app("app").await.unwrap().unwrap();
    assert_eq!(
        app.client_secret.as_ref().unwrap().expose_secret(),
        "app-secret"
    );
    assert!(!format!("{app:?}").contains("app-secret"));
    db.drop().await;
}

#[tokio::test]
async fn what_is_forgotten_closes_the_lane_until_the_next_login() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    with_job(&db, "acme").await;
    let worker = Uuid::new_v4();
    let lease = db
        .store
        .begin_refresh(worker, account.id, TTL)
        .await
        .unwrap()
        .unwrap();
    let reason = json!({"code": "revoked"});
    let status = db.store.forget_credentials(&lease, &reason).await.unwrap();
    assert_eq!(status, "needs_login");
    assert!(db.store.tokens(account.id).await.unwrap().is_none());
    assert_eq!(db.claim(worker).await, []);
    let row = db
        .one("select status, reason, scopes from crier.accounts")
        .await;
    assert_eq!(
        row,
        json!({"status": "needs_login", "reason": reason, "scopes": []})
    );
    let again = db.account("acme", 1).await;
    assert_eq!((again.id, again.status.as_str()), (account.id, "active"));
    assert_eq!(db.claim(worker).await.len(), 1);
    db.drop().await;
}

#[tokio::test]
async fn grants_are_forgotten_by_the_holder_of_the_lease_only() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let late = db
        .store
        .begin_refresh(one, account.id, TTL)
        .await
        .unwrap()
        .unwrap();
    db.advance("31 seconds").await;
    let lease = db
        .store
        .begin_refresh(two, account.id, TTL)
        .await
        .unwrap()
        .unwrap();
    let error = db
        .store
        .forget_credentials(&late, &json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lease_lost");
    let tokens = db.store.tokens(account.id).await.unwrap().unwrap();
    // A rotation that comes after the grant was forgotten keeps nothing.
    db.advance("31 seconds").await;
    let third = db
        .store
        .begin_refresh(one, account.id, TTL)
        .await
        .unwrap()
        .unwrap();
    db.store
        .forget_credentials(&third, &json!({}))
        .await
        .unwrap();
    let rotated = OAuth2Tokens {
        client_id: "app".into(),
        client_secret: None,
        access_token: "new".to_owned().into(),
        refresh_token: Some("new-refresh".to_owned().into()),
        expires_in_s: 7200,
        scopes: Vec::new(),
    };
    let error = db
        .store
        .finish_refresh(&lease, tokens.version, &rotated)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lease_lost");
    assert!(db.store.tokens(account.id).await.unwrap().is_none());
    db.drop().await;
}

#[tokio::test]
async fn what_a_person_has_paused_stays_paused_without_its_grants() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    let reason = json!({"code": "paused"});
    db.store
        .pause_account(account.id, "paused", &reason)
        .await
        .unwrap();
    let lease = db
        .store
        .begin_refresh(Uuid::new_v4(), account.id, TTL)
        .await
        .unwrap()
        .unwrap();
    let status = db
        .store
        .forget_credentials(&lease, &json!({"code": "revoked"}))
        .await
        .unwrap();
    assert_eq!(status, "paused");
    assert_eq!(
        db.one("select reason from crier.accounts").await,
        json!({"reason": reason})
    );
    assert_eq!(db.account("acme", 1).await.status, "paused");
    db.drop().await;
}

#[tokio::test]
async fn an_app_goes_on_once_x_has_taken_its_secret_and_for_no_other_reason() {
    let db = Db::new().await;
    let one = db.account("one", 1).await;
    let two = db.account("two", 2).await;
    with_job(&db, "one").await;
    with_job(&db, "two").await;
    for (code, goes_on) in [("credits_depleted", 0), ("app_credentials", 2)] {
        db.store
            .pause_app(one.id, &json!({"code": code}))
            .await
            .unwrap();
        assert_eq!(db.claim(Uuid::new_v4()).await, []);
        let handles = db.store.app_proved(two.id).await.unwrap();
        assert_eq!(handles.len(), goes_on, "{code}");
    }
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 2);
    db.drop().await;
}
