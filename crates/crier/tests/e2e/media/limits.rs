//! Length, frame and number of frames, read from the files themselves and held against X's limits.

use std::time::Duration;

use serde_json::json;

use super::files::{Files, film, gif, png};
use super::{ALL_PUBLISHED, SOON, calls, list, setting};
use crate::support::Stage;

#[tokio::test]
async fn what_x_would_not_take_fails_its_job_within_seconds_with_both_figures() {
    let (stage, files) = setting(&json!({})).await;
    files.put("long.mp4", &film(9_000, 140_120, Some((1280, 720))));
    files.put("short.mp4", &film(9_000, 499, Some((1280, 720))));
    files.put("thin.mp4", &film(9_000, 9_000, Some((400, 100))));
    files.put("tiny.mp4", &film(9_000, 9_000, Some((30, 30))));
    files.put("ad.mp4", &film(9_000, 600_001, Some((1280, 720))));
    files.put("frames.gif", &gif(100, 100, 351));
    files.put("wide.gif", &gif(1281, 100, 2));
    files.put("pixels.gif", &gif(1280, 1080, 218));
    files.put("full.mp4", &film(9_000, 9_000, Some((1920, 1080))));
    files.put("fine.mp4", &film(9_000, 140_000, Some((720, 1280))));
    files.put("fine.gif", &gif(1280, 1080, 217));
    let crier = files.start(&stage, "run");
    stage
        .sql(
            r#"insert into crier.jobs (account, text, run_at, media)
               select 'acme', file, crier.now() + interval '1 day',
                      jsonb_build_array(jsonb_build_object('path', file)
                        || case when file = 'ad.mp4' then '{"category": "amplify_video"}' else '{}' end::jsonb)
                 from unnest(array['long.mp4', 'short.mp4', 'thin.mp4', 'tiny.mp4', 'ad.mp4', 'frames.gif', 'wide.gif',
                                   'pixels.gif', 'full.mp4', 'fine.mp4', 'fine.gif']) as file"#,
        )
        .await;
    stage
        .until(
            "select count(*) filter (where state = 'failed') = 8 and count(warning) = 1
                and not exists (select 1 from crier.job_checks c join crier.jobs_open j on j.id = c.job_id and j.warning is null) as done
               from crier.jobs",
            Duration::from_secs(8),
        )
        .await;
    let jobs = stage
        .rows("select text, coalesce(error, warning)->>'code' as code, coalesce(error, warning)->>'detail' as detail from crier.jobs order by id")
        .await;
    for (job, (text, code, figures)) in jobs.iter().zip([
        ("long.mp4", "media_too_long", &["140.12 s", "140 s"][..]),
        ("short.mp4", "media_too_short", &["0.499 s", "0.5"]),
        ("thin.mp4", "media_aspect", &["400x100", "3:1"]),
        ("tiny.mp4", "media_too_narrow", &["30x30", "32x32"]),
        ("ad.mp4", "media_too_long", &["600.001 s", "600 s"]),
        ("frames.gif", "media_too_many_frames", &["351", "350"]),
        ("wide.gif", "media_too_wide", &["1281x100", "1280x1080"]),
        (
            "pixels.gif",
            "media_too_many_pixels",
            &["301363200", "300000000"],
        ),
        ("full.mp4", "media_too_wide", &["1920x1080", "1280x1024"]),
    ]) {
        assert_eq!((&job["text"], &job["code"]), (&json!(text), &json!(code)));
        let detail = job["detail"].as_str().unwrap();
        assert!(figures.iter().all(|f| detail.contains(f)), "{detail}");
    }
    for fine in &jobs[9..] {
        assert_eq!(fine["code"], json!(null), "{fine}");
    }
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_worker_looks_itself_before_it_uploads_and_a_premium_account_may_more() {
    let (stage, files) = setting(&json!({"max_video_ms": 100_000_000})).await;
    stage.account("rich").await;
    stage
        .sql("update crier.accounts set tier = 'premium' where handle = 'rich'")
        .await;
    files.put("long.mp4", &film(9_000, 200_000, Some((1920, 1080))));
    files.put("full.mp4", &film(9_000, 9_000, Some((1920, 1080))));
    let blind = [("CRIER__SCHEDULER__CHECK_MEDIA", "false")];
    let crier = files.start_with(&stage, "run", &blind);
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values
                 ('acme', 'too long', '[{"path": "long.mp4"}]'), ('rich', 'not too long', '[{"path": "long.mp4"}]'),
                 ('acme', 'scaled down by X', '[{"path": "full.mp4"}]')"#,
        )
        .await;
    stage
        .until(
            "select count(*) filter (where state = 'failed') = 1 and count(*) filter (where state = 'published') = 2 as done from crier.jobs",
            SOON,
        )
        .await;
    let failed = stage
        .rows("select text, error->>'code' as code, error->>'step' as step from crier.jobs where state = 'failed'")
        .await;
    let wanted = json!({"text": "too long", "code": "media_too_long", "step": "media"});
    assert_eq!(failed, [wanted]);
    let begun = calls(&stage, "POST /2/media/upload/initialize").await;
    assert_eq!(begun.len(), 2, "not one call for what is too long");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_file_that_only_seems_to_be_one_is_for_x_to_judge() {
    let (stage, files) = setting(&json!({})).await;
    // Heads of each kind with nonsense behind them.
    for (name, head) in [
        ("a.jpg", &b"\xff\xd8\xff\xe0"[..]),
        ("b.png", b"\x89PNG\r\n\x1a\n"),
        ("c.webp", b"RIFF\x10\0\0\0WEBPVP8L"),
        ("d.bmp", b"BM\x3a\0\0\0\0\0\0\0"),
    ] {
        files.put(name, &[head, &[0xff; 300]].concat());
    }
    files.put("e.gif", b"GIF89a\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values
                 ('acme', 'pictures', '[{"path": "a.jpg"}, {"path": "b.png"}, {"path": "c.webp"}, {"path": "d.bmp"}]'),
                 ('acme', 'gif', '[{"path": "e.gif"}]')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage
        .until(
            "select bool_and(state in ('published', 'failed')) as done from crier.jobs",
            SOON,
        )
        .await;
    let posts = list(&stage, "/_sim/posts").await;
    assert!(
        posts.iter().any(|post| post["text"] == "pictures"),
        "{posts:?}"
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn gifs_go_as_gifs() {
    let (stage, files) = setting(&json!({"processing_delay_ms": 300})).await;
    let cat = gif(320, 200, 12);
    let sha = files.put("cat.gif", &cat);
    stage
        .sql(
            r#"insert into crier.jobs (account, text, media) values
                 ('acme', 'moving', '[{"path": "cat.gif", "alt_text": "a cat"}]'),
                 ('acme', 'still', '[{"path": "cat.gif", "category": "tweet_image"}, {"path": "cat.gif", "category": "tweet_image"}]')"#,
        )
        .await;
    let crier = files.start(&stage, "run");
    stage.until(ALL_PUBLISHED, SOON).await;
    let posts = list(&stage, "/_sim/posts").await;
    let moving = posts.iter().find(|post| post["text"] == "moving").unwrap();
    assert_eq!(
        moving["media"],
        json!([{"sha256": sha, "bytes": cat.len(), "category": "tweet_gif", "alt_text": "a cat"}])
    );
    let still = posts.iter().find(|post| post["text"] == "still").unwrap();
    assert_eq!(still["media"][1]["category"], "tweet_image");
    let media = list(&stage, "/_sim/media").await;
    assert!(media.iter().all(|m| m["media_type"] == "image/gif"));
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_file_too_large_for_its_kind_fails_its_job_alone_within_seconds() {
    let files = Files::new();
    files.put("huge.png", &png(5 * 1024 * 1024 + 1));
    files.put("fine.png", &png(5 * 1024 * 1024));
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let crier = files.start(&stage, "run");
    stage
        .sql(
            r#"insert into crier.jobs (account, text, run_at, media) values
                 ('acme', 'huge', crier.now() + interval '1 day', '[{"path": "huge.png"}]'),
                 ('acme', 'fine', crier.now() + interval '1 day', '[{"path": "fine.png"}]')"#,
        )
        .await;
    stage
        .until(
            "select state = 'failed' as done from crier.jobs where id = 1",
            Duration::from_secs(8),
        )
        .await;
    let jobs = stage
        .rows("select state, error->>'code' as code, warning from crier.jobs order by id")
        .await;
    assert_eq!(
        jobs,
        [
            json!({"state": "failed", "code": "media_too_large", "warning": null}),
            json!({"state": "scheduled", "code": null, "warning": null}),
        ]
    );
    crier.stop().await;
    stage.done().await;
}
