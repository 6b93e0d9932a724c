//! Commands against a database of their own: what they print, as a table and as JSON, and how they end.

use serde_json::Value;

use super::crier_with;
use super::desk::{Desk, account};

#[test]
fn a_post_goes_from_the_command_line_into_the_table_and_back() {
    let desk = Desk::furnished();
    assert_eq!(desk.done(&["jobs", "list"]).err.trim(), "no such jobs");
    let words = [
        "post",
        "--account",
        "@ACME",
        "hello",
        "--at",
        "2031-12-01 09:00 Europe/Berlin",
        "--media",
        "a.png",
        "--alt",
        "a picture",
        "--campaign",
        "spring",
        "--dedupe-key",
        "k",
    ];
    assert_eq!(desk.done(&words).out, "job 1\n");
    assert!(desk.done(&words).out.contains("was there already"));
    let job = &desk.json(&["jobs", "show", "1"])[0];
    assert_eq!(job["run_at"], "2031-12-01T08:00:00+00:00");
    assert_eq!(
        job["media"],
        serde_json::json!([{"path": "a.png", "alt_text": "a picture"}])
    );
    let list = desk
        .done(&["jobs", "list", "--campaign", "spring", "--state", "open"])
        .out;
    assert_eq!(
        list,
        "JOB  ACCOUNT  STATE      RUN AT                TEXT   POST OR REASON\n1    acme     scheduled  2031-12-01 08:00:00Z  hello\n"
    );
    assert_eq!(
        desk.json(&["jobs", "list", "--state", "failed"]),
        [Value::Null; 0]
    );
    assert_eq!(
        desk.done(&["jobs", "cancel", "1"]).out,
        "job 1 is cancelled\n"
    );
    assert_eq!(desk.json(&["jobs", "retry", "1"])[0]["state"], "scheduled");
    let shown = desk.done(&["jobs", "show", "1"]).out;
    assert!(
        shown.contains("dedupe key") && shown.contains("2031-12-01 08:00:00Z"),
        "{shown}"
    );
    assert!(
        desk.done(&["jobs", "why", "1"])
            .err
            .contains("nothing was tried yet: job 1 is scheduled")
    );
    desk.close();
}

#[test]
fn refusals_are_in_words_and_change_nothing() {
    let desk = Desk::furnished();
    desk.sql("insert into crier.jobs (account, text) values ('acme', 'a')");
    desk.refused(
        &["post", "--account", "nobody", "hi"],
        &[
            "error: the account \"nobody\" is not known to crier",
            "hint: crier accounts list",
        ],
    );
    desk.refused(
        &["post", "--account", "acme"],
        &["the post is empty", "hint: give it a text"],
    );
    desk.refused(
        &["post", "--account", "acme", "hi", "--at", "soon"],
        &["invalid input syntax for type timestamp"],
    );
    desk.refused(
        &["post", "--account", "acme", "hi", "--options", "{"],
        &["--options is not JSON"],
    );
    desk.refused(
        &[
            "post",
            "--account",
            "acme",
            "hi",
            "--options",
            "{\"colour\": 1}",
        ],
        &["unknown key \"colour\""],
    );
    desk.refused(
        &["post", "--account", "acme", "hi", "--after", "99"],
        &["there is no such job"],
    );
    for word in ["show", "why", "cancel", "retry"] {
        desk.refused(
            &["jobs", word, "99"],
            &["error: there is no job 99", "hint: `crier jobs list`"],
        );
    }
    desk.refused(
        &["jobs", "retry", "1"],
        &["job 1 is scheduled: only a failed, missed or cancelled job can be retried"],
    );
    desk.refused(
        &["jobs", "settle", "1", "--retry"],
        &["job 1 is scheduled, not unknown"],
    );
    desk.refused(
        &["jobs", "list", "--account", "nobody"],
        &["`nobody` is not known"],
    );
    desk.refused(&["jobs", "watch", "1", "99"], &["there is no job 99"]);
    desk.refused(&["accounts", "pause", "nobody"], &["`nobody` is not known"]);
    desk.refused(&["auth", "refresh", "nobody"], &["`nobody` is not known"]);
    let said = desk.feed(
        &["auth", "import"],
        "{\"id\": \"2\", \"username\": \"bare\"}",
    );
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("neither `oauth2` nor `oauth1`"),
        "{}",
        said.err
    );
    let said = desk.feed(&["auth", "import"], &account("ACME", "2"));
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err
            .contains("another account, with another id on X, is known as `ACME` already"),
        "{}",
        said.err
    );
    assert_eq!(desk.json(&["jobs", "list"]).len(), 1);
    assert_eq!(desk.json(&["accounts", "list"]).len(), 1);
    desk.close();
}

