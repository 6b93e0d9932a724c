-- Webhooks: what became of jobs and accounts, told to whoever wants to know. The outbox is filled by triggers in the very commit
-- that changes the state, so that no way to a state can forget it and none that is rolled back is told.

create table crier.webhooks (
  id bigint generated always as identity primary key,
  name text not null unique check (name <> '' and char_length(name) <= 100),
  events text[] not null check (events <> '{}' and events <@ array['published', 'failed', 'missed', 'unknown', 'account_needs_login']),
  form text not null default 'json' check (form in ('json', 'slack')),
  campaign text,
  host text not null,
  sealed bytea not null,
  key_id text not null,
  paused boolean not null default false,
  created_at timestamptz not null default crier.now()
);
comment on table crier.webhooks is 'Who is told what became of jobs; made by `crier webhooks add`. The address and the secret are sealed.';
comment on column crier.webhooks.campaign is 'Only jobs of this campaign; null: all of them.';
comment on column crier.webhooks.host is 'Host of the address, for people.';

create table crier.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  webhook_id bigint not null references crier.webhooks on delete cascade,
  event text not null,
  job_id bigint,
  data jsonb not null,
  state text not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
  attempts smallint not null default 0,
  next_at timestamptz default crier.now(),
  worker uuid,
  http_status smallint,
  error jsonb,
  created_at timestamptz not null default crier.now(),
  ended_at timestamptz,
  check ((state = 'waiting') = (next_at is not null)),
  check ((state = 'waiting') = (ended_at is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index webhook_deliveries_next on crier.webhook_deliveries (next_at) where next_at is not null;
create index webhook_deliveries_ended on crier.webhook_deliveries (ended_at) where ended_at is not null;
create index webhook_deliveries_dead on crier.webhook_deliveries (created_at) where state = 'dead';
create index webhook_deliveries_webhook on crier.webhook_deliveries (webhook_id);
comment on table crier.webhook_deliveries is 'Outbox of the webhooks: one row an event and a webhook, delivered at least once under the same id.';
comment on column crier.webhook_deliveries.next_at is 'When it is tried next; while one is under way, when another worker may take it.';

-- Only what changed its state is told; what is told is the row as it stands in that commit.
create function crier.webhooks_of_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from crier.webhooks) then
    return null;
  end if;
  insert into crier.webhook_deliveries (webhook_id, event, job_id, data)
  select w.id, n.state, n.id,
         jsonb_build_object('job', jsonb_build_object('id', n.id, 'account', n.account, 'campaign', n.campaign, 'state', n.state, 'text', n.text,
           'run_at', n.run_at, 'attempts', n.attempts, 'post_id', n.post_id, 'post_url', n.post_url, 'published_at', n.published_at, 'error', n.error))
    from new_rows n join old_rows o on o.id = n.id and o.state <> n.state
    join crier.webhooks w on n.state = any(w.events) and not w.paused and (w.campaign is null or w.campaign = n.campaign);
  return null;
end $$;
create trigger jobs_webhooks after update on crier.jobs
  referencing old table as old_rows new table as new_rows for each statement execute function crier.webhooks_of_jobs();
create trigger jobs_open_webhooks after update on crier.jobs_open
  referencing old table as old_rows new table as new_rows for each statement execute function crier.webhooks_of_jobs();

create function crier.webhooks_of_accounts() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into crier.webhook_deliveries (webhook_id, event, data)
  select w.id, 'account_needs_login',
         jsonb_build_object('account', jsonb_build_object('handle', new.handle, 'status', new.status, 'reason', new.reason))
    from crier.webhooks w where 'account_needs_login' = any(w.events) and not w.paused;
  return null;
end $$;
create trigger accounts_webhooks after update of status on crier.accounts
  for each row when (new.status = 'needs_login' and old.status is distinct from new.status) execute function crier.webhooks_of_accounts();

revoke all on function crier.webhooks_of_jobs(), crier.webhooks_of_accounts() from public;
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'crier_reader') then
    grant select (id, name, events, form, campaign, host, paused, created_at) on crier.webhooks to crier_reader;
    grant select on crier.webhook_deliveries to crier_reader;
  end if;
end $$;
