//! People: they insert, cancel and edit rows by plain SQL, pause campaigns, and log in again when they are told to.
//!
//! When the database is gone they do what everybody does: the same again, until it takes it. Their rows carry a
//! `dedupe_key`, so that an insert whose answer was lost is one row all the same.

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crier_store::{Ruling, Store, StoreError};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::files;
use crate::hosts::{Ground, KEY};
use crate::plan::{Draft, Wish};
use crate::x::X;

/// Life of access tokens: so short that they are refreshed all the time, and longer than crier waits between two refreshes.
pub(crate) const TOKEN_LIFE_S: u64 = 75;
/// Longest that a person tries the same again.
const PATIENCE: Duration = Duration::from_mins(2);

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn row(draft: &Draft) -> String {
    let media: Vec<_> = draft
        .files
        .iter()
        .map(|(name, _)| json!({"path": name, "alt_text": format!("alt of {name}")}))
        .map(|mut item| {
            if item["path"]
                .as_str()
                .is_some_and(|path| path.ends_with("mp4"))
            {
                item.as_object_mut().unwrap().remove("alt_text");
            }
            item
        })
        .collect();
    let mut row = format!(
        "({}, {}, {}, {}, crier.now() + interval '{} milliseconds', {}, {}, ",
        quoted(draft.account),
        quoted(&draft.key),
        quoted(&draft.text),
        quoted(&json!(media).to_string()),
        draft.run_in_ms,
        draft.priority,
        draft.campaign.map_or("null".to_owned(), quoted),
    );
    match &draft.after {
        None => row.push_str("null)"),
        Some(key) => write!(
            row,
            "(select job_id from crier.job_keys where dedupe_key = {}))",
            quoted(key)
        )
        .unwrap(),
    }
    row
}

fn insert(drafts: &[Draft]) -> String {
    let rows: Vec<String> = drafts.iter().map(row).collect();
    format!(
        "insert into crier.jobs (account, dedupe_key, text, media, run_at, priority, campaign, after) values {}",
        rows.join(",\n")
    )
}

/// Whether the server said no, rather than nothing.
fn is_refusal(error: &StoreError) -> bool {
    let said = error.to_string();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let said = format!("{said} {}", cause.unwrap_or_default());
    ["cannot be", "nothing can reply", "being sent"]
        .iter()
        .any(|words| said.contains(words))
}

/// The same statement until the database takes or refuses it; true if it took it.
async fn insist(store: &Store, sql: &str) -> bool {
    let begin = Instant::now();
    loop {
        match store.run_script(sql).await {
            Ok(()) => return true,
            Err(error) if is_refusal(&error) => return false,
            Err(error) => {
                assert!(begin.elapsed() < PATIENCE, "{error:?}: {sql}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Sends every unknown job again without a look: what other schedulers do of themselves when a worker has died.
pub(crate) async fn send_unknown_again(ground: &Ground) {
    let unknown = "select id from crier.jobs_open where state = 'unknown'";
    // The database may be away; the next look is soon.
    let Ok(unknown) = ground.store.select_json(unknown).await else {
        return;
    };
    for job in unknown.iter().filter_map(|row| row["id"].as_i64()) {
        if let Ok("scheduled") = ground.store.settle_by_operator(job, Ruling::Again).await {
            ground.tally.count("unknown, sent again without a look");
        }
    }
}

/// One wish, carried through.
pub(crate) async fn grant(ground: &Ground, wish: Wish) {
    let (store, tally) = (&ground.store, &ground.tally);
    match wish {
        Wish::Insert(drafts) => {
            for (name, bytes) in drafts.iter().flat_map(|draft| &draft.files) {
                files::write(&ground.media, name, *bytes);
            }
            let refused = ground.tally.all().refused;
            let is_orphan = |draft: &Draft| {
                draft
                    .after
                    .as_ref()
                    .is_some_and(|key| refused.contains(key))
            };
            if drafts.iter().any(is_orphan) || !insist(store, &insert(&drafts)).await {
                // Only the reply to a post that has ended badly meanwhile is refused.
                tally.note(|notes| {
                    let keys = drafts.iter().map(|draft| draft.key.clone());
                    notes.refused.extend(keys);
                });
            }
        }
        Wish::Cancel(key) => {
            let sql = format!(
                "select crier.cancel(job_id) from crier.job_keys where dedupe_key = {}",
                quoted(&key)
            );
            if insist(store, &sql).await {
                tally.note(|notes| notes.cancelled.push(key));
            }
        }
        Wish::Edit(key, text) => {
            let sql = format!(
                "update crier.jobs set text = {} where state in ('scheduled', 'paused')
                   and id = (select job_id from crier.job_keys where dedupe_key = {}) returning id",
                quoted(&text),
                quoted(&key)
            );
            insist(store, &sql).await;
        }
        Wish::Pause(name) => {
            let sql = format!("select crier.pause_campaign('{name}')");
            insist(store, &sql).await;
        }
        Wish::Resume(name) => {
            let sql = format!("select crier.resume_campaign('{name}')");
            insist(store, &sql).await;
        }
    }
}

/// A person grants access anew: a grant of the simulator, imported by the command that is there for it.
pub(crate) async fn log_in(x: X, url: &str, handle: &str) -> bool {
    let mut wanted = json!({"username": handle, "expires_in": TOKEN_LIFE_S});
    if handle.starts_with("narrow") {
        wanted["limits"] =
            json!({"POST /2/tweets": {"limit": 6, "window_s": 12, "user_24h": 1_000_000}});
    }
    let made = x.ask("POST", "/_sim/accounts", &wanted).await;
    let mut import = Command::new(env!("CARGO_BIN_EXE_crier"))
        .args(["auth", "import", "--json"])
        .env("DATABASE_URL", url)
        .env("CRIER__X__BASE_URL", format!("http://127.0.0.1:{}", x.port))
        .env("CRIER__SECRETS__KEY", KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    let _ = input.write_all(made.to_string().as_bytes()).await;
    drop(input);
    import.wait_with_output().await.unwrap().status.success()
}

/// Logs in for every account that asks for it, once; those for whom it went well.
pub(crate) async fn log_in_where_asked(ground: &Ground, x: X, url: &str) {
    let asked = ground
        .store
        .select_json(
            "select handle from crier.accounts where status = 'needs_login' order by handle",
        )
        .await;
    for account in asked.unwrap_or_default() {
        let handle = account["handle"].as_str().unwrap();
        if log_in(x, url, handle).await {
            ground
                .tally
                .note(|notes| notes.logins.push(handle.to_owned()));
        }
    }
}
