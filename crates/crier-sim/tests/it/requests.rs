//! Requests made from X's own description: each property, each word of each list, each bound.
//!
//! What the description takes must pass the simulator's schema (what it means may still be refused); what
//! it does not have, or has otherwise, must not.

use serde_json::{Map, Value, json};

use crate::client::{Request, Seen, User, X};
use crate::conform::{resolved, route, routes};

/// Where the simulator takes less than the description says, and a value that it does take.
const NARROWER: [(&str, &str); 2] = [
    // A plain string in the description; the words of its sibling, as the pages have it.
    ("DELETE /2/media/subtitles $.media_category", "TweetVideo"),
    // Opaque to callers: only what an answer held is good.
    ("GET /2/users/{id}/tweets pagination_token", ""),
];

/// Good values of a schema: every word of a list, both ends of a range.
fn good(schema: &'static Value) -> Vec<Value> {
    let schema = resolved(schema);
    if let Some(words) = schema["enum"].as_array() {
        return words.clone();
    }
    if schema["anyOf"].is_array() {
        // A file: in JSON it is base64.
        return vec![json!("aGk="), json!("")];
    }
    match schema["type"].as_str() {
        Some("boolean") => vec![json!(true), json!(false)],
        Some("integer") => ["minimum", "maximum"]
            .iter()
            .map(|bound| schema[*bound].clone())
            .filter(Value::is_number)
            .collect(),
        Some("number") => vec![json!(1), json!(1.5)],
        Some("array") => {
            let items = good(&schema["items"]);
            let bound = |name: &str, other| schema[name].as_u64().unwrap_or(other);
            let least = bound("minItems", 0);
            let most = bound("maxItems", least + 2);
            [least, most]
                .iter()
                .map(|count| {
                    let count = usize::try_from(*count).unwrap();
                    items.iter().cycle().take(count).cloned().collect()
                })
                .collect()
        }
        Some("object") => vec![whole(schema)],
        _ => match schema["pattern"].as_str() {
            Some("^[0-9]{1,19}$") => vec![json!("1"), json!("9".repeat(19))],
            Some("^[A-Z]{2}$") => vec![json!("EN")],
            Some(other) => panic!("an unknown pattern: {other}"),
            None => {
                let longest = schema["maxLength"].as_u64().unwrap_or(1);
                vec![
                    json!("1"),
                    json!("1".repeat(usize::try_from(longest).unwrap())),
                ]
            }
        },
    }
}

/// Values that a schema does not take.
fn bad(schema: &'static Value) -> Vec<Value> {
    let schema = resolved(schema);
    let mut bad = vec![match schema["type"].as_str() {
        Some("object") => json!([]),
        Some("array" | "boolean" | "integer" | "number") => json!({}),
        _ => json!(1),
    }];
    if schema["anyOf"].is_array() {
        bad.push(json!("no base64!"));
    }
    if schema["enum"].is_array() {
        bad.push(json!("no_such_word"));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        bad.push(json!(least - 1));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        bad.extend([json!(most + 1), json!(most.to_string()), json!(0.5)]);
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        bad.push(json!("1".repeat(usize::try_from(most).unwrap() + 1)));
    }
    match schema["pattern"].as_str() {
        Some("^[0-9]{1,19}$") => bad.extend([json!(""), json!("x"), json!("1".repeat(20))]),
        Some(_) => bad.extend([json!("en"), json!("ENG")]),
        None => {}
    }
    if schema["type"] == "array" {
        let item = good(&schema["items"])[0].clone();
        for (name, by) in [("minItems", -1_i64), ("maxItems", 1)] {
            if let Some(bound) = schema[name].as_i64() {
                let count = usize::try_from(bound + by).unwrap();
                bad.push(json!(vec![item.clone(); count]));
            }
        }
        for item in crate::requests::bad(&schema["items"]) {
            bad.push(json!([item]));
        }
    }
    bad
}

/// An object with all its members, or with the one that excludes the others.
fn whole(schema: &'static Value) -> Value {
    let Some(properties) = schema["properties"].as_object() else {
        return json!({});
    };
    let all = properties.iter();
    let members: Map<String, Value> = all
        .map(|(name, schema)| (name.clone(), good(schema)[0].clone()))
        .collect();
    if members.contains_key("watch_now") {
        return json!({"watch_now": members["watch_now"]});
    }
    Value::Object(members)
}

/// A body to try, and the path of the member that it is about.
struct Trial {
    path: String,
    body: Value,
}

