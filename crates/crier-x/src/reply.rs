//! A usable answer, and how its content is taken out of JSON whose shape may change without notice.
//!
//! **Invariant:** an answer without the promised content never becomes a [`Reply`].

use bytes::Bytes;
use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::limit::Window;
use serde_json::Value;

use crate::faults;

/// A success of X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    /// What the call promises.
    pub value: T,
    /// Every rate limit window that the headers named.
    pub windows: Vec<Window>,
    /// HTTP status, 200 to 299.
    pub status: u16,
    /// The server's clock when it answered, to tell skew.
    pub server_date: Option<DateTime<Utc>>,
}

/// A success as it came from the wire.
pub(crate) struct Received {
    pub(crate) endpoint: Endpoint,
    pub(crate) status: u16,
    pub(crate) windows: Vec<Window>,
    pub(crate) server_date: Option<DateTime<Utc>>,
    pub(crate) body: Bytes,
    /// The body was longer than the client reads.
    pub(crate) overlong: bool,
    pub(crate) secrets: Vec<String>,
}

impl Received {
    /// A reply of what `take` finds in the JSON; `promised` names it for people.
    pub(crate) fn read<T>(
        self,
        promised: &str,
        take: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Reply<T>, CallFault> {
        let parsed = if self.overlong {
            None
        } else {
            serde_json::from_slice::<Value>(&self.body).ok()
        };
        match parsed.as_ref().and_then(take) {
            Some(value) => Ok(self.reply(value)),
            None => Err(self.lacks(promised)),
        }
    }

    /// A reply of what `take` finds among the fields of a form, which is how OAuth 1.0a answers.
    pub(crate) fn read_form<T>(
        self,
        promised: &str,
        take: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Option<T>,
    ) -> Result<Reply<T>, CallFault> {
        let fields: Vec<(String, String)> = if self.overlong {
            Vec::new()
        } else {
            url::form_urlencoded::parse(self.body.trim_ascii())
                .into_owned()
                .collect()
        };
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name)?;
            Some(found.1.clone()).filter(|value| !value.is_empty())
        };
        match take(&field) {
            Some(value) => Ok(self.reply(value)),
            None => Err(self.lacks(promised)),
        }
    }

    /// A reply of nothing: any success will do, an empty one too, unless it only lists errors or is a page of
    /// somebody between us and X.
    pub(crate) fn done(self) -> Result<Reply<()>, CallFault> {
        let parsed = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        let errors = parsed
            .get("errors")
            .is_some_and(|errors| !errors.is_null() && errors != &Value::Array(Vec::new()));
        if errors && parsed.get("data").is_none_or(Value::is_null) {
            return Err(self.lacks("a sign of success"));
        }
        if self.body.trim_ascii_start().starts_with(b"<") {
            return Err(self.lacks("anything of X's"));
        }
        Ok(self.reply(()))
    }

    fn reply<T>(self, value: T) -> Reply<T> {
        Reply {
            value,
            windows: self.windows,
            status: self.status,
            server_date: self.server_date,
        }
    }

    fn lacks(&self, promised: &str) -> CallFault {
        faults::empty_success(
            self.endpoint,
            self.status,
            promised,
            &self.body,
            &self.secrets,
        )
    }
}

/// The `data` of an envelope, or the value itself: X has answered both ways.
pub(crate) fn data(value: &Value) -> &Value {
    value
        .get("data")
        .filter(|data| data.is_object())
        .unwrap_or(value)
}

/// An id of X: digits, at most 19, as a string or (against the specification) a number.
pub(crate) fn id(value: &Value) -> Option<String> {
    let id = match value.get("id")? {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    is_id(&id).then_some(id)
}

/// Whether a text is an id as X's specification has it: `^[0-9]{1,19}$`.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text member that is there and not empty.
pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    value
        .get(name)?
        .as_str()
        .filter(|text| !text.is_empty())
        .map(ToOwned::to_owned)
}

/// A count, as a number or a string of digits.
pub(crate) fn count(value: &Value, name: &str) -> Option<u64> {
    let value = value.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_digits_in_either_form() {
        assert_eq!(
            id(&json!({"id": "1346889436626259968"})).as_deref(),
            Some("1346889436626259968")
        );
        assert_eq!(
            id(&json!({"id": 1_346_889_436_626_259_968_u64})).as_deref(),
            Some("1346889436626259968")
        );
        for bad in [
            json!({}),
            json!({"id": ""}),
            json!({"id": null}),
            json!({"id": "12a"}),
            json!({"id": -1}),
            json!({"id": "12345678901234567890"}),
        ] {
            assert_eq!(id(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_envelope_may_be_missing() {
        assert_eq!(data(&json!({"data": {"id": "1"}})), &json!({"id": "1"}));
        assert_eq!(data(&json!({"id": "1"})), &json!({"id": "1"}));
    }
}
