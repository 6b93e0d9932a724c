-- Bounds of what a row may hold. A time, a number or a nesting that Postgres takes and other programs cannot hold would
-- stop whoever reads the row, and with it all the rows read beside it: such a value is refused, in words.

-- What is wrong with a time, or null.
create function crier.time_fault(name text, moment timestamptz) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare year int;
begin
  if not isfinite(moment) then
    return format('%s must be an instant, not infinity', name);
  end if;
  year := extract(year from moment at time zone 'UTC');
  if year not between 2000 and 9999 then
    return format('%s is in the year %s: is that a typo?', name, case when year < 0 then format('%s BC', -year) else year::text end);
  end if;
  return null;
end $$;

-- What is wrong with an allowance of lateness, or null.
create function crier.lateness_fault(late interval) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  if late < interval '0' then
    return 'max_lateness must not be negative';
  end if;
  if not isfinite(late) or late > interval '100 years' then
    return 'max_lateness must be at most 100 years';
  end if;
  return null;
end $$;

-- What is wrong with the size, depth or numbers of a JSON value, or null.
create function crier.json_fault(name text, value jsonb) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare bytes int; number text;
begin
  if value is null or value in ('{}', '[]') then
    return null;
  end if;
  bytes := octet_length(value::text);
  if bytes > 65536 then
    return format('%s has %s bytes, at most 65536 are taken', name, bytes);
  end if;
  if jsonb_path_exists(value, 'strict $.**{33 to last}') then
    return format('%s is nested more than 32 levels deep', name);
  end if;
  -- Fifteen digits are what a double holds exactly; ids have more and are text.
  number := jsonb_path_query_first(value, 'strict $.** ? (@.type() == "number" && (@ >= 1e15 || @ <= -1e15))')::text;
  if number is not null then
    return format('%s holds the number %s, which has more than 15 digits', name,
                  case when length(number) > 30 then left(number, 30) || '…' else number end);
  end if;
  return null;
end $$;

create function crier.jobs_bounds() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare fault text;
begin
  -- Only what is new is judged: a row that is out of bounds can still be brought to its end.
  if new.run_at is distinct from old.run_at then
    fault := crier.time_fault('run_at', new.run_at);
    if fault is not null then
      perform crier.refuse(fault, 'give a date, or leave run_at out for now');
    end if;
  end if;
  if new.next_attempt_at is distinct from old.next_attempt_at then
    fault := crier.time_fault('next_attempt_at', new.next_attempt_at);
    if fault is not null then
      perform crier.refuse(fault, 'set it to null: the job is then tried at run_at');
    end if;
  end if;
  if new.max_lateness is distinct from old.max_lateness then
    fault := crier.lateness_fault(new.max_lateness);
    if fault is not null then
      perform crier.refuse(fault, 'give an interval such as ''30 minutes'', or leave it out if the job is never too late');
    end if;
  end if;
  if new.media is distinct from coalesce(old.media, '[]') then
    fault := crier.json_fault('media', new.media);
    if fault is not null then
      perform crier.refuse(fault, 'see the comment of crier.jobs.media; ids are text, in quotes');
    end if;
  end if;
  if new.options is distinct from coalesce(old.options, '{}') then
    fault := crier.json_fault('options', new.options);
    if fault is not null then
      perform crier.refuse(fault, 'see the comment of crier.jobs.options; ids are text, in quotes');
    end if;
  end if;
  return new;
end $$;
-- Triggers of one kind fire in the order of their names: these before all others. Outcomes change none of these columns
-- but next_attempt_at, hence the condition.
create trigger jobs_a_bounds before insert on crier.jobs_open
  for each row execute function crier.jobs_bounds();
create trigger jobs_a_bounds_edited before update on crier.jobs_open
  for each row when ((new.run_at, new.next_attempt_at, new.max_lateness, new.media, new.options)
                     is distinct from (old.run_at, old.next_attempt_at, old.max_lateness, old.media, old.options))
  execute function crier.jobs_bounds();

create function crier.recurring_bounds() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare fault text;
begin
  -- Without a bound is said by null.
  new.starts_at := nullif(new.starts_at, '-infinity');
  new.ends_at := nullif(new.ends_at, 'infinity');
  if new.starts_at is distinct from old.starts_at then
    fault := crier.time_fault('starts_at', new.starts_at);
    if fault is not null then
      perform crier.refuse_recurring(fault, 'give a date, or null for from now on');
    end if;
  end if;
  if new.ends_at is distinct from old.ends_at then
    fault := crier.time_fault('ends_at', new.ends_at);
    if fault is not null then
      perform crier.refuse_recurring(fault, 'give a date, or null for without end');
    end if;
  end if;
  if new.template is distinct from old.template then
    fault := crier.json_fault('template', new.template);
    if fault is null then
      begin
        fault := 'template: ' || crier.lateness_fault((new.template ->> 'max_lateness')::interval);
      exception when data_exception then
        null; -- no interval at all, which the trigger after this one says
      end;
    end if;
    if fault is not null then
      perform crier.refuse_recurring(fault, 'see the comment of crier.recurring.template; ids are text, in quotes');
    end if;
  end if;
  return new;
end $$;
create trigger recurring_a_bounds before insert or update on crier.recurring
  for each row execute function crier.recurring_bounds();

-- How crier itself reads what a row may hold against these bounds: as the nearest that it can.
create function crier.readable(moment timestamptz) returns timestamptz language sql immutable as $$
  select case when moment > '9999-12-31+00' then timestamptz '9999-12-31+00'
              when moment < '0001-01-01+00' then timestamptz '0001-01-01+00' else moment end
$$;
create function crier.readable(value jsonb) returns jsonb language sql immutable as $$
  select case when crier.json_fault('', value) is null then value else to_jsonb(value::text) end
$$;

revoke all on function crier.time_fault(text, timestamptz), crier.lateness_fault(interval), crier.json_fault(text, jsonb),
  crier.jobs_bounds(), crier.recurring_bounds(), crier.readable(timestamptz), crier.readable(jsonb) from public;
