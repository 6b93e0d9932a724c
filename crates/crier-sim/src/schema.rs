//! Closed schemas: every member checked, every fault named, none overlooked.
//!
//! Invariant: a member that the spec does not have is refused at every level (`additionalProperties:
//! false`), and all faults of a request are told at once, each with its path and value.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::options::is_id;
use crate::problem;
use crate::reply::Reply;

/// Gathers the faults of one request body.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    errors: Vec<Value>,
}

/// An object inside a body, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) members: &'a Map<String, Value>,
    pub(crate) path: &'a str,
}

impl<'a> Place<'a> {
    /// The body itself.
    pub(crate) fn root(members: &'a Map<String, Value>) -> Self {
        Self { members, path: "$" }
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }
}

impl Checker {
    /// Notes a fault of a member.
    pub(crate) fn fault(&mut self, path: &str, value: &Value, what: &str) {
        let message = format!("{path}: {what}");
        self.errors
            .push(problem::field_error(&message, path, value));
    }

    /// Refuses members that are not in the list.
    pub(crate) fn closed(&mut self, place: Place<'_>, allowed: &[&str]) {
        for (name, value) in place.members {
            if !allowed.contains(&name.as_str()) {
                self.fault(
                    &place.at(name),
                    value,
                    "is not defined in the schema and the schema does not allow additional properties",
                );
            }
        }
    }

    /// Refuses an object that lacks one of these.
    pub(crate) fn required(&mut self, place: Place<'_>, names: &[&str]) {
        for name in names {
            if !place.members.contains_key(*name) {
                self.fault(
                    &place.at(name),
                    &Value::Null,
                    "is missing but it is required",
                );
            }
        }
    }

    fn typed<'a, T>(
        &mut self,
        place: Place<'a>,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = place.members.get(name)?;
        let read = read(value);
        if read.is_none() {
            self.fault(&place.at(name), value, what);
        }
        read
    }

    /// A nested object.
    pub(crate) fn object<'a>(
        &mut self,
        place: Place<'a>,
        name: &str,
    ) -> Option<&'a Map<String, Value>> {
        self.typed(place, name, "must be an object", Value::as_object)
    }

    /// A string.
    pub(crate) fn string(&mut self, place: Place<'_>, name: &str) -> Option<String> {
        self.typed(place, name, "must be a string", Value::as_str)
            .map(str::to_owned)
    }

    /// A string of at most so many characters.
    pub(crate) fn short_string(
        &mut self,
        place: Place<'_>,
        name: &str,
        max: usize,
    ) -> Option<String> {
        let text = self.string(place, name)?;
        if text.chars().count() > max {
            let what = format!("must be at most {max} characters long");
            self.fault(&place.at(name), &Value::String(text), &what);
            return None;
        }
        Some(text)
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, place: Place<'_>, name: &str) -> Option<bool> {
        self.typed(place, name, "must be a boolean", Value::as_bool)
    }

    /// A number.
    pub(crate) fn number(&mut self, place: Place<'_>, name: &str) -> Option<f64> {
        self.typed(place, name, "must be a number", Value::as_f64)
    }

    /// A list of strings.
    pub(crate) fn strings(&mut self, place: Place<'_>, name: &str) -> Option<Vec<String>> {
        self.typed(place, name, "must be an array of strings", |value| {
            let read = |item: &Value| item.as_str().map(str::to_owned);
            value.as_array()?.iter().map(read).collect()
        })
    }

    /// An integer within bounds.
    pub(crate) fn integer(
        &mut self,
        place: Place<'_>,
        name: &str,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let what = format!("must be an integer from {min} to {max}");
        self.typed(place, name, &what, |value| {
            value.as_u64().filter(|n| (min..=max).contains(n))
        })
    }

    /// An id: a string of 1 to 19 digits.
    pub(crate) fn id(&mut self, place: Place<'_>, name: &str) -> Option<String> {
        self.typed(
            place,
            name,
            "must be a string that matches ^[0-9]{1,19}$",
            id,
        )
    }

    /// A list of ids, of at least `min` and at most `max`.
    pub(crate) fn ids(
        &mut self,
        place: Place<'_>,
        name: &str,
        min: usize,
        max: usize,
    ) -> Option<Vec<String>> {
        let what = format!("must be an array of {min} to {max} strings that match ^[0-9]{{1,19}}$");
        self.typed(place, name, &what, |value| {
            let ids: Option<Vec<_>> = value.as_array()?.iter().map(id).collect();
            ids.filter(|ids| (min..=max).contains(&ids.len()))
        })
    }

    /// One of these words.
    pub(crate) fn word(&mut self, place: Place<'_>, name: &str, words: &[&str]) -> Option<String> {
        let mut what = String::from("must be one of");
        for word in words {
            // Writing to a String cannot fail.
            let _ = write!(what, " [{word}]");
        }
        self.typed(place, name, &what, |value| {
            value.as_str().filter(|word| words.contains(word))
        })
        .map(str::to_owned)
    }

    /// Fails with all faults, if there were any.
    pub(crate) fn finish(self) -> Result<(), Reply> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(problem::invalid(&self.errors))
        }
    }
}

fn id(value: &Value) -> Option<String> {
    value.as_str().filter(|text| is_id(text)).map(str::to_owned)
}
