-- A person's transaction may stay open for long. What others wrote meanwhile did not see its pause, and what it inserted
-- did not see theirs. So a campaign is paused, or resumed for what was inserted meanwhile, once more at the end of the
-- transaction that does it, when what is committed by then can be seen.

create function crier.pause_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare part bigint[];
begin
  if not exists (select 1 from crier.campaigns c where c.name = new.name and c.paused) then
    -- A job that was never changed is paused since it was inserted. One that a person paused alone stays so.
    update crier.jobs_open j set state = 'scheduled'
     where j.campaign = new.name and j.state = 'paused' and j.revision = 0
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
create constraint trigger campaigns_pause_at_commit after insert or update on crier.campaigns deferrable initially deferred
  for each row execute function crier.pause_at_commit();

-- The same for what is inserted into a campaign that is resumed before the transaction ends. A row that its writer has
-- paused stays so: those are noted before jobs_before_insert looks at the campaign.
create function crier.jobs_paused_by_hand() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('crier.paused_by_hand', concat(current_setting('crier.paused_by_hand', true), ',', new.id, ','), true);
  return new;
end $$;
create trigger jobs_a_paused_by_hand before insert on crier.jobs_open
  for each row when (new.state = 'paused') execute function crier.jobs_paused_by_hand();

create function crier.resume_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if strpos(coalesce(current_setting('crier.paused_by_hand', true), ''), concat(',', new.id, ',')) = 0
     and not exists (select 1 from crier.campaigns c where c.name = new.campaign and c.paused) then
    update crier.jobs_open j set state = 'scheduled' where j.id = new.id and j.state = 'paused' and j.revision = new.revision
       and not exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused);
  end if;
  return null;
end $$;
create constraint trigger jobs_resume_at_commit after insert on crier.jobs_open deferrable initially deferred
  for each row when (new.state = 'paused' and new.campaign is not null) execute function crier.resume_at_commit();

create function crier.pause_recurring_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select 1 from crier.recurring r where r.id = new.id and r.paused) then
    return null;
  end if;
  perform crier.lock_waiting(array(select j.id from crier.jobs_open j where j.recurring_id = new.id and j.state = 'scheduled'));
  update crier.jobs_open j set state = 'paused' where j.recurring_id = new.id and j.state = 'scheduled'
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
  return null;
end $$;
create constraint trigger recurring_pause_at_commit after update on crier.recurring deferrable initially deferred
  for each row when (new.paused and not old.paused) execute function crier.pause_recurring_at_commit();

revoke all on function crier.pause_at_commit(), crier.jobs_paused_by_hand(), crier.resume_at_commit(),
  crier.pause_recurring_at_commit() from public;
