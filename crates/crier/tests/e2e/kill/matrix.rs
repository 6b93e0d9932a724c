//! SIGKILL at each point, of a worker and of a scheduler: what the dead one was at is found by the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};

use super::ground::{Ground, LEADER_OVER, LEASE_OVER, Wish};
use crate::lot::Lot;
use crate::support::Role;

/// A case at one of the points that matter most is tried so often until the process dies there.
const TRIES: u32 = 4;
/// A new database gets its first partitions, once.
const OF_FIRST: &str = "commit retention.rs";
const CREATE: &str = "before call POST /2/tweets";

/// One case: what is asked for, and where the process dies.
#[derive(Debug, Clone)]
struct Case {
    wish: Wish,
    order: String,
    /// What it is called, and how it is named to be done alone.
    name: String,
    /// Not without a death: it is one of the points that matter most.
    is_needed: bool,
    /// Only the first scheduler of a database comes there.
    is_of_first: bool,
    tries: u32,
}

impl Case {
    fn new(wish: Wish, times: usize, point: &str, cast: Cast) -> Self {
        let order = format!("kill {times} {point}");
        let name = format!("{wish}: {order}");
        let (_, deed) = point.split_once(' ').unwrap_or_default();
        Self {
            wish,
            order,
            name,
            is_of_first: point.contains(OF_FIRST),
            is_needed: (times == 1 || cast.is_counted)
                && cast.needed.iter().any(|needed| deed.starts_with(needed)),
            tries: 0,
        }
    }
}

/// Cases from the points of a run: the first time that each was reached, and for calls and commits the last, too. What
/// idle processes do again and again has no last time, and one wish in which they die of it is enough. What a look is made
/// for begins with its create call: before that it is as any text.
fn cases(wish: Wish, points: &[String], seen: &mut BTreeSet<String>, cast: Cast) -> Vec<Case> {
    let create = points.iter().position(|point| point == CREATE);
    let begin = create.filter(|_| wish.fault().is_some()).unwrap_or(0);
    let mut times: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (place, point) in points.iter().enumerate() {
        times.entry(point).or_insert((place, 0)).1 += 1;
    }
    let mut cases = Vec::new();
    for (point, (first, times)) in times {
        // Nothing has become durable since the point before.
        if point.starts_with("before begin") {
            continue;
        }
        let is_deed = ["call", "body", "commit"]
            .iter()
            .any(|deed| point.split(' ').nth(1) == Some(*deed));
        let is_new = seen.insert(point.to_owned());
        let is_again = is_deed && !point.contains(OF_FIRST);
        if is_new || (is_again && first >= begin) {
            cases.push(Case::new(wish, 1, point, cast));
        }
        if times > 1 && (is_again || (is_new && is_deed)) {
            cases.push(Case::new(wish, times, point, cast));
        }
    }
    cases
}

/// A third of the points that a run need not meet.
pub(super) fn lot(of: &str) -> Lot {
    Lot::draw(of, "CRIER_KILL_POINTS", 3)
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
    /// Beginnings of what it is killed before and after in every run, whatever its luck.
    needed: &'static [&'static str],
    /// Whether it reaches those equally often in each run, so that the last time counts, too.
    is_counted: bool,
    /// Every run kills it at all points of these.
    whole: &'static [Wish],
    /// Of these at those that matter most; else by lot.
    most: &'static [Wish],
    /// So many cases at a time.
    lanes: usize,
}

