//! An answer before it is HTTP: status, headers and a body that is small and whole.
//!
//! Invariant: a reply is a plain value, so that it can be sent, cut in the middle or thrown away
//! after the deed without the deed knowing.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use serde_json::Value;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// JSON as X's successful answers carry it.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json; charset=utf-8", body.to_string())
    }

    /// JSON as X's problems carry it (RFC 9457, x-api.md 6.1).
    pub(crate) fn problem(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/problem+json", body.to_string())
    }

    /// A page for a browser.
    pub(crate) fn html(status: u16, page: String) -> Self {
        Self::typed(status, "text/html; charset=utf-8", page)
    }

    /// No body at all, as the edge answers 413 (x-api.md 3.4).
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Any body with its type.
    pub(crate) fn typed(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: Some(content_type.to_owned()),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: &impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// As an HTTP response with `body` in the place of its own, if given. Headers that are no
    /// headers are left out: they can only come from an armed fault, where they are checked before.
    pub(crate) fn into_response(self, body: Option<Body>) -> Response<Body> {
        let mut response = Response::new(body.unwrap_or_else(|| Body::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(value) = self
            .content_type
            .and_then(|text| HeaderValue::from_str(&text).ok())
        {
            headers.insert(CONTENT_TYPE, value);
        }
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(&value),
            ) {
                headers.insert(name, value);
            }
        }
        response
    }
}
