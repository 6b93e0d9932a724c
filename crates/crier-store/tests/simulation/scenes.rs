//! Operations that often go together, so that rare meetings are not left to chance alone.

use crate::chance::Chance;
use crate::ops::{Edit, Long, Look, Op, Person, Post, Recur, Schedule, Token, Upload, Work};

/// What often goes together, so that rare meetings are not left to chance alone.
pub(crate) type Scene = fn(&mut Chance) -> Vec<Op>;

pub(crate) const SCENES: &[Scene] = &[
    // What is due is claimed.
    |c| vec![signals(c), claim(c)],
    // A worker stalls, and its job is taken over.
    |c| {
        vec![
            claim(c),
            begin(c),
            Op::Wait(31),
            expire(c),
            signals(c),
            claim(c),
            begin(c),
        ]
    },
    |c| vec![Op::Wait(31), expire(c), signals(c), claim(c)],
    |c| {
        let (scheduler, worker) = (c.small(2), c.small(3));
        vec![
            Op::Work(worker, Work::ClaimUploads(100)),
            Op::Work(worker, Work::Upload(0, Upload::Well)),
            Op::Wait(31),
            Op::Schedule(scheduler, Schedule::ExpireUploads),
            Op::Work((worker + 1) % 3, Work::ClaimUploads(100)),
        ]
    },
    |c| {
        let (scheduler, worker) = (c.small(2), c.small(3));
        vec![
            Op::Work(worker, Work::ClaimLooks(100)),
            Op::Wait(31),
            Op::Schedule(scheduler, Schedule::ExpireLooks),
            Op::Work((worker + 1) % 3, Work::ClaimLooks(100)),
        ]
    },
    // Files are planned and uploaded.
    |c| {
        let (scheduler, worker) = (c.small(2), c.small(3));
        let mut ops = vec![
            Op::Schedule(scheduler, Schedule::ReadChecks),
            Op::Schedule(scheduler, Schedule::ActOnChecks),
            Op::Work(worker, Work::ClaimUploads(100)),
        ];
        ops.extend((0..6).map(|_| Op::Work(worker, Work::Upload(0, Upload::Well))));
        ops
    },
    // A job goes to another account while a worker holds it.
    |c| {
        let edit = Op::Person(Person::Edit(c.small(20), Edit::Account(c.small(3))));
        vec![signals(c), claim(c), edit, signals(c), claim(c)]
    },
    // People act while something is being sent.
    |c| {
        let job = c.small(20);
        let acts = [
            Person::Cancel(job),
            Person::Edit(job, Edit::Text),
            Person::Edit(job, Edit::Pause),
            Person::PauseCampaign,
            Person::CancelCampaign,
            Person::PauseAccount(c.small(3)),
        ];
        let (worker, how) = (
            c.small(3),
            c.of(&[Post::NotSent, Post::NotSent, Post::AnswerLost, Post::Well]),
        );
        vec![
            signals(c),
            claim(c),
            begin(c),
            Op::Person(c.of(&acts)),
            Op::Work(worker, Work::Post(0, how)),
            Op::Work(worker, Work::Post(0, Post::Well)),
        ]
    },
    // A person's transaction is open while others go on.
    |c| {
        let (job, worker) = (c.small(20), c.small(3));
        let acts = [
            Person::Edit(job, Edit::Text),
            Person::Edit(job, Edit::RunAt(0)),
            Person::Edit(job, Edit::Priority(1)),
            Person::Edit(job, Edit::Account(c.small(3))),
            Person::Cancel(job),
            Person::PauseCampaign,
        ];
        vec![
            signals(c),
            claim(c),
            Op::Long(Long::Do(c.of(&acts))),
            begin(c),
            begin(c),
            Op::Work(worker, Work::Post(0, Post::Well)),
            signals(c),
            Op::Long(c.of(&[Long::Commit, Long::Rollback])),
            begin(c),
        ]
    },
    // The database fails in the midst of an attempt.
    |c| {
        let at = c.small(10);
        let mut ops = vec![signals(c), claim(c)];
        let place = usize::from(c.small(5));
        ops.extend((0..3).map(|_| begin(c)));
        ops.insert(place.min(ops.len()), Op::Cut(at));
        ops
    },
    // A token is refreshed, and somebody stalls.
    |c| {
        let (worker, account) = (c.small(3), c.small(3));
        let late = c.of(&[1, 1, 125]);
        vec![
            Op::Work(worker, Work::Refresh(account)),
            Op::Work(worker, Work::Token(0, Token::Well)),
            Op::Wait(late),
            Op::Work((worker + 1) % 3, Work::Refresh(account)),
            Op::Work((worker + 1) % 3, Work::Token(0, Token::Well)),
            Op::Work(worker, Work::Token(0, Token::Well)),
            Op::Work(worker, Work::Refresh(account)),
        ]
    },
    // Slots become jobs, while the post that repeats is changed.
    |c| {
        let n = c.small(2);
        let acts = [Recur::Text, Recur::Cron, Recur::Pause, Recur::Resume];
        vec![
            Op::Person(Person::Recur(n, Recur::New(c.small(3)))),
            Op::Schedule(0, Schedule::ReadRecurring),
            Op::Schedule(1, Schedule::ReadRecurring),
            Op::Schedule(0, Schedule::Expand),
            Op::Person(Person::Recur(n, c.of(&acts))),
            Op::Schedule(1, Schedule::Expand),
            Op::Wait(c.of(&[60, 300, 900])),
            Op::Schedule(0, Schedule::ReadRecurring),
            Op::Schedule(0, Schedule::Expand),
        ]
    },
    // Old history goes.
    |c| vec![Op::Days(c.of(&[2, 40])), Op::Schedule(0, Schedule::Trim(1))],
    // An answer is lost, and somebody looks for the post.
    |c| {
        let lost = [
            Post::AnswerLost,
            Post::RequestLost,
            Post::Late(100),
            Post::NotSent,
            Post::NotSent,
            Post::Refused,
        ];
        let worker = c.small(3);
        vec![
            signals(c),
            claim(c),
            begin(c),
            Op::Work(worker, Work::Post(0, c.of(&lost))),
            Op::Work(worker, Work::Post(0, Post::Well)),
            Op::Wait(c.of(&[15, 61])),
            Op::Work(worker, Work::ClaimLooks(100)),
            Op::Work(worker, Work::Look(0, Look::Well)),
        ]
    },
];

fn signals(c: &mut Chance) -> Op {
    Op::Schedule(c.small(2), Schedule::Signals(100))
}

fn claim(c: &mut Chance) -> Op {
    Op::Work(c.small(3), Work::Claim(100))
}

fn begin(c: &mut Chance) -> Op {
    Op::Work(c.small(3), Work::Post(c.small(3), Post::Well))
}

fn expire(c: &mut Chance) -> Op {
    Op::Schedule(c.small(2), Schedule::Expire)
}
