//! What X charges for a call.
//!
//! **Invariant:** money is counted in whole millionths of a US dollar and never in floating point; a sum that outgrows
//! its type stays at the largest.
//!
//! The defaults are those of X's page "Pricing" (`x-api/getting-started/pricing`, August 2026). X charges no call that
//! failed (`x-api/fundamentals/post-cap`), and names no price for uploads.

use serde::Serialize;

use crate::text::has_link;

/// A kind of call that X charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priced {
    /// A post.
    Post,
    /// A post with a link in its text.
    PostWithUrl,
    /// A reply to somebody who has mentioned or quoted the account.
    SummonedReply,
    /// A post that is deleted.
    Delete,
    /// Alt text of a file.
    Metadata,
    /// A post that is read.
    PostRead,
    /// A post that is read by the account that owns the developer app.
    OwnedRead,
    /// A user that is read.
    UserRead,
}

impl Priced {
    /// Every kind, in the order of X's page.
    pub const ALL: [Self; 8] = [
        Self::Post,
        Self::PostWithUrl,
        Self::SummonedReply,
        Self::Delete,
        Self::Metadata,
        Self::PostRead,
        Self::OwnedRead,
        Self::UserRead,
    ];

    /// The word used in tables, metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::PostWithUrl => "post_with_url",
            Self::SummonedReply => "summoned_reply",
            Self::Delete => "delete",
            Self::Metadata => "metadata",
            Self::PostRead => "post_read",
            Self::OwnedRead => "owned_read",
            Self::UserRead => "user_read",
        }
    }

    /// What a new post is. `replies_to_others`: it names a post that is not of its own thread, which X allows only where
    /// the reply was summoned. A link costs more than anything else, and X does not say that a reply is excepted.
    pub fn of_post(text: &str, replies_to_others: bool) -> Self {
        if has_link(text) {
            Self::PostWithUrl
        } else if replies_to_others {
            Self::SummonedReply
        } else {
            Self::Post
        }
    }
}

/// Prices in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// [`Priced::Post`].
    pub post: u32,
    /// [`Priced::PostWithUrl`].
    pub post_with_url: u32,
    /// [`Priced::SummonedReply`].
    pub summoned_reply: u32,
    /// [`Priced::Delete`].
    pub delete: u32,
    /// [`Priced::Metadata`].
    pub metadata: u32,
    /// [`Priced::PostRead`].
    pub post_read: u32,
    /// [`Priced::OwnedRead`].
    pub owned_read: u32,
    /// [`Priced::UserRead`].
    pub user_read: u32,
    /// Whether the accounts own their developer app, so that they read their own posts as [`Priced::OwnedRead`].
    pub reads_are_owned: bool,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            post: 15_000,
            post_with_url: 200_000,
            summoned_reply: 10_000,
            delete: 10_000,
            metadata: 5_000,
            post_read: 5_000,
            owned_read: 1_000,
            user_read: 10_000,
            reads_are_owned: false,
        }
    }
}

/// What calls of one kind cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Their kind.
    pub kind: Priced,
    /// How many.
    pub calls: i64,
    /// What they cost together, in millionths of a US dollar.
    pub micro_usd: i64,
}

impl Prices {
    /// The price of one.
    pub const fn of(&self, kind: Priced) -> u32 {
        match kind {
            Priced::Post => self.post,
            Priced::PostWithUrl => self.post_with_url,
            Priced::SummonedReply => self.summoned_reply,
            Priced::Delete => self.delete,
            Priced::Metadata => self.metadata,
            Priced::PostRead => self.post_read,
            Priced::OwnedRead => self.owned_read,
            Priced::UserRead => self.user_read,
        }
    }

    /// What so many of a kind cost.
    pub fn charge(&self, kind: Priced, calls: usize) -> Charge {
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        Charge {
            kind,
            calls,
            micro_usd: calls.saturating_mul(i64::from(self.of(kind))),
        }
    }

    /// What reading so many of the account's own posts costs.
    pub fn own_posts_read(&self, posts: usize) -> Charge {
        let kind = if self.reads_are_owned {
            Priced::OwnedRead
        } else {
            Priced::PostRead
        };
        self.charge(kind, posts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_prices_are_those_of_x_s_page() {
        let prices = Prices::default();
        let usd: Vec<(&str, f64)> = Priced::ALL
            .into_iter()
            .map(|kind| (kind.as_str(), f64::from(prices.of(kind)) / 1e6))
            .collect();
        assert_eq!(
            usd,
            [
                ("post", 0.015),
                ("post_with_url", 0.2),
                ("summoned_reply", 0.01),
                ("delete", 0.01),
                ("metadata", 0.005),
                ("post_read", 0.005),
                ("owned_read", 0.001),
                ("user_read", 0.01),
            ]
        );
    }

    #[test]
    fn a_link_makes_a_post_dearer_than_anything_else() {
        assert_eq!(Priced::of_post("hello", false), Priced::Post);
        assert_eq!(Priced::of_post("hello", true), Priced::SummonedReply);
        for text in [
            "see https://example.com",
            "see example.com/x?y",
            "HTTP://EXAMPLE.ORG now",
        ] {
            assert_eq!(Priced::of_post(text, false), Priced::PostWithUrl, "{text}");
            assert_eq!(Priced::of_post(text, true), Priced::PostWithUrl, "{text}");
        }
        assert_eq!(
            Priced::of_post("v1.2 at 3.4, mail a@b", false),
            Priced::Post
        );
    }

    #[test]
    fn own_reads_are_cheaper_for_who_owns_the_app() {
        let mut prices = Prices::default();
        assert_eq!(prices.own_posts_read(3).micro_usd, 15_000);
        prices.reads_are_owned = true;
        let charge = prices.own_posts_read(3);
        assert_eq!((charge.kind, charge.micro_usd), (Priced::OwnedRead, 3_000));
    }

    proptest! {
        #[test]
        fn any_text_has_a_price(text in "\\PC{0,80}", replies: bool, calls: usize) {
            let kind = Priced::of_post(&text, replies);
            prop_assert!(Prices::default().charge(kind, calls).micro_usd >= 0);
        }
    }
}
