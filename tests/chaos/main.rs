//! Chaos: real processes on a real Postgres against the simulator, everything broken on purpose for some minutes, and
//! then a judgement from outside: nothing lost, nothing twice.
//!
//! `make chaos` runs it; `SECONDS=600` for longer, `SEED=7` for the same plan again. Exit code 1 if a promise was broken,
//! with the evidence in a folder that it names.
//! `ARGS=--blind` has unknown jobs sent again without a look, which posts twice: the judge must say so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a harness that fails says so and prints"
)]

mod chance;
mod files;
mod hosts;
mod judge;
mod measure;
mod people;
mod plan;
mod postgres;
mod proxy;
mod reading;
mod report;
mod run;
mod tally;
mod truth;
mod x;

use std::path::Path;
use std::process::ExitCode;

use report::Report;

/// What was asked for.
struct Wanted {
    seed: u64,
    seconds: u64,
    json: bool,
    /// Only shows the plan.
    plan: bool,
    /// Unknown jobs are sent again without a look.
    blind: bool,
}

fn wanted() -> Wanted {
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        let given = words.get(at + 1).filter(|word| !word.is_empty())?;
        let Ok(number) = given.parse() else {
            panic!("`{name} {given}`: not a number");
        };
        Some(number)
    };
    let any = uuid::Uuid::new_v4().as_u128() % 1_000_000;
    Wanted {
        seed: number("--seed").unwrap_or(u64::try_from(any).unwrap()),
        seconds: number("--seconds").unwrap_or(180),
        json: words.iter().any(|word| word == "--json"),
        plan: words.iter().any(|word| word == "--plan"),
        blind: words.iter().any(|word| word == "--blind"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let wanted = wanted();
    let plan = plan::plan(wanted.seed, wanted.seconds);
    if wanted.plan {
        for step in &plan {
            println!("{:>8} {:?}", step.at_ms, step.deed);
        }
        return ExitCode::SUCCESS;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let folder = root
        .join("target/chaos")
        .join(format!("seed-{}", wanted.seed));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    eprintln!(
        "crier chaos: seed {}, {} s, {} steps",
        wanted.seed,
        wanted.seconds,
        plan.len()
    );
    let faketime = match hosts::faketime().await {
        Ok(library) => library,
        Err(words) => {
            eprintln!("crier chaos: no host's clock can be off\n{words}");
            return ExitCode::from(2);
        }
    };
    let mut world = run::World::new(&root, &folder, faketime, wanted.blind).await;
    world.suffer(&plan).await;
    eprintln!("crier chaos: the faults are over; waiting until all is at its end");
    world.calm_down().await;
    let truth = reading::truth(&world).await;
    let notes = world.ground.tally.all();
    let breaches = judge::judge(&truth, &plan::keys(&plan), &notes);
    let figures = measure::figures(&truth, &notes);
    let report = Report {
        seed: wanted.seed,
        seconds: wanted.seconds,
        calm_s: world.calm.as_secs(),
        figures: &figures,
        breaches: &breaches,
        folder: &folder,
    };
    report.keep_evidence(&world, &truth).await;
    std::fs::write(folder.join("report.json"), report.json().to_string()).unwrap();
    if wanted.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.for_people());
    }
    if breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
