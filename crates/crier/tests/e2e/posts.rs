//! Every field of a post on its way to X, and what an account's subscription holds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_secs(40);
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

async fn premium(stage: &Stage) {
    let wanted = json!({"username": "acme", "premium": true});
    stage.account_without(&wanted, "oauth1").await;
    let said = stage
        .done_by(&["accounts", "tier", "acme", "premium"])
        .await;
    assert_eq!(said, "acme is premium: 25000 characters a post\n");
}

/// Requests of the live posts, by their texts.
async fn requests(stage: &Stage) -> Vec<Value> {
    let posts = stage.sim("GET", "/_sim/posts?full=1", "").await;
    let mut requests: Vec<Value> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["request"].clone())
        .collect();
    requests.sort_by_key(|request| request["text"].as_str().unwrap().to_owned());
    requests
}

#[tokio::test]
async fn every_field_of_the_specification_reaches_x_as_the_row_has_it() {
    let stage = Stage::new(&json!({"self_serve": false})).await;
    premium(&stage).await;
    let files = Files::new();
    files.put("a.png", &png(70_000));
    let crier = files.start(&stage, "run");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'to be quoted'), ('acme', 'to be edited')")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let ids = stage
        .rows("select post_id as id from crier.jobs order by id")
        .await;
    let (quoted, edited) = (&ids[0]["id"], &ids[1]["id"]);
    // Each `media` stands for a row with a picture, whose id is put in when it is known.
    let rows = [
        (
            "a flags",
            json!({"community_id": "1146654567674912769", "for_super_followers_only": true, "geo": {"place_id": "5a110d312052166f"},
            "made_with_ai": true, "paid_partnership": true, "nullcast": false, "reply_settings": "mentionedUsers",
            "share_with_followers": true, "quote_tweet_id": quoted}),
        ),
        (
            "b poll",
            json!({"poll": {"options": ["yes", "no", "perhaps", "1234567890123456789012345"], "duration_minutes": 10080,
            "reply_settings": "following"}, "reply_settings": "subscribers"}),
        ),
        ("c card", json!({"card_uri": "card://1"})),
        (
            "d link",
            json!({"direct_message_deep_link": "https://x.com/messages/compose?recipient_id=1"}),
        ),
        (
            "e reply",
            json!({"reply": {"in_reply_to_tweet_id": quoted, "exclude_reply_user_ids": ["12", "13"],
            "auto_populate_reply_metadata": true}, "reply_settings": "verified"}),
        ),
        (
            "f edit",
            json!({"edit_options": {"previous_post_id": edited}}),
        ),
        (
            "g media",
            json!({"media": {"title": "t", "description": "d", "embeddable": false, "preview_media_id": "9",
            "tagged_user_ids": ["1", "2"], "call_to_actions": {"visit_site": {"url": "https://example.com"}}}}),
        ),
        (
            "h watch",
            json!({"media": {"call_to_actions": {"watch_now": {"url": "https://example.com"}}}}),
        ),
        (
            "i install",
            json!({"media": {"embeddable": true, "call_to_actions": {"app_install":
            {"app_store_id": "1", "ipad_app_store_id": "2", "play_store_id": "3"}}}}),
        ),
    ];
    for (text, options) in &rows {
        let media = if options.get("media").is_some() {
            r#"[{"path": "a.png"}]"#
        } else {
            "[]"
        };
        stage
            .sql(&format!("insert into crier.jobs (account, text, options, media) values ('acme', '{text}', '{options}', '{media}')"))
            .await;
    }
    stage.until(ALL_PUBLISHED, SOON).await;
    let mut wanted: Vec<Value> = rows
        .into_iter()
        .map(|(text, mut options)| {
            options["text"] = json!(text);
            options
        })
        .collect();
    wanted.push(json!({"text": "to be quoted"}));
    let mut sent = requests(&stage).await;
    for request in &mut sent {
        if let Some(media) = request.get_mut("media").and_then(Value::as_object_mut) {
            let ids = media.remove("media_ids").unwrap();
            assert_eq!(ids.as_array().unwrap().len(), 1);
        }
    }
    assert_eq!(sent, wanted, "the edited post is there as its edit only");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_long_post_goes_out_with_premium_only_and_is_found_whole() {
    let stage = Stage::new(&json!({})).await;
    premium(&stage).await;
    stage.account("other").await;
    let crier = stage.start_with(
        "run",
        &[
            ("CRIER__WORKER__FIRST_LOOK_S", "1"),
            ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
        ],
    );
    stage
        .sql(
            "insert into crier.jobs (account, text) select 'acme', string_agg('word ' || n, ' ') from generate_series(1, 2500) n;
             insert into crier.jobs (account, text) select 'other', repeat('x', 281)",
        )
        .await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs where id = 1",
            SOON,
        )
        .await;
    stage
        .until("select state = 'failed' and error->>'code' = 'text_too_long' as done from crier.jobs where id = 2", SOON)
        .await;
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "POST /2/tweets", "kind": "answer_lost"}"#,
        )
        .await;
    // The same as far as X shows it in part.
    stage
        .sql("insert into crier.jobs (account, text) select 'acme', string_agg('word ' || n, ' ') || ' and another end' from generate_series(1, 2500) n")
        .await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs where id = 3",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let held = stage
        .rows("select post_id as id, length(text) as length from crier.jobs where state = 'published' order by id")
        .await;
    let live: Vec<Value> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| json!({"id": post["id"], "length": post["text"].as_str().unwrap().len()}))
        .collect();
    assert_eq!(held, live);
    // An edit needs the same, and is refused before it is sent.
    stage
        .sql(r#"insert into crier.jobs (account, text, options, run_at) values ('other', 'x', '{"edit_options": {"previous_post_id": "1"}}', crier.now() + interval '1 day')"#)
        .await;
    stage
        .until("select state = 'failed' and error->>'code' = 'edit_needs_premium' as done from crier.jobs where id = 4", SOON)
        .await;
    crier.stop().await;
    stage.done().await;
}
