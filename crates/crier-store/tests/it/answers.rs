//! What X's answers mean for more than one job: pauses that heal, limits without an end, costs and budgets.

use std::time::Duration;

use crier_core::answer::Endpoint;
use crier_core::price::{Charge, Priced, Prices};
use crier_store::{Probe, Settlement};
use serde_json::json;
use uuid::Uuid;

use crate::db::Db;

const TRIAL: Duration = Duration::from_mins(2);

fn published(id: &str) -> Settlement {
    Settlement::Published { post_id: id.into() }
}

fn post() -> Charge {
    Prices::default().charge(Priced::Post, 1)
}

/// Three accounts of one app with a job each, the app paused.
async fn paused() -> (Db, Vec<i64>) {
    let db = Db::new().await;
    let mut accounts = Vec::new();
    for (number, handle) in [(1, "one"), (2, "two"), (3, "three")] {
        accounts.push(db.account(handle, number).await.id);
    }
    db.sql(
        "insert into crier.jobs (account, text) values ('one', 'a'), ('two', 'b'), ('three', 'c')",
    )
    .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    let reason = json!({"code": "credits_depleted"});
    assert!(db.store.pause_app(accounts[0], &reason).await.unwrap());
    assert!(
        !db.store.pause_app(accounts[1], &reason).await.unwrap(),
        "said once"
    );
    (db, accounts)
}

#[tokio::test]
async fn a_paused_app_is_asked_about_once_an_interval_by_all_processes_together() {
    let (db, accounts) = paused().await;
    assert_eq!(db.store.claim_probe().await.unwrap(), None, "not at once");
    db.advance("13 minutes").await;
    assert_eq!(db.store.claim_probe().await.unwrap(), None);
    let mut waits = Vec::new();
    for _ in 0..7 {
        db.sql(
            "update crier.clock set shift = shift + (select probe_at - crier.now() from crier.apps)",
        )
        .await;
        let other = db.connect().await;
        let (first, second) = tokio::join!(db.store.claim_probe(), other.claim_probe());
        let taken: Vec<Probe> = [first.unwrap(), second.unwrap()]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
        assert!(accounts.contains(&taken[0].account.unwrap()));
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "asking opens nothing");
        let next = db
            .one("select (extract(epoch from probe_at - crier.now()) / 60)::int as wait from crier.apps")
            .await;
        waits.push(next["wait"].as_i64().unwrap());
        other.close().await;
    }
    // 30, 60, 120, 240, 360 minutes, each a tenth more or less.
    for (wait, about) in waits.iter().zip([30, 60, 120, 240, 360, 360, 360]) {
        assert!(
            (about * 89 / 100..=about * 111 / 100).contains(wait),
            "{waits:?}"
        );
    }
    db.drop().await;
}

#[tokio::test]
async fn an_app_that_x_takes_again_sends_one_account_ahead_and_then_all() {
    let (db, accounts) = paused().await;
    db.advance("20 minutes").await;
    let app = db.store.claim_probe().await.unwrap().unwrap().app.unwrap();
    assert!(db.store.reopen_app(app, TRIAL).await.unwrap());
    let ahead = db.claim(Uuid::new_v4()).await;
    assert_eq!(ahead.len(), 1, "{ahead:?}");
    // X refuses it: all wait again, and longer than the first time.
    let reason = json!({"code": "credits_depleted"});
    let account = ahead[0].lease.account;
    assert!(db.store.pause_app(account, &reason).await.unwrap());
    let why = crier_store::Why {
        code: "credits_depleted".into(),
        http_status: Some(402),
        error: reason,
    };
    let snoozed = Settlement::Snoozed { until: None, why };
    db.store
        .settle(&ahead[0].lease, &[], &snoozed)
        .await
        .unwrap();
    db.advance("20 minutes").await;
    assert_eq!(db.store.claim_probe().await.unwrap(), None);
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.advance("20 minutes").await;
    db.store.claim_probe().await.unwrap().unwrap();
    assert!(db.store.reopen_app(app, TRIAL).await.unwrap());
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), 1);
    db.advance("2 minutes 1 second").await;
    assert_eq!(db.claim(Uuid::new_v4()).await.len(), accounts.len() - 1);
    let row = db
        .one("select status, reason, probe_at from crier.apps")
        .await;
    assert_eq!(
        row,
        json!({"status": "active", "reason": null, "probe_at": null})
    );
    db.drop().await;
}

