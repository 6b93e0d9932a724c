//! SIGSTOP for longer than the lease, then SIGCONT: the zombie sends nothing, or what it sent is all that there is.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ground::{Ground, LEASE_OVER, Wish};
use crate::support::Role;

/// Short times, since a zombie goes by its own clock, which no test moves: by these a call must leave within 3.5 s of its
/// intent.
const SETTINGS: [(&str, &str); 3] = [
    ("CRIER__X__TIMEOUT_S", "5"),
    ("CRIER__X__CONNECT_TIMEOUT_S", "1"),
    ("CRIER__WORKER__LEASE_S", "30"),
];
/// A process stands still at least so long: what recording the intent and connecting may take, and some.
const STANDS_STILL: Duration = Duration::from_millis(4_500);
const PATIENCE: Duration = Duration::from_mins(1);

struct Yard {
    ground: Ground,
    scheduler: Role,
}

impl Yard {
    async fn new() -> Self {
        let ground = Ground::new(&SETTINGS).await;
        let scheduler = ground.start("scheduler", None);
        Self { ground, scheduler }
    }

    /// The points of one post, from its claim to its outcome.
    async fn path(&mut self, wish: Wish) -> BTreeSet<String> {
        let case = self.ground.ask(wish).await;
        let worker = self.ground.start("worker", Some("stop 1 none"));
        self.ground.ends(&case).await.unwrap();
        worker.kill().await;
        let points = self.ground.points();
        let at = |what: &str| {
            points
                .iter()
                .position(|point| point.starts_with(what))
                .unwrap_or_else(|| unreachable!("{what} is not among {points:?}"))
        };
        let (claim, call) = (at("before commit claim.rs"), at("after call POST /"));
        let end = call + 8;
        // Between two of these nothing becomes durable and nothing leaves.
        let deeds = points[claim..end.min(points.len())].iter();
        deeds
            .filter(|point| {
                ["commit", "call", "body"]
                    .iter()
                    .any(|deed| point.split(' ').nth(1) == Some(*deed))
            })
            .cloned()
            .collect()
    }

    async fn run(&mut self, wish: Wish, point: &str) -> Result<(), String> {
        let case = self.ground.ask(wish).await;
        let order = format!("stop 1 {point}");
        let zombie = self.ground.start("worker", Some(&order));
        let begin = Instant::now();
        while !zombie.is_stopped() {
            if begin.elapsed() > PATIENCE {
                return Err("it never stood still".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stopped = Instant::now();
        let left = self.ground.left(&case).await;
        self.ground.pass(LEASE_OVER).await;
        let heir = self.ground.start("worker", None);
        self.ground.ends(&case).await?;
        heir.kill().await;
        tokio::time::sleep(STANDS_STILL.saturating_sub(stopped.elapsed())).await;
        zombie.signal("CONT").await;
        // It ends when what it was at has ended.
        zombie.stop().await;
        self.ground.check(wish, &case, &left).await?;
        self.ground.pass(LEASE_OVER).await;
        Ok(())
    }
}

/// Each point of the path of a post, several at a time.
async fn stand_still_everywhere(yards: Vec<Yard>, cases: Vec<(Wish, String)>) {
    let queue = Arc::new(Mutex::new(VecDeque::from(cases)));
    let running: Vec<_> = yards
        .into_iter()
        .map(|mut yard| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut failures = Vec::new();
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some((wish, point)) = next else { break };
                    if let Err(why) = yard.run(wish, &point).await {
                        failures.push(format!("{wish}: stop 1 {point}: {why}"));
                        yard = Yard::new().await;
                    }
                }
                yard.scheduler.kill().await;
                yard.ground.done().await;
                failures
            })
        })
        .collect();
    let mut failures = Vec::new();
    for one in running {
        failures.extend(one.await.unwrap());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_at_any_point_for_longer_than_its_lease_sends_nothing_twice() {
    let mut yards = Vec::new();
    for one in (0..4)
        .map(|_| tokio::spawn(Yard::new()))
        .collect::<Vec<_>>()
    {
        yards.push(one.await.unwrap());
    }
    let points = yards[0].path(Wish::Text).await;
    for needed in [
        "after commit claim.rs",
        "before commit settle.rs",
        "after commit settle.rs",
        "before call POST /2/tweets",
        "before body POST /2/tweets",
        "after call POST /2/tweets",
    ] {
        assert!(
            points.iter().any(|point| point.starts_with(needed)),
            "{needed} is not among {points:?}"
        );
    }
    let cases = points
        .into_iter()
        .map(|point| (Wish::Text, point))
        .collect();
    stand_still_everywhere(yards, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_v1_that_stands_still_before_it_is_written_is_not_sent_late() {
    // One each: what is signed must not be older than five minutes by X's clock, which moves.
    let yards = [Yard::new().await, Yard::new().await];
    for yard in &yards {
        yard.ground
            .stage
            .done_by(&["accounts", "publisher", "acme", "v1_update_with_media"])
            .await;
    }
    let call = "POST /1.1/statuses/update_with_media";
    let cases = [format!("before call {call}"), format!("before body {call}")]
        .map(|point| (Wish::Snapshot, point))
        .to_vec();
    stand_still_everywhere(yards.into(), cases).await;
}
