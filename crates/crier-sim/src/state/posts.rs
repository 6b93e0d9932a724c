//! Posts and what finds them again: by id, by user, by being a duplicate.
//!
//! Invariant: posts stand in the order of arrival, which is the order of their ids; a deleted one
//! stays as a gap that nothing lists.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use crate::clock::seconds_us;

/// A medium as it was when it was posted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Attached {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) category: String,
    pub(crate) alt_text: Option<String>,
    #[serde(skip)]
    pub(crate) key: String,
}

/// A post.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) id: u64,
    /// User id.
    pub(crate) account: String,
    /// As submitted.
    pub(crate) text: String,
    /// As X stores it: cleaned, links as t.co; entities not yet encoded.
    pub(crate) stored: String,
    /// Links that X appends: to a quoted post, to the media. They count for no length.
    pub(crate) tail: String,
    pub(crate) media: Vec<Attached>,
    pub(crate) reply_to: Option<u64>,
    pub(crate) quotes: Option<u64>,
    /// Handles it mentions, in lower case.
    pub(crate) mentions: Vec<String>,
    pub(crate) received_at_us: i64,
    pub(crate) nullcast: bool,
    pub(crate) deleted: bool,
    /// Ids of its earlier versions and its own.
    pub(crate) history: Vec<u64>,
    /// The request as it came.
    pub(crate) request: Value,
}

/// What makes two posts the same (x-api.md 4.5): user, and a hash of text, reply target and media.
pub(crate) type Likeness = (String, [u8; 32]);

/// All posts.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    all: Vec<Post>,
    by_id: HashMap<u64, usize>,
    by_account: HashMap<String, Vec<usize>>,
    likeness: HashMap<Likeness, usize>,
}

impl Posts {
    /// Adds a post with what makes it a duplicate of others, if anything.
    pub(crate) fn insert(&mut self, post: Post, likeness: Option<Likeness>) {
        let at = self.all.len();
        self.by_id.insert(post.id, at);
        self.by_account
            .entry(post.account.clone())
            .or_default()
            .push(at);
        if let Some(likeness) = likeness {
            self.likeness.insert(likeness, at);
        }
        self.all.push(post);
    }

    /// The live post of that id.
    pub(crate) fn live(&self, id: u64) -> Option<&Post> {
        let post = self.all.get(*self.by_id.get(&id)?)?;
        (!post.deleted).then_some(post)
    }

    /// Deletes a live post.
    pub(crate) fn delete(&mut self, id: u64) {
        if let Some(post) = self.by_id.get(&id).and_then(|at| self.all.get_mut(*at)) {
            post.deleted = true;
        }
    }

    /// Whether the same post is live and younger than the window.
    pub(crate) fn is_duplicate(&self, likeness: &Likeness, window_s: u64, now_us: i64) -> bool {
        self.likeness
            .get(likeness)
            .and_then(|at| self.all.get(*at))
            .is_some_and(|post| {
                !post.deleted && now_us.saturating_sub(post.received_at_us) < seconds_us(window_s)
            })
    }

    /// The user's live posts, newest first.
    pub(crate) fn of(&self, account: &str) -> impl Iterator<Item = &Post> {
        self.by_account
            .get(account)
            .into_iter()
            .flatten()
            .rev()
            .filter_map(|at| self.all.get(*at))
            .filter(|post| !post.deleted)
    }

    /// All live posts in the order of arrival.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Post> {
        self.all.iter().filter(|post| !post.deleted)
    }
}
