-- Kept numbers of jobs, so that nothing ever counts the rows. Each statement that adds, moves or removes jobs appends one
-- row of differences; whoever reads the numbers folds those rows into one. Appending means that two transactions of
-- people never wait for each other here.

create table crier.totals (
  one_row boolean primary key default true check (one_row),
  inserted bigint not null default 0,
  scheduled bigint not null default 0,
  paused bigint not null default 0,
  unknown bigint not null default 0,
  published bigint not null default 0,
  failed bigint not null default 0,
  cancelled bigint not null default 0,
  missed bigint not null default 0
) with (fillfactor = 50);
comment on table crier.totals is 'One row: jobs ever inserted and ever ended (each end counts, also of a job that was retried), and open ones by state. crier.total_deltas are still to be added.';

create table crier.total_deltas (
  inserted bigint not null default 0,
  scheduled bigint not null default 0,
  paused bigint not null default 0,
  unknown bigint not null default 0,
  published bigint not null default 0,
  failed bigint not null default 0,
  cancelled bigint not null default 0,
  missed bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
comment on table crier.total_deltas is 'Differences that crier.totals does not hold yet: append-only, folded every few seconds.';

-- Rows that are there already, counted once for all.
insert into crier.totals (inserted, scheduled, paused, unknown, published, failed, cancelled, missed)
select count(*), count(*) filter (where state = 'scheduled'), count(*) filter (where state = 'paused'),
       count(*) filter (where state = 'unknown'), count(*) filter (where state = 'published'),
       count(*) filter (where state = 'failed'), count(*) filter (where state = 'cancelled'),
       count(*) filter (where state = 'missed')
  from crier.jobs;

create function crier.count_inserted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into crier.total_deltas (inserted, scheduled, paused)
  select n, n - p, p from (select count(*) as n, count(*) filter (where state = 'paused') as p from new_rows) c where n > 0;
  return null;
end $$;

-- Open states go up and down; ends only go up, since a counter that falls tells Prometheus that the process began anew.
create function crier.count_updated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into crier.total_deltas (scheduled, paused, unknown, published, failed, cancelled, missed)
  select n.scheduled - o.scheduled, n.paused - o.paused, n.unknown - o.unknown,
         greatest(n.published - o.published, 0), greatest(n.failed - o.failed, 0),
         greatest(n.cancelled - o.cancelled, 0), greatest(n.missed - o.missed, 0)
    from (select count(*) filter (where state = 'scheduled') as scheduled, count(*) filter (where state = 'paused') as paused,
                 count(*) filter (where state = 'unknown') as unknown, count(*) filter (where state = 'published') as published,
                 count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'cancelled') as cancelled,
                 count(*) filter (where state = 'missed') as missed from new_rows) n,
         (select count(*) filter (where state = 'scheduled') as scheduled, count(*) filter (where state = 'paused') as paused,
                 count(*) filter (where state = 'unknown') as unknown, count(*) filter (where state = 'published') as published,
                 count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'cancelled') as cancelled,
                 count(*) filter (where state = 'missed') as missed from old_rows) o
   where (n.*) is distinct from (o.*);
  return null;
end $$;

create function crier.count_deleted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into crier.total_deltas (scheduled, paused, unknown)
  select -s, -p, -u
    from (select count(*) filter (where state = 'scheduled') as s, count(*) filter (where state = 'paused') as p,
                 count(*) filter (where state = 'unknown') as u from old_rows) o
   where s + p + u > 0;
  return null;
end $$;

-- Statements name the parent or the open partition; only the triggers of the named one fire.
create trigger jobs_count_inserted after insert on crier.jobs
  referencing new table as new_rows for each statement execute function crier.count_inserted();
create trigger jobs_count_updated after update on crier.jobs
  referencing old table as old_rows new table as new_rows for each statement execute function crier.count_updated();
create trigger jobs_count_deleted after delete on crier.jobs
  referencing old table as old_rows for each statement execute function crier.count_deleted();
create trigger jobs_open_count_updated after update on crier.jobs_open
  referencing old table as old_rows new table as new_rows for each statement execute function crier.count_updated();
create trigger jobs_open_count_deleted after delete on crier.jobs_open
  referencing old table as old_rows for each statement execute function crier.count_deleted();

revoke all on function crier.count_inserted(), crier.count_updated(), crier.count_deleted() from public;
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'crier_reader') then
    grant select on crier.totals, crier.total_deltas to crier_reader;
  end if;
end $$;
