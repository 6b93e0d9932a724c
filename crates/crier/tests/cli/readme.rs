//! The README's first real post, followed to the letter: its own commands, in a shell, in a folder of their own.

use std::process::{Child, Stdio};

use super::command;
use super::desk::Desk;

/// A child that goes with its handle.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The commands of the steps, a block a step, without the first, which builds, and the last, which is X's.
fn blocks() -> Vec<String> {
    let page = include_str!("../../../../README.md");
    let steps = page.split_once("## The first real post").unwrap().1;
    let steps = steps.split_once("**8.").unwrap().0;
    let blocks: Vec<String> = steps
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.trim().to_owned())
        .collect();
    assert!(blocks[0].starts_with("cargo install"), "{blocks:?}");
    blocks[1..].to_vec()
}

#[test]
fn the_first_real_post_can_be_followed_step_by_step() {
    let desk = Desk::new();
    let mut sim = command(&["sim", "--listen", "127.0.0.1:0"], &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut base = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(sim.stdout.take().unwrap()),
        &mut base,
    )
    .unwrap();
    let _sim = Shell(sim);
    let folder =
        std::env::temp_dir().join(format!("crier-readme-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    let steps: Vec<String> = blocks()
        .into_iter()
        .map(|block| {
            block
                .replace(
                    "postgres://postgres:password@127.0.0.1:5432/postgres",
                    &desk.url,
                )
                .replace("http://127.0.0.1:8090", base.trim())
        })
        .collect();
    let [database, key, x, media, rows] = &steps[..] else {
        panic!("the README has other steps than this test knows: {steps:#?}")
    };
    let script = format!(
        "set -euo pipefail\n{database}\n{key}\n{x}\n{media}\n\
         CRIER__EXPORTER__LISTEN=127.0.0.1:0 crier run >run.out 2>run.err & trap 'kill $!; wait $!' EXIT\n{rows}\n"
    );
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_crier"))
        .parent()
        .unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(&folder)
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
        )
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}\n{out}{err}");
    for part in [
        "job 1  acme  published",
        "job 2  acme  published",
        "\"text\":\"We are live!\"",
        "\"alt_text\":\"Bands of colour\"",
    ] {
        assert!(out.contains(part), "no `{part}` in\n{out}{err}");
    }
    std::fs::remove_dir_all(folder).unwrap();
    desk.close();
}
