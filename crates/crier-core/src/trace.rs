//! Trace ids as the W3C Trace Context recommendation has them.
//!
//! **Invariant:** no id is all zeros, which stands for none; what is read is of version 00 and in lower case.

use std::fmt;

use chrono::{DateTime, Utc};

/// The trace that some work belongs to, and what it is a part of, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    id: u128,
    sampled: bool,
    /// What the work is a part of; 0 if that is not known.
    parent: u64,
}

impl Trace {
    /// A traceparent, or 32 hex digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, sampled, parent) = match text.split('-').collect::<Vec<_>>().as_slice() {
            [id] => (*id, true, 0),
            ["00", id, parent, flags] => {
                let parent = hex(parent, 16).filter(|parent| *parent != 0)?;
                let parent = u64::try_from(parent).ok()?;
                (*id, hex(flags, 2)? & 1 == 1, parent)
            }
            _ => return None,
        };
        let id = hex(id, 32).filter(|id| *id != 0)?;
        Some(Self {
            id,
            sampled,
            parent,
        })
    }

    /// A piece of work within it, under an id of its own. `chance` gives numbers from 0 to 1.
    pub fn span(self, chance: fn() -> f64) -> Span {
        let id = (half(chance()) << 32) | half(chance());
        Span {
            trace: self,
            id: id.max(1),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

/// A piece of work within a trace; its text is the `traceparent` of what it asks of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    trace: Trace,
    id: u64,
}

impl Span {
    /// The trace.
    pub const fn trace(&self) -> Trace {
        self.trace
    }

    /// A part of it.
    pub fn part(self, chance: fn() -> f64) -> Self {
        let trace = Trace {
            parent: self.id,
            ..self.trace
        };
        trace.span(chance)
    }

    /// Id of what it is a part of, if that is known.
    pub fn parent(&self) -> Option<String> {
        (self.trace.parent != 0).then(|| format!("{:016x}", self.trace.parent))
    }

    /// Whether somebody may want to be told of it.
    pub const fn is_sampled(&self) -> bool {
        self.trace.sampled
    }

    /// Its own id, in 16 hex digits.
    pub fn id(&self) -> String {
        format!("{:016x}", self.id)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.trace.sampled);
        write!(f, "00-{}-{:016x}-{flags:02x}", self.trace, self.id)
    }
}

/// A piece of work that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its ids.
    pub span: Span,
    /// What it was.
    pub name: String,
    /// Whether it was a call.
    pub kind: Kind,
    /// When it began, by this machine's clock.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What is to be known of it, by the names of OpenTelemetry's conventions or ours.
    pub facts: Vec<(&'static str, Fact)>,
    /// Why it failed, in a word.
    pub failed: Option<String>,
}

/// What a piece of work was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that crier did.
    Internal,
    /// A call of somebody else.
    Client,
}

/// Something to be known of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Who is told of work that is over. It keeps nobody waiting.
pub trait Sink: fmt::Debug + Send + Sync {
    /// This machine's time.
    fn now(&self) -> DateTime<Utc>;

    /// It is over.
    fn take(&self, over: Finished);
}

/// 32 bits of a number from 0 to 1: the upper ones of its fraction.
fn half(chance: f64) -> u64 {
    const FRACTION: u64 = (1 << 52) - 1;
    ((1.0 + chance).to_bits() & FRACTION) >> 20
}

/// So many hex digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_hex))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn both_forms_name_the_trace_and_a_span_within_it_has_an_id_of_its_own() {
        for text in [PARENT, ID] {
            let trace = Trace::parse(text).unwrap();
            assert_eq!(trace.to_string(), ID);
            let span = trace.span(|| 0.5);
            assert_eq!(span.to_string(), format!("00-{ID}-8000000080000000-01"));
            assert_eq!(span.id(), "8000000080000000");
            let part = span.part(|| 0.25);
            assert_eq!(part.parent(), Some(span.id()));
            assert_eq!(part.trace().to_string(), ID);
            let known = (text == PARENT).then(|| "00f067aa0ba902b7".to_owned());
            assert_eq!(span.parent(), known);
        }
        let unsampled = Trace::parse(&PARENT.replace("b7-01", "b7-00")).unwrap();
        assert!(unsampled.span(|| 0.25).to_string().ends_with("-00"));
        // No chance is one that stands for none.
        assert_eq!(unsampled.span(|| 0.0).id(), "0000000000000001");
    }

    #[test]
    fn what_is_no_trace_is_none() {
        for text in [
            "",
            "4bf9",
            "00000000000000000000000000000000",
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "+bf92f3577b34da6a3ce929d0e0e4736",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(Trace::parse(text), None, "{text}");
        }
    }
}
