//! JSON columns as people wrote them, read row by row.
//!
//! **Invariant:** a value that this process cannot hold (Postgres takes larger numbers and deeper nesting) is a fault of its
//! own row: it comes as text and is parsed after the rows were fetched, so that it never fails the rows beside it.

use crier_core::fault::Fault;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The value of `jobs.media` or `jobs.options`, or why it cannot be read.
fn read(column: &'static str, text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|error| {
        Fault::new(
            format!("{column}_invalid"),
            format!("the `{column}` column cannot be read"),
            error.to_string(),
            format!("correct the row's `{column}`: ids are text, in quotes, and nothing needs more than 32 levels"),
        )
    })
}

pub(crate) fn media(text: &str) -> Result<Value, Fault> {
    read("media", text)
}

pub(crate) fn options(text: &str) -> Result<Value, Fault> {
    read("options", text)
}

/// For a column inside a row that comes as JSON.
pub(crate) fn media_in_json<'de, D: Deserializer<'de>>(
    text: D,
) -> Result<Result<Value, Fault>, D::Error> {
    Ok(media(&String::deserialize(text)?))
}

/// For a column inside a row that comes as JSON.
pub(crate) fn options_in_json<'de, D: Deserializer<'de>>(
    text: D,
) -> Result<Result<Value, Fault>, D::Error> {
    Ok(options(&String::deserialize(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_a_fault_in_words() {
        assert_eq!(media("[]"), Ok(Value::Array(Vec::new())));
        let tiny = format!("[0.{}1]", "0".repeat(20_000));
        assert!(media(&tiny).is_ok());
        let (huge, deep) = (
            format!("[1{}]", "0".repeat(999)),
            format!("{}{}", "[".repeat(200), "]".repeat(200)),
        );
        for text in [&huge, &deep] {
            let fault = options(text).expect_err("too much");
            assert_eq!(fault.code, "options_invalid");
            assert!(fault.permanent && !fault.detail.is_empty() && !fault.hint.is_empty());
        }
    }
}
