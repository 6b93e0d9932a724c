//! What the roles for people may do, by trying everything that the catalog knows: every table, column, sequence, function
//! and schema, every privilege. A migration that grants more than these lists say turns them red.

use serde_json::{Value, json};

use crate::db::Db;

/// All that `crier_writer` may do.
const WRITER: &[&str] = &[
    "execute cancel(job bigint)",
    "execute now()",
    "insert jobs (account, after, campaign, dedupe_key, max_attempts, max_lateness, media, options, priority, run_at, text, trace)",
    "select jobs",
    "usage crier",
];

/// All that `crier_reader` may do.
const READER: &[&str] = &[
    "execute now()",
    "select accounts",
    "select app_costs",
    "select apps (blocked_until, client_id, created_at, id, kind, monthly_budget_usd, probe_at, probed_at, probes, reason, status, trial_account, trial_until)",
    "select attempts",
    "select campaigns",
    "select clock",
    "select cost_deltas",
    "select costs",
    "select job_checks",
    "select jobs",
    "select lane_signals",
    "select lanes",
    "select leader",
    "select leases",
    "select limit_windows",
    "select media_uploads",
    "select posts",
    "select reconciles",
    "select recurring",
    "select recurring_slots",
    "select total_deltas",
    "select totals",
    "select webhook_deliveries",
    "select webhooks (campaign, created_at, events, form, host, id, name, paused)",
    "select workers",
    "usage crier",
];