const WORKER: Cast = Cast {
    mortal: "worker",
    other: "scheduler",
    over: LEASE_OVER,
    // The intent and the outcome, and the look with its end.
    needed: &[
        "call POST /2/tweets",
        "body POST /2/tweets",
        "commit settle.rs",
        "call GET /2/users/{id}/tweets",
        "commit reconcile/end.rs",
    ],
    is_counted: true,
    whole: &[Wish::Text],
    most: &[Wish::Thread, Wish::Found, Wish::Absent],
    lanes: 5,
};
const SCHEDULER: Cast = Cast {
    mortal: "scheduler",
    other: "worker",
    over: LEADER_OVER,
    needed: &["commit signals.rs", "commit recurring.rs"],
    is_counted: false,
    whole: &[],
    most: &[Wish::Text, Wish::Slots],
    lanes: 3,
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

    /// The points that the mortal one reaches where nothing goes wrong but what the wish says.
    async fn record(&mut self, wish: Wish) -> Vec<String> {
        let case = self.ground.ask(wish).await;
        // A point that is none: it only writes down.
        let mortal = self.ground.start(self.cast.mortal, Some("kill 1 none"));
        self.ground.ends(&case).await.unwrap();
        let points = self.ground.all_points().await;
        mortal.kill().await;
        self.ground.check(wish, &case, &[]).await.unwrap();
        self.ground.pass(self.cast.over).await;
        points
    }

    async fn done(self) {
        self.other.kill().await;
        self.ground.done().await;
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
        queue.extend(cases(wish, &points, &mut seen, who));
    }
    for needed in who.needed {
        // A body has no point after it but that of its call.
        let is_body = needed.starts_with("body");
        for moment in ["before", "after"].iter().take(if is_body { 1 } else { 2 }) {
            let point = format!("kill 1 {moment} {needed}");
            let is_there = queue.iter().any(|case| case.order.starts_with(&point));
            assert!(is_there, "{point} is not among {queue:#?}");
        }
    }
    if let Some(only) = only() {
        queue.retain(|case| case.name == only);
    } else {
        let lot = lot(who.mortal);
        queue.retain(|case| {
            who.whole.contains(&case.wish)
                || (case.is_needed && who.most.contains(&case.wish))
                || lot.has(&case.name)
        });
    }
    for spare in lanes.drain(who.lanes.min(lanes.len())..) {
        spare.done().await;
    }
    let count = queue.len();
    let queue = Arc::new(Mutex::new(queue));
    let running: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let (mut missed, mut failures) = (Vec::new(), Vec::new());
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(mut case) = next else { break };
                    case.tries += 1;
                    if case.is_of_first {
                        lane.done().await;
                        lane = Lane::new(who).await;
                    }
                    match lane.run(&case).await {
                        Ok(true) => {}
                        Ok(false) if case.is_needed && case.tries < TRIES => {
                            queue.lock().unwrap().push_back(case);
                        }
                        Ok(false) => missed.push(case),
                        Err(why) => {
                            failures.push(format!("{}: {why}", case.name));
                            // What is left over must not spoil the next case.
                            lane = Lane::new(who).await;
                        }
                    }
                }
                lane.done().await;
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
    let names: Vec<String> = missed.iter().map(|case| case.name.clone()).collect();
    tell(&format!("{} that is killed", who.mortal), count, &names);
    assert!(
        failures.is_empty(),
        "{} of {count} cases failed; CRIER_KILL_ONLY=\"NAME\" does one alone\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        !missed.iter().any(|case| case.is_needed) && missed.len() * 10 <= count * 2,
        "too few died where they were to, not so: {names:#?}"
    );
}

/// Names what was not reached, in a run that is fine, too: a test's own words are kept from the reader then.
pub(super) fn tell(who: &str, count: usize, missed: &[String]) {
    let reached = count - missed.len();
    let mut told = vec![format!("{who}: {reached} of {count} points were reached")];
    told.extend(missed.iter().map(|name| format!("  not reached: {name}")));
    let told = format!("{}\n", told.join("\n"));
    let _ = std::io::stderr().write_all(told.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_each_point_leaves_exactly_the_posts_asked_for() {
    let wishes = [Wish::ALL.as_slice(), &[Wish::Found, Wish::Absent]].concat();
    kill_everywhere(WORKER, &wishes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_killed_at_each_point_leaves_exactly_the_posts_asked_for() {
    let wishes = [Wish::ALL.as_slice(), &[Wish::Slots]].concat();
    kill_everywhere(SCHEDULER, &wishes).await;
}
