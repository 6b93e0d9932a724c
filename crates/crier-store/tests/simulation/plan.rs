//! From a seed to a list of operations. Each seed leaves some kinds of operations out and does others more often, so that
//! the lists differ in kind and not only in order.

use crate::chance::Chance;
use crate::ops::{
    Deleted, Draft, Edit, Long, Look, Op, Passer, Person, Post, Probe, Recur, Row, Schedule, Text,
    Token, Upload, Work,
};
use crate::scenes::SCENES;

type Make = fn(&mut Chance) -> Op;

/// Kinds of operations: how often each comes, and how one is made. The first few are in every list.
const KINDS: &[(u16, Make)] = &[
    (14, |c| Op::Insert(draft(c))),
    (14, |c| {
        Op::Schedule(c.small(2), Schedule::Signals(c.of(&[1, 3, 100])))
    }),
    (14, |c| {
        Op::Work(c.small(3), Work::Claim(c.of(&[1, 2, 100])))
    }),
    (40, |c| {
        Op::Work(c.small(3), Work::Post(c.small(8), post(c)))
    }),
    (3, |c| Op::Wait(wait(c))),
    (6, |c| Op::Schedule(c.small(2), Schedule::ReadChecks)),
    (6, |c| Op::Schedule(c.small(2), Schedule::ActOnChecks)),
    (ESSENTIAL, |c| Op::Schedule(c.small(2), Schedule::Expire)),
    (8, |c| {
        Op::Work(c.small(3), Work::ClaimUploads(c.of(&[1, 2, 100])))
    }),
    (22, |c| {
        Op::Work(c.small(3), Work::Upload(c.small(8), upload(c)))
    }),
    (7, |c| {
        Op::Work(c.small(3), Work::ClaimLooks(c.of(&[1, 100])))
    }),
    (18, |c| {
        Op::Work(c.small(3), Work::Look(c.small(8), look(c)))
    }),
    (5, |c| Op::Work(c.small(3), Work::Renew)),
    (3, |c| Op::Work(c.small(3), Work::Die)),
    (3, |c| Op::Wait(c.of(&[29, 31, 31, 61]))),
    (4, |c| {
        let sweeps = [
            Schedule::ExpireUploads,
            Schedule::ExpireLooks,
            Schedule::Held,
            Schedule::Uploads,
            Schedule::Lanes,
        ];
        Op::Schedule(c.small(2), c.of(&sweeps))
    }),
    (3, |c| Op::Schedule(c.small(2), Schedule::ExpireUploads)),
    (3, |c| Op::Schedule(c.small(2), Schedule::Missed)),
    (1, |c| Op::Schedule(c.small(2), Schedule::Fold)),
    (2, |c| {
        Op::Schedule(
            c.small(2),
            c.of(&[Schedule::Lead, Schedule::Lead, Schedule::Resign]),
        )
    }),
    (4, |c| Op::Person(Person::Cancel(c.small(20)))),
    (3, |c| Op::Person(Person::Retry(c.small(20)))),
    (10, |c| Op::Person(Person::Edit(c.small(20), edit(c)))),
    (4, |c| {
        Op::Person(c.of(&[Person::PauseCampaign, Person::ResumeCampaign]))
    }),
    (1, |_| Op::Person(Person::CancelCampaign)),
    (4, |c| {
        let account = c.small(3);
        let kinds = [
            Person::PauseAccount(account),
            Person::ResumeAccount(account),
            Person::PauseApp(account),
            Person::Login(account),
        ];
        Op::Person(c.of(&kinds))
    }),
    (3, |c| Op::Person(Person::Settle(c.small(20)))),
    (5, |c| held(c)),
    (6, |c| Op::Long(long(c))),
    (3, |c| {
        Op::Long(c.of(&[Long::Commit, Long::Commit, Long::Rollback]))
    }),
    (3, |c| Op::Cut(c.small(8))),
    (1, |c| Op::Back(c.of(&[1, 5, 20]))),
    (1, |c| Op::Days(c.of(&[1, 2, 40]))),
    (1, |c| {
        Op::Schedule(c.small(2), Schedule::Trim(c.of(&[1, 3])))
    }),
    (2, |c| {
        let job = c.small(20);
        Op::Person(c.of(&[Person::Delete(job), Person::Revive(job)]))
    }),
    (2, |c| {
        let how = c.of(&[Deleted::Well, Deleted::Refused, Deleted::AnswerLost]);
        Op::Person(Person::Unpublish(c.small(20), how))
    }),
    (2, |c| {
        let posts = c.of(&[None, Some(1), Some(3)]);
        Op::Person(Person::Budget(c.small(3), posts))
    }),
    (2, |c| {
        Op::Work(
            c.small(3),
            Work::Probe(c.of(&[Probe::Taken, Probe::Refused])),
        )
    }),
    (3, |c| Op::Work(c.small(3), Work::Refresh(c.small(3)))),
    (6, |c| {
        let how = c.of(&[
            Token::Well,
            Token::Well,
            Token::Well,
            Token::Refused,
            Token::AnswerLost,
            Token::Unheard,
        ]);
        Op::Work(c.small(3), Work::Token(c.small(3), how))
    }),
    (4, |c| Op::Person(Person::Recur(c.small(2), recur(c)))),
    (3, |c| Op::Schedule(c.small(2), Schedule::ReadRecurring)),
    (3, |c| Op::Schedule(c.small(2), Schedule::Expand)),
];

