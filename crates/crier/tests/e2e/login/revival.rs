//! Grants that end, by X or by a person, and accounts that go on by themselves after the next login.

use std::time::Duration;

use serde_json::json;

use super::person::{Login, get};
use super::stage;
use crate::support::{NO_HEEDED, Stage};

const SOON: Duration = Duration::from_secs(30);
const NEEDS_LOGIN: &str = "select status = 'needs_login' as done from crier.accounts";
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

/// `@acme`, imported with both kinds of grants, and its refresh token.
async fn imported(stage: &Stage, without: &str) -> String {
    let made = stage
        .account_without(&json!({"username": "acme"}), without)
        .await;
    made["oauth2"]["refresh_token"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// X ends the grant behind crier's back.
async fn end_at_x(stage: &Stage, refresh_token: &str) {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("token", refresh_token)
        .append_pair("client_id", "native")
        .finish();
    let seen = get(stage.sim_address(), "POST", "/2/oauth2/revoke", &form).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
}

async fn logged_in(stage: &Stage) {
    let login = Login::begin(stage, &["--account", "acme"]).await;
    let page = login
        .visit(&login.decide(&[("account", "acme")]).await)
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
}

#[tokio::test]
async fn a_dead_grant_waits_for_a_login_and_its_jobs_then_go_out_by_themselves() {
    let stage = Stage::new(&json!({})).await;
    let user = json!({"username": "acme", "public": true, "client_id": "native"});
    let made = stage.account_without(&user, "oauth1").await;
    end_at_x(&stage, made["oauth2"]["refresh_token"].as_str().unwrap()).await;
    let crier = stage.start("run");
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'first'), ('acme', 'second')")
        .await;
    stage.until(NEEDS_LOGIN, SOON).await;
    // Between X's no and the stop nobody else asked.
    stage.until(NO_HEEDED, SOON).await;
    // Three commands say what is wrong and what ends it.
    let cure = "`crier auth login --account acme`; its jobs then go on by themselves";
    let shown = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(
        shown.contains("X no longer lets crier post for it (grant_dead") && shown.contains(cure),
        "{shown}"
    );
    for job in ["1", "2"] {
        let (_, _, err) = stage.say(&["jobs", "why", job]).await;
        assert!(
            err.contains("waits: @acme: X no longer lets crier post for it"),
            "{err}"
        );
        assert!(err.contains(&format!("to do: {cure}")), "{err}");
    }
    let (code, _, err) = stage.say(&["doctor"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("hint: @acme: {cure}")), "{err}");
    let (code, _, err) = stage.say(&["accounts", "resume", "acme"]).await;
    assert_eq!(code, Some(1), "nothing to go on with: {err}");

    let login = Login::begin(&stage, &["--account", "acme"]).await;
    login.visit(&login.decide(&[]).await).await;
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("its waiting jobs go on by themselves"),
        "{}",
        said.err
    );
    stage.until(ALL_PUBLISHED, SOON).await;
    let kept = stage
        .rows("select id, status, reason from crier.accounts")
        .await;
    assert_eq!(kept, [json!({"id": 1, "status": "active", "reason": null})]);
    let (_, _, err) = stage.say(&["jobs", "why", "1"]).await;
    assert!(!err.contains("waits"), "{err}");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn what_is_revoked_is_ended_at_x_forgotten_and_waits_for_a_login() {
    let stage = stage().await;
    let refresh_token = imported(&stage, "").await;
    let said = stage.done_by(&["auth", "revoke", "@Acme"]).await;
    assert_eq!(
        said,
        "the grants of acme are revoked at X and forgotten here; it is needs_login\n"
    );
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let calls: Vec<_> = calls
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            (
                call["route"].as_str().unwrap(),
                call["status"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            ("POST /2/oauth2/revoke", 200),
            ("POST /2/oauth2/revoke", 200),
            ("POST /1.1/oauth/invalidate_token", 200)
        ]
    );
    assert_eq!(stage.rows("select 1 from crier.credentials").await.len(), 0);
    assert_eq!(stage.rows("select 1 from crier.leases").await.len(), 0);
    // Its jobs wait, and say for what.
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'waits')")
        .await;
    let crier = stage.start("run");
    let shown = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(
        shown.contains("its grants were revoked")
            && shown.contains("crier auth login --account acme"),
        "{shown}"
    );
    let (code, _, err) = stage.say(&["auth", "revoke", "acme"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("`acme` has no grant to revoke"), "{err}");
    let (code, _, err) = stage.say(&["auth", "refresh", "acme"]).await;
    assert_eq!(code, Some(1));
    assert!(
        err.contains("`acme` has no token") && !err.contains(&refresh_token),
        "{err}"
    );
    // The app's secret is known still.
    let words = ["--client-id", "sim-client-id"];
    let login = Login::begin(&stage, &words).await;
    login.visit(&login.decide(&[]).await).await;
    assert_eq!(login.end().await.code, 0);
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_revocation_that_x_does_not_hear_of_forgets_nothing_unless_told_to() {
    let stage = stage().await;
    imported(&stage, "oauth1").await;
    let lost = r#"{"route": "POST /2/oauth2/revoke", "kind": "request_lost", "times": 2}"#;
    stage.sim("POST", "/_sim/faults", lost).await;
    let (code, out, err) = stage.say(&["auth", "revoke", "acme"]).await;
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    for words in [
        "the grants of `acme` were not revoked, and nothing was forgotten",
        "hint: try again a little later; or `crier auth revoke acme --local` forgets them here alone",
    ] {
        assert!(err.contains(words), "{err}");
    }
    let kept = "select a.status, c.kind from crier.accounts a join crier.credentials c on c.account_id = a.id";
    assert_eq!(
        stage.rows(kept).await,
        [json!({"status": "active", "kind": "oauth2"})]
    );
    assert_eq!(stage.rows("select 1 from crier.leases").await.len(), 0);
    let said = stage
        .done_by(&["auth", "revoke", "acme", "--local", "--json"])
        .await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        said,
        json!({"account": "acme", "status": "needs_login", "forgotten": ["oauth2"], "revoked": []})
    );
    assert_eq!(stage.rows(kept).await, [json!(null); 0]);
    stage.done().await;
}

#[tokio::test]
async fn a_login_with_the_right_secret_lets_the_whole_app_go_on() {
    let stage = stage().await;
    imported(&stage, "oauth1").await;
    stage
        .account_without(&json!({"username": "orbit"}), "oauth1")
        .await;
    stage
        .sql(r#"update crier.apps set status = 'paused', reason = '{"code": "app_credentials", "title": "invalid_client"}';
                insert into crier.jobs (account, text) values ('acme', 'a'), ('orbit', 'b')"#)
        .await;
    let shown = stage.done_by(&["accounts", "show", "orbit"]).await;
    assert!(
        shown.contains("`crier auth login --account orbit --client-secret-file FILE`"),
        "{shown}"
    );
    let crier = stage.start("run");
    logged_in(&stage).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}
