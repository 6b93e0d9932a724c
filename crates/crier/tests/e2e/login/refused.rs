//! Logins that come to nothing: each says why and what to do, ends with its exit code, and changes nothing.

use serde_json::json;

use super::person::{Login, Said, secret_file};
use super::{APP, stage};
use crate::support::Stage;

/// An account that has logged in once, so that the app is known.
async fn furnished() -> Stage {
    let stage = stage().await;
    stage
        .account_without(&json!({"username": "acme"}), "oauth1")
        .await;
    stage
}

/// Nothing was granted, and the terminal says so.
fn refused(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{}", said.err);
    for part in parts {
        assert!(said.err.contains(part), "no `{part}` in\n{}", said.err);
    }
    said.holds_no_secret();
}

async fn refused_at_once(stage: &Stage, words: &[&str], parts: &[&str]) {
    let (code, out, err) = stage.say(&[&["auth", "login"], words].concat()).await;
    let code = code.unwrap_or(-1);
    refused(&Said { code, out, err }, 1, parts);
}

#[tokio::test]
async fn a_denied_consent_a_late_code_and_a_wrong_secret_change_nothing() {
    let stage = furnished().await;
    let before = stage.rows("select * from crier.credentials").await;
    let login = Login::begin(&stage, &[]).await;
    let page = login
        .visit(&login.decide(&[("decision", "deny")]).await)
        .await;
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("Access was not granted"),
        "{}",
        page.body
    );
    refused(
        &login.end().await,
        1,
        &[
            "error: access was not granted: nothing was changed",
            "hint: log in again",
        ],
    );
    // The code is older than 30 seconds when it comes.
    let login = Login::begin(&stage, &[]).await;
    let there = login.decide(&[]).await;
    stage
        .sim("POST", "/_sim/clock", r#"{"advance_s": 31}"#)
        .await;
    let page = login.visit(&there).await;
    assert!(
        page.body.contains("The account is not connected"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("The code was more than 30 seconds old"),
        "{}",
        page.body
    );
    refused(
        &login.end().await,
        1,
        &[
            "X refused with 400",
            "hint: the code was more than 30 seconds old or used before: log in again",
        ],
    );
    let wrong = secret_file("s3cr3t-of-another-app");
    let login = Login::begin(&stage, &["--client-secret-file", wrong.path()]).await;
    login.visit(&login.decide(&[]).await).await;
    let said = login.end().await;
    refused(
        &said,
        1,
        &["invalid_client", "hint: check client id and secret"],
    );
    assert!(!said.err.contains("s3cr3t"), "{}", said.err);
    // X does not answer: nobody's input, and it is tried again where that is safe.
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "POST /2/oauth2/token", "kind": "answer_lost"}"#,
        )
        .await;
    let login = Login::begin(&stage, &[]).await;
    let page = login.visit(&login.decide(&[]).await).await;
    assert!(page.body.contains("no trustworthy answer"), "{}", page.body);
    refused(
        &login.end().await,
        3,
        &["no trustworthy answer came from X"],
    );
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "GET /2/users/me", "kind": "answer", "status": 503, "times": 2}"#,
        )
        .await;
    assert_eq!(stage.rows("select * from crier.credentials").await, before);
    let login = Login::begin(&stage, &[]).await;
    let page = login.visit(&login.decide(&[]).await).await;
    assert_eq!(page.status, 200, "the third try is answered: {}", page.body);
    assert_eq!(login.end().await.code, 0);
    stage.done().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_is_not_ours_ends_a_login() {
    let stage = furnished().await;
    let login = Login::begin(&stage, &["--wait-s", "1"]).await;
    refused(
        &login.end().await,
        1,
        &[
            "no answer came within 1 seconds: nothing was changed",
            "--wait-s waits longer",
        ],
    );
    let login = Login::begin(&stage, &[]).await;
    let pid = login.id().to_string();
    let killed = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(killed.await.unwrap().success());
    refused(
        &login.end().await,
        1,
        &["the login was given up: nothing was changed"],
    );
    // By hand: the answer to another login, no answer, nothing.
    for (typed, words) in [
        (
            "http://127.0.0.1:8723/callback?state=0123&code=c",
            "the answer to another login",
        ),
        ("https://x.com/home", "not what X answers with"),
        ("", "nothing was given"),
    ] {
        let mut login = Login::begin(&stage, &["--paste"]).await;
        login.type_in(typed).await;
        refused(&login.end().await, 1, &[words]);
    }
    // The first answer counts. Whoever comes after is told so.
    let login = Login::begin(&stage, &[]).await;
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "POST /2/oauth2/token", "kind": "slow", "delay_ms": 1000}"#,
        )
        .await;
    let there = login.decide(&[]).await;
    let (first, second) = tokio::join!(login.visit(&there), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        login.visit(&there).await
    });
    assert!(first.body.contains("is connected"), "{}", first.body);
    assert!(second.body.contains("looked at already"), "{}", second.body);
    assert_eq!(login.end().await.code, 0);
    stage.done().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anybody_consents() {
    let stage = stage().await;
    refused_at_once(
        &stage,
        &[],
        &[
            "no developer app is known yet",
            "hint: give its id with --client-id",
        ],
    )
    .await;
    refused_at_once(
        &stage,
        &APP,
        &[
            "the secret of the app `sim-client-id` is not known",
            "--public",
        ],
    )
    .await;
    refused_at_once(
        &stage,
        &["--oauth1"],
        &["no developer app of OAuth 1.0a is named", "--consumer-key"],
    )
    .await;
    refused_at_once(
        &stage,
        &["--oauth1", "--consumer-key", "k"],
        &["the consumer secret of the app is not known"],
    )
    .await;
    let file = secret_file("sim-client-secret");
    let with = |more: &'static [&'static str]| {
        [&APP[..], &["--client-secret-file", file.path()], more].concat()
    };
    refused_at_once(
        &stage,
        &with(&["--scope", "tweet.write"]),
        &["--scope lacks tweet.read and users.read", "whose account"],
    )
    .await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let words = [&with(&[])[..], &["--port", &port]].concat();
    refused_at_once(
        &stage,
        &words,
        &[
            &format!("cannot wait for X's answer on 127.0.0.1:{port}"),
            "another program has this port",
        ],
    )
    .await;
    refused_at_once(
        &stage,
        &with(&["--redirect-uri", "https://acme.example/cb"]),
        &["does not come to this machine", "--paste"],
    )
    .await;
    refused_at_once(
        &stage,
        &["--client-id", "a", "--client-secret-file", "/nowhere"],
        &["cannot read --client-secret-file `/nowhere`"],
    )
    .await;
    assert_eq!(stage.rows("select 1 from crier.accounts").await.len(), 0);
    stage.done().await;
}

