//! The server goes away and comes back; its sessions are ended; it freezes.

use std::time::Duration;

use serde_json::json;

use super::cluster::Cluster;
use super::watched::{QUICK, Watched};
use super::{ALL_PUBLISHED, each_job_has_its_post};
use crate::media::files::{Files, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
/// A lease that outlives every outage here: the outcome must be written, not looked up.
const LONG_LEASE: (&str, &str) = ("CRIER__WORKER__LEASE_S", "300");
/// Scheduler and worker of each process listen for notifications, each by a session of its own.
const BOTH_LISTEN: &str = "select count(distinct pid) >= 4 as done from pg_stat_activity where application_name = 'crier' and query ilike 'listen%'";
const ONE_LEADS: &str =
    "select count(*) = 1 as done from crier.leader where expires_at > crier.now()";
const SENDING: &str = "select count(*) = 1 as done from crier.leases where phase = 'sending'";

const LOOKING: &str = "select count(*) = 1 as done from crier.leases where kind = 'reconcile'";
const APPENDING: &str = "select count(*) = 1 as done from crier.leases where kind = 'stage'";

/// Until X has this many posts.
async fn until_posted(stage: &Stage, count: usize) {
    let begin = std::time::Instant::now();
    while stage
        .sim("GET", "/_sim/posts", "")
        .await
        .as_array()
        .unwrap()
        .len()
        < count
    {
        assert!(begin.elapsed() < SOON, "X has fewer than {count} posts");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_restart_of_postgres_loses_nothing_and_posts_nothing_twice() {
    // A server that forgets what was not asked to last: who loses the intent sends twice.
    let mut cluster = Cluster::start(&["synchronous_commit=off", "wal_writer_delay=10s"]).await;
    let stage = Stage::on(cluster.url(), &json!({})).await;
    for handle in ["acme", "other"] {
        stage.account(handle).await;
    }
    stage
        .sim(
            "POST",
            "/_sim/faults",
            r#"{"route": "POST /2/tweets", "kind": "slow", "delay_ms": 3000, "account": "acme", "times": 1}"#,
        )
        .await;
    stage
        .sql("set local synchronous_commit = on; insert into crier.jobs (account, text) values ('acme', 'in flight')")
        .await;
    let settings = [&QUICK[..], &[LONG_LEASE]].concat();
    let roles = [
        Watched::start(&stage, "run", &settings),
        Watched::start(&stage, "run", &settings),
    ];
    for role in &roles {
        role.until_ready_is(&stage, true).await;
    }
    stage.until(SENDING, SOON).await;
    cluster.stop_at_once().await;
    // X accepts it while there is nobody to tell.
    until_posted(&stage, 1).await;
    for role in &roles {
        let page = role.until_ready_is(&stage, false).await;
        assert!(page.contains("database"), "{page}");
        role.until_said("trying again").await;
    }
    cluster.run().await;
    for role in &roles {
        role.until_ready_is(&stage, true).await;
    }
    stage.until(ALL_PUBLISHED, SOON).await;
    let ledger = stage
        .rows("select step, outcome from crier.attempts order by id")
        .await;
    assert_eq!(
        ledger,
        [json!({"step": "publish", "outcome": "published"})],
        "the outcome was written, not looked up"
    );
    stage.until(BOTH_LISTEN, SOON).await;
    stage.until(ONE_LEADS, SOON).await;
    stage
        .sql("insert into crier.jobs (account, text) select a, 'after ' || n from unnest(array['acme', 'other']) a, generate_series(1, 3) n")
        .await;
    // Sessions are ended again and again meanwhile, as by a failover.
    for _ in 0..5 {
        stage
            .sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'crier'")
            .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    stage.until(BOTH_LISTEN, SOON).await;
    for role in roles {
        role.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn what_a_restart_broke_off_goes_on_at_once_and_is_nobodys_fault() {
    let mut cluster = Cluster::start(&[]).await;
    let stage = Stage::on(cluster.url(), &json!({})).await;
    for handle in ["uploads", "unknown"] {
        stage.account(handle).await;
    }
    let files = Files::new();
    files.put("a.png", &png(9_000));
    for fault in [
        json!({"route": "POST /2/media/upload/{id}/append", "kind": "slow", "delay_ms": 1500, "times": 1}),
        json!({"route": "POST /2/tweets", "kind": "answer_lost", "account": "unknown", "times": 1}),
        json!({"route": "GET /2/users/{id}/tweets", "kind": "slow", "delay_ms": 1500, "times": 1}),
    ] {
        stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
    }
    stage
        .sql("insert into crier.jobs (account, text) values ('unknown', 'looked for')")
        .await;
    let root = files.folder();
    let settings = [&QUICK[..], &[LONG_LEASE, ("CRIER__MEDIA__ROOT", &root)]].concat();
    let role = Watched::start(&stage, "run", &settings);
    role.until_ready_is(&stage, true).await;
    stage.until(LOOKING, SOON).await;
    cluster.stop_at_once().await;
    role.until_said("the look was dropped").await;
    cluster.run().await;
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('uploads', 'with it', '[{"path": "a.png"}]')"#)
        .await;
    stage.until(APPENDING, SOON).await;
    cluster.stop_at_once().await;
    role.until_said("what became of a step (stage) cannot be written")
        .await;
    cluster.run().await;
    // Their leases would have kept them for five minutes.
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    let crashes = stage
        .rows("select 1 from crier.media_uploads where crashes > 0 union all select 1 from crier.jobs where crashes > 0")
        .await;
    assert!(crashes.is_empty(), "{crashes:?}");
    role.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_holds_nobody_for_ever() {
    let cluster = Cluster::start(&[]).await;
    let stage = Stage::on(cluster.url(), &json!({})).await;
    stage.account("acme").await;
    let role = Watched::start(&stage, "run", &QUICK);
    role.until_ready_is(&stage, true).await;
    // As if its machine had vanished: connections stand, and nobody answers.
    cluster.signal_all("-STOP").await;
    let page = role.until_ready_is(&stage, false).await;
    assert!(page.contains("no answer"), "{page}");
    // What hung is given up, and the loops come round.
    role.until_said("the server answers nothing").await;
    let healthy = role.page(&stage, "/healthz").await;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
    cluster.signal_all("-CONT").await;
    role.until_ready_is(&stage, true).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'after the silence')")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    role.stop().await;
    stage.done().await;
}
