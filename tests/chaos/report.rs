//! The report: short and aligned for people, one JSON object for programs, a folder of evidence for whoever mends.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::judge::{Breach, PROMISES};
use crate::measure::{Figures, Times, clocks};
use crate::run::World;
use crate::truth::Truth;

const WIDTH: usize = 44;
/// Breaches that are shown one by one.
const SHOWN: usize = 12;

pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) calm_s: u64,
    pub(crate) figures: &'a Figures,
    pub(crate) breaches: &'a [Breach],
    pub(crate) folder: &'a Path,
}

fn line(page: &mut String, what: &str, figure: impl std::fmt::Display) {
    let dots = ".".repeat(WIDTH.saturating_sub(what.chars().count()));
    writeln!(page, "  {what} {dots} {figure}").unwrap();
}

fn table<'a, N: std::fmt::Display + 'a>(
    page: &mut String,
    title: &str,
    rows: impl Iterator<Item = (&'a String, N)>,
) {
    writeln!(page, "\n{title}").unwrap();
    for (what, n) in rows {
        line(page, what, format!("{n:>6}"));
    }
}

fn times(times: &Times) -> String {
    let seconds = |percent| {
        let ms = times.percentile(percent);
        format!("{:>6}.{:02}", ms / 1_000, ms % 1_000 / 10)
    };
    format!(
        "{} {} {} {:>6}",
        seconds(50),
        seconds(95),
        seconds(100),
        times.count()
    )
}

impl Report<'_> {
    fn broken(&self, promise: &str) -> usize {
        self.breaches
            .iter()
            .filter(|breach| breach.promise == promise)
            .count()
    }

    pub(crate) fn for_people(&self) -> String {
        let figures = self.figures;
        let mut page = format!(
            "crier chaos: seed {}, {} s of faults, {} s until all was at its end; clocks: {}\n\nPROMISES\n",
            self.seed,
            self.seconds,
            self.calm_s,
            clocks()
        );
        for promise in PROMISES {
            let n = self.broken(promise);
            let mark = if n == 0 { "kept" } else { "BROKEN" };
            line(&mut page, promise, format!("{n:>6}  {mark}"));
        }
        writeln!(page, "\nJOBS").unwrap();
        line(&mut page, "in", format!("{:>6}", figures.jobs));
        line(&mut page, "posts live", format!("{:>6}", figures.posts));
        line(
            &mut page,
            "of them with files",
            format!("{:>6}", figures.with_files),
        );
        line(
            &mut page,
            "of them replies in a thread",
            format!("{:>6}", figures.in_threads),
        );
        for (how, n) in &figures.ended {
            line(&mut page, how, format!("{n:>6}"));
        }
        table(
            &mut page,
            "STRUCK BY",
            figures.faults.iter().filter(|(_, n)| **n > 0),
        );
        table(&mut page, "ATTEMPTS", figures.attempts.iter());
        writeln!(page, "\nCALLS").unwrap();
        line(&mut page, "create calls", format!("{:>6}", figures.creates));
        line(&mut page, "refreshes", format!("{:>6}", figures.refreshes));
        line(
            &mut page,
            "logins that were asked for",
            format!("{:>6}", figures.logins),
        );
        let columns = format!("{:>9} {:>9} {:>9} {:>6}", "p50", "p95", "max", "of");
        writeln!(
            page,
            "\n{:<width$}{columns}",
            "TIMES in seconds",
            width = WIDTH + 4
        )
        .unwrap();
        let rows = [
            (
                "after a worker's death, beyond its lease",
                &figures.after_death,
            ),
            ("after a restart of Postgres", &figures.after_postgres),
            ("lateness", &figures.lateness),
        ];
        for (what, measured) in rows {
            line(&mut page, what, times(measured));
        }
        if self.breaches.is_empty() {
            writeln!(page, "\nEvery promise was kept. Seed {}.", self.seed).unwrap();
        } else {
            writeln!(page, "\nBROKEN").unwrap();
            for breach in self.breaches.iter().take(SHOWN) {
                let job = breach
                    .job
                    .map_or(String::new(), |job| format!("job {job}: "));
                writeln!(page, "  {}: {job}{}", breach.promise, breach.words).unwrap();
            }
            if self.breaches.len() > SHOWN {
                writeln!(page, "  and {} more", self.breaches.len() - SHOWN).unwrap();
            }
            let folder = self.folder.display();
            writeln!(
                page,
                "\nEvidence: {folder}\nAgain: make chaos SEED={} SECONDS={}",
                self.seed, self.seconds
            )
            .unwrap();
        }
        page
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.figures;
        let broken: BTreeMap<&str, usize> = PROMISES
            .iter()
            .map(|promise| (*promise, self.broken(promise)))
            .collect();
        let times = |times: &Times| json!({"count": times.count(), "p50_ms": times.percentile(50), "p95_ms": times.percentile(95), "max_ms": times.percentile(100)});
        json!({
            "seed": self.seed,
            "seconds": self.seconds,
            "calm_s": self.calm_s,
            "broken": broken,
            "breaches": self.breaches.iter().map(|breach| json!({
                "promise": breach.promise, "job": breach.job, "detail": breach.words,
            })).collect::<Vec<_>>(),
            "jobs": figures.jobs,
            "posts": figures.posts,
            "posts_with_files": figures.with_files,
            "replies": figures.in_threads,
            "ended": figures.ended,
            "faults": figures.faults,
            "attempts": figures.attempts,
            "create_calls": figures.creates,
            "refreshes": figures.refreshes,
            "logins": figures.logins,
            "after_death": times(&figures.after_death),
            "after_postgres": times(&figures.after_postgres),
            "lateness": times(&figures.lateness),
            "clocks": clocks(),
        })
    }

    /// Everything about each job whose promise was broken, one file a job, and what both sides hold as a whole.
    pub(crate) async fn keep_evidence(&self, world: &World, truth: &Truth) {
        let _ = std::fs::copy(world.postgres_log(), self.folder.join("logs/postgres.log"));
        let store = &world.ground.store;
        let kept = [
            ("jobs", "select * from crier.jobs order by id"),
            ("attempts", "select * from crier.attempts order by id"),
            (
                "media_uploads",
                "select * from crier.media_uploads order by id",
            ),
            (
                "lanes",
                "select l.*, a.handle, a.status, a.reason from crier.lanes l join crier.accounts a on a.id = l.account_id",
            ),
            ("leases", "select * from crier.leases"),
            ("reconciles", "select * from crier.reconciles"),
        ];
        for (name, query) in kept {
            let rows = store.select_json(query).await.unwrap();
            write_lines(&self.folder.join(format!("{name}.jsonl")), &rows);
        }
        for (name, path) in [("posts", "/_sim/posts"), ("requests", "/_sim/requests")] {
            write_lines(
                &self.folder.join(format!("{name}.jsonl")),
                &world.x.list(path).await,
            );
        }
        for breach in self.breaches {
            let Some(id) = breach.job else { continue };
            let page = about(id, world, truth).await;
            std::fs::write(self.folder.join(format!("job-{id}.txt")), page).unwrap();
        }
    }
}

