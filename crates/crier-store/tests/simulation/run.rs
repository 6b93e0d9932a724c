//! Running lists: seeds in order, a failing one shrunk and printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::db::{Db, setting};
use crate::ops::Op;
use crate::plan::Plan;
use crate::shrink::shrink;
use crate::world::{Broken, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 40;
/// Databases, and so lists at once.
const LANES: u64 = 2;

/// Does a list, then lets everything settle; answers how many operations did something and what it left.
pub(crate) async fn run(db: &Db, ops: &[Op], finish: bool) -> Result<(u32, String), Broken> {
    let mut ops = ops.iter().copied();
    run_all(db, &mut Vec::new(), |_| ops.next(), finish).await
}

/// Does what `next` says, and notes it in `said`.
async fn run_all(
    db: &Db,
    said: &mut Vec<Op>,
    mut next: impl FnMut(&World<'_>) -> Option<Op>,
    finish: bool,
) -> Result<(u32, String), Broken> {
    let mut world = World::new(db).await;
    while let Some(op) = next(&world) {
        said.push(op);
        let place = said.len();
        world
            .apply(op)
            .await
            .map_err(|broken| format!("at operation {place}, {op:?}: {broken}"))?;
    }
    let done = world.done;
    world
        .settle_all(finish)
        .await
        .map_err(|broken| format!("while everything settles: {broken}"))?;
    Ok((done, world.fingerprint().await))
}

/// Does what a seed says; answers its list, too.
async fn run_seed(db: &Db, seed: u64) -> (Vec<Op>, Result<(u32, String), Broken>) {
    let (mut plan, mut ops) = (Plan::new(seed), Vec::new());
    let result = run_all(
        db,
        &mut ops,
        |world| plan.next(|op| world.can(op)),
        finishes(seed),
    )
    .await;
    (ops, result)
}

/// Whether the workers do what they have in hand before everything settles, or die.
fn finishes(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// A list that once failed.
pub(crate) async fn case(ops: &[Op]) {
    let db = Db::new().await;
    for finish in [true, false] {
        if let Err(broken) = run(&db, ops, finish).await {
            panic!("{broken}");
        }
    }
    db.drop().await;
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}"))
    })
}

async fn seed(db: &Db, seed: u64, is_shown: bool) -> (usize, u32) {
    let (ops, result) = run_seed(db, seed).await;
    if is_shown {
        eprintln!("seed {seed}:\n{}", lines(&ops));
    }
    match result {
        Ok((done, _)) => (ops.len(), done),
        Err(broken) => {
            let finish = finishes(seed);
            let shrinks = setting("CRIER_SIM_SHRINK").is_none_or(|it| it != "0");
            assert!(shrinks, "seed {seed} breaks a promise: {broken}");
            let few = shrink(db, &ops, finish, &broken).await;
            let again = run(db, &few, finish).await.err().unwrap_or_default();
            panic!(
                "seed {seed} breaks a promise: {broken}\nas few operations ({again}):\n{}",
                lines(&few)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_whatever_happens() {
    let (from, count) = match number("CRIER_SIM_SEED") {
        Some(one) => (one, 1),
        None => (
            number("CRIER_SIM_FROM").unwrap_or(0),
            number("CRIER_SIM_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let begin = Instant::now();
    let next = Arc::new(AtomicU64::new(from));
    let lanes: Vec<_> = (0..LANES.min(count))
        .map(|_| {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let db = Db::new().await;
                let (mut ops, mut done, mut seeds) = (0, 0, 0_u64);
                loop {
                    let mine = next.fetch_add(1, Ordering::Relaxed);
                    if mine >= from + count {
                        break;
                    }
                    let (more, did) = seed(&db, mine, count == 1).await;
                    (ops, done, seeds) = (ops + more, done + did, seeds + 1);
                }
                db.drop().await;
                (ops, done, seeds)
            })
        })
        .collect();
    let (mut ops, mut done, mut seeds) = (0, 0, 0);
    for lane in lanes {
        let (more, did, ran) = lane.await.unwrap();
        (ops, done, seeds) = (ops + more, done + did, seeds + ran);
    }
    eprintln!(
        "{seeds} seeds, {ops} operations ({done} did something), {:.1} s",
        begin.elapsed().as_secs_f64()
    );
}

#[tokio::test]
async fn a_seed_does_the_same_twice() {
    let db = Db::new().await;
    for seed in 500..504 {
        let (ops, result) = run_seed(&db, seed).await;
        assert_eq!(result, run(&db, &ops, finishes(seed)).await, "seed {seed}");
    }
    db.drop().await;
}

/// As it is pasted into `cases.rs`.
fn lines(ops: &[Op]) -> String {
    let lines: Vec<String> = ops.iter().map(|op| format!("        {op:?},")).collect();
    lines.join("\n")
}
