//! Which points a run meets of those that it need not meet: one of so many, by lot.

use std::io::Write;

/// What was drawn, or none for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lot {
    part: usize,
    drawn: Option<usize>,
}

impl Lot {
    /// One of `part`, drawn and told: a failure is repeated by setting `variable` to it; `all` meets all points.
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever has more time may ask for all points, and whoever saw it fail for the same ones"
    )]
    pub(crate) fn draw(of: &str, variable: &str, part: usize) -> Self {
        let drawn = match std::env::var(variable).as_deref() {
            Ok("all") => None,
            Ok(lot) => Some(
                lot.parse()
                    .unwrap_or_else(|_| panic!("{variable} is `all` or a number")),
            ),
            Err(_) => Some(usize::from(uuid::Uuid::new_v4().as_bytes()[0])),
        }
        .map(|lot: usize| lot % part);
        let again = drawn.map_or_else(|| "all".to_owned(), |lot| lot.to_string());
        let _ =
            std::io::stderr().write_all(format!("{of}: points of {variable}={again}\n").as_bytes());
        Self { part, drawn }
    }

    /// Whether the point of that place is among them.
    pub(crate) fn has_place(self, place: usize) -> bool {
        self.drawn.is_none_or(|lot| place % self.part == lot)
    }

    /// Whether the point of that name is.
    pub(crate) fn has(self, name: &str) -> bool {
        self.has_place(name.bytes().map(usize::from).sum())
    }
}
