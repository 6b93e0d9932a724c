//! Heartbeats: is every loop of this process still turning?
//!
//! **Invariant:** a loop that dies, hangs or panics is found out by its silence; only a loop that says it is done is
//! forgotten. Ages are monotonic, so that no step of the wall clock makes a healthy process look dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The heartbeats of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health {
    beats: Arc<Mutex<Beats>>,
}

#[derive(Debug, Default)]
struct Beats {
    next: u64,
    loops: BTreeMap<u64, Beat>,
}

#[derive(Debug)]
struct Beat {
    name: &'static str,
    max_age: Duration,
    at: Instant,
}

/// A loop that has been silent for too long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stalled {
    /// The loop.
    pub name: &'static str,
    /// Seconds since it was last heard.
    pub silent_seconds: f64,
    /// Seconds it may be silent.
    pub allowed_seconds: f64,
}

/// The end that a loop holds. Dropping it without [`Heartbeat::finish`] is a crash and will show as a stall.
#[derive(Debug)]
#[must_use = "a loop that never beats counts as stalled"]
pub struct Heartbeat {
    id: u64,
    health: Health,
}

impl Health {
    /// Without any loop: healthy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a loop that promises to beat at least this often, starting now. Two loops may share a name.
    pub fn register(&self, name: &'static str, max_age: Duration) -> Heartbeat {
        let mut beats = self.lock();
        let id = beats.next;
        beats.next += 1;
        beats.loops.insert(
            id,
            Beat {
                name,
                max_age,
                at: Instant::now(),
            },
        );
        Heartbeat {
            id,
            health: self.clone(),
        }
    }

    /// The loops that, at this instant, have been silent for too long.
    pub fn stalled(&self, at: Instant) -> Vec<Stalled> {
        let beats = self.lock();
        let silence = |beat: &Beat| at.saturating_duration_since(beat.at);
        let late = beats
            .loops
            .values()
            .filter(|beat| silence(beat) > beat.max_age);
        late.map(|beat| Stalled {
            name: beat.name,
            silent_seconds: silence(beat).as_secs_f64(),
            allowed_seconds: beat.max_age.as_secs_f64(),
        })
        .collect()
    }

    /// How many loops are registered.
    pub(crate) fn loops(&self) -> usize {
        self.lock().loops.len()
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// The loop is alive.
    pub fn beat(&self) {
        if let Some(beat) = self.health.lock().loops.get_mut(&self.id) {
            beat.at = Instant::now();
        }
    }

    /// The loop ended because it was told to.
    pub fn finish(self) {
        self.health.lock().loops.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn silence_beyond_the_promise_is_a_stall() {
        let health = Health::new();
        let beat = health.register("claim", MINUTE);
        let now = Instant::now();
        assert!(health.stalled(now).is_empty());
        let late = health.stalled(now + MINUTE * 2);
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].name, "claim");
        assert!(late[0].silent_seconds > late[0].allowed_seconds);
        beat.finish();
    }

    #[test]
    fn a_beat_starts_the_count_anew() {
        let health = Health::new();
        let beat = health.register("claim", MINUTE);
        let registered = health.lock().loops[&beat.id].at;
        std::thread::sleep(Duration::from_millis(20));
        let late = registered + MINUTE + Duration::from_millis(10);
        assert_eq!(health.stalled(late).len(), 1);
        beat.beat();
        assert!(health.stalled(late).is_empty());
    }

    #[test]
    fn a_loop_that_is_done_is_forgotten_and_one_that_crashed_is_not() {
        let health = Health::new();
        health.register("done", MINUTE).finish();
        drop(health.register("crashed", MINUTE));
        let late: Vec<_> = health
            .stalled(Instant::now() + MINUTE * 2)
            .into_iter()
            .map(|late| late.name)
            .collect();
        assert_eq!(late, ["crashed"]);
    }

    #[test]
    fn loops_of_one_name_are_judged_apart() {
        let health = Health::new();
        let _patient = health.register("lane", MINUTE * 3);
        let _strict = health.register("lane", MINUTE);
        assert_eq!(health.stalled(Instant::now() + MINUTE * 2).len(), 1);
    }
}
