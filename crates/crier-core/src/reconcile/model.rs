//! Every way in which up to three jobs of the same text on one account can go, in a small world: what each call did, how
//! late X shows it, when each job looks, whether X refuses duplicates, what else is posted meanwhile.
//!
//! **Invariant:** no job is sent twice and none is lost: whoever is published has a post of its own.

use super::*;

const SECOND: i64 = 1_000;
/// How long a call without an answer keeps its lane.
const TIMEOUT: i64 = 30 * SECOND;
const FIRST_LOOK: i64 = 15 * SECOND;
const WAITS: [Duration; 4] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
];

/// What becomes of a job's first call. Later ones are carried out and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Heard,
    /// Never reaches X, and nobody knows.
    RequestLost,
    /// Carried out after so long, and nobody hears of it.
    AnswerLost(i64),
}

#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    fates: &'a [Fate],
    /// Between the end of one call and the next.
    gap: i64,
    /// X shows a post so long after it was made.
    shown_after: i64,
    /// How much later than it is due each job looks.
    late: &'a [i64],
    refuses_duplicates: bool,
    /// The jobs differ in something that the text does not tell, such as their pictures.
    differ: bool,
    /// A post of the same text by somebody else.
    other: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Sending,
    Unknown,
    Published(usize),
    Duplicate,
    Operator,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    state: State,
    first: Option<i64>,
    last: i64,
    looks: usize,
    refused: bool,
    sends: usize,
    /// When it next does something.
    at: i64,
}

#[derive(Debug, Clone, Copy)]
struct Made {
    at: i64,
    by: Option<usize>,
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_000 + ms).unwrap()
}

fn id(place: usize, ms: i64) -> String {
    let since = u64::try_from(time(ms).timestamp_millis() - EPOCH_MS).unwrap();
    ((since << TIME_SHIFT) | u64::try_from(place).unwrap()).to_string()
}

struct World<'a> {
    case: Case<'a>,
    jobs: Vec<Job>,
    posts: Vec<Made>,
    lane_free: i64,
    now: i64,
}

