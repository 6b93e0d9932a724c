-- The one table for people. Open jobs lie in one partition, ended ones in partitions by the time they ended, so that
-- ten million waiting and a hundred million finished do not meet.

create table crier.jobs (
  id bigint generated always as identity,
  account text not null,
  text text not null default '',
  media jsonb not null default '[]',
  options jsonb not null default '{}',
  run_at timestamptz not null default crier.now(),
  priority smallint not null default 0,
  campaign text,
  after bigint,
  dedupe_key text,
  max_lateness interval,
  max_attempts smallint not null default 8,
  state text not null default 'scheduled',
  attempts smallint not null default 0,
  crashes smallint not null default 0,
  next_attempt_at timestamptz,
  post_id text,
  post_url text generated always as ('https://x.com/' || account || '/status/' || post_id) stored,
  published_at timestamptz,
  error jsonb,
  warning jsonb,
  created_at timestamptz not null default crier.now(),
  updated_at timestamptz not null default crier.now(),
  finished_at timestamptz,
  account_id bigint not null,
  recurring_id bigint,
  miss_at timestamptz,
  held smallint not null default 0,
  revision integer not null default 0,
  constraint state_is_known check (state in ('scheduled', 'paused', 'unknown', 'published', 'failed', 'cancelled', 'missed')),
  constraint ended_jobs_have_an_end check ((state in ('scheduled', 'paused', 'unknown')) = (finished_at is null)),
  constraint published_jobs_have_a_post check ((state = 'published') = (post_id is not null)),
  constraint failed_jobs_say_why check (state <> 'failed' or error is not null),
  constraint attempts_are_counted check (attempts >= 0 and crashes >= 0),
  constraint max_attempts_between_1_and_100 check (max_attempts between 1 and 100)
) partition by list (state);

create table crier.jobs_open partition of crier.jobs for values in ('scheduled', 'paused', 'unknown')
  with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
create table crier.jobs_final partition of crier.jobs for values in ('published', 'failed', 'cancelled', 'missed')
  partition by range (finished_at);
create table crier.jobs_final_default partition of crier.jobs_final default;

create index jobs_id on crier.jobs (id);
create index jobs_campaign on crier.jobs (campaign, id) where campaign is not null;
-- The head of a lane is one probe of this index per priority in use.
create index jobs_open_lane on crier.jobs_open
  (account_id, priority desc, (coalesce(next_attempt_at, run_at)), id) where state = 'scheduled' and held = 0;
create index jobs_open_after on crier.jobs_open (after) where after is not null;
create index jobs_open_held on crier.jobs_open ((coalesce(next_attempt_at, run_at)), id) where state = 'scheduled' and held <> 0;
create index jobs_open_deadline on crier.jobs_open (miss_at) where miss_at is not null and state <> 'unknown';

comment on table crier.jobs is 'One row a post. Insert account, text, run_at; read state, post_url, error. Rows stay readable here at any age.';
comment on column crier.jobs.id is 'Number of the job.';
comment on column crier.jobs.account is 'Handle of a row in crier.accounts, with or without @, in any case.';
comment on column crier.jobs.text is 'Text of the post; X counts weighted characters (a link 23, most emoji and CJK 2).';
comment on column crier.jobs.media is 'Array of up to 4: {"path" or "url", "alt_text", "category", "subtitles", "shared", "additional_owners"}.';
comment on column crier.jobs.options is 'Every other field of POST /2/tweets by X''s own names, such as {"poll": …} or {"reply_settings": "following"}.';
comment on column crier.jobs.run_at is 'When to publish; leave it out for now.';
comment on column crier.jobs.priority is 'Higher goes first among the posts of one account that are due.';
comment on column crier.jobs.campaign is 'Name of a group that can be paused, resumed and cancelled as one.';
comment on column crier.jobs.after is 'Job that this one replies to once it is published (a thread).';
comment on column crier.jobs.dedupe_key is 'Unique per account, for ever: inserting it twice is one job.';
comment on column crier.jobs.max_lateness is 'Later than this after run_at the job is missed rather than posted stale.';
comment on column crier.jobs.max_attempts is 'Attempts that may fail before the job does; waiting for limits costs none.';
comment on column crier.jobs.state is 'scheduled, paused, unknown (perhaps on X: being looked up), published, failed, cancelled, missed.';
comment on column crier.jobs.attempts is 'Attempts that counted so far.';
comment on column crier.jobs.crashes is 'Times a worker died holding this job; bounded apart from attempts.';
comment on column crier.jobs.next_attempt_at is 'When it is tried again, if it was put off.';
comment on column crier.jobs.post_id is 'Id of the post on X.';
comment on column crier.jobs.post_url is 'Address of the post on X.';
comment on column crier.jobs.published_at is 'When X accepted it.';
comment on column crier.jobs.error is 'Why it did not go out, or not yet: {code, title, detail, step, hint}.';
comment on column crier.jobs.warning is 'What will go wrong unless it is mended before run_at: {code, title, detail, step, hint}.';
comment on column crier.jobs.created_at is 'When the row was inserted.';
comment on column crier.jobs.updated_at is 'When the row last changed.';
comment on column crier.jobs.finished_at is 'When the job ended; null while it is open.';
comment on column crier.jobs.account_id is 'Internal: the account''s number.';
comment on column crier.jobs.recurring_id is 'Internal: the recurring row that made this job.';
comment on column crier.jobs.miss_at is 'Internal: run_at + max_lateness.';
comment on column crier.jobs.held is 'Internal: 1 = media not staged yet, 2 = predecessor not published yet.';
comment on column crier.jobs.revision is 'Internal: grows with each change, so that a worker never sends what was edited meanwhile.';

-- "Never post this twice" outlives the history.
create table crier.job_keys (
  account_id bigint not null references crier.accounts on delete cascade,
  dedupe_key text not null,
  job_id bigint not null,
  primary key (account_id, dedupe_key)
);
comment on table crier.job_keys is 'Dedupe keys ever used, by account; kept when old jobs are dropped.';

-- At most one post a job, and no post claimed by two jobs, said by constraints.
create table crier.posts (
  post_id text primary key,
  job_id bigint not null unique,
  account_id bigint not null,
  published_at timestamptz not null
);
comment on table crier.posts is 'Posts that exist on X through crier; kept when old jobs are dropped.';

-- Inboxes that the triggers fill: append-only, so that a user''s long transaction blocks no worker, nor a worker an INSERT.
create table crier.lane_signals (
  id bigint generated always as identity,
  account_id bigint not null,
  due_at timestamptz,
  ended_job bigint
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
comment on table crier.lane_signals is 'Inbox of the scheduler: an account has work due at due_at, or ended_job ended and others wait for it.';

create table crier.job_checks (
  job_id bigint not null,
  next_at timestamptz not null default crier.now()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index job_checks_next on crier.job_checks (next_at);
comment on table crier.job_checks is 'Inbox of the scheduler: jobs to look at for what SQL cannot see.';
