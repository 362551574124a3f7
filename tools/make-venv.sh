#!/bin/sh
# Makes the virtual environment: make-venv.sh PYTHON FOLDER
# Finds a Python of 3.11 or later, and installs Debian's venv package where it is missing.
set -eu
wanted=$1
folder=$2

fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in "$wanted" python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    version=$("$wanted" --version 2>/dev/null || echo "no $wanted")
    fail "Python 3.11 or later is needed, found $version. Debian 12, Ubuntu 24.04 and later have" \
        "it; elsewhere install one and type: make PYTHON=/path/to/python3.11"
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sh "$(dirname "$0")/apt-get.sh" "python$version-venv"
fi
echo "Making the environment in $folder with $("$python" --version)"
rm -rf "$folder"
"$python" -m venv "$folder"
