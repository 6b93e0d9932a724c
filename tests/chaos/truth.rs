//! What both sides say in the end: the rows of crier, and what X has and was asked.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::files;
use crate::run::World;

/// A row of `crier.jobs`.
#[derive(Debug, Clone)]
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
    pub(crate) crashes: i64,
    pub(crate) run_us: i64,
    pub(crate) created_us: i64,
    pub(crate) published_us: i64,
}

/// A row of `crier.attempts`.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) route: String,
    pub(crate) account: String,
    pub(crate) status: i64,
    pub(crate) fault: String,
    pub(crate) at_us: i64,
}

pub(crate) struct Truth {
    pub(crate) jobs: Vec<Job>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) posts: Vec<Post>,
    pub(crate) calls: Vec<Call>,
    /// Hashes of the files in the media folder.
    pub(crate) hashes: BTreeMap<String, String>,
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> i64 {
    value[key].as_i64().unwrap_or_default()
}

const JOBS: &str =
    "select id, dedupe_key, account, text, state, error ->> 'code' as code, post_id, after, media,
      campaign is not null as is_in_campaign, priority, attempts, crashes,
      (extract(epoch from run_at) * 1000000)::bigint as run_us,
      (extract(epoch from created_at) * 1000000)::bigint as created_us,
      (extract(epoch from published_at) * 1000000)::bigint as published_us
    from crier.jobs order by id";

const ATTEMPTS: &str = "select t.job_id, a.handle, t.step, t.outcome, t.code, t.http_status,
      (extract(epoch from t.started_at) * 1000000)::bigint as started_us,
      (extract(epoch from t.finished_at) * 1000000)::bigint as finished_us
    from crier.attempts t join crier.accounts a on a.id = t.account_id order by t.id";

impl Truth {
    pub(crate) async fn of(world: &World) -> Self {
        let store = &world.ground.store;
        let jobs = store.select_json(JOBS).await.unwrap();
        let jobs: Vec<Job> = jobs.iter().map(job).collect();
        let attempts = store.select_json(ATTEMPTS).await.unwrap();
        let hashes = hashes(&jobs, &world.ground.media);
        Self {
            attempts: attempts.iter().map(attempt).collect(),
            posts: world.x.list("/_sim/posts").await.iter().map(post).collect(),
            calls: world
                .x
                .list("/_sim/requests")
                .await
                .iter()
                .map(call)
                .collect(),
            jobs,
            hashes,
        }
    }
}

fn job(row: &Value) -> Job {
    let files = row["media"].as_array().into_iter().flatten();
    Job {
        id: number(row, "id"),
        key: word(row, "dedupe_key"),
        account: word(row, "account"),
        text: word(row, "text"),
        state: word(row, "state"),
        code: word(row, "code"),
        post_id: row["post_id"].as_str().map(str::to_owned),
        after: row["after"].as_i64(),
        files: files.map(|item| word(item, "path")).collect(),
        is_in_campaign: row["is_in_campaign"] == true,
        priority: number(row, "priority"),
        attempts: number(row, "attempts"),
        crashes: number(row, "crashes"),
        run_us: number(row, "run_us"),
        created_us: number(row, "created_us"),
        published_us: number(row, "published_us"),
    }
}

fn attempt(row: &Value) -> Attempt {
    Attempt {
        job: number(row, "job_id"),
        account: word(row, "handle"),
        step: word(row, "step"),
        outcome: word(row, "outcome"),
        code: word(row, "code"),
        status: number(row, "http_status"),
        started_us: number(row, "started_us"),
        finished_us: number(row, "finished_us"),
    }
}

fn post(shown: &Value) -> Post {
    let media = shown["media"].as_array().into_iter().flatten();
    Post {
        id: word(shown, "id"),
        account: word(shown, "account"),
        text: word(shown, "text"),
        media: media
            .map(|item| (word(item, "sha256"), word(item, "alt_text")))
            .collect(),
        reply_to: shown["reply_to"].as_str().map(str::to_owned),
        at_us: number(shown, "received_at_us"),
    }
}

fn call(shown: &Value) -> Call {
    Call {
        route: word(shown, "route"),
        account: word(shown, "account"),
        status: number(shown, "status"),
        fault: word(shown, "fault"),
        at_us: number(shown, "received_at_us"),
    }
}

fn hashes(jobs: &[Job], folder: &Path) -> BTreeMap<String, String> {
    jobs.iter()
        .flat_map(|job| &job.files)
        .map(|name| (name.clone(), files::sha256(folder, name)))
        .collect()
}
