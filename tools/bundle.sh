#!/bin/sh
# Gathers all that a box needs into one folder: bundle.sh PYTHON FOLDER
# Wheels for that Python and this kind of machine, engines, units, pages, and the script that installs
# them without a network. What was fetched once stays in build/wheels.
set -eu
python=$1
folder=$2
cache=build/wheels
new=$folder.new

wheels() { # for a lock: from the cache, else from the package index
    "$python" -m pip download --disable-pip-version-check --quiet --require-hashes \
        --only-binary :all: --find-links "$cache" --dest "$new/wheels" "$@"
}

rm -rf "$new"
mkdir -p "$new/wheels" "$cache"
for lock in requirements/run.txt requirements/install.txt; do
    wheels --no-index -r "$lock" 2>/dev/null || {
        echo "Fetching the wheels of $lock"
        wheels --progress-bar on -r "$lock"
    }
done
cp "$new"/wheels/*.whl "$cache"
"$python" -m build --wheel --no-isolation --outdir "$new/wheels" >/dev/null

"$python" -c 'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.machine())' \
    >"$new/made-for"
cp requirements/run.txt "$new/requirements.txt"
cp tools/install.sh LICENSE "$new"
cp -R systemd "$new/systemd"
sh tools/bundle_docs.sh "$new/docs"
cp "$new/docs/configs/station.yaml" "$new/example.yaml"
cp "$new/docs/configs/line.yaml" "$new/example-line.yaml"
cp "$new/docs/configs/fleet.yaml" "$new/example-fleet.yaml"
# But for files that are derived when they are read.
find engines -type f | while read -r file; do
    git check-ignore -q "$file" 2>/dev/null || {
        mkdir -p "$new/$(dirname "$file")"
        cp "$file" "$new/$file"
    }
done
(cd "$new" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
rm -rf "$folder"
mv "$new" "$folder"
