-- The schema, its clock, and the two roles for people.

create schema crier;
comment on schema crier is 'Posts to X, published on time: insert into crier.jobs, read crier.jobs, the rest is internal.';

-- Everything that is due, leased or late is decided by this clock, so that all processes agree and tests can move time.
create table crier.clock (
  one_row boolean primary key default true check (one_row),
  shift interval not null default '0'
);
comment on table crier.clock is 'One row: how far crier''s time is shifted from the server''s. Zero outside tests.';
insert into crier.clock default values;

create function crier.now() returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return now() + (select shift from crier.clock);
end $$;
comment on function crier.now() is 'The time that decides what is due and who holds a lease.';

-- Roles belong to the whole server: another database of it may have made them, at this very moment too.
do $$
declare role_name text;
begin
  foreach role_name in array array['crier_writer', 'crier_reader'] loop
    if not exists (select 1 from pg_roles where rolname = role_name) then
      begin
        execute format('create role %I nologin', role_name);
      exception
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          raise warning 'role % is missing and this user may not create it: create it as a superuser, then grant as docs/ARCHITECTURE.md says', role_name;
      end;
    end if;
  end loop;
end $$;
