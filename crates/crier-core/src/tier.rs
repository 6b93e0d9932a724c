//! What an account has with X, as far as limits go.
//!
//! **Invariant:** a limit that depends on it is never guessed to be the wider one.

use serde::{Deserialize, Serialize};

/// Weighted characters of a post without Premium (x-api.md 4.4).
const STANDARD_TEXT: usize = 280;

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
    /// The tier that a limit of weighted characters betrays.
    pub const fn from_text_limit(limit: usize) -> Self {
        if limit > STANDARD_TEXT {
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
    fn only_more_than_the_usual_length_is_premium() {
        assert_eq!(Tier::from_text_limit(280), Tier::Standard);
        assert_eq!(Tier::from_text_limit(281), Tier::Premium);
        assert_eq!(Tier::default(), Tier::Standard);
        for tier in [Tier::Standard, Tier::Premium] {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
        }
    }
}
