//! From one key to the next while everything runs.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ALL_PUBLISHED, EXPIRE, Folder, SOON, calls, mode, settings};
use crate::support::{KEY, Stage};

const ACCOUNTS: i64 = 24;

async fn accounts(stage: &Stage) {
    let mut made = Vec::new();
    for n in 1..=ACCOUNTS {
        let wanted = json!({"username": format!("acme{n}")}).to_string();
        made.push(stage.sim("POST", "/_sim/accounts", &wanted).await);
    }
    stage.import(&Value::Array(made)).await;
}

async fn publish(stage: &Stage, text: &str) {
    stage
        .sql(&format!(
            "insert into crier.jobs (account, text) select handle, '{text} ' || handle from crier.accounts"
        ))
        .await;
}

#[tokio::test]
async fn keys_are_changed_while_workers_publish_and_refresh_and_a_kill_in_between_harms_nothing() {
    let (stage, folder) = (Stage::new(&json!({})).await, Folder::new());
    accounts(&stage).await;
    let new = folder.0.join("new.key");
    let new = new.to_str().unwrap();
    let said = stage
        .done_by(&["keys", "new", "--file", new, "--json"])
        .await;
    let id = serde_json::from_str::<Value>(&said).unwrap()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(mode(new.as_ref()), 0o600);
    let hook = [
        "webhooks",
        "add",
        "ops",
        "https://hooks.example.com/secret",
        "--events",
        "missed",
    ];
    stage.done_by(&hook).await;
    let (code, _, err) = stage.say(&["keys", "new", "--file", new]).await;
    assert_eq!(code, Some(1), "no key is written over: {err}");
    let secret = std::fs::read_to_string(new).unwrap().trim().to_owned();
    let both = [
        ("CRIER__SECRETS__KEY", secret.as_str()),
        ("CRIER__SECRETS__OTHER_KEYS", KEY),
    ];
    // First everybody learns to open what the new key seals; then it seals.
    let before = [("CRIER__SECRETS__OTHER_KEYS", secret.as_str())];
    let old = stage.start_with("run", &[&settings(folder.path())[..], &before].concat());
    let crier = stage.start_with("worker", &[&settings(folder.path())[..], &both].concat());
    publish(&stage, "before").await;
    stage.until(ALL_PUBLISHED, SOON).await;
    stage.sql(EXPIRE).await;
    publish(&stage, "during").await;
    // A person holds a row: the command waits at it, and is killed there.
    let held = stage.sql("select 1 from crier.credentials where kind = 'oauth2' and account_id = 12 for update; select pg_sleep(4)");
    let killed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut rotate = stage
            .command(&["keys", "rotate"])
            .envs(both)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let some = format!(
            "select count(*) filter (where kind = 'oauth1' and key_id = '{id}') > 5 as done from crier.credentials"
        );
        stage.until(&some, SOON).await;
        rotate.kill().await.unwrap();
    };
    tokio::join!(held, killed);
    stage.until(ALL_PUBLISHED, SOON).await;
    old.stop().await;
    let rotate = async || {
        let output = stage
            .command(&["keys", "rotate", "--json"])
            .envs(both)
            .output();
        let output = output.await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(!err.contains(&secret) && !err.contains(KEY), "{err}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let done = rotate().await;
    assert_eq!(
        (&done["key"], &done["left"]),
        (&json!(id), &json!(0)),
        "{done}"
    );
    assert_eq!(rotate().await["resealed"], 0, "again is nothing");
    let left = format!(
        "select 1 from crier.credentials where key_id <> '{id}' union all select 1 from crier.apps where key_id <> '{id}'
           union all select 1 from crier.webhooks where key_id <> '{id}'"
    );
    assert_eq!(stage.rows(&left).await, [json!(null); 0]);
    crier.stop().await;
    // The former key is taken away.
    let alone = [("CRIER__SECRETS__KEY", secret.as_str())];
    let crier = stage.start_with("run", &[&settings(folder.path())[..], &alone].concat());
    stage
        .sql("update crier.clock set shift = shift + interval '3 hours'")
        .await;
    publish(&stage, "after").await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let count = usize::try_from(ACCOUNTS).unwrap();
    let (_, rotated) = calls(&stage).await;
    assert_eq!(
        usize::try_from(rotated).unwrap(),
        2 * count,
        "none was lost or rotated twice"
    );
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 3 * count);
    // Whoever still has the former key alone says so, and ends no grant.
    let (code, _, err) = stage.say(&["auth", "refresh", "acme1"]).await;
    assert_eq!(code, Some(1));
    assert!(
        err.contains(&format!("it was sealed with key `{id}`")),
        "{err}"
    );
    let listed = stage.done_by(&["keys", "list", "--json"]).await;
    assert!(
        listed.contains(r#""here":"missing""#) && listed.contains(r#""here":"seals""#),
        "{listed}"
    );
    let ended = stage
        .rows("select 1 from crier.accounts where status <> 'active'")
        .await;
    assert_eq!(ended, [json!(null); 0]);
    crier.stop().await;
    stage.done().await;
}
