//! Looking for a post whose answer was lost: which of the posts that X shows is a job's own, and what to do if none is.
//!
//! **Invariant:** a post is given to one job at most, however many jobs of equal text look at the same list; and no post
//! is believed absent before it was looked for often enough in a place where it would be seen.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::text::matches_published;

/// First millisecond of X's ids (the-algorithm, `BQGenerationUtil.scala`).
const EPOCH_MS: i64 = 1_288_834_974_657;
/// Bits of an id below its time (X's page on ids).
const TIME_SHIFT: u32 = 22;
/// How far X's clock and the database's may be apart; lists are read from so long before the first call.
pub const CLOCK_ALLOWANCE: TimeDelta = TimeDelta::seconds(60);
/// How long after its call left a post may be made: the client gives up after 30 s and X's own creation takes 10 s at
/// most (the-algorithm, `TweetCreationLock.scala`); the rest is [`CLOCK_ALLOWANCE`].
pub const LATEST_DEED: TimeDelta = TimeDelta::seconds(120);

/// When a post was made, by its id. `None` for what is no id.
pub fn id_time(id: &str) -> Option<DateTime<Utc>> {
    let id: u64 = id.parse().ok()?;
    DateTime::from_timestamp_millis(
        i64::try_from(id >> TIME_SHIFT)
            .ok()?
            .checked_add(EPOCH_MS)?,
    )
}

/// A job that is looked for: what it sent, and between which instants its doubtful calls left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The job.
    pub job: i64,
    /// Text as it was sent.
    pub text: &'a str,
    /// Attachments, a quoted post included.
    pub attachments: usize,
    /// When the first of its doubtful calls left.
    pub first: DateTime<Utc>,
    /// When the last of them left.
    pub last: DateTime<Utc>,
    /// A call of its own may have made a post. Otherwise X only said that it has had this text since `first`, and the
    /// job takes no post that may be another's.
    pub is_doubtful: bool,
}

impl Sent<'_> {
    fn may_have_made(&self, post: &Post<'_>) -> bool {
        let allowance = if self.is_doubtful {
            CLOCK_ALLOWANCE
        } else {
            TimeDelta::zero()
        };
        post.at >= self.first - allowance
            && post.at <= self.last + LATEST_DEED
            && matches_published(self.text, post.text, self.attachments)
    }

    /// Nearest after the call left; before it, which only clocks that disagree explain, is second best.
    fn distance(&self, post: &Post<'_>) -> (bool, TimeDelta) {
        (post.at < self.first, (post.at - self.first).abs())
    }
}

/// A post as X shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its text, with t.co links and entities.
    pub text: &'a str,
}

#[derive(Debug, Clone, Copy)]
struct Post<'a> {
    id: &'a str,
    text: &'a str,
    at: DateTime<Utc>,
}

/// What a list of posts says about one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// This post is the job's.
    Ours(String),
    /// None is.
    None,
    /// One may be, but it may as well be that of another job whose answer is missing too.
    Unclear,
}

