-- Rows that are gone: deleted by people, withdrawn, or dropped for their age, which is what must be old and ended.

create table sim.gone (job_id bigint primary key, state text not null);
create table sim.trimmed (job_id bigint primary key);
create table sim.was (what text not null, id bigint not null, job_id bigint, state text, at timestamptz);
-- Ends that the rows no longer show.
create view sim.ends as select state from sim.returned union all select state from sim.gone;

create function sim.deleted() returns trigger language plpgsql as $$
begin
  insert into sim.gone select id, state from old_rows on conflict do nothing;
  return null;
end $$;
create trigger sim_deleted after delete on crier.jobs referencing old table as old_rows for each statement execute function sim.deleted();
create trigger sim_deleted after delete on crier.jobs_open referencing old table as old_rows for each statement execute function sim.deleted();
create trigger sim_deleted after delete on crier.jobs_final_default referencing old table as old_rows
  for each statement execute function sim.deleted();

create view sim.there as
  select 'job' as what, id, id as job_id, state, finished_at as at from crier.jobs
  union all
  select 'attempt', a.id, a.job_id, case when a.finished_at is null or exists (select 1 from crier.jobs_open j where j.id = a.job_id) then 'open' else 'ended' end,
         a.started_at from crier.attempts a
  union all
  select 'upload', u.id, u.job_id, case when exists (select 1 from crier.jobs_open j where j.id = u.job_id)
           or exists (select 1 from crier.leases l where l.kind = 'stage' and l.subject = u.id) then 'open' else 'ended' end, u.updated_at
    from crier.media_uploads u
  union all select 'key', k.job_id, k.job_id, k.dedupe_key, null from crier.job_keys k
  union all select 'post', p.job_id, p.job_id, p.post_id, p.published_at from crier.posts p
  union all select 'search', r.job_id, r.job_id, null, null from crier.reconciles r;

create function sim.before() returns void language plpgsql as $$
begin
  delete from sim.was;
  insert into sim.was select * from sim.there;
end $$;

-- What was dropped since and should not have been.
create function sim.lost(days integer) returns setof text language plpgsql as $$
begin
  delete from sim.was w using sim.there t where t.what = w.what and t.id = w.id;
  insert into sim.gone select w.id, w.state from sim.was w where w.what = 'job' on conflict do nothing;
  insert into sim.trimmed select distinct w.job_id from sim.was w where w.what = 'attempt' on conflict do nothing;
  return query select format('%s %s of job %s (%s, %s) was dropped', w.what, w.id, w.job_id, w.state, w.at) from sim.was w
   where not coalesce(w.at < crier.now() - make_interval(days => days) and (
     (w.what = 'job' and w.state in ('published', 'failed', 'cancelled', 'missed')) or (w.what in ('attempt', 'upload') and w.state = 'ended')), false);
end $$;
