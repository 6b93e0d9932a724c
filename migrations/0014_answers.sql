-- Pauses that end by themselves, limits whose end X does not state, and what calls to X cost.

-- X's own pauses are probed: at probe_at one worker asks X once, whatever their number. A person's pause is not.
alter table crier.apps
  add column probe_at timestamptz,
  add column probes integer not null default 0,
  add column probed_at timestamptz,
  add column trial_account bigint,
  add column trial_until timestamptz,
  add column monthly_budget_usd numeric(14, 4) check (monthly_budget_usd >= 0);
alter table crier.accounts
  add column probe_at timestamptz,
  add column probes integer not null default 0,
  add column probed_at timestamptz;
create index apps_probe on crier.apps (probe_at) where probe_at is not null;
create index accounts_probe on crier.accounts (probe_at) where probe_at is not null;
comment on column crier.apps.probe_at is 'When X is next asked whether the app may go on; null unless X''s answers paused it.';
comment on column crier.apps.probes is 'Times that X was asked; the waits between grow with it.';
comment on column crier.apps.trial_account is 'After X took a probe this account goes first, and the others of the app at trial_until.';
comment on column crier.apps.monthly_budget_usd is 'What its calls may cost in a month by UTC; after that its accounts wait for the next. Null: no bound. Set it with `crier accounts budget`.';
comment on column crier.accounts.probe_at is 'When X is next asked whether the account may go on; null unless X suspended or locked it.';

-- From a quarter of an hour to six hours, so spread that a crowd does not come together.
create function crier.probe_wait(probes integer) returns interval language sql volatile set search_path = pg_catalog, pg_temp as $$
  select least(interval '15 minutes' * power(2, least(probes, 5)), interval '6 hours') * (0.9 + 0.2 * random())
$$;

-- Whoever stops an app or an account in X's name, by whatever statement, plans the next question; whoever lets it go on
-- drops it. Pauses shortly after a question that X took go on with its waits. The argument is the word for X's pause.
create function crier.plan_probe() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.status <> tg_argv[0] then
    new.probe_at := null;
  elsif old.status <> new.status and new.probe_at is not distinct from old.probe_at then
    new.probes := case when old.probed_at > crier.now() - interval '1 day' then old.probes else 0 end;
    new.probe_at := crier.now() + crier.probe_wait(new.probes);
  end if;
  return new;
end $$;
create trigger apps_plan_probe before update of status on crier.apps
  for each row execute function crier.plan_probe('paused');
create trigger accounts_plan_probe before update of status on crier.accounts
  for each row execute function crier.plan_probe('suspended');
-- What is paused already is asked about at once.
update crier.apps set probe_at = crier.now() where status = 'paused';
update crier.accounts set probe_at = crier.now() where status = 'suspended';

-- A limit of which X does not say when it ends is kept beside those of its headers, so that whatever obeys these obeys it.
alter table crier.limit_windows drop constraint limit_windows_length_check;
alter table crier.limit_windows add constraint limit_windows_length_check check (length in ('15min', '24h', 'unstated'));
alter table crier.limit_windows add column strikes integer not null default 0;
comment on column crier.limit_windows.strikes is 'Of length unstated: refusals in a row without a reset; the waits grow with it until X accepts a call.';

-- What X charges, call by call: appended in the commit that settles the call, folded every few seconds.
create table crier.cost_deltas (
  app_id bigint not null,
  account_id bigint not null,
  month date not null default date_trunc('month', crier.now() at time zone 'UTC')::date,
  kind text not null,
  calls bigint not null default 1,
  micro_usd bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
comment on table crier.cost_deltas is 'Costs that crier.costs and crier.app_costs do not hold yet: append-only, folded every few seconds.';

create table crier.costs (
  account_id bigint not null,
  app_id bigint not null,
  month date not null,
  kind text not null,
  calls bigint not null,
  micro_usd bigint not null,
  primary key (account_id, month, kind, app_id)
) with (fillfactor = 50);
comment on table crier.costs is 'What the calls of an account cost by month (UTC) and kind, in millionths of a US dollar, by the prices that crier is configured with.';

create table crier.app_costs (
  app_id bigint not null,
  month date not null,
  kind text not null,
  calls bigint not null,
  micro_usd bigint not null,
  primary key (app_id, month, kind)
) with (fillfactor = 50);
comment on table crier.app_costs is 'The same for all accounts of an app together; app 0 stands for accounts without one.';

-- What an app has cost in this month.
create function crier.spent_micro_usd(app bigint) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare this_month date := date_trunc('month', crier.now() at time zone 'UTC')::date;
begin
  return (select coalesce(sum(c.micro_usd), 0) from (
            select a.micro_usd from crier.app_costs a where a.app_id = app and a.month = this_month
            union all
            select d.micro_usd from crier.cost_deltas d where d.app_id = app and d.month = this_month) c);
end $$;

-- When the next month begins for an app whose budget is spent; null while it is not.
create function crier.budget_opens(app bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare budget numeric;
begin
  select p.monthly_budget_usd into budget from crier.apps p where p.id = app;
  if budget is null or crier.spent_micro_usd(app) < budget * 1000000 then
    return null;
  end if;
  return (date_trunc('month', crier.now() at time zone 'UTC') + interval '1 month') at time zone 'UTC';
end $$;
comment on function crier.budget_opens(bigint) is 'Internal: when an app whose monthly budget is spent may go on; null if it may now.';

-- Why its accounts wait, in the form of jobs.error; null while they need not.
create function crier.budget_hold(app bigint) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare opens timestamptz := crier.budget_opens(app); budget numeric; name text;
begin
  if opens is null then
    return null;
  end if;
  select p.monthly_budget_usd, p.client_id into budget, name from crier.apps p where p.id = app;
  return jsonb_build_object('code', 'budget_spent', 'title', 'the monthly budget of the app is spent',
    'detail', format('the calls of app %s have cost as much as its budget of %s USD allows', name, trim_scale(budget)), 'step', 'claim',
    'hint', format('nothing to do: it goes on at %s UTC; `crier accounts budget %s USD` raises the budget at once',
                   to_char(opens at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), name));
end $$;

create or replace function crier.lane_opens(lane bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select case when a.status <> 'active' or p.status <> 'active' then timestamptz 'infinity'
                else greatest(timestamptz '-infinity', p.blocked_until, crier.budget_opens(p.id),
                  case when p.trial_account is distinct from a.id then p.trial_until end,
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'account' and w.owner_id = a.id
                      and w.endpoint = 'POST /2/tweets' and w.remaining <= 0),
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'app' and w.owner_id = p.id
                      and w.endpoint = 'POST /2/tweets' and w.remaining <= 0)) end
      from crier.accounts a left join crier.apps p on p.id = a.app_id where a.id = lane);
end $$;
comment on function crier.lane_opens(bigint) is 'Internal: from when an account may publish; infinity: not until a person, or X to a probe, has said so.';

revoke all on function crier.probe_wait(integer), crier.plan_probe(), crier.spent_micro_usd(bigint), crier.budget_opens(bigint),
  crier.budget_hold(bigint) from public;
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'crier_reader') then
    grant select on crier.costs, crier.app_costs, crier.cost_deltas to crier_reader;
    grant select (probe_at, probes, probed_at, trial_account, trial_until, monthly_budget_usd) on crier.apps to crier_reader;
  end if;
end $$;
