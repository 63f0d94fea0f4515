#!/bin/bash
# Prepares the data directory at the first start, then becomes PostgreSQL.
#
# The first start works on a directory beside the final one and renames it when it is complete, and it needs no server
# for that (PostgreSQL's single-user mode): a start that is killed in the middle leaves nothing half-made behind, and no
# client can connect to a server that isn't the final one.
set -euo pipefail
umask 077

fail() {
  printf 'togather-postgres: %s\n' "$@" >&2
  exit 1
}

volume=/var/lib/postgresql/data
socket_directory=/var/run/postgresql

# Anything but PostgreSQL (a shell, pg_dump) runs as asked.
if [[ ${1:-postgres} == -* ]]; then set -- postgres "$@"; fi
if [[ ${1:-postgres} != postgres ]]; then exec "$@"; fi
if [[ $# == 0 ]]; then set -- postgres; fi

if [[ $(id -u) == 0 ]]; then
  mkdir -p "$PGDATA" "$socket_directory"
  # A fresh volume belongs to root. Only what has another owner is touched, so that a large database starts at once.
  find "$volume" "$PGDATA" "$socket_directory" \! -user postgres -exec chown --no-dereference postgres:postgres {} +
  chmod 0700 "$volume" "$PGDATA"
  chmod 0775 "$socket_directory"
  # PostgreSQL refuses to run as root. setpriv leaves no parent process: PostgreSQL is PID 1 and gets Docker's signal.
  exec setpriv --reuid postgres --regid postgres --init-groups env HOME=/var/lib/postgresql "$0" "$@"
fi

initialize() {
  local user=${POSTGRES_USER:-postgres}
  local database=${POSTGRES_DB:-$user}
  local password=${POSTGRES_PASSWORD:-}
  local partial=$PGDATA.partial
  local other

  # An upgrade to another major version, or a volume of the official image: starting empty beside it would look like
  # a loss of all data.
  for other in "$volume"/PG_VERSION "$volume"/*/PG_VERSION; do
    if [[ -e $other && $other != "$partial"/PG_VERSION ]]; then
      fail "the volume already holds a database of PostgreSQL $(< "$other") in ${other%/PG_VERSION}, but PGDATA is $PGDATA." \
        "If it is of version 17, start with PGDATA=${other%/PG_VERSION}. If not, dump it with its own version and restore it here."
    fi
  done

  if [[ -n ${POSTGRES_PASSWORD_FILE:-} ]]; then
    if [[ -n $password ]]; then fail "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: set one."; fi
    password=$(< "$POSTGRES_PASSWORD_FILE")
  fi
  if [[ -z $password ]]; then
    fail "the first start needs a password for the superuser \"$user\": set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE."
  fi
  if [[ $user == pg_* ]]; then fail "POSTGRES_USER must not begin with pg_: PostgreSQL keeps such names for itself."; fi
  if [[ $user$database == *$'\n'* ]]; then fail "POSTGRES_USER and POSTGRES_DB must be on one line."; fi

  echo "togather-postgres: first start, preparing $PGDATA"
  # PID 1 ignores signals that it has no handler for.
  trap 'exit 130' INT TERM
  rm -rf "$partial"
  # The password goes through a pipe: it is in no argument list and in no file. printf is part of the shell.
  initdb --pgdata="$partial" --username="$user" --pwfile=<(printf '%s\n' "$password") \
    --auth-local=peer --auth-host=scram-sha-256 --data-checksums \
    --encoding=UTF8 --locale=C.UTF-8 --locale-provider=builtin > /dev/null

  cat > "$partial/pg_hba.conf" <<'HBA'
# TYPE  DATABASE  USER  ADDRESS  METHOD
# Inside the container, its root and postgres may be any role: `docker exec CONTAINER psql -U ROLE DATABASE`.
local   all       all            peer map=container
# Everybody else, the container's own loopback included, needs a password.
host    all       all   all      scram-sha-256
HBA
  cat > "$partial/pg_ident.conf" <<'IDENT'
# MAP      SYSTEM-USER  ROLE
container  root         all
container  postgres     all
IDENT
  # Written to postgresql.conf, so that arguments of the container (`postgres -c name=value`) and ALTER SYSTEM win.
  cat >> "$partial/postgresql.conf" <<'CONF'

# Set by the image
listen_addresses = '*'
password_encryption = 'scram-sha-256'
log_line_prefix = '%m [%p] %q%u@%d '
CONF

  # A failed statement is logged with its text, and a superuser's may be CREATE ROLE ... PASSWORD '...'.
  {
    printf 'ALTER ROLE "%s" SET log_min_error_statement = panic\n' "${user//\"/\"\"}"
    if [[ $database != postgres ]]; then printf 'CREATE DATABASE "%s"\n' "${database//\"/\"\"}"; fi
  } | postgres --single -D "$partial" -c exit_on_error=on postgres > /dev/null

  sync -f "$partial"
  rmdir "$PGDATA" 2> /dev/null || true
  mv -T "$partial" "$PGDATA"
  sync -f "$volume"
  echo "togather-postgres: database \"$database\" is ready, its superuser is \"$user\""
}

if [[ ! -e $PGDATA/PG_VERSION ]]; then initialize; fi
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
exec "$@"
