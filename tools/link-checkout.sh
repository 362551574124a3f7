#!/bin/sh
# Makes the environment run this checkout: link-checkout.sh VENV
# A path file and a script do; they need no build tool and no network, and an edit counts at once.
set -eu
venv=$(cd "$1" && pwd)
checkout=$(pwd)
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$checkout" > "$packages/inspector.pth"
cat > "$venv/bin/inspector" <<SCRIPT
#!/bin/sh
exec "$venv/bin/python" -P -m inspector.cli "\$@"
SCRIPT
chmod +x "$venv/bin/inspector"
