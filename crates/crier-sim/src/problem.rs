//! X's error bodies, one function a shape (x-api.md 6.1 and 6.2).
//!
//! Invariant: every refusal of the simulator is built here, so that a shape is written once.

use serde_json::{Value, json};

use crate::reply::Reply;

/// Host and path in front of a problem's last segment (spec 2.167; 2.166 had `api.twitter.com`).
const PROBLEMS: &str = "https://api.x.com/2/problems";

/// `about:blank`: nothing beyond the status but `detail`.
pub(crate) fn blank(status: u16, title: &str, detail: &str) -> Reply {
    Reply::problem(
        status,
        &json!({"title": title, "detail": detail, "type": "about:blank", "status": status}),
    )
}

/// 401: expired, revoked or unknown token.
pub(crate) fn unauthorized() -> Reply {
    blank(401, "Unauthorized", "Unauthorized")
}

/// 403 with X's words in `detail`.
pub(crate) fn forbidden(detail: &str) -> Reply {
    blank(403, "Forbidden", detail)
}

/// 403: the app of an OAuth 1.0a token may only read (x-api.md 2.2).
pub(crate) fn read_only_app() -> Reply {
    Reply::problem(
        403,
        &json!({
            "title": "Forbidden",
            "detail": "Your client app is not configured with the appropriate oauth1 app permissions for this endpoint.",
            "type": format!("{PROBLEMS}/oauth1-permissions"),
            "status": 403,
        }),
    )
}

/// 429: a window is used up (x-api.md 5.4, first row).
pub(crate) fn too_many() -> Reply {
    blank(429, "Too Many Requests", "Too Many Requests")
}

/// 5xx from within X.
pub(crate) fn internal(detail: &str) -> Reply {
    Reply::problem(
        500,
        &json!({
            "title": "Internal Error",
            "detail": detail,
            "type": format!("{PROBLEMS}/internal-error"),
            "status": 500,
        }),
    )
}

/// The member that says a resource is not there, as used in 404s and in `errors` of a 200.
pub(crate) fn absent(resource_type: &str, parameter: &str, value: &str) -> Value {
    json!({
        "title": "Not Found Error",
        "detail": format!("Could not find {resource_type} with {parameter}: [{value}]."),
        "type": format!("{PROBLEMS}/resource-not-found"),
        "resource_type": resource_type,
        "resource_id": value,
        "parameter": parameter,
        "value": value,
    })
}

/// 404: post, user, media or upload session is not there, or not for this caller.
pub(crate) fn not_found(resource_type: &str, parameter: &str, value: &str) -> Reply {
    let mut body = absent(resource_type, parameter, value);
    if let Some(members) = body.as_object_mut() {
        members.insert("status".to_owned(), json!(404));
    }
    Reply::problem(404, &body)
}

/// 400 with one entry of `errors` for each field that is wrong (x-api.md 6.1, second row).
pub(crate) fn invalid(errors: &[Value]) -> Reply {
    Reply::json(
        400,
        &json!({
            "errors": errors,
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": format!("{PROBLEMS}/invalid-request"),
            "status": 400,
        }),
    )
}

/// An entry of `errors`: the message, and the parameter with the value it had.
pub(crate) fn field_error(message: &str, parameter: &str, value: &Value) -> Value {
    let shown = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    json!({"message": message, "parameters": {parameter: [shown]}})
}

/// 400 about one parameter.
pub(crate) fn invalid_parameter(message: &str, parameter: &str, value: &str) -> Reply {
    invalid(&[field_error(
        message,
        parameter,
        &Value::String(value.to_owned()),
    )])
}

/// 400 about the request as a whole.
pub(crate) fn invalid_request(message: &str) -> Reply {
    invalid(&[json!({"message": message, "parameters": {}})])
}

/// An error in the form of v1.1 (x-api.md 6.1, third row).
pub(crate) fn v1(status: u16, code: u16, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"errors": [{"code": code, "message": message}]}),
    )
}

/// 401 in the form of v1.1, for OAuth 1.0a faults: code 32, 89, 135 or 215 (x-api.md 6.3).
pub(crate) fn oauth1(code: u16, message: &str) -> Reply {
    v1(401, code, message)
}

/// An error of the token endpoint: OAuth JSON, not a problem (x-api.md 1.6).
pub(crate) fn oauth2(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(
        status,
        &json!({"error": error, "error_description": description}),
    )
}
