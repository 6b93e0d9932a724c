//! Text of a recurring post: `{date}` and its kin, filled in for one slot.
//!
//! **Invariant:** what is rendered has no placeholder left in it; a name that nobody knows is an error, never text.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// Every variable that a template may use, and what it stands for.
pub const VARIABLES: [(&str, &str); 8] = [
    ("date", "day of the slot, such as `2026-12-01`"),
    ("time", "time of the slot, such as `09:00`"),
    ("weekday", "English name of the day, such as `Tuesday`"),
    ("year", "year, such as `2026`"),
    ("month", "month as two digits, such as `12`"),
    ("day", "day of the month as two digits, such as `01`"),
    (
        "slot",
        "the whole moment in ISO 8601, such as `2026-12-01T09:00:00+01:00`",
    ),
    ("n", "running number of the post, from 1"),
];

/// What the variables of one rendering stand for; times are those of the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vars {
    /// The moment that the recurrence named.
    pub slot: DateTime<Utc>,
    /// The zone in which people read it.
    pub zone: Tz,
    /// Running number of the post.
    pub n: i64,
}

impl Vars {
    /// What the variable stands for; `None` if there is none of that name.
    fn get(&self, name: &str) -> Option<String> {
        let format = match name {
            "date" => "%Y-%m-%d",
            "time" => "%H:%M",
            "weekday" => "%A",
            "year" => "%Y",
            "month" => "%m",
            "day" => "%d",
            "slot" => "%Y-%m-%dT%H:%M:%S%:z",
            "n" => return Some(self.n.to_string()),
            _ => return None,
        };
        Some(
            self.slot
                .with_timezone(&self.zone)
                .format(format)
                .to_string(),
        )
    }
}

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name in braces that is no variable.
    #[error(
        "`{{{name}}}` is no variable; known are {}; write `{{{{` and `}}}}` for braces in the text",
        known()
    )]
    Unknown {
        /// What stands in the braces.
        name: String,
    },
    /// A `{` without its `}`.
    #[error("the `{{` at character {at} is never closed; write `{{{{` for a brace in the text")]
    Unclosed {
        /// Position of the brace in characters, from 1.
        at: usize,
    },
    /// A `}` without its `{`.
    #[error("the `}}` at character {at} was never opened; write `}}}}` for a brace in the text")]
    Unopened {
        /// Position of the brace in characters, from 1.
        at: usize,
    },
}

/// The known variables, as a message lists them.
fn known() -> String {
    VARIABLES
        .map(|(name, _)| format!("`{{{name}}}`"))
        .join(", ")
}

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// Takes a template apart.
fn pieces(template: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(brace);
        // Only reached on an error; counting for people is in characters.
        let position = || template.chars().count() - from_brace.chars().count() + 1;
        pieces.push(Piece::Text(before));
        if let Some(escaped) = from_brace.strip_prefix("{{") {
            pieces.push(Piece::Text("{"));
            rest = escaped;
        } else if let Some(escaped) = from_brace.strip_prefix("}}") {
            pieces.push(Piece::Text("}"));
            rest = escaped;
        } else if let Some(opened) = from_brace.strip_prefix('{') {
            match opened.find(['{', '}']).map(|end| opened.split_at(end)) {
                Some((name, closed)) if closed.starts_with('}') => {
                    pieces.push(Piece::Variable(name));
                    rest = closed.strip_prefix('}').unwrap_or(closed);
                }
                Some(_) | None => return Err(TemplateError::Unclosed { at: position() }),
            }
        } else {
            return Err(TemplateError::Unopened { at: position() });
        }
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// The text of one slot.
///
/// # Errors
///
/// [`TemplateError`] for an unknown variable, which names the known ones, and for a brace without its partner.
pub fn render(template: &str, vars: &Vars) -> Result<String, TemplateError> {
    let mut text = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(verbatim) => text.push_str(verbatim),
            Piece::Variable(name) => match vars.get(name) {
                Some(value) => text.push_str(&value),
                None => {
                    return Err(TemplateError::Unknown {
                        name: name.to_owned(),
                    });
                }
            },
        }
    }
    Ok(text)
}

/// The names in braces that are no variables, each once, in order of appearance: all faults of a template at once, for
/// a check when it is written.
///
/// # Errors
///
/// [`TemplateError::Unclosed`] and [`TemplateError::Unopened`] for a brace without its partner.
pub fn unknown_variables(template: &str) -> Result<Vec<String>, TemplateError> {
    let mut unknown: Vec<String> = Vec::new();
    for piece in pieces(template)? {
        if let Piece::Variable(name) = piece
            && !VARIABLES.iter().any(|(known, _)| *known == name)
            && !unknown.iter().any(|seen| seen == name)
        {
            unknown.push(name.to_owned());
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vars() -> Vars {
        let slot = DateTime::parse_from_rfc3339("2026-11-30T23:05:00Z")
            .unwrap()
            .to_utc();
        Vars {
            slot,
            zone: Tz::Europe__Berlin,
            n: 41,
        }
    }

    #[test]
    fn every_variable_is_rendered_in_the_zone() {
        let rendered = render(
            "{date} {time} {weekday} {year} {month} {day} {slot} {n}",
            &vars(),
        );
        assert_eq!(
            rendered.unwrap(),
            "2026-12-01 00:05 Tuesday 2026 12 01 2026-12-01T00:05:00+01:00 41"
        );
        for (name, _) in VARIABLES {
            assert!(
                vars().get(name).is_some(),
                "{name} is listed but stands for nothing"
            );
        }
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(
            render("{{date}} {{{n}}} }}{{", &vars()).unwrap(),
            "{date} {41} }{"
        );
    }

    #[test]
    fn an_unknown_variable_lists_the_known_ones() {
        let message = render("at {Time}", &vars()).unwrap_err().to_string();
        assert_eq!(
            message,
            "`{Time}` is no variable; known are `{date}`, `{time}`, `{weekday}`, `{year}`, `{month}`, `{day}`, \
             `{slot}`, `{n}`; write `{{` and `}}` for braces in the text"
        );
    }

    #[test]
    fn a_lone_brace_is_named_with_its_place() {
        assert_eq!(
            render("é{n", &vars()).unwrap_err(),
            TemplateError::Unclosed { at: 2 }
        );
        assert_eq!(
            render("a {n {day}", &vars()).unwrap_err(),
            TemplateError::Unclosed { at: 3 }
        );
        assert_eq!(
            render("{n}é}", &vars()).unwrap_err(),
            TemplateError::Unopened { at: 5 }
        );
        assert_eq!(
            TemplateError::Unopened { at: 5 }.to_string(),
            "the `}` at character 5 was never opened; write `}}` for a brace in the text"
        );
    }

    #[test]
    fn all_unknown_names_are_found_at_once() {
        assert_eq!(
            unknown_variables("{a} {n} {b} {a} {{c}} {}").unwrap(),
            ["a", "b", ""]
        );
        assert!(unknown_variables("{").is_err());
    }

    proptest! {
        #[test]
        fn any_text_survives_once_its_braces_are_doubled(text in "\\PC*") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(render(&escaped, &vars()).unwrap(), text);
        }

        #[test]
        fn rendering_fails_exactly_where_the_check_does(template in "[{}a ]{0,6}(\\{(n|day|x)\\}){0,2}[{}é]{0,4}") {
            let checked = unknown_variables(&template);
            let clean = checked.as_ref().is_ok_and(Vec::is_empty);
            prop_assert_eq!(render(&template, &vars()).is_ok(), clean);
        }
    }
}
