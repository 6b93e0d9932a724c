//! Settings of what X charges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What X charges, in millionths of a US dollar, for the sums that crier keeps and the budgets that it obeys.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Prices {
    /// A post.
    pub(crate) post_micro_usd: u32,
    /// A post with a link in its text.
    pub(crate) post_with_url_micro_usd: u32,
    /// A reply to somebody who has mentioned or quoted the account.
    pub(crate) summoned_reply_micro_usd: u32,
    /// A post that is deleted.
    pub(crate) delete_micro_usd: u32,
    /// Alt text of a file.
    pub(crate) metadata_micro_usd: u32,
    /// A post that is read.
    pub(crate) post_read_micro_usd: u32,
    /// A post that is read by the account that owns the developer app.
    pub(crate) owned_read_micro_usd: u32,
    /// A user that is read.
    pub(crate) user_read_micro_usd: u32,
    /// Whether the accounts own their developer app, so that reading their own posts is charged as such.
    pub(crate) reads_are_owned: bool,
}

impl Default for Prices {
    fn default() -> Self {
        let table = crier_core::price::Prices::default();
        Self {
            post_micro_usd: table.post,
            post_with_url_micro_usd: table.post_with_url,
            summoned_reply_micro_usd: table.summoned_reply,
            delete_micro_usd: table.delete,
            metadata_micro_usd: table.metadata,
            post_read_micro_usd: table.post_read,
            owned_read_micro_usd: table.owned_read,
            user_read_micro_usd: table.user_read,
            reads_are_owned: table.reads_are_owned,
        }
    }
}

impl Prices {
    /// The table that the worker counts by.
    pub(crate) fn table(&self) -> crier_core::price::Prices {
        crier_core::price::Prices {
            post: self.post_micro_usd,
            post_with_url: self.post_with_url_micro_usd,
            summoned_reply: self.summoned_reply_micro_usd,
            delete: self.delete_micro_usd,
            metadata: self.metadata_micro_usd,
            post_read: self.post_read_micro_usd,
            owned_read: self.owned_read_micro_usd,
            user_read: self.user_read_micro_usd,
            reads_are_owned: self.reads_are_owned,
        }
    }
}
