//! A stage for many cases, one after the other: each asks for its posts, loses a process, and is held to account.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::media::files::{Files, mp4, png};
use crate::support::{Role, Stage};

/// Sooner than any of this a case is not given up, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(90);
/// So long a process may take to die of a commit that others see already.
const LAST_BREATH: Duration = Duration::from_millis(300);
/// Longer than every lease.
pub(super) const LEASE_OVER: u32 = 120;
/// Longer than leadership, and shorter than what a worker's lease is good for.
pub(super) const LEADER_OVER: u32 = 10;

/// What a case asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Text,
    Picture,
    /// A picture without alt text, as v1.1 takes it.
    Snapshot,
    Video,
    Thread,
    /// A text that X posts once without an answer: it is looked up and found.
    Found,
    /// A text whose call is lost once on its way to X: it is looked up, not found, and sent again.
    Absent,
    /// A recurring post with two slots.
    Slots,
}

impl Wish {
    pub(super) const ALL: [Self; 4] = [Self::Text, Self::Picture, Self::Video, Self::Thread];

    /// What goes wrong once with its create call.
    pub(super) fn fault(self) -> Option<&'static str> {
        match self {
            Self::Found => Some("answer_lost"),
            Self::Absent => Some("request_lost"),
            Self::Text
            | Self::Picture
            | Self::Snapshot
            | Self::Video
            | Self::Thread
            | Self::Slots => None,
        }
    }

    fn sql(self, case: &str) -> String {
        let insert = "insert into crier.jobs (account, text, media) values";
        match self {
            Self::Text | Self::Found | Self::Absent => {
                format!("insert into crier.jobs (account, text) values ('acme', '{case} a text')")
            }
            Self::Picture => {
                format!(
                    r#"{insert} ('acme', '{case} a picture', '[{{"path": "a.png", "alt_text": "a cat"}}]')"#
                )
            }
            Self::Snapshot => {
                format!(r#"{insert} ('acme', '{case} a snapshot', '[{{"path": "a.png"}}]')"#)
            }
            Self::Video => {
                format!(r#"{insert} ('acme', '{case} a film', '[{{"path": "film.mp4"}}]')"#)
            }
            Self::Thread => format!(
                "insert into crier.jobs (account, text) values ('acme', '{case} one');
                 insert into crier.jobs (account, text, after)
                 select 'acme', '{case} two', id from crier.jobs where text = '{case} one';
                 insert into crier.jobs (account, text, after)
                 select 'acme', '{case} three', id from crier.jobs where text = '{case} two'"
            ),
            // Two a minute apart, of which none may be left out however long nobody looks.
            Self::Slots => format!(
                r#"insert into crier.recurring (name, account, cron, template, ahead, missed, ends_at) values ('{case}', 'acme', '* * * * *',
                     '{{"text": "{case} slot {{n}}"}}', '70 seconds', 'all', date_trunc('minute', crier.now()) + interval '2 minutes')"#
            ),
        }
    }

    /// Text, name of the file, and text of the post that it replies to.
    fn posts(self, case: &str) -> Vec<(String, Option<&'static str>, Option<String>)> {
        let text = |what: &str| format!("{case} {what}");
        match self {
            Self::Text | Self::Found | Self::Absent => vec![(text("a text"), None, None)],
            Self::Picture => vec![(text("a picture"), Some("a.png"), None)],
            Self::Snapshot => vec![(text("a snapshot"), Some("a.png"), None)],
            Self::Video => vec![(text("a film"), Some("film.mp4"), None)],
            Self::Thread => vec![
                (text("one"), None, None),
                (text("two"), None, Some(text("one"))),
                (text("three"), None, Some(text("two"))),
            ],
            Self::Slots => vec![(text("slot 1"), None, None), (text("slot 2"), None, None)],
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Picture => "picture",
            Self::Snapshot => "snapshot",
            Self::Video => "video",
            Self::Thread => "thread",
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Slots => "slots",
        })
    }
}

/// A job of a case, as a death left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    text: String,
    /// The phase of its lease, if it had one.
    phase: Option<String>,
}

