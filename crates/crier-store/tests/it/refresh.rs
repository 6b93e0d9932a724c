//! Refreshes: who may ask X and when, what is written before and after, and tokens that come late.

use std::time::Duration;

use crier_store::{Asked, Lease, OAuth2Tokens, PutBack, Refused, Rotation, Store};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

const TTL: Duration = Duration::from_mins(2);
const FLOOR: Duration = Duration::from_mins(10);
const MARGIN: Duration = Duration::from_secs(35);

fn pair(access: &str, expires_in_s: i64) -> OAuth2Tokens {
    OAuth2Tokens {
        client_id: "app".into(),
        client_secret: None,
        access_token: access.to_owned().into(),
        refresh_token: Some(format!("refresh of {access}").into()),
        expires_in_s,
        scopes: Vec::new(),
    }
}

async fn lease(db: &Db, worker: Uuid, account: i64) -> Lease {
    let lease = db.store.begin_refresh(worker, account, TTL).await.unwrap();
    lease.unwrap()
}

/// Asks as a worker does; gives the right back if X is not to be asked.
async fn ask(db: &Db, worker: Uuid, account: i64, forced: bool) -> Result<Lease, Asked> {
    let version = version(&db.store, account).await;
    let lease = lease(db, worker, account).await;
    let asked = db
        .store
        .ask_refresh(&lease, worker, version, (FLOOR, MARGIN), forced)
        .await
        .unwrap();
    if asked == Asked::Go {
        return Ok(lease);
    }
    db.store.abandon_refresh(&lease).await.unwrap();
    Err(asked)
}

async fn version(store: &Store, account: i64) -> i64 {
    store.tokens(account).await.unwrap().unwrap().version
}

async fn access(store: &Store, account: i64) -> String {
    let tokens = store.tokens(account).await.unwrap().unwrap();
    tokens.access_token.expose_secret().to_owned()
}

#[tokio::test]
async fn a_refresh_is_noted_before_x_is_asked_and_no_more_once_its_tokens_are_kept() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let worker = Uuid::new_v4();
    let lease = ask(&db, worker, account, false).await.unwrap();
    let there = db.store.tokens(account).await.unwrap().unwrap();
    let doubt = there.refreshes.doubt.unwrap();
    assert_eq!(doubt.by, Some(worker));
    db.advance("30 seconds").await;
    db.store
        .finish_refresh(&lease, 1, &pair("new", 7200))
        .await
        .unwrap();
    let kept = db.store.tokens(account).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.refreshes.doubt), (2, None));
    // Its life counts from when X was asked, not from when the database took it.
    let life = kept.access_expires_at - doubt.since;
    assert_eq!(life.num_seconds(), 7200);
    db.drop().await;
}

#[tokio::test]
async fn two_refreshes_of_an_account_are_a_floor_apart_whoever_asks() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let mut calls = 0;
    // Ten processes ask again and again for an hour, each time as if X had refused the token.
    for minute in 0..60 {
        if let Ok(lease) = ask(&db, Uuid::new_v4(), account, false).await {
            calls += 1;
            let version = version(&db.store, account).await;
            let tokens = pair(&format!("token {minute}"), 1);
            db.store
                .finish_refresh(&lease, version, &tokens)
                .await
                .unwrap();
        }
        db.advance("1 minute").await;
    }
    assert_eq!(calls, 6);
    // A person may insist; a login begins anew.
    let asked = ask(&db, Uuid::new_v4(), account, false).await;
    let asked = asked.map(|_| "may ask");
    assert_eq!(asked, Ok("may ask"), "the hour is over");
    db.drop().await;
}

#[tokio::test]
async fn a_person_may_insist_and_a_login_begins_anew() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let lease = ask(&db, Uuid::new_v4(), account, false).await.unwrap();
    db.store
        .finish_refresh(&lease, 1, &pair("new", 7200))
        .await
        .unwrap();
    let asked = ask(&db, Uuid::new_v4(), account, false).await;
    assert!(matches!(asked, Err(Asked::NotBefore(_))), "{asked:?}");
    let lease = ask(&db, Uuid::new_v4(), account, true).await.unwrap();
    db.store.abandon_refresh(&lease).await.unwrap();
    db.account("acme", 1).await;
    assert!(ask(&db, Uuid::new_v4(), account, false).await.is_ok());
    db.drop().await;
}

