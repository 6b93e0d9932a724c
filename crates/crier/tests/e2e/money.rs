//! What X stops goes on by itself: credits that are topped up, an account that is unlocked, a cap whose period ends, a
//! budget whose month turns. The database's clock is moved; nobody resumes anything.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(1);
const ME: &str = "GET /2/users/me";
const CREATE: &str = "POST /2/tweets";

async fn calls(stage: &Stage, route: &str) -> usize {
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let calls = calls.as_array().unwrap();
    calls.iter().filter(|call| call["route"] == route).count()
}

/// Until X was asked about itself so many times: a probe is counted before it is made.
async fn asked(stage: &Stage, times: usize) {
    let begin = std::time::Instant::now();
    while calls(stage, ME).await < times {
        assert!(begin.elapsed() < SOON, "X was not asked {times} times");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn advance(stage: &Stage, interval: &str) {
    stage
        .sql(&format!(
            "update crier.clock set shift = shift + interval '{interval}'"
        ))
        .await;
}

/// X answers so to every call of the routes until [`mended`].
async fn broken(stage: &Stage, routes: &[&str], status: u16, body: &Value) {
    for route in routes {
        let fault = json!({"route": route, "kind": "answer", "status": status, "body": body, "times": 10_000});
        stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
    }
}

async fn mended(stage: &Stage) {
    stage.sim("DELETE", "/_sim/faults", "").await;
}

/// Two processes that publish, so that each probe has two who could make it.
fn start(stage: &Stage) -> [Role; 2] {
    let fast = [("CRIER__WORKER__POLL_MS", "50")];
    [
        stage.start_with("run", &fast),
        stage.start_with("worker", &fast),
    ]
}

async fn stop(roles: [Role; 2]) {
    for role in roles {
        role.stop().await;
    }
}

/// Long enough for whoever would call X to have done it.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}

/// All that a command says, which must be done.
async fn said(stage: &Stage, words: &[&str]) -> String {
    let (code, out, err) = stage.say(words).await;
    assert_eq!(code, Some(0), "{words:?}: {err}");
    out + &err
}

#[tokio::test]
async fn credits_that_are_topped_up_are_noticed_by_one_probe_an_interval() {
    let stage = Stage::new(&json!({})).await;
    for account in ["one", "two", "three"] {
        stage.account(account).await;
    }
    let depleted = json!({"title": "CreditsDepleted", "detail": "Your enrolled account does not have any credits.",
        "type": "https://api.x.com/2/problems/credits"});
    broken(&stage, &[CREATE, ME], 402, &depleted).await;
    stage
        .sql("insert into crier.jobs (account, text) select a, a || n from unnest(array['one', 'two', 'three']) a, generate_series(1, 3) n")
        .await;
    let roles = start(&stage);
    stage
        .until(
            "select status = 'paused' and reason ->> 'code' = 'credits_depleted' as done from crier.apps",
            SOON,
        )
        .await;
    a_moment().await;
    let refused = calls(&stage, CREATE).await;
    assert!((1..=3).contains(&refused), "one a lane at most: {refused}");
    assert_eq!(calls(&stage, ME).await, 0);
    let why = said(&stage, &["jobs", "why", "1"]).await;
    assert!(
        why.contains("waits: @one: its app is paused (credits_depleted")
            && why.contains("developer console"),
        "{why}"
    );
    let shown = said(&stage, &["accounts", "show", "two"]).await;
    assert!(
        shown.contains("app paused")
            && shown.contains("buy credits")
            && shown.contains("X is asked again"),
        "{shown}"
    );
    // An interval is one question, whoever asks, and opens nothing.
    for (times, wait) in [(1, "17 minutes"), (2, "34 minutes"), (3, "67 minutes")] {
        advance(&stage, wait).await;
        stage
            .until(
                &format!("select probes = {times} as done from crier.apps"),
                SOON,
            )
            .await;
        asked(&stage, times).await;
        a_moment().await;
        assert_eq!(calls(&stage, ME).await, times);
        assert_eq!(calls(&stage, CREATE).await, refused);
    }
    mended(&stage).await;
    a_moment().await;
    assert_eq!(calls(&stage, ME).await, 3, "not before its time");
    advance(&stage, "133 minutes").await;
    stage
        .until(
            "select status = 'active' and probe_at is null as done from crier.apps",
            SOON,
        )
        .await;
    // One account goes ahead; the others follow.
    let ahead = "select count(*) = 3 and count(distinct account_id) = 1 as done from crier.jobs where state = 'published'";
    stage.until(ahead, SOON).await;
    advance(&stage, "121 seconds").await;
    let all = "select bool_and(state = 'published' and attempts = 1) as done from crier.jobs";
    stage.until(all, SOON).await;
    assert_eq!(calls(&stage, ME).await, 4);
    assert_eq!(calls(&stage, CREATE).await, refused + 9);
    stop(roles).await;
    stage.done().await;
}

#[tokio::test]
async fn a_locked_account_goes_on_once_x_has_unlocked_it_and_its_neighbour_never_stops() {
    let stage = Stage::new(&json!({})).await;
    stage.account("locked").await;
    stage.account("neighbour").await;
    let locked = json!({"errors": [{"code": 326, "message": "To protect our users, this account is temporarily locked."}]});
    for route in [CREATE, ME] {
        let fault = json!({"route": route, "kind": "answer", "status": 403, "body": locked, "times": 10_000, "account": "locked"});
        stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
    }
    stage
        .sql("insert into crier.jobs (account, text) values ('locked', 'a'), ('locked', 'b'), ('neighbour', 'c')")
        .await;
    let roles = start(&stage);
    stage
        .until(
            "select (select status = 'suspended' and reason ->> 'code' = 'account_locked' from crier.accounts where handle = 'locked')
                    and (select state = 'published' from crier.jobs where account = 'neighbour') as done",
            SOON,
        )
        .await;
    advance(&stage, "17 minutes").await;
    stage
        .until("select sum(probes) = 1 as done from crier.accounts", SOON)
        .await;
    asked(&stage, 1).await;
    mended(&stage).await;
    advance(&stage, "34 minutes").await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    assert_eq!(calls(&stage, ME).await, 2);
    stop(roles).await;
    stage.done().await;
}

#[tokio::test]
async fn a_usage_cap_is_waited_out_to_the_end_of_its_period() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // A month that does not end while the test runs.
    stage
        .sql("update crier.clock set shift = date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + interval '40 days' - now();
              update crier.credentials set access_expires_at = crier.now() + interval '90 days', rotated_at = crier.now()")
        .await;
    let capped = json!({"title": "UsageCapExceeded", "detail": "Usage cap exceeded: Monthly product cap",
        "type": "https://api.twitter.com/2/problems/usage-capped", "period": "Monthly", "scope": "Product", "account_id": "1"});
    broken(&stage, &[CREATE, ME], 429, &capped).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'a')")
        .await;
    let roles = start(&stage);
    stage
        .until(
            "select status = 'paused' and reason ->> 'code' = 'usage_capped'
                    and probe_at - interval '1 second' = (date_trunc('month', crier.now() at time zone 'UTC') + interval '1 month') at time zone 'UTC' as done
               from crier.apps",
            SOON,
        )
        .await;
    mended(&stage).await;
    advance(&stage, "12 days").await;
    a_moment().await;
    assert_eq!(calls(&stage, ME).await, 0, "waiting is all that helps");
    advance(&stage, "11 days").await;
    stage
        .until(
            "select bool_and(state = 'published' and attempts = 1) as done from crier.jobs",
            SOON,
        )
        .await;
    assert_eq!(calls(&stage, ME).await, 1);
    stop(roles).await;
    stage.done().await;
}

#[tokio::test]
async fn a_429_without_a_reset_is_asked_ever_less_often_and_costs_no_attempt() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let limit = json!({"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429});
    broken(&stage, &[CREATE], 429, &limit).await;
    stage
        .sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 30) n")
        .await;
    let roles = start(&stage);
    // From 1 to 2 minutes, then twice that each time, at most an hour.
    for (asked, least_s) in [
        (1, 60),
        (2, 120),
        (3, 240),
        (4, 480),
        (5, 960),
        (6, 1_800),
        (7, 1_800),
    ] {
        let refused = format!(
            "select strikes = {asked} and resets_at > crier.now() as done from crier.limit_windows where length = 'unstated'"
        );
        stage.until(&refused, SOON).await;
        a_moment().await;
        assert_eq!(
            calls(&stage, CREATE).await,
            asked,
            "no other job tries either"
        );
        let window = stage
            .rows("select extract(epoch from resets_at - crier.now())::int as wait_s from crier.limit_windows where length = 'unstated'")
            .await;
        let wait_s = window[0]["wait_s"].as_i64().unwrap();
        assert!(
            (least_s - 10..=(2 * least_s).min(3_600)).contains(&wait_s),
            "{asked}: {wait_s}"
        );
        if asked == 7 {
            mended(&stage).await;
        }
        advance(&stage, &format!("{} seconds", wait_s + 1)).await;
    }
    stage
        .until(
            "select bool_and(state = 'published' and attempts = 1) as done from crier.jobs",
            SOON,
        )
        .await;
    let left = stage
        .rows("select 1 as n from crier.limit_windows where length = 'unstated'")
        .await;
    assert_eq!(left.len(), 0, "the next limit begins anew");
    stop(roles).await;
    stage.done().await;
}

#[tokio::test]
async fn costs_are_counted_by_kind_and_a_spent_budget_waits_for_the_month() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    stage
        .sql("update crier.clock set shift = date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + interval '40 days' - now();
              update crier.credentials set access_expires_at = crier.now() + interval '90 days', rotated_at = crier.now()")
        .await;
    let told = said(&stage, &["accounts", "budget", "@acme", "0.22"]).await;
    assert!(told.contains("of 0.22 USD a month"), "{told}");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'plain'), ('acme', 'see https://example.com/a'), ('acme', 'once more'), ('acme', 'too many')")
        .await;
    let roles = start(&stage);
    // 0.015 + 0.200 + 0.015 USD: the fourth waits.
    let three = "select count(*) filter (where state = 'published') = 3
                    and count(*) filter (where warning ->> 'code' = 'budget_spent') = 1 as done from crier.jobs";
    stage.until(three, SOON).await;
    let why = said(&stage, &["jobs", "why", "4"]).await;
    assert!(why.contains("waits: budget_spent"), "{why}");
    let shown = said(&stage, &["accounts", "show", "acme"]).await;
    assert!(
        shown.contains("post with url")
            && shown.contains("0.200 USD")
            && shown.contains("0.230 USD of 0.22 USD a month"),
        "{shown}"
    );
    a_moment().await;
    assert_eq!(calls(&stage, CREATE).await, 3);
    stage
        .sql("update crier.clock set shift = shift + (date_trunc('month', crier.now() at time zone 'UTC') + interval '1 month 1 second') at time zone 'UTC' - crier.now()")
        .await;
    stage
        .until(
            "select bool_and(state = 'published' and warning is null) as done from crier.jobs",
            SOON,
        )
        .await;
    stop(roles).await;
    stage.done().await;
}

