-- What only the simulation has: a clock that stands still unless it is moved, and what the model knows.

create or replace function crier.now() returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- The time of a transaction that stays open stands still.
  return coalesce(nullif(current_setting('sim.now', true), '')::timestamptz,
                  timestamptz '2027-01-01 00:00:00+00' + (select shift from crier.clock));
end $$;

create or replace function crier.probe_wait(probes integer) returns interval language sql volatile set search_path = pg_catalog, pg_temp as $$
  select least(interval '15 minutes' * power(2, least(probes, 5)), interval '6 hours') * 0.9
$$;

create schema sim;
-- Posts that exist on X.
create table sim.live (post_id text primary key, job_id bigint not null, account_id bigint not null);
-- How far the database's clock went back.
create table sim.behind (by interval not null);
-- Accounts that a person has paused; what posts have cost; recurring posts that left out slots.
create table sim.stopped (account_id bigint primary key);
create table sim.spent (app_id bigint not null, month date not null, micro_usd bigint not null);
create table sim.skipped (recurring_id bigint not null);
-- Jobs that a person's open transaction may hold, or has held.
create table sim.touched (job_id bigint primary key);
-- Jobs that a person has paused or resumed alone.
create table sim.by_hand (job_id bigint primary key);
-- How many attempts the ledger held when a job's count began anew, and how often it came back from which end.
create table sim.bases (job_id bigint primary key, counted bigint not null);
create table sim.returned (state text not null);

create function sim.reset() returns void language plpgsql set lock_timeout = '30s' as $$
declare part text;
begin
  for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'crier.jobs_final'::regclass and c.relname <> 'jobs_final_default' loop
    execute format('drop table crier.%I', part);
  end loop;
  truncate sim.live, sim.by_hand, sim.bases, sim.returned, sim.behind, sim.stopped, sim.spent, sim.skipped, sim.touched,
    sim.gone, sim.was, sim.trimmed;
  insert into sim.behind values ('0');
  perform setval('sim.writes', 2000000);
  truncate crier.apps, crier.accounts, crier.credentials, crier.campaigns, crier.jobs, crier.job_keys, crier.posts,
    crier.lane_signals, crier.job_checks, crier.lanes, crier.workers, crier.leases, crier.attempts, crier.media_uploads,
    crier.reconciles, crier.limit_windows, crier.leader, crier.recurring, crier.recurring_slots, crier.totals,
    crier.total_deltas, crier.costs, crier.app_costs, crier.cost_deltas restart identity cascade;
  insert into crier.totals default values;
  update crier.clock set shift = '0';
  alter sequence crier.lease_token restart;
end $$;

-- Everything that a write could change, as one text.
create function sim.fingerprint() returns text language plpgsql as $$
begin
  return md5(concat(
    (select string_agg(t::text, ',' order by t.id) from crier.jobs t),
    (select string_agg(t::text, ',' order by t.account_id) from crier.lanes t),
    (select string_agg(t::text, ',' order by t.kind, t.subject) from crier.leases t),
    (select string_agg(t::text, ',' order by t.id) from crier.attempts t),
    (select string_agg(t::text, ',' order by t.id) from crier.media_uploads t),
    (select string_agg(t::text, ',' order by t.job_id) from crier.reconciles t),
    (select string_agg(t::text, ',' order by t.post_id) from crier.posts t),
    (select string_agg(t::text, ',' order by t.class, t.owner_id, t.endpoint, t.length) from crier.limit_windows t),
    (select string_agg(t::text, ',' order by t.id) from crier.lane_signals t)));
end $$;

-- A job's count of attempts begins anew.
create function sim.rebase(job bigint) returns void language plpgsql as $$
begin
  insert into sim.bases select j.id, (select count(*) from crier.attempts a where a.job_id = job and a.step = 'publish'
      and a.outcome in ('published', 'retry', 'failed', 'unknown')) - j.attempts
    from crier.jobs j where j.id = job
  on conflict (job_id) do update set counted = excluded.counted;
end $$;

-- Whether this token still names a lease that holds.
create function sim.holds(wanted bigint) returns boolean language plpgsql stable as $$
begin
  return exists (select 1 from crier.leases l where l.token = wanted);
end $$;

-- Whether a job may be sent now: said apart from the code under test.
create function sim.may_send(job bigint, wanted bigint, seen integer, margin interval) returns boolean
language plpgsql stable as $$
begin
  return exists (select 1 from crier.leases l join crier.jobs j on j.id = l.subject and j.account_id = l.account_id
    where l.kind = 'publish' and l.subject = job and l.token = wanted and l.phase = 'claimed' and l.expires_at > crier.now() + margin
      and j.state = 'scheduled' and j.held = 0 and j.revision = seen
      and (j.after is null or exists (select 1 from sim.live v where v.job_id = j.after)));
