//! Makes due work claimable: applies signals, takes back leases of dead workers; one scheduler leads.
//!
//! **Invariant:** everything here may be done twice, or by two at once, without harm: leadership saves work, it guards
//! nothing.

mod run;

pub use run::{Scheduler, SchedulerOptions};
