#!/bin/sh
# PostgreSQL's programs for servers that are newer than this Debian's own, into /out/usr/lib/postgresql/MAJOR, with a libpq of their own:
# what the image uses for the servers before stays as it is. From Debian's next release, whose lists are signed by keys that are in this one;
# where that has them no more, from PostgreSQL's own repository, for which Debian's postgresql-common has address and key. Where neither can be had the
# image is made without, and the first step of a deployment refuses such a server.
set -eu
major=$1
mkdir -p "/out/usr/lib/postgresql" /tmp/debs
cd /tmp/debs
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends patchelf

# Another release's list has a date after which it counts as old; a mirror that is a copy of some day would end there. Packages are checked all the same.
from_next_debian() {
  site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: trixie' 'Component: main' | head -n 1)
  echo "deb [check-valid-until=no] $site forky main" > /etc/apt/sources.list.d/next.list
  apt-get update -q && apt-get download -q "postgresql-client-$major/forky" "libpq5/forky"
}
from_postgresql() {
  rm -f ./*.deb /etc/apt/sources.list.d/next.list
  apt-get update -q && apt-get install -y -q --no-install-recommends ca-certificates postgresql-common || return 1
  printf 'Acquire::Retries "0";\nAcquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n' > /etc/apt/apt.conf.d/99impatient
  sh /usr/share/postgresql-common/pgdg/*.sh -y trixie && apt-get download -q "postgresql-client-$major" "libpq5"
}

if ! from_next_debian && ! from_postgresql; then
  echo "no client of PostgreSQL $major: the image is made without"
  exit 0
fi
for package in ./*.deb; do dpkg-deb --extract "$package" unpacked; done
target=/out/usr/lib/postgresql/$major
mkdir -p "$target"
cp -a "unpacked/usr/lib/postgresql/$major/bin" "$target/bin"
mkdir "$target/lib"
cp -a unpacked/usr/lib/*/libpq.so.5* "$target/lib/"
for program in pg_dump pg_dumpall pg_restore psql; do patchelf --set-rpath '$ORIGIN/../lib' "$target/bin/$program"; done
find "$target/bin" -type f ! -name pg_dump ! -name pg_dumpall ! -name pg_restore ! -name psql -delete
# It is used in an image that has the libraries of this Debian's own client.
apt-get install -y -q --no-install-recommends postgresql-client-17
for program in pg_dump pg_dumpall pg_restore psql; do
  "$target/bin/$program" --version || { echo "the client of PostgreSQL $major does not run here: the image is made without"; rm -rf "$target"; exit 0; }
done
