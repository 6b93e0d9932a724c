//! Ids: what a log says of a job names it, its account, the attempt and the trace, and so does each request that leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, png};
use crate::support::{Role, Stage};
use crate::webhooks::{Heard, receiver};

const SOON: Duration = Duration::from_secs(20);
/// The example of the W3C recommendation.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Lines of a log of JSON that belong to a piece of work.
fn within(log: &str, piece: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["span"]["name"] == piece)
        .collect()
}

#[tokio::test]
async fn what_a_log_says_of_a_job_and_what_leaves_for_it_names_job_attempt_and_trace() {
    let refused = json!({"route": "POST /2/tweets", "kind": "answer", "status": 403, "body": {"title": "Forbidden", "detail": "not now", "status": 403}});
    let lost = json!({"route": "POST /2/media/upload/initialize", "kind": "answer", "status": 503});
    let stage = Stage::new(&json!({"faults": [refused, lost]})).await;
    let files = Files::new();
    files.put("p.png", &png(30_000));
    stage.account("acme").await;
    let log = format!("{}/log", files.folder());
    let mut command = stage.command(&["run"]);
    command
        .env("CRIER__MEDIA__ROOT", files.folder())
        .env("CRIER__LOG__JSON", "true")
        .env("CRIER__LOG__FILTER", "info,crier_x=debug")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap());
    let crier = Role::spawn(&mut command);
    stage
        .sql(&format!(
            r#"insert into crier.jobs (account, text, media, trace) values ('acme', 'with a trace', '[{{"path": "p.png", "alt_text": "p"}}]', '{PARENT}')"#
        ))
        .await;
    stage
        .until(
            "select attempts >= 1 as done from crier.jobs where id = 1",
            SOON,
        )
        .await;
    // The waits of what is tried again are moved through by the database's clock.
    let mut moves = 0;
    while stage.rows("select state from crier.jobs").await != [json!({"state": "published"})] {
        moves += 1;
        assert!(moves < 40, "{}", std::fs::read_to_string(&log).unwrap());
        stage
            .sql("update crier.clock set shift = shift + interval '1 minute'")
            .await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'without one')")
        .await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    crier.stop().await;

    let log = std::fs::read_to_string(&log).unwrap();
    let (attempts, uploads) = (within(&log, "attempt"), within(&log, "upload"));
    for (lines, words) in [
        (&uploads, "media 0 of job 1 is ready"),
        (&uploads, "X answered"),
        (&attempts, "job 1 of @acme is tried again later: not now"),
        (&attempts, "job 1 of @acme is published"),
        (&attempts, "X answered"),
    ] {
        let said = lines.iter().any(|line| line["message"] == words);
        assert!(said, "{words}: {log}");
    }
    let mut numbers = BTreeSet::new();
    for line in attempts.iter().chain(&uploads) {
        let span = &line["span"];
        assert_eq!(span["account"], "acme", "{line}");
        assert!(span["attempt"].is_u64(), "{line}");
        if span["job"] == 1 {
            assert_eq!(span["trace_id"], TRACE, "{line}");
            numbers.insert((span["name"].to_string(), span["attempt"].to_string()));
        } else {
            assert_eq!(span["job"], 2, "{line}");
        }
    }
    assert!(
        numbers.contains(&("\"attempt\"".to_owned(), "2".to_owned())),
        "{numbers:?}"
    );
    // Nothing is said of a job elsewhere.
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["job"].is_null() || line["span"]["job"].is_u64(),
            "{line}"
        );
    }

    let shown = stage.done_by(&["--json", "jobs", "show", "2"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let own = shown["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(shown["trace"], Value::Null);
    assert_ne!(own, TRACE);
    let (_, _, why) = stage.say(&["jobs", "why", "1"]).await;
    assert!(why.contains(TRACE), "{why}");
    let requests = stage.sim("GET", "/_sim/requests", "").await;
    let calls: Vec<(&str, Vec<&str>)> = requests
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| !call["traceparent"].is_null())
        .map(|call| {
            let parent = call["traceparent"].as_str().unwrap();
            (call["route"].as_str().unwrap(), parent.split('-').collect())
        })
        .collect();
    let of = |trace: &str, wanted: &str| -> Vec<&str> {
        calls
            .iter()
            .filter(|(route, parent)| route.contains(wanted) && parent[1] == trace)
            .map(|(_, parent)| parent[2])
            .collect()
    };
    let posts = of(TRACE, "POST /2/tweets");
    assert_eq!(posts.len(), 2, "{calls:?}");
    assert_ne!(posts[0], posts[1], "each attempt has an id of its own");
    assert!(of(TRACE, "/2/media/upload").len() >= 4, "{calls:?}");
    assert_eq!(of(&own, "POST /2/tweets").len(), 1, "{calls:?}");
    assert!(
        calls
            .iter()
            .all(|(_, parent)| parent[0] == "00" && parent[3] == "01" && parent[2].len() == 16),
        "{calls:?}"
    );
    stage.done().await;
}

#[tokio::test]
async fn a_trace_is_given_at_the_command_line_and_what_is_none_is_refused_in_words() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let (code, _, words) = stage
        .say(&["post", "--account", "acme", "x", "--trace", "4bf9"])
        .await;
    assert_eq!(code, Some(1));
    assert!(
        words.contains("trace \"4bf9\" is neither a traceparent nor a trace id")
            && words.contains("hint: give 00-<32 hex digits>"),
        "{words}"
    );
    stage
        .done_by(&["post", "--account", "acme", "x", "--trace", TRACE])
        .await;
    // The refused one has used a number up.
    let shown = stage.done_by(&["jobs", "show", "2"]).await;
    assert!(shown.contains(TRACE), "{shown}");
    stage.done().await;
}

const PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

/// A fact of a span.
fn fact(span: &Value, name: &str) -> Value {
    let facts = span["attributes"].as_array().unwrap();
    let found = facts.iter().find(|fact| fact["key"] == name);
    found.map_or(Value::Null, |fact| fact["value"].clone())
}

/// What a collector was told: every span by its id.
fn spans(heard: &[Heard]) -> BTreeMap<String, Value> {
    let mut spans = BTreeMap::new();
    for call in heard {
        assert!(
            call.head.starts_with("POST /v1/traces HTTP/1.1"),
            "{}",
            call.head
        );
        let body: Value = serde_json::from_str(&call.body).unwrap();
        let resource = body["resourceSpans"][0]["resource"]["attributes"].to_string();
        assert!(resource.contains(r#""stringValue":"crier""#), "{resource}");
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
        {
            spans.insert(span["spanId"].as_str().unwrap().to_owned(), span.clone());
        }
    }
    spans
}

#[tokio::test]
async fn a_collector_is_told_of_attempts_uploads_and_calls_and_may_be_away() {
    let refused =
        json!({"route": "POST /2/media/upload/initialize", "kind": "answer", "status": 503});
    let stage = Stage::new(&json!({"faults": [refused]})).await;
    let files = Files::new();
    files.put("p.png", &png(30_000));
    stage.account("acme").await;
    let (port, heard) = receiver(&[503, 200]).await;
    let collector = format!("http://127.0.0.1:{port}");
    let crier = files.start_with(&stage, "run", &[("CRIER__OTLP__ENDPOINT", &collector)]);
    // The first is refused by the collector, and dropped.
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'first')")
        .await;
    stage.until(PUBLISHED, SOON).await;
    let mut waits = 0;
    while heard.lock().unwrap().is_empty() {
        waits += 1;
        assert!(waits < 400, "nothing was told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage
        .sql(&format!(
            r#"insert into crier.jobs (account, text, media, trace) values
                 ('acme', 'very secret words', '[{{"path": "p.png", "alt_text": "p"}}]', '{PARENT}'),
                 ('acme', 'unsampled', '[]', '{}')"#,
            PARENT.replace("-01", "-00")
        ))
        .await;
    let mut moves = 0;
    while stage.rows(PUBLISHED).await != [json!({"done": true})] {
        moves += 1;
        assert!(
            moves < 80,
            "{:#?}",
            stage.rows("select * from crier.jobs").await
        );
        stage
            .sql("update crier.clock set shift = shift + interval '1 minute'")
            .await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // What is still in hand is told before the process ends.
    crier.stop().await;
    let heard = heard.lock().unwrap().clone();
    for call in &heard {
        for secret in ["very secret words", "p.png", "earer", "token"] {
            // The route of a refresh has the word in it, and none was due.
            assert!(!call.body.contains(secret), "{secret}: {}", call.body);
        }
    }
    let spans = spans(&heard[1..]);
    let named = |name: &str| -> Vec<&Value> {
        spans.values().filter(|span| span["name"] == name).collect()
    };
    assert!(
        spans.values().all(|span| span["traceId"] == TRACE),
        "{spans:#?}"
    );
    let (attempts, uploads) = (named("attempt"), named("upload"));
    assert!(!attempts.is_empty() && !uploads.is_empty(), "{spans:#?}");
    for whole in attempts.iter().chain(&uploads) {
        assert_eq!(whole["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(fact(whole, "crier.job"), json!({"intValue": "2"}));
        assert_eq!(fact(whole, "crier.account"), json!({"stringValue": "acme"}));
    }
    assert_eq!(fact(attempts[0], "crier.attempt"), json!({"intValue": "1"}));
    let created = named("POST /2/tweets");
    assert_eq!(created.len(), 1, "{spans:#?}");
    let part_of = |whole: &[&Value], part: &Value| {
        whole
            .iter()
            .any(|whole| whole["spanId"] == part["parentSpanId"])
    };
    assert!(part_of(&attempts, created[0]), "{spans:#?}");
    assert_eq!(created[0]["kind"], 3);
    assert_eq!(
        fact(created[0], "http.response.status_code"),
        json!({"intValue": "201"})
    );
    assert_eq!(
        fact(created[0], "http.request.method"),
        json!({"stringValue": "POST"})
    );
    let begun = named("POST /2/media/upload/initialize");
    let failed: Vec<&&Value> = begun
        .iter()
        .filter(|span| span["status"]["code"] == 2)
        .collect();
    assert_eq!(failed.len(), 1, "{begun:#?}");
    assert!(begun.len() > 1, "{begun:#?}");
    assert_eq!(fact(failed[0], "error.type"), json!({"stringValue": "503"}));
    assert!(
        begun.iter().all(|call| part_of(&uploads, call)),
        "{spans:#?}"
    );
    // X saw the very ids that the collector was told.
    let requests = stage.sim("GET", "/_sim/requests", "").await;
    let wanted = format!("00-{TRACE}-{}-01", created[0]["spanId"].as_str().unwrap());
    let seen = requests
        .as_array()
        .unwrap()
        .iter()
        .any(|call| call["traceparent"] == wanted.as_str());
    assert!(seen, "{wanted}: {requests}");
    for span in spans.values() {
        let at = |name: &str| -> i64 { span[name].as_str().unwrap().parse().unwrap() };
        assert!(at("startTimeUnixNano") <= at("endTimeUnixNano"), "{span}");
    }
    stage.done().await;
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nothing_and_is_told_of_once() {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    stage.account("acme").await;
    // Takes connections, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", silent.local_addr().unwrap());
    let (came, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let taking = tokio::spawn(async move {
        loop {
            let (stream, _) = silent.accept().await.unwrap();
            came.send(stream).unwrap();
        }
    });
    let log = format!("{}/log", files.folder());
    let mut command = stage.command(&["run"]);
    command
        .env("CRIER__OTLP__ENDPOINT", &collector)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap());
    let crier = Role::spawn(&mut command);
    let mut held = Vec::new();
    for number in 0..3 {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text) values ('acme', 'post {number}')"
            ))
            .await;
        stage.until(PUBLISHED, SOON).await;
        // The call before was given up by now.
        let call = tokio::time::timeout(SOON, calls.recv()).await.unwrap();
        held.push(call.unwrap());
    }
    // It ends well and in time, with the third call under way.
    crier.stop().await;
    let log = std::fs::read_to_string(&log).unwrap();
    let said = log
        .matches("the collector of traces does not take them")
        .count();
    assert_eq!(said, 1, "{log}");
    taking.abort();
    stage.done().await;
}

#[tokio::test]
async fn a_collector_by_plain_http_elsewhere_is_refused() {
    let stage = Stage::new(&json!({})).await;
    for (endpoint, why) in [
        ("http://collector.example.com:4318", "is not https"),
        (
            "https://user:very-secret@collector.example.com",
            "remove user",
        ),
        ("collector", "is not an address"),
    ] {
        let mut command = stage.command(&["worker"]);
        command.env("CRIER__OTLP__ENDPOINT", endpoint);
        let ended = command.output().await.unwrap();
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{words}");
        assert!(
            words.contains("`otlp.endpoint`") && words.contains(why),
            "{words}"
        );
        assert!(!words.contains("very-secret"), "{words}");
    }
    stage.done().await;
}
