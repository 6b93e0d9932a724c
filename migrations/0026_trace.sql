-- Trace ids: a job says which trace it belongs to, or has one of its own, so that an operator follows it from whoever inserted it
-- through crier's log to each request that leaves.

alter table crier.jobs add column trace text;
comment on column crier.jobs.trace is 'The trace that the job belongs to: a W3C traceparent, or a trace id of 32 hex digits. Without one it has one of its own.';

-- As the W3C Trace Context recommendation has it: version 00, lower case, neither id all zeros.
create function crier.trace_fault(trace text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then
      case when substr(trace, 4, 32) = repeat('0', 32) or substr(trace, 37, 16) = repeat('0', 16)
           then 'trace has an id of zeros, which stands for none' end
    when trace ~ '^[0-9a-f]{32}$' then
      case when trace = repeat('0', 32) then 'trace has an id of zeros, which stands for none' end
    else format('trace "%s" is neither a traceparent nor a trace id', left(trace, 100)) end
$$;

create function crier.jobs_trace() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.trace := lower(btrim(new.trace));
  if crier.trace_fault(new.trace) is not null then
    perform crier.refuse(crier.trace_fault(new.trace),
      'give 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, or 32 hex digits alone, or leave it out');
  end if;
  return new;
end $$;
create trigger jobs_a_trace before insert or update of trace on crier.jobs_open
  for each row when (new.trace is not null) execute function crier.jobs_trace();

-- The trace of a job: its own if it says none, the same in every process, at every attempt and whenever it is asked for.
create function crier.trace_of(id bigint, created_at timestamptz, trace text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select coalesce(trace, substr(encode(sha256(convert_to(
    'crier job ' || id || ' of ' || (extract(epoch from created_at) * 1000000)::bigint, 'UTF8')), 'hex'), 1, 32))
$$;

revoke all on function crier.jobs_trace(), crier.trace_fault(text), crier.trace_of(bigint, timestamptz, text) from public;
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'crier_writer') then
    grant insert (trace) on crier.jobs to crier_writer;
  end if;
end $$;
