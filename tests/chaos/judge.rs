//! The judgement: what X has against what crier says, promise by promise.
//!
//! **Invariant:** it looks from outside: X's posts and calls are the truth, crier's rows the claim.

use std::collections::{BTreeMap, BTreeSet};

use crate::tally::Notes;
use crate::truth::{Job, Post, Truth};

/// The promises, in the order in which they are shown.
pub(crate) const PROMISES: [&str; 10] = [
    "posted twice",
    "lost",
    "bare or with the wrong files",
    "broken threads",
    "another text than the row's",
    "out of order",
    "posted after a cancel",
    "sent into a closed window",
    "refresh token used twice",
    "no way forward",
];

/// So near to a refresh a blow may have kept its answer from being heard or written: the longest that one lasts.
const NEAR_US: i64 = 10_000_000;
/// Refusals of one spent token whose answers may all have been lost.
const NOES: u32 = 3;

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(crate) struct Breach {
    pub(crate) promise: &'static str,
    pub(crate) job: Option<i64>,
    pub(crate) words: String,
}

struct Judge<'a> {
    truth: &'a Truth,
    by_id: BTreeMap<i64, &'a Job>,
    posts: BTreeMap<&'a str, &'a Post>,
    found: Vec<Breach>,
}

/// All breaches; `keys` are of all rows that people inserted.
pub(crate) fn judge(truth: &Truth, keys: &[&str], notes: &Notes) -> Vec<Breach> {
    let mut judge = Judge {
        truth,
        by_id: truth.jobs.iter().map(|job| (job.id, job)).collect(),
        posts: truth
            .posts
            .iter()
            .map(|post| (post.id.as_str(), post))
            .collect(),
        found: Vec::new(),
    };
    judge.every_row_is_there(keys, notes);
    judge.every_published_job_has_its_post();
    judge.every_post_has_its_job();
    judge.every_job_ended_with_reason();
    judge.order();
    judge.windows(notes);
    judge.refresh_tokens(notes);
    for words in &notes.odd_ends {
        judge.breach("no way forward", None, words.clone());
    }
    judge.found
}

