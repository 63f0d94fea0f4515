#!/bin/bash
# Vets and tests the Go modules of this directory; arguments go to `go test`. The postgresql provider is tested
# against a real server: TEST_POSTGRES_URL, a superuser's URL of one; or else a scratch one is started, in a container
# of TEST_POSTGRES_IMAGE (the project's own image, which is built when none is named), or from the local PostgreSQL
# where there is no Docker.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
password=$RANDOM$RANDOM$RANDOM

start_container() {
  local image=${TEST_POSTGRES_IMAGE:-} address
  if [[ -z $image ]]; then image=$(docker build --quiet "$here/../images/postgres"); fi
  container=$(docker run --detach --env "POSTGRES_PASSWORD=$password" --publish 127.0.0.1::5432 "$image")
  trap 'docker rm --force --volumes "$container" > /dev/null' EXIT
  address=$(docker port "$container" 5432/tcp | head -n 1)
  TEST_POSTGRES_URL="postgres://postgres:$password@$address/postgres?sslmode=disable"
}

# PostgreSQL refuses to run as root; Debian's packages bring a user for it.
as_postgres() {
  if [[ $(id -u) == 0 ]]; then setpriv --reuid postgres --regid postgres --init-groups "$@"; else "$@"; fi
}

start_local() {
  local port=$((20000 + RANDOM % 20000))
  bin=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")
  directory=$(cd /tmp && as_postgres mktemp -d)
  trap '(cd /tmp && as_postgres "$bin/pg_ctl" --pgdata "$directory/data" --mode immediate stop > /dev/null); rm -rf "$directory"' EXIT
  (
    cd /tmp # A directory that the user postgres may be in.
    echo "$password" | as_postgres tee "$directory/password"
    as_postgres "$bin/initdb" --pgdata "$directory/data" --username postgres --pwfile "$directory/password" --auth scram-sha-256
    as_postgres "$bin/pg_ctl" --pgdata "$directory/data" --wait --log "$directory/log" \
      --options "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start
  ) > /dev/null
  TEST_POSTGRES_URL="postgres://postgres:$password@127.0.0.1:$port/postgres?sslmode=disable"
}

if [[ -z ${TEST_POSTGRES_URL:-} ]]; then
  if docker version > /dev/null 2>&1; then
    start_container
  elif ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1; then
    start_local
  else
    echo "test.sh: the tests need a PostgreSQL: set TEST_POSTGRES_URL, start Docker or install the package postgresql" >&2
    exit 1
  fi
fi
export TEST_POSTGRES_URL

# The same flags as build.sh, so that what a build compiled is not compiled again.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
for module in "$here" "$here/docker"; do
  (cd "$module" && go vet ./... && go test "$@" ./...)
done
