//! What an account has with X, as far as limits go.
//!
//! **Invariant:** a limit that depends on it is never guessed to be the wider one.

use serde::{Deserialize, Serialize};

/// What X allows an account.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// An account that pays nothing.
    #[default]
    Standard,
    /// X Premium: long posts, long videos, larger frames.
    Premium,
}

impl Tier {
    /// The tier of a column's word; a word that is unknown is taken for the narrower one.
    pub fn from_word(word: &str) -> Self {
        if word == Self::Premium.as_str() {
            Self::Premium
        } else {
            Self::Standard
        }
    }

    /// The word of columns and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Premium => "premium",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_tiers_are_one_to_one() {
        assert_eq!(Tier::default(), Tier::Standard);
        assert_eq!(Tier::from_word("gold"), Tier::Standard);
        for tier in [Tier::Standard, Tier::Premium] {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
            assert_eq!(Tier::from_word(tier.as_str()), tier);
        }
    }
}
