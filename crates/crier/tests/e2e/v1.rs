//! Accounts that publish by `statuses/update_with_media`: media in the call, a daily allowance, refusals told apart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, png};
use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_secs(40);
const UPDATE: &str = "POST /1.1/statuses/update_with_media.json";
const PICTURE: &str = r#"[{"path": "a.png"}]"#;

/// An account of both kinds of grants that publishes by v1.1, and a folder with a picture.
async fn setting(script: &Value) -> (Stage, Files, String) {
    let stage = Stage::new(script).await;
    stage.account("acme").await;
    let said = stage
        .done_by(&["accounts", "publisher", "acme", "v1_update_with_media"])
        .await;
    assert_eq!(said, "acme publishes by v1_update_with_media\n");
    let files = Files::new();
    let sha = files.put("a.png", &png(70_000));
    (stage, files, sha)
}

fn start(stage: &Stage, files: &Files) -> Role {
    let settings = [
        ("CRIER__WORKER__FIRST_LOOK_S", "1"),
        ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
    ];
    files.start_with(stage, "run", &settings)
}

async fn insert(stage: &Stage, text: &str, media: &str, options: &str) {
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text, media, options) values ('acme', '{text}', '{media}', '{options}')"
        ))
        .await;
}

async fn job(stage: &Stage, id: i64, done: &str) {
    let query = format!("select {done} as done from crier.jobs where id = {id}");
    stage.until(&query, SOON).await;
}

async fn calls(stage: &Stage) -> Vec<Value> {
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    calls.as_array().unwrap().clone()
}

async fn updates(stage: &Stage) -> usize {
    let calls = calls(stage).await;
    calls.iter().filter(|call| call["route"] == UPDATE).count()
}