/// Which of the posts `seen` is that of `ours`. `rivals` are the account's other jobs whose fate is open, `taken` the
/// ids that belong to jobs already.
///
/// Jobs and posts that could belong together form a group. If it holds a post for each job, they are given out in the
/// order of the calls, each job taking the post nearest after its own; otherwise nobody can say whose they are. Every
/// job of the group comes to the same distribution, so no two take the same post.
pub fn pick(
    ours: &Sent<'_>,
    rivals: &[Sent<'_>],
    seen: &[Seen<'_>],
    taken: &BTreeSet<String>,
) -> Pick {
    let mut free: Vec<Post<'_>> = seen
        .iter()
        .filter(|post| !taken.contains(post.id))
        .filter_map(|post| {
            Some(Post {
                id: post.id,
                text: post.text,
                at: id_time(post.id)?,
            })
        })
        .collect();
    // Pages overlap when posts arrive between two of them.
    free.sort_by_key(|post| (post.at, post.id));
    free.dedup_by_key(|post| post.id);

    let mut jobs = vec![*ours];
    let (mut pool, mut free): (Vec<_>, Vec<_>) =
        free.into_iter().partition(|post| ours.may_have_made(post));
    if pool.is_empty() {
        return Pick::None;
    }
    let mut rivals: Vec<Sent<'_>> = rivals
        .iter()
        .copied()
        .filter(|rival| rival.is_doubtful && rival.job != ours.job)
        .collect();
    loop {
        let (joining, apart): (Vec<_>, Vec<_>) = rivals
            .into_iter()
            .partition(|rival| pool.iter().any(|post| rival.may_have_made(post)));
        rivals = apart;
        if joining.is_empty() {
            break;
        }
        let (theirs, rest): (Vec<_>, Vec<_>) = free
            .into_iter()
            .partition(|post| joining.iter().any(|job| job.may_have_made(post)));
        free = rest;
        pool.extend(theirs);
        jobs.extend(joining);
    }
    if pool.len() < jobs.len() || (!ours.is_doubtful && jobs.len() > 1) {
        return Pick::Unclear;
    }
    jobs.sort_by_key(|job| (job.first, job.job));
    pool.sort_by_key(|post| (post.at, post.id));
    for job in jobs {
        let nearest = pool
            .iter()
            .enumerate()
            .filter(|(_, post)| job.may_have_made(post))
            .min_by_key(|(_, post)| job.distance(post))
            .map(|(place, _)| place);
        let got = nearest.map(|place| pool.remove(place));
        if job.job == ours.job {
            return got.map_or(Pick::Unclear, |post| Pick::Ours(post.id.to_owned()));
        }
    }
    Pick::Unclear
}

/// Whether X lists a post with these options among the account's own: a promoted-only post, one for a community alone
/// or for paying followers may be missing there, so that its absence proves nothing.
pub fn is_listed(options: &Value) -> bool {
    let is = |key: &str| options.get(key) == Some(&Value::Bool(true));
    let community = options
        .get("community_id")
        .is_some_and(|id| !id.is_null() && !is("share_with_followers"));
    !is("nullcast") && !is("for_super_followers_only") && !community
}

/// How a search stands, the look just made included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact about the search"
)]
pub struct Search<'a> {
    /// Looks made.
    pub looks: usize,
    /// Waits between looks; one look more than there are waits is enough to believe that a post is absent.
    pub waits: &'a [Duration],
    /// A call of this job left and brought no trustworthy answer.
    pub is_doubtful: bool,
    /// X refused the last call as a duplicate.
    pub is_duplicate: bool,
    /// The list was read to its end.
    pub is_complete: bool,
    /// X lists such a post: see [`is_listed`].
    pub is_listed: bool,
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The job is published as this post.
    Published(String),
    /// Look again after so long.
    LookAgain(Duration),
    /// It is not on X: it may be sent again.
    Absent,
    /// X has had this text before, and not from this job.
    Duplicate,
    /// Nobody but a person can tell.
    Operator(Doubt),
}

/// Why a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Several jobs and too few posts of the same text.
    Unclear,
    /// X says that it has the post, but does not show it.
    Hidden,
    /// X does not list such posts.
    Unlisted,
    /// The account has more posts than X lists.
    TooMany,
}

impl Doubt {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unclear => "unknown_unclear",
            Self::Hidden => "unknown_hidden",
            Self::Unlisted => "unknown_unlisted",
            Self::TooMany => "unknown_too_many",
        }
    }

    /// What happened, for people.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Unclear => {
                "X shows a post with this text, but another job of the same text has lost its answer too"
            }
            Self::Hidden => {
                "X refused to post this again as a duplicate, but does not show the earlier post"
            }
            Self::Unlisted => {
                "X does not list posts with these options among the account's own, so crier cannot look it up"
            }
            Self::TooMany => {
                "the account has posted more since then than X lists, so crier cannot see all of it"
            }
        }
    }
}

/// What to do after a look. After a duplicate that may be this job's own earlier call, twice as many looks are made, and
/// it is never sent again.
pub fn next(pick: Pick, search: &Search<'_>) -> Next {
    let is_clear = pick == Pick::None;
    if let Pick::Ours(id) = pick {
        return Next::Published(id);
    }
    let own_duplicate = search.is_duplicate && search.is_doubtful;
    let enough = search.waits.len() * if own_duplicate { 2 } else { 1 } + 1;
    let wait = search
        .waits
        .get(search.looks.saturating_sub(1))
        .or(search.waits.last());
    match wait {
        Some(wait) if search.looks < enough => Next::LookAgain(*wait),
        Some(_) | None if !is_clear => Next::Operator(Doubt::Unclear),
        Some(_) | None if !search.is_listed => Next::Operator(Doubt::Unlisted),
        Some(_) | None if !search.is_complete => Next::Operator(Doubt::TooMany),
        Some(_) | None if own_duplicate => Next::Operator(Doubt::Hidden),
        Some(_) | None if search.is_duplicate => Next::Duplicate,
        Some(_) | None => Next::Absent,
    }
}

#[cfg(test)]
mod tests;
