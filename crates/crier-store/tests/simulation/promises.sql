-- What must hold after every operation; each broken promise is a line.

create function sim.broken() returns setof text language plpgsql stable as $$
declare moment timestamptz := crier.now();
begin
  -- At most one post a job, and a job is never told otherwise than X has it.
  return query select format('job %s has %s live posts', l.job_id, count(*)) from sim.live l group by l.job_id having count(*) > 1;
  return query select format('post %s of job %s is live, but the job is %s with the post %s', l.post_id, l.job_id, j.state, j.post_id)
    from sim.live l left join crier.jobs j on j.id = l.job_id
   where not coalesce(j.state = 'unknown' or (j.state = 'published' and j.post_id = l.post_id and j.account_id = l.account_id), false)
     and not exists (select 1 from crier.leases s where s.kind = 'publish' and s.subject = l.job_id and s.phase = 'sending')
     and not exists (select 1 from sim.gone g where g.job_id = l.job_id);
  return query select format('job %s is published as %s, which does not exist or is another''s', j.id, j.post_id)
    from crier.jobs j where j.state = 'published' and not exists (select 1 from sim.live l where l.post_id = j.post_id and l.job_id = j.id);
  return query select format('crier.posts: post %s and job %s do not agree', p.post_id, p.job_id)
    from crier.posts p left join crier.jobs j on j.id = p.job_id
   where (j.state, j.post_id) is distinct from ('published', p.post_id) and not exists (select 1 from sim.gone g where g.job_id = p.job_id);
  return query select format('job %s is published without a row in crier.posts', j.id)
    from crier.jobs j where j.state = 'published' and not exists (select 1 from crier.posts p where p.job_id = j.id);

  -- Who holds what.
  return query select format('lane %s: in flight is %s, its lease says otherwise', n.account_id, n.in_flight) from crier.lanes n
   where n.in_flight <> exists (select 1 from crier.leases l where l.kind = 'publish' and l.account_id = n.account_id);
  return query select format('job %s is being sent and is %s', l.subject, j.state)
    from crier.leases l left join crier.jobs j on j.id = l.subject where l.phase = 'sending' and j.state is distinct from 'scheduled'
     and not exists (select 1 from sim.gone g where g.job_id = l.subject);
  return query select format('attempt %s of job %s is open though nobody sends it', a.id, a.job_id) from crier.attempts a
   where a.outcome is null and not exists (
     select 1 from crier.leases l where l.phase = 'sending' and l.attempt_id = a.id and l.subject = a.job_id and l.token = a.token);
  return query select format('lease of job %s is sending without an open attempt', l.subject) from crier.leases l
   where l.phase = 'sending' and not exists (select 1 from crier.attempts a where a.id = l.attempt_id and a.outcome is null and a.step = 'publish');

  return query select format('lane %s is in flight and in the scanned range', n.account_id) from crier.lanes n where n.in_flight and n.next_at is not null;
  return query select format('job %s is in the hands of two', l.subject) from crier.leases l where l.kind in ('publish', 'reconcile')
   group by l.subject having count(*) > 1;

  -- No lane is stranded: due work has a time, a lease, a signal on its way, or a stated reason.
  return query select format('account %s: job %s waits and nothing will serve it', j.account_id, min(j.id))
    from crier.jobs_open j left join crier.lanes n on n.account_id = j.account_id
   where j.state = 'scheduled' and j.held = 0 and n.next_at is null and not coalesce(n.in_flight, false)
     and not exists (select 1 from crier.lane_signals s where s.account_id = j.account_id)
   group by j.account_id;
  return query select format('account %s: served at %s, though due at %s and closed until %s', n.account_id, n.next_at, d.due, n.not_before)
    from crier.lanes n cross join lateral (
      select min(coalesce(j.next_attempt_at, j.run_at)) as due from crier.jobs_open j
       where j.account_id = n.account_id and j.state = 'scheduled' and j.held = 0) d
   where not n.in_flight and d.due is not null and n.next_at > greatest(d.due, n.not_before, moment + interval '31 seconds' + (select by from sim.behind))
     and not exists (select 1 from crier.lane_signals s where s.account_id = n.account_id);
  return query select format('account %s is closed until %s for no reason (%s)', n.account_id, n.not_before, crier.lane_opens(n.account_id))
    from crier.lanes n where n.not_before > moment and n.not_before > crier.lane_opens(n.account_id);

  -- Unknown jobs are looked up, or a person is told what to do.
  return query select format('job %s is unknown and nobody looks it up', j.id)
    from crier.jobs_open j left join crier.reconciles r on r.job_id = j.id
   where j.state = 'unknown' and not coalesce(r.next_at is not null
     or exists (select 1 from crier.leases l where l.kind = 'reconcile' and l.subject = j.id)
     or j.error ->> 'hint' like '%crier jobs settle ' || j.id || ' --published%', false);
  return query select format('job %s is looked up and is %s', r.job_id, j.state)
    from crier.reconciles r left join crier.jobs j on j.id = r.job_id where j.state is distinct from 'unknown' and not exists (select 1 from sim.gone g where g.job_id = r.job_id);
  return query select format('a search of job %s is in hand and has a time', l.subject)
    from crier.leases l left join crier.reconciles r on r.job_id = l.subject
   where l.kind = 'reconcile' and (r.job_id is null or r.next_at is not null);

  -- Files are in somebody's hands or have a time.
  return query select format('file %s of job %s: time %s, lease %s', u.id, u.job_id, u.next_at, l.token)
    from crier.media_uploads u left join crier.leases l on l.kind = 'stage' and l.subject = u.id
   where (u.next_at is null) <> (l.token is not null);
  return query select format('job %s waits for media that it does not have', j.id) from crier.jobs_open j
   where j.held & 1 <> 0 and j.media = '[]';

  return query select format('job %s may go out though its files are not ready', j.id) from crier.jobs_open j
   where j.state = 'scheduled' and j.held & 1 = 0 and j.media <> '[]'
     and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id)
     and jsonb_array_length(j.media) <> (select count(*) from crier.media_uploads u
       where u.job_id = j.id and u.state = 'ready' and u.account_id = j.account_id and u.item = j.media -> u.position::int);

  -- Threads.
  return query select format('job %s waits for job %s, which ended', j.id, j.after)
    from crier.jobs_open j left join crier.jobs p on p.id = j.after
   where j.held & 2 <> 0 and p.state in ('published', 'failed', 'cancelled', 'missed')
     and not exists (select 1 from crier.lane_signals s where s.ended_job = j.after)
     -- What somebody held when it was told is found by the sweep.
     and not exists (select 1 from sim.touched t where t.job_id = j.id);
  return query select format('job %s does not wait for job %s, which is %s', j.id, j.after, p.state)
    from crier.jobs_open j join crier.jobs p on p.id = j.after
   where j.state = 'scheduled' and j.held & 2 = 0 and p.state <> 'published'
     and not exists (select 1 from crier.lane_signals s where s.ended_job = j.after);

  -- Jobs that kill their workers are put aside.
  return query select format('job %s has cost %s workers', j.id, j.crashes) from crier.jobs j where j.crashes > 3 or (j.crashes = 3 and j.state = 'scheduled');
end $$;
