#!/bin/sh
# Gathers the pages that a box needs, with their pictures and examples: bundle_docs.sh FOLDER
# All but those of training and development. On the box they lie in one folder, so links to the
# checkout's configs/ become links into that folder, and links to what stays behind plain text.
set -eu
folder=$1

mkdir -p "$folder/configs"
for page in docs/*.md; do
    case $page in
    docs/architecture.md | docs/training*.md) continue ;;
    esac
    sed -e 's,](\.\./configs/,](configs/,g' \
        -e 's,\[\([^]]*\)\](\(architecture\|training[a-z-]*\)\.md[^)]*),\1,g' \
        "$page" >"$folder/$(basename "$page")"
done
cp -R docs/images docs/plc "$folder"
rm -f "$folder/images/overview.svg" # the README's
cp -R configs/prometheus configs/grafana "$folder/configs"
# Whoever copies an example on the box finds there the page that explains it.
for example in station line fleet demo; do
    sed 's,docs/\([a-z-]*\.md\),/usr/local/share/doc/inspector/\1,g' "configs/$example.yaml" \
        >"$folder/configs/$example.yaml"
done
