#!/bin/sh
# Installs a station on this box, or upgrades it; needs no network. As root, in the bundle's folder:
#
#     sh install.sh                 # everything below PREFIX, its default is /usr/local
#     sh install.sh --uninstall     # takes it away again; configuration and state stay
#
# PREFIX=/usr/local   where it goes         DESTDIR=/tmp/x   put before every path, for packagers
# PYTHON=/usr/bin/python3   another Python of the version that the bundle was made for
set -eu
umask 022 # what is installed is read by the service's user, whatever root's own mask
trap 'exit 1' HUP INT TERM
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
here=$(cd "$(dirname "$0")" && pwd)

home=$PREFIX/lib/inspector
launcher=$PREFIX/bin/inspector
share=$PREFIX/share/inspector
# The service manager looks here, wherever PREFIX is.
manager=/usr/local/lib
[ "$PREFIX" != /usr ] || manager=/usr/lib
units=$manager/systemd/system
users=$manager/sysusers.d/inspector.conf
folders=$manager/tmpfiles.d/inspector.conf
config=/etc/inspector
# Engines of one's own: no upgrade touches them, and the service reads them.
own_engines=/var/lib/inspector/engines
services="inspector@.service inspector-line@.service inspector-fleet@.service"

fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

# Whether the system that runs here is the one that is changed.
live() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

