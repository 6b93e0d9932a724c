//! SIGTERM at every point that a worker reaches on the way of a text, a picture and a film.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lot::Lot;
use crate::media::files::{Files, mp4, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";
/// A run meets one point of so many, by lot.
const PART: usize = 4;
/// What a worker may take to end, in whole.
const GRACE: Duration = Duration::from_secs(8);

/// A text, a picture and a film, each of an account of its own.
async fn jobs(stage: &Stage, round: usize) {
    stage
        .sql(&format!(
            r#"insert into crier.jobs (account, text) values ('text', 'text {round}');
               insert into crier.jobs (account, text, media) values ('picture', 'picture {round}', '[{{"path": "p.png", "alt_text": "p"}}]'),
                 ('film', 'film {round}', '[{{"path": "f.mp4"}}]')"#
        ))
        .await;
}

/// Points that a worker passes, each once, in order; what only looks for work is left out.
fn points(log: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    log.lines()
        .filter(|point| !point.contains("until_") && seen.insert((*point).to_owned()))
        .map(str::to_owned)
        .collect()
}

/// Whether a worker has come to the point, at which it is told to end.
fn is_met(log: &str, point: &str) -> bool {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().any(|line| line == point)
}

#[tokio::test]
async fn sigterm_at_any_point_ends_well_and_burns_nothing() {
    let stage = Stage::new(&json!({})).await;
    let files = Files::new();
    files.put("p.png", &png(30_000));
    files.put("f.mp4", &mp4(150_000));
    for account in ["text", "picture", "film"] {
        stage.account(account).await;
    }
    let scheduler = files.start(&stage, "scheduler");
    let log = format!("{}/points", files.folder());
    let segments = ("CRIER__MEDIA__SEGMENT_BYTES", "65536");
    let grace_s = GRACE.as_secs().to_string();
    let grace = ("CRIER__WORKER__STOP_GRACE_S", grace_s.as_str());
    jobs(&stage, 0).await;
    let first = files.start_with(
        &stage,
        "worker",
        &[segments, ("CRIER_FAILPOINT_LOG", log.as_str())],
    );
    stage.until(ALL_PUBLISHED, SOON).await;
    first.stop().await;
    let all = points(&std::fs::read_to_string(&log).unwrap());
    for needed in [
        "before call POST /2/tweets",
        "after call POST /2/tweets",
        "before commit settle.rs",
        "after commit claim.rs",
        "before call POST /2/media/upload/{id}/append",
        "after call POST /2/media/upload/{id}/finalize",
    ] {
        assert!(
            all.iter().any(|point| point.starts_with(needed)),
            "{needed} is not among {all:#?}"
        );
    }
    let lot = Lot::draw("SIGTERM", "CRIER_TERM_POINTS", PART);
    let met: Vec<(usize, &String)> = all
        .iter()
        .enumerate()
        .filter(|(place, _)| lot.has_place(*place))
        .collect();
    let log = format!("{}/met", files.folder());
    for (place, point) in &met {
        // Texts of its own: the first round had number 0.
        jobs(&stage, place + 1).await;
        let order = format!("term 1 {point}");
        let mut worker = files.start_with(
            &stage,
            "worker",
            &[
                segments,
                grace,
                ("CRIER_FAILPOINT", order.as_str()),
                ("CRIER_FAILPOINT_LOG", log.as_str()),
            ],
        );
        let (mut polls, mut told) = (0, None);
        let status = loop {
            if told.is_none() && is_met(&log, point) {
                told = Some(Instant::now());
            }
            if let Some(status) = worker.ended() {
                break status;
            }
            if let Some(told) = told {
                assert!(
                    told.elapsed() < GRACE,
                    "{point}: it has not ended within its grace"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            if stage.rows(ALL_PUBLISHED).await == [json!({"done": true})] {
                // Not met this time: points of a race.
                let unmet = format!("  not reached: {point}\n");
                let _ = std::io::stderr().write_all(unmet.as_bytes());
                worker.stop().await;
                break std::process::ExitStatus::default();
            }
            polls += 1;
            assert!(polls < 3_000, "{point}: neither ends nor is done");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let _ = std::fs::remove_file(&log);
        assert!(status.success(), "{point}: {status}");
        let held = stage.rows("select kind, phase from crier.leases").await;
        assert_eq!(held, [json!(null); 0], "{point}: nothing stays held");
    }
    let last = files.start_with(&stage, "worker", &[segments]);
    stage.until(ALL_PUBLISHED, SOON).await;
    last.stop().await;
    scheduler.stop().await;
    let burned = stage
        .rows("select max(attempts) as attempts, max(crashes) as crashes, count(*) as jobs from crier.jobs")
        .await;
    let wanted = 3 * (met.len() + 1);
    assert_eq!(
        burned,
        [json!({"attempts": 1, "crashes": 0, "jobs": wanted})],
    );
    let posts = stage.sim("GET", "/_sim/posts", "").await;
    let posts: &Vec<Value> = posts.as_array().unwrap();
    let texts: BTreeSet<&str> = posts
        .iter()
        .map(|post| post["text"].as_str().unwrap())
        .collect();
    assert_eq!((texts.len(), posts.len()), (wanted, wanted), "each once");
    let bare = posts.iter().any(|post| {
        let files = post["media"].as_array().map_or(0, Vec::len);
        files != usize::from(!post["text"].as_str().unwrap().starts_with("text"))
    });
    assert!(!bare, "{posts:?}");
    stage.done().await;
}
