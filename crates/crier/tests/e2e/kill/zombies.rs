//! SIGSTOP for longer than the lease, then SIGCONT: the zombie sends nothing, or what it sent is all that there is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ground::{Ground, LEADER_OVER, LEASE_OVER, Wish};
use super::matrix::{lot, tell};
use crate::support::Role;

/// Short times, since a zombie goes by its own clock, which no test moves: by these a call must leave within 3.5 s of its
/// intent.
const SETTINGS: [(&str, &str); 3] = [
    ("CRIER__X__TIMEOUT_S", "5"),
    ("CRIER__X__CONNECT_TIMEOUT_S", "1"),
    ("CRIER__WORKER__LEASE_S", "30"),
];
/// A worker between its intent and its call stands still at least so long: what recording the intent and connecting may
/// take, and some. Anywhere else the database's clock decides, and it goes on while another has in hand what it had.
const STANDS_STILL: Duration = Duration::from_millis(4_500);
/// So many at a time: they stand still most of it.
const YARDS: usize = 5;
const CREATES: [&str; 2] = ["POST /2/tweets", "POST /1.1/statuses/update_with_media"];

/// One case: who stands still where.
#[derive(Debug, Clone)]
struct Case {
    wish: Wish,
    order: String,
    /// Every run must reach it.
    is_needed: bool,
}

impl Case {
    fn of_worker(wish: Wish, times: usize, point: &str) -> Self {
        let is_needed = ["settle.rs", "POST /2/tweets"]
            .iter()
            .any(|part| point.contains(part));
        Self {
            wish,
            order: format!("stop {times} {point}"),
            is_needed,
        }
    }

    /// Whether it stands between an intent and its call, where its own clock decides.
    fn is_by_its_clock(&self) -> bool {
        let is_before = self.order.contains(" before ");
        self.order.contains("commit settle.rs")
            || (is_before && CREATES.iter().any(|create| self.order.ends_with(create)))
    }

    fn name(&self) -> String {
        format!("{}: {}", self.wish, self.order)
    }
}

struct Yard {
    ground: Ground,
    other: Role,
    mortal: &'static str,
}

impl Yard {
    async fn new(mortal: &'static str) -> Self {
        // Beside a scheduler that stands still the worker lives, and keeps its leases while time is made to pass.
        let settings: &[_] = if mortal == "worker" { &SETTINGS } else { &[] };
        let ground = Ground::new(settings).await;
        let other = ground.start(
            if mortal == "worker" {
                "scheduler"
            } else {
                "worker"
            },
            None,
        );
        Self {
            ground,
            other,
            mortal,
        }
    }

    /// Several, made at once.
    async fn several(mortal: &'static str) -> Vec<Self> {
        let making: Vec<_> = (0..YARDS)
            .map(|_| tokio::spawn(Self::new(mortal)))
            .collect();
        let mut yards = Vec::new();
        for one in making {
            yards.push(one.await.unwrap());
        }
        yards
    }

    /// What the mortal one reaches on the way of a wish, in order.
    async fn points(&mut self, wish: Wish) -> Vec<String> {
        let case = self.ground.ask(wish).await;
        let role = self.ground.start(self.mortal, Some("stop 1 none"));
        self.ground.ends(&case).await.unwrap();
        let points = self.ground.all_points().await;
        role.kill().await;
        self.ground.pass(LEASE_OVER).await;
        points
    }

    async fn done(self) {
        self.other.kill().await;
        self.ground.done().await;
    }

    /// False if it was done before it came to the point.
    async fn run(&mut self, case: &Case) -> Result<bool, String> {
        let asked = self.ground.ask(case.wish).await;
        let zombie = self.ground.start(self.mortal, Some(&case.order));
        if !self.ground.stands_still(&asked, &zombie).await? {
            zombie.stop().await;
            self.ground.pass(LEASE_OVER).await;
            return Ok(false);
        }
        let stopped = Instant::now();
        let left = self.ground.left(&asked).await;
        self.ground.end_transactions().await;
        if self.mortal == "scheduler" {
            self.beside_its_heir(&asked, zombie).await?;
            self.ground.check(case.wish, &asked, &[]).await?;
        } else {
            self.ground.pass(LEASE_OVER).await;
            let heir = self.ground.start("worker", None);
            if case.is_by_its_clock() {
                self.ground.ends(&asked).await?;
                tokio::time::sleep(STANDS_STILL.saturating_sub(stopped.elapsed())).await;
                zombie.signal("CONT").await;
            } else {
                self.ground.is_taken_over(&asked).await?;
                zombie.signal("CONT").await;
                self.ground.ends(&asked).await?;
            }
            // It ends when what it was at has ended.
            zombie.stop().await;
            heir.kill().await;
            self.ground.check(case.wish, &asked, &left).await?;
        }
        self.ground.pass(LEASE_OVER).await;
        Ok(true)
    }

    /// Leadership is over, another scheduler leads, and the zombie goes on beside it.
    async fn beside_its_heir(&self, asked: &str, zombie: Role) -> Result<(), String> {
        self.ground.pass(LEADER_OVER).await;
        let heir = self.ground.start("scheduler", None);
        self.ground.is_led_by_another().await?;
        zombie.signal("CONT").await;
        let ended = self.ground.ends(asked).await;
        zombie.stop().await;
        heir.kill().await;
        ended
    }
}

fn is_deed(point: &str) -> bool {
    ["commit", "call", "body"]
        .iter()
        .any(|deed| point.split(' ').nth(1) == Some(*deed))
}

