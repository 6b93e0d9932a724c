//! Making a failing list small: operations are taken out while it still fails in the same way.

use crate::db::Db;
use crate::ops::Op;
use crate::run::run;

/// Runs that shrinking may cost.
const MOST_RUNS: u32 = 600;

/// The words of a broken promise without its numbers: two failures are of one kind if these are the same.
fn kind(broken: &str) -> String {
    let words = broken.rsplit("}: ").next().unwrap_or(broken);
    let words = words
        .split_once("settles: ")
        .map_or(words, |(_, rest)| rest);
    words
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(40)
        .collect()
}

/// A list that fails as `ops` does and is no longer than it must be.
pub(crate) async fn shrink(db: &Db, ops: &[Op], finish: bool, broken: &str) -> Vec<Op> {
    let (kind_of_all, mut few) = (kind(broken), ops.to_vec());
    let (mut size, mut runs) = (few.len().div_ceil(2), 0);
    while size > 0 && runs < MOST_RUNS {
        let (mut place, mut is_less) = (0, false);
        while place < few.len() && runs < MOST_RUNS {
            let mut without = few.clone();
            without.drain(place..(place + size).min(few.len()));
            runs += 1;
            match run(db, &without, finish).await {
                Err(broken) if kind(&broken) == kind_of_all => (few, is_less) = (without, true),
                Ok(_) | Err(_) => place += size,
            }
        }
        if !(is_less && size == 1) {
            size /= 2;
        }
    }
    few
}
