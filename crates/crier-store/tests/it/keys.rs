//! The way from one key to the next, beside everything that runs.

use std::time::Duration;

use crier_store::{Import, OAuth1Tokens, OAuth2Tokens, Resealed, Store};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::db::{Db, OWN_KEY, key};

const NEW_KEY: u8 = 2;

async fn signer(db: &Db) -> i64 {
    let text = |text: &str| text.to_owned().into();
    let import = Import {
        x_user_id: "2".into(),
        handle: "signer".into(),
        oauth2: None,
        oauth1: Some(OAuth1Tokens {
            consumer_key: text("key"),
            consumer_secret: text("secret"),
            access_token: text("token"),
            access_token_secret: text("token-secret"),
        }),
    };
    db.store.import_account(&import).await.unwrap().id
}

/// Seals anew what is under other keys; answers how often each came.
async fn rotate(store: &Store) -> (usize, usize) {
    let (mut done, mut rest) = (0, 0);
    for row in store.sealed_elsewhere(None, 100).await.unwrap() {
        match store.reseal(&row).await {
            Ok(Resealed::Done) => done += 1,
            Ok(Resealed::Changed) | Err(_) => rest += 1,
        }
    }
    (done, rest)
}

#[tokio::test]
async fn everything_is_sealed_anew_and_opens_with_the_new_key_alone() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let signer = signer(&db).await;
    let both = db.with_keys(&[NEW_KEY, OWN_KEY]).await;
    let tokens = both.tokens(account).await.unwrap().unwrap();
    assert_eq!(tokens.access_token.expose_secret(), "access-token");
    assert_eq!(rotate(&both).await, (3, 0), "two grants and a secret");
    assert_eq!(both.sealed_elsewhere(None, 100).await.unwrap(), []);
    let new = db.with_keys(&[NEW_KEY]).await;
    let tokens = new.tokens(account).await.unwrap().unwrap();
    assert_eq!(
        tokens.refresh_token.unwrap().expose_secret(),
        "refresh-token"
    );
    assert_eq!(tokens.client_secret.unwrap().expose_secret(), "app-secret");
    assert_eq!(tokens.version, 1, "the tokens are the same");
    let opened = new.oauth1_tokens(signer).await.unwrap().unwrap();
    assert_eq!(
        opened.tokens.access_token_secret.expose_secret(),
        "token-secret"
    );
    // Whoever has the former key alone says so, and which.
    let error = db.store.tokens(account).await.unwrap_err();
    assert_eq!(error.code(), "key_missing");
    let told = error.to_string();
    assert!(
        told.contains("`acme`") && told.contains(key(NEW_KEY).id()),
        "{told}"
    );
    let counts = new.sealed_counts(60).await.unwrap();
    let [count] = &counts[..] else {
        panic!("{counts:?}")
    };
    assert_eq!(
        (count.oauth2, count.oauth1, count.apps, &*count.key_id),
        (1, 1, 1, key(NEW_KEY).id())
    );
    both.close().await;
    new.close().await;
    db.drop().await;
}

#[tokio::test]
async fn whoever_refreshes_while_a_row_is_sealed_anew_wins() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let both = db.with_keys(&[NEW_KEY, OWN_KEY]).await;
    let rows = both.sealed_elsewhere(None, 100).await.unwrap();
    // A process that has the former key alone refreshes between the read and the write.
    let lease = db
        .store
        .begin_refresh(Uuid::new_v4(), account, Duration::from_mins(2))
        .await
        .unwrap()
        .unwrap();
    let rotated = OAuth2Tokens {
        client_id: "app".into(),
        client_secret: None,
        access_token: "fresh".to_owned().into(),
        refresh_token: Some("fresh-refresh".to_owned().into()),
        expires_in_s: 7200,
        scopes: Vec::new(),
    };
    db.store.finish_refresh(&lease, 1, &rotated).await.unwrap();
    let grant = rows.iter().find(|row| row.kind == "oauth2").unwrap();
    assert_eq!(both.reseal(grant).await.unwrap(), Resealed::Changed);
    assert_eq!(rotate(&both).await, (2, 0));
    let tokens = both.tokens(account).await.unwrap().unwrap();
    assert_eq!(
        (tokens.access_token.expose_secret(), tokens.version),
        ("fresh", 2)
    );
    // And the other way round: a refresh under way keeps what X gave although its row was sealed anew.
    let lease = both
        .begin_refresh(Uuid::new_v4(), account, Duration::from_mins(2))
        .await
        .unwrap()
        .unwrap();
    both.finish_refresh(&lease, 2, &rotated).await.unwrap();
    both.close().await;
    db.drop().await;
}

#[tokio::test]
async fn what_does_not_open_is_named_and_left_as_it_is() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let other = db.account("other", 2).await.id;
    let both = db.with_keys(&[NEW_KEY, OWN_KEY]).await;
    for (damage, code) in [
        ("sealed = substr(sealed, 1, 30)", "credentials_damaged"),
        ("sealed = ''", "credentials_damaged"),
        (
            "sealed = decode(repeat('ab', 100), 'hex')",
            "credentials_damaged",
        ),
        (
            "sealed = (select sealed from crier.credentials where account_id = 2)",
            "credentials_damaged",
        ),
        ("key_id = 'feedbeef'", "key_missing"),
        ("key_id = ''", "key_missing"),
    ] {
        db.sql("create table if not exists crier.kept as table crier.credentials")
            .await;
        db.sql(&format!(
            "update crier.credentials set {damage} where account_id = {account}"
        ))
        .await;
        let error = both.tokens(account).await.unwrap_err();
        assert_eq!(error.code(), code, "{damage}: {error}");
        assert!(error.to_string().contains("`acme`"), "{error}");
        assert!(both.tokens(other).await.is_ok(), "{damage}");
        let rows = both.sealed_elsewhere(None, 100).await.unwrap();
        let row = rows.iter().find(|row| row.name == "acme").unwrap();
        assert_eq!(both.reseal(row).await.unwrap_err().code(), code);
        db.sql("update crier.credentials c set sealed = k.sealed, key_id = k.key_id from crier.kept k where k.account_id = c.account_id")
            .await;
    }
    assert_eq!(rotate(&both).await, (3, 0));
    both.close().await;
    db.drop().await;
}

#[tokio::test]
async fn processes_tell_which_key_they_seal_with() {
    let db = Db::new().await;
    let both = db.with_keys(&[NEW_KEY, OWN_KEY]).await;
    for (store, host) in [(&db.store, "old.example"), (&both, "new.example")] {
        store
            .seen(Uuid::new_v4(), "worker", host, "1")
            .await
            .unwrap();
    }
    let mut seen: Vec<_> = both
        .sealed_counts(60)
        .await
        .unwrap()
        .into_iter()
        .map(|count| (count.key_id, count.processes, json!(count.hosts)))
        .collect();
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    let mut told = vec![
        (key(OWN_KEY).id().to_owned(), 1, json!(["old.example"])),
        (key(NEW_KEY).id().to_owned(), 1, json!(["new.example"])),
    ];
    told.sort_by(|one: &(String, i64, serde_json::Value), other| one.0.cmp(&other.0));
    assert_eq!(seen, told);
    both.close().await;
    db.drop().await;
}
