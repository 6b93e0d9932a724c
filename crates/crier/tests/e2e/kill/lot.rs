//! Which points a run meets of those that it need not meet: one of so many, by lot.

use std::io::Write;

/// A run meets one of so many. `CRIER_KILL_POINTS=2` draws that lot again, `CRIER_KILL_POINTS=all` meets all.
const PART: usize = 3;

/// What was drawn, or none for all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot(Option<usize>);

impl Lot {
    /// Drawn, and told: a failure is repeated by it.
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever has more time may ask for all points, and whoever saw it fail for the same ones"
    )]
    pub(super) fn draw(of: &str) -> Self {
        let lot = match std::env::var("CRIER_KILL_POINTS").as_deref() {
            Ok("all") => None,
            Ok(lot) => Some(lot.parse().expect("CRIER_KILL_POINTS is `all` or a number")),
            Err(_) => Some(usize::from(uuid::Uuid::new_v4().as_bytes()[0])),
        }
        .map(|lot: usize| lot % PART);
        let again = lot.map_or_else(|| "all".to_owned(), |lot| lot.to_string());
        let _ = std::io::stderr()
            .write_all(format!("{of}: points of CRIER_KILL_POINTS={again}\n").as_bytes());
        Self(lot)
    }

    /// Whether the point of that name is among them.
    pub(super) fn has(self, name: &str) -> bool {
        let sum = name.bytes().map(usize::from).sum::<usize>();
        self.0.is_none_or(|lot| sum % PART == lot)
    }
}
