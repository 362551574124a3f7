# A box of one's own, without network, to be changed as root: bare_box.sh FOLDER COMMAND
# In namespaces that `unshare --net --mount` made: what COMMAND writes to the system goes into FOLDER.
set -eu
folder=$1
for place in etc usr/local var/lib; do
    mkdir -p "$folder/changed/$place" "$folder/aside/$place"
    mount -t overlay overlay -o \
        "lowerdir=/$place,upperdir=$folder/changed/$place,workdir=$folder/aside/$place" "/$place"
done
# systemd seems to run; whoever asks it for something is written down.
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system "$folder/bin"
printf '#!/bin/sh\necho "systemctl $*" >>"%s/asked"\n' "$folder" >"$folder/bin/systemctl"
chmod 755 "$folder/bin/systemctl"
PATH=$folder/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd /
eval "$2"
