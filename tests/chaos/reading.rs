//! Reads what both sides say in the end.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::files;
use crate::run::World;
use crate::truth::{Attempt, Call, Job, Post, Truth};

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> i64 {
    value[key].as_i64().unwrap_or_default()
}

const JOBS: &str =
    "select id, dedupe_key, account, text, state, error ->> 'code' as code, post_id, after, media,
      campaign is not null as is_in_campaign, priority, attempts,
      greatest(crashes, (select max(u.crashes) from crier.media_uploads u where u.job_id = jobs.id),
        (select r.crashes from crier.reconciles r where r.job_id = jobs.id)) as crashes,
      (extract(epoch from run_at) * 1000000)::bigint as run_us,
      (extract(epoch from created_at) * 1000000)::bigint as created_us,
      (extract(epoch from published_at) * 1000000)::bigint as published_us
    from crier.jobs order by id";

const ATTEMPTS: &str = "select t.job_id, a.handle, t.step, t.outcome, t.code, t.http_status,
      (extract(epoch from t.started_at) * 1000000)::bigint as started_us,
      (extract(epoch from t.finished_at) * 1000000)::bigint as finished_us
    from crier.attempts t join crier.accounts a on a.id = t.account_id order by t.id";

/// Reads both sides once all is at its end.
pub(crate) async fn truth(world: &World) -> Truth {
    let store = &world.ground.store;
    let jobs = store.select_json(JOBS).await.unwrap();
    let jobs: Vec<Job> = jobs.iter().map(job).collect();
    let attempts = store.select_json(ATTEMPTS).await.unwrap();
    let hashes = hashes(&jobs, &world.ground.media);
    Truth {
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
