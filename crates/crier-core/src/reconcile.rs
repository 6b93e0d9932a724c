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

/// How much worse a post fits that was made before the call left than one made as long after it.
const BEFORE: i64 = 4;
/// Clocks that are this near to each other are not told apart: X names its time in whole seconds.
const CLOCK_GRAIN: TimeDelta = TimeDelta::seconds(10);

/// How far the database's clock is ahead of X's, by X's own word on the time; zero as long as that is within what the
/// other allowances bear.
pub fn ahead(database: DateTime<Utc>, x: DateTime<Utc>) -> TimeDelta {
    let ahead = database - x;
    if ahead.abs() < CLOCK_GRAIN {
        TimeDelta::zero()
    } else {
        ahead
    }
}

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
    /// Attachments, a quoted post and a card included.
    pub attachments: usize,
    /// It replies to a post, so that X may put mentions before it.
    pub is_reply: bool,
    /// When the first of its doubtful calls left.
    pub first: DateTime<Utc>,
    /// When the last of them left.
    pub last: DateTime<Utc>,
    /// A call of its own may have made a post. Otherwise X only said that it has had this text since `first`, and the
    /// job takes no post that may be another's.
    pub is_doubtful: bool,
    /// How far the database's clock, which has the other times here, is ahead of X's, which made the ids; see [`ahead`].
    pub ahead: TimeDelta,
}

impl Sent<'_> {
    fn may_have_made(&self, post: &Post<'_>) -> bool {
        self.was_sent_about(post)
            && matches_published(self.text, post.text, self.attachments, self.is_reply)
    }

    fn was_sent_about(&self, post: &Post<'_>) -> bool {
        let allowance = if self.is_doubtful {
            CLOCK_ALLOWANCE
        } else {
            TimeDelta::zero()
        };
        // Either clock may have been set right since the call left, so that one that is off only widens.
        post.at >= self.first - allowance - self.ahead.max(TimeDelta::zero())
            && post.at <= self.latest() - self.ahead.min(TimeDelta::zero())
    }

    fn latest(&self) -> DateTime<Utc> {
        self.last + LATEST_DEED
    }

    /// How ill the post fits: the time since its call left; before it, which only clocks that disagree explain, is worse.
    fn misfit(&self, post: &Post<'_>) -> i64 {
        let after = (post.at - (self.first - self.ahead)).num_milliseconds();
        if after < 0 {
            BEFORE.saturating_mul(after.saturating_neg())
        } else {
            after
        }
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
    /// The same, but the other job was sent so lately that X need not show its post yet: that will clear it.
    Early,
}

/// Which of the posts `seen` is that of `ours`. `rivals` are the account's other jobs whose fate is open, `taken` the
/// ids that belong to jobs already; what was made before `shown` X would show by now.
///
/// Jobs and posts that could belong together form a group, and every job of it comes to the same distribution, so that no
/// two take the same post. If the group holds a post for each job, they are given out in the order of the calls, the times
/// fitting best on the whole. If it holds fewer, nobody can say whose they are.
pub fn pick(
    ours: &Sent<'_>,
    rivals: &[Sent<'_>],
    seen: &[Seen<'_>],
    taken: &BTreeSet<String>,
    shown: DateTime<Utc>,
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
    let unclear = if jobs.iter().all(|job| job.latest() <= shown) {
        Pick::Unclear
    } else {
        Pick::Early
    };
    if !ours.is_doubtful && jobs.len() > 1 {
        return unclear;
    }
    jobs.sort_by_key(|job| (job.first, job.job));
    pool.sort_by_key(|post| (post.at, post.id));
    if pool.len() < jobs.len() {
        return unclear;
    }
    let given = in_order(&jobs, &pool).or_else(|| by_deadline(&jobs, &pool).into_iter().collect());
    let place = jobs.iter().position(|job| job.job == ours.job);
    let post = place.zip(given).map(|(place, given)| given[place]);
    post.map_or(unclear, |post| Pick::Ours(pool[post].id.to_owned()))
}

/// Gives each job one of the posts, both in the order of time, with the least misfit in all. `None` if that cannot be.
fn in_order(jobs: &[Sent<'_>], pool: &[Post<'_>]) -> Option<Vec<usize>> {
    let posts = pool.len();
    // best[j][p]: the least misfit of the jobs from j on with the posts from p on.
    let mut best = vec![vec![Some(0_i64); posts + 1]; jobs.len() + 1];
    for j in (0..jobs.len()).rev() {
        best[j][posts] = None;
        for p in (0..posts).rev() {
            let taken = best[j + 1][p + 1]
                .filter(|_| jobs[j].may_have_made(&pool[p]))
                .map(|rest| rest.saturating_add(jobs[j].misfit(&pool[p])));
            best[j][p] = match (taken, best[j][p + 1]) {
                (Some(taken), Some(left)) => Some(taken.min(left)),
                (some, None) | (None, some) => some,
            };
        }
    }
    best[0][0]?;
    let mut given = Vec::with_capacity(jobs.len());
    let mut p = 0;
    for row in &best[..jobs.len()] {
        while row[p] == row[p + 1] {
            p += 1;
        }
        given.push(p);
        p += 1;
    }
    Some(given)
}

/// Gives each post, the earliest first, to the job that may have made it and could the soonest have made no later one: as
/// many jobs as can be have a post then. Calls may arrive after the next one, so that no order need hold.
fn by_deadline(jobs: &[Sent<'_>], pool: &[Post<'_>]) -> Vec<Option<usize>> {
    let mut given = vec![None; jobs.len()];
    for (p, post) in pool.iter().enumerate() {
        let next = (0..jobs.len())
            .filter(|j| given[*j].is_none() && jobs[*j].may_have_made(post))
            .min_by_key(|j| (jobs[*j].latest(), jobs[*j].job));
        if let Some(j) = next {
            given[j] = Some(p);
        }
    }
    given
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
    if let Pick::Ours(id) = pick {
        return Next::Published(id);
    }
    let own_duplicate = search.is_duplicate && search.is_doubtful;
    let enough = search.waits.len() * if own_duplicate { 2 } else { 1 } + 1;
    let wait = search
        .waits
        .get(search.looks.saturating_sub(1))
        .or(search.waits.last());
    let is_early = search.looks < enough || pick == Pick::Early;
    if let Some(wait) = wait.filter(|_| is_early) {
        return Next::LookAgain(*wait);
    }
    match pick {
        Pick::Ours(_) | Pick::Unclear | Pick::Early => Next::Operator(Doubt::Unclear),
        Pick::None if !search.is_listed => Next::Operator(Doubt::Unlisted),
        Pick::None if !search.is_complete => Next::Operator(Doubt::TooMany),
        Pick::None if own_duplicate => Next::Operator(Doubt::Hidden),
        Pick::None if search.is_duplicate => Next::Duplicate,
        Pick::None => Next::Absent,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
