//! The public table: what it refuses, in which words, and what its rows may become.

use uuid::Uuid;

use crate::db::Db;

/// Column list and values, then a part of the message that tells what to change.
const REFUSED: &[(&str, &str)] = &[
    (
        "(account, text) values ('@nobody', 'x')",
        "the account \"@nobody\" is not known",
    ),
    (
        "(account, text) values (null, 'x')",
        "the account \"\" is not known",
    ),
    ("(account) values ('acme')", "neither text nor media"),
    (
        "(account, text) values ('acme', '  ')",
        "neither text nor media",
    ),
    (
        "(account, text) values ('acme', repeat('x', 25001))",
        "25001 characters",
    ),
    (
        "(account, media) values ('acme', '[{\"path\":\"a\"},{\"path\":\"b\"},{\"path\":\"c\"},{\"path\":\"d\"},{\"path\":\"e\"}]')",
        "media has 5 items",
    ),
    (
        "(account, media) values ('acme', '{\"path\":\"a\"}')",
        "media must be a JSON array",
    ),
    (
        "(account, media) values ('acme', '[\"a.jpg\"]')",
        "media item 1 must be an object",
    ),
    (
        "(account, media) values ('acme', '[{\"path\":\"a\",\"url\":\"http://b\"}]')",
        "either \"path\" or \"url\"",
    ),
    (
        "(account, media) values ('acme', '[{\"alt_text\":\"a\"}]')",
        "either \"path\" or \"url\"",
    ),
    (
        "(account, media) values ('acme', '[{\"path\":\"a\",\"colour\":\"red\"}]')",
        "unknown key \"colour\"",
    ),
    (
        "(account, media) values ('acme', '[{\"path\":\"a\",\"category\":\"dm_image\"}]')",
        "category \"dm_image\"",
    ),
    (
        "(account, media) values ('acme', jsonb_build_array(jsonb_build_object('path', 'a', 'alt_text', repeat('x', 1001))))",
        "at most 1,000",
    ),
    (
        "(account, text, options) values ('acme', 'x', '[]')",
        "options must be a JSON object",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"colour\":\"red\"}')",
        "unknown key \"colour\"",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"text\":\"y\"}')",
        "use the column",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"reply_settings\":\"friends\"}')",
        "reply_settings \"friends\"",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"poll\":{\"options\":[\"a\"],\"duration_minutes\":10}}')",
        "2 to 4 options",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"poll\":{\"options\":[\"a\",\"b\"],\"duration_minutes\":1}}')",
        "between 5 and 10080",
    ),
    (
        "(account, media, options) values ('acme', '[{\"path\":\"a\"}]', '{\"poll\":{\"options\":[\"a\",\"b\"],\"duration_minutes\":10}}')",
        "cannot also have poll",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"quote_tweet_id\":\"1\",\"card_uri\":\"c\"}')",
        "only one of quote_tweet_id, card_uri",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', 'infinity')",
        "not infinity",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', '280000-01-01')",
        "run_at is in the year 280000: is that a typo?",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', '20261-12-01')",
        "run_at is in the year 20261",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', '0044-03-15 BC')",
        "run_at is in the year 44 BC",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', '1999-12-31 23:59:59+00')",
        "run_at is in the year 1999",
    ),
    (
        "(account, text, next_attempt_at) values ('acme', 'x', '10000-01-01')",
        "next_attempt_at is in the year 10000",
    ),
    (
        "(account, text, max_lateness) values ('acme', 'x', '101 years')",
        "at most 100 years",
    ),
    (
        "(account, text, max_lateness) values ('acme', 'x', '1000000 years')",
        "at most 100 years",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"geo\":{\"place_id\":1e999}}')",
        "options holds the number 1000",
    ),
    (
        "(account, text, options) values ('acme', 'x', '{\"quote_tweet_id\":-1000000000000000}')",
        "more than 15 digits",
    ),
    (
        "(account, text, options) values ('acme', 'x', ('{\"geo\":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb)",
        "options is nested more than 32 levels deep",
    ),
    (
        "(account, text, options) values ('acme', 'x', ('{\"geo\":' || repeat('[', 32) || '1' || repeat(']', 32) || '}')::jsonb)",
        "options is nested more than 32 levels deep",
    ),
    (
        "(account, text, options) values ('acme', 'x', jsonb_build_object('card_uri', repeat('x', 70000)))",
        "options has 70016 bytes",
    ),
    (
        "(account, media) values ('acme', '[{\"path\":\"p.png\",\"additional_owners\":[1e999]}]')",
        "media holds the number 1000",
    ),
    (
        "(account, media) values ('acme', jsonb_build_array(jsonb_build_object('path', 'p.png', 'subtitles', (repeat('[', 200) || repeat(']', 200))::jsonb)))",
        "media is nested more than 32 levels deep",
    ),
    (
        "(account, text, run_at) values ('acme', 'x', 'tomorrowish')",
        "invalid input syntax",
    ),
    (
        "(account, text, max_lateness) values ('acme', 'x', '-1 hour')",
        "must not be negative",
    ),
    (
        "(account, text, max_attempts) values ('acme', 'x', 0)",
        "max_attempts_between_1_and_100",
    ),
    (
        "(account, text, dedupe_key) values ('acme', 'x', '')",
        "dedupe_key must have 1 to 200",
    ),
    (
        "(account, text, campaign) values ('acme', 'x', '')",
        "campaign must have 1 to 200",
    ),
    (
        "(account, text, after) values ('acme', 'x', 4711)",
        "after = 4711: there is no such job",
    ),
    (
        "(account, text, state) values ('acme', 'x', 'sent')",
        "no partition",
    ),
    (
        "(account, text, state) values ('acme', 'x', 'unknown')",
        "a new job is scheduled",
    ),
    (
        "(account, text, colour) values ('acme', 'x', 'red')",
        "column \"colour\"",
    ),
];

