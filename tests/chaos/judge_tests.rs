//! The judge of chaos is judged: whatever breaks one promise is told under that promise, and nothing else is.

#![expect(
    clippy::unwrap_used,
    clippy::assigning_clones,
    reason = "a test that fails says so; what is changed is easier to see as an assignment"
)]

mod judge;
#[expect(dead_code, reason = "only the notes are looked at here")]
mod tally;
#[expect(dead_code, reason = "the measurements read the rest")]
mod truth;

use judge::{Breach, PROMISES, judge};
use tally::{Closed, Notes};
use truth::{Attempt, Call, Job, Post, Truth};

const SECOND: i64 = 1_000_000;
const KEYS: [&str; 5] = ["plain", "later", "picture", "reply", "cancelled"];

fn job(id: i64, key: &str, run_s: i64) -> Job {
    Job {
        id,
        key: key.to_owned(),
        account: "ada".to_owned(),
        text: format!("text of {key}"),
        state: "published".to_owned(),
        post_id: Some(format!("90{id}")),
        attempts: 1,
        run_us: run_s * SECOND,
        ..Job::default()
    }
}

fn post(of: &Job, at_s: i64) -> Post {
    Post {
        id: of.post_id.clone().unwrap(),
        account: of.account.clone(),
        text: of.text.clone(),
        at_us: at_s * SECOND,
        ..Post::default()
    }
}

fn attempt(of: &Job, started_s: i64) -> Attempt {
    Attempt {
        job: of.id,
        account: of.account.clone(),
        started_us: started_s * SECOND,
        finished_us: (started_s + 1) * SECOND,
        status: 201,
        ..Attempt::default()
    }
}

fn call(route: &str, status: i64, at_s: i64) -> Call {
    Call {
        route: route.to_owned(),
        account: "ada".to_owned(),
        status,
        at_us: at_s * SECOND,
        ..Call::default()
    }
}

/// Two plain posts, one with a picture, a reply to it, and one that was cancelled: all as it should be.
fn fine() -> Truth {
    let (plain, later) = (job(1, "plain", 100), job(2, "later", 101));
    let mut picture = job(3, "picture", 102);
    picture.files = vec!["bands.png".to_owned()];
    let mut reply = job(4, "reply", 103);
    reply.after = Some(3);
    let mut cancelled = job(5, "cancelled", 104);
    (cancelled.state, cancelled.post_id) = ("cancelled".to_owned(), None);
    let mut posts = vec![
        post(&plain, 120),
        post(&later, 121),
        post(&picture, 122),
        post(&reply, 123),
    ];
    posts[2].media = vec![("5a".to_owned(), "alt of bands.png".to_owned())];
    posts[3].reply_to = Some("903".to_owned());
    Truth {
        attempts: vec![
            attempt(&plain, 119),
            attempt(&later, 120),
            attempt(&picture, 121),
            attempt(&reply, 122),
        ],
        calls: vec![
            call("POST /2/oauth2/token", 200, 90),
            call("POST /2/tweets", 201, 120),
        ],
        hashes: [("bands.png".to_owned(), "5a".to_owned())].into(),
        jobs: vec![plain, later, picture, reply, cancelled],
        posts,
    }
}

/// One way to break a promise: its name, and what is changed in a run that was fine.
type Break = (&'static str, &'static str, fn(&mut Truth, &mut Notes));