fn write_lines(path: &Path, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

/// A job's row, ledger and posts, X's calls of its account about then, and what the processes said of it.
async fn about(id: i64, world: &World, truth: &Truth) -> String {
    let store = &world.ground.store;
    let mut page = String::new();
    for table in [
        format!("select * from crier.jobs where id = {id}"),
        format!("select * from crier.attempts where job_id = {id} order by id"),
        format!("select * from crier.media_uploads where job_id = {id} order by id"),
    ] {
        for row in store.select_json(&table).await.unwrap() {
            writeln!(page, "{row}").unwrap();
        }
    }
    let Some(job) = truth.jobs.iter().find(|job| job.id == id) else {
        return page;
    };
    writeln!(page, "\nposts of that text").unwrap();
    for post in &truth.posts {
        if post.account == job.account && post.text.trim() == job.text.trim() {
            writeln!(page, "{post:?}").unwrap();
        }
    }
    let tries: Vec<_> = truth
        .attempts
        .iter()
        .filter(|attempt| attempt.job == id)
        .collect();
    let from = tries
        .iter()
        .map(|attempt| attempt.started_us)
        .min()
        .unwrap_or(job.run_us);
    let to = tries
        .iter()
        .map(|attempt| attempt.finished_us)
        .max()
        .unwrap_or(from);
    writeln!(page, "\ncalls of {} meanwhile", job.account).unwrap();
    for call in &truth.calls {
        if call.account == job.account && (from - 2_000_000..to + 30_000_000).contains(&call.at_us)
        {
            writeln!(
                page,
                "{} {} {} {}",
                call.at_us, call.route, call.status, call.fault
            )
            .unwrap();
        }
    }
    writeln!(page, "\nwhat the processes said").unwrap();
    for entry in std::fs::read_dir(&world.ground.logs).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for said in text
            .lines()
            .filter(|said| said.contains(&format!("job={id} ")))
        {
            writeln!(page, "{name}: {said}").unwrap();
        }
    }
    page
}