#[tokio::test]
async fn a_post_goes_out_by_v1_with_its_media_and_every_parameter() {
    let (stage, files, sha) = setting(&json!({"v1_max_media_per_upload": 2})).await;
    let second = files.put("b.png", &png(80_000));
    let crier = start(&stage, &files);
    insert(&stage, "first of a thread", PICTURE, "{}").await;
    job(&stage, 1, "state = 'published'").await;
    let first = stage.rows("select post_id as id from crier.posts").await[0]["id"].clone();
    let two = r#"[{"path": "a.png"}, {"path": "b.png"}]"#;
    let options = r#"{"geo": {"place_id": "5a110d312052166f"},
        "v1": {"possibly_sensitive": true, "display_coordinates": true, "lat": 37.7821, "long": -122.4009}}"#;
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text, media, options, after) values ('acme', '@acme & more', '{two}', '{options}', 1)"
        ))
        .await;
    job(&stage, 2, "state = 'published'").await;
    let posts = stage.sim("GET", "/_sim/posts?full=1", "").await;
    assert_eq!(
        posts[1]["request"],
        json!({"status": "@acme & more", "in_reply_to_status_id": first, "place_id": "5a110d312052166f", "lat": "37.7821",
            "long": "-122.4009", "possibly_sensitive": "true", "display_coordinates": "true"})
    );
    assert_eq!(posts[1]["reply_to"], first);
    let shas: Vec<_> = posts[1]["media"]
        .as_array()
        .unwrap()
        .iter()
        .map(|media| media["sha256"].clone())
        .collect();
    assert_eq!(shas, [json!(sha), json!(second)]);
    let all = calls(&stage).await;
    let made = |route: &str| all.iter().filter(|call| call["route"] == route).count();
    assert_eq!(
        made("GET /1.1/help/configuration.json"),
        1,
        "the figures are kept"
    );
    assert!(
        all.iter()
            .all(|call| !call["path"].as_str().unwrap().starts_with("/2/media")),
        "nothing is uploaded before"
    );
    let uploads = stage.rows("select id from crier.media_uploads").await;
    assert_eq!(uploads, [json!(null); 0]);
    // What nobody heard of is looked up through v2.
    let lost = json!({"route": UPDATE, "kind": "answer_lost"});
    stage.sim("POST", "/_sim/faults", &lost.to_string()).await;
    insert(&stage, "nobody heard of it", PICTURE, "{}").await;
    job(&stage, 3, "state = 'published'").await;
    assert_eq!(updates(&stage).await, 3);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn what_v1_cannot_do_is_said_before_anything_is_sent() {
    let (stage, files, _) = setting(&json!({})).await;
    files.put("a.mp4", &crate::media::files::mp4(5_000));
    files.put("large.png", &png(3_200_000));
    let crier = start(&stage, &files);
    let two = r#"[{"path": "a.png"}, {"path": "a.png"}]"#;
    let poll = r#"{"poll": {"options": ["a", "b"], "duration_minutes": 5}}"#;
    for (text, media, options, code) in [
        ("no picture", "[]", "{}", "v1_media"),
        ("a poll", "[]", poll, "v1_cannot"),
        ("a film", r#"[{"path": "a.mp4"}]"#, "{}", "v1_media"),
        (
            "told",
            r#"[{"path": "a.png", "alt_text": "a cat"}]"#,
            "{}",
            "v1_media",
        ),
        ("too many", two, "{}", "v1_media_count"),
        (
            "too large",
            r#"[{"path": "large.png"}]"#,
            "{}",
            "v1_media_size",
        ),
        (&"x".repeat(257), PICTURE, "{}", "v1_text_no_room"),
        (
            "labelled",
            PICTURE,
            r#"{"made_with_ai": true}"#,
            "v1_cannot",
        ),
        (
            "a reply",
            PICTURE,
            r#"{"reply": {"in_reply_to_tweet_id": "7"}}"#,
            "v1_reply",
        ),
    ] {
        insert(&stage, text, media, options).await;
        let done = format!(
            "select state = 'failed' and error->>'code' = '{code}' as done from crier.jobs order by id desc limit 1"
        );
        stage.until(&done, SOON).await;
    }
    assert_eq!(updates(&stage).await, 0);
    // And what only v1.1 can is nothing for v2.
    assert_eq!(
        stage.rows("select distinct status from crier.apps").await,
        [json!({"status": "active"})]
    );
    stage
        .done_by(&["accounts", "publisher", "acme", "v2"])
        .await;
    insert(
        &stage,
        "by v2",
        "[]",
        r#"{"v1": {"possibly_sensitive": true}}"#,
    )
    .await;
    let done = "select state = 'failed' and error->>'code' = 'v1_only' as done from crier.jobs order by id desc limit 1";
    stage.until(done, SOON).await;
    insert(&stage, "staged again", PICTURE, "{}").await;
    let done = "select state = 'published' as done from crier.jobs order by id desc limit 1";
    stage.until(done, SOON).await;
    assert_eq!(updates(&stage).await, 0);
    crier.stop().await;
    stage.done().await;
}

async fn allow(stage: &Stage, media: u32, left: u32) {
    let limit = json!({"account": "acme", "route": UPDATE, "media_24h": media, "media_24h_remaining": left});
    stage.sim("POST", "/_sim/limits", &limit.to_string()).await;
}

#[tokio::test]
async fn the_media_of_a_day_are_an_allowance_that_is_waited_for() {
    let (stage, files, _) = setting(&json!({"v1_max_media_per_upload": 2})).await;
    allow(&stage, 3, 2).await;
    insert(&stage, "one", PICTURE, "{}").await;
    let two = r#"[{"path": "a.png"}, {"path": "a.png"}]"#;
    insert(&stage, "two at once", two, "{}").await;
    let crier = start(&stage, &files);
    job(&stage, 1, "state = 'published'").await;
    // One is left, and two are wanted: nothing is sent to find that out.
    job(
        &stage,
        2,
        "error->>'code' = 'v1_media_limit' and next_attempt_at > crier.now() + interval '1 minute'",
    )
    .await;
    assert_eq!(updates(&stage).await, 1);
    let window = stage
        .rows("select endpoint, length, call_limit, remaining from crier.limit_windows where endpoint like '%/1.1/%' and length = '24h'")
        .await;
    assert_eq!(
        window,
        [
            json!({"endpoint": "POST /1.1/statuses/update_with_media", "length": "24h", "call_limit": 3, "remaining": 1})
        ]
    );
    // The next day.
    allow(&stage, 3, 3).await;
    stage
        .sql("update crier.clock set shift = shift + interval '25 hours'")
        .await;
    job(&stage, 2, "state = 'published'").await;
    // Used up by somebody else meanwhile: 403 and no 429, and it costs no attempt.
    allow(&stage, 3, 0).await;
    insert(&stage, "three", PICTURE, "{}").await;
    job(
        &stage,
        3,
        "error->>'code' = 'v1_media_limit' and attempts = 0",
    )
    .await;
    let said = stage
        .rows("select http_status, outcome from crier.attempts where job_id = 3")
        .await;
    assert_eq!(said, [json!({"http_status": 403, "outcome": "snoozed"})]);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn the_refusals_of_v1_are_told_apart() {
    let (stage, files, _) = setting(&json!({})).await;
    // A gateway whose figures are wider than its deeds.
    let wide = json!({"route": "GET /1.1/help/configuration.json", "kind": "answer", "status": 200,
        "body": {"characters_reserved_per_media": 0, "max_media_per_upload": 4, "photo_size_limit": 9_000_000}});
    stage.sim("POST", "/_sim/faults", &wide.to_string()).await;
    files.put("large.png", &png(3_200_000));
    let crier = start(&stage, &files);
    let two = r#"[{"path": "a.png"}, {"path": "a.png"}]"#;
    for (text, media, code) in [
        (&"x".repeat(270)[..], PICTURE, "v1_text_no_room"),
        ("too large", r#"[{"path": "large.png"}]"#, "v1_media_size"),
        ("too many", two, "v1_media_count"),
    ] {
        insert(&stage, text, media, "{}").await;
        let done = format!(
            "select state = 'failed' and error->>'code' = '{code}' as done from crier.jobs order by id desc limit 1"
        );
        stage.until(&done, SOON).await;
    }
    let asked = stage
        .rows("select count(*) as n from crier.attempts where http_status = 403 and outcome = 'failed'")
        .await;
    assert_eq!(asked, [json!({"n": 3})], "each in X's own words");
    let answers = [
        (
            json!({"errors": [{"code": 38, "message": "media[] parameter is missing."}]}),
            403,
            "v1_parameter",
            "state = 'failed'",
        ),
        (
            json!({"errors": [{"code": 185, "message": "User is over daily status update limit."}]}),
            403,
            "daily_limit",
            "state = 'scheduled' and attempts = 0",
        ),
    ];
    for (body, status, code, then) in answers {
        let answer = json!({"route": UPDATE, "kind": "answer", "status": status, "body": body});
        stage.sim("POST", "/_sim/faults", &answer.to_string()).await;
        insert(&stage, code, PICTURE, "{}").await;
        let done = format!(
            "select {then} and error->>'code' = '{code}' as done from crier.jobs order by id desc limit 1"
        );
        stage.until(&done, SOON).await;
    }
    stage
        .sql("select crier.cancel(id) from crier.jobs where state = 'scheduled'")
        .await;
    // A gateway that has no such call any more stops the account, with the cure in words, and no other of its app.
    let gone = json!({"route": UPDATE, "kind": "answer", "status": 404,
        "body": {"errors": [{"code": 34, "message": "Sorry, that page does not exist"}]}});
    stage.sim("POST", "/_sim/faults", &gone.to_string()).await;
    stage
        .sql("delete from crier.limit_windows; update crier.lanes set not_before = '-infinity'")
        .await;
    insert(&stage, "after the end", PICTURE, "{}").await;
    stage
        .until("select reason->>'code' = 'v1_retired' and reason->>'hint' like '%accounts publisher%' as done from crier.accounts where status <> 'active'", SOON)
        .await;
    assert_eq!(
        stage.rows("select distinct status from crier.apps").await,
        [json!({"status": "active"})]
    );
    stage
        .done_by(&["accounts", "publisher", "acme", "v2"])
        .await;
    stage.done_by(&["accounts", "resume", "acme"]).await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs order by id desc limit 1",
            SOON,
        )
        .await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_worker_killed_in_a_call_of_v1_leaves_one_post() {
    let slow = json!({"route": UPDATE, "kind": "slow", "delay_ms": 2_000});
    let (stage, files, _) = setting(&json!({"faults": [slow]})).await;
    insert(&stage, "hangs", PICTURE, "{}").await;
    let crier = start(&stage, &files);
    stage
        .until(
            "select exists (select 1 from crier.leases where phase = 'sending') as done",
            SOON,
        )
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    crier.kill().await;
    stage
        .sql("update crier.clock set shift = interval '2 minutes'")
        .await;
    let crier = start(&stage, &files);
    job(&stage, 1, "state = 'published'").await;
    assert_eq!(updates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn where_v2_shows_nothing_a_person_settles_what_nobody_heard_of() {
    let closed = json!({"route": "GET /2/users/{id}/tweets", "kind": "answer", "status": 403, "times": 9,
        "body": {"errors": [{"code": 453, "message": "You currently have access to a subset of X API V2 endpoints"}]}});
    let lost = json!({"route": UPDATE, "kind": "answer_lost"});
    let (stage, files, _) = setting(&json!({"faults": [closed, lost]})).await;
    insert(&stage, "unseen", PICTURE, "{}").await;
    let crier = start(&stage, &files);
    job(
        &stage,
        1,
        "state = 'unknown' and error->>'code' = 'access_level'",
    )
    .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let id = posts[0]["id"].as_str().unwrap();
    stage
        .done_by(&["jobs", "settle", "1", "--published", id])
        .await;
    job(&stage, 1, "state = 'published'").await;
    assert_eq!(updates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_account_of_v1_that_lost_its_tokens_waits_for_them() {
    let (stage, files, _) = setting(&json!({})).await;
    stage
        .sql("delete from crier.credentials where kind = 'oauth1'")
        .await;
    insert(&stage, "waits", PICTURE, "{}").await;
    let crier = start(&stage, &files);
    stage
        .until(
            "select status = 'needs_login' and reason->>'title' like '%no OAuth 1.0a tokens' as done from crier.accounts",
            SOON,
        )
        .await;
    stage.account("acme").await;
    job(&stage, 1, "state = 'published'").await;
    assert_eq!(updates(&stage).await, 1);
    crier.stop().await;
    stage.done().await;
}