/// Tries each deed for itself as the role, and tells all those that its rights did not forbid. What fails for another
/// reason was not forbidden. All of it is rolled back.
const TRY_EVERYTHING: &str = r"
do $try$
declare deed record; done text[] := '{}'; tried int := 0;
begin
  create temp table deeds (what text, object text, part text, script text) on commit drop;
  grant select on deeds to public;
  insert into deeds
  select d.what, c.relname, a.attname, format(d.script, c.relname, a.attname)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    cross join (values ('select', 'select %2$I from crier.%1$I limit 1'),
                       ('insert', 'insert into crier.%1$I (%2$I) overriding system value values (default)'),
                       ('update', 'update crier.%1$I set %2$I = default')) d (what, script)
   where c.relnamespace = 'crier'::regnamespace and c.relkind in ('r', 'p');
  insert into deeds
  select d.what, c.relname, null, format(d.script, c.relname)
    from pg_class c
    cross join (values ('delete', 'delete from crier.%I'), ('truncate', 'truncate crier.%I cascade'),
                       ('trigger', 'create trigger mine before insert on crier.%I for each row execute function suppress_redundant_updates_trigger()'),
                       ('alter', 'alter table crier.%I disable trigger user'), ('own', 'alter table crier.%I owner to current_user'),
                       ('add', 'alter table crier.%I add column mine int'), ('drop', 'drop table crier.%I cascade'),
                       ('lock', 'lock table crier.%I in access exclusive mode'), ('index', 'create index on crier.%I ((1))'),
                       ('rule', 'create rule mine as on insert to crier.%I do also nothing'),
                       ('policy', 'alter table crier.%I enable row level security')) d (what, script)
   where c.relnamespace = 'crier'::regnamespace and c.relkind in ('r', 'p');
  insert into deeds
  select d.what, c.relname, null, format(d.script, c.relname)
    from pg_class c
    cross join (values ('nextval', 'select nextval(''crier.%I'')'), ('setval', 'select setval(''crier.%I'', 1)'),
                       ('read', 'select last_value from crier.%I')) d (what, script)
   where c.relnamespace = 'crier'::regnamespace and c.relkind = 'S';
  insert into deeds
  select d.what, format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), null, format(d.script, p.oid::regprocedure, f.call)
    from pg_proc p
    cross join lateral (select format('crier.%I(%s)', p.proname, coalesce(string_agg(format('null::%s', t::regtype), ', ' order by n), '')) as call
                          from unnest(p.proargtypes) with ordinality as x (t, n)) f
    cross join (values ('execute', 'select %2$s'), ('change', 'alter function %1$s security invoker'), ('unmake', 'drop function %1$s cascade')) d (what, script)
   where p.pronamespace = 'crier'::regnamespace and p.prokind = 'f';
  insert into deeds values
    ('usage', 'crier', null, 'select crier.nothing()'),
    ('create', 'table', null, 'create table crier.mine (x int)'), ('create', 'view', null, 'create view crier.mine as select 1'),
    ('create', 'function', null, 'create function crier.mine() returns int language sql as ''select 1'''),
    ('create', 'type', null, 'create type crier.mine as enum (''a'')'), ('create', 'sequence', null, 'create sequence crier.mine'),
    ('create', 'schema', null, 'create schema mine'), ('create', 'in the database', null, 'create extension pg_trgm'),
    ('own', 'schema', null, 'alter schema crier rename to mine'), ('drop', 'schema', null, 'drop schema crier cascade'),
    ('switch off', 'triggers', null, 'set local session_replication_role = replica'),
    ('change', 'the role', null, 'alter role current_user superuser'), ('change', 'other roles', null, 'alter role crier_reader login'),
    ('grant', 'roles', null, 'grant pg_read_all_data to current_user'),
    ('read', 'files', null, 'select pg_read_file(''postgresql.conf'')'), ('run', 'programs', null, 'copy (select 1) to program ''true'''),
    ('write', 'files', null, 'copy (select 1) to ''/tmp/mine'''), ('end', 'sessions', null,
     'select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user limit 1'),
    ('migrate', 'history', null, 'delete from public._sqlx_migrations'), ('make', 'databases', null, 'alter database postgres set work_mem = 1'),
    ('listen', 'to secrets of others', null, 'select 1 from pg_authid'), ('tell', 'statistics', null, 'select stavalues1 from pg_statistic');
  set local role ROLE;
  for deed in select * from deeds loop
    tried := tried + 1;
    begin
      execute deed.script;
      raise exception 'done';
    exception
      when insufficient_privilege then null;
      -- Nobody may write what is generated.
      when generated_always then null;
      when others then
        done := done || jsonb_build_object('what', deed.what, 'object', deed.object, 'part', deed.part, 'error', sqlerrm)::text;
    end;
  end loop;
  reset role;
  raise exception 'tried %', tried using hint = coalesce((
    select jsonb_agg(format('%s %s%s', what, object, parts) order by what, object)::text from (
      select d->>'what' as what, d->>'object' as object,
             case when count(d->>'part') > 0 and count(*) < max((select count(*) from pg_attribute a
                    where a.attrelid = to_regclass(format('crier.%I', d->>'object')) and a.attnum > 0 and not a.attisdropped))
                  then format(' (%s)', string_agg(d->>'part', ', ' order by d->>'part')) else '' end as parts
        from (select unnest(done)::jsonb as d) x group by d->>'what', d->>'object') y), '[]');
end $try$
";

/// What a role can do, and how many deeds were tried.
async fn can_do(db: &Db, role: &str) -> (Vec<String>, usize) {
    let (message, hint) = db.refused(&TRY_EVERYTHING.replace("ROLE", role)).await;
    let tried = message.strip_prefix("tried ").expect(&message);
    let mut done: Vec<String> = serde_json::from_str(&hint).expect(&hint);
    done.sort();
    (done, tried.parse().unwrap())
}

