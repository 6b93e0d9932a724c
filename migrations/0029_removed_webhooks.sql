-- What waits for a webhook goes with it, whichever version of crier removes it.

-- A foreign key would do so, too, and kept every job from ending until the removal was over.
create function crier.webhooks_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from crier.webhook_deliveries d using old_rows o where d.webhook_id = o.id;
  return null;
end $$;
revoke all on function crier.webhooks_removed() from public;
create trigger webhooks_removed after delete on crier.webhooks
  referencing old table as old_rows for each statement execute function crier.webhooks_removed();
delete from crier.webhook_deliveries d where not exists (select from crier.webhooks w where w.id = d.webhook_id);

-- A plan that may not loop looks dear, and compiling it would take longer than running it.
alter function crier.webhooks_of_jobs() set jit = off;
