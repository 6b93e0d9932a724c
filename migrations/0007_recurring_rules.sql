-- Rules of crier.recurring, said in words for people. An edit or a pause takes effect in the commit that makes it: what
-- the row has made ahead is withdrawn there, and the scheduler makes it anew.

alter table crier.recurring add column revision integer not null default 0;
comment on column crier.recurring.name is 'Name for people, unique.';
comment on column crier.recurring.account is 'Handle of a row in crier.accounts, with or without @, in any case.';
comment on column crier.recurring.cron is 'Five fields (minute, hour, day of month, month, day of week) or six with the second first, such as 0 9 * * MON-FRI.';
comment on column crier.recurring.time_zone is 'IANA name of the zone whose wall clock counts, such as Europe/Berlin.';
comment on column crier.recurring.starts_at is 'First moment that may be a slot; null: from now on.';
comment on column crier.recurring.ends_at is 'Last moment that may be a slot; null: without end.';
comment on column crier.recurring.paused is 'While true nothing is made, and what was made ahead is withdrawn; slots that pass meanwhile are left out.';
comment on column crier.recurring.error is 'Why no jobs are made at the moment: {code, title, detail, step, hint}; null: all is well.';
comment on column crier.recurring.expanded_until is 'Internal: every slot up to here is settled.';
comment on column crier.recurring.next_at is 'Internal: when the scheduler looks at the row again; null: never, unless it is edited.';
comment on column crier.recurring.slots is 'Internal: jobs made so far, the {n} of a template.';
comment on column crier.recurring.revision is 'Internal: grows with each edit, so that the scheduler never expands what was edited meanwhile.';

-- Jobs of one recurring post, for its edits and pauses.
create index jobs_open_recurring on crier.jobs_open (recurring_id, run_at) where recurring_id is not null;

