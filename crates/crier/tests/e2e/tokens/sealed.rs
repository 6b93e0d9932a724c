//! Credentials that do not open: each stops its own account, with words, and is never sent anywhere.

use serde_json::{Value, json};

use super::{EXPIRE, Folder, SOON, calls, settings};
use crate::support::Stage;

#[tokio::test]
async fn what_does_not_open_stops_its_own_account_with_plain_words_and_no_other() {
    let (stage, folder) = (Stage::new(&json!({})).await, Folder::new());
    let names = ["fine", "swapped1", "swapped2", "cut", "garbage", "foreign"];
    let mut made = Vec::new();
    for name in names {
        let wanted = json!({"username": name}).to_string();
        let mut account = stage.sim("POST", "/_sim/accounts", &wanted).await;
        account.as_object_mut().unwrap().remove("oauth1");
        made.push(account);
    }
    stage.import(&Value::Array(made)).await;
    // Each but the first is tempted to refresh.
    stage.sql(EXPIRE).await;
    stage
        .sql(
            "update crier.credentials set access_expires_at = crier.now() + interval '2 hours' where account_id = 1;
             update crier.credentials c set sealed = o.sealed from crier.credentials o
              where (c.account_id, o.account_id) in ((2, 3), (3, 2));
             update crier.credentials set sealed = substr(sealed, 1, 40) where account_id = 4;
             update crier.credentials set sealed = decode(repeat('00', 200), 'hex') where account_id = 5;
             update crier.credentials set key_id = 'feedbeef' where account_id = 6;
             insert into crier.jobs (account, text) select handle, 'by ' || handle from crier.accounts",
        )
        .await;
    let crier = stage.start_with("run", &settings(folder.path()));
    stage
        .until(
            "select (select state = 'published' from crier.jobs where account = 'fine')
                and (select count(*) = 4 from crier.accounts where status = 'needs_login' and reason ->> 'code' = 'credentials_damaged')
                and (select error ->> 'code' = 'key_missing' from crier.jobs where account = 'foreign') as done",
            SOON,
        )
        .await;
    // A key that this process lacks may be there elsewhere: that says nothing of the grant.
    let foreign = stage
        .rows("select status from crier.accounts where handle = 'foreign'")
        .await;
    assert_eq!(foreign, [json!({"status": "active"})]);
    let why = stage
        .rows("select error ->> 'detail' as told from crier.jobs where account = 'foreign'")
        .await;
    let why = why[0]["told"].as_str().unwrap().to_owned();
    assert!(
        why.contains("`foreign`") && why.contains("feedbeef"),
        "{why}"
    );
    assert_eq!(calls(&stage).await, (0, 0), "nobody's token was sent");
    let cost = stage
        .rows("select max(attempts) as most from crier.jobs where state <> 'published'")
        .await;
    assert_eq!(cost, [json!({"most": 0})]);
    let (code, told, _) = stage.say(&["doctor", "--json"]).await;
    assert_eq!(code, Some(1));
    for name in &names[1..] {
        assert!(
            told.contains(&format!("the tokens of `{name}` cannot be opened")),
            "{name}: {told}"
        );
    }
    assert!(!told.contains("the tokens of `fine`"), "{told}");
    for name in ["swapped1", "foreign"] {
        let (code, _, err) = stage.say(&["auth", "refresh", name]).await;
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.contains(&format!("the tokens of `{name}` cannot be opened")),
            "{err}"
        );
        assert!(err.contains("hint: "), "{err}");
    }
    // Put back as it was, it goes on.
    stage
        .sql("update crier.credentials c set sealed = o.sealed, access_expires_at = crier.now() + interval '2 hours'
                from crier.credentials o where (c.account_id, o.account_id) in ((2, 3), (3, 2))")
        .await;
    stage.done_by(&["accounts", "resume", "swapped1"]).await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs where account = 'swapped1'",
            SOON,
        )
        .await;
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    for post in posts.as_array().unwrap() {
        let by = format!("by {}", post["account"].as_str().unwrap());
        assert_eq!(post["text"], by, "under its own name");
    }
    crier.stop().await;
    stage.done().await;
}
