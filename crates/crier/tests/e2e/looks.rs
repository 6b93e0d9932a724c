//! Looking for posts whose answer was lost: whatever X makes of a text, whatever its list is like, whatever the clocks say.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(1);
const READ: &str = "GET /2/users/{id}/tweets";
const CREATE: &str = "POST /2/tweets";
/// Looks after one second and then each second.
const FAST: [(&str, &str); 2] = [
    ("CRIER__WORKER__FIRST_LOOK_S", "1"),
    ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
];
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

fn start(stage: &Stage) -> Role {
    stage.start_with("run", &FAST)
}

fn lost(times: usize) -> Value {
    json!({"route": CREATE, "kind": "answer_lost", "times": times})
}

async fn calls(stage: &Stage, route: &str) -> usize {
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let all = calls.as_array().unwrap().iter();
    all.filter(|call| call["route"] == route).count()
}

/// A page of posts by others, with more to come.
fn full_page(next: &str, times: usize) -> Value {
    let posts: Vec<Value> = (0..100)
        .map(|n| json!({"id": (1_900_000_000_000_000_000_u64 + n).to_string(), "text": "other words"}))
        .collect();
    json!({"route": READ, "kind": "answer", "status": 200, "times": times,
           "body": {"data": posts, "meta": {"result_count": 100, "next_token": next}}})
}

#[tokio::test]
async fn whatever_x_makes_of_a_text_its_post_is_known_again() {
    let texts = [
        r"'Tom & <Jerry> at https://example.com/a?b=c&d=e, (and example.org/x_(y)). &amp;'",
        r"E'tab\there\texample.com\r\n\r\n\r\n\r\nend \u200f'",
        "'👨‍👩‍👧 🇩🇪 ❤️ 日本example.com日本'",
        r"E'  e\u0301te\u0301 \ufb01 \uff21 \u200b exam\u200bple.com …'",
        "repeat('long words & more, ', 40)",
        "'see example.com. Then @bob, #tag and $ABC!'",
    ];
    let options = [
        r#"{"poll": {"options": ["a", "b"], "duration_minutes": 60}}"#,
        r#"{"geo": {"place_id": "5a110d312052166f"}}"#,
        r#"{"card_uri": "card://1"}"#,
        r#"{"reply_settings": "following"}"#,
    ];
    let count = texts.len() + options.len() + 3;
    let stage = Stage::new(&json!({"self_serve": false, "faults": [lost(count)]})).await;
    stage
        .account_without(&json!({"username": "acme", "premium": true}), "")
        .await;
    stage.account("other").await;
    stage
        .done_by(&["accounts", "tier", "acme", "premium"])
        .await;
    // The first is quoted and replied to.
    for text in texts {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text) values ('acme', {text})"
            ))
            .await;
    }
    for (n, options) in options.iter().enumerate() {
        stage
            .sql(&format!("insert into crier.jobs (account, text, options) values ('acme', 'with options {n}', '{options}')"))
            .await;
    }
    stage
        .sql("insert into crier.jobs (account, text, after) values ('acme', 'a thread https://example.com', 1)")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    stage
        .sql(
            "insert into crier.jobs (account, text, options)
               select 'acme', 'quoted', jsonb_build_object('quote_tweet_id', post_id) from crier.jobs where id = 1;
             insert into crier.jobs (account, text, options)
               select 'acme', 'replied', jsonb_build_object('reply', jsonb_build_object('in_reply_to_tweet_id', post_id)) from crier.jobs where id = 1",
        )
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage, CREATE).await, count);
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    for row in stage
        .rows("select text, post_id from crier.jobs order by id")
        .await
    {
        let post = posts
            .as_array()
            .unwrap()
            .iter()
            .find(|post| post["id"] == row["post_id"])
            .unwrap();
        assert_eq!(post["text"], row["text"]);
    }
    let ways = stage
        .rows("select distinct code from crier.attempts where outcome = 'published'")
        .await;
    assert_eq!(ways, [json!({"code": "found"})]);
    crier.stop().await;
    stage.done().await;
}

async fn found_by_a_clock_that_is_off(shift: &str) {
    let stage = Stage::new(&json!({"faults": [lost(1)]})).await;
    stage.account("acme").await;
    stage
        .sql(&format!(
            "update crier.clock set shift = interval '{shift}'"
        ))
        .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'by whose clock?')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage, CREATE).await, 1, "{shift}");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_database_clock_that_is_minutes_off_hides_no_post() {
    tokio::join!(
        found_by_a_clock_that_is_off("7 minutes"),
        found_by_a_clock_that_is_off("-7 minutes")
    );
}

#[tokio::test]
async fn a_post_behind_many_others_is_found_pages_later() {
    // The simulator's own token for what is below the largest id. The second page fails once.
    let failing = json!({"route": READ, "kind": "answer", "status": 503, "skip": 1});
    let page = full_page(&format!("7140b{:x}", u64::MAX), 2);
    let stage = Stage::new(&json!({"faults": [lost(1), failing, page]})).await;
    stage.account("acme").await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'far below')")
        .await;
    let crier = start(&stage);
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage, CREATE).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_list_without_an_end_is_left_to_a_person_who_is_told() {
    let stage = Stage::new(&json!({"faults": [lost(1), full_page("7140bf", 1_000)]})).await;
    stage.account("acme").await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'somewhere')")
        .await;
    let crier = start(&stage);
    stage
        .until(
            "select error->>'code' = 'unknown_too_many' as done from crier.jobs",
            SOON,
        )
        .await;
    let (code, out, err) = stage.say(&["jobs", "why", "1"]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("publish") && out.contains("unknown"), "{out}");
    for said in [
        "perhaps on X: the last call left at ",
        "looked for: X listed the account's posts 5 times, the last time at ",
        "crier looks no more",
        "to do: look at the account on X, then `crier jobs settle 1 --published POST_ID`, `--retry` or `--absent`",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
    let shown = stage.done_by(&["jobs", "show", "1"]).await;
    assert!(shown.contains("search"), "{shown}");
    let said = stage
        .done_by(&["jobs", "settle", "1", "--absent", "--json"])
        .await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, json!({"id": 1, "state": "failed"}));
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_unknown_job_alone_stops_an_account_whose_token_x_refuses() {
    let refused = json!({"route": READ, "kind": "answer", "status": 401, "times": 99,
        "body": {"title": "Unauthorized", "detail": "Unauthorized", "type": "about:blank", "status": 401}});
    let stage = Stage::new(&json!({"faults": [lost(1), refused]})).await;
    // Of OAuth 1.0a, whose token cannot be refreshed.
    stage
        .account_without(&json!({"username": "acme"}), "oauth2")
        .await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'refused')")
        .await;
    let crier = start(&stage);
    for _ in 1..3 {
        let asked = calls(&stage, READ).await;
        stage
            .until(
                "select next_at is not null and fault is not null as done from crier.reconciles",
                SOON,
            )
            .await;
        stage
            .sql("update crier.reconciles set next_at = crier.now() where next_at is not null")
            .await;
        while calls(&stage, READ).await == asked {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    stage
        .until(
            "select status = 'needs_login' as done from crier.accounts",
            SOON,
        )
        .await;
    assert!(calls(&stage, READ).await >= 3, "one refusal is not enough");
    let told = stage
        .rows("select state, warning is not null as warned from crier.jobs")
        .await;
    assert_eq!(told, [json!({"state": "unknown", "warned": true})]);
    crier.stop().await;
    stage.done().await;
}
