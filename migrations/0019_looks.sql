-- What the search for an unknown post has met so far, for people and for the next look.

alter table crier.reconciles
  add column looked_at timestamptz,
  add column unread smallint not null default 0,
  add column fault jsonb;
comment on column crier.reconciles.looks is 'Looks in which X listed the account''s posts.';
comment on column crier.reconciles.looked_at is 'When X last listed them.';
comment on column crier.reconciles.unread is 'Looks in a row that failed in the same way; they prove nothing and are not counted among looks.';
comment on column crier.reconciles.fault is 'Why the last look failed: {code, title, detail, step, hint}; null if it did not.';
