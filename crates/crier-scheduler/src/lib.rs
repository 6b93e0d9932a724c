//! Makes due work claimable: applies signals, looks at new rows, expands recurring posts, takes back leases of dead
//! workers, ends what is too late, keeps house; one scheduler leads.
//!
//! **Invariant:** everything here may be done twice, or by two at once, without harm: leadership saves work, it guards
//! nothing.

mod checks;
mod housekeeping;
mod inbox;
mod recurring;
mod round;
mod run;

pub use checks::{MediaProbe, ProbedFile, look};
pub use housekeeping::Housekeeping;
pub use run::{News, Scheduler, SchedulerOptions};
