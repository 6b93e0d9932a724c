//! Schedulers as processes: one dies and another takes over; nothing needs a notification; a bad row hurts only itself.

use std::time::Duration;

use serde_json::json;

use crate::support::Stage;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_scheduler_that_is_killed_is_followed_by_another() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let first = stage.start("scheduler");
    stage
        .until("select count(*) = 1 as done from crier.leader", SOON)
        .await;
    let holder = stage.rows("select holder from crier.leader").await;
    let second = stage.start("scheduler");
    let worker = stage.start("worker");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'by the first')")
        .await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs where id = 1",
            SOON,
        )
        .await;
    assert_eq!(
        stage.rows("select holder from crier.leader").await,
        holder,
        "one leads"
    );
    first.kill().await;
    stage
        .sql(
            "insert into crier.jobs (account, text) values ('acme', 'by the second');
             insert into crier.jobs (account, text, after) values ('acme', 'and its reply', 2);
             insert into crier.jobs (account, text, run_at) values ('acme', 'at its time', crier.now() + interval '3 seconds')",
        )
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    assert_ne!(stage.rows("select holder from crier.leader").await, holder);
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 4, "{posts}");
    second.stop().await;
    worker.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn without_notifications_everything_is_published_all_the_same() {
    let stage = Stage::new(&json!({})).await;
    for handle in ["acme", "other"] {
        stage.account(handle).await;
    }
    stage
        .sql("do $$ begin execute format('alter database %I set crier.notify = off', current_database()); end $$")
        .await;
    let roles = [stage.start("scheduler"), stage.start("worker")];
    stage
        .until("select count(*) = 1 as done from crier.leader", SOON)
        .await;
    stage
        .sql(
            "set local crier.notify = off;
             insert into crier.jobs (account, text) select h, h || ' ' || n from generate_series(1, 5) n, unnest(array['acme', 'other']) h;
             insert into crier.jobs (account, text, after) values ('acme', 'a reply', 1);
             insert into crier.jobs (account, text, run_at) values ('other', 'a little later', crier.now() + interval '2 seconds')",
        )
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 12, "{posts}");
    for role in roles {
        role.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn a_text_that_is_too_long_fails_within_seconds_and_the_others_go_out() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let crier = stage.start("run");
    stage
        .sql(
            "insert into crier.jobs (account, text, run_at) values ('acme', repeat('日', 141), crier.now() + interval '1 day');
             insert into crier.jobs (account, text) values ('acme', 'short'), ('acme', repeat('x', 280));
             insert into crier.jobs (account, text, run_at, media) values ('acme', 'no such file', crier.now() + interval '1 day', '[{\"path\": \"none.jpg\"}]')",
        )
        .await;
    stage
        .until(
            "select state = 'failed' as done from crier.jobs where id = 1",
            Duration::from_secs(5),
        )
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs where id in (2, 3)",
            SOON,
        )
        .await;
    let error = stage
        .rows("select error from crier.jobs where id = 1")
        .await
        .remove(0);
    assert_eq!(error["error"]["code"], "text_too_long");
    assert_eq!(error["error"]["step"], "check");
    let detail = error["error"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("282 weighted") && detail.contains("280"),
        "{detail}"
    );
    assert!(!error["error"]["hint"].as_str().unwrap().is_empty());
    stage
        .until("select state = 'scheduled' and warning is not null as done from crier.jobs where id = 4", SOON)
        .await;
    crier.stop().await;
    stage.done().await;
}

/// Columns and values that Postgres takes and this process could not hold.
const OUT_OF_BOUNDS: [&str; 8] = [
    "(account, text, run_at) values ('other', 'far', '280000-01-01')",
    "(account, text, run_at) values ('other', 'typo', '20261-12-01')",
    "(account, text, run_at) values ('other', 'past', '0044-03-15 BC')",
    "(account, text, max_lateness) values ('other', 'patient', '1000 years')",
    r#"(account, text, options) values ('other', 'number', '{"geo":{"place_id":1e999}}')"#,
    r#"(account, text, options) values ('other', 'deep', ('{"geo":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb)"#,
    r#"(account, text, media) values ('other', 'owner', '[{"path":"p.png","additional_owners":[1e999]}]')"#,
    "(account, text, media) values ('other', 'deep media', jsonb_build_array(jsonb_build_object('path', 'p.png', 'subtitles', (repeat('[', 200) || repeat(']', 200))::jsonb)))",
];

