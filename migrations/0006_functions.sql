-- What people may do to jobs by SQL, and who may do it.

create function crier.cancel(job bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare was text;
begin
  select state into was from crier.jobs where id = job;
  if was is null then
    perform crier.refuse(format('there is no job %s', job), 'select id, text, state from crier.jobs shows them');
  elsif was = 'cancelled' then
    return was;
  elsif was not in ('scheduled', 'paused') then
    perform crier.refuse(format('job %s is %s and cannot be cancelled', job, was),
      case when was = 'unknown' then 'it may be on X already; crier is looking it up' else 'only a job that waits can be cancelled' end);
  end if;
  update crier.jobs set state = 'cancelled' where id = job and state in ('scheduled', 'paused');
  if not found then
    perform crier.refuse(format('job %s changed at this very moment', job), 'look at its state and try again');
  end if;
  return 'cancelled';
end $$;
comment on function crier.cancel(bigint) is 'Cancels a job that waits; refused once it is being sent.';

create function crier.retry(job bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare was text;
begin
  select state into was from crier.jobs where id = job;
  if was is null then
    perform crier.refuse(format('there is no job %s', job), 'select id, text, state from crier.jobs shows them');
  elsif was not in ('failed', 'missed', 'cancelled') then
    perform crier.refuse(format('job %s is %s: only a failed, missed or cancelled job can be retried', job, was),
      case when was = 'unknown' then format('crier jobs settle %s --published POST_ID or --retry ends an unknown job', job) else 'see crier.jobs.state' end);
  end if;
  delete from crier.media_uploads where job_id = job;
  -- A time that has passed would be missed again at once.
  update crier.jobs set state = 'scheduled', finished_at = null, attempts = 0, crashes = 0, error = null, warning = null,
         next_attempt_at = null, run_at = greatest(run_at, crier.now()), revision = revision + 1
   where id = job and state in ('failed', 'missed', 'cancelled');
  return 'scheduled';
end $$;
comment on function crier.retry(bigint) is 'Schedules a failed, missed or cancelled job again, with fresh attempts.';

create function crier.pause_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare n bigint;
begin
  insert into crier.campaigns (name, paused) values (pause_campaign.name, true)
    on conflict on constraint campaigns_pkey do update set paused = true, updated_at = crier.now();
  -- What is being sent at this moment goes out; everything else of the campaign stops.
  update crier.jobs_open j set state = 'paused'
   where j.campaign = pause_campaign.name and j.state = 'scheduled'
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
  get diagnostics n = row_count;
  return n;
end $$;
comment on function crier.pause_campaign(text) is 'Pauses a campaign: nothing of it is published until it is resumed. Answers how many jobs stopped.';

create function crier.resume_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare n bigint;
begin
  update crier.campaigns c set paused = false, updated_at = crier.now() where c.name = resume_campaign.name;
  update crier.jobs_open j set state = 'scheduled' where j.campaign = resume_campaign.name and j.state = 'paused';
  get diagnostics n = row_count;
  return n;
end $$;
comment on function crier.resume_campaign(text) is 'Resumes a paused campaign. Answers how many jobs wait again.';

create function crier.cancel_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare n bigint;
begin
  update crier.jobs j set state = 'cancelled'
   where j.campaign = cancel_campaign.name and j.state in ('scheduled', 'paused')
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
  get diagnostics n = row_count;
  return n;
end $$;
comment on function crier.cancel_campaign(text) is 'Cancels every waiting job of a campaign. Answers how many.';

-- Functions are everybody's by default: take that back, then give what each role needs.
revoke all on all functions in schema crier from public;
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'crier_writer') then
    grant usage on schema crier to crier_writer;
    grant select on crier.jobs to crier_writer;
    grant insert (account, text, media, options, run_at, priority, campaign, after, dedupe_key, max_lateness, max_attempts)
      on crier.jobs to crier_writer;
    grant execute on function crier.now(), crier.cancel(bigint) to crier_writer;
  end if;
  if exists (select 1 from pg_roles where rolname = 'crier_reader') then
    grant usage on schema crier to crier_reader;
    grant select on crier.jobs, crier.lanes, crier.leases, crier.attempts, crier.media_uploads, crier.limit_windows,
      crier.campaigns, crier.recurring, crier.recurring_slots, crier.reconciles, crier.workers, crier.leader, crier.accounts,
      crier.job_checks, crier.lane_signals, crier.posts, crier.clock to crier_reader;
    grant select (id, client_id, kind, status, reason, blocked_until, created_at) on crier.apps to crier_reader;
    grant execute on function crier.now() to crier_reader;
  end if;
end $$;
