//! A person's command that is killed at each point and given again: a post is deleted once and no other, a job that failed goes
//! out once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(1);
/// More jobs than a command has points.
const JOBS: usize = 40;

async fn stage(script: &Value) -> Stage {
    let stage = Stage::new(script).await;
    stage.account("acme").await;
    let jobs = format!(
        "insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, {JOBS}) n"
    );
    stage.sql(&jobs).await;
    stage
}

/// Starts `run` until all jobs have come to this state.
async fn until_all_are(stage: &Stage, wanted: &str) {
    let crier = stage.start_with("run", &[("CRIER__WORKER__POLL_MS", "30")]);
    let all = format!("select bool_and(state = '{wanted}') as done from crier.jobs");
    stage.until(&all, SOON).await;
    crier.stop().await;
}

/// Kills a command at each of its points, each for a job of its own, and gives it again; answers how many jobs it was given for.
async fn killed_everywhere(stage: &Stage, verb: &str, more: &[&str], needed: &[&str]) -> usize {
    let log = std::env::temp_dir().join(format!("crier-e2e-command-{}", uuid::Uuid::new_v4()));
    let command = |job: usize| {
        let job = job.to_string();
        stage.command(&[["jobs", verb, job.as_str()].as_slice(), more].concat())
    };
    let first = command(1)
        .env("CRIER_FAILPOINT_LOG", &log)
        .output()
        .await
        .unwrap();
    assert!(first.status.success(), "{first:?}");
    let mut seen = BTreeSet::new();
    let points = std::fs::read_to_string(&log).unwrap();
    let points: Vec<&str> = points
        .lines()
        .filter(|point| !point.starts_with("before begin") && seen.insert(*point))
        .collect();
    let _ = std::fs::remove_file(&log);
    for needed in needed {
        let is_there = points.iter().any(|point| point.starts_with(needed));
        assert!(is_there, "{needed} is not among {points:#?}");
    }
    assert!(points.len() < JOBS, "{points:#?}");
    for (point, job) in points.iter().zip(2..) {
        let mut mortal = command(job);
        mortal.env("CRIER_FAILPOINT", format!("kill 1 {point}"));
        let mut mortal = Role::spawn(mortal.stdout(std::process::Stdio::null()));
        assert_eq!(mortal.end().await.code(), None, "{verb}: {point}: a signal");
        // Whatever it says: what was done already may be refused.
        let again = command(job).output().await.unwrap();
        assert!(
            again.status.code().is_some_and(|code| code < 2),
            "{again:?}"
        );
    }
    points.len() + 1
}

fn texts(numbers: impl Iterator<Item = usize>) -> BTreeSet<String> {
    numbers.map(|n| format!("post {n}")).collect()
}

async fn live(stage: &Stage) -> Vec<String> {
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let posts = posts.as_array().unwrap().iter();
    posts
        .map(|post| post["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_deletion_killed_at_each_point_and_asked_for_again_takes_its_post_and_no_other() {
    let stage = stage(&json!({})).await;
    until_all_are(&stage, "published").await;
    let needed = [
        "before call DELETE /2/tweets/{id}",
        "after call DELETE /2/tweets/{id}",
        "before commit unpublish.rs",
        "after commit unpublish.rs",
    ];
    let done = killed_everywhere(&stage, "unpublish", &["--yes"], &needed).await;
    let live = live(&stage).await;
    let left: BTreeSet<String> = live.iter().cloned().collect();
    assert_eq!(left, texts(done + 1..=JOBS));
    let told = stage
        .rows(
            "select count(*) as jobs, count(distinct job_id) as once, (select count(*) from crier.posts where deleted_at is not null) as gone
               from crier.attempts where step = 'unpublish' and outcome = 'unpublished'",
        )
        .await;
    assert_eq!(told, [json!({"jobs": done, "once": done, "gone": done})]);
    stage.done().await;
}

#[tokio::test]
async fn a_retry_killed_at_each_point_and_given_again_sends_its_post_once() {
    let refused = json!({"route": "POST /2/tweets", "kind": "answer", "status": 400, "times": JOBS,
        "body": {"title": "Invalid Request", "detail": "no", "status": 400}});
    let stage = stage(&json!({"faults": [refused], "duplicate_window_s": 0})).await;
    until_all_are(&stage, "failed").await;
    let needed = ["before statement retry_job", "after statement retry_job"];
    let done = killed_everywhere(&stage, "retry", &[], &needed).await;
    stage
        .sql("delete from crier.jobs where state = 'failed'")
        .await;
    until_all_are(&stage, "published").await;
    let mut live = live(&stage).await;
    live.sort();
    let wanted: Vec<String> = texts(1..=done).into_iter().collect();
    assert_eq!(live, wanted);
    stage.done().await;
}
