//! What goes wrong: one thing after the other, often several at once, each with its end.

use serde_json::{Value, json};

use super::{ACCOUNTS, Deed, HOSTS, Side, Step, Tug};
use crate::chance::Chance;
use crate::hosts::{Blow, LEASE_S};

const CREATE: &str = "POST /2/tweets";
const TOKEN: &str = "POST /2/oauth2/token";
const MEDIA: [&str; 4] = [
    "POST /2/media/upload/initialize",
    "POST /2/media/upload/{id}/append",
    "POST /2/media/upload/{id}/finalize",
    "POST /2/media/metadata",
];
const READ: &str = "GET /2/users/{id}/tweets";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Kill,
    Freeze,
    Restart,
    Rolling,
    Terminate,
    Postgres,
    Cut,
    Hold,
    Slow,
    Lost,
    LostToken,
    Storm,
    TooMany,
    Sluggish,
}

struct Striker<'a> {
    chance: &'a mut Chance,
    steps: Vec<Step>,
    /// Until when each host has its hands full.
    busy: [u64; HOSTS.len()],
}

pub(super) fn faults(chance: &mut Chance, seconds: u64) -> Vec<Step> {
    let mut striker = Striker {
        chance,
        steps: Vec::new(),
        busy: [0; HOSTS.len()],
    };
    // Everything has ended a little before the end of the jobs.
    let end = (seconds * 1_000).saturating_sub(3_000);
    let mut at_ms = 3_000;
    while at_ms < end {
        striker.strike(at_ms, end);
        at_ms += striker.chance.between(300, 1_900);
    }
    // The database falls at regular intervals, whatever else happens.
    let mut at_ms = 20_000;
    while at_ms + 6_000 < end {
        striker.postgres(at_ms);
        at_ms += striker.chance.between(30_000, 50_000);
    }
    striker.steps
}

impl Striker<'_> {
    fn step(&mut self, at_ms: u64, deed: Deed) {
        self.steps.push(Step { at_ms, deed });
    }

    /// A host that has nothing else to bear for so long.
    fn host(&mut self, at_ms: u64, for_ms: u64) -> Option<usize> {
        let free: Vec<usize> = (0..HOSTS.len())
            .filter(|n| self.busy[*n] <= at_ms)
            .collect();
        if free.is_empty() {
            return None;
        }
        let host = self.chance.of(&free);
        self.busy[host] = at_ms + for_ms;
        Some(host)
    }

    fn postgres(&mut self, at_ms: u64) {
        let down = self.chance.between(100, 3_000);
        self.step(at_ms, Deed::PostgresDown);
        self.step(at_ms + down, Deed::PostgresUp);
    }

    fn strike(&mut self, at_ms: u64, end: u64) {
        let kind = self.chance.weighted(&[
            (14, Kind::Kill),
            (6, Kind::Freeze),
            (5, Kind::Restart),
            (1, Kind::Rolling),
            (6, Kind::Terminate),
            (1, Kind::Postgres),
            (8, Kind::Cut),
            (7, Kind::Hold),
            (4, Kind::Slow),
            (18, Kind::Lost),
            (4, Kind::LostToken),
            (5, Kind::Storm),
            (4, Kind::TooMany),
            (6, Kind::Sluggish),
        ]);
        match kind {
            Kind::Kill => {
                let down = self.chance.between(50, 6_000);
                if let Some(host) = self.host(at_ms, down + 2_000) {
                    self.step(at_ms, Deed::Blow(host, Blow::Kill));
                    self.step(at_ms + down, Deed::Blow(host, Blow::Start));
                }
            }
            Kind::Freeze => {
                // Longer than its lease, so that it wakes up as a zombie.
                let time = LEASE_S * 1_000 + self.chance.between(500, 6_000);
                if at_ms + time < end
                    && let Some(host) = self.host(at_ms, time + 1_000)
                {
                    self.step(at_ms, Deed::Blow(host, Blow::Freeze));
                    self.step(at_ms + time, Deed::Blow(host, Blow::Thaw));
                }
            }
            Kind::Restart => {
                if let Some(host) = self.host(at_ms, 8_000) {
                    self.step(at_ms, Deed::Blow(host, Blow::Restart));
                }
            }
            Kind::Rolling => {
                for host in 0..HOSTS.len() {
                    let at_ms = at_ms + 1_500 * u64::try_from(host).unwrap_or(0);
                    if self.busy[host] <= at_ms {
                        self.busy[host] = at_ms + 8_000;
                        self.step(at_ms, Deed::Blow(host, Blow::Restart));
                    }
                }
            }
            Kind::Terminate => self.step(at_ms, Deed::Terminate),
            Kind::Postgres => self.postgres(at_ms),
            Kind::Cut => {
                let (host, side) = (self.chance.below(HOSTS.len()), self.side());
                self.step(at_ms, Deed::Tug(host, side, Tug::Cut));
            }
            Kind::Hold | Kind::Slow => {
                let side = self.side();
                let (tug, time) = if matches!(kind, Kind::Hold) {
                    (Tug::Hold, self.chance.between(1_000, 9_000))
                } else {
                    let by = self.chance.between(20, 250);
                    (Tug::Slow(by), self.chance.between(3_000, 12_000))
                };
                if let Some(host) = self.host(at_ms, time) {
                    self.step(at_ms, Deed::Tug(host, side, tug));
                    self.step(at_ms + time, Deed::Tug(host, side, Tug::Open));
                }
            }
            Kind::Lost => {
                let route = self.chance.weighted(&[(5, CREATE), (4, ""), (1, READ)]);
                let route = if route.is_empty() {
                    self.chance.of(&MEDIA)
                } else {
                    route
                };
                // In pairs: from outside nobody can tell one from the other.
                for kind in [
                    "request_lost",
                    self.chance.of(&["answer_lost", "answer_lost", "cut"]),
                ] {
                    let skip = self.chance.below(4);
                    self.arm(at_ms, &json!({"route": route, "kind": kind, "skip": skip}));
                }
            }
            Kind::LostToken => {
                let kind = self
                    .chance
                    .of(&["request_lost", "request_lost", "answer_lost", "cut"]);
                self.arm(at_ms, &json!({"route": TOKEN, "kind": kind}));
            }
            Kind::Storm => {
                let route = self
                    .chance
                    .of(&[CREATE, CREATE, MEDIA[1], READ, TOKEN, "*"]);
                let status = self.chance.of(&[500, 502, 503, 504]);
                let time = self.chance.between(1, 6);
                let body = self.chance.of(&["<html>Over capacity</html>", ""]);
                self.arm(at_ms, &json!({"route": route, "kind": "answer", "status": status, "body": body, "for_s": time}));
            }
            Kind::TooMany => {
                let account = self.chance.of(&ACCOUNTS);
                let time = self.chance.between(4, 14);
                self.step(at_ms, Deed::Close(account, time));
            }
            Kind::Sluggish => {
                let route = self.chance.of(&[CREATE, CREATE, MEDIA[1], TOKEN, READ]);
                // Some longer than crier waits for a call.
                let delay = self.chance.of(&[300, 900, 2_500, 5_000, 8_000]);
                let times = self.chance.between(1, 6);
                self.arm(
                    at_ms,
                    &json!({"route": route, "kind": "slow", "delay_ms": delay, "times": times}),
                );
            }
        }
    }

    fn side(&mut self) -> Side {
        self.chance.of(&[Side::Database, Side::X])
    }

    fn arm(&mut self, at_ms: u64, fault: &Value) {
        self.step(at_ms, Deed::Arm(fault.clone()));
    }
}