impl Judge<'_> {
    fn breach(&mut self, promise: &'static str, job: Option<i64>, words: String) {
        self.found.push(Breach {
            promise,
            job,
            words,
        });
    }

    /// What may end a job of the plan other than a post or a cancel.
    fn is_reason(&self, job: &Job) -> bool {
        let twin = |other: &&Job| {
            other.id != job.id && other.account == job.account && other.text == job.text
        };
        match job.code.as_str() {
            // X's own rule, for posts of equal text that came too close in the end.
            "duplicate" => self
                .truth
                .jobs
                .iter()
                .filter(twin)
                .any(|twin| twin.post_id.is_some()),
            // Killed again and again while it was held.
            "quarantined" => job.crashes >= 3,
            "predecessor_ended" => job.after.is_some(),
            _ => false,
        }
    }

    fn every_row_is_there(&mut self, keys: &[&str], notes: &Notes) {
        let there: BTreeSet<&str> = self.truth.jobs.iter().map(|job| job.key.as_str()).collect();
        for key in keys {
            if !there.contains(key) && !notes.refused.iter().any(|refused| refused == key) {
                self.breach("lost", None, format!("the row {key} is gone"));
            }
        }
    }

    fn every_published_job_has_its_post(&mut self) {
        for job in &self.truth.jobs {
            if (job.state == "published") != job.post_id.is_some() {
                let words = format!("it is {} with the post {:?}", job.state, job.post_id);
                self.breach("lost", Some(job.id), words);
            }
            let Some(id) = job.post_id.as_deref() else {
                continue;
            };
            let Some(post) = self.posts.get(id).copied() else {
                self.breach("lost", Some(job.id), format!("its post {id} is not on X"));
                continue;
            };
            if post.account != job.account || post.text.trim() != job.text.trim() {
                self.breach(
                    "another text than the row's",
                    Some(job.id),
                    format!(
                        "{id} is `{}` of {}, the row says `{}`",
                        post.text, post.account, job.text
                    ),
                );
            }
            let wanted: Vec<(String, String)> = job
                .files
                .iter()
                .map(|name| (self.truth.hashes[name].clone(), alt_text(name)))
                .collect();
            if post.media != wanted {
                let words = format!("{id} has {:?}, not {wanted:?}", post.media);
                self.breach("bare or with the wrong files", Some(job.id), words);
            }
            let parent = job.after.and_then(|after| self.by_id.get(&after).copied());
            if post.reply_to != parent.and_then(|parent| parent.post_id.clone()) {
                let words = format!("{id} replies to {:?}", post.reply_to);
                self.breach("broken threads", Some(job.id), words);
            }
        }
    }

    fn every_post_has_its_job(&mut self) {
        let mut owners: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
        for job in &self.truth.jobs {
            if let Some(id) = &job.post_id {
                owners.entry(id).or_default().push(job);
            }
        }
        let mut strays: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for post in &self.truth.posts {
            let held = owners.get(post.id.as_str()).map_or(0, Vec::len);
            if held == 1 {
                continue;
            }
            let alike: Vec<&Job> = self
                .truth
                .jobs
                .iter()
                .filter(|job| job.account == post.account && job.text.trim() == post.text.trim())
                .collect();
            let unknown = alike.iter().filter(|job| job.state == "unknown").count();
            let strays = strays
                .entry((post.account.as_str(), post.text.trim()))
                .or_insert(0);
            *strays += 1;
            let job = alike.iter().find(|job| job.post_id.is_none());
            let any = job.or(alike.first()).copied();
            let words = format!("{} of {}: `{}`", post.id, post.account, post.text);
            match any.map(|job| job.state.as_str()) {
                _ if held > 1 => {
                    let words = format!("{held} jobs hold {words}");
                    self.breach("lost", any.map(|job| job.id), words);
                }
                // One a job is counted among the unknown ones: a person is asked to look.
                Some("unknown") if *strays <= unknown => {}
                Some("cancelled") => {
                    self.breach("posted after a cancel", any.map(|job| job.id), words);
                }
                Some(state) => {
                    let words = format!("{words}; its job is {state}");
                    self.breach("posted twice", any.map(|job| job.id), words);
                }
                None => self.breach("another text than the row's", None, words),
            }
        }
    }

    fn every_job_ended_with_reason(&mut self) {
        for job in &self.truth.jobs {
            let fine = match job.state.as_str() {
                "published" | "cancelled" => true,
                // Left to a person, who was told why.
                "unknown" => job.code.starts_with("unknown_") || self.is_reason(job),
                _ => self.is_reason(job),
            };
            if !fine {
                let words = format!("it is {} with `{}`", job.state, job.code);
                self.breach("no way forward", Some(job.id), words);
            }
        }
    }

    /// Among plain jobs that went out at the first try, the order of one account is priority, time, number.
    fn order(&mut self) {
        let mut tries: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        for attempt in &self.truth.attempts {
            tries.entry(attempt.job).or_default().push(attempt);
        }
        let mut plain: Vec<(&Job, i64, &Post)> = Vec::new();
        for job in &self.truth.jobs {
            let id = job.post_id.as_deref();
            let post = id.and_then(|id| self.posts.get(id).copied());
            let is_plain = job.after.is_none()
                && job.files.is_empty()
                && !job.is_in_campaign
                && job.crashes == 0
                && job.attempts == 1;
            if let (true, Some([only]), Some(post)) =
                (is_plain, tries.get(&job.id).map(Vec::as_slice), post)
            {
                plain.push((job, only.started_us, post));
            }
        }
        for (first, _, first_post) in &plain {
            for (second, claimed_us, second_post) in &plain {
                let both = first.account == second.account && first.id != second.id;
                let before = (-first.priority, first.run_us, first.id)
                    < (-second.priority, second.run_us, second.id);
                // What came or fell due while the other was on its way could not go before it.
                let was_ready = first.run_us.max(first.created_us) + 5_000_000 < *claimed_us;
                if both && before && was_ready && second_post.at_us < first_post.at_us {
                    let words = format!("job {} went out before it", second.id);
                    self.breach("out of order", Some(first.id), words);
                }
            }
        }
    }

    /// Once the refusal of an account's post is in the ledger, nothing of that account is sent before the window's end.
    fn windows(&mut self, notes: &Notes) {
        for closed in &notes.closed {
            let inside = |us: i64| (closed.from_us..closed.until_us).contains(&us);
            let known_us = self
                .truth
                .attempts
                .iter()
                .filter(|attempt| attempt.account == closed.account && attempt.status == 429)
                .map(|attempt| attempt.finished_us)
                .filter(|us| inside(*us))
                .min();
            let Some(known_us) = known_us else { continue };
            let late = self.truth.calls.iter().filter(|call| {
                call.route == "POST /2/tweets"
                    && call.account == closed.account
                    && inside(call.at_us)
                    && call.at_us > known_us
            });
            let late = late.count();
            if late > 0 {
                let words = format!("{late} calls of {} after the refusal", closed.account);
                self.breach("sent into a closed window", None, words);
            }
        }
    }

    /// A refresh token that X has spent is sent again only where crier may not have heard of it: the answer was lost, or
    /// something struck a worker, its links or the database about then. And X's no is taken for one.
    fn refresh_tokens(&mut self, notes: &Notes) {
        let mut last: BTreeMap<&str, (bool, i64, u32)> = BTreeMap::new();
        for call in &self.truth.calls {
            if call.route != "POST /2/oauth2/token" {
                continue;
            }
            let (was_heard, at_us, refused) = last.entry(&call.account).or_default();
            if call.status == 200 {
                (*was_heard, *at_us, *refused) = (call.fault.is_empty(), call.at_us, 0);
            } else if call.status == 400 && call.fault.is_empty() {
                *refused += 1;
                let is_near = |us: &i64| (us - *at_us).abs() < NEAR_US;
                let is_unexplained =
                    *was_heard && *at_us > 0 && !notes.blows_us.iter().any(is_near);
                if is_unexplained || *refused > NOES {
                    let words = format!("{}, {refused} times, at {}", call.account, call.at_us);
                    self.found.push(Breach {
                        promise: "refresh token used twice",
                        job: None,
                        words,
                    });
                }
            }
        }
    }
}

fn alt_text(name: &str) -> String {
    if name.ends_with("png") {
        format!("alt of {name}")
    } else {
        String::new()
    }
}
