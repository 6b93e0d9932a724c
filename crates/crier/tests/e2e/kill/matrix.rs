//! SIGKILL at each point, of a worker and of a scheduler: what the dead one was at is found by the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use super::ground::{Ground, LEADER_OVER, LEASE_OVER, Wish};
use crate::support::Role;

/// One case: what is asked for, and where the process dies.
#[derive(Debug, Clone)]
struct Case {
    wish: Wish,
    order: String,
    /// What it is called, and how it is named to be done alone.
    name: String,
}

impl Case {
    fn new(wish: Wish, times: usize, point: &str) -> Self {
        let order = format!("kill {times} {point}");
        let name = format!("{wish}: {order}");
        Self { wish, order, name }
    }
}

/// Cases from the points of a run: the first time that each was reached, and for calls and commits the last, too. What
/// idle processes do again and again has no last time, and one wish in which they die of it is enough.
fn cases(wish: Wish, points: &[String], seen: &mut BTreeSet<String>) -> Vec<Case> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for point in points {
        *times.entry(point).or_default() += 1;
    }
    let mut cases = Vec::new();
    for (point, times) in times {
        // Nothing has become durable since the point before.
        if point.starts_with("before begin") {
            continue;
        }
        let is_deed = ["call", "body", "commit"]
            .iter()
            .any(|deed| point.split(' ').nth(1) == Some(*deed));
        if seen.insert(point.to_owned()) || is_deed {
            cases.push(Case::new(wish, 1, point));
        }
        if times > 1 && is_deed {
            cases.push(Case::new(wish, times, point));
        }
    }
    cases
}

/// The case that is asked for alone, if one is.
#[expect(
    clippy::disallowed_methods,
    reason = "a person asks for one case by the environment, as for everything else of the tests"
)]
fn only() -> Option<String> {
    std::env::var("CRIER_KILL_ONLY").ok()
}

/// Who dies, and who lives on beside it.
#[derive(Debug, Clone, Copy)]
struct Cast {
    mortal: &'static str,
    other: &'static str,
    /// How long the dead one is still counted on.
    over: u32,
}

const WORKER: Cast = Cast {
    mortal: "worker",
    other: "scheduler",
    over: LEASE_OVER,
};
const SCHEDULER: Cast = Cast {
    mortal: "scheduler",
    other: "worker",
    over: LEADER_OVER,
};

struct Lane {
    ground: Ground,
    other: Role,
    cast: Cast,
}

impl Lane {
    async fn new(cast: Cast) -> Self {
        let ground = Ground::new(&[]).await;
        let other = ground.start(cast.other, None);
        Self {
            ground,
            other,
            cast,
        }
    }

    /// The points that the mortal one reaches where nothing goes wrong.
    async fn record(&mut self, wish: Wish) -> Vec<String> {
        let case = self.ground.ask(wish).await;
        // A point that is none: it only writes down.
        let mortal = self.ground.start(self.cast.mortal, Some("kill 1 none"));
        self.ground.ends(&case).await.unwrap();
        mortal.kill().await;
        let points = self.ground.points();
        self.ground.check(wish, &case, &[]).await.unwrap();
        self.ground.pass(self.cast.over).await;
        points
    }

    /// True if the process died where it was to.
    async fn run(&mut self, case: &Case) -> Result<bool, String> {
        let asked = self.ground.ask(case.wish).await;
        let mut mortal = self.ground.start(self.cast.mortal, Some(&case.order));
        let died = self.ground.dies(&asked, &mut mortal).await?;
        mortal.kill().await;
        let left = self.ground.left(&asked).await;
        self.ground.pass(self.cast.over).await;
        let heir = self.ground.start(self.cast.mortal, None);
        let ended = self.ground.ends(&asked).await;
        heir.kill().await;
        ended?;
        // A scheduler's death harms no lease of a worker.
        let left = if self.cast.mortal == "worker" {
            left
        } else {
            Vec::new()
        };
        self.ground.check(case.wish, &asked, &left).await?;
        self.ground.pass(self.cast.over).await;
        Ok(died)
    }
}

/// All cases of a cast, several at a time.
async fn kill_everywhere(who: Cast, wishes: &[Wish]) {
    let recorded: Vec<_> = wishes
        .iter()
        .map(|wish| {
            let wish = *wish;
            tokio::spawn(async move {
                let mut lane = Lane::new(who).await;
                let points = lane.record(wish).await;
                assert!(points.len() > 20, "{points:?}");
                (lane, wish, points)
            })
        })
        .collect();
    let (mut lanes, mut queue) = (Vec::new(), VecDeque::new());
    let mut seen = BTreeSet::new();
    for one in recorded {
        let (lane, wish, points) = one.await.unwrap();
        lanes.push(lane);
        queue.extend(cases(wish, &points, &mut seen));
    }
    if let Some(only) = only() {
        queue.retain(|case| case.name == only);
    }
    let count = queue.len();
    let queue = Arc::new(Mutex::new(queue));
    let running: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let (mut died, mut failures) = (0, Vec::new());
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(case) = next else { break };
                    match lane.run(&case).await {
                        Ok(true) => died += 1,
                        Ok(false) => {}
                        Err(why) => {
                            failures.push(format!("{}: {why}", case.name));
                            // What is left over must not spoil the next case.
                            lane = Lane::new(who).await;
                        }
                    }
                }
                lane.other.kill().await;
                lane.ground.done().await;
                (died, failures)
            })
        })
        .collect();
    let (mut died, mut failures) = (0, Vec::new());
    for one in running {
        let (deaths, faults) = one.await.unwrap();
        died += deaths;
        failures.extend(faults);
    }
    assert!(
        failures.is_empty(),
        "{} of {count} cases failed; CRIER_KILL_ONLY=\"NAME\" does one alone\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        died * 10 >= count * 8,
        "only {died} of {count} died where they were to: the others prove nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_each_point_leaves_exactly_the_posts_asked_for() {
    kill_everywhere(WORKER, &Wish::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_killed_at_each_point_leaves_exactly_the_posts_asked_for() {
    kill_everywhere(SCHEDULER, &[Wish::Picture, Wish::Thread]).await;
}