const BREAKS: [Break; 22] = [
    (
        "posted twice",
        "a second post of a published job",
        |truth, _| {
            truth.posts.push(Post {
                id: "999".to_owned(),
                ..truth.posts[0].clone()
            });
        },
    ),
    (
        "posted twice",
        "a second post of one with a picture",
        |truth, _| {
            truth.posts.push(Post {
                id: "999".to_owned(),
                ..truth.posts[2].clone()
            });
        },
    ),
    (
        "posted twice",
        "a post of a job that is still to go out",
        |truth, _| {
            (truth.jobs[0].state, truth.jobs[0].post_id) = ("failed".to_owned(), None);
            (truth.jobs[0].code, truth.jobs[0].crashes) = ("quarantined".to_owned(), 3);
        },
    ),
    (
        "posted twice",
        "two posts of one unknown job",
        |truth, _| {
            (truth.jobs[0].state, truth.jobs[0].post_id) = ("unknown".to_owned(), None);
            truth.jobs[0].code = "unknown_not_found".to_owned();
            truth.posts.push(Post {
                id: "999".to_owned(),
                ..truth.posts[0].clone()
            });
        },
    ),
    ("lost", "a row that is gone", |truth, _| {
        truth.jobs.remove(1);
        truth.posts.remove(1);
    }),
    (
        "lost",
        "a published job whose post X does not have",
        |truth, _| {
            truth.posts.remove(0);
        },
    ),
    ("lost", "a published job without a post", |truth, _| {
        truth.jobs[0].post_id = None;
        truth.posts.remove(0);
    }),
    ("lost", "one post for two jobs", |truth, _| {
        truth.jobs[1].text = truth.jobs[0].text.clone();
        truth.jobs[1].post_id = truth.jobs[0].post_id.clone();
        truth.posts.remove(1);
    }),
    (
        "bare or with the wrong files",
        "a post without its picture",
        |truth, _| {
            truth.posts[2].media.clear();
        },
    ),
    (
        "bare or with the wrong files",
        "another picture",
        |truth, _| {
            truth.posts[2].media[0].0 = "5b".to_owned();
        },
    ),
    (
        "bare or with the wrong files",
        "a picture without its alt text",
        |truth, _| {
            truth.posts[2].media[0].1.clear();
        },
    ),
    (
        "bare or with the wrong files",
        "a picture that is not the row's",
        |truth, _| {
            truth.posts[0].media = truth.posts[2].media.clone();
        },
    ),
    ("broken threads", "a reply to nothing", |truth, _| {
        truth.posts[3].reply_to = None;
    }),
    ("broken threads", "a reply to another post", |truth, _| {
        truth.posts[3].reply_to = Some("901".to_owned());
    }),
    (
        "another text than the row's",
        "an edit that came too late",
        |truth, _| {
            truth.posts[0].text = "text before the edit".to_owned();
        },
    ),
    (
        "another text than the row's",
        "a post that nobody wrote",
        |truth, _| {
            truth.posts.push(Post {
                id: "999".to_owned(),
                account: "ada".to_owned(),
                text: "?".to_owned(),
                ..Post::default()
            });
        },
    ),
    ("out of order", "the later one first", |truth, _| {
        (truth.posts[0].at_us, truth.posts[1].at_us) = (truth.posts[1].at_us, truth.posts[0].at_us);
    }),
    (
        "posted after a cancel",
        "a post of a cancelled job",
        |truth, _| {
            let mut post = post(&job(5, "cancelled", 104), 125);
            post.id = "999".to_owned();
            truth.posts.push(post);
        },
    ),
    (
        "sent into a closed window",
        "a call after the refusal",
        |truth, notes| {
            notes.closed.push(Closed {
                account: "ada".to_owned(),
                from_us: 110 * SECOND,
                until_us: 130 * SECOND,
            });
            truth.attempts.push(Attempt {
                status: 429,
                ..attempt(&truth.jobs[0], 111)
            });
        },
    ),
    (
        "refresh token used twice",
        "a spent token, though its answer was heard",
        |truth, _| {
            truth.calls.push(call("POST /2/oauth2/token", 400, 91));
        },
    ),
    ("no way forward", "a job that still waits", |truth, _| {
        (truth.jobs[1].state, truth.jobs[1].post_id) = ("scheduled".to_owned(), None);
        truth.posts.remove(1);
    }),
    (
        "no way forward",
        "a process that ended by itself",
        |_, notes| {
            notes.odd_ends.push("worker-1: exit code 101".to_owned());
        },
    ),
];

fn told(breaches: &[Breach]) -> String {
    let lines = breaches.iter().map(|breach| {
        let job = breach.job.unwrap_or_default();
        format!("{}: job {job}: {}\n", breach.promise, breach.words)
    });
    lines.collect()
}

#[test]
fn a_run_that_kept_all_promises_is_found_so() {
    let breaches = judge(&fine(), &KEYS, &Notes::default());
    assert!(breaches.is_empty(), "{}", told(&breaches));
}

#[test]
fn whatever_breaks_a_promise_is_told_under_that_promise_alone() {
    for (promise, what, deed) in BREAKS {
        let (mut truth, mut notes) = (fine(), Notes::default());
        deed(&mut truth, &mut notes);
        let breaches = judge(&truth, &KEYS, &notes);
        assert!(!breaches.is_empty(), "{what}: nothing was found");
        for breach in &breaches {
            assert_eq!(breach.promise, promise, "{what}: {}", told(&breaches));
        }
    }
}

#[test]
fn every_promise_is_broken_by_a_test() {
    for promise in PROMISES {
        assert!(
            BREAKS.iter().any(|(broken, ..)| *broken == promise),
            "{promise}"
        );
    }
}

#[test]
fn what_is_no_fault_of_criers_is_not_held_against_it() {
    let mut truth = fine();
    let mut notes = Notes::default();
    // One post whose job is left to a person, who was told so.
    (truth.jobs[0].state, truth.jobs[0].post_id) = ("unknown".to_owned(), None);
    truth.jobs[0].code = "unknown_not_found".to_owned();
    // A spent token that went out again because its answer was lost.
    truth.calls[0].fault = "answer_lost".to_owned();
    truth.calls.push(call("POST /2/oauth2/token", 400, 92));
    // A row that the database refused in words.
    notes.refused.push("refused".to_owned());
    let keys = [&KEYS[..], &["refused"]].concat();
    let breaches = judge(&truth, &keys, &notes);
    assert!(breaches.is_empty(), "{}", told(&breaches));
}
