-- What schedulers and workers share: lanes, leases, the ledger of attempts, uploads, limits, leadership.

create table crier.lanes (
  account_id bigint primary key references crier.accounts on delete cascade,
  next_at timestamptz,
  not_before timestamptz not null default '-infinity',
  in_flight boolean not null default false
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index lanes_next on crier.lanes (next_at) where next_at is not null;
comment on table crier.lanes is 'One row an account: when it may next be served. Null: nothing waits, or a job is in flight.';
comment on column crier.lanes.not_before is 'Closed until then by a limit; infinity: closed until a person acts.';

create sequence crier.lease_token;
create table crier.workers (
  id uuid primary key,
  role text not null check (role in ('scheduler', 'worker')),
  host text not null,
  version text not null,
  started_at timestamptz not null default crier.now(),
  seen_at timestamptz not null default crier.now()
) with (fillfactor = 50);
comment on table crier.workers is 'Processes that beat lately; a fresh id at each start.';

-- expires_at stays unindexed: renewals are then HOT updates, and the table holds only what is in flight.
create table crier.leases (
  kind text not null check (kind in ('publish', 'stage', 'reconcile', 'refresh')),
  subject bigint not null,
  account_id bigint not null,
  token bigint not null default nextval('crier.lease_token'),
  worker uuid not null,
  phase text not null default 'claimed' check (phase in ('claimed', 'sending')),
  attempt_id bigint,
  claimed_at timestamptz not null default crier.now(),
  expires_at timestamptz not null,
  primary key (kind, subject),
  check (phase = 'claimed' or (kind = 'publish' and attempt_id is not null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create unique index leases_one_publisher on crier.leases (account_id) where kind = 'publish';
comment on table crier.leases is 'Who does what now. subject: job (publish, reconcile), upload (stage), account (refresh). Every write under a lease repeats its token.';
comment on column crier.leases.phase is 'sending: the create call may have left; a worker that dies then leaves the job unknown.';

create table crier.attempts (
  id bigint generated always as identity primary key,
  job_id bigint not null,
  account_id bigint not null,
  number smallint not null,
  token bigint not null,
  worker uuid not null,
  step text not null check (step in ('token', 'media', 'publish', 'reconcile')),
  started_at timestamptz not null default crier.now(),
  sent_at timestamptz,
  finished_at timestamptz,
  outcome text check (outcome in ('published', 'snoozed', 'retry', 'failed', 'unknown')),
  code text,
  http_status smallint,
  answer jsonb,
  media_ids text[] not null default '{}',
  check ((outcome is null) = (finished_at is null))
) with (fillfactor = 80);
create index attempts_job on crier.attempts (job_id, id);
comment on table crier.attempts is 'Ledger: the intent is committed before the create call leaves, the outcome after. An open row of a dead worker means: look on X first.';

create table crier.media_uploads (
  id bigint generated always as identity primary key,
  job_id bigint not null,
  position smallint not null check (position between 0 and 3),
  account_id bigint not null,
  item jsonb not null,
  state text not null default 'waiting' check (state in ('waiting', 'uploading', 'processing', 'ready', 'failed')),
  next_at timestamptz,
  media_id text,
  media_type text,
  category text,
  total_bytes bigint,
  file_stamp text,
  segment_bytes integer,
  segments_done integer not null default 0,
  expires_at timestamptz,
  attempts smallint not null default 0,
  crashes smallint not null default 0,
  error jsonb,
  updated_at timestamptz not null default crier.now(),
  unique (job_id, position)
) with (fillfactor = 70);
create index media_uploads_next on crier.media_uploads (next_at) where next_at is not null;
comment on table crier.media_uploads is 'Media of jobs on their way to X: session, segments acknowledged (all below segments_done), state, expiry.';
comment on column crier.media_uploads.file_stamp is 'Size and modification time at the first segment: a file that changed is uploaded anew.';

create table crier.reconciles (
  job_id bigint primary key,
  account_id bigint not null,
  attempt_id bigint not null,
  since timestamptz not null,
  next_at timestamptz,
  looks smallint not null default 0,
  duplicate_seen boolean not null default false
);
create index reconciles_next on crier.reconciles (next_at) where next_at is not null;
comment on table crier.reconciles is 'Unknown jobs to be looked up among the account''s own posts. next_at null: in hand, or left to a person.';

create table crier.limit_windows (
  class text not null check (class in ('account', 'app')),
  owner_id bigint not null,
  endpoint text not null,
  length text not null check (length in ('15min', '24h')),
  call_limit bigint,
  remaining bigint,
  resets_at timestamptz not null,
  updated_at timestamptz not null default crier.now(),
  primary key (class, owner_id, endpoint, length)
) with (fillfactor = 50);
comment on table crier.limit_windows is 'X''s rate limit windows as its headers last stated them, for all workers.';

create table crier.leader (
  one_row boolean primary key default true check (one_row),
  holder uuid not null,
  expires_at timestamptz not null
) with (fillfactor = 50);
comment on table crier.leader is 'The scheduler that leads until expires_at.';

create table crier.recurring (
  id bigint generated always as identity primary key,
  name text not null unique,
  account text not null,
  cron text not null,
  time_zone text not null default 'UTC',
  template jsonb not null check (jsonb_typeof(template) = 'object'),
  starts_at timestamptz,
  ends_at timestamptz,
  missed text not null default 'skip' check (missed in ('skip', 'once', 'all')),
  ahead interval not null default '1 day' check (ahead > interval '0' and ahead <= interval '90 days'),
  paused boolean not null default false,
  expanded_until timestamptz,
  next_at timestamptz default crier.now(),
  slots bigint not null default 0,
  error jsonb,
  created_at timestamptz not null default crier.now(),
  updated_at timestamptz not null default crier.now(),
  constraint ends_after_it_starts check (ends_at is null or starts_at is null or ends_at > starts_at)
);
create index recurring_next on crier.recurring (next_at) where next_at is not null;
comment on table crier.recurring is 'Posts that repeat: a cron expression in a time zone, and a template of a job. Rows of crier.jobs are made ahead of time.';
comment on column crier.recurring.template is 'Columns of crier.jobs: text, media, options, priority, campaign, max_lateness, max_attempts; text may hold {date}-like variables.';
comment on column crier.recurring.missed is 'Slots that passed while nothing ran: skip them, post once for all, or post all.';
comment on column crier.recurring.ahead is 'How long before its time a slot becomes a row of crier.jobs.';

create table crier.recurring_slots (
  recurring_id bigint not null references crier.recurring on delete cascade,
  slot timestamptz not null,
  job_id bigint,
  primary key (recurring_id, slot)
);
comment on table crier.recurring_slots is 'Slots that became jobs: the key makes a second leader harmless.';