#[tokio::test]
async fn a_usage_cap_is_not_asked_about_before_its_period_ends() {
    let (db, accounts) = paused().await;
    let until = db.store.now().await.unwrap() + chrono::TimeDelta::days(9);
    let reason = json!({"code": "usage_capped"});
    let store = &db.store;
    store
        .pause_app_until(accounts[0], &reason, Some(until))
        .await
        .unwrap();
    db.advance("8 days").await;
    assert_eq!(store.claim_probe().await.unwrap(), None);
    db.advance("1 day 1 second").await;
    assert!(store.claim_probe().await.unwrap().is_some());
    db.drop().await;
}

#[tokio::test]
async fn what_x_suspended_heals_and_what_a_person_paused_does_not() {
    let db = Db::new().await;
    let (suspended, person, login) = (
        db.account("suspended", 1).await.id,
        db.account("person", 2).await.id,
        db.account("login", 3).await.id,
    );
    db.sql("insert into crier.jobs (account, text) values ('suspended', 'a'), ('person', 'b'), ('login', 'c')")
        .await;
    while db.store.apply_signals(100).await.unwrap() > 0 {}
    let store = &db.store;
    let because = |code: &str| json!({"code": code});
    for (account, status) in [
        (suspended, "suspended"),
        (person, "paused"),
        (login, "needs_login"),
    ] {
        assert!(
            store
                .pause_account(account, status, &because(status))
                .await
                .unwrap()
        );
    }
    // X says so of an account that a person has stopped, too: the person's word stands.
    assert!(
        !store
            .pause_account(person, "suspended", &because("account_suspended"))
            .await
            .unwrap()
    );
    db.advance("20 minutes").await;
    let probe = store.claim_probe().await.unwrap().unwrap();
    let wanted = Probe {
        app: None,
        account: Some(suspended),
    };
    assert_eq!(probe, wanted);
    assert_eq!(store.claim_probe().await.unwrap(), None);
    assert!(store.reopen_account(suspended).await.unwrap());
    assert!(!store.reopen_account(person).await.unwrap());
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].lease.account, suspended);
    let held = store.account_holds(person).await.unwrap();
    assert_eq!(held, [because("paused")]);
    db.advance("9 days").await;
    assert_eq!(store.claim_probe().await.unwrap(), None);
    db.drop().await;
}

#[tokio::test]
async fn a_limit_without_an_end_closes_the_lane_longer_each_time_until_x_accepts() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await.id;
    db.sql("insert into crier.jobs (account, text) select 'acme', 'n' || n from generate_series(1, 20) n")
        .await;
    let create = "POST /2/tweets";
    let minutes = |refusals: u32| Duration::from_mins(u64::from(refusals));
    for refusals in 1..=3 {
        let job = db.claim(Uuid::new_v4()).await.remove(0);
        let until = db
            .store
            .limit_unstated(account, create, minutes)
            .await
            .unwrap();
        // Another call of the same moment is the same refusal.
        let again = db
            .store
            .limit_unstated(account, create, |_| Duration::from_hours(9))
            .await;
        assert_eq!(again.unwrap(), until);
        let why = crier_store::Why {
            code: "rate_limited".into(),
            http_status: Some(429),
            error: json!({"code": "rate_limited"}),
        };
        let until = Some(until);
        let snoozed = Settlement::Snoozed { until, why };
        db.store.settle(&job.lease, &[], &snoozed).await.unwrap();
        // The other nineteen must not each find out by themselves.
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "after {refusals}");
        db.advance(&format!("{} seconds", refusals * 60 - 5)).await;
        assert_eq!(db.claim(Uuid::new_v4()).await, [], "after {refusals}");
        db.advance("6 seconds").await;
    }
    let job = db.claim(Uuid::new_v4()).await.remove(0);
    db.store
        .settle(&job.lease, &[], &published("1"))
        .await
        .unwrap();
    let left = db
        .store
        .select_json("select 1 as n from crier.limit_windows")
        .await;
    assert_eq!(left.unwrap().len(), 0, "begun anew");
    db.drop().await;
}