const ESSENTIAL: u16 = 4;
/// Kinds that no list is without.
const ALWAYS: usize = 8;

/// Tries at something that can be done as things stand.
const TRIES: u32 = 8;

/// What a seed does next, as long as it does something. It looks at how things stand only to leave out what would do
/// nothing, such as a step of a worker with empty hands; the list that comes of it stands for itself.
pub(crate) struct Plan {
    chance: Chance,
    weights: Vec<u16>,
    first: u16,
    left: u16,
    scenes: u16,
    scene: Vec<Op>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let weigh = |(place, (weight, _)): (usize, &(u16, Make))| {
            weight
                * if place < ALWAYS {
                    2
                } else {
                    chance.of(&[0, 1, 2, 2, 4])
                }
        };
        let weights = KINDS.iter().enumerate().map(weigh).collect();
        // Something to do to begin with.
        let (first, left) = (3 + chance.below(6), 40 + chance.below(110));
        let scenes = chance.of(&[3, 4, 6, 12]);
        Self {
            chance,
            weights,
            first,
            left,
            scenes,
            scene: Vec::new(),
        }
    }

    /// The next operation; `None` at the end of the list.
    pub(crate) fn next(&mut self, can: impl Fn(Op) -> bool) -> Option<Op> {
        if self.first > 0 {
            self.first -= 1;
            return Some(Op::Insert(draft(&mut self.chance)));
        }
        self.left = self.left.checked_sub(1)?;
        if !self.scene.is_empty() {
            return Some(self.scene.remove(0));
        }
        if self.scenes > 0 && self.chance.one_in(self.scenes) {
            self.scene = self.chance.of(SCENES)(&mut self.chance);
            return Some(self.scene.remove(0));
        }
        let mut op = self.any();
        for _ in 0..TRIES {
            if can(op) {
                break;
            }
            op = self.any();
        }
        Some(op)
    }

    fn any(&mut self) -> Op {
        let mut left = self.chance.below(self.weights.iter().sum());
        let place = self.weights.iter().position(|weight| {
            let is_here = left < *weight;
            left = left.saturating_sub(*weight);
            is_here
        });
        KINDS[place.unwrap_or(0)].1(&mut self.chance)
    }
}

fn wait(c: &mut Chance) -> u16 {
    c.of(&[1, 1, 2, 2, 4, 8, 14, 20, 40, 120, 900])
}

fn due(c: &mut Chance) -> i16 {
    c.of(&[-5, 0, 0, 0, 0, 1, 10, 45, 600])
}

fn draft(c: &mut Chance) -> Draft {
    let texts = [
        Text::Own,
        Text::Own,
        Text::Own,
        Text::Own,
        Text::Own,
        Text::Own,
        Text::Common,
        Text::Common,
        Text::Bad,
        Text::Odd,
    ];
    Draft {
        account: c.of(&[0, 0, 0, 1, 2]),
        text: c.of(&texts),
        media: c.of(&[0, 0, 0, 1, 1, 2]),
        after: c.one_in(3).then(|| c.small(20)),
        in_s: due(c),
        priority: c.of(&[0, 0, 0, 1, -1]),
        campaign: c.one_in(3),
        key: c.one_in(8).then(|| c.small(2)),
        late_s: c.one_in(8).then(|| c.of(&[0, 10, 60, 600])),
        most: c.of(&[8, 8, 3, 2, 1]),
    }
}

