//! `crier jobs unpublish`: deletes posts from X that went out.
//!
//! **Invariant:** nothing is deleted before a person has said yes; every post is told of, and so is each that is still there.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use crier_store::{Deletion, JobPost, Store, Why};
use serde_json::{Value, json};

use super::Context;
use crate::connect;
use crate::exit::{Outage, Refusal, Refuse};
use crate::screen::{instant, note, short};

pub(super) const AFTER: &str = "\
The job stays `published`: it is not sent again, and its dedupe key stays used.
Doing it twice does no harm.";

/// Which posts.
#[derive(Debug, Args)]
pub(crate) struct Unpublish {
    /// Numbers of the jobs.
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Unpublish {
    pub(super) async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        // All are looked at before the first is deleted.
        let mut posts = Vec::with_capacity(self.ids.len());
        for id in self.ids {
            posts.push(post(store, id).await?);
        }
        if !self.yes && posts.iter().any(|post| post.deleted_at.is_none()) {
            confirm(store, &posts).await?;
        }
        let worker = connect::worker(&context.config, store)?;
        let (mut left, mut unheard, mut hint) = (0, 0, String::new());
        for post in &posts {
            // What was just learned of a limit holds for the next one, too.
            let post = &store
                .job_post(post.job)
                .await?
                .unwrap_or_else(|| post.clone());
            if let Some(at) = post.deleted_at {
                let words = format!("was deleted at {}", instant(at));
                tell(context, post, "deleted_before", &words, None)?;
                continue;
            }
            if let Some(until) = post.blocked_until {
                (left, hint) = (left + 1, format!("ask again after {}", instant(until)));
                tell(
                    context,
                    post,
                    "limited",
                    "stays: X's limit is used up",
                    None,
                )?;
                continue;
            }
            let deletion = worker.unpublish(post).await?;
            let (word, words, why) = match &deletion {
                Deletion::Gone(None) => ("deleted", "is deleted".to_owned(), None),
                Deletion::Gone(Some(why)) => ("was_gone", "was gone already".to_owned(), Some(why)),
                Deletion::Refused(why) => ("refused", format!("stays: {}", said(why)), Some(why)),
                Deletion::Unknown(why) => (
                    "unknown",
                    format!("may be there yet: {}", said(why)),
                    Some(why),
                ),
            };
            if !matches!(deletion, Deletion::Gone(_)) {
                left += 1;
                unheard += usize::from(matches!(deletion, Deletion::Unknown(_)));
                hint = why.map_or_else(String::new, |why| text(&why.error, "hint"));
            }
            tell(context, post, word, &words, why)?;
        }
        if left == 0 {
            return Ok(());
        }
        let words = format!("{left} of {} posts were not deleted", posts.len());
        if unheard == left {
            return Err(Outage { words, hint }.into());
        }
        Refusal::new(words).hint(hint).fail()
    }
}

async fn post(store: &Store, id: i64) -> anyhow::Result<JobPost> {
    if let Some(post) = store.job_post(id).await? {
        return Ok(post);
    }
    let job = super::existing(store, id).await?;
    let state = text(&job, "state");
    let hint = match state.as_str() {
        "scheduled" | "paused" => format!("`crier jobs cancel {id}` keeps it from going out"),
        "unknown" => format!(
            "it may be on X: once it is found or settled, ask again; see `crier jobs why {id}`"
        ),
        _ => format!("see `crier jobs why {id}`"),
    };
    Refusal::new(format!(
        "job {id} is {state}: it has no post on X to delete"
    ))
    .hint(hint)
    .fail()
}

/// Asks at the terminal.
async fn confirm(store: &Store, posts: &[JobPost]) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Refusal::new("posts are deleted only if somebody says yes")
            .hint("give --yes, or run it in a terminal")
            .fail();
    }
    for post in posts.iter().filter(|post| post.deleted_at.is_none()) {
        let job = store.job(post.job).await?.unwrap_or_default();
        let words = short(&text(&job, "text"), 60);
        note(&format!(
            "job {}: post {} of @{}: {words}",
            post.job, post.post_id, post.handle
        ));
        if post.is_awaited {
            note(&format!(
                "job {} is replied to by jobs that wait: X will refuse them",
                post.job
            ));
        }
    }
    note("Delete from X, for good? Type yes:");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .refused("cannot read the answer")?;
    if line.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Refusal::new("nothing was deleted").fail()
}

fn tell(
    context: &Context,
    post: &JobPost,
    word: &str,
    words: &str,
    why: Option<&Why>,
) -> anyhow::Result<()> {
    if context.screen.json {
        return context.screen.object(
            &json!({"id": post.job, "post_id": post.post_id, "outcome": word,
            "error": why.map(|why| &why.error)}),
        );
    }
    context.screen.line(&format!(
        "the post {} of job {} {words}",
        post.post_id, post.job
    ));
    if post.is_awaited && matches!(word, "deleted" | "was_gone") {
        note(&format!(
            "jobs wait to reply to job {}: X will refuse them",
            post.job
        ));
    }
    Ok(())
}

fn said(why: &Why) -> String {
    crate::screen::reason(Some(&why.error))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
