#!/bin/sh
# Builds Pulumi from the Go module proxy, for machines that reach package registries and nothing else.
#
#   build.sh DIRECTORY   fills DIRECTORY, laid out as a PULUMI_HOME (bin/, plugins/)
#   build.sh --key       prints a hash of all that goes into a build
#
# DOCKER_VERSION, COMMAND_VERSION and POSTGRESQL_VERSION say which versions the plugins report: those of
# the SDKs in package.json, which is where they're read from when the variables aren't set.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

# The version that package.json pins for @pulumi/NAME.
pinned() {
  sed -n "s|.*\"@pulumi/$1\": *\"\([0-9][^\"]*\)\".*|\1|p" "$here/../package.json" 2> /dev/null
}

DOCKER_VERSION=${DOCKER_VERSION:-$(pinned docker)}
COMMAND_VERSION=${COMMAND_VERSION:-$(pinned command)}
POSTGRESQL_VERSION=${POSTGRESQL_VERSION:-$(pinned postgresql)}

hash_of_stdin() {
  if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-64
}

# Only what ends up in the binaries: tests and the scripts around this one change far more often.
key() {
  cd "$here"
  {
    echo "$DOCKER_VERSION $COMMAND_VERSION $POSTGRESQL_VERSION ${GOOS:-$(uname -s)} ${GOARCH:-$(uname -m)}"
    find . -type f \( -name '*.go' -o -name 'go.mod' -o -name 'go.sum' -o -name 'build.sh' \) ! -name '*_test.go' ! -path './node_modules/*' |
      LC_ALL=C sort | while read -r file; do
        echo "$file"
        cat "$file"
      done
  } | hash_of_stdin
}

case ${1:-} in
--key)
  key
  exit
  ;;
'' | -*) fail "usage: build.sh DIRECTORY | --key" ;;
esac

for version in "$DOCKER_VERSION" "$COMMAND_VERSION" "$POSTGRESQL_VERSION"; do
  [ -n "$version" ] || fail "DOCKER_VERSION, COMMAND_VERSION and POSTGRESQL_VERSION must say which versions to build"
done
command -v go > /dev/null || fail "there is no Go: install 1.26 or newer, or build toolchain/Dockerfile"

mkdir -p "$1"
out=$(CDPATH='' cd -- "$1" && pwd)
stamp=$out/.built
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(key)" ]; then
  echo "up to date"
  exit
fi

# Built beside the result and moved into place when everything is there: a build that's killed leaves the
# directory as it was, and this one clears away what killed ones left.
for leftover in "$out"/.building.*; do
  if [ -d "$leftover" ] && ! kill -0 "${leftover##*.}" 2> /dev/null; then rm -rf "$leftover"; fi
done
work=$out/.building.$$
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$work/bin" "$work/plugins"

# CGO_ENABLED=0: binaries that run on any Linux, and no C compiler needed. No workspace, no flags of the
# user's: the result depends on the files that the key covers, and on Go.
export CGO_ENABLED=0 GOWORK=off GOFLAGS=

started=$(date +%s)

# build TITLE MODULE PACKAGE VARIABLE VERSION FILE: `-X VARIABLE=VERSION` makes the program know its version.
build() {
  printf '%s ... ' "$1"
  begun=$(date +%s)
  mkdir -p "$(dirname "$work/$6")"
  if ! (cd "$here/$2" && go build -trimpath -buildvcs=false -ldflags "-s -w -X $4=$5" -o "$work/$6" "$3") > "$work/log" 2>&1; then
    echo failed
    cat "$work/log" >&2
    exit 1
  fi
  echo "$(($(date +%s) - begun)) s"
}

# version_of MODULE PACKAGE: what go.mod says, without its v.
version_of() {
  (cd "$here/$1" && go list -m -f '{{.Version}}' "$2")
}

sdk_version=github.com/pulumi/pulumi/sdk/v3/go/common/version.Version
build "pulumi CLI" . github.com/pulumi/pulumi/pkg/v3/cmd/pulumi \
  $sdk_version "$(version_of . github.com/pulumi/pulumi/pkg/v3)" bin/pulumi
build "Node.js language host" nodejs-host github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs \
  $sdk_version "$(version_of nodejs-host github.com/pulumi/pulumi/sdk/v3)" bin/pulumi-language-nodejs
build "command provider" . ./cmd/pulumi-resource-command \
  main.version "$COMMAND_VERSION" "plugins/resource-command-v$COMMAND_VERSION/pulumi-resource-command"
build "postgresql provider" . ./cmd/pulumi-resource-postgresql \
  main.version "$POSTGRESQL_VERSION" "plugins/resource-postgresql-v$POSTGRESQL_VERSION/pulumi-resource-postgresql"
build "docker provider" docker ./cmd/pulumi-resource-docker \
  main.version "$DOCKER_VERSION" "plugins/resource-docker-v$DOCKER_VERSION/pulumi-resource-docker"

rm -f "$stamp" "$work/log"
(cd "$work" && find . -type f) | while read -r file; do
  mkdir -p "$(dirname "$out/$file")"
  mv -f "$work/$file" "$out/$file"
done
# Plugins of versions that the project no longer uses.
for plugin in "$out"/plugins/resource-docker-v* "$out"/plugins/resource-command-v* "$out"/plugins/resource-postgresql-v*; do
  [ -d "$work/plugins/${plugin##*/}" ] || rm -rf "$plugin"
done
key > "$stamp"
echo "everything ... $(($(date +%s) - started)) s"
