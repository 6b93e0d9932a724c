//! Every answer that a test gets, held against X's own description (`tests/spec`).
//!
//! Members that the description does not have are refused here although it leaves its answers open, so that
//! nothing made up slips in; what is known from live replies alone stands in the lists below.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::{Request, Seen};

static EXCERPT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../spec/openapi-excerpt.json");
    serde_json::from_str(text).unwrap()
});

/// Names that live replies and the pages use for what 2.167 calls otherwise (x-api.md 4.1 and 4.2).
const OLDER_NAMES: [(&str, &str); 3] = [
    ("edit_history_tweet_ids", "edit_history_post_ids"),
    ("note_tweet", "note_post"),
    ("referenced_tweets", "referenced_posts"),
];

/// Types of problems that are known from live replies and fixtures alone (x-api.md 6.2), with the
/// members that they have beside `title`, `detail`, `type` and `status`.
const LIVE_PROBLEMS: [(&str, &[&str]); 8] = [
    ("about:blank", &[]),
    ("app-suspended", &[]),
    (
        "client-forbidden",
        &[
            "client_id",
            "reason",
            "registration_url",
            "required_enrollment",
        ],
    ),
    ("credits", &["account_id", "reset_date"]),
    ("credits-depleted", &[]),
    ("oauth1-permissions", &[]),
    ("rate-limit-exceeded", &[]),
    ("user-suspended", &[]),
];

/// All routes of the excerpt, as `METHOD /path/{id}`.
pub(crate) fn routes() -> Vec<&'static str> {
    let routes = EXCERPT["routes"].as_object().unwrap();
    routes.keys().map(String::as_str).collect()
}

/// What the excerpt says of a route.
pub(crate) fn route(spec: &str) -> &'static Value {
    &EXCERPT["routes"][spec]
}

/// The schema that a `$ref` names, or the schema itself.
pub(crate) fn resolved(schema: &'static Value) -> &'static Value {
    let Some(name) = schema["$ref"].as_str() else {
        return schema;
    };
    let name = name.rsplit('/').next().unwrap();
    resolved(&EXCERPT["components"]["schemas"][name])
}

/// The route of the excerpt that a request is for.
pub(crate) fn route_of(request: &Request) -> Option<&'static str> {
    let path = request.path.split('?').next().unwrap();
    let fits = |spec: &&str| {
        let (method, template) = spec.split_once(' ').unwrap();
        let (wanted, given) = (template.split('/'), path.split('/'));
        method == request.method
            && wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    };
    // `/2/users/me` fits no template, but `/2/tweets/{id}` is one segment longer than `/2/tweets`.
    let mut fitting: Vec<_> = routes().into_iter().filter(fits).collect();
    fitting.sort_by_key(|spec| spec.contains('{'));
    fitting.first().copied()
}

/// Holds an answer of v2 against the description.
#[track_caller]
pub(crate) fn judge(request: &Request, seen: &Seen) {
    if !request.path.starts_with("/2/") || request.path.starts_with("/2/oauth2/") {
        return;
    }
    let told = format!(
        "{} {}: {} {}",
        request.method,
        request.path,
        seen.status,
        String::from_utf8_lossy(&seen.body)
    );
    if seen.body.is_empty() {
        // The edge's 413 (x-api.md 3.4), and append's other answer.
        assert!(matches!(seen.status, 413 | 204), "{told}");
        return;
    }
    let kind = seen.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("application/json") || kind == "application/problem+json",
        "{kind}: {told}"
    );
    let body = renamed(seen.json());
    if seen.status >= 300 {
        assert!(seen.status >= 400, "{told}");
        error(&body, seen.status, &told);
        return;
    }
    let spec = route_of(request).unwrap_or_else(|| panic!("no such route: {told}"));
    let responses = &route(spec)["responses"];
    let schema = &responses[seen.status.to_string()];
    assert!(schema.is_object(), "the status is not in the spec: {told}");
    valid(schema, &body, &told);
}

