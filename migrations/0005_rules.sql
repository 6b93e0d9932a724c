-- Rules of crier.jobs, said in words for people, and the triggers that keep them.
-- Trigger functions run as the owner, since those who insert may see nothing but jobs.

-- What is wrong with the media column, or null.
create function crier.media_fault(media jsonb) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare item jsonb; k text; n int := 0;
begin
  if media is null or jsonb_typeof(media) <> 'array' then
    return 'media must be a JSON array such as [{"path": "launch.jpg", "alt_text": "…"}]';
  end if;
  if jsonb_array_length(media) > 4 then
    return format('media has %s items, X takes at most 4 photos, or 1 GIF, or 1 video', jsonb_array_length(media));
  end if;
  for item in select * from jsonb_array_elements(media) loop
    n := n + 1;
    if jsonb_typeof(item) <> 'object' then
      return format('media item %s must be an object such as {"path": "launch.jpg"}', n);
    end if;
    for k in select jsonb_object_keys(item) loop
      if k not in ('path', 'url', 'alt_text', 'category', 'subtitles', 'shared', 'additional_owners') then
        return format('media item %s has the unknown key "%s"; known are path, url, alt_text, category, subtitles, shared, additional_owners', n, k);
      end if;
    end loop;
    if (coalesce(jsonb_typeof(item -> 'path'), '') = 'string' and item ->> 'path' <> '')
       = (coalesce(jsonb_typeof(item -> 'url'), '') = 'string' and item ->> 'url' <> '') then
      return format('media item %s needs either "path" or "url", as text', n);
    end if;
    if item ? 'alt_text' and (jsonb_typeof(item -> 'alt_text') <> 'string' or char_length(item ->> 'alt_text') > 1000) then
      return format('media item %s: alt_text must be text of at most 1,000 characters', n);
    end if;
    if item ? 'category' and coalesce(item ->> 'category', '') not in ('tweet_image', 'tweet_gif', 'tweet_video', 'amplify_video') then
      return format('media item %s: category "%s" is not one of tweet_image, tweet_gif, tweet_video, amplify_video', n, item ->> 'category');
    end if;
    if item ? 'subtitles' and jsonb_typeof(item -> 'subtitles') <> 'array' then
      return format('media item %s: subtitles must be an array of {"path", "language", "name"}', n);
    end if;
    if item ? 'shared' and jsonb_typeof(item -> 'shared') <> 'boolean' then
      return format('media item %s: shared must be true or false', n);
    end if;
    if item ? 'additional_owners' and jsonb_typeof(item -> 'additional_owners') <> 'array' then
      return format('media item %s: additional_owners must be an array of user ids', n);
    end if;
  end loop;
  return null;
end $$;

-- What is wrong with the options column, or null. Nested fields are checked within seconds by the scheduler.
create function crier.options_fault(options jsonb, has_media boolean, is_reply boolean) returns text
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
                 'share_with_followers', 'nullcast', 'card_uri', 'direct_message_deep_link', 'edit_options', 'made_with_ai', 'paid_partnership') then
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