fn post(c: &mut Chance) -> Post {
    if c.one_in(2) {
        return Post::Well;
    }
    c.of(&[
        Post::TokenBusy,
        Post::TokenFault,
        Post::Broken,
        Post::IntentUnheard,
        Post::RequestLost,
        Post::RequestLost,
        Post::AnswerLost,
        Post::AnswerLost,
        Post::AnswerLost,
        Post::Late(20),
        Post::Late(100),
        Post::NotSent,
        Post::Refused,
        Post::MediaRefused,
        Post::Suspended,
        Post::NoCredits,
        Post::Cut,
        Post::Cut,
        Post::SettledUnheard,
        Post::SettledUnheard,
    ])
}

fn upload(c: &mut Chance) -> Upload {
    if c.one_in(2) {
        return Upload::Well;
    }
    c.of(&[
        Upload::Well,
        Upload::Short,
        Upload::Short,
        Upload::PutOff,
        Upload::Missing,
        Upload::Failed,
        Upload::Release,
    ])
}

fn look(c: &mut Chance) -> Look {
    c.of(&[
        Look::Well,
        Look::Well,
        Look::Well,
        Look::Well,
        Look::Well,
        Look::Well,
        Look::Unread,
        Look::Limited,
        Look::Forbidden,
    ])
}

fn edit(c: &mut Chance) -> Edit {
    let (due, other, media) = (due(c), c.small(3), c.small(3));
    let after = c.one_in(2).then(|| c.small(20));
    c.of(&[
        Edit::Text,
        Edit::RunAt(due),
        Edit::RunAt(due),
        Edit::Priority(1),
        Edit::Priority(-1),
        Edit::Account(other),
        Edit::Account(other),
        Edit::Media(media),
        Edit::Media(media),
        Edit::After(after),
        Edit::Lateness(None),
        Edit::Lateness(Some(30)),
        Edit::Pause,
        Edit::Resume,
    ])
}

fn recur(c: &mut Chance) -> Recur {
    let account = c.small(3);
    c.of(&[
        Recur::New(account),
        Recur::New(account),
        Recur::New(account),
        Recur::Text,
        Recur::Cron,
        Recur::Pause,
        Recur::Resume,
        Recur::Delete,
    ])
}

fn long(c: &mut Chance) -> Long {
    if c.one_in(3) {
        return Long::Insert(draft(c));
    }
    let job = c.small(20);
    let (change, again) = (edit(c), recur(c));
    Long::Do(c.of(&[
        Person::Edit(job, change),
        Person::Edit(job, change),
        Person::Edit(job, change),
        Person::Edit(job, Edit::Text),
        Person::Cancel(job),
        Person::Retry(job),
        Person::Delete(job),
        Person::PauseCampaign,
        Person::ResumeCampaign,
        Person::Recur(0, again),
    ]))
}

fn held(c: &mut Chance) -> Op {
    let n = c.small(20);
    let (row, passers): (Row, &[Passer]) = match c.below(7) {
        0 | 1 => (
            Row::Lane(n),
            &[
                Passer::Claim,
                Passer::Claim,
                Passer::Expire,
                Passer::Missed,
                Passer::Held,
                Passer::Lanes,
            ],
        ),
        2 => (
            Row::Job(n),
            &[
                Passer::Claim,
                Passer::Expire,
                Passer::Missed,
                Passer::Held,
                Passer::Uploads,
                Passer::ClaimUploads,
                Passer::ClaimLooks,
                Passer::Signals,
            ],
        ),
        3 => (
            Row::Upload(n),
            &[Passer::ClaimUploads, Passer::Uploads, Passer::Claim],
        ),
        4 => (Row::Signal(n), &[Passer::Signals]),
        5 => (Row::Lease(n), &[Passer::ExpireUploads, Passer::ExpireLooks]),
        _ => (Row::Search(n), &[Passer::ClaimLooks]),
    };
    Op::Held(row, c.of(passers))
}
