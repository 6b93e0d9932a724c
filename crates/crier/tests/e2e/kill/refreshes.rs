//! A worker that dies, or stands still, at each point of a token's refresh: the grant lives, no refresh token is spent by two,
//! and the post goes out once.
//!
//! What X alone knows is lost with the process that was told: between X's answer and the file that holds it. It is said so,
//! and the account's jobs go on after a login.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ground::{Ground, LEASE_OVER, Wish};

const TOKEN: &str = "POST /2/oauth2/token";
/// The access token has ended, and the last refresh is long ago.
const EXPIRE: &str = "update crier.credentials set access_expires_at = crier.now() - interval '1 minute',
    rotated_at = crier.now() - interval '3 hours', refreshed_at = crier.now() - interval '3 hours' where kind = 'oauth2'";
/// Longer than whoever asked X is waited for.
const NOBODY_BRINGS_THEM: u32 = 700;
const PATIENCE: Duration = Duration::from_mins(1);
/// Short times, since what stands still goes by its own clock: by these a refresh token must leave within 3.5 s.
const SETTINGS: [(&str, &str); 3] = [
    ("CRIER__X__TIMEOUT_S", "5"),
    ("CRIER__X__CONNECT_TIMEOUT_S", "1"),
    ("CRIER__WORKER__LEASE_S", "30"),
];
const STANDS_STILL: Duration = Duration::from_millis(4_500);
/// So many points at a time.
const LANES: usize = 4;

/// A ground whose workers share a folder for rescued tokens.
async fn ground() -> Ground {
    let folder = std::env::temp_dir().join(format!("crier-e2e-rescue-{}", uuid::Uuid::new_v4()));
    let rescue = ("CRIER__SECRETS__RESCUE_DIR", folder.to_str().unwrap());
    Ground::new(&[SETTINGS.as_slice(), &[rescue]].concat()).await
}

/// Calls of the token endpoint, and how many of them rotated.
async fn calls(ground: &Ground) -> (usize, u64) {
    let made = ground.stage.sim("GET", "/_sim/requests", "").await;
    let made = made.as_array().unwrap().iter();
    let asked = made.filter(|call| call["route"] == TOKEN).count();
    let stats = ground.stage.sim("GET", "/_sim/stats", "").await;
    (asked, stats["refreshes"].as_u64().unwrap())
}

async fn account(ground: &Ground) -> Value {
    let query = "select a.status, a.reason ->> 'code' as code, c.version, c.refresh_doubt from crier.accounts a
                   join crier.credentials c on c.account_id = a.id and c.kind = 'oauth2'";
    ground.stage.rows(query).await.remove(0)
}

async fn ask(ground: &mut Ground) -> String {
    ground.stage.sql(EXPIRE).await;
    ground.ask(Wish::Text).await
}

/// One post is live, its job says so, and nothing is left in anybody's hands.
async fn check(ground: &Ground, case: &str) -> Result<(), String> {
    let posts = ground.stage.sim("GET", "/_sim/posts", "").await;
    let text = json!(format!("{case} a text"));
    let posts = posts.as_array().unwrap().iter();
    let ids: Vec<&Value> = posts
        .filter(|post| post["text"] == text)
        .map(|post| &post["id"])
        .collect();
    let query = format!(
        "select state, post_id, attempts, error from crier.jobs where text = '{case} a text'"
    );
    let job = ground.stage.rows(&query).await.remove(0);
    let wanted =
        json!({"state": "published", "post_id": ids.first(), "attempts": 1, "error": null});
    if ids.len() == 1 && job == wanted {
        return Ok(());
    }
    Err(format!("{} posts are live, the job is {job}", ids.len()))
}

/// The points of a refresh, in their order.
async fn points(ground: &mut Ground) -> Vec<String> {
    let case = ask(ground).await;
    let worker = ground.start("worker", Some("kill 1 none"));
    ground.ends(&case).await.unwrap();
    worker.kill().await;
    check(ground, &case).await.unwrap();
    ground.pass(LEASE_OVER).await;
    let mut points = ground.points();
    let of_refreshing = [
        "begin_refresh",
        "deployment",
        "ask_refresh",
        TOKEN,
        "file refreshed tokens",
        "commit refresh.rs",
    ];
    points.retain(|point| of_refreshing.iter().any(|part| point.contains(part)));
    let mut seen = std::collections::BTreeSet::new();
    points.retain(|point| seen.insert(point.clone()));
    points
}