#[test]
fn an_unknown_job_is_settled_by_a_person() {
    let desk = Desk::furnished();
    desk.sql(
        "insert into crier.jobs (account, text) values ('acme', 'a https://example.com'), ('acme', 'b'), ('acme', 'c');
         update crier.jobs set state = 'unknown', error = '{\"code\": \"no_answer\", \"title\": \"no answer\"}'",
    );
    let list = desk.done(&["jobs", "list", "--state", "unknown"]).out;
    assert!(list.contains("no_answer: no answer"), "{list}");
    desk.refused(
        &["jobs", "settle", "1", "--published", "x"],
        &["`x` is no id of a post"],
    );
    assert_eq!(
        desk.done(&["jobs", "settle", "1", "--published", "77"]).out,
        "job 1 is published\n"
    );
    assert_eq!(
        desk.done(&["jobs", "settle", "2", "--retry"]).out,
        "job 2 is scheduled\n"
    );
    assert_eq!(
        desk.json(&["jobs", "settle", "3", "--absent"]),
        [serde_json::json!({"id": 3, "state": "failed"})]
    );
    desk.refused(
        &["jobs", "settle", "3", "--absent"],
        &["job 3 is failed, not unknown: there is nothing to settle"],
    );
    let shown = desk.done(&["jobs", "show", "3"]).out;
    assert!(
        shown.contains("operator_absent") && shown.contains("select crier.retry(3)"),
        "{shown}"
    );
    // Charged as any post, by what is in it.
    let cost = &desk.json(&["accounts", "show", "acme"])[0]["costs"];
    assert_eq!(cost.as_array().unwrap().len(), 1, "{cost}");
    assert_eq!(
        (&cost[0]["kind"], &cost[0]["micro_usd"]),
        (&"post_with_url".into(), &200_000.into())
    );
    let watched = desk.done(&["jobs", "watch", "1"]);
    assert_eq!(
        watched.out,
        "job 1  acme  published  https://x.com/acme/status/77\n"
    );
    desk.done(&["jobs", "cancel", "2"]);
    let watched = desk.say(&["jobs", "watch", "1", "2"]);
    assert_eq!(watched.code, 1);
    assert!(
        watched.err.contains("1 of 2 jobs did not go out"),
        "{}",
        watched.err
    );
    desk.close();
}

#[test]
fn what_is_due_is_listed_with_what_it_waits_for() {
    let desk = Desk::furnished();
    let due = ["jobs", "list", "--due"];
    assert_eq!(desk.done(&due).err.trim(), "nothing is due that is not out");
    desk.sql(
        "insert into crier.jobs (account, text, run_at, campaign) values
           ('acme', 'Doors open', crier.now() - interval '10 minutes', null), ('acme', 'Tea or punch?', crier.now() - interval '2 hours', 'spring'),
           ('acme', 'not yet', crier.now() + interval '1 hour', null);
         select crier.pause_campaign('spring')",
    );
    let told = desk.done(&due).out;
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines[1].starts_with("2    acme     paused     2 h     Tea or punch?")
            && lines[1].ends_with("its campaign: select crier.resume_campaign('spring')"),
        "{told}"
    );
    assert!(
        lines[2].starts_with("1    acme     scheduled  10 min")
            && lines[2].ends_with("a worker; `crier doctor` says whether one runs"),
        "{told}"
    );
    assert_eq!(lines.len(), 3, "{told}");
    desk.done(&["accounts", "pause", "acme"]);
    let job = &desk.json(&[&due[..], &["--limit", "1", "--account", "acme"]].concat())[0];
    assert_eq!(
        (&job["id"], &job["campaign_paused"]),
        (&2.into(), &true.into())
    );
    assert!(job["late_s"].as_f64().unwrap() >= 7_200.0, "{job}");
    assert_eq!(
        desk.json(&due)[1]["waits_for"],
        "@acme: paused by a person; `crier accounts resume acme`"
    );
    assert_eq!(desk.say(&[&due[..], &["--state", "open"]].concat()).code, 2);
    desk.close();
}

