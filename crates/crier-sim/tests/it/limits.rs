//! Limits and their headers.

use serde_json::json;

use crate::client::{Seen, X};

fn window(seen: &Seen, prefix: &str) -> (i64, i64, i64) {
    let of = |name: &str| {
        let header = seen.header(&format!("{prefix}-{name}"));
        header
            .unwrap_or_else(|| panic!("no {prefix}-{name}"))
            .parse()
            .unwrap()
    };
    (of("limit"), of("remaining"), of("reset"))
}

#[tokio::test]
async fn every_answer_tells_the_window() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let seen = x.send(acme.post("one")).await;
    let (limit, remaining, reset) = window(&seen, "x-rate-limit");
    assert_eq!((limit, remaining), (100, 99));
    let now = x.look("/_sim/clock").await["now_us"].as_i64().unwrap() / 1_000_000;
    assert!((now + 898..=now + 900).contains(&reset), "epoch seconds");
    assert!(seen.header("x-user-limit-24hour-limit").is_none());
    let refused = x.send(acme.post("one")).await;
    refused.expect(403);
    assert_eq!(window(&refused, "x-rate-limit").1, 98, "refusals count");
    let me = x.send(acme.call("GET", "/2/users/me")).await;
    assert_eq!(window(&me, "x-rate-limit").0, 75);
    let nobody = x
        .send(crate::client::Request::new("GET", "/2/users/me"))
        .await;
    assert!(nobody.header("x-rate-limit-limit").is_none());
}

#[tokio::test]
async fn a_full_window_is_429_until_its_reset() {
    let x = X::start().await;
    let limits = json!({"POST /2/tweets": {"limit": 2, "window_s": 60}});
    let acme = x
        .user_with(&json!({"username": "acme", "limits": limits}))
        .await;
    let other = x.user("other").await;
    x.send(acme.post("1")).await.expect(201);
    x.send(acme.post("2")).await.expect(201);
    let seen = x.send(acme.post("3")).await;
    assert_eq!(
        seen.expect(429),
        json!({"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429})
    );
    assert_eq!(window(&seen, "x-rate-limit").1, 0);
    x.send(other.post("3")).await.expect(201);
    x.send(acme.call("GET", "/2/users/me")).await.expect(200);
    assert_eq!(x.posts().await, 3);
    x.advance(60).await;
    x.send(acme.post("3")).await.expect(201);
}

#[tokio::test]
async fn days_are_told_and_kept_beside_the_window() {
    let x = X::start().await;
    let limits = json!({"POST /2/tweets": {"user_24h": 2, "app_24h": 3}});
    let acme = x
        .user_with(&json!({"username": "acme", "limits": limits}))
        .await;
    let other = x.user("other").await;
    let seen = x.send(acme.post("1")).await;
    assert_eq!(window(&seen, "x-user-limit-24hour").1, 1);
    assert_eq!(window(&seen, "x-app-limit-24hour").1, 2);
    x.send(acme.post("2")).await.expect(201);
    let full = x.send(acme.post("3")).await;
    full.expect(429);
    assert_eq!(
        window(&full, "x-rate-limit").1,
        98,
        "room in the window, none in the day"
    );
    assert_eq!(window(&full, "x-user-limit-24hour").1, 0);
    let shared = x.send(other.post("1")).await;
    assert_eq!(window(&shared, "x-app-limit-24hour").1, 0);
    x.send(other.post("2")).await.expect(429);
    x.advance(86_400).await;
    let acme = x.user("acme").await;
    x.send(acme.post("3")).await.expect(201);
}

#[tokio::test]
async fn windows_can_be_set_while_it_runs_and_for_all() {
    let x = X::with(&json!({"limits": {"GET /2/users/me": {"limit": 7}}})).await;
    let acme = x.user("acme").await;
    let me = || acme.call("GET", "/2/users/me");
    assert_eq!(window(&x.send(me()).await, "x-rate-limit").0, 7);
    let change = json!({"account": "@acme", "route": "GET /2/users/me", "limit": 50, "window_s": 30, "remaining": 1});
    x.control("POST", "/_sim/limits", &change).await;
    let seen = x.send(me()).await;
    assert_eq!(window(&seen, "x-rate-limit").0, 50);
    assert_eq!(window(&seen, "x-rate-limit").1, 0);
    x.send(me()).await.expect(429);
    x.advance(30).await;
    assert_eq!(window(&x.send(me()).await, "x-rate-limit").1, 49);
    let day = json!({"account": "acme", "route": "GET /2/users/me", "user_24h": 9, "user_24h_remaining": 0});
    x.control("POST", "/_sim/limits", &day).await;
    x.send(me()).await.expect(429);
}