/// An error: a problem of the spec, one known from live replies, or the form of v1.1.
#[track_caller]
fn error(body: &Value, status: u16, told: &str) {
    let Some(kind) = body["type"].as_str() else {
        let errors = body["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("{told}"));
        assert!(
            !errors.is_empty() && body.as_object().unwrap().len() == 1,
            "{told}"
        );
        for error in errors {
            valid(&json!({"$ref": "#/components/schemas/Error"}), error, told);
        }
        return;
    };
    if let Some(given) = body.get("status") {
        assert_eq!(given, status, "{told}");
    }
    let last = kind.rsplit('/').next().unwrap();
    if let Some((_, more)) = LIVE_PROBLEMS.iter().find(|(name, _)| *name == last) {
        for name in ["title", "detail"] {
            assert!(body[name].is_string(), "{name}: {told}");
        }
        for name in body.as_object().unwrap().keys() {
            let known = ["title", "detail", "type", "status"].contains(&name.as_str());
            assert!(known || more.contains(&name.as_str()), "{name}: {told}");
        }
        return;
    }
    let mut body = body.clone();
    // x-api.md 6.1, second row: live, one entry a field.
    if let Some(Value::Array(fields)) = body.as_object_mut().unwrap().remove("errors") {
        for field in &fields {
            assert!(field["message"].is_string(), "{told}");
            assert!(field["parameters"].is_object(), "{told}");
        }
    }
    valid(
        &json!({"$ref": "#/components/schemas/Problem"}),
        &body,
        told,
    );
}

#[track_caller]
fn valid(schema: &Value, body: &Value, told: &str) {
    static KNOWN: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = known.entry(schema.to_string()).or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = EXCERPT["components"].clone();
        close(&mut whole);
        jsonschema::validator_for(&whole).unwrap()
    });
    let faults: Vec<_> = validator
        .iter_errors(body)
        .map(|fault| format!("{} at {}", fault, fault.instance_path()))
        .collect();
    drop(known);
    assert!(faults.is_empty(), "{faults:?}: {told}");
}

/// Closes every object whose members are listed.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let listed = members
                .get("properties")
                .and_then(Value::as_object)
                .is_some_and(|properties| !properties.is_empty());
            if listed {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The body with the names of 2.167, and without the error of a failed processing, which the spec does
/// not know (x-api.md 3.6).
fn renamed(body: Value) -> Value {
    match &body {
        Value::Object(members) => {
            let members = members.clone().into_iter().map(|(name, value)| {
                let newer = OLDER_NAMES.iter().find(|(older, _)| *older == name);
                let mut value = renamed(value);
                if name == "processing_info" {
                    value.as_object_mut().unwrap().remove("error");
                }
                (newer.map_or(name, |(_, newer)| (*newer).to_owned()), value)
            });
            Value::Object(members.collect())
        }
        Value::Array(all) => Value::Array(all.iter().cloned().map(renamed).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body,
    }
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let ok = |schema: &str, body: Value| {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        std::panic::catch_unwind(|| valid(&schema, &body, "a trial")).is_ok()
    };
    let post = |data: Value| ok("CreatePostsResponse", json!({"data": data}));
    assert!(post(json!({"id": "1", "text": "hi"})));
    assert!(!post(json!({"id": 1, "text": "hi"})), "an id is a string");
    assert!(!post(json!({"id": "x", "text": "hi"})), "an id is digits");
    assert!(!post(json!({"id": "1"})), "the text is required");
    assert!(!post(json!({"id": "1", "text": "hi", "more": 1})), "closed");
    let problem = |kind: &str| {
        let body = json!({"title": "", "detail": "", "type": kind});
        ok("Problem", body)
    };
    assert!(problem("https://api.x.com/2/problems/invalid-request"));
    assert!(!problem("https://api.x.com/2/problems/made-up"));
}
