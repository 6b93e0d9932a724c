-- What no trigger of ours can be asked about: rows of an owner that set the columns which crier writes, or that come past
-- all triggers (a restore, replication, a superuser). Constraints hold for those, too.

-- A time without a number, a counter at its end or media that are no list would fail every statement that reckons with them,
-- and with it the rows beside. Existing rows are mended first, which finds one only where somebody wrote it by hand.
update crier.jobs_open set run_at = '9999-12-31 00:00+00' where run_at = 'infinity';
update crier.jobs_open set run_at = '2000-01-01 00:00+00' where run_at = '-infinity';
update crier.jobs_open set next_attempt_at = null where not isfinite(next_attempt_at);
alter table crier.jobs
  add constraint times_are_instants check (
    isfinite(run_at) and isfinite(next_attempt_at) and isfinite(miss_at)
    -- A sum beyond all calendars is an error here, and would be one whenever the row is to be written again.
    and isfinite(run_at + max_lateness)
    and created_at between '2000-01-01 00:00+00' and '9999-12-31 00:00+00'
    and updated_at between '2000-01-01 00:00+00' and '9999-12-31 00:00+00'
    and published_at between '2000-01-01 00:00+00' and '9999-12-31 00:00+00'
    and finished_at between '2000-01-01 00:00+00' and '9999-12-31 00:00+00') not valid,
  add constraint counters_can_grow check (
    attempts <= 30000 and crashes <= 30000 and revision between 0 and 2000000000) not valid,
  add constraint media_are_a_list_and_options_an_object check (
    jsonb_typeof(options) = 'object' and case jsonb_typeof(media) when 'array' then jsonb_array_length(media) <= 4 else false end) not valid;

-- A new job has no history. One that comes back from its end, with whatever it has, was changed before.
create function crier.jobs_without_history() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform crier.refuse('a new job is scheduled: leave out state and the other columns that crier writes', 'insert account, text, run_at');
  return null;
end $$;
create trigger jobs_a_history before insert on crier.jobs_open
  for each row when (new.revision = 0 and (new.attempts <> 0 or new.crashes <> 0 or new.error is not null or new.warning is not null or new.published_at is not null))
  execute function crier.jobs_without_history();

-- A counter that somebody wrote near its end stays there, so that the row can still be brought to its own. A revision begins
-- anew: it must never be the one that was read. After all other triggers.
create function crier.jobs_counters() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.attempts := least(new.attempts, 30000);
  new.crashes := least(new.crashes, 30000);
  if new.revision > 2000000000 then
    new.revision := 0;
  end if;
  return new;
end $$;
create trigger jobs_z_counters before update on crier.jobs_open
  for each row when (old.attempts >= 30000 or old.crashes >= 30000 or old.revision >= 2000000000) execute function crier.jobs_counters();

-- The number of the account follows its handle, by `account` alone: with another it would be posted by whom the row does
-- not name. Triggers of one kind fire in the order of their names: this one before the number is looked up anew.
create function crier.jobs_account_stands() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.account_id := old.account_id;
  return new;
end $$;
create trigger jobs_a_account before update on crier.jobs_open
  for each row when (new.account_id is distinct from old.account_id) execute function crier.jobs_account_stands();

-- A message may repeat a value of the row: so much of it is enough to find it.
create or replace function crier.refuse(message text, hint text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'check_violation', hint = hint, schema = 'crier', table = 'jobs',
    message = case when char_length(message) > 500 then left(message, 500) || '…' else message end;
end $$;
create or replace function crier.refuse_recurring(message text, hint text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'check_violation', hint = hint, schema = 'crier', table = 'recurring',
    message = case when char_length(message) > 500 then left(message, 500) || '…' else message end;
end $$;

revoke all on function crier.jobs_without_history(), crier.jobs_counters(), crier.jobs_account_stands() from public;