#[tokio::test]
async fn every_bad_row_is_refused_with_a_message_and_harms_nobody() {
    let db = Db::new().await;
    db.account("Acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('@ACME', 'a good row')")
        .await;
    for (row, expected) in REFUSED {
        let (message, _) = db.refused(&format!("insert into crier.jobs {row}")).await;
        assert!(message.contains(expected), "{row}\nsaid: {message}");
    }
    let rows = db
        .store
        .select_json("select account, text, state from crier.jobs")
        .await
        .unwrap();
    assert_eq!(
        rows,
        [serde_json::json!({"account": "Acme", "text": "a good row", "state": "scheduled"})]
    );
    db.drop().await;
}

#[tokio::test]
async fn a_dedupe_key_makes_two_inserts_one_job_for_ever() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.account("other", 2).await;
    let insert = "insert into crier.jobs (account, text, dedupe_key) values ('acme', 'once', 'k')";
    db.sql(insert).await;
    db.sql(insert).await;
    db.sql("select crier.cancel(1)").await;
    db.sql(insert).await;
    db.sql("insert into crier.jobs (account, text, dedupe_key) values ('other', 'once', 'k')")
        .await;
    let rows = db
        .store
        .select_json("select account, state from crier.jobs order by account")
        .await
        .unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    // The job that owns the key comes back, key and all.
    db.sql("select crier.retry(1)").await;
    assert_eq!(db.state(1).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn a_job_is_found_in_the_one_table_at_any_age() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    assert_eq!(db.state(1).await, "scheduled");
    db.sql("select crier.cancel(1)").await;
    let row = db
        .one("select state, finished_at is not null as ended from crier.jobs where id = 1")
        .await;
    assert_eq!(
        row,
        serde_json::json!({"state": "cancelled", "ended": true})
    );
    let (message, hint) = db.refused("select crier.retry(99)").await;
    assert!(message.contains("no job 99") && !hint.is_empty());
    db.sql("select crier.retry(1)").await;
    assert_eq!(db.state(1).await, "scheduled");
    assert_eq!(
        db.claim(Uuid::new_v4()).await.len(),
        1,
        "a retried job can be claimed"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_paused_campaign_publishes_nothing_until_it_is_resumed() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'before', 'launch')")
        .await;
    db.sql("select crier.pause_campaign('launch')").await;
    db.sql("insert into crier.jobs (account, text, campaign) values ('acme', 'while paused', 'launch')").await;
    let worker = Uuid::new_v4();
    assert_eq!(db.claim(worker).await, []);
    db.sql("select crier.resume_campaign('launch')").await;
    let claimed = db.claim(worker).await;
    assert_eq!(
        claimed.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        ["before"]
    );
    assert_eq!(db.state(2).await, "scheduled");
    db.drop().await;
}

#[tokio::test]
async fn crier_writer_inserts_reads_and_cancels_and_nothing_else() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let allowed = "set local role crier_writer; insert into crier.jobs (account, text) values ('acme', 'x'); \
                   select id from crier.jobs; select crier.cancel(1)";
    db.sql(allowed).await;
    assert_eq!(db.state(1).await, "cancelled");
    for forbidden in [
        "update crier.jobs set text = 'y'",
        "delete from crier.jobs",
        "insert into crier.jobs (account, text, state) values ('acme', 'x', 'paused')",
        "insert into crier.jobs (account, text, held) values ('acme', 'x', 0)",
        "insert into crier.jobs_open (account, text, account_id) values ('acme', 'x', 1)",
        "select crier.retry(1)",
        "select crier.pause_campaign('x')",
        "select * from crier.credentials",
        "select * from crier.accounts",
        "select * from crier.apps",
        "update crier.clock set shift = '1 day'",
        "insert into crier.leases (kind, subject, account_id, worker, expires_at) values ('publish', 1, 1, gen_random_uuid(), now())",
        "create table crier.mine (x int)",
        "truncate crier.jobs",
    ] {
        let (message, _) = db
            .refused(&format!("set local role crier_writer; {forbidden}"))
            .await;
        assert!(
            message.contains("permission denied"),
            "{forbidden}: {message}"
        );
    }
    for hidden in ["crier.credentials", "crier.job_keys"] {
        let (message, _) = db
            .refused(&format!(
                "set local role crier_reader; select * from {hidden}"
            ))
            .await;
        assert!(message.contains("permission denied"), "{hidden}: {message}");
    }
    let (message, _) = db
        .refused("set local role crier_reader; select sealed_secret from crier.apps")
        .await;
    assert!(message.contains("permission denied"), "{message}");
    db.sql("set local role crier_reader; select * from crier.jobs; select * from crier.attempts; select client_id from crier.apps").await;
    db.drop().await;
}

#[tokio::test]
async fn jobs_are_changed_at_read_committed_only() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    for change in [
        "select crier.cancel(1)",
        "update crier.jobs set text = 'y' where id = 1",
    ] {
        for level in ["repeatable read", "serializable"] {
            let (message, hint) = db
                .refused(&format!(
                    "set transaction isolation level {level}; {change}"
                ))
                .await;
            assert!(message.contains("isolation level"), "{message}");
            assert!(hint.contains("READ COMMITTED"), "{hint}");
        }
        db.sql(&format!(
            "set transaction isolation level read committed; {change}; select 1"
        ))
        .await;
        db.sql("select crier.retry(id) from crier.jobs where state = 'cancelled'")
            .await;
    }
    db.drop().await;
}
