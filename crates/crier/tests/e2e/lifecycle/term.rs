//! SIGTERM at every point that a worker reaches on the way of a text, a picture and a film.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, mp4, png};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";
/// Each point is met in one of so many runs of the tests, which one by its place; `CRIER_TERM_POINTS=all` meets all.
const PART: usize = 4;

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

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever has more time may ask for all points"
)]
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
    let every = std::env::var("CRIER_TERM_POINTS").is_ok_and(|wanted| wanted == "all");
    let met: Vec<(usize, &String)> = all
        .iter()
        .enumerate()
        .filter(|(place, _)| every || place % PART == 1)
        .collect();
    for (place, point) in &met {
        jobs(&stage, *place).await;
        let order = format!("term 1 {point}");
        let mut worker = files.start_with(
            &stage,
            "worker",
            &[segments, ("CRIER_FAILPOINT", order.as_str())],
        );
        let mut polls = 0;
        let status = loop {
            if let Some(status) = worker.ended() {
                break status;
            }
            if stage.rows(ALL_PUBLISHED).await == [json!({"done": true})] {
                // Not met this time: points of a race.
                worker.stop().await;
                break std::process::ExitStatus::default();
            }
            polls += 1;
            assert!(polls < 1_200, "{point}: neither ends nor is done");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
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
        [json!({"attempts": 1, "crashes": 0, "jobs": wanted})]
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
