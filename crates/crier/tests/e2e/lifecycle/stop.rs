//! SIGTERM: within its deadline, with exit code 0, at whatever step; and restarts in turns under load.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";

async fn texts(stage: &Stage) -> Vec<String> {
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let posts: &Vec<Value> = posts.as_array().unwrap();
    let mut texts: Vec<String> = posts
        .iter()
        .map(|post| post["text"].as_str().unwrap().to_owned())
        .collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn what_is_claimed_and_not_sent_goes_back_at_once_and_costs_nothing() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    // The token is to be refreshed first, which takes its time: nothing is sent yet.
    stage
        .sql("update crier.credentials set access_expires_at = crier.now() - interval '1 minute'")
        .await;
    let slow = r#"{"route": "POST /2/oauth2/token", "kind": "slow", "delay_ms": 2500}"#;
    stage.sim("POST", "/_sim/faults", slow).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'once')")
        .await;
    let scheduler = stage.start("scheduler");
    let worker = stage.start("worker");
    stage
        .until(
            "select exists (select 1 from crier.leases where kind = 'refresh') as done",
            SOON,
        )
        .await;
    worker.stop().await;
    let left = stage
        .rows(
            "select state, attempts, crashes, error->>'code' as code, (select count(*) from crier.leases) as leases,
                    (select next_at <= crier.now() from crier.lanes) as claimable,
                    (select access_expires_at > crier.now() from crier.credentials where kind = 'oauth2') as fresh from crier.jobs",
        )
        .await;
    assert_eq!(
        left,
        [
            json!({"state": "scheduled", "attempts": 0, "crashes": 0, "code": "shutdown", "leases": 0, "claimable": true, "fresh": true})
        ],
        "the next worker waits for no lease, and the token that X rotated is kept"
    );
    assert_eq!(texts(&stage).await, [""; 0]);
    let next = stage.start("worker");
    stage.until(ALL_PUBLISHED, SOON).await;
    let attempts = stage.rows("select attempts from crier.jobs").await;
    assert_eq!(attempts, [json!({"attempts": 1})]);
    assert_eq!(texts(&stage).await, ["once"]);
    next.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_within_the_deadline_and_looked_up() {
    let stage = Stage::new(&json!({})).await;
    for account in ["acme", "other"] {
        stage.account(account).await;
    }
    let hang =
        r#"{"route": "POST /2/tweets", "kind": "slow", "delay_ms": 9000, "account": "acme"}"#;
    stage.sim("POST", "/_sim/faults", hang).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'hangs'), ('acme', 'the next'), ('other', 'goes')")
        .await;
    let scheduler = stage.start("scheduler");
    let settings = [
        ("CRIER__WORKER__STOP_GRACE_S", "6"),
        ("CRIER__WORKER__FIRST_LOOK_S", "1"),
        ("CRIER__WORKER__LOOK_WAITS_S", "[4, 4, 4, 4]"),
    ];
    let worker = stage.start_with("worker", &settings);
    stage
        .until(
            "select exists (select 1 from crier.leases where phase = 'sending' and subject = 1) and exists (select 1 from crier.posts) as done",
            SOON,
        )
        .await;
    // The call may take 30 s, the stop 6: it must end by itself, and well.
    worker.stop().await;
    let left = stage
        .rows("select state, attempts, crashes, error->>'code' as code, (select count(*) from crier.leases) as leases from crier.jobs where id = 1")
        .await;
    assert_eq!(
        left,
        [
            json!({"state": "unknown", "attempts": 1, "crashes": 0, "code": "no_answer", "leases": 0})
        ],
        "whoever comes next looks it up, and waits for no lease"
    );
    let next = stage.start_with("worker", &settings);
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(texts(&stage).await, ["goes", "hangs", "the next"]);
    next.stop().await;
    scheduler.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn each_role_ends_at_once_when_it_has_nothing_to_do_and_leadership_is_given_back() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let first = stage.start("scheduler");
    stage
        .until("select count(*) = 1 as done from crier.leader", SOON)
        .await;
    let roles = [
        stage.start("worker"),
        stage.start("exporter"),
        stage.start("run"),
        stage.start("scheduler"),
    ];
    stage
        .until("select count(*) = 5 as done from crier.workers", SOON)
        .await;
    let holder = stage.rows("select holder from crier.leader").await;
    first.stop().await;
    // Given back, not run out: another leads long before the lease of 5 s would have ended.
    let free = stage
        .rows("select holder, expires_at < crier.now() as free from crier.leader")
        .await;
    assert!(
        free[0]["free"] == true || free[0]["holder"] != holder[0]["holder"],
        "{free:?}"
    );
    for role in roles {
        role.stop().await;
    }
    stage.done().await;
}

