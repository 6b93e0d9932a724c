//! Rows that people, mistakes and attackers write: each is refused in words or ends by itself, and all others go out.

mod rows;

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};

use crate::media::files::{Files, png};
use crate::memory::peak_kib;
use crate::support::{Role, Stage};

const SOON: Duration = Duration::from_mins(2);
/// Most characters of a line of the log, of a refusal, and of the texts of a fault, whatever a row holds.
const MOST: usize = 4_000;

/// Tries each row for itself, so that one that is refused takes no other with it.
fn tried(who: &str, rows: &[String]) -> String {
    let one = |(number, row): (usize, &String)| {
        format!(
            "begin {row}; insert into public.tried values ('{who}', {number}, 'taken', '');
             exception when others then insert into public.tried values ('{who}', {number}, sqlstate, sqlerrm); end;"
        )
    };
    let all: String = rows.iter().enumerate().map(one).collect();
    format!("do $do$ begin {all} end $do$")
}

async fn list(stage: &Stage, path: &str) -> Vec<Value> {
    stage.sim("GET", path, "").await.as_array().unwrap().clone()
}

#[tokio::test]
async fn whatever_rows_hold_they_harm_only_themselves() {
    let stage = Stage::new(&json!({})).await;
    for handle in ["writer", "owner", "past", "good", "fine"] {
        stage.account(handle).await;
    }
    let files = Files::new();
    files.put("a.png", &png(5_000));
    let log = format!("{}/log", files.folder());
    let mut command = stage.command(&["run"]);
    command
        .env("CRIER__MEDIA__ROOT", files.folder())
        .env("CRIER__MEDIA__SPOOL_DIR", files.spool())
        .env(
            "CRIER__LOG__FILTER",
            "info,crier=debug,crier_worker=debug,crier_scheduler=debug",
        )
        .stderr(File::create(&log).unwrap());
    let crier = Role::spawn(&mut command);
    let good = |when: &str| {
        format!(
            r#"insert into crier.jobs (account, text, media) values ('good', 'good {when}', '[]'), ('fine', 'fine {when}', '[{{"path": "a.png"}}]')"#
        )
    };
    stage.sql(&good("before")).await;
    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs",
            SOON,
        )
        .await;
    let before = peak_kib(crier.id());

    // By somebody who may only insert, by the owner, as edits of the owner, and past all triggers; good rows in between.
    stage
        .sql("create table public.tried (who text, number int, state text, words text); grant insert on public.tried to crier_writer")
        .await;
    let inserts = rows::inserts();
    let by = |account: &str| -> Vec<String> {
        inserts
            .iter()
            .map(|row| row.replace("'ME'", &format!("'{account}'")))
            .collect()
    };
    stage
        .sql(&format!(
            "set local role crier_writer; {}",
            tried("writer", &by("writer"))
        ))
        .await;
    stage.sql(&good("between")).await;
    let mut of_owner = by("owner");
    of_owner.extend(rows::inserts_of_owner());
    stage.sql(&tried("owner", &of_owner)).await;
    stage
        .sql("insert into crier.jobs (account, text, run_at, priority) select 'owner', 'to be edited', crier.now() + interval '1 day', 77")
        .await;
    stage.sql(&tried("editor", &rows::edits())).await;
    stage
        .sql(&format!(
            "set local session_replication_role = replica; {};
             insert into crier.lane_signals (account_id, due_at) select account_id, crier.now() from crier.jobs_open where campaign = 'past';
             insert into crier.job_checks (job_id) select id from crier.jobs_open where campaign = 'past'",
            tried("past", &rows::past_all())
        ))
        .await;
    stage
        .sql("insert into crier.jobs (account, text) select a, 'after all ' || n from unnest(array['good', 'fine']) a, generate_series(1, 3) n")
        .await;

    stage
        .until(
            "select bool_and(state = 'published') as done from crier.jobs where account in ('good', 'fine')",
            SOON,
        )
        .await;
    stage
        .until(
            "select not exists (select 1 from crier.job_checks where next_at <= crier.now())
                and not exists (select 1 from crier.lane_signals) and not exists (select 1 from crier.lanes where next_at <= crier.now() or in_flight)
                and not exists (select 1 from crier.leases) as done",
            SOON,
        )
        .await;
    // Refused in words that fit a screen.
    let tried = stage.rows("select * from public.tried").await;
    let (mut taken, mut refused) = (0, 0);
    for row in &tried {
        let (ended, words) = (
            row["state"].as_str().unwrap(),
            row["words"].as_str().unwrap(),
        );
        if ended == "taken" {
            taken += 1;
            continue;
        }
        refused += 1;
        // A rule, a bad value, too deep or too large for Postgres, no right to that column.
        let kind = ["22", "23", "42", "54", "55"]
            .iter()
            .any(|kind| ended.starts_with(kind));
        assert!(kind && words.chars().count() <= 1_000, "{row}");
    }
    assert!(taken > 60 && refused > 120, "{taken} {refused}");
    // What went out is what its row says, once and by its account; nothing without its media.
    let posts = list(&stage, "/_sim/posts").await;
    let jobs = stage
        .rows("select id, account, text, crier.readable(media) as media, state, post_id, crier.readable(error) as error from crier.jobs")
        .await;
    let mut published = 0;
    for job in &jobs {
        let mine: Vec<_> = posts
            .iter()
            .filter(|post| post["id"] == job["post_id"])
            .collect();
        match job["state"].as_str().unwrap() {
            "published" => {
                published += 1;
                assert_eq!(mine.len(), 1, "{job}");
                assert_eq!(mine[0]["text"], job["text"], "{job}");
                assert_eq!(mine[0]["account"], job["account"], "{job}");
                assert_eq!(
                    mine[0]["media"].as_array().map_or(0, Vec::len),
                    job["media"].as_array().unwrap().len()
                );
            }
            "failed" => {
                let error = &job["error"];
                assert!(error["code"].is_string() && error["hint"] != "", "{job}");
                let shown = error["detail"].as_str().unwrap_or_default().chars().count();
                assert!(shown <= MOST, "{shown}");
            }
            _ => {}
        }
    }
    assert_eq!(posts.len(), published);
    // One text of 10 MB came past all bounds, and is held a few times over while it is judged; it stays with nobody.
    let after = peak_kib(crier.id());
    assert!(after < before + 300 * 1024, "{before} {after} KiB");
    // Nobody died or broke down, and no line of the log is long or acts.
    crier.stop().await;
    let log = std::fs::read_to_string(&log).unwrap();
    for line in log.lines() {
        assert!(
            line.chars().count() <= MOST,
            "{}",
            line.chars().take(MOST).collect::<String>()
        );
        assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line}");
        for word in ["panicked", "broke down", "crashed", "forged"] {
            assert!(!line.contains(word) || line.contains("\\n"), "{line}");
        }
    }
    // What is shown on a terminal does not act on it either.
    for words in [
        &["jobs", "list", "--limit", "1000"][..],
        &["accounts", "list"],
        &["jobs", "lint"],
    ] {
        let (code, out, err) = stage.say(words).await;
        assert!(matches!(code, Some(0 | 1)), "{words:?}: {err}");
        still(&out);
        still(&err);
    }
    let acting = |job: &&Value| job["text"].as_str().unwrap().contains('\u{1b}');
    let some = jobs
        .iter()
        .filter(|job| job["account"] == "past")
        .step_by(25);
    for job in jobs.iter().filter(acting).chain(some) {
        for word in ["show", "why"] {
            let (code, out, err) = stage
                .say(&["jobs", word, "--", &job["id"].to_string()])
                .await;
            assert_eq!(code, Some(0), "{job}: {err}");
            still(&out);
            still(&err);
        }
    }
    stage.done().await;
}

/// Nothing that moves a cursor, changes a colour or the direction, or hides what follows.
fn still(shown: &str) {
    let acts = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.chars().any(acts), "{shown:?}");
}
