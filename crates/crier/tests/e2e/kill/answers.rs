//! SIGKILL while X's answer is on its way: X does what it was asked, and nobody hears of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ground::{Ground, LEASE_OVER, Wish};

const PATIENCE: Duration = Duration::from_mins(1);

async fn calls(ground: &Ground, route: &str) -> Vec<Value> {
    let calls = ground.stage.sim("GET", "/_sim/requests", "").await;
    let calls = calls.as_array().unwrap().iter();
    calls
        .filter(|call| call["route"] == route)
        .cloned()
        .collect()
}

/// Waits until so many calls of a route have come, and been done or not.
async fn came(ground: &Ground, route: &str, count: usize, is_done: bool) {
    let begin = Instant::now();
    loop {
        let calls = calls(ground, route).await;
        if calls.len() == count && (!is_done || calls[count - 1]["status"] != 0) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{route}: {calls:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_worker_killed_while_x_answers_leaves_exactly_the_posts_asked_for() {
    let mut ground = Ground::new(&[]).await;
    let scheduler = ground.start("scheduler", None);
    for (wish, route) in [
        (Wish::Text, "POST /2/tweets"),
        (Wish::Thread, "POST /2/tweets"),
        (Wish::Picture, "POST /2/media/upload/initialize"),
        (Wish::Video, "POST /2/media/upload/{id}/append"),
        (Wish::Video, "POST /2/media/upload/{id}/finalize"),
    ] {
        let before = calls(&ground, route).await.len();
        let slow = json!({"route": route, "kind": "slow", "delay_ms": 1_000});
        ground
            .stage
            .sim("POST", "/_sim/faults", &slow.to_string())
            .await;
        let case = ground.ask(wish).await;
        let mortal = ground.start("worker", None);
        came(&ground, route, before + 1, false).await;
        mortal.kill().await;
        let left = ground.left(&case).await;
        came(&ground, route, before + 1, true).await;
        ground.pass(LEASE_OVER).await;
        let heir = ground.start("worker", None);
        let ended = ground.ends(&case).await;
        heir.kill().await;
        if let Err(why) = ended {
            unreachable!("{wish}, {route}: {why}");
        }
        if let Err(why) = ground.check(wish, &case, &left).await {
            unreachable!("{wish}, {route}: {why}");
        }
        ground.pass(LEASE_OVER).await;
    }
    scheduler.kill().await;
    ground.done().await;
}