/// The path of a worker to its outcome: between two of these nothing becomes durable and nothing leaves. What was met on the
/// way of another wish is met again only at its last time: a create call with media, the end of a thread.
fn path(wish: Wish, points: &[String], seen: &mut BTreeSet<String>) -> Vec<Case> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for point in points.iter().filter(|point| is_deed(point)) {
        *times.entry(point).or_default() += 1;
    }
    let mut cases = Vec::new();
    for (point, times) in times {
        let is_first = seen.insert(point.to_owned());
        let is_of_sending = point.contains("POST /2/tweets") || point.contains("settle.rs");
        if is_first {
            cases.push(Case::of_worker(wish, 1, point));
        }
        if times > 1 || (!is_first && is_of_sending) {
            cases.push(Case::of_worker(wish, times, point));
        }
    }
    cases
}

/// Each case, several at a time.
async fn stand_still_everywhere(yards: Vec<Yard>, cases: Vec<Case>) {
    let count = cases.len();
    let queue = Arc::new(Mutex::new(VecDeque::from(cases)));
    let mortal = yards[0].mortal;
    let running: Vec<_> = yards
        .into_iter()
        .map(|mut yard| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let (mut missed, mut failures) = (Vec::new(), Vec::new());
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(case) = next else { break };
                    match yard.run(&case).await {
                        Ok(true) => {}
                        Ok(false) => missed.push(case),
                        Err(why) => {
                            failures.push(format!("{}: {why}", case.name()));
                            yard = Yard::new(mortal).await;
                        }
                    }
                }
                yard.done().await;
                (missed, failures)
            })
        })
        .collect();
    let (mut missed, mut failures) = (Vec::new(), Vec::new());
    for one in running {
        let (unmet, faults) = one.await.unwrap();
        missed.extend(unmet);
        failures.extend(faults);
    }
    let names: Vec<String> = missed.iter().map(Case::name).collect();
    tell(&format!("{mortal} that stands still"), count, &names);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        !missed.iter().any(|case| case.is_needed) && missed.len() * 10 <= count * 2,
        "too few stood still where they were to, not so: {names:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_at_any_point_for_longer_than_its_lease_sends_nothing_twice() {
    let mut yards = Yard::several("worker").await;
    let (mut seen, mut cases) = (BTreeSet::new(), Vec::new());
    for wish in Wish::ALL {
        let points = yards[0].points(wish).await;
        cases.extend(path(wish, &points, &mut seen));
    }
    for needed in [
        "text: stop 1 after commit claim.rs",
        "text: stop 1 before commit settle.rs",
        "text: stop 1 after commit settle.rs",
        "text: stop 1 before call POST /2/tweets",
        "text: stop 1 before body POST /2/tweets",
        "text: stop 1 after call POST /2/tweets",
        "picture: stop 1 after call POST /2/media/upload/initialize",
        "picture: stop 1 before body POST /2/tweets",
        "video: stop 5 before call POST /2/media/upload/{id}/append",
        "thread: stop 3 before call POST /2/tweets",
    ] {
        let is_there = cases.iter().any(|case| case.name().starts_with(needed));
        assert!(is_there, "{needed} is not among {cases:#?}");
    }
    // The way of a text is walked whole in every run.
    let lot = lot("worker that stands still");
    cases.retain(|case| {
        case.wish == Wish::Text
            || (case.is_needed && case.wish == Wish::Thread)
            || lot.has(&case.name())
    });
    // Those that take longest first.
    cases.sort_by_key(|case| !case.is_by_its_clock());
    stand_still_everywhere(yards, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_stands_still_at_any_point_for_longer_than_it_leads_changes_no_post() {
    let mut yards = Yard::several("scheduler").await;
    let (mut seen, mut cases) = (BTreeSet::new(), Vec::new());
    for wish in [Wish::Slots, Wish::Thread, Wish::Picture] {
        let points = yards[0].points(wish).await;
        for point in points {
            // What it knows goes stale after it has read, and what it wrote is another's from its commit on.
            let is_met = is_deed(&point) || point.starts_with("after statement");
            // Only the first scheduler of a database comes there, and the test's own questions wait for its locks.
            let is_met = is_met && !point.contains("retention.rs");
            if is_met && seen.insert(point.clone()) {
                let is_needed = ["due_recurring", "commit recurring.rs", "commit signals.rs"]
                    .iter()
                    .any(|part| point.contains(part));
                cases.push(Case {
                    wish,
                    order: format!("stop 1 {point}"),
                    is_needed,
                });
            }
        }
    }
    for needed in [
        "slots: stop 1 after statement due_recurring",
        "slots: stop 1 before commit recurring.rs",
        "slots: stop 1 after commit signals.rs",
        "slots: stop 1 after statement lead",
    ] {
        let is_there = cases.iter().any(|case| case.name().starts_with(needed));
        assert!(is_there, "{needed} is not among {cases:#?}");
    }
    let lot = lot("scheduler that stands still");
    cases.retain(|case| case.is_needed || lot.has(&case.name()));
    stand_still_everywhere(yards, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_v1_that_stands_still_before_it_is_written_is_not_sent_late() {
    // One each: what is signed must not be older than five minutes by X's clock, which moves.
    let yards = [Yard::new("worker").await, Yard::new("worker").await];
    for yard in &yards {
        yard.ground
            .stage
            .done_by(&["accounts", "publisher", "acme", "v1_update_with_media"])
            .await;
    }
    let call = "POST /1.1/statuses/update_with_media";
    let cases = [format!("before call {call}"), format!("before body {call}")]
        .map(|point| Case {
            is_needed: true,
            ..Case::of_worker(Wish::Snapshot, 1, &point)
        })
        .to_vec();
    stand_still_everywhere(yards.into(), cases).await;
}
