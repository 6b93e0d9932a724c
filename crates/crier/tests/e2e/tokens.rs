//! Refreshed tokens under fire: the database away at the moment of the answer, processes killed around it, a token
//! endpoint that fails in every way, and rotations that must not come too often.

mod frequent;
mod keys;
mod line;
mod sealed;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::line::Line;
use crate::postgres::cluster::Cluster;
use crate::support::{NO_HEEDED, Role, Stage};

const SOON: Duration = Duration::from_mins(1);
const TOKEN: &str = "POST /2/oauth2/token";
const ALL_PUBLISHED: &str = "select bool_and(state = 'published') as done from crier.jobs";
/// Nothing is kept of new tokens: the disk of the database is full, say.
const BLOCK: &str = "create function crier.refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no room'; end $$;
    create trigger refuse before update of sealed on crier.credentials for each row execute function crier.refuse()";
const UNBLOCK: &str = "drop trigger refuse on crier.credentials; drop function crier.refuse()";
const EXPIRE: &str = "update crier.credentials set access_expires_at = crier.now() - interval '1 minute' where kind = 'oauth2'";

/// A folder for one test, for rescued tokens.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("crier-e2e-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The one file of it, as soon as it is there whole.
    async fn file(&self) -> PathBuf {
        let begin = Instant::now();
        loop {
            let sealed = |path: &PathBuf| path.extension().is_some_and(|end| end == "sealed");
            if let Some(path) = self.files().into_iter().find(sealed) {
                return path;
            }
            assert!(begin.elapsed() < SOON, "{:?}", self.files());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An account whose access token has ended, and a job for it.
async fn stage() -> Stage {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    stage.sql(EXPIRE).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'with new tokens')")
        .await;
    stage
}

fn settings(rescue: &str) -> Vec<(&str, &str)> {
    vec![
        ("CRIER__SECRETS__RESCUE_DIR", rescue),
        ("CRIER__WORKER__POLL_MS", "50"),
        ("CRIER__WORKER__STOP_GRACE_S", "2"),
        ("CRIER__X__CONNECT_TIMEOUT_S", "4"),
        ("CRIER__X__TIMEOUT_S", "5"),
    ]
}

fn start(stage: &Stage, rescue: &str) -> Role {
    stage.start_with("run", &settings(rescue))
}

/// Calls of the token endpoint, and how many of them rotated.
async fn calls(stage: &Stage) -> (usize, u64) {
    let made = stage.sim("GET", "/_sim/requests", "").await;
    let asked = made.as_array().unwrap().iter();
    let asked = asked.filter(|call| call["route"] == TOKEN).count();
    let stats = stage.sim("GET", "/_sim/stats", "").await;
    (asked, stats["refreshes"].as_u64().unwrap())
}

async fn asked(stage: &Stage, times: usize) {
    let begin = Instant::now();
    while calls(stage).await.0 < times {
        assert!(begin.elapsed() < SOON, "X was not asked {times} times");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn arm(stage: &Stage, fault: &Value) {
    stage.sim("POST", "/_sim/faults", &fault.to_string()).await;
}

async fn account(stage: &Stage) -> Value {
    let mut rows = stage
        .rows("select a.status, a.reason, c.version from crier.accounts a join crier.credentials c on c.account_id = a.id and c.kind = 'oauth2'")
        .await;
    rows.remove(0)
}

/// A role whose last words are read.
fn speaking(stage: &Stage, settings: &[(&str, &str)]) -> tokio::process::Child {
    stage
        .command(&["run"])
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// SIGTERM, and how it ended.
async fn stopped(child: tokio::process::Child) -> Output {
    let pid = child.id().unwrap().to_string();
    let kill = tokio::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(kill.await.unwrap().success());
    tokio::time::timeout(SOON, child.wait_with_output())
        .await
        .expect("stops in time")
        .unwrap()
}

/// The account's tokens are nowhere in it as they are.
async fn is_sealed(stage: &Stage, file: &[u8]) {
    let text = String::from_utf8_lossy(file).into_owned();
    for token in crate::secrets::opened(&stage.url, 1).await {
        assert!(!text.contains(&token), "a token is in a file as it is");
    }
}

fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn new_tokens_are_held_while_the_database_is_away_and_kept_before_anything_else() {
    let (stage, folder) = (stage().await, Folder::new());
    arm(
        &stage,
        &json!({"route": TOKEN, "kind": "slow", "delay_ms": 3000}),
    )
    .await;
    let line = Line::to(&stage.url).await;
    let url = line.url(&stage.url);
    let mut settings = settings(folder.path());
    settings.extend([
        ("DATABASE_URL", url.as_str()),
        ("CRIER__DATABASE__ACQUIRE_TIMEOUT_S", "2"),
    ]);
    let crier = stage.start_with("run", &settings);
    // X has the question; its answer finds no database.
    stage
        .until(
            "select refresh_doubt is not null as done from crier.credentials where kind = 'oauth2'",
            SOON,
        )
        .await;
    line.cut();
    let file = folder.file().await;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(account(&stage).await["version"], 1);
    line.mend();
    stage.until(ALL_PUBLISHED, SOON).await;
    let sealed = account(&stage).await;
    assert_eq!(
        (&sealed["version"], &sealed["status"]),
        (&json!(2), &json!("active"))
    );
    assert_eq!(calls(&stage).await, (1, 1));
    assert!(folder.files().is_empty(), "what is kept needs no file");
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_stop_with_new_tokens_in_hand_says_so_and_the_next_start_keeps_them() {
    let (stage, folder) = (stage().await, Folder::new());
    stage.sql(BLOCK).await;
    let crier = speaking(&stage, &settings(folder.path()));
    let file = folder.file().await;
    let ended = stopped(crier).await;
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{err}");
    let last = err.split("error: ").last().unwrap();
    for words in [
        "refreshed tokens in hand that the database did not take, of @acme",
        "start crier again",
        file.to_str().unwrap(),
    ] {
        assert!(last.contains(words), "{words}: {err}");
    }
    let bytes = std::fs::read(&file).unwrap();
    stage.sql(UNBLOCK).await;
    let crier = start(&stage, folder.path());
    // The job's lease of the process that was stopped has to run out.
    stage
        .sql("update crier.clock set shift = shift + interval '3 minutes'")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(account(&stage).await["version"], 2);
    assert_eq!(
        calls(&stage).await,
        (1, 1),
        "the old token was not sent again"
    );
    is_sealed(&stage, &bytes).await;
    is_sealed(&stage, err.as_bytes()).await;
    assert!(folder.files().is_empty());
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_stop_that_loses_new_tokens_says_whose_and_what_to_do() {
    let stage = stage().await;
    stage.sql(BLOCK).await;
    let crier = speaking(&stage, &settings("/dev/null/nowhere"));
    asked(&stage, 1).await;
    // It has read the answer once it says that it cannot keep it; the lease of the refresh shows nothing of that.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = stopped(crier).await;
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{err}");
    for words in [
        "error: stopped with refreshed tokens in hand that the database did not take, of @acme",
        "hint: those of @acme are lost with this process, as `secrets.rescue_dir` could not be written: log in again with `crier auth login`",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    stage.done().await;
}

#[tokio::test]
async fn a_process_killed_between_x_s_answer_and_the_commit_loses_nothing_that_its_folder_has() {
    let (stage, folder) = (stage().await, Folder::new());
    stage.sql(BLOCK).await;
    let crier = start(&stage, folder.path());
    folder.file().await;
    crier.kill().await;
    stage.sql(UNBLOCK).await;
    // Another machine is faster, and has no such file: X's no is not taken for one yet.
    stage
        .sql("update crier.clock set shift = shift + interval '3 minutes'")
        .await;
    let other = start(&stage, "/dev/null/nowhere");
    let doubted = "select error ->> 'code' = 'rotation_in_doubt' as done from crier.jobs";
    stage.until(doubted, SOON).await;
    let seen = account(&stage).await;
    assert_eq!(
        (&seen["status"], &seen["version"]),
        (&json!("active"), &json!(1))
    );
    assert_eq!(calls(&stage).await, (2, 1));
    let (_, told, _) = stage.say(&["doctor", "--json"]).await;
    assert!(told.contains("has not ended yet"), "{told}");
    // The one that was killed starts again.
    let again = start(&stage, folder.path());
    stage
        .until(
            "select version = 2 as done from crier.credentials where kind = 'oauth2'",
            SOON,
        )
        .await;
    stage
        .sql("update crier.clock set shift = shift + interval '11 minutes'")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage).await, (2, 1));
    assert!(folder.files().is_empty());
    other.stop().await;
    again.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn new_tokens_that_died_with_their_process_are_told_as_lost_once_nobody_can_bring_them() {
    let stage = stage().await;
    stage.sql(BLOCK).await;
    let crier = start(&stage, "/dev/null/nowhere");
    asked(&stage, 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    crier.kill().await;
    stage.sql(UNBLOCK).await;
    let crier = start(&stage, "/dev/null/nowhere");
    for (minutes, done) in [
        (
            3,
            "select error ->> 'code' = 'rotation_in_doubt' as done from crier.jobs",
        ),
        (
            8,
            "select status = 'needs_login' as done from crier.accounts",
        ),
    ] {
        stage
            .sql(&format!(
                "update crier.clock set shift = shift + interval '{minutes} minutes'"
            ))
            .await;
        stage.until(done, SOON).await;
    }
    stage.until(NO_HEEDED, SOON).await;
    let seen = account(&stage).await;
    let reason = |key: &str| seen["reason"][key].as_str().unwrap().to_owned();
    assert_eq!(reason("code"), "rotation_lost");
    assert!(
        reason("detail").contains("the answer was lost with the process")
            && reason("hint").contains("`crier auth login --account acme`"),
        "{seen}"
    );
    let shown = stage.done_by(&["accounts", "show", "acme"]).await;
    assert!(shown.contains("its new tokens were lost"), "{shown}");
    let attempts = stage.rows("select attempts from crier.jobs").await;
    assert_eq!(attempts, [json!({"attempts": 0})]);
    stage.account("acme").await;
    stage.until(ALL_PUBLISHED, SOON).await;
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_process_killed_before_x_had_its_question_leaves_a_grant_that_works() {
    let (stage, folder) = (stage().await, Folder::new());
    arm(
        &stage,
        &json!({"route": TOKEN, "kind": "request_lost", "delay_ms": 4000}),
    )
    .await;
    let crier = start(&stage, folder.path());
    stage
        .until(
            "select refresh_doubt is not null as done from crier.credentials where kind = 'oauth2'",
            SOON,
        )
        .await;
    crier.kill().await;
    stage
        .sql("update crier.clock set shift = shift + interval '3 minutes'")
        .await;
    let crier = start(&stage, folder.path());
    stage.until(ALL_PUBLISHED, SOON).await;
    assert_eq!(calls(&stage).await.1, 1);
    let seen = account(&stage).await;
    assert_eq!(
        (&seen["status"], &seen["version"]),
        (&json!("active"), &json!(2))
    );
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn a_token_endpoint_that_fails_in_every_way_ends_no_grant_and_costs_no_attempt() {
    let (stage, folder) = (stage().await, Folder::new());
    let answer = |status: u16, body: Value| json!({"route": TOKEN, "kind": "answer", "status": status, "body": body});
    for fault in [
        answer(503, json!({"error": "temporarily_unavailable"})),
        answer(502, json!("<html>Bad Gateway: invalid_request</html>")),
        json!({"route": TOKEN, "kind": "request_lost"}),
        answer(200, json!("<html>login</html>")),
        answer(500, json!({"error": "invalid_grant"})),
        answer(408, json!("")),
        json!({"route": TOKEN, "kind": "request_lost", "delay_ms": 9000}),
        answer(403, json!({"title": "Forbidden"})),
    ] {
        arm(&stage, &fault).await;
    }
    let crier = start(&stage, folder.path());
    for times in 1..=8 {
        stage
            .until(
                &format!("select refresh_faults >= {times} as done from crier.credentials where kind = 'oauth2'"),
                SOON,
            )
            .await;
        stage
            .until(
                "select error ->> 'step' = 'token' and state = 'scheduled' as done from crier.jobs",
                SOON,
            )
            .await;
        let seen = account(&stage).await;
        assert_eq!(
            (&seen["status"], &seen["version"]),
            (&json!("active"), &json!(1))
        );
        stage
            .sql("update crier.clock set shift = shift + interval '5 hours'")
            .await;
    }
    stage.until(ALL_PUBLISHED, SOON).await;
    let attempts = stage.rows("select attempts from crier.jobs").await;
    assert_eq!(attempts, [json!({"attempts": 1})]);
    assert_eq!(calls(&stage).await.1, 1);
    crier.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn an_answer_that_is_cut_off_takes_the_grant_along_and_says_so_at_once() {
    for kind in ["answer_lost", "cut"] {
        let (stage, folder) = (stage().await, Folder::new());
        arm(&stage, &json!({"route": TOKEN, "kind": kind})).await;
        let crier = start(&stage, folder.path());
        stage
            .until(
                "select refresh_faults >= 1 as done from crier.credentials where kind = 'oauth2'",
                SOON,
            )
            .await;
        stage
            .sql("update crier.clock set shift = shift + interval '1 minute'")
            .await;
        let lost = "select reason ->> 'code' = 'rotation_lost' as done from crier.accounts";
        stage.until(lost, SOON).await;
        assert_eq!(calls(&stage).await, (2, 1), "{kind}");
        crier.stop().await;
        stage.done().await;
    }
}

#[tokio::test]
async fn tokens_that_are_put_back_last_where_commits_need_not() {
    let mut cluster = Cluster::start(&["synchronous_commit=off", "wal_writer_delay=10s"]).await;
    let (stage, folder) = (Stage::on(cluster.url(), &json!({})).await, Folder::new());
    stage.account("acme").await;
    stage.sql(EXPIRE).await;
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'with new tokens')")
        .await;
    stage.sql(BLOCK).await;
    let crier = start(&stage, folder.path());
    folder.file().await;
    crier.kill().await;
    // Nothing else that is to last may follow.
    stage.sql("select crier.cancel(1)").await;
    stage.sql(UNBLOCK).await;
    let crier = start(&stage, folder.path());
    stage
        .until(
            "select version = 2 as done from crier.credentials where kind = 'oauth2'",
            SOON,
        )
        .await;
    while !folder.files().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.stop_at_once().await;
    crier.kill().await;
    cluster.run().await;
    let kept = stage
        .rows("select version from crier.credentials where kind = 'oauth2'")
        .await;
    assert_eq!(kept, [json!({"version": 2})]);
    stage.done().await;
}

#[tokio::test]
async fn a_no_that_the_database_does_not_take_at_first_is_no_doubt() {
    let (stage, folder) = (stage().await, Folder::new());
    let no = json!({"route": TOKEN, "kind": "answer", "status": 400, "body": {"error": "invalid_grant"}});
    arm(&stage, &no).await;
    stage
        .sql(
            "create function crier.refuse() returns trigger language plpgsql as $$ begin raise exception 'no room'; end $$;
             create trigger refuse before update of refresh_fault on crier.credentials for each row when (new.refresh_fault is not null)
               execute function crier.refuse()",
        )
        .await;
    let crier = start(&stage, folder.path());
    asked(&stage, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(account(&stage).await["status"], "active");
    stage.sql(UNBLOCK).await;
    let told = "select status = 'needs_login' and reason ->> 'code' = 'grant_dead' as done from crier.accounts";
    stage.until(told, SOON).await;
    // X was not asked once more.
    assert_eq!(calls(&stage).await, (1, 0));
    crier.stop().await;
    stage.done().await;
}