end $$;

-- The job that each account's lane must serve next, and whether its account and app are served at all.
create function sim.heads() returns table (account bigint, job bigint, served boolean, ready boolean)
language plpgsql stable as $$
begin
  return query
  select distinct on (j.account_id) j.account_id, j.id,
         a.status = 'active' and p.status = 'active'
           and (p.trial_until is null or p.trial_until <= crier.now() or p.trial_account is not distinct from a.id),
         coalesce(n.next_at <= crier.now(), false) and not exists (select 1 from crier.leases k where k.kind = 'publish' and k.account_id = a.id)
    from crier.jobs j join crier.accounts a on a.id = j.account_id join crier.apps p on p.id = a.app_id
    left join crier.lanes n on n.account_id = a.id
   where j.state = 'scheduled' and j.held = 0 and coalesce(j.next_attempt_at, j.run_at) <= crier.now()
     and not exists (select 1 from crier.leases k where k.kind = 'publish' and k.subject = j.id)
   order by j.account_id, j.priority desc, coalesce(j.next_attempt_at, j.run_at), j.id;
end $$;

-- When something is next to be done, if nothing is now.
create function sim.next_event() returns timestamptz language plpgsql stable as $$
begin
  return (select min(at) from (
    select next_at as at from crier.lanes
    union all select expires_at from crier.leases
    union all select next_at from crier.media_uploads
    union all select next_at from crier.reconciles
    union all select next_at from crier.job_checks
    union all select miss_at from crier.jobs_open where state <> 'unknown'
    union all select coalesce(next_attempt_at, run_at) - interval '1 minute' from crier.jobs_open where state = 'scheduled' and held & 2 <> 0
    union all select coalesce(next_attempt_at, run_at) - interval '30 minutes' from crier.jobs_open where state = 'scheduled' and held & 1 <> 0
    union all select trial_until from crier.apps
    union all select max(resets_at) from crier.limit_windows where remaining <= 0 having max(resets_at) > crier.now()) e
   where at > crier.now() and isfinite(at));
end $$;

-- Open jobs that wait for nobody but crier, and leases that somebody has yet to end or take back.
create function sim.unsettled() returns setof text language plpgsql stable as $$
begin
  return query
  select format('job %s is %s (held %s, run_at %s, next %s)', j.id, j.state, j.held, j.run_at, j.next_attempt_at)
    from crier.jobs_open j join crier.accounts a on a.id = j.account_id join crier.apps p on p.id = a.app_id
   where not (
     j.state = 'paused'
     or (j.state = 'scheduled' and crier.budget_opens(p.id) is not null)
     or (j.state = 'unknown' and exists (select 1 from crier.reconciles r where r.job_id = j.id and r.next_at is null)
         and not exists (select 1 from crier.leases l where l.kind = 'reconcile' and l.subject = j.id))
     or (j.state = 'scheduled' and (a.status <> 'active' or p.status <> 'active'))
     or (j.state = 'scheduled' and j.held & 2 <> 0 and exists (select 1 from crier.jobs_open o where o.id = j.after)));
  return query select format('%s %s is leased until %s', l.kind, l.subject, l.expires_at) from crier.leases l where l.kind <> 'refresh';
end $$;

-- What must be so at the end of a person's transaction.
create function sim.must_be(job bigint, wanted text) returns void language plpgsql as $$
declare was text := (select state from crier.jobs where id = job);
begin
  if was is distinct from wanted then
    raise exception 'job % is % instead of %', job, was, wanted;
  end if;
end $$;

-- A job that is retried begins anew: its attempts and crashes, its files, its time, and what was said of it.
create function sim.must_be_fresh(job bigint) returns void language plpgsql as $$
begin
  if not exists (select 1 from crier.jobs_open j where j.id = job and j.state in ('scheduled', 'paused') and j.attempts = 0 and j.crashes = 0
       and j.error is null and j.warning is null and j.next_attempt_at is null and j.finished_at is null and j.run_at >= crier.now()
       and j.held & 1 = (j.media <> '[]')::int
       and exists (select 1 from crier.job_checks c where c.job_id = job)
       and (j.state = 'paused' or exists (select 1 from crier.lane_signals s where s.account_id = j.account_id)))
     or exists (select 1 from crier.media_uploads u where u.job_id = job) then
    raise exception 'job % was retried and does not begin anew', job;
  end if;
end $$;