/// Database, simulator, account and files for one case after the other.
pub(super) struct Ground {
    pub(super) stage: Stage,
    files: Files,
    shas: [(&'static str, String); 2],
    cases: u32,
    /// Posts of the last case.
    wanted: usize,
    settings: Vec<(&'static str, String)>,
}

impl Ground {
    pub(super) async fn new(more: &[(&'static str, &str)]) -> Self {
        // X refuses no duplicate, so that nothing but crier stands in its way.
        let script =
            json!({"processing_delay_ms": 20, "check_after_s": 1, "duplicate_window_s": 0});
        let stage = Stage::new(&script).await;
        stage.account("acme").await;
        let files = Files::new();
        let shas = [
            ("a.png", files.put("a.png", &png(30_000))),
            ("film.mp4", files.put("film.mp4", &mp4(300_000))),
        ];
        let mut settings: Vec<(&'static str, String)> = [
            ("CRIER__WORKER__POLL_MS", "30"),
            ("CRIER__SCHEDULER__POLL_MS", "100"),
            ("CRIER__WORKER__FIRST_LOOK_S", "1"),
            ("CRIER__WORKER__LOOK_WAITS_S", "[1, 1, 1, 1]"),
            ("CRIER__MEDIA__SEGMENT_BYTES", "65536"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
        settings.push(("CRIER__MEDIA__ROOT", files.folder()));
        settings.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        Self {
            stage,
            files,
            shas,
            cases: 0,
            wanted: 0,
            settings,
        }
    }

    /// A role, perhaps with an order to die, which writes down the points that it reaches.
    pub(super) fn start(&self, role: &str, order: Option<&str>) -> Role {
        let mut command = self.stage.command(&[role]);
        command
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let said = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.said())
            .unwrap();
        command.stderr(said);
        if let Some(order) = order {
            command
                .env("CRIER_FAILPOINT", order)
                .env("CRIER_FAILPOINT_LOG", self.points_file());
        }
        Role::spawn(&mut command)
    }

    fn said(&self) -> PathBuf {
        PathBuf::from(self.files.folder()).join("said.log")
    }

    fn points_file(&self) -> PathBuf {
        PathBuf::from(self.files.folder()).join("points.log")
    }

    /// The points that a role with an order has reached so far.
    pub(super) fn points(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.points_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The same, as soon as each commit is over: others see one before the process that made it says so.
    pub(super) async fn all_points(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let points = self.points();
            let count = |what: &str| {
                points
                    .iter()
                    .filter(|point| point.starts_with(what))
                    .count()
            };
            if count("before commit") == count("after commit") {
                return points;
            }
            assert!(begin.elapsed() < PATIENCE, "{points:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Forgets points and words of the case before, and asks for the next one's posts.
    pub(super) async fn ask(&mut self, wish: Wish) -> String {
        let _ = std::fs::remove_file(self.points_file());
        let _ = std::fs::remove_file(self.said());
        self.cases += 1;
        let case = format!("case{}", self.cases);
        self.wanted = wish.posts(&case).len();
        if let Some(kind) = wish.fault() {
            let fault = json!({"route": "POST /2/tweets", "kind": kind}).to_string();
            self.stage.sim("POST", "/_sim/faults", &fault).await;
        }
        self.stage.sql(&wish.sql(&case)).await;
        case
    }

    async fn is_done(&self, case: &str) -> bool {
        let query = format!(
            "select count(*) = {} and bool_and(state = 'published') as done from crier.jobs where text like '{case} %'",
            self.wanted
        );
        self.stage.rows(&query).await == [json!({"done": true})]
    }

    /// Waits until the process has died, or all was done before it could; true if it has died.
    pub(super) async fn dies(&self, case: &str, role: &mut Role) -> Result<bool, String> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if role.has_ended() {
                return Ok(true);
            }
            if self.is_done(case).await {
                // The end of the last commit may be what it dies of.
                let done = Instant::now();
                while !role.has_ended() && done.elapsed() < LAST_BREATH {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return Ok(role.has_ended());
            }
            self.hurry().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.complaint("neither dead nor done", case).await)
    }

    /// Waits until the process stands still; false if all was done before it could.
    pub(super) async fn stands_still(&self, case: &str, role: &Role) -> Result<bool, String> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if role.is_stopped() {
                return Ok(true);
            }
            if self.is_done(case).await {
                let done = Instant::now();
                while !role.is_stopped() && done.elapsed() < LAST_BREATH {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return Ok(role.is_stopped());
            }
            self.hurry().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self
            .complaint("neither does it stand still nor is it done", case)
            .await)
    }

    /// Ends the transactions in which a process stands still, as the server does by itself after 15 seconds.
    pub(super) async fn end_transactions(&self) {
        let open = "from pg_stat_activity where datname = current_database() and application_name = 'crier' and state like 'idle in transaction%'";
        let end = format!(
            "select pg_terminate_backend(pid) {open} and state_change < clock_timestamp() - interval '0.3 s'"
        );
        while !self
            .stage
            .rows(&format!("select 1 as n {open}"))
            .await
            .is_empty()
        {
            self.stage.sql(&end).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The jobs of the case that are not published yet.
    pub(super) async fn left(&self, case: &str) -> Vec<Left> {
        // What the dead one's last words to the database still do.
        let begin = Instant::now();
        let busy = "select 1 as n from pg_stat_activity where datname = current_database() and application_name = 'crier' and state = 'active'";
        while !self.stage.rows(busy).await.is_empty() && begin.elapsed() < PATIENCE / 30 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let query = format!(
            "select j.text, l.phase from crier.jobs_open j left join crier.leases l on l.kind = 'publish' and l.subject = j.id
              where j.text like '{case} %'"
        );
        let rows = self.stage.rows(&query).await;
        rows.iter()
            .map(|row| Left {
                text: row["text"].as_str().unwrap().to_owned(),
                phase: row["phase"].as_str().map(str::to_owned),
            })
            .collect()
    }

    /// Lets time pass, for the database and for X.
    pub(super) async fn pass(&self, seconds: u32) {
        let body = json!({"advance_s": seconds}).to_string();
        self.stage.sim("POST", "/_sim/clock", &body).await;
        let shift =
            format!("update crier.clock set shift = shift + {seconds} * interval '1 second'");
        self.stage.sql(&shift).await;
    }

    /// Waits until a scheduler leads whose leadership is not over; the one that stands still cannot be it.
    pub(super) async fn is_led_by_another(&self) -> Result<(), String> {
        let begin = Instant::now();
        let led =
            "select exists (select 1 from crier.leader where expires_at > crier.now()) as led";
        while self.stage.rows(led).await != [json!({"led": true})] {
            if begin.elapsed() > PATIENCE {
                return Err("nobody leads instead of it".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until somebody has it in hand again, or has done it already.
    pub(super) async fn is_taken_over(&self, case: &str) -> Result<(), String> {
        let begin = Instant::now();
        let held =
            "select exists (select 1 from crier.leases where expires_at > crier.now()) as held";
        while self.stage.rows(held).await != [json!({"held": true})] && !self.is_done(case).await {
            if begin.elapsed() > PATIENCE {
                return Err(self.complaint("nobody takes it over", case).await);
            }
            self.hurry().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Lets time pass if nobody has a job in hand and all that is left waits: a search for its next look, a job for its time.
    async fn hurry(&self) {
        let waits = "select not exists (select 1 from crier.leases where expires_at > crier.now())
            and (exists (select 1 from crier.reconciles where next_at > crier.now())
              or exists (select 1 from crier.jobs_open where state = 'scheduled' and run_at > crier.now())) as waits";
        if self.stage.rows(waits).await == [json!({"waits": true})] {
            self.pass(15).await;
        }
    }

    /// Waits until all is published; looks and slots are not waited for in real time.
    pub(super) async fn ends(&self, case: &str) -> Result<(), String> {
        let begin = Instant::now();
        while !self.is_done(case).await {
            if begin.elapsed() > PATIENCE {
                return Err(self.complaint("not all are published", case).await);
            }
            self.hurry().await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    async fn complaint(&self, what: &str, case: &str) -> String {
        let query = format!(
            "select id, text, state, attempts, crashes, held, error, warning from crier.jobs where text like '{case} %' order by id"
        );
        let jobs = self.stage.rows(&query).await;
        let leases = self
            .stage
            .rows(
                "select kind, phase, subject, expires_at - crier.now() as lasts from crier.leases",
            )
            .await;
        let said = std::fs::read_to_string(self.said()).unwrap_or_default();
        let said: Vec<&str> = said.lines().rev().take(12).collect();
        format!(
            "{what}\n  jobs: {jobs:?}\n  leases: {leases:?}\n  said, the newest first: {said:#?}"
        )
    }

    /// Exactly the posts asked for are live, each with its file and in its place, and the jobs say so.
    pub(super) async fn check(&self, wish: Wish, case: &str, left: &[Left]) -> Result<(), String> {
        let all = self.stage.sim("GET", "/_sim/posts", "").await;
        let live: Vec<&Value> = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|post| {
                let text = post["text"].as_str().unwrap_or_default();
                text.starts_with(&format!("{case} "))
            })
            .collect();
        let wanted = wish.posts(case);
        let id_of = |text: &str| {
            live.iter()
                .find(|post| post["text"] == text)
                .map(|post| &post["id"])
        };
        let mut wrong = Vec::new();
        if live.len() != wanted.len() {
            wrong.push(format!(
                "{} posts are live, not {}",
                live.len(),
                wanted.len()
            ));
        }
        for (text, file, reply_to) in &wanted {
            let Some(post) = live.iter().find(|post| post["text"] == json!(text)) else {
                wrong.push(format!("`{text}` is not live"));
                continue;
            };
            let sha = file.map(|file| &self.shas.iter().find(|sha| sha.0 == file).unwrap().1);
            let media: Vec<Value> = post["media"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["sha256"].clone())
                .collect();
            let expected: Vec<Value> = sha.iter().map(|sha| json!(sha)).collect();
            if media != expected {
                wrong.push(format!("`{text}` has media {media:?}, not {expected:?}"));
            }
            let parent = reply_to.as_ref().and_then(|text| id_of(text));
            if post["reply_to"] != parent.cloned().unwrap_or(Value::Null) {
                wrong.push(format!(
                    "`{text}` replies to {}, not {parent:?}",
                    post["reply_to"]
                ));
            }
        }
        wrong.extend(self.check_jobs(wish, case, left, &live).await);
        if wrong.is_empty() {
            return Ok(());
        }
        Err(self.complaint(&wrong.join("; "), case).await)
    }

    /// A death costs an attempt only if something may have been sent, and is counted as a crash only if not.
    async fn check_jobs(
        &self,
        wish: Wish,
        case: &str,
        left: &[Left],
        live: &[&Value],
    ) -> Vec<String> {
        let query = format!(
            "select j.text, j.state, j.attempts, j.crashes, j.post_id, j.error, j.warning,
                    (select count(*) from crier.attempts a where a.job_id = j.id and a.step = 'publish' and a.outcome in ('published', 'unknown')) as counted,
                    (select count(*) from crier.attempts a where a.job_id = j.id and a.outcome is null) as open,
                    (select count(*) from crier.leases l where l.expires_at > crier.now()) as leases
               from crier.jobs j where j.text like '{case} %'"
        );
        let mut wrong = Vec::new();
        for job in self.stage.rows(&query).await {
            let text = job["text"].as_str().unwrap();
            let left = left.iter().find(|left| left.text == text);
            let phase = left.and_then(|left| left.phase.as_deref());
            let post = live.iter().find(|post| post["text"] == job["text"]);
            if post.is_none_or(|post| post["id"] != job["post_id"]) {
                wrong.push(format!("`{text}` does not hold its post"));
            }
            let crashes = i64::from(matches!(phase, Some("claimed" | "sending")));
            // Who hears no answer and lives to say so ends the row of crashes.
            let is_forgiven = wish.fault().is_some() && job["crashes"] == 0;
            let least = if wish == Wish::Absent { 2 } else { 1 };
            let most = least + i64::from(phase == Some("sending"));
            let attempts = job["attempts"].as_i64().unwrap();
            if (job["crashes"] != crashes && !is_forgiven)
                || !(least..=most).contains(&attempts)
                || job["counted"] != attempts
                || job["open"] != 0
                || job["leases"] != 0
                || !job["error"].is_null()
                || !job["warning"].is_null()
            {
                wrong.push(format!("left in {phase:?}, `{text}` is {job}"));
            }
        }
        wrong
    }

    pub(super) async fn done(self) {
        self.stage.done().await;
    }
}
