-- Edits and cancels look for a lease that is being sent. Above READ COMMITTED they would look into an old snapshot and
-- miss it, so they are refused there.

create function crier.jobs_at_read_committed() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = 'invalid_transaction_state', schema = 'crier', table = 'jobs',
      message = format('jobs cannot be changed at the isolation level %s', upper(current_setting('transaction_isolation'))),
      hint = 'change them in a transaction at READ COMMITTED, the default';
  end if;
  return new;
end $$;
-- Triggers of one kind fire in the order of their names: this one before jobs_before_update.
create trigger jobs_at_read_committed before update on crier.jobs_open
  for each row execute function crier.jobs_at_read_committed();
revoke all on function crier.jobs_at_read_committed() from public;
