#!/bin/sh
# Makes the two roles and the database, once, in an empty Postgres. Passwords are read by psql and stand in no command line.
set -eu
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv owner_password LATCHKEY_OWNER_PASSWORD
\getenv service_password LATCHKEY_SERVICE_PASSWORD
CREATE ROLE latchkey_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE latchkey LOGIN PASSWORD :'service_password';
CREATE DATABASE latchkey OWNER latchkey_owner;
SQL
