//! One call of X, read whole: what a deed needs to know of it.
//!
//! Invariant: a call holds no connection, so the deed goes on when the caller hangs up, as X's does.

use axum::http::{HeaderMap, Method, Uri};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::ingest::{Payload, content_type};
use crate::problem;
use crate::reply::Reply;
use crate::route::Route;
use crate::spool::Digest;

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) route: Route,
    /// The id in the path.
    pub(crate) id: Option<String>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// For finalize: the file as it was at that version of the session.
    pub(crate) digest: Option<(u64, Digest)>,
    /// Number of its record.
    pub(crate) number: u64,
}

impl Call {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The query, decoded, in order.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        pairs(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// The form in the body, decoded, in order; empty for any other type of body.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form_of(&self.headers, &self.payload)
    }

    /// The id in the path, if it has X's pattern.
    pub(crate) fn path_id(&self) -> Result<&str, Reply> {
        let id = self.id.as_deref().unwrap_or_default();
        if crate::options::is_id(id) {
            Ok(id)
        } else {
            Err(problem::invalid_parameter(
                &format!("The `id` path parameter [{id}] does not match ^[0-9]{{1,19}}$"),
                "id",
                id,
            ))
        }
    }

    /// The JSON object in the body (x-api.md 3.2 and 3.5 have both messages).
    pub(crate) fn json_object(&self) -> Result<Map<String, Value>, Reply> {
        let Payload::Bytes(bytes) = &self.payload else {
            return Err(problem::invalid_request(
                "Request body must be a JSON object.",
            ));
        };
        if !bytes.is_empty() && content_type(&self.headers) != "application/json" {
            return Err(problem::invalid_request(
                "Requests with bodies must have content-type of application/json.",
            ));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(_) | Err(_) => Err(problem::invalid_request(
                "Request body must be a JSON object.",
            )),
        }
    }
}

/// The form in a body; empty for any other type of body.
pub(crate) fn form_of(headers: &HeaderMap, payload: &Payload) -> Vec<(String, String)> {
    match payload {
        Payload::Bytes(bytes) if content_type(headers) == "application/x-www-form-urlencoded" => {
            pairs(bytes)
        }
        Payload::Bytes(_)
        | Payload::Upload(_)
        | Payload::Form(_)
        | Payload::TooLarge
        | Payload::Broken(_)
        | Payload::Disk(_)
        | Payload::Gone
        | Payload::Discarded => Vec::new(),
    }
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// The value of the first pair of that name.
pub(crate) fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}