/// Bodies that are good but for what stands at their path, or good there too.
fn trials(schema: &'static Value, wanted: bool) -> Vec<Trial> {
    let schema = resolved(schema);
    let mut found = Vec::new();
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|all| !all.is_empty())
    else {
        return found;
    };
    let base = |name: &str| {
        let required = schema["required"].as_array();
        let needed = required
            .into_iter()
            .flatten()
            .filter(|other| *other != name);
        let members: Map<String, Value> = needed
            .filter_map(Value::as_str)
            .map(|other| (other.to_owned(), good(&properties[other])[0].clone()))
            .collect();
        members
    };
    for (name, inner) in properties {
        let values = if wanted { good(inner) } else { bad(inner) };
        let mut tries: Vec<(String, Value)> = values
            .into_iter()
            .map(|value| (String::new(), value))
            .collect();
        for trial in trials(inner, wanted) {
            tries.push((trial.path, trial.body));
        }
        for (deeper, value) in tries {
            let mut body = base(name);
            body.insert(name.clone(), value);
            found.push(Trial {
                path: format!(".{name}{deeper}"),
                body: Value::Object(body),
            });
        }
    }
    if !wanted {
        let mut body = base("");
        body.insert("no_such_member".to_owned(), json!(1));
        found.push(Trial {
            path: ".no_such_member".to_owned(),
            body: Value::Object(body),
        });
    }
    found
}

/// What the simulator wants beside what the description requires (the README's "Stricter").
fn completed(spec: &str, mut body: Value, path: &str) -> Value {
    let category = |kind: &str| match kind.split('/').next() {
        Some("video") => "tweet_video",
        Some("text") => "subtitles",
        _ if kind == "image/gif" => "tweet_gif",
        _ => "tweet_image",
    };
    let defaults = match spec {
        "POST /2/tweets" => vec![("text", json!("made from the spec"))],
        "POST /2/media/upload/initialize" => {
            let kind = body["media_type"]
                .as_str()
                .unwrap_or("image/png")
                .to_owned();
            vec![
                ("media_type", json!(kind)),
                ("media_category", json!(category(&kind))),
                ("total_bytes", json!(600)),
            ]
        }
        "POST /2/media/subtitles" => vec![
            ("id", json!("1")),
            ("media_category", json!("TweetVideo")),
            ("subtitles", json!({"id": "2", "language_code": "EN"})),
        ],
        "POST /2/media/upload" | "POST /2/media/upload/{id}/append" => {
            vec![("media", json!("aGk="))]
        }
        _ => Vec::new(),
    };
    for (name, value) in defaults {
        if let Some(members) = body.as_object_mut() {
            members.entry(name).or_insert(value);
        }
    }
    if spec == "POST /2/media/subtitles" && path.starts_with("$.subtitles.") {
        for (name, value) in [("id", json!("2")), ("language_code", json!("EN"))] {
            let track = body["subtitles"].as_object_mut().unwrap();
            track.entry(name).or_insert(value);
        }
    }
    body
}

/// Whether an answer finds fault with the member at that path or inside it.
fn faulted(seen: &Seen, path: &str) -> bool {
    if seen.status != 400 {
        return false;
    }
    let body = seen.json();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().any(|error| {
        let names = error["parameters"].as_object();
        names.is_some_and(|names| names.keys().any(|name| name.starts_with(path)))
    })
}

async fn try_body(x: &X, user: &User, spec: &str, body: &Value) -> Seen {
    let (method, template) = spec.split_once(' ').unwrap();
    let mut path = template.to_owned();
    if template.contains("{id}") {
        let open = crate::media_files::initialize(user, "tweet_image", "image/png", 600);
        let id = crate::media_files::id_of(&x.send(open).await.expect(200));
        path = template.replace("{id}", &id);
    }
    x.send(user.call(method, &path).json(body)).await
}

#[tokio::test]
async fn every_member_of_every_body_is_taken_as_the_spec_says_and_no_other() {
    let open = json!({"limits": routes_without_limits()});
    let x = X::with(&open).await;
    let acme = x.user("acme").await;
    let (mut taken, mut refused) = (0, 0);
    for spec in routes() {
        let Some(schema) = route(spec)["request"].get("application/json") else {
            continue;
        };
        for wanted in [true, false] {
            for trial in trials(schema, wanted) {
                let path = format!("${}", trial.path);
                let mut body = completed(spec, trial.body, &path);
                let narrow = format!("{spec} {path}");
                if let Some((_, value)) = NARROWER.iter().find(|(known, _)| *known == narrow) {
                    if !wanted {
                        continue;
                    }
                    body["media_category"] = json!(value);
                }
                let seen = try_body(&x, &acme, spec, &body).await;
                assert_eq!(
                    faulted(&seen, &path),
                    !wanted,
                    "{spec} {path} with {body}: {} {}",
                    seen.status,
                    String::from_utf8_lossy(&seen.body)
                );
                taken += usize::from(wanted);
                refused += usize::from(!wanted);
            }
        }
    }
    assert!(taken > 100 && refused > 150, "{taken} {refused}");
}

/// No window is in the way of some hundred calls.
fn routes_without_limits() -> Value {
    let all = routes().into_iter();
    let limits: Map<String, Value> = all
        .map(|spec| (spec.to_owned(), json!({"limit": 1_000_000})))
        .collect();
    Value::Object(limits)
}

