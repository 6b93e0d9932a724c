//! What would be refused, asked for by hand: `post --dry-run` and `jobs lint`; and what a person says of accounts.

use serde_json::{Value, json};

use super::desk::Desk;

#[test]
fn a_dry_run_tells_all_and_leaves_nothing() {
    let desk = Desk::furnished();
    let good = [
        "post",
        "--dry-run",
        "--account",
        "@ACME",
        "We are live! https://example.com/a/long/path",
        "--options",
        r#"{"reply_settings": "following"}"#,
        "--dedupe-key",
        "k",
        "--campaign",
        "spring",
        "--at",
        "2031-12-01 09:00 Europe/Berlin",
    ];
    let told = &desk.json(&good)[0];
    assert_eq!(
        *told,
        json!({"account": "acme", "state": "scheduled", "run_at": "2031-12-01 08:00:00Z", "weighted_length": 36, "text_limit": 280, "cost_micro_usd": 200_000,
            "request": {"call": "POST /2/tweets",
                "body": {"text": "We are live! https://example.com/a/long/path", "reply_settings": "following"}},
            "would_be_refused": false, "faults": []})
    );
    let said = desk.done(&good).out;
    assert!(
        said.contains("length: 36 of 280 weighted characters\n")
            && said.contains("cost: 0.200 USD\n")
            && said.contains("body: {\"reply_settings\":\"following\",\"text\":"),
        "{said}"
    );
    // Several faults at once, with a file that is not there.
    let bad = desk.say(&[
        "post",
        "--dry-run",
        "--account",
        "acme",
        &"日".repeat(141),
        "--media",
        "none-of-this.png",
        "--alt",
        "a",
        "--options",
        r#"{"edit_options": {"previous_post_id": "1"}}"#,
        "--dedupe-key",
        "k",
    ]);
    assert_eq!(bad.code, 1);
    for part in [
        "error: text_too_long: ",
        "error: edit_needs_premium: ",
        "warning: media_missing: ",
        "length: 282 of 280",
        "\"media_ids\":[\"<media id of none-of-this.png>\"]",
    ] {
        assert!(bad.out.contains(part), "no `{part}` in\n{}", bad.out);
    }
    assert!(bad.err.contains("2 faults"), "{}", bad.err);
    // What the table refuses comes with what X has against it.
    let both = desk.say(&[
        "post",
        "--dry-run",
        "--json",
        "--account",
        "acme",
        &"x".repeat(281),
        "--options",
        r#"{"colour": 1}"#,
    ]);
    let told: Value = serde_json::from_str(both.out.trim()).unwrap();
    let codes: Vec<&Value> = told["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| &fault["code"])
        .collect();
    assert_eq!(
        (both.code, codes),
        (
            1,
            vec![
                &json!("insert_refused"),
                &json!("options_invalid"),
                &json!("text_too_long")
            ]
        )
    );
    let nobody = desk.say(&["post", "--dry-run", "--account", "nobody", "hi"]);
    assert!(
        nobody.code == 1 && nobody.out.contains("is not known to crier"),
        "{}",
        nobody.out
    );
    assert_eq!(desk.json(&["jobs", "list"]), [Value::Null; 0]);
    for table in [
        "jobs",
        "job_keys",
        "job_checks",
        "lane_signals",
        "total_deltas",
        "campaigns",
    ] {
        desk.sql(&format!(
            "do $$ begin if exists (select 1 from crier.{table}) then raise exception '{table} is not empty'; end if; end $$"
        ));
    }
    // The very key is free, and no number was spent.
    let first = desk.done(&["post", "--account", "acme", "hi", "--dedupe-key", "k"]);
    assert_eq!(first.out, "job 1\n");
    let known = &desk.json(&[
        "post",
        "--dry-run",
        "--account",
        "acme",
        "hi",
        "--dedupe-key",
        "k",
    ])[0];
    assert_eq!(known["known_job"], 1);
    let reply = &desk.json(&[
        "post",
        "--dry-run",
        "--account",
        "acme",
        "and on",
        "--after",
        "1",
    ])[0];
    assert_eq!(
        reply["request"]["body"]["reply"],
        json!({"in_reply_to_tweet_id": "<post of job 1>"})
    );
    desk.close();
}

#[test]
fn waiting_jobs_are_linted_by_number_campaign_or_all() {
    let desk = Desk::furnished();
    desk.sql(
        "insert into crier.jobs (account, text, campaign, media) values ('acme', 'fine', null, '[]'), ('acme', repeat('x', 281), 'spring', '[{\"path\": \"a.jpg\"}, {\"path\": \"../b\"}]'),
           ('acme', 'no such file', 'spring', '[{\"path\": \"none-of-this.png\"}]'), ('acme', repeat('x', 300), 'autumn', '[]')",
    );
    let all = desk.say(&["jobs", "lint"]);
    assert_eq!(all.code, 1);
    assert!(
        all.out.contains("job 4: error: text_too_long")
            && all.out.contains("job 3: warning: media_missing")
            && !all.out.contains("job 1:"),
        "{}",
        all.out
    );
    assert!(
        all.err
            .contains("4 jobs looked at: 2 would be refused, 1 with warnings only"),
        "{}",
        all.err
    );
    let spring = desk.say(&["jobs", "lint", "--campaign", "spring", "--json"]);
    let lines: Vec<Value> = spring
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let refused: Vec<_> = lines
        .iter()
        .map(|line| (line["id"].as_i64(), line["would_be_refused"].as_bool()))
        .collect();
    assert_eq!(
        (spring.code, refused),
        (1, vec![(Some(2), Some(true)), (Some(3), Some(false))])
    );
    let passing = desk.done(&["jobs", "lint", "1", "3"]);
    assert!(passing.out.contains("media_missing"), "{}", passing.out);
    desk.refused(&["jobs", "lint", "99"], &["there is no job 99"]);
    desk.done(&["jobs", "cancel", "4"]);
    let ended = desk.done(&["jobs", "lint", "4"]);
    assert!(ended.err.contains("job 4 is cancelled"), "{}", ended.err);
    // Nothing has changed.
    assert!(
        desk.json(&["jobs", "list", "--state", "scheduled"])
            .iter()
            .all(|job| job["warning"].is_null())
    );
    desk.close();
}

#[test]
fn a_person_says_what_an_account_may_do() {
    let desk = Desk::furnished();
    assert_eq!(
        desk.done(&["accounts", "tier", "@Acme", "premium"]).out,
        "acme is premium: 25000 characters a post\n"
    );
    let row = &desk.json(&["accounts", "show", "acme"])[0];
    assert_eq!(
        (&row["tier"], &row["text_limit"]),
        (&json!("premium"), &json!(25_000))
    );
    let words = [
        "post",
        "--account",
        "acme",
        &"x".repeat(20_000),
        "--dry-run",
    ];
    desk.done(&words);
    desk.done(&["accounts", "tier", "acme", "standard"]);
    assert_eq!(desk.say(&words).code, 1);
    // By SQL, too.
    desk.sql("update crier.accounts set tier = 'premium'");
    assert_eq!(
        desk.json(&["accounts", "show", "acme"])[0]["text_limit"],
        25_000
    );
    assert_eq!(desk.say(&["accounts", "tier", "acme", "gold"]).code, 2);
    desk.refused(
        &["accounts", "publisher", "acme", "v1_update_with_media"],
        &["signed with OAuth 1.0a"],
    );
    desk.close();
}
