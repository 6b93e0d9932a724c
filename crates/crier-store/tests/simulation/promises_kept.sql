-- More of what must hold after every operation: pauses, recurring posts, and what people read.

create function sim.kept() returns setof text language plpgsql stable as $$
declare moment timestamptz := crier.now();
begin
  -- Paused by somebody, and then really paused.
  return query select format('job %s is paused by nobody', j.id) from crier.jobs_open j
   where j.state = 'paused' and not exists (select 1 from sim.by_hand b where b.job_id = j.id)
     and not exists (select 1 from crier.campaigns c where c.name = j.campaign and c.paused)
     and not exists (select 1 from crier.recurring r where r.id = j.recurring_id and r.paused)
     -- It was put off while somebody's transaction had resumed it and not said so yet: it waits where people see it.
     and not exists (select 1 from sim.touched t where t.job_id = j.id);
  return query select format('job %s may go out though its campaign is paused', j.id)
    from crier.jobs_open j join crier.campaigns c on c.name = j.campaign and c.paused
   where j.state = 'scheduled' and not exists (select 1 from sim.by_hand b where b.job_id = j.id)
     -- The row was being inserted when the campaign was paused: its check is to come.
     and not exists (select 1 from crier.job_checks k where k.job_id = j.id)
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');

  return query select format('job %s may go out though its recurring post is paused', j.id)
    from crier.jobs_open j join crier.recurring r on r.id = j.recurring_id and r.paused
   where j.state = 'scheduled' and not exists (select 1 from sim.by_hand b where b.job_id = j.id)
     and not exists (select 1 from sim.bases b where b.job_id = j.id)
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending');
  return query select format('account %s was paused by a person and is %s', a.id, a.status)
    from sim.stopped s join crier.accounts a on a.id = s.account_id where a.status <> 'paused';

  -- Slots of recurring posts: one job each, and under `all` none left out.
  return query select format('recurring %s: slot %s has %s jobs', j.recurring_id, split_part(j.text, ' ', 2), count(*))
    from crier.jobs j where j.recurring_id is not null and j.text like 'tick%' and j.state not in ('failed', 'missed', 'cancelled')
     and not exists (select 1 from sim.bases b where b.job_id = j.id)
   group by j.recurring_id, split_part(j.text, ' ', 2) having count(*) > 1;
  return query select format('recurring %s: slot %s was left out', r.id, t)
    from crier.recurring r cross join lateral generate_series(date_bin('5 minutes', r.created_at, 'epoch') + interval '5 minutes',
      r.expanded_until, interval '5 minutes') t
   where r.missed = 'all' and r.revision = 0 and r.cron = '*/5 * * * *' and t > r.created_at and t > moment - interval '20 hours'
     and not exists (select 1 from sim.skipped s where s.recurring_id = r.id)
     and not exists (select 1 from crier.recurring_slots s where s.recurring_id = r.id and s.slot = t);

  -- Money, and posts that are gone.
  return query select format('app %s has cost %s, its posts %s', p.id, crier.spent_micro_usd(p.id), s.micro)
    from crier.apps p cross join lateral (select coalesce(sum(m.micro_usd), 0) as micro from sim.spent m
      where m.app_id = p.id and m.month = date_trunc('month', moment at time zone 'UTC')::date) s
   where crier.spent_micro_usd(p.id) <> s.micro;

  -- What people read: reasons and counts.
  return query select format('job %s is %s and does not say why', j.id, j.state) from crier.jobs j
   where j.state in ('failed', 'missed', 'unknown') and (coalesce(j.error ->> 'code', '') = '' or coalesce(j.error ->> 'title', '') = '');
  return query select format('job %s counts %s attempts, the ledger %s (%s of them sent)', j.id, j.attempts, c.n, c.sent)
    from crier.jobs j left join sim.bases b on b.job_id = j.id cross join lateral (
      select count(*) - coalesce(b.counted, 0) as n,
             count(*) filter (where a.sent_at is not null) - coalesce(b.counted, 0) as sent
        from crier.attempts a where a.job_id = j.id and a.step = 'publish' and a.outcome in ('published', 'retry', 'failed', 'unknown')) c
   where j.state in ('scheduled', 'paused', 'unknown', 'published') and not exists (select 1 from sim.trimmed t where t.job_id = j.id)
     and (j.attempts > c.n or (b.job_id is null and j.attempts < c.sent));
  return query
    select format('kept numbers %s, counted %s', k, c) from (
      select to_jsonb(s) as k from (
        select sum(inserted) as inserted, sum(scheduled) as scheduled, sum(paused) as paused, sum(unknown) as unknown,
               sum(published) as published, sum(failed) as failed, sum(cancelled) as cancelled, sum(missed) as missed
          from (select inserted, scheduled, paused, unknown, published, failed, cancelled, missed from crier.totals
                union all select * from crier.total_deltas) t) s) kept,
      (select to_jsonb(s) as c from (
        select count(*) + (select count(*) from sim.gone) as inserted, count(*) filter (where state = 'scheduled') as scheduled,
               count(*) filter (where state = 'paused') as paused, count(*) filter (where state = 'unknown') as unknown,
               count(*) filter (where state = 'published') + (select count(*) from sim.ends e where e.state = 'published') as published,
               count(*) filter (where state = 'failed') + (select count(*) from sim.ends e where e.state = 'failed') as failed,
               count(*) filter (where state = 'cancelled') + (select count(*) from sim.ends e where e.state = 'cancelled') as cancelled,
               count(*) filter (where state = 'missed') + (select count(*) from sim.ends e where e.state = 'missed') as missed
          from crier.jobs) s) counted
   where k <> c;
end $$;