#[tokio::test]
async fn another_account_than_the_one_that_is_meant_is_not_taken() {
    let stage = furnished().await;
    stage
        .sim("POST", "/_sim/accounts", r#"{"username": "orbit"}"#)
        .await;
    let login = Login::begin(&stage, &["--account", "@acme"]).await;
    let page = login
        .visit(&login.decide(&[("account", "orbit")]).await)
        .await;
    assert!(
        page.body
            .contains("Access was granted for `@orbit`, not for `@acme`"),
        "{}",
        page.body
    );
    refused(
        &login.end().await,
        1,
        &["nothing was kept", "hint: log in to x.com as `@acme`"],
    );
    assert_eq!(stage.rows("select 1 from crier.accounts").await.len(), 1);
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let last = calls.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["route"], &last["status"]),
        (&json!("POST /2/oauth2/revoke"), &json!(200)),
        "what nobody wanted is given back"
    );
    let login = Login::begin(&stage, &["--account", "Orbit"]).await;
    login
        .visit(&login.decide(&[("account", "orbit")]).await)
        .await;
    assert_eq!(
        login.end().await.code,
        0,
        "a first login may name its account as well"
    );
    // An account that crier publishes for is not ended because somebody else was meant.
    let revoked = async || {
        let calls = stage.sim("GET", "/_sim/requests", "").await;
        let calls = calls.as_array().unwrap().clone();
        calls
            .iter()
            .filter(|call| call["route"] == "POST /2/oauth2/revoke")
            .count()
    };
    let before = revoked().await;
    let login = Login::begin(&stage, &["--account", "@acme"]).await;
    login
        .visit(&login.decide(&[("account", "orbit")]).await)
        .await;
    refused(
        &login.end().await,
        1,
        &["nothing was kept, and `@orbit` stays as it was"],
    );
    assert_eq!(revoked().await, before);
    stage.done().await;
}