#[tokio::test]
async fn the_roles_can_do_what_is_listed_and_nothing_else_of_all_that_there_is() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    db.sql("insert into crier.jobs (account, text) values ('acme', 'x'); select crier.cancel(1); insert into crier.jobs (account, text) values ('acme', 'y')")
        .await;
    for (role, list) in [("crier_writer", WRITER), ("crier_reader", READER)] {
        let (done, tried) = can_do(&db, role).await;
        assert!(tried > 1_000, "{tried}");
        assert_eq!(done, list, "{role}");
    }
    // Who was granted nothing.
    let nobody = format!("crier_nobody_{}", uuid::Uuid::new_v4().simple());
    db.sql(&format!("create role {nobody}")).await;
    let (done, _) = can_do(&db, &nobody).await;
    db.sql(&format!("drop role {nobody}")).await;
    assert_eq!(done, Vec::<String>::new());
    // Neither can pass what it has on, nor is a member of anything.
    let more = db
        .store
        .select_json(
            "select r.rolname from pg_roles r where r.rolname in ('crier_writer', 'crier_reader')
                and (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or r.rolcanlogin
                     or exists (select 1 from pg_auth_members m where m.member = r.oid))
             union all
             select c.relname from pg_class c cross join lateral aclexplode(c.relacl) a
              where c.relnamespace = 'crier'::regnamespace and a.is_grantable and a.grantee <> c.relowner
             union all
             select p.proname from pg_proc p cross join lateral aclexplode(p.proacl) a
              where p.pronamespace = 'crier'::regnamespace and a.is_grantable and a.grantee <> p.proowner
             union all
             select c.relname from pg_class c cross join unnest(array['crier_writer', 'crier_reader']) r (name)
              where c.relnamespace = 'crier'::regnamespace and c.relkind in ('r', 'p') and has_any_column_privilege(r.name, c.oid, 'references')",
        )
        .await
        .unwrap();
    assert_eq!(more, Vec::<Value>::new());
    assert_eq!(db.state(2).await, "scheduled", "all was rolled back");
    db.drop().await;
}

#[tokio::test]
async fn no_function_runs_text_as_sql_or_finds_what_a_person_made() {
    let db = Db::new().await;
    db.account("acme", 1).await;
    let functions = db
        .store
        .select_json(
            "select p.oid::regprocedure::text as function, p.prosrc ~* '\\mexecute\\M' as runs_text,
                    coalesce(p.proconfig, '{}') as settings
               from pg_proc p join pg_language l on l.oid = p.prolang
              where p.pronamespace = 'crier'::regnamespace and (p.prosecdef or l.lanname = 'plpgsql')",
        )
        .await
        .unwrap();
    assert!(functions.len() > 30, "{functions:?}");
    for function in functions {
        assert_eq!(function["runs_text"], json!(false), "{function}");
        let settings = function["settings"].as_array().unwrap();
        assert!(
            settings.contains(&json!("search_path=pg_catalog, pg_temp")),
            "{function}"
        );
    }
    // Tables, functions and operators of the same names, before everything else in the path of the one who inserts.
    db.sql(
        "grant temp on database postgres to crier_writer;
         set local role crier_writer;
         create temp table accounts (id bigint, handle text); insert into accounts values (99, 'evil');
         create temp table jobs (id bigint); create temp table leases (kind text, subject bigint, phase text);
         create function pg_temp.lower(text) returns text language plpgsql as $$ begin raise exception 'lower was taken over'; end $$;
         create function pg_temp.btrim(text) returns text language plpgsql as $$ begin raise exception 'btrim was taken over'; end $$;
         create function pg_temp.format(text, variadic text[]) returns text language plpgsql as $$ begin raise exception 'format was taken over'; end $$;
         create function pg_temp.now() returns timestamptz language sql as $$ select timestamptz '2001-01-01' $$;
         create function pg_temp.eq(text, text) returns boolean language plpgsql as $$ begin raise exception 'eq was taken over'; end $$;
         create operator pg_temp.= (leftarg = text, rightarg = text, function = pg_temp.eq);
         set local search_path = pg_temp, crier, pg_catalog, public;
         insert into crier.jobs (account, text, campaign) values ('@ACME', 'x', 'c');
         select crier.cancel(1)",
    )
    .await;
    let job = db
        .one("select account, state, run_at > '2020-01-01' as now from crier.jobs")
        .await;
    assert_eq!(
        job,
        json!({"account": "acme", "state": "cancelled", "now": true})
    );
    db.drop().await;
}