#[tokio::test]
async fn rolling_restarts_lose_and_burn_nothing() {
    let slow = json!({"route": "POST /2/tweets", "kind": "slow", "delay_ms": 120, "times": 1000});
    let stage = Stage::new(&json!({"faults": [slow]})).await;
    for account in ["a", "b", "c", "d"] {
        stage.account(account).await;
    }
    let mut roles = Vec::new();
    for role in ["scheduler", "worker", "scheduler", "worker"] {
        roles.push((role, stage.start(role)));
    }
    stage
        .until("select count(*) = 4 as done from crier.workers", SOON)
        .await;
    // A stream: each account has a job every 150 ms, over longer than the restarts take.
    stage
        .sql(
            "insert into crier.jobs (account, text, run_at)
             select chr(97 + n % 4), 'post ' || n, crier.now() + n * interval '40 milliseconds' from generate_series(1, 150) n",
        )
        .await;
    let begin = Instant::now();
    let mut restarts = 0;
    while begin.elapsed() < Duration::from_secs(6) || restarts < 4 {
        let (role, old) = roles.remove(0);
        old.stop().await;
        roles.push((role, stage.start(role)));
        restarts += 1;
    }
    stage.until(ALL_PUBLISHED, SOON).await;
    let jobs = stage
        .rows("select count(*) as n, max(attempts) as attempts, max(crashes) as crashes, max(published_at - run_at) < interval '40 seconds' as in_time from crier.jobs")
        .await;
    assert_eq!(
        jobs,
        [json!({"n": 150, "attempts": 1, "crashes": 0, "in_time": true})],
        "after {restarts} restarts"
    );
    let mut wanted: Vec<String> = (1..=150).map(|n| format!("post {n}")).collect();
    wanted.sort();
    assert_eq!(texts(&stage).await, wanted, "each once");
    for (_, role) in roles {
        role.stop().await;
    }
    stage.done().await;
}

/// A way to the database that can be cut.
async fn way_to(database: &str) -> (String, tokio::task::JoinHandle<()>) {
    let (front, rest) = database.split_once('@').unwrap();
    let (there, name) = rest.split_once('/').unwrap();
    let there = there.to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{front}@{}/{name}", listener.local_addr().unwrap());
    let way = tokio::spawn(async move {
        let mut ways = tokio::task::JoinSet::new();
        loop {
            let (mut here, _) = listener.accept().await.unwrap();
            let mut there = tokio::net::TcpStream::connect(&there).await.unwrap();
            ways.spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    (url, way)
}

#[tokio::test]
async fn with_the_database_gone_a_worker_ends_in_time_all_the_same_and_its_post_is_found() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let slow = r#"{"route": "POST /2/tweets", "kind": "slow", "delay_ms": 1500}"#;
    stage.sim("POST", "/_sim/faults", slow).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'once')")
        .await;
    let (url, way) = way_to(&stage.url).await;
    let scheduler = stage.start("scheduler");
    let looks = [
        ("CRIER__WORKER__FIRST_LOOK_S", "1"),
        ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
    ];
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("CRIER__WORKER__STOP_GRACE_S", "5"),
    ];
    let mut worker = stage.start_with("worker", &settings);
    stage
        .until(
            "select exists (select 1 from crier.leases where phase = 'sending') as done",
            SOON,
        )
        .await;
    way.abort();
    worker.terminate().await;
    // What it could not write down is no reason to stay, nor is it a good end.
    let begin = Instant::now();
    assert_eq!(worker.end().await.code(), Some(3));
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    stage
        .sql("update crier.clock set shift = shift + interval '2 minutes'")
        .await;
    let next = stage.start_with("worker", &looks);
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(texts(&stage).await, ["once"]);
    next.stop().await;
    scheduler.stop().await;
    stage.done().await;
}
