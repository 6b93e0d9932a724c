//! A schema that is older or newer than the program: an upgrade while all goes on.

use std::time::Duration;

use serde_json::json;

use super::watched::{QUICK, Watched};
use super::{ALL_PUBLISHED, each_job_has_its_post};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
/// What a later version may do: expand, and nothing else.
const LATER: &str = "
    alter table crier.lanes add column later jsonb;
    alter table crier.leases add column later timestamptz;
    alter table crier.jobs add column later text default 'later';
    alter table crier.attempts add column later bigint not null default 0;
    alter table crier.accounts add column later boolean not null default true;
    create table crier.later (id bigint primary key);
    create function crier.later() returns int language sql as 'select 1';
    insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
      values (9999, 'later', true, 'later', 1)";

#[tokio::test]
async fn a_program_goes_on_beside_a_schema_that_was_made_newer_meanwhile() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let before = Watched::start(&stage, "run", &QUICK);
    before.until_ready_is(&stage, true).await;
    stage
        .sql("insert into crier.jobs (account, text, run_at) select 'acme', 'post ' || n, now() + n * interval '200 ms' from generate_series(1, 20) n")
        .await;
    // As `crier migrate` of the newer version does, while this one publishes.
    // It waits for no lock for long, and tries again.
    while let Err(error) = stage.tried(LATER).await {
        let refused = error.sqlstate();
        assert!(
            matches!(refused.as_deref(), Some("55P03" | "40P01")),
            "{error}"
        );
    }
    // One of the old version that starts now, such as after a crash.
    let after = Watched::start(&stage, "run", &QUICK);
    after.until_ready_is(&stage, true).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    assert!(
        stage
            .done_by(&["migrate"])
            .await
            .starts_with("the schema is at version ")
    );
    let kept = stage
        .rows("select max(version) as version from public._sqlx_migrations")
        .await;
    assert_eq!(kept, [json!({"version": 9999})]);
    before.until_ready_is(&stage, true).await;
    before.stop().await;
    after.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn every_role_refuses_a_schema_that_is_older_and_says_what_to_do() {
    let stage = Stage::new(&json!({})).await;
    stage
        .sql("delete from public._sqlx_migrations where version = (select max(version) from public._sqlx_migrations)")
        .await;
    for role in ["run", "scheduler", "worker", "exporter"] {
        let (code, _, err) = stage.say(&[role]).await;
        assert_eq!(code, Some(1), "{role}: {err}");
        assert!(
            err.contains("this program needs") && err.contains("hint: run `crier migrate`"),
            "{role}: {err}"
        );
    }
    stage.done().await;
}
