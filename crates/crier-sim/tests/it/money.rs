//! What calls cost, and what happens when the money is gone.

use serde_json::{Value, json};

use crate::client::{User, X};
use crate::media_files::picture;

async fn ledger(x: &X, user: &User) -> Value {
    x.look("/_sim/stats").await["money"][user.oauth2("client_id")].clone()
}

#[tokio::test]
async fn every_deed_has_its_price_and_a_refusal_none() {
    let x = X::start().await;
    let (acme, other) = (x.user("acme").await, x.user("other").await);
    let first = x.send(acme.post("hello @other")).await.expect(201);
    x.send(acme.post("hello @other")).await.expect(403);
    x.send(acme.post("see example.com")).await.expect(201);
    let reply = |user: &User, id: &Value, text: &str| {
        let body = json!({"text": text, "reply": {"in_reply_to_tweet_id": id}});
        user.call("POST", "/2/tweets").json(&body)
    };
    let id = &first["data"]["id"];
    x.send(reply(&other, id, "summoned")).await.expect(201);
    x.send(reply(&acme, id, "my own thread")).await.expect(201);
    let media = picture(&x, &acme).await;
    let alt = json!({"id": media, "metadata": {"alt_text": {"text": "a picture"}}});
    x.send(acme.call("POST", "/2/media/metadata").json(&alt))
        .await
        .expect(200);
    let path = format!("/2/tweets/{}", id.as_str().unwrap());
    for _ in 0..2 {
        x.send(acme.call("GET", &path)).await.expect(200);
    }
    x.send(acme.call("GET", "/2/users/me")).await.expect(200);
    x.send(acme.call("DELETE", &path)).await.expect(200);
    let found = ledger(&x, &acme).await;
    for (item, count, usd) in [
        ("post", 2, 0.03),
        ("post_with_url", 1, 0.2),
        ("summoned_reply", 1, 0.01),
        ("metadata", 1, 0.005),
        ("post_read", 1, 0.005),
        ("user_read", 1, 0.01),
        ("delete", 1, 0.01),
    ] {
        assert_eq!(
            found["items"][item],
            json!({"count": count, "usd": usd}),
            "{item}"
        );
    }
    assert_eq!(found["spent_usd"], 0.27);
    assert_eq!(found["balance_usd"], Value::Null);
}

#[tokio::test]
async fn the_owner_of_an_app_reads_for_less_and_once_a_day() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let owner = json!({"client_id": acme.oauth2("client_id"), "owner": "@acme"});
    x.control("POST", "/_sim/credits", &owner).await;
    x.send(acme.post("one")).await.expect(201);
    let path = format!("/2/users/{}/tweets", acme.id());
    for days in [0, 0, 1] {
        x.advance(days * 86_400).await;
        x.send(
            x.user_with(&json!({"username": "acme"}))
                .await
                .call("GET", &path),
        )
        .await
        .expect(200);
    }
    let items = ledger(&x, &acme).await["items"].clone();
    assert_eq!(items["owned_read"], json!({"count": 2, "usd": 0.002}));
}

#[tokio::test]
async fn without_credits_calls_are_402_in_both_forms_until_there_are_some() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let credits = |usd: Value| json!({"client_id": acme.oauth2("client_id"), "usd": usd});
    x.control("POST", "/_sim/credits", &credits(json!(0.02)))
        .await;
    x.send(acme.post("one")).await.expect(201);
    x.send(acme.post("two")).await.expect(201);
    assert_eq!(ledger(&x, &acme).await["balance_usd"], -0.01);
    let body = x.send(acme.post("three")).await.expect(402);
    assert_eq!(body["title"], "CreditsDepleted");
    assert!(body["type"].as_str().unwrap().ends_with("/credits"));
    assert!(body["account_id"].is_u64());
    let words = json!({"newer_credits_problem": true});
    x.control("POST", "/_sim/options", &words).await;
    let body = x.send(acme.call("GET", "/2/users/me")).await.expect(402);
    assert_eq!(body["title"], "Payment Required");
    assert_eq!(body["detail"], "credits depleted");
    assert!(
        body["type"]
            .as_str()
            .unwrap()
            .ends_with("/credits-depleted")
    );
    let other = x
        .user_with(&json!({"username": "o", "client_id": "other-app"}))
        .await;
    x.send(other.post("three")).await.expect(201);
    x.control("POST", "/_sim/credits", &credits(Value::Null))
        .await;
    x.send(acme.post("three")).await.expect(201);
}

#[tokio::test]
async fn a_spending_limit_is_403_until_the_next_cycle() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "expires_in": 9_000_000}))
        .await;
    let cap = json!({"client_id": acme.oauth2("client_id"), "spend_cap_usd": 0.015});
    x.control("POST", "/_sim/credits", &cap).await;
    x.send(acme.post("one")).await.expect(201);
    let body = x.send(acme.post("two")).await.expect(403);
    assert_eq!(body["title"], "SpendCapReached");
    assert!(body["detail"].as_str().unwrap().contains("spend cap"));
    assert_eq!(body["reset_date"].as_str().unwrap().len(), 10);
    x.advance(30 * 86_400).await;
    x.send(acme.post("two")).await.expect(201);
}
