-- The store's session fails between two statements: before the write that the simulation has named, and with it
-- everything that the transaction has done so far.

create sequence sim.writes;

create function sim.write() returns trigger language plpgsql as $$
begin
  if current_setting('application_name') = 'crier simulation' and nextval('sim.writes') = 1000000 then
    if tg_op = 'INSERT' then
      raise exception 'the simulation breaks this transaction off' using errcode = 'query_canceled';
    end if;
    -- Or the whole session.
    perform pg_terminate_backend(pg_backend_pid());
    perform pg_sleep(30);
  end if;
  return null;
end $$;

do $$
declare name text;
begin
  foreach name in array array['accounts', 'apps', 'attempts', 'cost_deltas', 'credentials', 'job_checks', 'jobs', 'jobs_open', 'lane_signals',
    'lanes', 'leader', 'leases', 'limit_windows', 'media_uploads', 'posts', 'reconciles', 'recurring', 'recurring_slots', 'totals'] loop
    execute format('create trigger sim_write before insert or update or delete on crier.%I for each statement execute function sim.write()', name);
  end loop;
end $$;
