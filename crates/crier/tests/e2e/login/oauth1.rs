//! Login by OAuth 1.0a: with a callback, by hand, and with a number.

use serde_json::json;

use super::person::{Login, secret_file};
use super::stage;

const KEY: [&str; 3] = ["--oauth1", "--consumer-key", "sim-consumer-key"];

#[tokio::test]
async fn three_legs_and_a_number_connect_an_account_that_posts() {
    let stage = stage().await;
    let file = secret_file("sim-consumer-secret");
    let words = [&KEY[..], &["--consumer-secret-file", file.path()]].concat();
    let login = Login::begin(&stage, &words).await;
    let there = login.decide_oauth1(&[]).await;
    let page = login.visit(&there).await;
    assert!(page.body.contains("@acme is connected"), "{}", page.body);
    let said = login.end().await;
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "@acme is connected by OAuth 1.0a; its id on X is 2244994945\n"
        ),
        "{}",
        said.err
    );
    assert!(!said.err.contains("sim-consumer-secret"), "{}", said.err);
    let crier = stage.start("run");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'signed')")
        .await;
    let done = "select bool_and(state = 'published') as done from crier.jobs";
    stage.until(done, std::time::Duration::from_secs(20)).await;
    crier.stop().await;
    let (code, out, err) = stage.say(&["auth", "refresh", "acme"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("do not expire: there is nothing to refresh"),
        "{err}"
    );

    // The key and its secret are known from the account now. X shows a number; a space in it does no harm.
    let mut login = Login::begin(
        &stage,
        &["--oauth1", "--pin", "--account", "acme", "--json"],
    )
    .await;
    let shown = login.press(&[("decision", "allow")]).await;
    let pin = shown.body.split("<code id=\"pin\">").nth(1).unwrap();
    let pin = pin.split('<').next().unwrap().to_owned();
    login
        .type_in(&format!(" {} {} ", &pin[..3], &pin[3..]))
        .await;
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
    let row: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&row["kind"], &row["scopes"]),
        (&json!("oauth1"), &json!(null))
    );
    assert!(!said.err.contains(&pin), "{}", said.err);
    let kinds = stage
        .rows("select kind, version from crier.credentials")
        .await;
    assert_eq!(kinds, [json!({"kind": "oauth1", "version": 2})]);
    stage.done().await;
}

#[tokio::test]
async fn a_no_a_wrong_number_and_a_foreign_answer_connect_nothing() {
    let stage = stage().await;
    let file = secret_file("sim-consumer-secret");
    let words = [&KEY[..], &["--consumer-secret-file", file.path()]].concat();
    let login = Login::begin(&stage, &words).await;
    let page = login
        .visit(&login.decide_oauth1(&[("decision", "deny")]).await)
        .await;
    assert!(
        page.body.contains("Access was not granted"),
        "{}",
        page.body
    );
    assert_eq!(login.end().await.code, 1);
    let by_pin = [&words[..], &["--pin"]].concat();
    let mut login = Login::begin(&stage, &by_pin).await;
    login.press(&[("decision", "allow")]).await;
    login.type_in("0000000").await;
    let said = login.end().await;
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("hint: the number was wrong, too old or used before"),
        "{}",
        said.err
    );
    let by_hand = [&words[..], &["--paste"]].concat();
    let mut login = Login::begin(&stage, &by_hand).await;
    login
        .type_in("http://127.0.0.1:8723/callback?oauth_token=other&oauth_verifier=v")
        .await;
    let said = login.end().await;
    assert!(
        said.err.contains("the answer to another login"),
        "{}",
        said.err
    );
    let wrong = secret_file("s3cr3t");
    let words = [
        &["auth", "login"],
        &KEY[..],
        &["--consumer-secret-file", wrong.path()],
    ]
    .concat();
    let (code, out, err) = stage.say(&words).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("X does not begin a login") && err.contains("hint: check consumer key"),
        "{err}"
    );
    assert!(!err.contains("s3cr3t"), "{err}");
    assert_eq!(stage.rows("select 1 from crier.accounts").await.len(), 0);
    stage.done().await;
}
