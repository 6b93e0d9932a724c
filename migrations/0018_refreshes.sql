-- A refresh leaves its traces with the tokens: written before X is asked, so that a crash is known for what it is.

alter table crier.credentials
  add column refreshed_at timestamptz,
  add column refresh_doubt bigint,
  add column refresh_doubt_since timestamptz,
  add column refresh_by uuid,
  add column refresh_not_before timestamptz,
  add column refresh_faults integer not null default 0,
  add column refresh_fault jsonb;
comment on column crier.credentials.refreshed_at is 'When a refresh last brought tokens; there is a least time between two. Null: they came with a login or an import.';
comment on column crier.credentials.refresh_doubt is 'Version whose refresh token was sent to X without an answer being known here. Holds only while version is the same.';
comment on column crier.credentials.refresh_by is 'Process that may still hold that answer; null once it is known that nobody does.';
comment on column crier.credentials.refresh_not_before is 'X is not asked again before: the last refresh failed, and says why in refresh_fault.';

alter table crier.workers add column key_id text;
comment on column crier.workers.key_id is 'Name of the key that this process seals tokens with.';

-- Tells one database from another, for files that are kept outside of it.
create table crier.deployment (
  single boolean primary key default true check (single),
  id uuid not null default gen_random_uuid()
);
insert into crier.deployment default values;
comment on table crier.deployment is 'Name of this database, for files that are kept outside of it.';
