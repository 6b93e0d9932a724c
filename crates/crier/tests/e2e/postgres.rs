//! Whatever Postgres does, or is made to do: nothing is lost, nothing goes out twice, and crier goes on by itself.

pub(crate) mod cluster;
mod full;
mod pooler;
mod restart;
mod skew;
mod unwilling;
pub(crate) mod watched;

use serde_json::Value;

use crate::support::Stage;

const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

/// Every job is published, has the post of its own text, and X has no other.
async fn each_job_has_its_post(stage: &Stage) {
    let pair = |row: &Value| {
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (word("text"), word("id"))
    };
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let mut live: Vec<_> = posts.as_array().unwrap().iter().map(pair).collect();
    let jobs = stage
        .rows("select text, post_id as id from crier.jobs")
        .await;
    let mut held: Vec<_> = jobs.iter().map(pair).collect();
    live.sort();
    held.sort();
    assert_eq!(live, held);
}
