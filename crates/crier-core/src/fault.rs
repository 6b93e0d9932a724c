//! What is wrong with a job, in the form in which its row tells it, and what is wrong with a value of its row.
//!
//! **Invariant:** a fault has a stable code for machines, and for people what happened and what to do next.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most characters of a detail: it may repeat a value of the row, and is shown on terminals and in logs.
const MOST_DETAIL: usize = 1_000;

/// The step of a job's life in which a draft is judged before anything is sent.
pub const STEP_CHECK: &str = "check";

/// One fault, in the form of the `error` and `warning` columns of `crier.jobs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Stable word for queries, metrics and tests, such as `text_too_long`.
    pub code: String,
    /// What is wrong, in a few words; X's own title where X said it.
    pub title: String,
    /// The particulars, with the key or value at fault in backticks.
    pub detail: String,
    /// Where in a job's life it came up, such as [`STEP_CHECK`]. Boxed to keep results with a fault small.
    pub step: Box<str>,
    /// What to do about it.
    pub hint: String,
    /// Whether time alone cannot mend it. Not written to the columns: `error` or `warning` says it already.
    #[serde(default, skip_serializing)]
    pub permanent: bool,
}

impl Fault {
    /// A fault of a draft that cannot mend itself, found in [`STEP_CHECK`].
    pub fn new(
        code: impl Into<String>,
        title: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            title: title.into(),
            detail: cut(detail.into()),
            step: STEP_CHECK.into(),
            hint: hint.into(),
            permanent: true,
        }
    }

    /// The same fault as one that may be gone by the time the job is due: a warning.
    pub fn passing(mut self) -> Self {
        self.permanent = false;
        self
    }

    /// The same fault, found in another step.
    pub fn at_step(mut self, step: impl Into<Box<str>>) -> Self {
        self.step = step.into();
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// So much of a detail as is kept.
fn cut(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(MOST_DETAIL) {
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

/// What a value may look like, so that a mistake is told by its place.
#[derive(Debug)]
pub(crate) enum Shape {
    Flag,
    /// `^[0-9]{1,19}$` as a string.
    Id,
    /// Length in characters.
    Text {
        min: usize,
        max: usize,
    },
    Word(&'static [&'static str]),
    Number {
        min: u64,
        max: u64,
    },
    /// A number from minus `most` to `most`.
    Decimal {
        most: i32,
    },
    List {
        of: &'static Self,
        min: usize,
        max: usize,
    },
    Object {
        keys: &'static [(&'static str, Self)],
        required: &'static [&'static str],
    },
}

impl Shape {
    pub(crate) const TEXT: Self = Self::Text {
        min: 1,
        max: usize::MAX,
    };

    pub(crate) const fn text(min: usize, max: usize) -> Self {
        Self::Text { min, max }
    }

    pub(crate) const fn list(of: &'static Self, min: usize, max: usize) -> Self {
        Self::List { of, min, max }
    }
}

/// What is wrong with a value, naming the place, or nothing.
pub(crate) fn check_shape(at: &str, value: &Value, shape: &Shape) -> Result<(), String> {
    let wrong = |wanted: &str| {
        Err(format!(
            "`{at}` must be {wanted}, and is {}",
            excerpt(value)
        ))
    };
    match (shape, value) {
        (Shape::Flag, Value::Bool(_)) => Ok(()),
        (Shape::Flag, _) => wrong("`true` or `false`"),
        (Shape::Id, Value::String(s))
            if (1..=19).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok(())
        }
        (Shape::Id, _) => wrong("an id: 1 to 19 digits, as a string in quotes"),
        (Shape::Text { min, max }, Value::String(s))
            if (*min..=*max).contains(&s.chars().count()) =>
        {
            Ok(())
        }
        (
            Shape::Text {
                max: usize::MAX, ..
            },
            _,
        ) => wrong("a text that is not empty"),
        (Shape::Text { min, max }, _) => wrong(&format!("a text of {min} to {max} characters")),
        (Shape::Word(words), Value::String(s)) if words.contains(&s.as_str()) => Ok(()),
        (Shape::Word(words), _) => wrong(&format!("one of {}", quoted(words.iter().copied()))),
        (Shape::Number { min, max }, Value::Number(n))
            if n.as_u64().is_some_and(|n| (*min..=*max).contains(&n)) =>
        {
            Ok(())
        }
        (Shape::Number { min, max }, _) => wrong(&format!("a whole number from {min} to {max}")),
        (Shape::Decimal { most }, Value::Number(n))
            if n.as_f64().is_some_and(|n| n.abs() <= f64::from(*most)) =>
        {
            Ok(())
        }
        (Shape::Decimal { most }, _) => wrong(&format!("a number from -{most} to {most}")),
        (Shape::List { of, min, max }, Value::Array(items))
            if (*min..=*max).contains(&items.len()) =>
        {
            items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| check_shape(&format!("{at}[{index}]"), item, of))
        }
        (Shape::List { min, max, .. }, _) => wrong(&format!("a list of {min} to {max}")),
        (Shape::Object { keys, required }, Value::Object(object)) => {
            for (key, value) in object {
                let Some((_, shape)) = keys.iter().find(|(known, _)| known == key) else {
                    let known = quoted(keys.iter().map(|(known, _)| *known));
                    return Err(format!(
                        "`{at}.{key}` is no key that is known here; there are {known}"
                    ));
                };
                check_shape(&format!("{at}.{key}"), value, shape)?;
            }
            match required.iter().find(|key| !object.contains_key(**key)) {
                Some(key) => Err(format!("`{at}.{key}` is missing")),
                None => Ok(()),
            }
        }
        (Shape::Object { .. }, _) => wrong("an object with keys"),
    }
}

/// Names for a message.
pub(crate) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The front of a value, for a message.
fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// The value without keys that are null: in SQL, `jsonb_build_object` makes such of an absent value.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_hold_five_keys() {
        let fault = Fault::new(
            "text_empty",
            "nothing to post",
            "`text` is empty",
            "give a text",
        );
        let column = serde_json::to_value(&fault).unwrap();
        let keys: Vec<&str> = column
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, ["code", "detail", "hint", "step", "title"]);
        let read: Fault = serde_json::from_value(column).unwrap();
        assert_eq!(read, fault.passing());
    }

    #[test]
    fn a_detail_is_cut_where_nobody_reads_on() {
        let fault = Fault::new("a", "b", "é".repeat(1_000), "");
        assert_eq!(fault.detail, "é".repeat(1_000));
        let fault = Fault::new("a", "b", "é".repeat(100_000), "");
        assert_eq!(fault.detail, format!("{}…", "é".repeat(1_000)));
    }

    #[test]
    fn it_reads_as_one_sentence() {
        let fault = Fault::new("a", "nothing to post", "`text` is empty", "give a text");
        assert_eq!(
            fault.to_string(),
            "nothing to post: `text` is empty; give a text"
        );
        assert_eq!(
            Fault::new("a", "nothing to post", "", "").to_string(),
            "nothing to post"
        );
    }

    #[test]
    fn a_fault_is_permanent_and_found_in_the_check_unless_said_otherwise() {
        let fault = Fault::new("a", "b", "", "");
        assert!(fault.permanent);
        assert_eq!(&*fault.step, STEP_CHECK);
        let fault = fault.passing().at_step("upload");
        assert!(!fault.permanent);
        assert_eq!(&*fault.step, "upload");
    }
}