#[tokio::test]
async fn a_fault_asks_for_patience_and_a_clock_that_was_set_back_locks_nothing_for_ever() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let worker = Uuid::new_v4();
    let fault = json!({"code": "x_unavailable", "title": "X is away"});
    let lease = ask(&db, worker, account, false).await.unwrap();
    let until = db.store.now().await.unwrap() + Duration::from_mins(5);
    let refused = Refused {
        worker,
        version: 1,
        unspent: false,
        before: None,
        not_before: until,
        fault: fault.clone(),
    };
    db.store.refuse_refresh(&lease, &refused).await.unwrap();
    let there = db.store.tokens(account).await.unwrap().unwrap().refreshes;
    assert_eq!((there.faults, there.fault), (1, Some(fault)));
    // Nobody holds an answer: the process itself has said that none came.
    assert_eq!(there.doubt.unwrap().by, None);
    let asked = ask(&db, worker, account, false).await;
    assert_eq!(asked, Err(Asked::NotBefore(until)));
    db.advance("301 seconds").await;
    let lease = ask(&db, worker, account, false).await.unwrap();
    db.store
        .finish_refresh(&lease, 1, &pair("new", 7200))
        .await
        .unwrap();
    let there = db.store.tokens(account).await.unwrap().unwrap().refreshes;
    assert_eq!(
        (there.faults, there.fault, there.not_before),
        (0, None, None)
    );
    // The clock is set back by a day: what was written then is no reason to wait for a day.
    db.sql("update crier.credentials set refresh_not_before = crier.now() + interval '1 minute'")
        .await;
    db.advance("-1 day").await;
    assert!(ask(&db, worker, account, false).await.is_ok());
    db.drop().await;
}

#[tokio::test]
async fn a_doubt_outlives_answers_that_say_nothing_of_it() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let (dead, other) = (Uuid::new_v4(), Uuid::new_v4());
    ask(&db, dead, account, false).await.unwrap();
    db.advance("3 minutes").await;
    let before = db.store.tokens(account).await.unwrap().unwrap().refreshes;
    let before = before.doubt.unwrap();
    let lease = ask(&db, other, account, false).await.unwrap();
    let refused = Refused {
        worker: other,
        version: 1,
        unspent: true,
        before: Some(before),
        not_before: db.store.now().await.unwrap(),
        fault: json!({"code": "rate_limited"}),
    };
    db.store.refuse_refresh(&lease, &refused).await.unwrap();
    let there = db.store.tokens(account).await.unwrap().unwrap().refreshes;
    assert_eq!(
        there.doubt,
        Some(before),
        "the first one may hold the answer"
    );
    // Without one before, an answer that surely spent nothing leaves none behind.
    db.account("acme", 1).await;
    let lease = ask(&db, other, account, false).await.unwrap();
    let refused = Refused {
        version: 2,
        before: None,
        ..refused
    };
    db.store.refuse_refresh(&lease, &refused).await.unwrap();
    let there = db.store.tokens(account).await.unwrap().unwrap().refreshes;
    assert_eq!(there.doubt, None);
    db.drop().await;
}

#[tokio::test]
async fn nobody_asks_under_a_lease_that_is_over_or_for_tokens_that_are_gone() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let (late, other) = (Uuid::new_v4(), Uuid::new_v4());
    let stopped = lease(&db, late, account).await;
    let ask = |lease: Lease, version| {
        let store = db.store.clone();
        async move {
            store
                .ask_refresh(&lease, late, version, (FLOOR, MARGIN), true)
                .await
                .unwrap()
        }
    };
    assert_eq!(ask(stopped, 2).await, Asked::Changed);
    // So little is left of the lease that the call might outlast it.
    db.advance("100 seconds").await;
    assert_eq!(ask(stopped, 1).await, Asked::Changed);
    db.advance("21 seconds").await;
    lease(&db, other, account).await;
    assert_eq!(ask(stopped, 1).await, Asked::Changed);
    let there = db.store.tokens(account).await.unwrap().unwrap();
    assert_eq!(there.refreshes.doubt, None);
    db.drop().await;
}

