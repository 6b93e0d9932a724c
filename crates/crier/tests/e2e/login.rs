//! `crier auth login` and `revoke` as a person meets them: the address that is printed, X's page, the answer to the callback.

mod oauth1;
mod person;
mod refused;
mod revival;

use serde_json::json;

use crate::support::Stage;
use person::{ALL_SCOPES, Login, get, secret_file};

/// The shared app of the simulator.
const APP: [&str; 2] = ["--client-id", "sim-client-id"];

async fn stage() -> Stage {
    let stage = Stage::new(&json!({})).await;
    let user = json!({"username": "acme", "id": "2244994945"});
    stage.sim("POST", "/_sim/accounts", &user.to_string()).await;
    stage
}

#[tokio::test]
async fn a_person_logs_in_once_with_the_secret_and_later_without() {
    let stage = stage().await;
    let file = secret_file("sim-client-secret");
    let words = [&APP[..], &["--client-secret-file", file.path()]].concat();
    let login = Login::begin(&stage, &words).await;
    let asked = login.asked();
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["scope"], ALL_SCOPES);
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(
        (asked["state"].len(), asked["code_challenge"].len()),
        (32, 43)
    );
    // Whoever else calls is answered and changes nothing.
    let callback = login.callback();
    for (path, status) in [
        ("/favicon.ico", 404),
        ("/", 404),
        ("/callback", 400),
        ("/callback?state=0123&code=stolen", 400),
        ("/callback?error=access_denied", 400),
    ] {
        let seen = get(callback, "GET", path, "").await;
        assert_eq!(seen.status, status, "{path}: {}", seen.body);
    }
    assert_eq!(
        get(callback, "POST", "/callback", "state=1").await.status,
        405
    );
    let page = login
        .visit(&login.decide(&[("decision", "allow")]).await)
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(
        page.body.contains("<h1>@acme is connected</h1>"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("You can close this window."),
        "{}",
        page.body
    );
    assert!(
        page.head.contains("cache-control: no-store"),
        "{}",
        page.head
    );
    let said = login.end().await;
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "@acme is connected by the app sim-client-id; its id on X is 2244994945\n"
        ),
        "{}",
        said.err
    );
    assert!(!said.err.contains("warning"), "{}", said.err);
    let kept = stage
        .rows("select handle, x_user_id, status, array_to_string(scopes, ' ') as scopes from crier.accounts")
        .await;
    assert_eq!(
        kept,
        [
            json!({"handle": "acme", "x_user_id": "2244994945", "status": "active", "scopes": ALL_SCOPES})
        ]
    );

    // Nothing is given now: the app is known.
    let login = Login::begin(&stage, &["--json"]).await;
    login
        .visit(&login.decide(&[("decision", "allow")]).await)
        .await;
    let again = login.end().await;
    assert_eq!(again.code, 0, "{}", again.err);
    let row: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        row,
        json!({"account": "acme", "id": "2244994945", "status": "active", "kind": "oauth2", "app": "sim-client-id",
            "scopes": ALL_SCOPES.split(' ').collect::<Vec<_>>(), "missing": [], "waiting": 0})
    );
    for shown in [&said, &again] {
        shown.holds_no_secret();
    }
    assert_eq!(stage.rows("select 1 from crier.accounts").await.len(), 1);
    stage.done().await;
}

#[tokio::test]
async fn a_public_client_logs_in_by_hand() {
    let stage = Stage::new(&json!({})).await;
    let user = json!({"username": "acme", "public": true, "client_id": "native"});
    stage.sim("POST", "/_sim/accounts", &user.to_string()).await;
    let by_hand = ["--client-id", "native", "--public", "--paste"];
    let mut login = Login::begin(&stage, &by_hand).await;
    assert_eq!(
        login.asked()["redirect_uri"],
        "http://127.0.0.1:8723/callback"
    );
    let there = login.decide(&[]).await;
    login.type_in(there.as_str()).await;
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.starts_with("@acme is connected by the app native"),
        "{}",
        said.out
    );
    said.holds_no_secret();
    let app = stage.rows("select client_id, kind from crier.apps").await;
    assert_eq!(app, [json!({"client_id": "native", "kind": "public"})]);

    // The code alone will do, and a registered callback is told to X to the letter.
    let elsewhere = ["--paste", "--redirect-uri", "https://acme.example"];
    let mut login = Login::begin(&stage, &elsewhere).await;
    assert_eq!(login.asked()["redirect_uri"], "https://acme.example");
    let there = login.decide(&[]).await;
    let code = there
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1;
    login.type_in(&code).await;
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
    stage.done().await;
}

#[tokio::test]
async fn what_was_not_granted_is_said_with_its_cure() {
    let stage = stage().await;
    let file = secret_file("sim-client-secret");
    let words = [&APP[..], &["--client-secret-file", file.path()]].concat();
    let login = Login::begin(&stage, &words).await;
    // The app has no permission for more: X grants less than was asked.
    let less = "tweet.read tweet.write users.read";
    let page = login.visit(&login.decide(&[("scope", less)]).await).await;
    assert!(
        page.body.contains("posts with media will not go out"),
        "{}",
        page.body
    );
    let said = login.end().await;
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "warning: the scope media.write was not granted: posts with media will not go out. Cure: give the app this permission",
        "warning: the scope offline.access was not granted: there is no refresh token",
    ] {
        assert!(said.err.contains(words), "{}", said.err);
    }
    let list = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(
        list.contains("lacks media.write: posts with media do not go out"),
        "{list}"
    );
    // The cure.
    let login = Login::begin(&stage, &["--account", "@ACME"]).await;
    login.visit(&login.decide(&[]).await).await;
    assert!(!login.end().await.err.contains("warning"));
    let list = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(!list.contains("lacks"), "{list}");
    stage.done().await;
}