#[test]
fn accounts_are_shown_paused_and_resumed() {
    let desk = Desk::furnished();
    let list = desk.done(&["accounts", "list"]).out;
    assert!(
        list.lines()
            .nth(1)
            .unwrap()
            .starts_with("acme     active  2 h"),
        "{list}"
    );
    assert_eq!(
        desk.done(&["accounts", "pause", "@Acme"]).out,
        "acme is paused\n"
    );
    let row = &desk.json(&["accounts", "show", "acme"])[0];
    assert_eq!(
        (&row["status"], &row["reason"]["code"]),
        (&"paused".into(), &"paused".into())
    );
    let shown = desk.done(&["accounts", "show", "acme"]).out;
    assert!(
        shown.contains("paused by a person") && shown.contains("`crier accounts resume acme`"),
        "{shown}"
    );
    assert_eq!(
        desk.json(&["accounts", "resume", "acme"])[0]["status"],
        "active"
    );
    desk.sql("update crier.accounts set status = 'needs_login', reason = '{\"code\": \"invalid_grant\", \"title\": \"revoked\"}'");
    desk.refused(
        &["accounts", "resume", "acme"],
        &[
            "`acme` has no grant to go on with",
            "hint: log in again: `crier auth login --account acme`",
        ],
    );
    let all = format!("{shown}{}", desk.done(&["accounts", "list", "--json"]).out);
    assert!(!all.contains("s3cr3t"), "{all}");
    desk.close();
}

#[test]
fn the_doctor_finds_what_is_wrong_and_nothing_else() {
    let desk = Desk::new();
    let said = desk.say(&["doctor"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("run `crier migrate`"), "{}", said.err);
    desk.done(&["migrate"]);
    let said = desk.feed(&["auth", "import"], &account("acme", "1"));
    assert_eq!(said.code, 0, "{}", said.err);
    let checks = desk.json(&["doctor"]);
    let wrong = |checks: &[Value]| -> Vec<String> {
        let wrong = checks.iter().filter(|check| check["result"] == "wrong");
        wrong
            .map(|check| check["what"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(wrong(&checks), [""; 0]);
    for what in [
        "database",
        "clock",
        "notifications",
        "schema",
        "crier.clock",
        "key for tokens",
        "@acme",
        "media folder",
    ] {
        let found = checks.iter().find(|check| check["what"] == what);
        assert_eq!(
            found.unwrap_or_else(|| panic!("{what}"))["result"],
            "ok",
            "{what}"
        );
    }
    desk.sql(
        "update crier.clock set shift = '1 day'; update crier.accounts set scopes = '{tweet.read}', status = 'suspended'",
    );
    let said = desk.say(&["doctor", "--json"]);
    assert_eq!(said.code, 1);
    let checks: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(wrong(&checks), ["crier.clock", "@acme", "@acme"]);
    assert!(said.err.contains("3 of"), "{}", said.err);
    let other = [
        ("DATABASE_URL", desk.url.as_str()),
        (
            "CRIER__SECRETS__KEY",
            "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ];
    let said = crier_with(&["doctor"], &other, "");
    assert!(said.out.contains("its token does not open"), "{}", said.out);
    desk.close();
}

#[test]
fn no_role_starts_on_an_old_schema_or_without_a_key() {
    let desk = Desk::new();
    desk.refused(
        &["worker"],
        &["the schema is at version 0", "hint: run `crier migrate`"],
    );
    desk.done(&["migrate"]);
    let said = crier_with(
        &["worker"],
        &[
            ("DATABASE_URL", &desk.url),
            ("CRIER__EXPORTER__LISTEN", "127.0.0.1:0"),
        ],
        "",
    );
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("no key for the credentials")
            && said.err.contains("hint: `crier keys new`"),
        "{}",
        said.err
    );
    desk.close();
}

#[test]
fn a_budget_is_set_shown_and_taken_away() {
    let desk = Desk::furnished();
    assert_eq!(
        desk.done(&["accounts", "budget", "@acme", "12.50"]).out,
        "app has cost 0.000 USD of 12.50 USD a month\n"
    );
    let shown = &desk.json(&["accounts", "budget", "app"])[0];
    assert_eq!(
        (&shown["app"], &shown["monthly_budget_usd"]),
        (&"app".into(), &12.5.into())
    );
    let row = &desk.json(&["accounts", "show", "acme"])[0];
    assert_eq!(row["app_money"]["monthly_budget_usd"], 12.5);
    assert_eq!(row["costs"], serde_json::json!([]));
    desk.sql("insert into crier.cost_deltas (app_id, account_id, kind, calls, micro_usd) select app_id, id, 'post', 3, 45000 from crier.accounts");
    let shown = desk.done(&["accounts", "show", "acme"]).out;
    assert!(
        shown.contains("cost this month, post") && shown.contains("3 × = 0.045 USD"),
        "{shown}"
    );
    assert_eq!(
        desk.done(&["accounts", "budget", "app", "none"]).out,
        "app has cost 0.045 USD without a bound\n"
    );
    desk.refused(
        &["accounts", "budget", "nobody", "5"],
        &["there is neither an app nor an account `nobody`"],
    );
    for wrong in ["much", "NaN", "inf"] {
        let said = desk.say(&["accounts", "budget", "app", wrong]);
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains("12.50"), "{}", said.err);
    }
    desk.close();
}
