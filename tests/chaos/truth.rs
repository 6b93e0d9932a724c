//! What both sides say in the end: the rows of crier, and what X has and was asked.

use std::collections::BTreeMap;

/// A row of `crier.jobs`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) account: String,
    pub(crate) text: String,
    pub(crate) state: String,
    pub(crate) code: String,
    pub(crate) post_id: Option<String>,
    pub(crate) after: Option<i64>,
    /// File names in order.
    pub(crate) files: Vec<String>,
    pub(crate) is_in_campaign: bool,
    pub(crate) priority: i64,
    pub(crate) attempts: i64,
    /// In a row, over the job, its files or the search for its post.
    pub(crate) crashes: i64,
    pub(crate) run_us: i64,
    pub(crate) created_us: i64,
    pub(crate) published_us: i64,
}

/// A row of `crier.attempts`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    pub(crate) job: i64,
    pub(crate) account: String,
    pub(crate) step: String,
    pub(crate) outcome: String,
    pub(crate) code: String,
    pub(crate) status: i64,
    pub(crate) started_us: i64,
    pub(crate) finished_us: i64,
}

/// A live post.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) text: String,
    /// Hash and alt text of each file.
    pub(crate) media: Vec<(String, String)>,
    pub(crate) reply_to: Option<String>,
    pub(crate) at_us: i64,
}

/// A call that X got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub(crate) route: String,
    pub(crate) account: String,
    pub(crate) status: i64,
    pub(crate) fault: String,
    pub(crate) at_us: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) jobs: Vec<Job>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) posts: Vec<Post>,
    pub(crate) calls: Vec<Call>,
    /// Hashes of the files in the media folder.
    pub(crate) hashes: BTreeMap<String, String>,
}
