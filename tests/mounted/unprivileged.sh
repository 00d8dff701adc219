#!/bin/bash
# A mount of a user who is not root: it ends in order, and while it ends no other file of the process takes the number of the descriptor that
# answers to the kernel are written to.
# timeout: 120
# sanitized: yes
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
[ -u /usr/bin/fusermount3 ] || skip_all "host: no fusermount3 with set-user-id"
# Not every /dev/fuse is open to all users: then one of our own is, in a mount namespace of our own.
if [ -z "${OWN_FUSE:-}" ]; then
	rm -rf "$W"
	OWN_FUSE=1 exec unshare -m "$0"
fi
mknod -m 666 "$W/fuse" c 10 229 2>/dev/null && mount --bind "$W/fuse" /dev/fuse
setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ": < /dev/fuse" 2>/dev/null || skip_all "host: no device nodes for users"

user() { setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR HOME="$W/home" PATH="$W/bin:$PATH" "$@"; }
user_mount() { user "$CLONEFS" mount "$STORE" "$W/m" -o "node=u,cache_dir=$W/home/cache,cache_size=1G,log_file=$W/home/log"; }
user_pid() { user "$CLONEFS" stat --get pid "$W/m"; }
has_fuse() { find "/proc/$1/fd" -lname /dev/fuse | grep -q .; }
type_of() { findmnt -n -o FSTYPE "$W/m"; }

mkdir "$W/bin" "$W/m" "$W/home"
chown 65534:65534 "$W/m" "$W/home"
# The helper takes its time, so that one can look.
printf '#!/bin/sh\n[ "$1" != -u ] || { : > "%s/home/asked"; sleep 1; }\nexec /usr/bin/fusermount3 "$@"\n' "$W" > "$W/bin/fusermount3"
chmod 755 "$W/bin/fusermount3"
check "format" clonefs format "$STORE"
check "root makes it the user's" vol_mount a "$W/r"
chown 65534:65534 "$W/r"
check "and leaves" vol_unmount "$W/r"
chown -R 65534:65534 "$W/store"

check "a user mounts" user_mount
pid=$(user_pid)
pids+=("$pid")
check "writes" user sh -c "echo kept > $W/m/file"
check "the connection is open" has_fuse "$pid"
kill -TERM "$pid"
check "it asks the helper" until_true 10 test -e "$W/home/asked"
check "and keeps the connection while that works" has_fuse "$pid"
gone "$pid"
is "$(type_of)" "" "it is unmounted"

check "mount again" user_mount
pid=$(user_pid)
pids+=("$pid")
is "$(user cat "$W/m/file")" kept "what was written is there"
user sh -c "cd $W/m && echo \$\$ > $W/home/busy && exec sleep 60" &
until_true 5 test -s "$W/home/busy"
busy=$(cat "$W/home/busy")
rm -f "$W/home/asked"
kill -TERM "$pid"
gone "$pid"
is "$(type_of)" "" "in use, it is unmounted all the same"
check "who is in it gets an error" eval '! ls "/proc/$busy/cwd/" 2>/dev/null'
kill "$busy"
wait
check "mount a third time" user_mount
check "unmount" user "$CLONEFS" unmount "$W/m"
until_true 10 eval '[ -z "$(type_of)" ]'
check "the store is clean" clonefs fsck --deep "$STORE"
tap_done
