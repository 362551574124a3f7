#!/bin/sh
# Installs Debian packages that are missing: apt-get.sh PACKAGE...
# As root, or by sudo; where neither goes it says what to type.
set -eu
missing=
for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

fail() {
    printf 'set-up: %s\n' "$*" >&2
    printf 'set-up: type this, then make again:\n\n    sudo apt-get install%s\n\n' "$missing" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "packages are missing, and this machine has no apt-get"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif ! command -v sudo >/dev/null; then
    fail "packages are missing; installing them takes root, and there is no sudo"
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
elif [ -t 0 ]; then
    as_root=sudo
else
    fail "packages are missing; sudo asks for a password, and there is no terminal to type it"
fi

echo "Installing with apt-get:$missing"
# The lists may be absent or old on a fresh machine, so they are fetched first.
$as_root apt-get -o DPkg::Lock::Timeout=300 update ||
    echo "set-up: apt-get update failed; trying with the lists that are there" >&2
# shellcheck disable=SC2086  # the list is words on purpose
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
    install -y --no-install-recommends $missing ||
    fail "apt-get could not install what is missing"
