//! Operations that often go together, so that rare meetings are not left to chance alone.

use crate::chance::Chance;
use crate::ops::{Edit, Look, Op, Person, Post, Schedule, Upload, Work};

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
