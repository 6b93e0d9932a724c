//! The disk is full: real errors of a real server, whose files may not grow.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::watched::{QUICK, Watched};
use super::{ALL_PUBLISHED, each_job_has_its_post};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(2);
/// Fills `crier.posts` to the last byte, so that no outcome of a published post can be written.
async fn fill(stage: &Stage, cluster: &Cluster, round: i64) {
    let size = stage
        .rows("select pg_relation_size('crier.posts') as size")
        .await;
    // Half a page more: the server then writes what fits and says that the disk is full.
    let limit = size[0]["size"].as_i64().unwrap() / 8192 * 8192 + 4096;
    cluster.limit_files(&limit.to_string()).await;
    // Each session remembers the page that it filled last; after a change of the table all begin at the last one.
    stage
        .sql("alter table crier.posts set (fillfactor = 100)")
        .await;
    let mut refused = 0;
    for n in 0..10_000 {
        let id = -1_000_000 * round - n;
        let row = format!("insert into crier.posts values ('{id}', {id}, -1, now())");
        let Err(error) = stage.tried(&row).await else {
            refused = 0;
            continue;
        };
        assert!(
            error.to_string().contains("could not extend file"),
            "{error}"
        );
        refused += 1;
        if refused == 10 {
            return;
        }
    }
    panic!("the file went on growing");
}

async fn insert(stage: &Stage, text: &str) {
    let row = format!("insert into crier.jobs (account, text) values ('acme', '{text}')");
    stage.sql(&row).await;
}

async fn posts(stage: &Stage) -> usize {
    let posts: Value = stage.sim("GET", "/_sim/posts", "").await;
    posts.as_array().unwrap().len()
}

#[tokio::test]
async fn a_post_that_was_sent_when_the_disk_filled_is_known_again_and_not_sent_twice() {
    let cluster = Cluster::start(&[]).await;
    let stage = Stage::on(cluster.url(), &json!({})).await;
    stage.account("acme").await;
    // Beyond the size of a segment of the log, which must go on being written.
    stage
        .sql("insert into crier.posts select -n, -n, -1, now() from generate_series(1, 30000) n")
        .await;
    let role = Watched::start(&stage, "run", &QUICK);
    role.until_ready_is(&stage, true).await;
    // Everything up to the create call can be written, and what came of it cannot.
    fill(&stage, &cluster, 1).await;
    insert(&stage, "sent when the disk filled").await;
    role.until_said("what X answered cannot be written").await;
    assert!(
        role.said().contains("could not extend file"),
        "{}",
        role.said()
    );
    assert_eq!(posts(&stage).await, 1);
    cluster.limit_files("unlimited").await;
    // By itself, from the process that knows the post's id.
    stage.until(ALL_PUBLISHED, SOON).await;
    let looked = stage
        .rows("select 1 as looked from crier.attempts where step = 'reconcile'")
        .await;
    assert_eq!(looked, [json!(null); 0], "nothing had to be looked up");

    // The same, and then the only process that knows the post dies.
    fill(&stage, &cluster, 2).await;
    insert(&stage, "known to nobody").await;
    let begin = Instant::now();
    while posts(&stage).await < 2 {
        assert!(begin.elapsed() < SOON, "X did not get the second post");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let open = stage
        .rows("select count(*) as n from crier.jobs where state = 'scheduled'")
        .await;
    role.kill().await;
    assert_eq!(open, [json!({"n": 1})], "the outcome is nowhere");
    cluster.limit_files("unlimited").await;
    let role = Watched::start(&stage, "run", &QUICK);
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert_eq!(posts(&stage).await, 2);
    role.stop().await;
    stage.done().await;
}
