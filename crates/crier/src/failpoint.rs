//! Dies on purpose: what a debug build does at the points that it reaches (`crier_core::failpoint`), as a test asks.
//!
//! `CRIER_FAILPOINT` is `DEED N POINT`, several with `;` between: at the `N`-th time that `POINT` is reached, this process
//! gets the signal of the deed, `kill`, `stop`, `term` or `abort`. A point is written as `before commit settle.rs:137`;
//! with `*` at its end it is the beginning of one. `CRIER_FAILPOINT_LOG` names a file that gets each point as a line,
//! before anything is done at it.
//!
//! **Invariant:** a release build has none of this. **Invariant:** nothing is done beyond a point at which the process was
//! stopped before it is told to go on, and beside a thread that dies there, no other passes a point of its own.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crier_core::failpoint::{Point, watch};

use crate::exit::Refusal;
use crate::processes::{Signal, signal};

/// What was asked for, and what of it has come to pass.
#[derive(Debug)]
struct Watch {
    orders: Vec<Order>,
    log: Option<File>,
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    deed: Deed,
    /// Times that the point is yet to be reached, this deed's included; 0 if it is done.
    left: u32,
    point: String,
    prefix: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Kill,
    Stop,
    Term,
    Abort,
}

static WATCH: OnceLock<Mutex<Watch>> = OnceLock::new();

/// Watches, if the variables ask for it.
pub(crate) fn arm(orders: Option<&str>, log: Option<&str>) -> anyhow::Result<()> {
    if orders.is_none() && log.is_none() {
        return Ok(());
    }
    let log = log
        .map(|path| File::options().create(true).append(true).open(path))
        .transpose()?;
    let mut read = Vec::new();
    for order in orders.unwrap_or_default().split(';') {
        if !order.trim().is_empty() {
            let Some(order) = parse(order.trim()) else {
                return Refusal::new(format!("`CRIER_FAILPOINT` cannot be read: `{order}`"))
                    .hint("it is `kill|stop|term|abort N before|after DEED NAME`")
                    .fail();
            };
            read.push(order);
        }
    }
    if WATCH.set(Mutex::new(Watch { orders: read, log })).is_ok() {
        watch(reached);
    }
    Ok(())
}

fn parse(order: &str) -> Option<Order> {
    let (deed, rest) = order.split_once(' ')?;
    let (times, point) = rest.split_once(' ')?;
    let deed = match deed {
        "kill" => Deed::Kill,
        "stop" => Deed::Stop,
        "term" => Deed::Term,
        "abort" => Deed::Abort,
        _ => return None,
    };
    let beginning = point.strip_suffix('*');
    Some(Order {
        deed,
        left: times.parse().ok().filter(|times| *times > 0)?,
        point: beginning.unwrap_or(point).to_owned(),
        prefix: beginning.is_some(),
    })
}

impl Watch {
    /// Notes that a point is reached; answers what is to be done there.
    fn due(&mut self, point: &str) -> Option<Deed> {
        let mut due = None;
        for order in &mut self.orders {
            let is_it = if order.prefix {
                point.starts_with(&order.point)
            } else {
                point == order.point
            };
            if is_it && order.left > 0 {
                order.left -= 1;
                if order.left == 0 {
                    due = Some(order.deed);
                }
            }
        }
        due
    }
}

fn reached(point: &Point<'_>) {
    let Some(watch) = WATCH.get() else { return };
    // Held while the deed is done: the others wait at their next point.
    let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
    let point = point.to_string();
    if let Some(log) = &mut watch.log {
        // In one write, so that two processes may share the file.
        let _ = log.write_all(format!("{point}\n").as_bytes());
    }
    let Some(deed) = watch.due(&point) else {
        return;
    };
    let process = std::process::id();
    match deed {
        Deed::Term => signal(process, Signal::Term),
        Deed::Abort => std::process::abort(),
        Deed::Kill => {
            signal(process, Signal::Kill);
            // It is on its way.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Deed::Stop => {
            signal(process, Signal::Stop);
            while stop_is_pending() {
                std::thread::yield_now();
            }
        }
    }
}

/// Whether the signal has not reached us yet. Once it has, this thread stops on its way out of the system call that says
/// so, and says so when it has been told to go on.
fn stop_is_pending() -> bool {
    const SIGSTOP: u32 = 19;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        // No such file on this system: the signal has surely arrived by then.
        std::thread::sleep(Duration::from_millis(300));
        return false;
    };
    status
        .lines()
        .filter_map(|line| line.strip_prefix("ShdPnd:"))
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & (1 << (SIGSTOP - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_due_at_its_time_and_once() {
        let read = |order: &str| parse(order).unwrap();
        let orders = vec![
            read("kill 2 before call POST /2/media/upload"),
            read("stop 1 after commit settle.rs:*"),
        ];
        let mut watch = Watch { orders, log: None };
        let told: Vec<_> = [
            "before call POST /2/media/upload",
            "before call POST /2/media/upload/initialize",
            "after commit settle.rs:7",
            "after commit settle.rs:8",
            "before call POST /2/media/upload",
            "before call POST /2/media/upload",
        ]
        .into_iter()
        .map(|point| watch.due(point))
        .collect();
        let (kill, stop) = (Some(Deed::Kill), Some(Deed::Stop));
        assert_eq!(told, [None, None, stop, None, kill, None]);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for order in [
            "kill",
            "kill 1",
            "kill 0 before x",
            "eat 1 before x",
            "kill one x",
        ] {
            assert_eq!(parse(order), None, "{order}");
        }
    }
}