#[tokio::test]
async fn a_post_is_charged_in_the_commit_that_publishes_it_and_in_no_other() {
    let db = Db::new().await;
    let account = db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'a'), ('acme', 'b')")
        .await;
    let first = db.claim(Uuid::new_v4()).await.remove(0);
    let store = &db.store;
    store
        .settle_by(
            &first.lease,
            Endpoint::CreatePost,
            &[],
            &published("7"),
            Some(post()),
        )
        .await
        .unwrap();
    // Said again, by somebody whose lease is gone: not charged again.
    store
        .settle_by(
            &first.lease,
            Endpoint::CreatePost,
            &[],
            &published("7"),
            Some(post()),
        )
        .await
        .unwrap_err();
    // What was refused lets go of the lane a moment after it has answered.
    let second = loop {
        if let Some(second) = db.claim(Uuid::new_v4()).await.pop() {
            break second;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // The post is another job's: nothing is written, and nothing charged.
    store
        .settle_by(
            &second.lease,
            Endpoint::CreatePost,
            &[],
            &published("7"),
            Some(post()),
        )
        .await
        .unwrap_err();
    store
        .charge(account.id, Prices::default().charge(Priced::PostRead, 3))
        .await
        .unwrap();
    for round in ["appended", "folded"] {
        let costs = store.month_costs(account.id).await.unwrap();
        let seen: Vec<_> = costs
            .iter()
            .map(|cost| (cost.kind.as_str(), cost.calls, cost.micro_usd))
            .collect();
        assert_eq!(
            seen,
            [("post", 1, 15_000), ("post_read", 3, 15_000)],
            "{round}"
        );
        let money = store
            .app_money(account.app_id.unwrap())
            .await
            .unwrap()
            .unwrap();
        assert!((money.spent_usd - 0.03).abs() < 1e-9, "{money:?}");
        let all: i64 = store
            .costs_by_kind()
            .await
            .unwrap()
            .iter()
            .map(|cost| cost.micro_usd)
            .sum();
        assert_eq!(all, 30_000);
        store.fold_totals().await.unwrap();
    }
    db.advance("32 days").await;
    assert_eq!(store.month_costs(account.id).await.unwrap(), []);
    db.drop().await;
}

#[tokio::test]
async fn a_spent_budget_stops_its_app_until_the_month_turns_or_it_is_raised() {
    let db = Db::new().await;
    let acme = db.account("acme", 1).await;
    db.account("other", 2).await;
    let app = acme.app_id.unwrap();
    db.sql(
        "update crier.clock set shift = timestamptz '2031-05-30 12:00+00' - now();
         insert into crier.jobs (account, text) values ('acme', 'a'), ('acme', 'b'), ('acme', 'c'), ('other', 'd')",
    )
    .await;
    let store = &db.store;
    store.set_budget(app, Some(0.03)).await.unwrap();
    let claimed = db.claim(Uuid::new_v4()).await;
    assert_eq!(claimed.len(), 2);
    for (number, job) in claimed.iter().enumerate() {
        store
            .settle_by(
                &job.lease,
                Endpoint::CreatePost,
                &[],
                &published(&number.to_string()),
                Some(post()),
            )
            .await
            .unwrap();
    }
    // Two posts of 1.5 cents: not one more, by any account of the app.
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    let told = db
        .one("select warning ->> 'code' as code, warning ->> 'hint' as hint from crier.jobs where id = 2")
        .await;
    assert_eq!(told["code"], "budget_spent");
    let hint = told["hint"].as_str().unwrap();
    assert!(
        hint.contains("2031-06-01 00:00") && hint.contains("crier accounts budget app USD"),
        "{hint}"
    );
    assert_eq!(
        store.account_holds(acme.id).await.unwrap()[0]["code"],
        "budget_spent"
    );
    let readings = store.readings().await.unwrap();
    assert_eq!(readings.apps, [("budget_spent".to_owned(), 1)]);
    store.set_budget(app, Some(0.04)).await.unwrap();
    let raised = db.claim(Uuid::new_v4()).await;
    assert_eq!(raised.len(), 1);
    store
        .settle_by(
            &raised[0].lease,
            Endpoint::CreatePost,
            &[],
            &published("9"),
            Some(post()),
        )
        .await
        .unwrap();
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.advance("1 day 11 hours 59 minutes").await;
    assert_eq!(db.claim(Uuid::new_v4()).await, []);
    db.advance("2 minutes").await;
    let next = db.claim(Uuid::new_v4()).await;
    assert_eq!(next.len(), 1, "a new month");
    store
        .settle_by(
            &next[0].lease,
            Endpoint::CreatePost,
            &[],
            &published("10"),
            Some(post()),
        )
        .await
        .unwrap();
    let clean = db
        .one("select count(*) as n from crier.jobs where warning is not null")
        .await;
    assert_eq!(clean["n"], 0, "what went out is told no more");
    db.drop().await;
}
