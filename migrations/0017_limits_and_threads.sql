-- Limits by the call that an account publishes with; edits of threads that hold no row; a person's pause that stays.

-- An account is held back by the limits of the call that it publishes with.
create or replace function crier.lane_opens(lane bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select case when a.status <> 'active' or p.status <> 'active' then timestamptz 'infinity'
                else greatest(timestamptz '-infinity', p.blocked_until, crier.budget_opens(p.id),
                  case when p.trial_account is distinct from a.id then p.trial_until end,
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'account' and w.owner_id = a.id
                      and w.endpoint = c.endpoint and w.remaining <= 0),
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'app' and w.owner_id = p.id
                      and w.endpoint = c.endpoint and w.remaining <= 0)) end
      from crier.accounts a left join crier.apps p on p.id = a.app_id
      cross join lateral (select case a.publisher when 'v1_update_with_media' then 'POST /1.1/statuses/update_with_media'
                                                  else 'POST /2/tweets' end as endpoint) c
     where a.id = lane);
end $$;

-- Edits of `after` wait for each other and for nobody else: a lock on the jobs themselves would stop their workers for as
-- long as a person leaves the transaction open.
create or replace function crier.jobs_thread() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare place bigint := new.after; seen bigint[] := '{}';
begin
  perform pg_advisory_xact_lock(hashtext('crier.jobs.after'));
  while place is not null and place <> all(seen) loop
    if place = new.id then
      perform crier.refuse(format('after = %s: that job waits for job %s itself', new.after, new.id),
        'a thread cannot run in a circle: reply to a job that does not reply to this one');
    end if;
    seen := seen || place;
    select j.after into place from crier.jobs_open j where j.id = place;
    if not found then
      place := null;
    end if;
  end loop;
  return new;
end $$;

-- What a person paused stays so, also beside a process of an older version that writes X's word over it: otherwise a probe
-- would open it.
create or replace function crier.plan_probe() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.status = 'paused' and new.status = 'suspended' then
    new.status := old.status;
    new.reason := old.reason;
  end if;
  if new.status <> tg_argv[0] then
    new.probe_at := null;
  elsif old.status <> new.status and new.probe_at is not distinct from old.probe_at then
    new.probes := case when old.probed_at > crier.now() - interval '1 day' then old.probes else 0 end;
    new.probe_at := crier.now() + crier.probe_wait(new.probes);
  end if;
  return new;
end $$;