/// Whether X has rotated by then, and nothing but the process knows to what.
fn is_known_to_it_alone(point: &str) -> bool {
    point == format!("after call {TOKEN}") || point == "before file refreshed tokens"
}

/// The account waits for a login, is told why, and gets one.
async fn log_in(ground: &Ground) -> Result<(), String> {
    let doubted = "select error ->> 'code' = 'rotation_in_doubt' as done from crier.jobs_open";
    ground.stage.until(doubted, PATIENCE).await;
    let before = account(ground).await;
    if before["status"] != "active" {
        return Err(format!("X's no was taken for one at once: {before}"));
    }
    ground.pass(NOBODY_BRINGS_THEM).await;
    let lost = "select status = 'needs_login' as done from crier.accounts";
    ground.stage.until(lost, PATIENCE).await;
    let after = account(ground).await;
    if after["code"] != "rotation_lost" {
        return Err(format!("it is not told what was lost: {after}"));
    }
    ground.stage.account("acme").await;
    Ok(())
}

async fn killed_at(ground: &mut Ground, point: &str) -> Result<(), String> {
    let (before, version) = (
        calls(ground).await,
        account(ground).await["version"].clone(),
    );
    let case = ask(ground).await;
    let mut mortal = ground.start("worker", Some(&format!("kill 1 {point}")));
    if !ground.dies(&case, &mut mortal).await? {
        return Err("it did not die there".to_owned());
    }
    ground.pass(LEASE_OVER).await;
    let heir = ground.start("worker", None);
    let is_lost = is_known_to_it_alone(point);
    if is_lost {
        log_in(ground).await?;
    }
    let ended = ground.ends(&case).await;
    heir.kill().await;
    ended?;
    check(ground, &case).await?;
    let (after, account) = (calls(ground).await, account(ground).await);
    // In the one doubt that is documented the old token is tried again: at once, and when nobody can bring the new ones any more.
    let (asked, rotated) = (after.0 - before.0, after.1 - before.1);
    if asked != if is_lost { 3 } else { 1 } || rotated != 1 {
        return Err(format!(
            "X was asked {asked} times and rotated {rotated} times"
        ));
    }
    let is_next = account["version"].as_i64() == version.as_i64().map(|version| version + 1);
    if account["status"] != "active" || !(is_next || is_lost) || !account["refresh_doubt"].is_null()
    {
        return Err(format!("version {version} became {account}"));
    }
    ground.pass(LEASE_OVER).await;
    Ok(())
}

/// What is done at each point, several at a time.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Killed,
    StoodStill,
}

