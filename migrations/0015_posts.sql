-- What an account may do (tier) and how it is published for (publisher); posts that were deleted again.

alter table crier.accounts
  add column tier text not null default 'standard' constraint tier_is_known check (tier in ('standard', 'premium')),
  add column publisher text not null default 'v2' constraint publisher_is_known check (publisher in ('v2', 'v1_update_with_media'));
comment on column crier.accounts.tier is 'standard, or premium: longer texts and videos, and edits. `crier accounts tier` sets it.';
comment on column crier.accounts.publisher is 'v2, or v1_update_with_media for gateways that speak only that (OAuth 1.0a). `crier accounts publisher` sets it.';
comment on column crier.accounts.text_limit is 'Weighted characters that X allows this account: 280, or 25,000 with Premium; a change of the tier sets it.';

-- Whoever was given a longer text has subscribed.
update crier.accounts set tier = 'premium' where text_limit > 280;

create function crier.accounts_tier() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.tier is distinct from old.tier and new.text_limit is not distinct from old.text_limit then
    new.text_limit := case new.tier when 'premium' then 25000 else 280 end;
  end if;
  return new;
end $$;
create trigger accounts_tier before update of tier on crier.accounts
  for each row execute function crier.accounts_tier();
revoke all on function crier.accounts_tier() from public;

-- A post that crier deleted again stays in crier.posts: it is still its job's one post.
alter table crier.posts add column deleted_at timestamptz;
comment on column crier.posts.deleted_at is 'When it was deleted from X by `crier jobs unpublish`; null: it is there, as far as crier knows.';

-- Wider than what they take the place of, so that no row needs to be looked at.
alter table crier.attempts drop constraint attempts_step_check;
alter table crier.attempts add constraint attempts_step_check
  check (step in ('token', 'media', 'publish', 'reconcile', 'unpublish')) not valid;
alter table crier.attempts drop constraint attempts_outcome_check;
alter table crier.attempts add constraint attempts_outcome_check
  check (outcome in ('published', 'snoozed', 'retry', 'failed', 'unknown', 'unpublished')) not valid;

create or replace function crier.retry(job bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare was text; gone timestamptz;
begin
  select state into was from crier.jobs where id = job;
  if was is null then
    perform crier.refuse(format('there is no job %s', job), 'select id, text, state from crier.jobs shows them');
  elsif was not in ('failed', 'missed', 'cancelled') then
    select p.deleted_at into gone from crier.posts p where p.job_id = job;
    if gone is not null then
      perform crier.refuse(format('job %s was published, and its post was deleted at %s', job, gone),
        'a job is published once: insert a new one to post it again, with another dedupe_key if it has one');
    end if;
    perform crier.refuse(format('job %s is %s: only a failed, missed or cancelled job can be retried', job, was),
      case when was = 'unknown' then format('crier jobs settle %s --published POST_ID or --retry ends an unknown job', job) else 'see crier.jobs.state' end);
  end if;
  delete from crier.media_uploads where job_id = job;
  -- A time that has passed would be missed again at once.
  update crier.jobs set state = 'scheduled', finished_at = null, attempts = 0, crashes = 0, error = null, warning = null,
         next_attempt_at = null, run_at = greatest(run_at, crier.now()), revision = revision + 1
   where id = job and state in ('failed', 'missed', 'cancelled');
  return 'scheduled';
end $$;

-- Options may hold what only v1.1 takes; whether the account publishes so is checked within seconds, as the rest is.
create or replace function crier.options_fault(options jsonb, has_media boolean, is_reply boolean) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare k text; n int := 0; exclusive text := '';
begin
  if options is null or jsonb_typeof(options) <> 'object' then
    return 'options must be a JSON object such as {"reply_settings": "following"}';
  end if;
  for k in select jsonb_object_keys(options) loop
    if k in ('text', 'media_ids') then
      return format('options must not hold "%s": use the column of that matter', k);
    end if;
    if k not in ('media', 'poll', 'reply', 'quote_tweet_id', 'reply_settings', 'geo', 'for_super_followers_only', 'community_id',
                 'share_with_followers', 'v1', 'nullcast', 'card_uri', 'direct_message_deep_link', 'edit_options', 'made_with_ai', 'paid_partnership') then
      return format('options has the unknown key "%s"; it takes the fields of POST /2/tweets by X''s names, such as poll, reply, reply_settings', k);
    end if;
  end loop;
  foreach k in array array['poll', 'quote_tweet_id', 'card_uri', 'direct_message_deep_link'] loop
    if options ? k then n := n + 1; exclusive := exclusive || ', ' || k; end if;
  end loop;
  if has_media and n > 0 then
    return format('a post with media cannot also have %s: X allows one of them', substr(exclusive, 3));
  end if;
  if n > 1 then
    return format('X allows only one of %s in a post', substr(exclusive, 3));
  end if;
  if options ? 'reply_settings' and coalesce(options ->> 'reply_settings', '') not in ('following', 'mentionedUsers', 'subscribers', 'verified') then
    return format('reply_settings "%s" is not one of following, mentionedUsers, subscribers, verified', options ->> 'reply_settings');
  end if;
  if options ? 'poll' then
    if coalesce(jsonb_typeof(options #> '{poll,options}'), '') <> 'array' or jsonb_array_length(options #> '{poll,options}') not between 2 and 4 then
      return 'a poll needs 2 to 4 options';
    end if;
    if coalesce(jsonb_typeof(options #> '{poll,duration_minutes}'), '') <> 'number'
       or (options #>> '{poll,duration_minutes}')::numeric not between 5 and 10080 then
      return 'a poll needs duration_minutes between 5 and 10080';
    end if;
  end if;
  if is_reply and options ? 'reply' and options -> 'reply' ? 'in_reply_to_tweet_id' then
    return 'a job has either `after` or options.reply.in_reply_to_tweet_id, not both';
  end if;
  return null;
end $$;
comment on column crier.jobs.options is 'Every other field of POST /2/tweets by X''s own names, such as {"poll": …} or {"reply_settings": "following"}; "v1" holds what only v1.1 takes.';
