//! Hosts whose clock is off, by libfaketime: nothing is decided by it, and it is told.

use std::time::Duration;

use serde_json::json;

use crate::postgres::watched::Watched;
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);

/// Settings under which a process sees another time; what measures durations stays true.
fn faked(offset: &str) -> [(String, String); 3] {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/tool");
    let found = std::process::Command::new(tool)
        .args(["libfaketimeMT.so.1", "libfaketime"])
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let library = String::from_utf8(found.stdout).unwrap();
    [
        ("LD_PRELOAD".into(), library.trim().to_owned()),
        ("FAKETIME".into(), offset.to_owned()),
        ("DONT_FAKE_MONOTONIC".into(), "1".into()),
    ]
}

#[tokio::test]
async fn a_host_whose_clock_is_off_posts_on_time_signs_by_xs_clock_and_says_so() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    stage
        .account_without(&json!({"username": "signer"}), "oauth2")
        .await;
    for (offset, skew_s, words) in [
        ("+7m", -420.0, "7 min ahead of"),
        ("-1d", 86_400.0, "24 h behind"),
    ] {
        let set = faked(offset);
        let settings: Vec<(&str, &str)> = set
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let crier = Watched::start(&stage, "run", &settings);
        stage
            .sql(&format!(
                "insert into crier.jobs (account, text, run_at) values ('acme', 'bearer {offset}', crier.now() + interval '2 seconds'),
                   ('signer', 'signed {offset}', crier.now() + interval '2 seconds')"
            ))
            .await;
        stage
            .until(
                "select bool_and(state = 'published') as done from crier.jobs",
                SOON,
            )
            .await;
        let page = crier.page(&stage, "/metrics").await;
        let skew = page
            .lines()
            .find_map(|line| line.strip_prefix("crier_db_clock_skew_seconds "))
            .unwrap();
        assert!(
            (skew.parse::<f64>().unwrap() - skew_s).abs() < 5.0,
            "{skew}"
        );
        let mut doctor = stage.command(&["doctor"]);
        doctor.envs(settings.iter().copied());
        let said = doctor.output().await.unwrap();
        let report = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.status.code(), Some(1), "{report}");
        assert!(report.contains(words), "{report}");
        crier.stop().await;
    }
    let jobs = stage
        .rows("select max(attempts) as attempts, bool_and(published_at >= run_at) as due, max(published_at - run_at) < interval '20 seconds' as in_time from crier.jobs")
        .await;
    assert_eq!(jobs, [json!({"attempts": 1, "due": true, "in_time": true})]);
    let accounts = stage
        .rows("select distinct status from crier.accounts")
        .await;
    assert_eq!(accounts, [json!({"status": "active"})]);
    let calls = stage.sim("GET", "/_sim/requests", "").await;
    let calls = calls.as_array().unwrap();
    let made = |status: i64| calls.iter().filter(|call| call["status"] == status).count();
    assert_eq!((made(201), made(401)), (4, 0), "{calls:?}");
    let refreshed = calls
        .iter()
        .any(|call| call["route"] == "POST /2/oauth2/token");
    assert!(!refreshed, "no token is old by a wrong clock");
    stage.done().await;
}