async fn everywhere(deed: Deed) {
    let mut first = ground().await;
    let scheduler = first.start("scheduler", None);
    let points = points(&mut first).await;
    scheduler.kill().await;
    first.done().await;
    for needed in [
        "before statement begin_refresh",
        "after statement ask_refresh",
        "before body POST /2/oauth2/token",
        "after call POST /2/oauth2/token",
        "after file refreshed tokens",
        "before commit refresh.rs",
        "after commit refresh.rs",
    ] {
        let is_there = points.iter().any(|point| point.starts_with(needed));
        assert!(is_there, "{needed} is not among {points:?}");
    }
    let running: Vec<_> = (0..LANES)
        .map(|lane| {
            let mine: Vec<String> = points.iter().skip(lane).step_by(LANES).cloned().collect();
            tokio::spawn(async move {
                let mut ground = ground().await;
                let scheduler = ground.start("scheduler", None);
                for point in mine {
                    let done = match deed {
                        Deed::Killed => killed_at(&mut ground, &point).await,
                        Deed::StoodStill => stood_still_at(&mut ground, &point).await,
                    };
                    assert_eq!(done, Ok(()), "{point}");
                }
                scheduler.kill().await;
                ground.done().await;
            })
        })
        .collect();
    for one in running {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_each_point_of_a_refresh_leaves_a_grant_that_lives_and_one_post() {
    everywhere(Deed::Killed).await;
}

#[tokio::test]
async fn a_worker_killed_while_x_rotates_its_token_says_what_was_lost_and_posts_once_after_a_login()
{
    let mut ground = ground().await;
    let scheduler = ground.start("scheduler", None);
    let slow = json!({"route": TOKEN, "kind": "slow", "delay_ms": 1_000});
    ground
        .stage
        .sim("POST", "/_sim/faults", &slow.to_string())
        .await;
    let case = ask(&mut ground).await;
    let mortal = ground.start("worker", None);
    let begin = Instant::now();
    while calls(&ground).await.0 == 0 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mortal.kill().await;
    while calls(&ground).await.1 == 0 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ground.pass(LEASE_OVER).await;
    let heir = ground.start("worker", None);
    assert_eq!(log_in(&ground).await, Ok(()));
    assert_eq!(ground.ends(&case).await, Ok(()));
    heir.kill().await;
    assert_eq!(check(&ground, &case).await, Ok(()));
    assert_eq!(calls(&ground).await, (3, 1));
    scheduler.kill().await;
    ground.done().await;
}

async fn stood_still_at(ground: &mut Ground, point: &str) -> Result<(), String> {
    let (before, version) = (
        calls(ground).await,
        account(ground).await["version"].clone(),
    );
    let case = ask(ground).await;
    let zombie = ground.start("worker", Some(&format!("stop 1 {point}")));
    let begin = Instant::now();
    while !zombie.is_stopped() {
        if begin.elapsed() > PATIENCE {
            return Err("it never stood still".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stopped = Instant::now();
    ground.pass(LEASE_OVER + 10).await;
    let heir = ground.start("worker", None);
    let is_doubtful = is_known_to_it_alone(point);
    if is_doubtful {
        let doubted = "select error ->> 'code' = 'rotation_in_doubt' as done from crier.jobs_open";
        ground.stage.until(doubted, PATIENCE).await;
    } else {
        ground.ends(&case).await?;
    }
    tokio::time::sleep(STANDS_STILL.saturating_sub(stopped.elapsed())).await;
    zombie.signal("CONT").await;
    if is_doubtful {
        let brought = format!(
            "select version > {version} as done from crier.credentials where kind = 'oauth2'"
        );
        ground.stage.until(&brought, PATIENCE).await;
        ground.pass(NOBODY_BRINGS_THEM).await;
        ground.ends(&case).await?;
    }
    // It ends when what it was at has ended.
    zombie.stop().await;
    heir.kill().await;
    check(ground, &case).await?;
    let (after, account) = (calls(ground).await, account(ground).await);
    let (asked, rotated) = (after.0 - before.0, after.1 - before.1);
    if asked != if is_doubtful { 2 } else { 1 } || rotated != 1 {
        return Err(format!(
            "X was asked {asked} times and rotated {rotated} times"
        ));
    }
    let is_next = account["version"].as_i64() == version.as_i64().map(|version| version + 1);
    if account["status"] != "active" || !is_next {
        return Err(format!("version {version} became {account}"));
    }
    ground.pass(LEASE_OVER).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_in_a_refresh_for_longer_than_its_lease_spends_no_token_of_another()
 {
    everywhere(Deed::StoodStill).await;
}

#[tokio::test]
async fn a_worker_that_stands_still_between_a_401_and_its_second_call_sends_nothing_under_a_lost_lease()
 {
    let mut ground = ground().await;
    let scheduler = ground.start("scheduler", None);
    let refused = json!({"route": "POST /2/tweets", "kind": "answer", "status": 401, "body": {"title": "Unauthorized", "status": 401}});
    ground
        .stage
        .sim("POST", "/_sim/faults", &refused.to_string())
        .await;
    let case = ground.ask(Wish::Text).await;
    // New tokens are there; the lease is proved once more before they are used.
    let zombie = ground.start("worker", Some("stop 1 before statement renew"));
    let begin = Instant::now();
    while !zombie.is_stopped() {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(calls(&ground).await, (1, 1));
    ground.pass(LEASE_OVER).await;
    let heir = ground.start("worker", None);
    assert_eq!(ground.ends(&case).await, Ok(()));
    heir.kill().await;
    zombie.signal("CONT").await;
    zombie.stop().await;
    let posts = ground.stage.sim("GET", "/_sim/posts", "").await;
    assert_eq!(posts.as_array().unwrap().len(), 1, "{posts}");
    scheduler.kill().await;
    ground.done().await;
}
