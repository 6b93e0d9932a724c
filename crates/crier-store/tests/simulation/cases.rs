//! Lists that once broke a promise, shrunk and named.

use crate::ops::Draft;
use crate::ops::Edit::After;
use crate::ops::Edit::Text;
use crate::ops::Long::{Commit, Do};
use crate::ops::Op::{Days, Insert, Long, Person, Schedule, Wait, Work};
use crate::ops::Person::{Edit, PauseCampaign, ResumeCampaign, Settle};
use crate::ops::Post::{AnswerLost, NotSent, RequestLost, Well};
use crate::ops::Schedule::{ActOnChecks, ReadChecks, Signals};
use crate::ops::Text::Common;
use crate::ops::Work::{Claim, ClaimLooks, ClaimUploads, Look, Post, Upload};
use crate::ops::{Look as Seen, Upload as File};
use crate::run::case;

const MEMBER: Draft = Draft {
    campaign: true,
    ..Draft::PLAIN
};

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
    case(&[
        Insert(MEMBER),
        Schedule(0, Signals(100)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Person(PauseCampaign),
        Work(0, Post(0, NotSent)),
        Work(0, Post(0, Well)),
    ])
    .await;
}

/// The reply was being edited in a transaction that stayed open, and no signal of anybody was applied.
#[tokio::test]
async fn a_reply_that_somebody_holds_keeps_no_signal_waiting() {
    let reply = Draft {
        after: Some(0),
        ..Draft::PLAIN
    };
    case(&[
        Insert(Draft::PLAIN),
        Insert(reply),
        Schedule(0, Signals(100)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Work(0, Post(0, Well)),
        Long(Do(Edit(1, Text))),
        Work(0, Post(0, Well)),
        Schedule(0, Signals(100)),
    ])
    .await;
}

/// The media id of a job was used up while somebody held its row, and no file of anybody was claimed.
#[tokio::test]
async fn a_job_that_somebody_holds_keeps_no_file_of_others_waiting() {
    let picture = Draft {
        media: 1,
        in_s: 600,
        ..Draft::PLAIN
    };
    case(&[
        Insert(picture),
        Schedule(0, ReadChecks),
        Schedule(0, ActOnChecks),
        Work(0, ClaimUploads(100)),
        Work(0, Upload(0, File::Short)),
        Work(0, Upload(0, File::Well)),
        Work(0, Upload(0, File::Well)),
        Long(Do(Edit(0, Text))),
        Wait(310),
        Work(0, ClaimUploads(100)),
    ])
    .await;
}

/// A person had it sent again while the pause of its campaign was open.
#[tokio::test]
async fn a_pause_that_is_committed_late_holds_what_was_put_off_meanwhile() {
    case(&[
        Insert(MEMBER),
        Schedule(0, Signals(100)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Work(0, Post(0, RequestLost)),
        Work(0, Post(0, Well)),
        Long(Do(PauseCampaign)),
        Person(Settle(0)),
        Long(Commit),
    ])
    .await;
}

/// It was paused by a campaign that was not paused any more, and nobody would ever have resumed it.
#[tokio::test]
async fn what_is_inserted_while_a_resume_is_open_goes_on_with_it() {
    case(&[
        Person(PauseCampaign),
        Long(Do(ResumeCampaign)),
        Insert(MEMBER),
        Long(Commit),
    ])
    .await;
    case(&[
        Person(PauseCampaign),
        Long(crate::ops::Long::Insert(MEMBER)),
        Person(ResumeCampaign),
        Long(Commit),
    ])
    .await;
}

/// Seed 3020: nobody looked for half a day, and then a job took the post of another with the same text.
#[tokio::test]
async fn equal_texts_do_not_steal_each_others_posts_however_late_somebody_looks() {
    let same = Draft {
        text: Common,
        ..Draft::PLAIN
    };
    case(&[
        Insert(same),
        Insert(same),
        Schedule(0, Signals(100)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Work(0, Post(0, AnswerLost)),
        Work(0, Post(0, Well)),
        Work(0, Claim(100)),
        Work(0, Post(0, Well)),
        Work(0, Post(0, RequestLost)),
        Work(0, Post(0, Well)),
        Days(1),
        Work(0, ClaimLooks(100)),
        Work(0, Look(1, Seen::Well)),
        Work(0, Look(1, Seen::Well)),
        Work(0, Look(1, Seen::Well)),
    ])
    .await;
}
