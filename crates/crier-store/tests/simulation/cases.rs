//! Lists that once broke a promise, shrunk and named.

use crate::ops::Draft;
use crate::ops::Edit::After;
use crate::ops::Op::{Insert, Person, Schedule, Work};
use crate::ops::Person::{Edit, PauseCampaign};
use crate::ops::Post::{NotSent, Well};
use crate::ops::Schedule::Signals;
use crate::ops::Work::{Claim, Post};
use crate::run::case;

/// Seed 370: two jobs waited for each other.
#[tokio::test]
async fn a_thread_never_runs_in_a_circle() {
    let reply = Draft {
        after: Some(0),
        ..Draft::PLAIN
    };
    case(&[
        Insert(Draft::PLAIN),
        Insert(reply),
        Person(Edit(0, After(Some(1)))),
    ])
    .await;
}

/// Its campaign was paused while it was being sent, and it was sent again all the same when that failed.
#[tokio::test]
async fn what_is_put_off_while_its_campaign_is_paused_waits_with_it() {
    let member = Draft {
        campaign: true,
        ..Draft::PLAIN
    };
    case(&[
        Insert(member),
        Schedule(0, Signals(100)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Person(PauseCampaign),
        Work(0, Post(0, NotSent)),
        Work(0, Post(0, Well)),
    ])
    .await;
}
