-- Who publishes: developer apps, accounts, sealed credentials, campaigns.

create table crier.apps (
  id bigint generated always as identity primary key,
  client_id text not null unique,
  kind text not null default 'confidential' check (kind in ('confidential', 'public', 'oauth1')),
  sealed_secret bytea,
  key_id text,
  status text not null default 'active' check (status in ('active', 'paused')),
  reason jsonb,
  blocked_until timestamptz not null default '-infinity',
  created_at timestamptz not null default crier.now(),
  check ((sealed_secret is null) = (key_id is null))
);
comment on table crier.apps is 'Developer apps of X: an app that is paused (no credits, not enrolled, wrong secret) holds back all its accounts.';
comment on column crier.apps.sealed_secret is 'Client secret, sealed with the key named by key_id and bound to this client_id.';
comment on column crier.apps.blocked_until is 'Until when a limit that X counts per app is used up.';

create table crier.accounts (
  id bigint generated always as identity primary key,
  x_user_id text not null unique check (x_user_id ~ '^[0-9]{1,19}$'),
  handle text not null check (handle ~ '^[A-Za-z0-9_]{1,50}$'),
  app_id bigint references crier.apps,
  status text not null default 'active' check (status in ('active', 'needs_login', 'paused', 'suspended')),
  reason jsonb,
  scopes text[] not null default '{}',
  text_limit integer not null default 280 check (text_limit between 1 and 25000),
  created_at timestamptz not null default crier.now(),
  updated_at timestamptz not null default crier.now()
);
create unique index accounts_handle on crier.accounts (lower(handle));
comment on table crier.accounts is 'Accounts that crier may publish for; made by `crier auth login` and `crier auth import`.';
comment on column crier.accounts.status is 'active: publishes. needs_login: X ended the grant, log in again. paused: by a person. suspended: by X.';
comment on column crier.accounts.text_limit is 'Weighted characters that X allows this account: 280, or 25,000 with Premium.';

create table crier.credentials (
  account_id bigint not null references crier.accounts on delete cascade,
  kind text not null check (kind in ('oauth2', 'oauth1')),
  sealed bytea not null,
  key_id text not null,
  version bigint not null default 1,
  access_expires_at timestamptz,
  rotated_at timestamptz not null default crier.now(),
  primary key (account_id, kind)
) with (fillfactor = 50);
comment on table crier.credentials is 'Tokens, sealed (AEAD) and bound to their account and kind; version grows with each rotation.';

create table crier.campaigns (
  name text primary key check (name <> '' and char_length(name) <= 200),
  paused boolean not null default false,
  updated_at timestamptz not null default crier.now()
);
comment on table crier.campaigns is 'Campaigns that were ever paused; a campaign without a row is not paused.';