#[tokio::test]
async fn an_absurd_life_of_a_token_is_bounded_and_loses_nothing() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    for (spent, life) in [i64::MAX, i64::MIN, -1, 0].into_iter().enumerate() {
        let spent = i64::try_from(spent).unwrap() + 1;
        let lease = lease(&db, Uuid::new_v4(), account).await;
        let tokens = pair(&format!("token {spent}"), life);
        db.store
            .finish_refresh(&lease, spent, &tokens)
            .await
            .unwrap();
        let there = db.store.tokens(account).await.unwrap().unwrap();
        let left = there.access_expires_at - there.rotated_at;
        assert!((0..=365).contains(&left.num_days()), "{life}: {left}");
    }
    db.drop().await;
}

#[tokio::test]
async fn tokens_that_were_left_behind_take_the_place_of_those_they_were_spent_for_only() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    let deployment = db.store.deployment().await.unwrap();
    let spent = db.store.tokens(account).await.unwrap().unwrap();
    let rotation = Rotation::new(deployment, account, &spent, pair("left behind", 7200));
    let file = db.store.seal_rotation(&rotation).unwrap();
    for secret in ["left behind", "acme"] {
        let found = file
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    // Cut, altered, or of another key: nothing of it is believed.
    for end in [0, 5, 9, 20, file.len() - 1] {
        let error = db.store.open_rotation(&file[..end]).unwrap_err();
        assert_eq!(error.code(), "credentials_damaged");
    }
    let stranger = db.with_keys(&[9]).await;
    assert_eq!(
        stranger.open_rotation(&file).unwrap_err().code(),
        "key_missing"
    );
    let elsewhere = Rotation::new(Uuid::new_v4(), account, &spent, pair("of others", 7200));
    let not_ours = db.store.put_back(&elsewhere).await.unwrap();
    assert_eq!(not_ours, PutBack::NotOurs);
    let mut other = spent.clone();
    other.refresh_token = Some("another refresh token".to_owned().into());
    let moved = Rotation::new(deployment, account, &other, pair("of others", 7200));
    assert_eq!(db.store.put_back(&moved).await.unwrap(), PutBack::NotOurs);
    assert_eq!(access(&db.store, account).await, "access-token");
    let read = db.store.open_rotation(&file).unwrap();
    db.store
        .pause_account(account, "needs_login", &json!({"code": "rotation_lost"}))
        .await
        .unwrap();
    assert_eq!(db.store.put_back(&read).await.unwrap(), PutBack::Kept);
    assert_eq!(access(&db.store, account).await, "left behind");
    let seen = db.one("select status from crier.accounts").await;
    assert_eq!(seen["status"], "active");
    assert_eq!(db.store.put_back(&read).await.unwrap(), PutBack::Needless);
    // The process that held them tries once more: they are there, and that is well.
    let lease = lease(&db, Uuid::new_v4(), account).await;
    let again = db.store.finish_refresh(&lease, 1, &read.tokens).await;
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(version(&db.store, account).await, 2);
    stranger.close().await;
    db.drop().await;
}

#[tokio::test]
async fn tokens_that_come_late_let_the_account_go_on_unless_it_was_stopped_for_another_reason() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    for (version, (status, code, goes_on)) in (1..).zip([
        ("needs_login", "rotation_lost", true),
        ("needs_login", "grant_dead", true),
        ("needs_login", "revoked", false),
        ("suspended", "account_suspended", false),
        ("paused", "paused", false),
    ]) {
        db.store
            .pause_account(account, status, &json!({"code": code}))
            .await
            .unwrap();
        let lease = db.store.begin_refresh(Uuid::new_v4(), account, TTL).await;
        let lease = lease.unwrap().unwrap();
        db.store
            .finish_refresh(&lease, version, &pair("new", 7200))
            .await
            .unwrap();
        let seen = db.one("select status from crier.accounts").await;
        assert_eq!(seen["status"] == "active", goes_on, "{code}");
    }
    db.drop().await;
}
