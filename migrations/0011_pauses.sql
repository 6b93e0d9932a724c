-- What holds an account back, said in one place, and campaigns that are paused, resumed and cancelled while they go out.

-- From when an account may publish, by what is known of it: never while a person has to act on it or on its app,
-- otherwise after X's limits of POST /2/tweets. A lane may say so late, hence a claim asks here.
create function crier.lane_opens(lane bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select case when a.status <> 'active' or p.status <> 'active' then timestamptz 'infinity'
                else greatest(timestamptz '-infinity', p.blocked_until,
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'account' and w.owner_id = a.id
                      and w.endpoint = 'POST /2/tweets' and w.remaining <= 0),
                  (select max(w.resets_at) from crier.limit_windows w where w.class = 'app' and w.owner_id = p.id
                      and w.endpoint = 'POST /2/tweets' and w.remaining <= 0)) end
      from crier.accounts a left join crier.apps p on p.id = a.app_id where a.id = lane);
end $$;
comment on function crier.lane_opens(bigint) is 'Internal: from when an account may publish; infinity: not until a person acts.';

-- Locks jobs that wait, in the order of their ids. Whoever looks for leases after that sees those that are being sent, and
-- nobody else begins. A row that ends meanwhile has left for another partition, which Postgres takes for an error.
create function crier.lock_waiting(ids bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  loop
    begin
      perform 1 from crier.jobs_open j where j.id = any(ids) and j.state in ('scheduled', 'paused') order by j.id for update;
      return;
    exception when serialization_failure then
      -- At a stricter level of isolation the snapshot stays, and so would the error.
      if current_setting('transaction_isolation') <> 'read committed' then
        raise;
      end if;
    end;
  end loop;
end $$;

-- The waiting jobs of a campaign, a few hundred at a time, so that what ends meanwhile costs only its few a second look.
create function crier.campaign_parts(name text) returns setof bigint[]
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select array_agg(n.id order by n.id)
    from (select j.id, row_number() over (order by j.id) as place from crier.jobs_open j
           where j.campaign = campaign_parts.name and j.state in ('scheduled', 'paused')) n
   group by (n.place - 1) / 500 order by 1
$$;

create or replace function crier.pause_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare part bigint[]; few bigint; n bigint := 0;
begin
  insert into crier.campaigns (name, paused) values (pause_campaign.name, true)
    on conflict on constraint campaigns_pkey do update set paused = true, updated_at = crier.now();
  for part in select crier.campaign_parts(pause_campaign.name) loop
    perform crier.lock_waiting(part);
    -- What is being sent at this moment goes out; everything else of the campaign stops.
    update crier.jobs_open j set state = 'paused'
     where j.id = any(part) and j.campaign = pause_campaign.name and j.state = 'scheduled'
       and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
    get diagnostics few = row_count;
    n := n + few;
  end loop;
  return n;
end $$;

create or replace function crier.resume_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare part bigint[]; few bigint; n bigint := 0;
begin
  update crier.campaigns c set paused = false, updated_at = crier.now() where c.name = resume_campaign.name;
  for part in select crier.campaign_parts(resume_campaign.name) loop
    perform crier.lock_waiting(part);
    -- Those of a recurring post that is paused wait on with it.
    update crier.jobs_open j set state = 'scheduled'
     where j.id = any(part) and j.campaign = resume_campaign.name and j.state = 'paused'
       and not exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused);
    get diagnostics few = row_count;
    n := n + few;
  end loop;
  return n;
end $$;

create or replace function crier.cancel_campaign(name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare part bigint[]; few bigint; n bigint := 0;
begin
  for part in select crier.campaign_parts(cancel_campaign.name) loop
    perform crier.lock_waiting(part);
    update crier.jobs j set state = 'cancelled'
     where j.id = any(part) and j.campaign = cancel_campaign.name and j.state in ('scheduled', 'paused')
       and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
    get diagnostics few = row_count;
    n := n + few;
  end loop;
  return n;
end $$;

revoke all on function crier.lane_opens(bigint), crier.lock_waiting(bigint[]), crier.campaign_parts(text) from public;
