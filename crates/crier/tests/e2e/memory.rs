//! Memory stays flat: whatever the size of a file and the number of rows that wait.

use std::time::Duration;

use serde_json::json;

use crate::media::files::{Files, mp4};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(3);

/// The most memory that a process has had, in KiB; the kernel keeps it.
pub(crate) fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn memory_grows_neither_with_the_file_nor_with_the_backlog() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let files = Files::new();
    files.put("small.mp4", &mp4(2 * 1024 * 1024));
    files.put("large.mp4", &mp4(128 * 1024 * 1024));
    let scheduler = files.start(&stage, "scheduler");
    let worker = files.start(&stage, "worker");
    let post = async |file: &str| {
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text, media) values ('acme', '{file}', '[{{\"path\": \"{file}\"}}]')"
            ))
            .await;
        stage
            .until(
                &format!(
                    "select state = 'published' as done from crier.jobs where text = '{file}'"
                ),
                SOON,
            )
            .await;
        (peak_kib(scheduler.id()), peak_kib(worker.id()))
    };
    let before = post("small.mp4").await;
    stage
        .sql(
            "insert into crier.jobs (account, text, run_at)
             select 'acme', repeat('later ', 40) || n, crier.now() + interval '1 day' from generate_series(1, 20000) n",
        )
        .await;
    let after = post("large.mp4").await;
    // A file of 128 MiB and 20,000 rows of 300 bytes came in between; allowed is what an allocator keeps.
    let most = 12 * 1024;
    assert!(after.0 < before.0 + most, "scheduler: {before:?} {after:?}");
    assert!(after.1 < before.1 + most, "worker: {before:?} {after:?}");
    worker.stop().await;
    scheduler.stop().await;
    stage.done().await;
}