#[tokio::test]
async fn an_unexplained_403_is_repeated_once_and_slowly_whatever_else_happened_before() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let lost = json!({"route": CREATE, "kind": "answer", "status": 401, "body": {"title": "Unauthorized", "detail": "Authenticating with Unknown is forbidden"}});
    stage.sim("POST", "/_sim/faults", &lost.to_string()).await;
    let forbidden =
        json!({"title": "Forbidden", "detail": "Forbidden", "type": "about:blank", "status": 403});
    let fault =
        json!({"route": CREATE, "kind": "answer", "status": 403, "body": forbidden, "times": 10});
    stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'a')")
        .await;
    let roles = start(&stage);
    for (attempts, code) in [(1, "auth_unknown"), (2, "forbidden")] {
        let put_off = format!(
            "select attempts = {attempts} and state = 'scheduled' and error ->> 'code' = '{code}'
                    and next_attempt_at > crier.now() + interval '9 minutes' as done from crier.jobs"
        );
        stage.until(&put_off, SOON).await;
        stage
            .sql("update crier.clock set shift = shift + (select next_attempt_at - crier.now() from crier.jobs)")
            .await;
    }
    stage
        .until("select state = 'failed' and error ->> 'code' = 'forbidden' and attempts = 3 as done from crier.jobs", SOON)
        .await;
    assert_eq!(calls(&stage, CREATE).await, 3);
    stop(roles).await;
    stage.done().await;
}