#[tokio::test]
async fn every_parameter_of_every_query_is_taken_as_the_spec_says_and_no_other() {
    let open = json!({"limits": routes_without_limits()});
    let x = X::with(&open).await;
    let acme = x.user("acme").await;
    let mut tried = 0;
    for spec in routes() {
        let (method, template) = spec.split_once(' ').unwrap();
        if method != "GET" {
            continue;
        }
        let path = template.replace("{id}", acme.id());
        let parameters = route(spec)["parameters"].as_array().unwrap();
        let needed: Vec<(&str, &str)> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true)
            .map(|parameter| (parameter["name"].as_str().unwrap(), "1"))
            .collect();
        let call = |name: &str, value: &str| {
            let mut pairs = needed.clone();
            pairs.retain(|(other, _)| *other != name);
            pairs.push((name, value));
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish();
            acme.call(method, &format!("{path}?{query}"))
        };
        for parameter in parameters.iter().filter(|known| known["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let narrow = format!("{spec} {name}");
            if NARROWER.iter().any(|(known, _)| *known == narrow) {
                continue;
            }
            let schema = resolved(&parameter["schema"]);
            let dates = schema["format"] == "date-time";
            let words = |values: Vec<Value>| -> Vec<String> {
                let flat = |value: &Value| {
                    let text = value.as_str().map(str::to_owned);
                    text.unwrap_or_else(|| value.to_string())
                };
                values.iter().map(flat).collect()
            };
            let (mut right, mut wrong) = if schema["type"] == "array" {
                let items = words(good(&schema["items"]));
                let all = items.join(",");
                ([items, vec![all]].concat(), vec!["no such".to_owned()])
            } else if dates {
                (
                    vec!["2026-01-02T03:04:05Z".to_owned()],
                    vec!["noon".to_owned()],
                )
            } else {
                let mut wrong = words(bad(schema));
                // A query has nothing but text: numbers are told from it by what they look like.
                wrong.retain(|value| value.parse::<i64>().is_err() || schema["type"] == "integer");
                let most = schema["maximum"].to_string();
                wrong.retain(|value| most != *value);
                (words(good(schema)), wrong)
            };
            if schema["type"] == "array" && schema["items"]["$ref"].is_string() {
                right = vec!["1".to_owned(), vec!["1"; 100].join(",")];
                wrong = vec!["x".to_owned(), String::new(), vec!["1"; 101].join(",")];
            }
            for value in right {
                let seen = x.send(call(name, &value)).await;
                assert!(
                    !faulted(&seen, name) || seen.says_no_processing(),
                    "{spec} {name}={value}"
                );
                tried += 1;
            }
            for value in wrong {
                let seen = x.send(call(name, &value)).await;
                assert!(
                    faulted(&seen, name),
                    "{spec} {name}={value}: {}",
                    seen.status
                );
                tried += 1;
            }
        }
        let seen = x.send(call("no_such_parameter", "1")).await;
        assert!(faulted(&seen, "no_such_parameter"), "{spec}");
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test]
async fn forms_are_as_closed_as_json() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let picture = crate::media_files::png(600);
    let schema = resolved(&route("POST /2/media/upload")["request"]["multipart/form-data"]);
    let one_shot = |parts: &[(&str, &str)]| {
        acme.call("POST", "/2/media/upload")
            .multipart(Some(&picture), parts, false)
    };
    for word in schema["properties"]["media_category"]["enum"]
        .as_array()
        .unwrap()
    {
        let word = word.as_str().unwrap();
        let parts = [("media_category", word), ("additional_owners", "1,2")];
        let seen = x.send(one_shot(&parts)).await;
        assert!(!faulted(&seen, "$."), "{word}");
    }
    for (name, value) in [
        ("shared", "true"),
        ("media_type", "image/png"),
        ("nope", "1"),
    ] {
        let seen = x
            .send(one_shot(&[
                ("media_category", "tweet_image"),
                (name, value),
            ]))
            .await;
        assert!(faulted(&seen, &format!("$.{name}")), "{name}");
    }
    let open = crate::media_files::initialize(&acme, "tweet_image", "image/png", 600);
    let id = crate::media_files::id_of(&x.send(open).await.expect(200));
    let append = |parts: &[(&str, &str)], media_last: bool| {
        let path = format!("/2/media/upload/{id}/append");
        let call = Request::new("POST", &path).bearer(acme.oauth2("access_token"));
        call.multipart(Some(&picture), parts, media_last)
    };
    for media_last in [true, false] {
        for index in ["0", "999"] {
            x.send(append(&[("segment_index", index)], media_last))
                .await
                .expect(200);
        }
    }
    for index in ["-1", "1000", "x", ""] {
        let seen = x.send(append(&[("segment_index", index)], true)).await;
        assert!(faulted(&seen, "$.segment_index"), "{index}");
    }
    let seen = x
        .send(append(&[("segment_index", "0"), ("nope", "1")], true))
        .await;
    assert!(faulted(&seen, "$.nope"));
}
