-- What kills or breaks whoever does it is found out within a bounded number of deaths, and alone; house is kept only by a
-- clock that has shown the same day before.

alter table crier.leases add column alone boolean not null default false;
comment on column crier.leases.alone is 'Two workers died over it: a worker takes one such at a time, so that it takes no other of them along.';

alter table crier.reconciles add column crashes smallint not null default 0;
comment on column crier.reconciles.crashes is 'Times a worker died or stalled in this search.';

-- What schedulers are at that a row may make them die of. The steps of a round are otherwise safe to repeat.
create table crier.in_hand (
  step text not null check (step in ('checks', 'recurring')),
  holder uuid not null,
  subjects bigint[] not null,
  since timestamptz not null default crier.now(),
  primary key (step, holder)
) with (fillfactor = 50);
comment on table crier.in_hand is 'Rows that a scheduler looks at now. Found by its successor, they are suspect.';

create table crier.suspects (
  step text not null check (step in ('checks', 'recurring')),
  subject bigint not null,
  crashes smallint not null default 1,
  primary key (step, subject)
);
comment on table crier.suspects is 'Jobs and recurring posts over which a scheduler died or broke down; looked at one by one, and put aside after a bounded number.';

create table crier.housekeeping (
  one_row boolean primary key default true check (one_row),
  seen_at timestamptz not null,
  steady_since timestamptz not null
) with (fillfactor = 50);
comment on table crier.housekeeping is 'When old rows were last looked for, by the database''s clock: a clock that has leapt since removes nothing for a day.';