#[tokio::test]
async fn what_this_process_cannot_hold_is_refused_and_would_harm_only_its_own_row() {
    let stage = Stage::new(&json!({})).await;
    for handle in ["acme", "other"] {
        stage.account(handle).await;
    }
    for row in OUT_OF_BOUNDS {
        stage
            .sql(&format!(
                "set local role crier_writer;
                 do $do$ begin
                   insert into crier.jobs {row};
                   raise exception 'it was taken';
                 exception when check_violation then null;
                 end $do$"
            ))
            .await;
    }
    let rows: Vec<String> = OUT_OF_BOUNDS
        .iter()
        .map(|row| format!("insert into crier.jobs {row};"))
        .collect();
    stage
        .sql(&format!(
            "alter table crier.jobs_open disable trigger jobs_a_bounds; {}
             alter table crier.jobs_open enable trigger jobs_a_bounds",
            rows.concat()
        ))
        .await;
    let crier = stage.start("run");
    for text in ["first", "second"] {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text) values ('acme', '{text}')"
            ))
            .await;
        stage
            .until(
                &format!(
                    "select state = 'published' as done from crier.jobs where text = '{text}'"
                ),
                SOON,
            )
            .await;
    }
    stage
        .until(
            "select not exists (select 1 from crier.job_checks) and count(*) filter (where state = 'published') = 4 as done from crier.jobs",
            SOON,
        )
        .await;
    let ends = stage
        .rows("select text, state, error->>'code' as code from crier.jobs where account = 'other' order by id")
        .await;
    let end = |text, state, code| json!({"text": text, "state": state, "code": code});
    assert_eq!(
        ends,
        [
            end("far", "scheduled", None),
            end("typo", "scheduled", None),
            end("past", "published", None),
            end("patient", "published", None),
            end("number", "failed", Some("options_invalid")),
            end("deep", "failed", Some("options_invalid")),
            end("owner", "failed", Some("media_invalid")),
            end("deep media", "failed", Some("media_invalid")),
        ]
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_job_that_is_too_late_is_missed_and_one_that_may_be_late_is_not() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // Nobody was there at their time.
    stage
        .sql(
            "insert into crier.jobs (account, text, run_at, max_lateness) values
               ('acme', 'stale', crier.now() - interval '1 hour', '10 minutes'), ('acme', 'still good', crier.now() - interval '1 hour', '2 hours'),
               ('acme', 'any time', crier.now() - interval '1 hour', null)",
        )
        .await;
    let scheduler = stage.start("scheduler");
    stage
        .until(
            "select state = 'missed' as done from crier.jobs where id = 1",
            SOON,
        )
        .await;
    let worker = stage.start("worker");
    stage
        .until(
            "select count(*) = 2 as done from crier.jobs where state = 'published'",
            SOON,
        )
        .await;
    let error = stage
        .rows("select error->>'code' as code from crier.jobs where id = 1")
        .await;
    assert_eq!(error, [json!({"code": "missed"})]);
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert!(
        posts
            .as_array()
            .unwrap()
            .iter()
            .all(|p| p["text"] != "stale"),
        "{posts}"
    );
    scheduler.stop().await;
    worker.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_recurring_post_goes_out_at_its_slots() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let crier = stage.start("run");
    stage
        .sql(
            "insert into crier.recurring (name, account, cron, template, ahead, ends_at) values
               ('each second', 'acme', '* * * * * *', '{\"text\": \"no. {n} at {slot}\"}', '10 seconds', crier.now() + interval '4 seconds')",
        )
        .await;
    stage
        .until(
            "select count(*) between 3 and 5 and bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let late = stage
        .rows("select id from crier.jobs where published_at < run_at")
        .await;
    assert_eq!(late, [json!(null); 0]);
    let row = stage
        .rows("select next_at, error from crier.recurring")
        .await;
    assert_eq!(
        row,
        [json!({"next_at": null, "error": null})],
        "no slot is left"
    );
    crier.stop().await;
    stage.done().await;
}
