#!/bin/bash
# Makes the login `grafana`, or gives it the password of the secret: it has the rights of crier_reader and no others.
set -euo pipefail
PGPASSWORD=$(</run/secrets/postgres_password)
export PGPASSWORD
reader_password=$(</run/secrets/reader_password)
psql --no-psqlrc --set=ON_ERROR_STOP=1 --set=password="$reader_password" <<'SQL'
select 'create role grafana login' where not exists (select from pg_roles where rolname = 'grafana') \gexec
alter role grafana password :'password';
alter role grafana set default_transaction_read_only = on;
alter role grafana set statement_timeout = '10s';
grant crier_reader to grafana;
SQL
