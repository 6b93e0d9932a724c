//! A database that takes no writes, or no more connections: said in words, nothing sent, and over by itself.

use std::time::Duration;

use serde_json::json;

use super::watched::{QUICK, Watched};
use super::{ALL_PUBLISHED, each_job_has_its_post};
use crate::support::Stage;

const SOON: Duration = Duration::from_mins(1);
const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'crier'";

async fn database(stage: &Stage) -> String {
    let row = stage.rows("select current_database() as name").await;
    row[0]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_said_so_and_nothing_is_sent() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let name = database(&stage).await;
    let role = Watched::start(&stage, "run", &QUICK);
    role.until_ready_is(&stage, true).await;
    stage
        .sql(&format!(
            "alter database {name} set default_transaction_read_only = on"
        ))
        .await;
    stage.sql(END_SESSIONS).await;
    let page = role.until_ready_is(&stage, false).await;
    assert!(page.contains("it takes no writes"), "{page}");
    // Our own session began before.
    stage
        .sql("insert into crier.jobs (account, text) values ('acme', 'once it may')")
        .await;
    role.until_said("default_transaction_read_only").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.sim("GET", "/_sim/posts", "").await, json!([]));
    let warned = role.said().matches(" WARN ").count();
    assert!(warned < 30, "a line a try: {}", role.said());
    let metrics = role.page(&stage, "/metrics").await;
    assert!(
        metrics.contains("crier_jobs_inserted_total 1"),
        "metrics are read all the same: {metrics}"
    );
    let (code, out, _) = stage.say(&["doctor", "--json"]).await;
    assert_eq!(code, Some(1));
    assert!(out.contains("default_transaction_read_only is on"), "{out}");
    stage
        .sql(&format!(
            "alter database {name} reset default_transaction_read_only"
        ))
        .await;
    // No session needs to be ended: who was refused asks by a new one.
    role.until_ready_is(&stage, true).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    role.stop().await;
    stage.done().await;
}

#[tokio::test]
async fn too_few_connections_are_said_so_and_enough_for_all_in_turn() {
    let stage = Stage::new(&json!({})).await;
    stage.account("acme").await;
    let name = format!("small_{}", database(&stage).await);
    // Member of the owner, but no superuser: those have no limit.
    stage
        .sql(&format!(
            "create role {name} login connection limit 0; grant postgres to {name}"
        ))
        .await;
    let url = stage.url.replace("postgres@", &format!("{name}@"));
    let settings = [
        &QUICK[..],
        &[
            ("DATABASE_URL", url.as_str()),
            // As few as crier takes do it all, in turn.
            ("CRIER__DATABASE__MAX_CONNECTIONS", "2"),
        ],
    ]
    .concat();
    let refused = stage
        .command(&["run"])
        .envs(settings.iter().copied())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("too many connections"), "{said}");
    assert!(
        said.contains("hint: the server has no connection left"),
        "{said}"
    );

    let limit = async |most: i32| {
        stage
            .sql(&format!("alter role {name} connection limit {most}"))
            .await;
    };
    limit(4).await;
    let role = Watched::start(&stage, "run", &settings);
    role.until_ready_is(&stage, true).await;
    // None is left for whoever loses its own.
    limit(0).await;
    stage.sql(END_SESSIONS).await;
    role.until_said("the server has no connection left").await;
    stage
        .sql("insert into crier.jobs (account, text) select 'acme', 'post ' || n from generate_series(1, 5) n")
        .await;
    limit(4).await;
    role.until_ready_is(&stage, true).await;
    stage.until(ALL_PUBLISHED, SOON).await;
    each_job_has_its_post(&stage).await;
    role.stop().await;
    stage
        .sql(&format!("drop owned by {name}; drop role {name}"))
        .await;
    stage.done().await;
}

/// A statement that takes longer than crier lets one (15 s), or that somebody cancels: nothing of it is done, and crier goes on.
#[tokio::test]
async fn statements_that_are_cancelled_are_made_again_and_nothing_goes_out_twice() {
    let stage = Stage::new(&json!({})).await;
    for account in ["claimed", "intended", "settled"] {
        stage.account(account).await;
    }
    // A sequence counts what is rolled back too: each trigger stands in the way once.
    stage
        .sql(
            "create sequence crier.cancelled; create sequence crier.slow_intent; create sequence crier.slow_settle;
             create function crier.cancel_once() returns trigger language plpgsql as $$ begin
               if nextval('crier.cancelled') <= 2 then raise exception 'cancelled' using errcode = 'query_canceled'; end if; return new; end $$;
             create trigger cancel_once before insert on crier.leases for each row when (new.kind = 'publish') execute function crier.cancel_once();
             create function crier.slow_intent() returns trigger language plpgsql as $$ begin
               if nextval('crier.slow_intent') = 1 then perform pg_sleep(60); end if; return new; end $$;
             create trigger slow_intent before update on crier.leases for each row
               when (new.phase = 'sending' and old.phase <> 'sending' and new.account_id = 2) execute function crier.slow_intent();
             create function crier.slow_settle() returns trigger language plpgsql as $$ begin
               if nextval('crier.slow_settle') = 1 then perform pg_sleep(60); end if; return new; end $$;
             create trigger slow_settle before insert on crier.posts for each row when (new.account_id = 3) execute function crier.slow_settle()",
        )
        .await;
    let role = Watched::start(&stage, "run", &QUICK);
    stage
        .sql("insert into crier.jobs (account, text) values ('claimed', 'a'), ('intended', 'b'), ('settled', 'c')")
        .await;
    stage.until(ALL_PUBLISHED, SOON).await;
    let tried = stage
        .rows("select (select last_value from crier.cancelled) > 2 and (select last_value from crier.slow_intent) > 1 and (select last_value from crier.slow_settle) > 1 as done")
        .await;
    assert_eq!(tried, [json!({"done": true})]);
    assert!(role.said().contains("statement timeout"), "{}", role.said());
    each_job_has_its_post(&stage).await;
    role.stop().await;
    stage.done().await;
}