find_python() {
    read -r version machine <"$here/made-for"
    [ "$(uname -m)" = "$machine" ] ||
        fail "this bundle is for $machine, this box is $(uname -m): make one on such a machine"
    for candidate in ${PYTHON:-"/usr/bin/python$version" "python$version" python3}; do
        found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
            continue
        [ "$found" != "$version" ] || { python=$candidate && break; }
    done
    [ -n "${python:-}" ] ||
        fail "this bundle is for Python $version, and there is none here: install python$version," \
            "or make the bundle with a Python that this box has; PYTHON=... names one elsewhere"
    case $("$python" -c 'import sys; print(sys.base_prefix)') in
    /root/* | /home/* | /run/user/*)
        [ -n "$DESTDIR" ] ||
            fail "$python lies in a home folder, which the service cannot see: install the" \
                "system's python$version, or name one elsewhere by PYTHON=..."
        ;;
    esac
}

# The environment is made beside the one that is there, and takes its place when it is whole.
make_home() {
    target=$DESTDIR$home
    new=$target.new
    # Where a swap was cut off that was not one step, the old one is still there.
    [ -e "$target" ] || [ ! -e "$target.old" ] || mv "$target.old" "$target"
    rm -rf "$new"
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$(dirname "$target")"
    # Debian's Python makes no environment with pip in it; the bundle brings pip along.
    "$python" -m venv --without-pip "$new" || fail "$python makes no virtual environment"
    pip=$(echo "$here"/wheels/pip-*.whl)/pip
    set -- "$new/bin/python" "$pip" install --no-index --find-links "$here/wheels" --no-compile \
        --no-cache-dir --disable-pip-version-check --root-user-action ignore --quiet
    "$@" --require-hashes -r "$here/requirements.txt" || fail "the wheels cannot be installed"
    "$@" --no-deps "$here"/wheels/inspector-*.whl || fail "the station's wheel cannot be installed"
    # What is not in the lock, such as TensorRT from NVIDIA.
    if [ -d "$here/extra" ]; then
        "$@" --no-deps "$here"/extra/*.whl || fail "a wheel in extra/ cannot be installed"
    fi
    engines=$("$new/bin/python" -P -c \
        'from inspector.engine.folders import shipped_engines_folder as f; print(f())')
    cp -R "$here"/engines/. "$engines"
    carry_engines
    # Scripts name the folder in which they were made; the launcher is the way in.
    find "$new/bin" ! -type d ! -name 'python*' -exec rm -f {} +
    sed -i "/^command = /d" "$new/pyvenv.cfg"
    "$new/bin/python" -m compileall -q -s "$new" -p "$home" "$new/lib" || true
    chmod -R u+rwX,go+rX,go-w "$new"
    check_stations
    # A file system writes names before contents: a power cut would leave the new one empty, and the
    # old one gone.
    sync
    take_place
    keep_old
    sync
}

# Engines that somebody put among the shipped ones: a station that names one would be down without.
carry_engines() {
    for engine in "$target"/lib/python*/site-packages/inspector/_engines/*/; do
        name=$(basename "$engine")
        [ -e "$engine/manifest.yaml" ] && [ ! -e "$engines/$name" ] || continue
        cp -R "$engine" "$engines/$name" || fail "the engine $engine cannot be carried over"
        echo "The engine $name is not of this bundle and was carried over; its place is" \
            "$own_engines, named by engine.folder in the station file."
    done
}

# The new version reads the files of all stations that it would take over, while the old one is
# there: a station file that it refuses (exit status 2) is not started again.
check_stations() {
    [ -z "$DESTDIR" ] && [ -e "$target" ] || return 0
    refused=
    for file in "$config"/*.yaml; do
        name=$(basename "$file" .yaml)
        [ -e "$file" ] && in_use "$name" || continue
        # From /, so that nothing that lies in this folder is taken for the station's.
        (cd / && exec "$new/bin/python" -P -m inspector.cli check --no-secrets "$file") \
            >/dev/null || refused="$refused $file"
    done
    [ -z "$refused" ] ||
        fail "the new version refuses, for the reasons above:$refused. Nothing was changed, and the" \
            "old version runs on. Mend them (docs/configuration.md of this bundle), or disable" \
            "their units, and install again"
}

# Whether a unit runs the file of that name; without a service manager nobody can tell.
in_use() {
    live || { [ "$1" != example ] && return 0 || return 1; }
    for state in is-enabled is-active; do
        systemctl "$state" --quiet "inspector@$1" "inspector-line@$1" "inspector-fleet@$1" \
            2>/dev/null && return 0
    done
    return 1
}

# The old version stays, with its units, until the stations run on the new one.
keep_old() {
    trap - EXIT
    if [ -e "$new" ]; then # where they changed places
        rm -rf "$target.old"
        mv "$new" "$target.old"
    fi
    [ -e "$target.old" ] || return 0
    trap tell_way_back EXIT
    mkdir -p "$target.old/units"
    for unit in $services; do
        [ ! -e "$DESTDIR$units/$unit" ] || cp "$DESTDIR$units/$unit" "$target.old/units"
    done
    running=
    ! live || running=$(systemctl list-units --plain --no-legend --full \
        --state=active,activating,reloading 'inspector@*.service' 'inspector-line@*.service' \
        'inspector-fleet@*.service' | cut -d ' ' -f 1 | tr '\n' ' ')
}

tell_way_back() {
    {
        echo "install: this upgrade did not end well. The old version is still there; back to it:"
        echo "    rm -rf $target && mv $target.old $target"
        echo "    cp $target/units/* $DESTDIR$units"
        ! live || echo "    systemctl daemon-reload${running:+ && systemctl restart $running}"
    } >&2
}

# What runs goes on with the new version: half of each would be neither.
restart_stations() {
    systemctl try-restart 'inspector@*.service' 'inspector-line@*.service' \
        'inspector-fleet@*.service' ||
        fail "not every station started with the new version: systemctl --failed says which," \
            "journalctl -u UNIT why"
}

# The new environment and the old one change places in one step (renameat2, RENAME_EXCHANGE), so
# that at no moment there is none. Debian 12's mv cannot do that.
exchange='import ctypes, os, sys
old, new = map(os.fsencode, sys.argv[1:])
sys.exit(ctypes.CDLL(None).renameat2(-100, old, -100, new, 2) != 0)'

take_place() {
    if [ ! -e "$target" ]; then
        mv "$new" "$target"
    elif ! "$python" -c "$exchange" "$new" "$target" 2>/dev/null; then
        rm -rf "$target.old" # a file system without such a step
        mv "$target" "$target.old"
        mv "$new" "$target" || {
            mv "$target.old" "$target"
            fail "the new version cannot take its place; the old one is still there"
        }
    fi
}

# put MODE SOURCE PATH: the paths of the default PREFIX become those of this one.
put() {
    mkdir -p "$(dirname "$DESTDIR$3")"
    # Byte by byte, since some are pictures.
    LC_ALL=C sed "s,/usr/local/\(bin\|share\)/,$PREFIX/\1/,g" "$2" >"$DESTDIR$3.new"
    chmod "$1" "$DESTDIR$3.new"
    mv "$DESTDIR$3.new" "$DESTDIR$3"
}

install() {
    (cd "$here" && sha256sum --check --quiet SHA256SUMS) ||
        fail "the bundle is damaged, as the lines above say: copy it again"
    find_python
    make_home
    launch=$(mktemp)
    printf '#!/bin/sh\nexec "%s/bin/python" -P -m inspector.cli "$@"\n' "$home" >"$launch"
    put 755 "$launch" "$launcher"
    rm -f "$launch"
    for unit in $services; do
        put 644 "$here/systemd/$unit" "$units/$unit"
    done
    put 644 "$here/systemd/inspector.sysusers" "$users"
    put 644 "$here/systemd/inspector.tmpfiles" "$folders"
    # It takes away what it put there, wherever that was.
    script=$(mktemp)
    sed "s,^PREFIX=.*,PREFIX=\${PREFIX:-$PREFIX}," "$here/install.sh" >"$script"
    put 755 "$script" "$share/install.sh"
    rm -f "$script"
    put 644 "$here/example.yaml" "$share/example.yaml"
    put 644 "$here/example-line.yaml" "$share/example-line.yaml"
    put 644 "$here/example-fleet.yaml" "$share/example-fleet.yaml"
    rm -rf "$DESTDIR$PREFIX/share/doc/inspector" # pages of an older version
    (cd "$here/docs" && find . -type f) | while read -r page; do
        put 644 "$here/docs/$page" "$PREFIX/share/doc/inspector/${page#./}"
    done
    put 644 "$here/LICENSE" "$PREFIX/share/doc/inspector/LICENSE"
    mkdir -p "$DESTDIR$config/secrets" "$DESTDIR$own_engines"
    chmod 700 "$DESTDIR$config/secrets"
    [ -e "$DESTDIR$config/example.yaml" ] || put 644 "$here/example.yaml" "$config/example.yaml"
    sync
    if live; then
        systemd-sysusers "$users"
        systemd-tmpfiles --create "$folders"
        systemctl daemon-reload
        restart_stations
    fi
    trap - EXIT
    rm -rf "$DESTDIR$home.old"
    [ -n "$DESTDIR" ] || "$launcher" --version
    echo "Installed. Next: a station file $config/NAME.yaml, secrets in $config/secrets, then"
    echo "    CREDENTIALS_DIRECTORY=$config/secrets inspector check $config/NAME.yaml"
    echo "    systemctl enable --now inspector@NAME"
}

uninstall() {
    if live; then
        systemctl stop 'inspector@*.service' 'inspector-line@*.service' 'inspector-fleet@*.service'
        rm -f /etc/systemd/system/*.wants/inspector@*.service \
            /etc/systemd/system/*.wants/inspector-line@*.service \
            /etc/systemd/system/*.wants/inspector-fleet@*.service
    fi
    rm -rf "$DESTDIR$home" "$DESTDIR$home.new" "$DESTDIR$home.old" "$DESTDIR$share" \
        "$DESTDIR$PREFIX/share/doc/inspector"
    rm -f "$DESTDIR$launcher" "$DESTDIR$users" "$DESTDIR$folders"
    for unit in $services; do
        rm -f "$DESTDIR$units/$unit"
    done
    if live; then
        systemctl daemon-reload
    fi
    echo "Uninstalled. What the stations were told and what they saw is still there: $config and"
    echo "/var/lib/inspector, and the user inspector that owns it."
}

case ${1:-} in
'') install ;;
--uninstall) uninstall ;;
*) fail "unknown argument $1; there is none, or --uninstall" ;;
esac
