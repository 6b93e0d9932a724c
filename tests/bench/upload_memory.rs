//! Peak memory of a worker that uploads one video of 512 MiB, the largest that X takes.
//!
//! Run it with `make bench`; it prints, it does not judge. The figure is `VmHWM` of the worker's process, which the
//! kernel keeps: nothing is missed between two looks.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that fails says so and prints"
)]

#[path = "../../crates/crier/tests/e2e/support.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the stage")]
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use support::Stage;

const VIDEO_BYTES: usize = 512 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;

#[tokio::main]
async fn main() {
    let folder = std::env::temp_dir().join(format!("crier-bench-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    write_video(&folder.join("film.mp4"));
    let stage = Stage::new(&serde_json::json!({})).await;
    stage.account("acme").await;
    let scheduler = stage.start("scheduler");
    let settings = [("CRIER__MEDIA__ROOT", folder.to_str().unwrap())];
    let worker = stage.start_with("worker", &settings);
    let begin = Instant::now();
    stage
        .sql(r#"insert into crier.jobs (account, text, media) values ('acme', 'long film', '[{"path": "film.mp4"}]')"#)
        .await;
    stage
        .until(
            "select state = 'published' as done from crier.jobs",
            Duration::from_mins(10),
        )
        .await;
    let took = begin.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!(
        "uploaded {} MiB in {:.1} s",
        VIDEO_BYTES / PIECE,
        took.as_secs_f64()
    );
    println!("worker {peak}");
    worker.stop().await;
    scheduler.stop().await;
    stage.done().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Ten seconds of film by its index, and exactly as large as X allows.
fn write_video(path: &std::path::Path) {
    let mut header = vec![0; 12];
    header.extend(1_000_u32.to_be_bytes());
    header.extend(10_000_u32.to_be_bytes());
    let moov = boxed(*b"moov", &boxed(*b"mvhd", &header));
    let ftyp = boxed(*b"ftyp", b"isom\0\0\0\0");
    let data = VIDEO_BYTES - ftyp.len() - moov.len() - 8;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&ftyp).unwrap();
    file.write_all(&u32::try_from(data + 8).unwrap().to_be_bytes())
        .unwrap();
    file.write_all(b"mdat").unwrap();
    let piece: Vec<u8> = (0..PIECE).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let mut left = data;
    while left > 0 {
        let part = left.min(PIECE);
        file.write_all(&piece[..part]).unwrap();
        left -= part;
    }
    file.write_all(&moov).unwrap();
}

fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &kind, content].concat()
}
