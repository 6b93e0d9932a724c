-- A thread runs forward: an edit of `after` must not make two jobs wait for each other, which both would do for ever.

create function crier.jobs_thread() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare place bigint := new.after; seen bigint[] := '{}';
begin
  while place is not null and place <> all(seen) loop
    if place = new.id then
      perform crier.refuse(format('after = %s: that job waits for job %s itself', new.after, new.id),
        'a thread cannot run in a circle: reply to a job that does not reply to this one');
    end if;
    seen := seen || place;
    -- Locked, so that of two edits at the same moment that close a circle one is refused.
    select j.after into place from crier.jobs_open j where j.id = place for share;
    if not found then
      place := null;
    end if;
  end loop;
  return new;
end $$;
-- Triggers of one kind fire in the order of their names: this one after jobs_before_update, whose words are more particular.
create trigger jobs_thread before update on crier.jobs_open
  for each row when (new.after is not null and new.after is distinct from old.after) execute function crier.jobs_thread();
revoke all on function crier.jobs_thread() from public;
