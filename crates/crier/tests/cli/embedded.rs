//! `crier run --embedded`: a private Postgres that comes, stays the same, and goes with us.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{command, crier_with};

struct Run {
    child: Child,
    folder: PathBuf,
}

/// A folder that the unprivileged user can reach, when the tests run as root.
fn folder() -> PathBuf {
    let folder = PathBuf::from(format!(
        "/tmp/crier-embedded-{}",
        uuid::Uuid::new_v4().simple()
    ));
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn variables(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        (
            "CRIER__DATABASE__EMBEDDED_FOLDER",
            folder.to_string_lossy().into_owned(),
        ),
        ("CRIER__EXPORTER__LISTEN", "127.0.0.1:0".to_owned()),
        ("CRIER__MEDIA__ROOT", "/tmp".to_owned()),
    ]
}

impl Run {
    fn start(folder: &Path) -> Self {
        let variables = variables(folder);
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut child = command(&["run", "--embedded"], &variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        if !line.starts_with("http://127.0.0.1:") {
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("{line}{said}");
        }
        Self {
            child,
            folder: folder.to_owned(),
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            std::process::Command::new("sh")
                .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn ends(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn server(&self) -> u32 {
        let text =
            std::fs::read_to_string(self.folder.join("postgres/data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }

    /// What `env` tells a shell.
    fn database(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("env")).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("DATABASE_URL="))
            .unwrap();
        line.split_once('=').unwrap().1.to_owned()
    }
}

fn gone(process: u32) -> bool {
    let begin = Instant::now();
    while Path::new(&format!("/proc/{process}/cwd")).exists() {
        if begin.elapsed() > Duration::from_secs(20) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

#[test]
fn the_private_postgres_comes_stays_and_goes() {
    let folder = folder();
    let run = Run::start(&folder);
    let (server, database) = (run.server(), run.database());
    let key = folder.join("secrets.key");
    let variables_of_shell = [
        ("DATABASE_URL", database.as_str()),
        ("CRIER__SECRETS__KEY_FILE", key.to_str().unwrap()),
    ];
    let import = r#"{"id":"1","username":"acme","oauth2":{"client_id":"c","access_token":"a","refresh_token":"r","expires_in":7200,"scope":"tweet.write"}}"#;
    let said = crier_with(&["auth", "import"], &variables_of_shell, import);
    assert_eq!(said.code, 0, "{}", said.err);
    for file in ["env", "password", "secrets.key", "postgres"] {
        let mode = std::fs::metadata(folder.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert!(mode.trailing_zeros() >= 6, "{file}: {mode:o}");
    }
    // A second one on the same folder is refused.
    let pairs = variables(&folder);
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let second = crier_with(&["run", "--embedded"], &pairs, "");
    assert_eq!(second.code, 1);
    assert!(
        second
            .err
            .contains("another `crier run --embedded` has the folder"),
        "{}",
        second.err
    );
    run.signal("TERM");
    assert_eq!(run.ends(), Some(0));
    assert!(gone(server), "the server outlives us");
    assert!(!folder.join("env").exists());
    // It comes back with what was in it, on the same port; a kill leaves nothing that the next start cannot mend.
    let run = Run::start(&folder);
    assert_eq!(run.database(), database);
    let server = run.server();
    run.signal("KILL");
    assert_eq!(run.ends(), None);
    let run = Run::start(&folder);
    assert!(gone(server), "two servers on one folder");
    let list = crier_with(
        &["accounts", "list", "--json"],
        &[("DATABASE_URL", &run.database())],
        "",
    );
    assert!(list.out.contains("\"acme\""), "{}{}", list.out, list.err);
    run.signal("INT");
    assert_eq!(run.ends(), Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Processes that a process has started and that live.
fn children(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))
        .unwrap()
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing_behind() {
    let mut child = command(&["demo"], &[])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // All that it starts is running now.
    let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("  rows ")));
    assert!(line.is_some(), "the demo did not come to its rows");
    let started = children(child.id());
    // Postgres, the simulator, the exporter, a scheduler, two workers.
    assert_eq!(started.len(), 6, "{started:?}");
    let folder = std::fs::read_link(format!("/proc/{}/fd/2", started[1])).unwrap();
    let folder = folder.ancestors().nth(2).unwrap().to_owned();
    assert!(
        folder.to_string_lossy().starts_with("/tmp/crier-demo-"),
        "{}",
        folder.display()
    );
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("sh")
            .args(["-c", "kill -s INT \"$0\"", &pid])
            .status()
            .unwrap()
            .success()
    );
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(
        said.last().map(String::as_str),
        Some("error: the demo was stopped"),
        "{said:#?}"
    );
    for process in started {
        assert!(gone(process), "process {process} is left");
    }
    assert!(!folder.exists(), "{} is left", folder.display());
}