create function crier.refuse_recurring(message text, hint text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'check_violation', message = message, hint = hint, schema = 'crier', table = 'recurring';
end $$;

-- What is wrong with a template, or null.
create function crier.template_fault(template jsonb) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare k text; fault text; late interval;
begin
  if template is null or jsonb_typeof(template) <> 'object' then
    return 'template must be a JSON object such as {"text": "Good morning, it is {weekday}"}';
  end if;
  for k in select jsonb_object_keys(template) loop
    if k not in ('text', 'media', 'options', 'priority', 'campaign', 'max_lateness', 'max_attempts') then
      return format('template has the unknown key "%s"; known are text, media, options, priority, campaign, max_lateness, max_attempts', k);
    end if;
  end loop;
  foreach k in array array['text', 'campaign', 'max_lateness'] loop
    if template ? k and jsonb_typeof(template -> k) <> 'string' then
      return format('template: %s must be text', k);
    end if;
  end loop;
  foreach k in array array['priority', 'max_attempts'] loop
    if template ? k and (jsonb_typeof(template -> k) <> 'number' or (template ->> k) !~ '^-?[0-9]{1,5}$'
       or (template ->> k)::int not between -32768 and 32767) then
      return format('template: %s must be a whole number', k);
    end if;
  end loop;
  if template ? 'max_attempts' and (template ->> 'max_attempts')::int not between 1 and 100 then
    return 'template: max_attempts must be between 1 and 100';
  end if;
  if template ? 'campaign' and char_length(template ->> 'campaign') not between 1 and 200 then
    return 'template: campaign must have 1 to 200 characters';
  end if;
  if template ? 'max_lateness' then
    begin
      late := (template ->> 'max_lateness')::interval;
    exception when others then
      return format('template: max_lateness "%s" is no interval such as "30 minutes"', template ->> 'max_lateness');
    end;
    if late < interval '0' then
      return 'template: max_lateness must not be negative';
    end if;
  end if;
  if template ? 'media' then
    fault := crier.media_fault(template -> 'media');
    if fault is not null then return 'template: ' || fault; end if;
  end if;
  if template ? 'options' then
    fault := crier.options_fault(template -> 'options', jsonb_array_length(coalesce(template -> 'media', '[]')) > 0, false);
    if fault is not null then return 'template: ' || fault; end if;
  end if;
  if btrim(coalesce(template ->> 'text', '')) = '' and jsonb_array_length(coalesce(template -> 'media', '[]')) = 0 then
    return 'template: the post is empty, it has neither text nor media';
  end if;
  return null;
end $$;

-- Takes back what a recurring post made ahead and nobody holds yet; answers how many. Slots ahead whose job failed or
-- was missed are free again too; one that a person cancelled stays cancelled.
create function crier.withdraw_slots(recurring bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare ids bigint[]; freed bigint;
begin
  -- With an older snapshot a job that is being sent would be taken for one that waits.
  if current_setting('transaction_isolation') <> 'read committed' then
    perform crier.refuse_recurring('recurring posts are edited in transactions of level READ COMMITTED only',
      'leave out the isolation level');
  end if;
  perform 1 from crier.jobs_open j where j.recurring_id = recurring and j.state in ('scheduled', 'paused')
    order by j.id for update;
  -- The rows are locked by now, so that no worker can begin with them; this statement sees those that have begun.
  with gone as (
    delete from crier.jobs_open j
     where j.recurring_id = recurring and j.state in ('scheduled', 'paused') and j.run_at > crier.now() and j.attempts = 0
       and exists (select 1 from crier.recurring_slots s where s.recurring_id = recurring and s.job_id = j.id and s.slot > crier.now())
       and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id)
    returning j.id
  )
  select array_agg(id) into ids from gone;
  -- What was planned of their media goes when the scheduler looks at them: uploads are locked before jobs.
  insert into crier.job_checks (job_id) select unnest(ids);
  delete from crier.recurring_slots s where s.recurring_id = recurring and s.slot > crier.now()
     and (s.job_id is null or s.job_id = any(ids)
          or exists (select 1 from crier.jobs j where j.id = s.job_id and j.state in ('failed', 'missed')));
  get diagnostics freed = row_count;
  return freed;
end $$;

create function crier.recurring_before_write() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare fault text; known text; fields text[];
begin
  if tg_op = 'DELETE' then
    perform crier.withdraw_slots(old.id);
    return old;
  end if;
  if tg_op = 'UPDATE' then
    if new.id <> old.id then
      perform crier.refuse_recurring('the id of a recurring post cannot be changed', 'insert another');
    end if;
    -- What the scheduler writes is no edit.
    if (new.name, new.account, new.cron, new.time_zone, new.template, new.starts_at, new.ends_at, new.missed, new.ahead, new.paused)
       is not distinct from
       (old.name, old.account, old.cron, old.time_zone, old.template, old.starts_at, old.ends_at, old.missed, old.ahead, old.paused) then
      return new;
    end if;
  end if;

  if char_length(new.name) not between 1 and 200 then
    perform crier.refuse_recurring('name must have 1 to 200 characters', 'give it a short name');
  end if;
  select handle into known from crier.accounts where lower(handle) = lower(ltrim(btrim(new.account), '@'));
  if known is null then
    -- Pausing one whose account is gone must still be possible.
    if tg_op = 'INSERT' or new.account is distinct from old.account then
      perform crier.refuse_recurring(format('the account "%s" is not known to crier', coalesce(new.account, '')),
        'crier accounts list shows the known ones; add it with crier auth login or crier auth import');
    end if;
  else
    new.account := known;
  end if;
  new.cron := btrim(new.cron);
  fields := regexp_split_to_array(new.cron, '\s+');
  if new.cron !~ '^@[A-Za-z]+$' and cardinality(fields) not in (5, 6) then
    perform crier.refuse_recurring(
      format('the cron expression "%s" has %s fields, it needs 5 (minute, hour, day of month, month, day of week) or 6 (second first)',
             new.cron, case when new.cron = '' then 0 else cardinality(fields) end),
      'write 0 9 * * MON-FRI for nine o''clock on working days');
  end if;
  new.time_zone := btrim(new.time_zone);
  begin
    perform now() at time zone new.time_zone;
  exception when others then
    perform crier.refuse_recurring(format('"%s" is no time zone', new.time_zone), 'write an IANA name such as Europe/Berlin or UTC');
  end;
  fault := crier.template_fault(new.template);
  if fault is not null then
    perform crier.refuse_recurring(fault, 'see the comment of crier.recurring.template');
  end if;
  if new.missed is null or new.missed not in ('skip', 'once', 'all') then
    perform crier.refuse_recurring(format('missed "%s" is not one of skip, once, all', new.missed),
      'skip leaves out slots that passed while nothing ran, once posts the latest of them, all posts them all');
  end if;
  if new.ahead is null or new.ahead <= interval '0' or new.ahead > interval '90 days' then
    perform crier.refuse_recurring('ahead must be more than nothing and at most 90 days', 'leave it out for one day');
  end if;
  if new.ends_at <= new.starts_at then
    perform crier.refuse_recurring('ends_at must be later than starts_at', 'correct one of them');
  end if;

  new.error := null;
  new.updated_at := crier.now();
  if tg_op = 'INSERT' then
    new.expanded_until := null;
    new.slots := 0;
    new.revision := 0;
  else
    new.revision := old.revision + 1;
    if (new.account, new.cron, new.time_zone, new.template, new.starts_at, new.ends_at, new.missed, new.ahead, new.paused)
       is not distinct from
       (old.account, old.cron, old.time_zone, old.template, old.starts_at, old.ends_at, old.missed, old.ahead, old.paused) then
      new.error := old.error;
      return new;
    end if;
    new.slots := greatest(old.slots - crier.withdraw_slots(old.id), 0);
    if old.paused and not new.paused then
      -- What passed during the pause was meant to.
      new.expanded_until := crier.now();
      update crier.jobs_open j set state = 'scheduled' where j.recurring_id = old.id and j.state = 'paused'
         and not exists (select 1 from crier.campaigns c where c.name = j.campaign and c.paused);
    elsif old.expanded_until is not null then
      new.expanded_until := least(old.expanded_until, crier.now());
    end if;
    if new.paused and not old.paused then
      -- Those already due wait with it; their rows were locked above.
      update crier.jobs_open j set state = 'paused' where j.recurring_id = old.id and j.state = 'scheduled'
         and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
    end if;
  end if;
  new.next_at := case when not new.paused then crier.now() end;
  if current_setting('crier.notify', true) is distinct from 'off' then
    perform pg_notify('crier_scheduler', '');
  end if;
  return new;
end $$;
create trigger recurring_before_write before insert or update or delete on crier.recurring
  for each row execute function crier.recurring_before_write();

revoke all on function crier.refuse_recurring(text, text), crier.template_fault(jsonb), crier.withdraw_slots(bigint),
  crier.recurring_before_write() from public;
