//! The scheduler's loop against a real Postgres, a database per test: checks, recurring posts, leadership, housekeeping.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crier_scheduler::{Housekeeping, SchedulerOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use stage::{Db, Folder, quick};

#[path = "run/stage.rs"]
mod stage;

#[tokio::test]
async fn new_rows_are_checked_within_seconds_and_a_missing_file_warns_until_it_is_there() {
    let db = Db::new().await;
    let folder = Arc::new(Folder::default());
    let running = db.start(SchedulerOptions {
        media: Some(folder.clone()),
        ..quick()
    });
    db.sql(
        "insert into crier.jobs (account, text, media, run_at) values
           ('acme', repeat('x', 281), '[]', crier.now() + interval '1 day'), ('acme', 'fine', '[]', crier.now() + interval '1 day'),
           ('acme', 'with a picture', '[{\"path\": \"a.jpg\"}]', crier.now() + interval '1 day')",
    )
    .await;
    db.until("select not exists (select 1 from crier.job_checks where next_at <= crier.now())")
        .await;
    let rows = db.store.select_json("select state, error->>'code' as error, warning->>'code' as warning from crier.jobs order by id").await.unwrap();
    let row = |state, error: Value, warning: Value| json!({"state": state, "error": error, "warning": warning});
    assert_eq!(
        rows,
        [
            row("failed", json!("text_too_long"), Value::Null),
            row("scheduled", Value::Null, Value::Null),
            row("scheduled", Value::Null, json!("media_missing"))
        ]
    );
    let planned = db
        .one("select count(*) as n from crier.media_uploads where job_id = 3")
        .await;
    assert_eq!(planned["n"], 1, "its upload is planned all the same");
    for (result, count) in [("failed", 1), ("ok", 1), ("warning", 1)] {
        assert!(running.shows(&format!(
            "crier_checks_total{{result=\"{result}\"}} {count}"
        )));
    }
    folder.there.store(true, Ordering::SeqCst);
    db.sql("update crier.clock set shift = shift + interval '30 seconds'")
        .await;
    db.until("select warning is null from crier.jobs where id = 3")
        .await;
    db.until("select not exists (select 1 from crier.job_checks)")
        .await;
    // A probe that crashes costs the check, not the loop, nor the checks beside it; and the third time its job.
    db.sql("insert into crier.jobs (account, text, media) values ('acme', 'x', '[{\"path\": \"crash.jpg\"}]'), ('acme', 'now', '[]')").await;
    db.until("select next_at is not null from crier.lanes")
        .await;
    for crash in 1..=2 {
        db.until(&format!(
            "select count(*) = 1 and bool_and(next_at > crier.now() and subject = job_id and crashes = {crash}) from crier.job_checks, crier.suspects"
        ))
        .await;
        db.sql("update crier.clock set shift = shift + interval '31 seconds'")
            .await;
    }
    db.until("select state = 'failed' and error->>'code' = 'quarantined' and error->>'step' = 'check' from crier.jobs where media @> '[{\"path\": \"crash.jpg\"}]'")
        .await;
    db.until("select not exists (select 1 from crier.job_checks) and not exists (select 1 from crier.suspects)")
        .await;
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn recurring_posts_are_made_ahead_edited_at_once_and_say_what_is_wrong() {
    let db = Db::new().await;
    // Two that both believe to lead for a while: one scheduler's lease is very short.
    let running = [
        db.start(quick()),
        db.start(SchedulerOptions {
            leader_ttl: Duration::from_millis(1),
            ..quick()
        }),
    ];
    db.sql(
        "insert into crier.recurring (name, account, cron, time_zone, template, ahead) values
           ('hourly', 'acme', '0 * * * *', 'Europe/Berlin', '{\"text\": \"no. {n} of {date}\"}', '1 day'),
           ('bad hour', 'acme', '0 25 * * *', 'UTC', '{\"text\": \"x\"}', '1 day'),
           ('bad text', 'acme', '0 9 * * *', 'UTC', '{\"text\": \"{nobody}\"}', '1 day')",
    )
    .await;
    db.until("select count(*) = 24 from crier.jobs where recurring_id = 1")
        .await;
    db.until("select bool_and(error is not null) from crier.recurring where id > 1")
        .await;
    let errors = db
        .store
        .select_json("select error->>'code' as code from crier.recurring where id > 1 order by id")
        .await
        .unwrap();
    assert_eq!(
        errors,
        [
            json!({"code": "recurring_schedule"}),
            json!({"code": "recurring_template"})
        ]
    );
    let numbered = db.one("select bool_and(text like 'no. ' || n || ' of 20__-__-__') as ok from (select text, row_number() over (order by run_at) as n from crier.jobs where recurring_id = 1) x").await;
    assert_eq!(numbered["ok"], true);
    // Edited: the same slots, the new text, each once.
    db.sql("update crier.recurring set template = '{\"text\": \"new {n}\"}' where id = 1; update crier.recurring set cron = '0 9 * * *' where id = 2").await;
    db.until("select count(*) = 24 from crier.jobs where recurring_id = 1 and text like 'new %'")
        .await;
    db.until("select count(*) = 1 from crier.jobs where recurring_id = 2")
        .await;
    assert_eq!(
        db.one("select count(*) as n from crier.jobs where recurring_id = 1")
            .await["n"],
        24
    );
    db.sql("update crier.recurring set paused = true where id = 1")
        .await;
    assert_eq!(
        db.one(
            "select count(*) as n from crier.jobs where recurring_id = 1 and run_at > crier.now()"
        )
        .await["n"],
        0
    );
    // Days go by, in steps, while both go on: every slot once.
    db.sql("update crier.recurring set paused = false where id = 1")
        .await;
    for day in 1..=4 {
        db.until("select bool_and(next_at > crier.now()) from crier.recurring where id < 3")
            .await;
        db.sql("update crier.clock set shift = shift + interval '20 hours'")
            .await;
        db.until(&format!(
            "select count(*) >= 24 + {day} * 20 - 1 from crier.jobs where recurring_id = 1"
        ))
        .await;
    }
    let once = db.one("select count(*) = count(distinct run_at) as ok, max(run_at) - min(run_at) = (count(*) - 1) * interval '1 hour' as whole from crier.jobs where recurring_id = 1").await;
    assert_eq!(once, json!({"ok": true, "whole": true}));
    for one in running {
        one.stop().await;
    }
    db.drop().await;
}

#[tokio::test]
async fn a_step_that_panics_is_counted_and_the_steps_after_it_are_done() {
    let db = Db::new().await;
    // No trigger bounds this column, since nobody but the owner writes it: reading it overflows.
    db.sql(
        "insert into crier.recurring (name, account, cron, template) values ('r', 'acme', '0 9 * * *', '{\"text\": \"x\"}');
         update crier.recurring set created_at = '280000-01-01'",
    )
    .await;
    let running = db.start(quick());
    for round in 1..=3 {
        db.sql("insert into crier.jobs (account, text) values ('acme', repeat('x', 281)), ('acme', 'fine')")
            .await;
        db.until(&format!(
            "select count(*) = {round} from crier.jobs where state = 'failed'"
        ))
        .await;
    }
    let page = running.metrics.render(Instant::now());
    assert!(
        page.contains("crier_db_errors_total{operation=\"panic\"}"),
        "{page}"
    );
    assert!(running.shows("crier_scheduler_leader 1"));
    // Mended, and the recurring post is made.
    db.sql("update crier.recurring set created_at = crier.now()")
        .await;
    db.until("select count(*) = 1 from crier.jobs where recurring_id = 1")
        .await;
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn a_recurring_post_that_breaks_down_is_put_aside_after_three_times_and_costs_no_other() {
    let db = Db::new().await;
    // No trigger bounds this column, since nobody but the owner writes it: the number after it overflows.
    db.sql(
        "insert into crier.recurring (name, account, cron, template)
           select name, 'acme', '0 9 * * *', '{\"text\": \"x\"}' from unnest(array['breaks', 'fine']) as name;
         update crier.recurring set slots = 9223372036854775807 where name = 'breaks'",
    )
    .await;
    let running = db.start(quick());
    let made = "select exists (select 1 from crier.jobs j join crier.recurring r on r.id = j.recurring_id where r.name = 'fine')";
    db.until(made).await;
    let broken = "from crier.recurring where name = 'breaks' and error ->> 'code' = 'quarantined'";
    for times in 1..=2 {
        db.until(&format!(
            "select exists (select 1 {broken} and next_at is not null)"
        ))
        .await;
        let counted = db
            .one("select crashes from crier.suspects where step = 'recurring'")
            .await;
        assert_eq!(counted["crashes"], times, "one time after the other");
        db.sql("update crier.recurring set error = null where name = 'breaks'; update crier.clock set shift = shift + interval '61 seconds'")
            .await;
    }
    db.until(&format!(
        "select exists (select 1 {broken} and next_at is null)"
    ))
    .await;
    let left = db
        .one("select count(*) as suspects from crier.suspects")
        .await;
    assert_eq!(left["suspects"], 0, "an edit begins anew");
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn leases_dated_ahead_by_a_clock_that_went_back_end_by_the_new_one() {
    let db = Db::new().await;
    db.sql(
        "insert into crier.leases (kind, subject, account_id, worker, claimed_at, expires_at)
         values ('stage', 7, 1, gen_random_uuid(), crier.now() + interval '1 hour', crier.now() + interval '61 minutes')",
    )
    .await;
    let running = db.start(quick());
    db.until("select expires_at < crier.now() + interval '2 minutes' from crier.leases")
        .await;
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn one_leads_and_another_takes_over_whatever_the_notifications_do() {
    let db = Db::new().await;
    let silent = || SchedulerOptions {
        notify: false,
        ..quick()
    };
    let first = db.start(silent());
    db.until("select exists (select 1 from crier.leader)").await;
    let second = db.start(silent());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(first.shows("crier_scheduler_leader 1") && second.shows("crier_scheduler_leader 0"));
    // Killed, not stopped: its lease must run out.
    first.task.abort();
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    db.until("select exists (select 1 from crier.lanes where next_at <= crier.now())")
        .await;
    assert!(second.shows("crier_scheduler_leader 1"));
    second.stop().await;
    assert_eq!(
        db.one("select expires_at < crier.now() as given_back from crier.leader")
            .await["given_back"],
        true
    );
    db.drop().await;
}

#[tokio::test]
async fn housekeeping_rings_by_its_cron_and_a_failing_chore_stops_nothing() {
    let db = Db::new().await;
    let running = db.start(SchedulerOptions {
        housekeeping: Housekeeping {
            retention_cron: "* * * * * *".into(),
            sweep_cron: "* * * * * *".into(),
            history_days: Some(30),
            attempts_days: Some(30),
            ..Housekeeping::default()
        },
        ..quick()
    });
    let partitions = "select count(*) >= 3 from pg_inherits where inhparent = 'crier.jobs_final'::regclass and inhrelid::regclass::text ~ '_20'";
    db.until(partitions).await;
    // A chore that fails every time; the others are done, and the loop goes on.
    db.sql(
        "create function pg_temp_refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
         create trigger refuse before delete on crier.attempts for each row execute function pg_temp_refuse();
         insert into crier.attempts (job_id, account_id, number, token, worker, step, outcome, started_at, finished_at)
           values (9, 1, 1, 1, gen_random_uuid(), 'publish', 'retry', crier.now() - interval '1 year', crier.now() - interval '1 year');
         insert into crier.workers (id, role, host, version, seen_at) values (gen_random_uuid(), 'worker', 'h', '1', crier.now() - interval '1 year')",
    )
    .await;
    db.until("select not exists (select 1 from crier.workers where host = 'h')")
        .await;
    db.until("select not exists (select 1 from crier.lanes)")
        .await;
    // The sweep finds what no signal told.
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x')")
        .await;
    db.until("select exists (select 1 from crier.lanes where next_at <= crier.now())")
        .await;
    db.sql("update crier.lanes set next_at = null").await;
    db.until("select exists (select 1 from crier.lanes where next_at <= crier.now())")
        .await;
    db.sql("drop trigger refuse on crier.attempts").await;
    db.until("select not exists (select 1 from crier.attempts)")
        .await;
    // Dropped once a month is old enough, though not by a clock that has only just leapt there.
    db.sql("select crier.cancel(1); update crier.clock set shift = shift + interval '90 days'")
        .await;
    db.until("select steady_since > crier.now() - interval '1 hour' from crier.housekeeping")
        .await;
    db.until("select exists (select 1 from crier.jobs where id = 1) and seen_at > steady_since + interval '1 second' from crier.housekeeping")
        .await;
    db.sql("update crier.clock set shift = shift + interval '21 hours'")
        .await;
    db.until("select not exists (select 1 from crier.jobs where id = 1)")
        .await;
    running.stop().await;
    // A cron expression that cannot be read costs only its chore.
    let running = db.start(SchedulerOptions {
        housekeeping: Housekeeping {
            retention_cron: "now and then".into(),
            ..Housekeeping::default()
        },
        ..quick()
    });
    db.sql("insert into crier.jobs (account, text) values ('acme', 'y')")
        .await;
    db.until("select exists (select 1 from crier.lanes where next_at <= crier.now() + interval '1 second')")
        .await;
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn a_row_that_kills_every_scheduler_is_put_aside_and_the_others_are_looked_at() {
    let db = Db::new().await;
    db.sql(
        "insert into crier.jobs (account, text) values ('acme', 'kills'), ('acme', 'fine'), ('acme', repeat('x', 281));
         insert into crier.recurring (name, account, cron, template) values ('kills', 'acme', '0 9 * * *', '{\"text\": \"x\"}'),
           ('fine', 'acme', '0 9 * * *', '{\"text\": \"x\"}')",
    )
    .await;
    // Three schedulers died, each with the same rows in hand; the last time by themselves.
    for subjects in ["{1,2,3}", "{1}", "{1}"] {
        db.sql(&format!(
            "insert into crier.in_hand (step, holder, subjects) values ('checks', gen_random_uuid(), '{subjects}'), ('recurring', gen_random_uuid(), '{{1}}')"
        ))
        .await;
        db.store
            .suspect_what_was_left(Uuid::new_v4())
            .await
            .unwrap();
    }
    let running = db.start(quick());
    db.until("select not exists (select 1 from crier.job_checks where job_id <= 3)")
        .await;
    db.until("select count(*) = 1 from crier.jobs where recurring_id is not null")
        .await;
    db.until("select error->>'code' = 'quarantined' and next_at is null from crier.recurring where id = 1")
        .await;
    let ends = db
        .one("select jsonb_object_agg(id, coalesce(error->>'code', state)) as ends from crier.jobs where id <= 3")
        .await;
    assert_eq!(
        ends["ends"],
        json!({"1": "quarantined", "2": "scheduled", "3": "text_too_long"})
    );
    // An edit, or a person's retry, begins anew.
    db.sql("update crier.recurring set cron = '0 10 * * *' where id = 1; select crier.retry(1)")
        .await;
    db.until("select count(*) = 2 from crier.jobs where recurring_id is not null")
        .await;
    db.until("select not exists (select 1 from crier.suspects) and (select state = 'scheduled' from crier.jobs where id = 1)")
        .await;
    running.stop().await;
    let left = db
        .one("select coalesce(sum(cardinality(subjects)), 0) as n from crier.in_hand")
        .await;
    assert_eq!(
        left["n"], 0,
        "a scheduler that stops leaves nothing in hand"
    );
    db.drop().await;
}

#[tokio::test]
async fn a_daily_post_has_one_job_a_local_day_over_every_change_of_the_clock() {
    let db = Db::new().await;
    let running = db.start(quick());
    for (season, days, steps) in [("2027-03-01", 46, 16), ("2027-09-25", 46, 16)] {
        db.sql(&format!(
            "delete from crier.recurring;
             update crier.clock set shift = '{season} 12:00Z'::timestamptz - now();
             insert into crier.recurring (name, account, cron, time_zone, template, ahead) values
               ('berlin', 'acme', '30 2 * * *', 'Europe/Berlin', '{{\"text\": \"{season}\"}}', '4 days'),
               ('new york', 'acme', '30 2 * * *', 'America/New_York', '{{\"text\": \"{season}\"}}', '4 days'),
               ('lord howe', 'acme', '45 1 * * *', 'Australia/Lord_Howe', '{{\"text\": \"{season}\"}}', '4 days'),
               ('gap', 'acme', '15 2 * * *', 'Australia/Lord_Howe', '{{\"text\": \"{season}\"}}', '4 days')"
        ))
        .await;
        let settled = "select count(*) = 4 and bool_and(next_at > crier.now() and error is null) from crier.recurring";
        db.until(settled).await;
        for _ in 0..steps {
            db.sql("update crier.clock set shift = shift + interval '3 days'")
                .await;
            db.until(settled).await;
        }
        // By Postgres's own zones: each day once, none left out.
        let wrong = db
            .store
            .select_json(&format!(
                "select r.name, count(j.id) as jobs, count(distinct (j.run_at at time zone r.time_zone)::date) as days
                   from crier.recurring r join crier.jobs j on j.recurring_id = r.id
                  where (j.run_at at time zone r.time_zone)::date between '{season}'::date + 2 and '{season}'::date + 1 + {days}
                  group by r.name having (count(j.id), count(distinct (j.run_at at time zone r.time_zone)::date)) is distinct from ({days}::bigint, {days}::bigint)"
            ))
            .await
            .unwrap();
        assert_eq!(wrong, [json!(null); 0], "{season}");
        let moved = db
            .one(&format!("select count(distinct (run_at at time zone 'UTC')::time) as offsets from crier.jobs where text = '{season}'"))
            .await;
        assert!(
            moved["offsets"].as_i64().unwrap() >= 7,
            "each zone changed: {moved}"
        );
    }
    running.stop().await;
    db.drop().await;
}

#[tokio::test]
async fn a_clock_that_leaps_to_and_fro_makes_no_slot_twice_and_no_burst() {
    let db = Db::new().await;
    db.sql(
        "insert into crier.recurring (name, account, cron, template, ahead, missed) values
           ('hourly', 'acme', '0 * * * *', '{\"text\": \"{slot}\"}', '2 hours', 'skip'),
           ('once', 'acme', '0 * * * *', '{\"text\": \"{slot}\"}', '2 hours', 'once')",
    )
    .await;
    let running = db.start(quick());
    let settled = "select bool_and(next_at > crier.now()) from crier.recurring";
    db.until(settled).await;
    let jobs = "select count(*) as n from crier.jobs where recurring_id = ";
    let mut before = (
        db.one(&format!("{jobs} 1")).await["n"].as_i64().unwrap(),
        db.one(&format!("{jobs} 2")).await["n"].as_i64().unwrap(),
    );
    for leap in ["1 hour", "-1 hour", "1 day", "-1 day", "1 year", "-1 year"] {
        db.sql(&format!(
            "update crier.clock set shift = shift + interval '{leap}'"
        ))
        .await;
        // The leader is confirmed by the new clock, and a round has passed.
        db.until("select expires_at between crier.now() and crier.now() + interval '2 seconds' from crier.leader")
            .await;
        db.until(settled).await;
        let after = (
            db.one(&format!("{jobs} 1")).await["n"].as_i64().unwrap(),
            db.one(&format!("{jobs} 2")).await["n"].as_i64().unwrap(),
        );
        assert!(after.0 - before.0 <= 3, "{leap}: {before:?} {after:?}");
        assert!(after.1 - before.1 <= 4, "{leap}: {before:?} {after:?}");
        before = after;
    }
    let twice = db
        .store
        .select_json(
            "select recurring_id, run_at from crier.jobs group by 1, 2 having count(*) > 1",
        )
        .await
        .unwrap();
    assert_eq!(twice, [json!(null); 0]);
    running.stop().await;
    db.drop().await;
}
