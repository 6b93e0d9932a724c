//! Credentials: sealed at rest, bound to their account, opened only with their key.

use secrecy::ExposeSecret;

use crate::db::Db;

#[tokio::test]
async fn tokens_are_sealed_at_rest_and_open_for_their_account_only() {
    let db = Db::new().await;
    let first = db.account("acme", 1).await;
    let second = db.account("other", 2).await;
    let tokens = db.store.tokens(first.id).await.unwrap().unwrap();
    assert_eq!(tokens.access_token.expose_secret(), "access-token");
    assert_eq!(
        tokens.refresh_token.unwrap().expose_secret(),
        "refresh-token"
    );
    assert_eq!(tokens.client_secret.unwrap().expose_secret(), "app-secret");
    let row = db.one("select string_agg(encode(sealed, 'escape'), '') || (select string_agg(encode(sealed_secret, 'escape'), '') from crier.apps) as all from crier.credentials").await;
    for secret in ["access-token", "refresh-token", "app-secret"] {
        assert!(!row["all"].as_str().unwrap().contains(secret));
    }
    // Swapped between accounts by somebody with write access: neither opens.
    db.sql("update crier.credentials c set sealed = o.sealed from crier.credentials o where c.account_id <> o.account_id").await;
    for account in [first.id, second.id] {
        let error = db.store.tokens(account).await.unwrap_err();
        assert_eq!(error.code(), "credentials_damaged", "{error}");
    }
    db.drop().await;
}

#[tokio::test]
async fn importing_again_renews_the_grant_and_opens_the_lane() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    db.sql("update crier.accounts set status = 'needs_login'; update crier.lanes set not_before = 'infinity', next_at = null").await;
    assert_eq!(db.claim(uuid::Uuid::new_v4()).await, []);
    let again = db.account("AcmeRenamed", 1).await;
    assert_eq!(
        (again.id, again.status.as_str(), again.handle.as_str()),
        (account.id, "active", "AcmeRenamed")
    );
    assert_eq!(db.claim(uuid::Uuid::new_v4()).await.len(), 1);
    db.drop().await;
}