-- Refuses a row with a message for people.
create function crier.refuse(message text, hint text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'check_violation', message = message, hint = hint, schema = 'crier', table = 'jobs';
end $$;

-- Makes a row that a person wrote fit for the queue, or refuses it.
create function crier.prepare(j crier.jobs_open) returns crier.jobs_open
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare fault text; acct record; pred record;
begin
  select id, handle into acct from crier.accounts where lower(handle) = lower(ltrim(btrim(j.account), '@'));
  if not found then
    perform crier.refuse(format('the account "%s" is not known to crier', coalesce(j.account, '')),
      'crier accounts list shows the known ones; add it with crier auth login or crier auth import');
  end if;
  j.account := acct.handle;
  j.account_id := acct.id;
  j.media := coalesce(j.media, '[]'::jsonb);
  j.options := coalesce(j.options, '{}'::jsonb);
  j.text := coalesce(j.text, '');
  if char_length(j.text) > 25000 then
    perform crier.refuse(format('the text has %s characters, X takes at most 25,000 even with Premium', char_length(j.text)), 'shorten the text');
  end if;
  fault := crier.media_fault(j.media);
  if fault is not null then
    perform crier.refuse(fault, 'see the comment of crier.jobs.media');
  end if;
  fault := crier.options_fault(j.options, jsonb_array_length(j.media) > 0, j.after is not null);
  if fault is not null then
    perform crier.refuse(fault, 'see the comment of crier.jobs.options');
  end if;
  if btrim(j.text) = '' and jsonb_array_length(j.media) = 0 then
    perform crier.refuse('the post is empty: it has neither text nor media', 'give it a text');
  end if;
  j.run_at := coalesce(j.run_at, crier.now());
  if not isfinite(j.run_at) then
    perform crier.refuse('run_at must be an instant, not infinity', 'give a date, or leave run_at out for now');
  end if;
  if j.max_lateness is not null and j.max_lateness < interval '0' then
    perform crier.refuse('max_lateness must not be negative', 'give an interval such as ''30 minutes''');
  end if;
  if j.dedupe_key = '' or char_length(j.dedupe_key) > 200 then
    perform crier.refuse('dedupe_key must have 1 to 200 characters', 'leave it out if the job needs none');
  end if;
  if j.campaign = '' or char_length(j.campaign) > 200 then
    perform crier.refuse('campaign must have 1 to 200 characters', 'leave it out if the job has none');
  end if;
  j.held := j.held & ~3::smallint;
  if jsonb_array_length(j.media) > 0 then
    j.held := j.held | 1::smallint;
  end if;
  if j.after is not null then
    select state, id into pred from crier.jobs where id = j.after;
    if not found or j.after = j.id then
      perform crier.refuse(format('after = %s: there is no such job', j.after), 'insert the first post of a thread before its replies');
    elsif pred.state in ('failed', 'cancelled', 'missed') then
      perform crier.refuse(format('after = %s: that job is %s, nothing can reply to it', j.after, pred.state),
        format('see select error from crier.jobs where id = %s; select crier.retry(%s) schedules it again', j.after, j.after));
    elsif pred.state <> 'published' then
      j.held := j.held | 2::smallint;
    end if;
  end if;
  return j;
end $$;

create function crier.jobs_before_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare owner bigint; ready_at timestamptz;
begin
  if new.post_id is not null then
    perform crier.refuse(format('job %s is on X as post %s and cannot be scheduled again', new.id, new.post_id), 'insert a new job');
  end if;
  new := crier.prepare(new);
  new.miss_at := new.run_at + new.max_lateness;
  if new.dedupe_key is not null then
    insert into crier.job_keys (account_id, dedupe_key, job_id) values (new.account_id, new.dedupe_key, new.id)
      on conflict do nothing;
    if not found then
      select job_id into owner from crier.job_keys where account_id = new.account_id and dedupe_key = new.dedupe_key;
      if owner is distinct from new.id then
        return null;
      end if;
    end if;
  end if;
  if new.state = 'scheduled' and new.campaign is not null
     and exists (select 1 from crier.campaigns c where c.name = new.campaign and c.paused) then
    new.state := 'paused';
  end if;
  -- A job that comes back from an end is no INSERT of a person: the statement trigger will not see it.
  if new.revision > 0 then
    ready_at := coalesce(new.next_attempt_at, new.run_at);
    insert into crier.lane_signals (account_id, due_at) values (new.account_id, ready_at);
    insert into crier.job_checks (job_id) values (new.id);
  end if;
  return new;
end $$;
create trigger jobs_before_insert before insert on crier.jobs_open
  for each row execute function crier.jobs_before_insert();

create function crier.jobs_after_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare first_due timestamptz;
begin
  if exists (select 1 from new_rows where state not in ('scheduled', 'paused')) then
    perform crier.refuse('a new job is scheduled: leave out state and the other columns that crier writes', 'insert account, text, run_at');
  end if;
  insert into crier.lane_signals (account_id, due_at)
    select account_id, min(run_at) from new_rows where state = 'scheduled' and held = 0 group by account_id;
  insert into crier.job_checks (job_id) select id from new_rows;
  select min(run_at) into first_due from new_rows;
  -- A hint for what is due at once; the scheduler looks by itself for the rest.
  if first_due <= crier.now() + interval '2 seconds' and current_setting('crier.notify', true) is distinct from 'off' then
    perform pg_notify('crier_scheduler', '');
  end if;
  return null;
end $$;
create trigger jobs_after_insert after insert on crier.jobs
  referencing new table as new_rows for each statement execute function crier.jobs_after_insert();

create function crier.jobs_before_update() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare edited boolean;
begin
  new.revision := old.revision + 1;
  new.updated_at := crier.now();
  new.miss_at := new.run_at + new.max_lateness;
  if new.id <> old.id then
    perform crier.refuse('the id of a job cannot be changed', 'insert a new job');
  end if;
  if old.state <> new.state and not (
       (old.state = 'scheduled') or
       (old.state = 'paused' and new.state in ('scheduled', 'failed', 'cancelled', 'missed')) or
       (old.state = 'unknown' and new.state in ('scheduled', 'published', 'failed'))) then
    perform crier.refuse(format('job %s is %s and cannot become %s', old.id, old.state, new.state),
      case when old.state = 'unknown' then format('it may be on X: look, then crier jobs settle %s --published POST_ID or --retry', old.id)
           else 'see crier.jobs.state' end);
  end if;
  edited := (new.account, new.text, new.media, new.options, new.after, new.dedupe_key)
            is distinct from (old.account, old.text, old.media, old.options, old.after, old.dedupe_key);
  if edited or (old.state <> new.state and new.state in ('cancelled', 'missed', 'paused')) then
    -- The row is locked by now and each statement here sees what is committed: either this sees `sending`, or the
    -- worker's step to `sending` sees the new revision.
    if exists (select 1 from crier.leases where kind = 'publish' and subject = old.id and phase = 'sending') then
      perform crier.refuse(format('job %s is being sent to X at this moment', old.id), 'wait a few seconds and look at its state');
    end if;
  end if;
  if edited then
    if old.state = 'unknown' then
      perform crier.refuse(format('job %s may already be on X and cannot be edited', old.id), 'wait until crier has looked it up, or crier jobs settle it');
    end if;
    if new.dedupe_key is distinct from old.dedupe_key then
      perform crier.refuse('dedupe_key cannot be changed', 'cancel the job and insert another');
    end if;
    new := crier.prepare(new);
    if new.media = old.media and new.account_id = old.account_id and old.held & 1 = 0 then
      new.held := new.held & ~1::smallint;
    end if;
    new.warning := null;
    insert into crier.job_checks (job_id) values (new.id);
  end if;
  if new.state in ('published', 'failed', 'cancelled', 'missed') then
    new.finished_at := coalesce(new.finished_at, crier.now());
    if exists (select 1 from crier.jobs_open w where w.after = old.id) then
      insert into crier.lane_signals (account_id, ended_job) values (old.account_id, old.id);
    end if;
  elsif new.state = 'scheduled' and (old.state, old.run_at, old.next_attempt_at, old.priority, old.account_id, old.held)
        is distinct from (new.state, new.run_at, new.next_attempt_at, new.priority, new.account_id, new.held) then
    insert into crier.lane_signals (account_id, due_at) values (new.account_id, coalesce(new.next_attempt_at, new.run_at));
  end if;
  return new;
end $$;
create trigger jobs_before_update before update on crier.jobs_open
  for each row execute function crier.jobs_before_update();