impl World<'_> {
    fn run(case: Case<'_>) -> World<'_> {
        let job = |at| Job {
            state: State::Waiting,
            first: None,
            last: 0,
            looks: 0,
            refused: false,
            sends: 0,
            at,
        };
        let mut world = World {
            case,
            jobs: (0..case.fates.len()).map(|_| job(0)).collect(),
            posts: case
                .other
                .iter()
                .map(|at| Made { at: *at, by: None })
                .collect(),
            lane_free: 0,
            now: 0,
        };
        for _ in 0..200 {
            let next = (0..world.jobs.len())
                .filter(|n| {
                    matches!(
                        world.jobs[*n].state,
                        State::Waiting | State::Sending | State::Unknown
                    )
                })
                .min_by_key(|n| (world.due(*n), *n));
            let Some(next) = next else {
                return world;
            };
            world.now = world.due(next);
            match world.jobs[next].state {
                State::Waiting => world.send(next),
                State::Sending => world.hear(next),
                State::Unknown => world.look(next),
                State::Published(_) | State::Duplicate | State::Operator => unreachable!(),
            }
        }
        panic!("it never ends: {case:?}");
    }

    fn due(&self, n: usize) -> i64 {
        let job = &self.jobs[n];
        match job.state {
            // In order of the jobs, one at a time.
            State::Waiting => job.at.max(self.lane_free),
            State::Sending => job.at,
            State::Unknown => job.at + self.case.late[n],
            State::Published(_) | State::Duplicate | State::Operator => i64::MAX,
        }
    }

    fn send(&mut self, n: usize) {
        let now = self.now;
        let fate = if self.jobs[n].sends == 0 {
            self.case.fates[n]
        } else {
            Fate::Heard
        };
        let is_same = |made: &Made| {
            (!self.case.differ && made.at <= now) || made.by == Some(n) || made.by.is_none()
        };
        let refused = self.case.refuses_duplicates && self.posts.iter().any(is_same);
        let job = &mut self.jobs[n];
        job.sends += 1;
        job.last = now;
        job.refused = refused && fate == Fate::Heard;
        job.looks = 0;
        job.state = State::Sending;
        job.at = now + TIMEOUT;
        if !job.refused {
            job.first = Some(job.first.unwrap_or(now));
        }
        match fate {
            Fate::Heard => {
                job.at = now + SECOND;
                if !refused {
                    self.posts.push(Made {
                        at: now,
                        by: Some(n),
                    });
                }
            }
            Fate::AnswerLost(after) if !refused => self.posts.push(Made {
                at: now + after,
                by: Some(n),
            }),
            Fate::AnswerLost(_) | Fate::RequestLost => {}
        }
        self.lane_free = self.jobs[n].at + self.case.gap;
    }

    /// The call ends.
    fn hear(&mut self, n: usize) {
        let job = &mut self.jobs[n];
        let fate = if job.sends == 1 {
            self.case.fates[n]
        } else {
            Fate::Heard
        };
        if fate == Fate::Heard && !job.refused {
            let own = self
                .posts
                .iter()
                .rposition(|made| made.by == Some(n))
                .unwrap();
            job.state = State::Published(own);
        } else {
            job.state = State::Unknown;
            job.at = self.now + FIRST_LOOK;
        }
    }

    fn sent(&self, n: usize) -> Sent<'static> {
        let job = &self.jobs[n];
        Sent {
            job: i64::try_from(n).unwrap(),
            text: "sale",
            attachments: usize::from(self.case.differ),
            is_reply: false,
            first: time(job.first.unwrap_or(-SECOND)),
            last: time(job.last),
            is_doubtful: job.first.is_some(),
            ahead: TimeDelta::zero(),
        }
    }

    fn look(&mut self, n: usize) {
        let ids: Vec<String> = (0..)
            .zip(&self.posts)
            .map(|(p, made)| id(p, made.at))
            .collect();
        let seen: Vec<Seen<'_>> = self
            .posts
            .iter()
            .zip(&ids)
            .filter(|(made, _)| made.at + self.case.shown_after <= self.now)
            .map(|(_, id)| Seen {
                id,
                text: "sale https://t.co/abcdefghij",
            })
            .map(|seen| Seen {
                text: if self.case.differ { seen.text } else { "sale" },
                ..seen
            })
            .collect();
        let rivals: Vec<Sent<'_>> = (0..self.jobs.len())
            .filter(|rival| {
                *rival != n
                    && matches!(
                        self.jobs[*rival].state,
                        State::Sending | State::Unknown | State::Operator
                    )
            })
            .map(|rival| self.sent(rival))
            .collect();
        let taken: BTreeSet<String> = self
            .jobs
            .iter()
            .filter_map(|job| {
                let State::Published(post) = job.state else {
                    return None;
                };
                Some(ids[post].clone())
            })
            .collect();
        let patience: Duration = WAITS.iter().sum();
        let shown = time(self.now) - patience;
        let ours = self.sent(n);
        let job = &mut self.jobs[n];
        job.looks += 1;
        let search = Search {
            looks: job.looks,
            waits: &WAITS,
            is_doubtful: ours.is_doubtful,
            is_duplicate: job.refused,
            is_complete: true,
            is_listed: true,
        };
        match next(pick(&ours, &rivals, &seen, &taken, shown), &search) {
            Next::Published(found) => {
                let post = ids.iter().position(|id| *id == found).unwrap();
                job.state = State::Published(post);
            }
            Next::LookAgain(after) => {
                job.at = self.now + i64::try_from(after.as_millis()).unwrap();
            }
            Next::Absent => {
                job.state = State::Waiting;
                job.at = self.now;
            }
            Next::Duplicate => job.state = State::Duplicate,
            Next::Operator(_) => job.state = State::Operator,
        }
    }

    fn check(&self) {
        let case = &self.case;
        let told = || format!("{case:?}\n{:?}\n{:?}", self.jobs, self.posts);
        let is_clear = case.other.is_none() && self.arrived_in_order();
        let all_arrived = !case.fates.contains(&Fate::RequestLost);
        let mut given = BTreeSet::new();
        for (n, job) in self.jobs.iter().enumerate() {
            let own = self.posts.iter().filter(|made| made.by == Some(n)).count();
            assert!(own <= 1, "job {n} is posted twice: {}", told());
            match job.state {
                State::Published(post) => {
                    assert!(given.insert(post), "a post is given twice: {}", told());
                    if is_clear {
                        let by = self.posts[post].by;
                        assert_eq!(by, Some(n), "job {n} has another's post: {}", told());
                    }
                }
                State::Duplicate => assert!(
                    case.refuses_duplicates && own == 0 && !self.posts.is_empty(),
                    "job {n} is refused for nothing: {}",
                    told()
                ),
                State::Operator => assert!(
                    !(is_clear && all_arrived && (case.differ || !case.refuses_duplicates)),
                    "job {n} is clear, and a person is asked: {}",
                    told()
                ),
                State::Waiting | State::Sending | State::Unknown => unreachable!(),
            }
        }
    }

    /// Whether the posts were made in the order in which their calls left.
    fn arrived_in_order(&self) -> bool {
        let made = |n| self.posts.iter().find(|made| made.by == Some(n));
        let times: Vec<i64> = (0..self.jobs.len())
            .filter_map(made)
            .map(|made| made.at)
            .collect();
        // What was sent again has been given out by then.
        times.is_sorted() || self.jobs.iter().any(|job| job.sends > 1)
    }
}

#[test]
fn no_way_in_which_jobs_of_the_same_text_go_loses_one_or_posts_one_twice() {
    const FATES: [Fate; 4] = [
        Fate::Heard,
        Fate::RequestLost,
        Fate::AnswerLost(SECOND),
        Fate::AnswerLost(40 * SECOND),
    ];
    const LATE: [i64; 2] = [0, 70 * SECOND];
    for jobs in 1..=3_u32 {
        for (fate, late) in
            (0..4_usize.pow(jobs)).flat_map(|f| (0..2_usize.pow(jobs)).map(move |l| (f, l)))
        {
            // Of three, those that look in another order than they were sent.
            if jobs == 3 && ![0, 2, 5].contains(&late) {
                continue;
            }
            let fates: Vec<Fate> = (0..jobs)
                .map(|n| FATES[fate / 4_usize.pow(n) % 4])
                .collect();
            let late: Vec<i64> = (0..jobs).map(|n| LATE[(late >> n) & 1]).collect();
            for gap in [0, 100 * SECOND] {
                for shown_after in [0, 50 * SECOND, 190 * SECOND] {
                    for (refuses_duplicates, differ) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        for other in [None, Some(5 * SECOND), Some(-10 * SECOND)] {
                            if jobs == 3 && other < Some(0) && other.is_some() {
                                continue;
                            }
                            let case = Case {
                                fates: &fates,
                                gap,
                                shown_after,
                                late: &late,
                                refuses_duplicates,
                                differ,
                                other,
                            };
                            World::run(case).check();
                        }
                    }
                }
            }
        }
    }
}
