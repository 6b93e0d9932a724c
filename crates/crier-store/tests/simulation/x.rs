//! X as the simulation knows it: posts, media ids, windows, the duplicate rule, and what it is slow to show.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use crier_core::limit::{LimitClass, Window, WindowLength};

/// First millisecond of X's ids.
const EPOCH_MS: i64 = 1_288_834_974_657;
/// So long X refuses the same post again.
const DUPLICATE: TimeDelta = TimeDelta::hours(12);
/// How long X may take to show a new post in its list.
const SHOWN_AFTER: TimeDelta = TimeDelta::seconds(40);
/// Posts of an account in a quarter of an hour, and of an app in an hour.
const LIMITS: [(i64, i64); 2] = [(4, 900), (9, 3_600)];

/// The body of a create call, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) job: i64,
    pub(crate) account: i64,
    pub(crate) text: String,
    pub(crate) media: Vec<String>,
    pub(crate) reply_to: Option<String>,
    /// The job that it should reply to, and the files that it should have.
    pub(crate) after: Option<i64>,
    pub(crate) items: Vec<String>,
}

/// A post that exists.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) body: Body,
    pub(crate) is_deleted: bool,
}

/// A file that X has.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) account: i64,
    pub(crate) item: String,
    pub(crate) is_ready: bool,
    pub(crate) ends: DateTime<Utc>,
}

/// What X says to a create call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Created(String),
    Duplicate,
    Limited,
}

/// Everything that X has.
#[derive(Debug, Default)]
pub(crate) struct X {
    pub(crate) posts: Vec<Live>,
    pub(crate) media: BTreeMap<String, Media>,
    /// Calls that it carries out later.
    pub(crate) late: Vec<(DateTime<Utc>, Body)>,
    /// Accounts whose one good token nobody has: only a login helps.
    pub(crate) lost: BTreeSet<i64>,
    grants: BTreeMap<i64, String>,
    windows: BTreeMap<(LimitClass, i64), (DateTime<Utc>, i64)>,
    serial: i64,
}

/// Accounts 1 and 2 are of one app, the others of another.
pub(crate) fn app_of(account: i64) -> i64 {
    if account <= 2 { 1 } else { 2 }
}

impl X {
    /// Carries out a create call. What is wrong with the post is an `Err`: no post must ever be like that.
    pub(crate) fn create(&mut self, now: DateTime<Utc>, body: &Body) -> Result<Answer, String> {
        if self
            .windows(now, body.account, 0)
            .iter()
            .any(Window::is_exhausted)
        {
            return Ok(Answer::Limited);
        }
        self.windows(now, body.account, 1);
        let is_same = |live: &Live| {
            let (a, b) = (&live.body, body);
            (a.account, &a.text, &a.media, &a.reply_to)
                == (b.account, &b.text, &b.media, &b.reply_to)
                && live.at > now - DUPLICATE
        };
        if self.posts.iter().any(is_same) {
            return Ok(Answer::Duplicate);
        }
        self.object(now, body)?;
        self.serial += 1;
        let id = ((now.timestamp_millis() - EPOCH_MS) << 22) + self.serial;
        self.posts.push(Live {
            id: id.to_string(),
            at: now,
            body: body.clone(),
            is_deleted: false,
        });
        Ok(Answer::Created(id.to_string()))
    }

    fn object(&self, now: DateTime<Utc>, body: &Body) -> Result<(), String> {
        let job = body.job;
        if let Some(twin) = self.posts.iter().find(|live| live.body.job == job) {
            return Err(format!(
                "job {job} is posted twice: {} is live already",
                twin.id
            ));
        }
        if body.media.len() != body.items.len() {
            return Err(format!(
                "job {job} is posted with {} of {} files",
                body.media.len(),
                body.items.len()
            ));
        }
        for (id, item) in body.media.iter().zip(&body.items) {
            match self.media.get(id) {
                Some(m)
                    if m.account == body.account
                        && m.item == *item
                        && m.is_ready
                        && m.ends > now => {}
                other => {
                    return Err(format!(
                        "job {job} is posted with the media id {id} for {item}: {other:?}"
                    ));
                }
            }
        }
        let parent = body
            .after
            .map(|after| self.post_of(after).map(|live| live.id.clone()));
        match (parent, &body.reply_to) {
            (None, None) => Ok(()),
            (Some(Some(id)), Some(to)) if id == *to => Ok(()),
            (parent, to) => Err(format!(
                "job {job} replies to {to:?}, its parent is {parent:?}"
            )),
        }
    }

    pub(crate) fn post_of(&self, job: i64) -> Option<&Live> {
        self.posts.iter().find(|live| live.body.job == job)
    }

    /// It is gone from everybody's list.
    pub(crate) fn delete(&mut self, id: &str) {
        for live in self.posts.iter_mut().filter(|live| live.id == id) {
            live.is_deleted = true;
        }
    }

    /// A person has logged in: from now on X takes this refresh token.
    pub(crate) fn grant(&mut self, account: i64, token: String) {
        self.lost.remove(&account);
        self.grants.insert(account, token);
    }

    /// Another refresh token for this one, if it is the one that X takes; the old one is spent.
    pub(crate) fn refresh(&mut self, account: i64, token: &str) -> Option<String> {
        let grant = self.grants.get_mut(&account)?;
        if grant != token {
            return None;
        }
        self.serial += 1;
        *grant = format!("token {}", self.serial);
        Some(grant.clone())
    }

    /// What the account's list shows now.
    pub(crate) fn list(
        &self,
        now: DateTime<Utc>,
        account: i64,
        from: DateTime<Utc>,
    ) -> Vec<(String, String)> {
        let shown = self.posts.iter().filter(|live| {
            live.body.account == account
                && !live.is_deleted
                && live.at >= from
                && live.at + SHOWN_AFTER <= now
        });
        shown
            .map(|live| (live.id.clone(), live.body.text.clone()))
            .collect()
    }

    /// The headers of an answer after `calls` more calls.
    pub(crate) fn windows(&mut self, now: DateTime<Utc>, account: i64, calls: i64) -> Vec<Window> {
        let owners = [
            (LimitClass::Account, account, WindowLength::QuarterHour),
            (LimitClass::App, app_of(account), WindowLength::Day),
        ];
        let mut windows = Vec::new();
        for ((class, owner, length), (limit, seconds)) in owners.into_iter().zip(LIMITS) {
            let fresh = (whole(now) + TimeDelta::seconds(seconds), 0);
            let window = self.windows.entry((class, owner)).or_insert(fresh);
            if window.0 <= now {
                *window = fresh;
            }
            window.1 += calls;
            windows.push(Window {
                class,
                length,
                limit: Some(limit),
                remaining: Some((limit - window.1).max(0)),
                resets_at: window.0,
            });
        }
        windows
    }

    /// X begins with a file.
    pub(crate) fn begin_media(
        &mut self,
        now: DateTime<Utc>,
        account: i64,
        item: &str,
        life: TimeDelta,
    ) -> String {
        self.serial += 1;
        let id = format!("7{:06}", self.serial);
        self.media.insert(
            id.clone(),
            Media {
                account,
                item: item.to_owned(),
                is_ready: false,
                ends: now + life,
            },
        );
        id
    }
}

fn whole(now: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now)
}
