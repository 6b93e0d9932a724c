//! Chance and ids: snowflakes, tokens and t.co slugs.
//!
//! Invariant: ids rise strictly, whatever the clock does, and hold their time of birth as X's do
//! (x-api.md 4.2); with a seed, every token repeats from run to run.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// X's epoch in milliseconds since the Unix epoch (x-api.md 4.2).
pub(crate) const X_EPOCH_MS: i64 = 1_288_834_974_657;

/// Bits of a snowflake below its time.
const TIME_SHIFT: u32 = 22;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The one source of randomness and of ids.
#[derive(Debug)]
pub(crate) struct Chance {
    rng: StdRng,
    last_id: u64,
}

impl Chance {
    /// From a seed, or from the operating system.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let rng = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        Self { rng, last_id: 0 }
    }

    /// A new id for a thing born at `now_us`, greater than all before it.
    pub(crate) fn snowflake(&mut self, now_us: i64) -> u64 {
        let id = first_id_at(now_us).max(self.last_id.saturating_add(1));
        self.last_id = id;
        id
    }

    /// A word of `len` letters and digits.
    pub(crate) fn word(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(ALPHABET[self.rng.random_range(0..ALPHABET.len())]))
            .collect()
    }

    /// A word of `len` digits.
    pub(crate) fn digits(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(self.rng.random_range(b'0'..=b'9')))
            .collect()
    }
}

/// The smallest id of the millisecond of `at_us`.
pub(crate) fn first_id_at(at_us: i64) -> u64 {
    let ms = at_us.div_euclid(1_000).saturating_sub(X_EPOCH_MS);
    u64::try_from(ms).unwrap_or(0) << TIME_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_goes_back() {
        let mut chance = Chance::new(Some(1));
        let first = chance.snowflake(1_790_000_000_000_000);
        let second = chance.snowflake(1_790_000_000_000_000);
        let third = chance.snowflake(1_780_000_000_000_000);
        assert!(first < second && second < third, "{first} {second} {third}");
    }

    #[test]
    fn an_id_holds_its_time() {
        let mut chance = Chance::new(Some(1));
        let id = chance.snowflake(1_790_000_000_123_456);
        let ms = i64::try_from(id >> TIME_SHIFT).unwrap() + X_EPOCH_MS;
        assert_eq!(ms, 1_790_000_000_123);
        assert_eq!(id.to_string().len(), 19);
    }

    #[test]
    fn a_seed_repeats_its_tokens() {
        assert_eq!(Chance::new(Some(7)).word(40), Chance::new(Some(7)).word(40));
        assert_ne!(Chance::new(Some(7)).word(40), Chance::new(Some(8)).word(40));
        assert_eq!(Chance::new(None).word(40).len(), 40);
    }
}
