-- While a job is being sent its state stands: an end written beside the call would deny a post that X has. Whoever settles
-- the call, or takes it back from a dead worker, deletes the lease first and passes.

create function crier.jobs_stand_while_sent() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- The row is locked by now, and this statement sees what is committed: the step to `sending` locks the row too.
  if exists (select 1 from crier.leases where kind = 'publish' and subject = old.id and phase = 'sending') then
    perform crier.refuse(format('job %s is being sent to X at this moment and cannot become %s', old.id, new.state),
      'wait a few seconds and look at its state');
  end if;
  return new;
end $$;
-- After jobs_before_update, whose words are more particular.
create trigger jobs_stand_while_sent before update on crier.jobs_open
  for each row when (old.state is distinct from new.state) execute function crier.jobs_stand_while_sent();
revoke all on function crier.jobs_stand_while_sent() from public;
