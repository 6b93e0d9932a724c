//! The whole exposition, pinned: a name, label or HELP that changes is seen here before it breaks a dashboard.

use std::time::{Duration, Instant};

use crier_core::answer::Endpoint;
use crier_core::limit::{LimitClass, WindowLength};
use crier_metrics::{
    AccountStatus, AttemptEnd, CheckEnd, Counts, JobEnd, LeasePhase, LimitReading, Metrics,
    OpenState, Reading, UploadEnd,
};

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[track_caller]
fn assert_value(text: &str, series: &str, want: f64) {
    let got = value(text, series);
    assert!(
        got.is_some_and(|got| (got - want).abs() < 1e-9),
        "{series}: {got:?}, not {want}\n{text}"
    );
}

#[test]
fn a_fresh_process_shows_every_closed_series_at_zero() {
    let metrics = Metrics::new("1.2.3");
    let now = Instant::now();
    metrics.apply(&Reading::default(), now);
    insta::assert_snapshot!(metrics.render(now));
}

#[test]
fn before_the_first_reading_the_database_is_absent_not_zero() {
    let text = Metrics::new("1.2.3").render(Instant::now());
    assert!(!text.contains("crier_jobs_open"), "{text}");
    assert!(!text.contains("crier_due_unpublished"), "{text}");
    assert_value(&text, r#"crier_uploads_total{result="failed"}"#, 0.0);
}

#[test]
fn a_queue_that_ran_dry_goes_on_reporting_zero() {
    let metrics = Metrics::new("1.2.3");
    let now = Instant::now();
    let full = Reading {
        jobs_open: Counts::from_iter([(OpenState::Scheduled, 7), (OpenState::Unknown, 1)]),
        due_unpublished: 3,
        oldest_due_age: Some(Duration::from_millis(1500)),
        unknown_open: 1,
        accounts: Counts::from_iter([(AccountStatus::NeedsLogin, 2)]),
        leases_held: Counts::from_iter([(LeasePhase::Sending, 4)]),
        ..Reading::default()
    };
    metrics.apply(&full, now);
    let text = metrics.render(now);
    assert_value(&text, r#"crier_jobs_open{state="scheduled"}"#, 7.0);
    assert_value(&text, "crier_oldest_due_age_seconds", 1.5);
    assert_value(&text, r#"crier_accounts{status="needs_login"}"#, 2.0);

    metrics.apply(&Reading::default(), now);
    let text = metrics.render(now + Duration::from_secs(5));
    for series in [
        r#"crier_jobs_open{state="scheduled"}"#,
        r#"crier_jobs_open{state="unknown"}"#,
        "crier_due_unpublished",
        "crier_oldest_due_age_seconds",
        "crier_unknown_open",
        r#"crier_accounts{status="needs_login"}"#,
        r#"crier_leases_held{phase="sending"}"#,
    ] {
        assert_value(&text, series, 0.0);
    }
    assert_value(&text, "crier_db_reading_age_seconds", 5.0);
}

#[test]
fn totals_of_the_database_are_shown_as_they_are_kept() {
    let metrics = Metrics::new("1.2.3");
    let now = Instant::now();
    for total in [5, 5, 9, 2] {
        let ended = Counts::from_iter([(JobEnd::Published, total)]);
        metrics.apply(
            &Reading {
                jobs_ended: ended,
                jobs_inserted: total,
                ..Reading::default()
            },
            now,
        );
        let text = metrics.render(now);
        let shown = f64::from(u32::try_from(total).unwrap());
        assert_value(&text, r#"crier_jobs_ended_total{state="published"}"#, shown);
        assert_value(&text, "crier_jobs_inserted_total", shown);
    }
}

#[test]
fn of_several_windows_the_tightest_is_shown_and_a_closed_one_goes() {
    let window = |remaining, seconds| LimitReading {
        endpoint: Endpoint::CreatePost,
        class: LimitClass::Account,
        window: WindowLength::Day,
        remaining,
        resets_in: Duration::from_secs(seconds),
    };
    let metrics = Metrics::new("1.2.3");
    let now = Instant::now();
    let limits = vec![window(50, 1), window(0, 60), window(0, 90), window(7, 900)];
    metrics.apply(
        &Reading {
            limits,
            ..Reading::default()
        },
        now,
    );
    let labels = r#"{class="account",endpoint="POST /2/tweets",window="24h"}"#;
    let text = metrics.render(now);
    assert_value(&text, &format!("crier_limit_remaining{labels}"), 0.0);
    assert_value(&text, &format!("crier_limit_reset_seconds{labels}"), 90.0);

    metrics.apply(&Reading::default(), now);
    assert!(!metrics.render(now).contains("crier_limit_remaining{"));
}

#[test]
fn what_happens_is_counted_once() {
    let metrics = Metrics::new("1.2.3");
    let same = metrics.clone();
    metrics.published(Duration::from_millis(300));
    metrics.attempt_ended(AttemptEnd::Published, None);
    same.attempt_ended(AttemptEnd::Snoozed, Some("rate_limited"));
    metrics.x_request(
        Endpoint::CreatePost,
        Some(429),
        Some("rate_limited"),
        Duration::from_millis(80),
    );
    metrics.x_request(
        Endpoint::CreatePost,
        None,
        Some("timeout"),
        Duration::from_secs(30),
    );
    metrics.segment_acknowledged(4_194_304);
    metrics.segment_resent();
    metrics.upload_ended(UploadEnd::Ready);
    metrics.leases_expired(LeasePhase::Staging, 3);
    metrics.checked(CheckEnd::Warning, 2);
    metrics.db_pool(4, 6);
    metrics.db_clock_skew(-0.25);
    metrics.db_error("claim_lanes");
    metrics.scheduler_step("reap", Duration::from_millis(2));
    for leads in [false, true, true, false, true] {
        metrics.scheduler_leads(leads);
    }
    let text = metrics.render(Instant::now());
    for (series, want) in [
        (r#"crier_lateness_seconds_bucket{le="0.25"}"#, 0.0),
        (r#"crier_lateness_seconds_bucket{le="0.5"}"#, 1.0),
        (
            r#"crier_attempts_total{code="none",outcome="published"}"#,
            1.0,
        ),
        (
            r#"crier_attempts_total{code="rate_limited",outcome="snoozed"}"#,
            1.0,
        ),
        (
            r#"crier_x_requests_total{code="rate_limited",endpoint="POST /2/tweets",status="429"}"#,
            1.0,
        ),
        (
            r#"crier_x_requests_total{code="timeout",endpoint="POST /2/tweets",status="none"}"#,
            1.0,
        ),
        (
            r#"crier_x_request_duration_seconds_count{endpoint="POST /2/tweets"}"#,
            2.0,
        ),
        ("crier_upload_bytes_total", 4_194_304.0),
        ("crier_upload_segments_total", 1.0),
        ("crier_upload_segments_resent_total", 1.0),
        (r#"crier_leases_expired_total{phase="staging"}"#, 3.0),
        (r#"crier_checks_total{result="warning"}"#, 2.0),
        (r#"crier_db_pool_connections{state="used"}"#, 6.0),
        ("crier_db_clock_skew_seconds", -0.25),
        (r#"crier_db_errors_total{operation="claim_lanes"}"#, 1.0),
        (
            r#"crier_scheduler_step_duration_seconds_count{step="reap"}"#,
            1.0,
        ),
        ("crier_scheduler_leader", 1.0),
        ("crier_scheduler_leader_changes_total", 3.0),
    ] {
        assert_value(&text, series, want);
    }
}

#[test]
fn work_counts_until_its_guard_is_dropped() {
    let metrics = Metrics::new("1.2.3");
    let first = metrics.worker_busy();
    let second = metrics.worker_busy();
    assert_value(
        &metrics.render(Instant::now()),
        "crier_worker_inflight",
        2.0,
    );
    drop(first);
    let crashed = std::thread::spawn(move || {
        let _held = second;
        panic!("the guard counts down on a panic too");
    });
    assert!(crashed.join().is_err());
    assert_value(
        &metrics.render(Instant::now()),
        "crier_worker_inflight",
        0.0,
    );
}

#[test]
fn free_text_and_a_flood_of_codes_become_other() {
    let metrics = Metrics::new("1.2.3");
    for text in [
        "Hello, world!",
        "",
        "access_token=abc",
        "É",
        &"a".repeat(49),
    ] {
        metrics.attempt_ended(AttemptEnd::Failed, Some(text));
    }
    let other = r#"crier_attempts_total{code="other",outcome="failed"}"#;
    assert_value(&metrics.render(Instant::now()), other, 5.0);
    for code in 0..1000 {
        metrics.attempt_ended(AttemptEnd::Failed, Some(&format!("code_{code}")));
    }
    let text = metrics.render(Instant::now());
    let series = text
        .lines()
        .filter(|line| line.starts_with("crier_attempts_total{"))
        .count();
    assert!(series < 210, "{series} series");
    assert!(value(&text, other).is_some_and(|count| count > 800.0));
}

#[test]
fn two_instances_never_meet() {
    let (one, two) = (Metrics::new("1.2.3"), Metrics::new("1.2.3"));
    one.lease_lost();
    assert_value(&one.render(Instant::now()), "crier_leases_lost_total", 1.0);
    assert_value(&two.render(Instant::now()), "crier_leases_lost_total", 0.0);
}
