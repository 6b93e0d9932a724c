-- Deliveries: what waits for one receiver keeps no other waiting, and a webhook that is removed stops no job from ending.

-- The check of a foreign key waits for whoever removes the webhook; what a removed one leaves is told to nobody.
alter table crier.webhook_deliveries drop constraint webhook_deliveries_webhook_id_fkey;

-- Each webhook is claimed for itself, from what is due first on; what is in hand; what people list, the newest first.
create index webhook_deliveries_due on crier.webhook_deliveries (webhook_id, next_at) where next_at is not null;
create index webhook_deliveries_in_hand on crier.webhook_deliveries (webhook_id) where worker is not null;
create index webhook_deliveries_created on crier.webhook_deliveries (webhook_id, created_at);
create index webhook_deliveries_newest on crier.webhook_deliveries (created_at);
drop index crier.webhook_deliveries_webhook;

-- A session that once changed one row has a plan for one row: a join of many rows by loops would take minutes.
create or replace function crier.webhooks_of_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_nestloop = off as $$
begin
  -- A pause or an edit of many rows is told to nobody, and pays for nothing.
  if not exists (select from new_rows where state in ('published', 'failed', 'missed', 'unknown'))
     or not exists (select from crier.webhooks) then
    return null;
  end if;
  insert into crier.webhook_deliveries (webhook_id, event, job_id, data)
  select w.id, n.state, n.id,
         jsonb_build_object('job', jsonb_build_object('id', n.id, 'account', n.account, 'campaign', n.campaign, 'state', n.state, 'text', n.text,
           'run_at', n.run_at, 'attempts', n.attempts, 'post_id', n.post_id, 'post_url', n.post_url, 'published_at', n.published_at, 'error', n.error))
    from new_rows n join old_rows o on o.id = n.id and o.state <> n.state
    join crier.webhooks w on n.state = any(w.events) and not w.paused and (w.campaign is null or w.campaign = n.campaign);
  return null;
end $$;
