-- Rows that are inserted paused, in any number: what is noted of each no longer grows with their number, and a campaign that is
-- resumed in the same transaction before them leaves them paused.
-- `crier.paused_by_hand` holds ranges of ids such as `,17-25,40-40,`: one statement takes ids that follow each other.

create or replace function crier.jobs_paused_by_hand() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  noted text := coalesce(nullif(current_setting('crier.paused_by_hand', true), ''), ',');
  ending text := concat('-', new.id - 1, ',');
begin
  if right(noted, length(ending)) = ending then
    noted := concat(left(noted, -length(ending)), '-', new.id, ',');
  else
    noted := concat(noted, new.id, '-', new.id, ',');
  end if;
  perform set_config('crier.paused_by_hand', noted, true);
  return new;
end $$;

-- Whether this transaction has inserted the job paused.
create function crier.is_paused_by_hand(job bigint) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select exists (
    select 1 from unnest(string_to_array(trim(both ',' from coalesce(current_setting('crier.paused_by_hand', true), '')), ',')) r
     -- A transaction that is open during the migration has noted single ids.
     where case when strpos(r, '-') = 0 then r = job::text
                else job between split_part(r, '-', 1)::bigint and split_part(r, '-', 2)::bigint end)
$$;
revoke all on function crier.is_paused_by_hand(bigint) from public;

create or replace function crier.resume_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- First what is the same for all rows: a campaign that is still paused resumes nothing.
  if exists (select 1 from crier.campaigns c where c.name = new.campaign and c.paused) or crier.is_paused_by_hand(new.id) then
    return null;
  end if;
  update crier.jobs_open j set state = 'scheduled' where j.id = new.id and j.state = 'paused' and j.revision = new.revision
     and not exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused);
  return null;
end $$;

create or replace function crier.pause_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare part bigint[];
begin
  if not exists (select 1 from crier.campaigns c where c.name = new.name and c.paused) then
    -- A job that was never changed is paused since it was inserted. One that a person paused alone stays so.
    update crier.jobs_open j set state = 'scheduled'
     where j.campaign = new.name and j.state = 'paused' and j.revision = 0 and not crier.is_paused_by_hand(j.id)
       and not exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused);
    return null;
  end if;
  for part in select array_agg(n.id order by n.id)
                from (select j.id, row_number() over (order by j.id) as place from crier.jobs_open j
                       where j.campaign = new.name and j.state = 'scheduled') n
               group by (n.place - 1) / 500 order by 1 loop
    perform crier.lock_waiting(part);
    update crier.jobs_open j set state = 'paused'
     where j.id = any(part) and j.campaign = new.name and j.state = 'scheduled'
       and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
  end loop;
  return null;
end $$;
