#!/bin/bash
# The mount as a process: how it begins and ends, what it refuses, and that while the store is away reading goes on, writers wait, and can be
# killed.
# timeout: 300
# sanitized: yes
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"

alive() { [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
dead() { ! alive "$1"; }
option_of() { findmnt -n -o "$1" "$W/m"; }
log=$W/log
check "format" clonefs format "$STORE"

# --- where it mounts
mkdir "$W/m" "$W/full" "$W/inside"
touch "$W/full/file"
refuses "a directory that is not empty" "not empty.*nonempty" 1 clonefs mount "$STORE" "$W/full" -o "cache_dir=$W/cache-a,node=a"
check "but with nonempty" clonefs mount "$STORE" "$W/full" -o "cache_dir=$W/cache-a,node=a,nonempty"
check "which hides what is in it" test ! -e "$W/full/file"
check "until it is unmounted" vol_unmount "$W/full"
check "and there it is" test -e "$W/full/file"
refuses "a cache directory on the mount itself" "cache_dir" 2 clonefs mount "$STORE" "$W/inside" -o "cache_dir=$W/inside/cache,node=a,nonempty"
rm -rf "$W/inside/cache"

# --- what the mount says it is
check "mount" vol_mount a "$W/m" "nosuid,nodev,noexec,fsname=the\\,name,log_file=$log"
is "$(option_of FSTYPE)" fuse.clonefs "its type"
is "$(option_of SOURCE)" "the,name" "its source, with a comma in it"
is "$(option_of OPTIONS | tr , '\n' | grep -cE '^(rw|nosuid|nodev|noexec|default_permissions|allow_other)$')" 6 "its options"
refuses "a second mount on it" "mounted" 3 clonefs mount "$STORE" "$W/m" -o "cache_dir=$W/cache-b,node=b"
refuses "a second mount with its cache directory" "cache" 1 clonefs mount "$STORE" "$W/inside" -o "cache_dir=$W/cache-a,node=a"
pid=$(mount_pid "$W/m")
is "$(awk '/Max core file size/ { print $5, $6 }' "/proc/$pid/limits")" "0 0" "no core dump can show the keys"
is "$(awk '/Max open files/ { print $4 == $5 }' "/proc/$pid/limits")" 1 "as many descriptors as are allowed"
bdi=/sys/class/bdi/$(mountpoint -d "$W/m")/read_ahead_kb
is "$(cat "$bdi" 2>&1)" 1024 "the kernel reads ahead 1 MiB"
df=$(df -B 4096 --output=size,used,avail "$W/m" | tail -1)
head -c 40960000 /dev/urandom > "$W/m/big"
now=$(df -B 4096 --output=size,used,avail "$W/m" | tail -1)
# shellcheck disable=SC2086
is "$(set -- $df $now; echo $(($4 - $1)) $(($5 - $2 >= 10000 && $5 - $2 < 10100)) $(($3 - $6 >= 10000)))" "0 1 1" "df shows 10,000 blocks more used"
is "$(stat -f -c %l "$W/m")" 255 "names of 255 bytes"

# --- ends
echo kept > "$W/m/kept"
perl -e 'open F, "+<", $ARGV[0] or die; syswrite F, "x" x 8192' "$W/m/kept"
tail -f "$W/m/kept" > /dev/null & user=$!
refuses "unmount while a process uses it" "in use" 3 vol_unmount "$W/m"
check "it serves on" cmp -n 5 "$W/m/kept" <(printf xxxxx)
kill $user; wait $user 2>/dev/null
check "umount(8)" umount "$W/m"
gone "$pid"
check "ends the process" dead "$pid"
check "mount again" vol_mount a "$W/m" "log_file=$log"
check "all was sent" cmp -n 5 "$W/m/kept" <(printf xxxxx)
pid=$(mount_pid "$W/m")
kill -TERM "$pid"
gone "$pid"
check "SIGTERM unmounts" eval '! mountpoint -q "$W/m"'
check "mount again" vol_mount a "$W/m" "log_file=$log"
pid=$(mount_pid "$W/m")
(cd "$W/m" && exec sleep 300) & user=$!
sleep 0.3
kill -TERM "$pid"
gone "$pid"
check "SIGTERM unmounts by force what is in use" eval '! mountpoint -q "$W/m"'
check "and says so" grep -q "in use" "$log"
kill $user; wait $user 2>/dev/null

# --- killed: the dead mount is in the way until it is detached
check "mount again" vol_mount a "$W/m" "log_file=$log"
pid=$(mount_pid "$W/m")
kill -KILL "$pid"
gone "$pid"
check "a killed mount leaves a dead one" eval '! ls "$W/m/" 2>/dev/null'
umount -l "$W/m"

# --- read-only
check "mount read-only" vol_mount r "$W/m" ro
check "reading works" cmp -n 5 "$W/m/kept" <(printf xxxxx)
check "writing is EROFS" eval 'touch "$W/m/new" 2>&1 | grep -q "Read-only file system"'
check "unmount" vol_unmount "$W/m"

# --- io_uring: an option that falls back, with a word about why
out=$(vol_mount a "$W/m" io_uring 2>&1)
ok $? "mount with io_uring" "$out"
if [ -n "$out" ]; then
	is "$(grep -c 'without io_uring: ' <<< "$out")" 1 "without it, one line says why"
else
	pass "it is there"
fi
check "either way it works" eval 'echo x > "$W/m/u" && grep -q x "$W/m/u"'
check "unmount" vol_unmount "$W/m"

# --- without extended attributes: none is told or taken, and those there are stay
names() { getfattr -d -m - "$W/m/u" 2>&1; }
nothing_of() { ! "$@" > "$W/refused" 2>&1 && grep -q "not supported" "$W/refused"; }
check "mount with extended attributes" vol_mount a "$W/m"
check "an attribute" setfattr -n user.kept -v yes "$W/m/u"
check "an access control list" setfacl -m u:nobody:r "$W/m/u"
check "unmount" vol_unmount "$W/m"
check "mount with noxattr" vol_mount a "$W/m" noxattr
check "getfattr: not supported" nothing_of getfattr -n user.kept "$W/m/u"
check "setfattr: not supported" nothing_of setfattr -n user.other -v no "$W/m/u"
check "removing one: not supported" nothing_of setfattr -x user.kept "$W/m/u"
check "setfacl: not supported" nothing_of setfacl -m u:nobody:rw "$W/m/u"
check "unmount" vol_unmount "$W/m"
check "mount again" vol_mount a "$W/m"
check "the attribute stayed" eval 'names | grep -q "^user.kept=\"yes\""'
check "the other was not set" eval '! names | grep -q user.other'
check "the list stayed" eval 'getfacl -cp "$W/m/u" | grep -qx "user:nobody:r--"'
check "unmount" vol_unmount "$W/m"

# --- the store goes away: 30 refusals of log objects, then it is back
export CLONELOVE_FAULTS='put:log/*:after=3:count=30:503'
check "mount on a store that will fail" vol_mount a "$W/m" "max_lag=2,commit_interval=300ms,log_file=$log" 2> /dev/null
unset CLONELOVE_FAULTS
pid=$(mount_pid "$W/m")
echo first > "$W/m/first"
: > "$W/m/held"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	timeout -s KILL 1 sh -c "echo $i > '$W/m/w$i'" || break
	sleep 0.3
done
check "writers are held after max_lag" test "$i" -lt 15
check "and the log says so" grep -q "held" "$log"
check "a held writer that is killed is gone (file $i)" test "$i" -gt 0
# It writes into a file that is there: while a creation waits, the kernel keeps its directory locked, and ls would wait as well.
sh -c "echo held >> '$W/m/held'" & waiting=$!
sleep 0.3
check "another waits" alive $waiting
check "reading goes on" timeout 5 grep -q first "$W/m/first"
check "stat goes on" timeout 5 stat "$W/m/w1"
check "df goes on" timeout 5 df "$W/m"
check "ls goes on" timeout 5 ls -la "$W/m"
check "clonefs stat goes on" timeout 5 "$CLONEFS" stat "$W/m"
wait $waiting # by this very shell: the subshell of check has no such child, and would not wait
ok $? "the waiting writer ends well when the store is back"
check "its bytes are there" grep -q held "$W/m/held"
is "$(cat "$W/m/w$i" 2>/dev/null)" "" "what the killed one was held from was never done"
check "and all goes on" eval 'echo after > "$W/m/after"'
check "sync" clonefs sync "$W/m"

# --- taken over: read-only from then on, still readable
check "another node takes it over" clonefs mount "$STORE" "$W/inside" -o "cache_dir=$W/cache-b,node=b,cache_size=1G" --takeover
pids+=("$(mount_pid "$W/inside")")
fenced() { timeout -s KILL 5 touch "$W/m/late$RANDOM" 2>&1 | grep -q "Read-only file system"; }
check "the first one stops writing" until_true 30 fenced
check "with EROFS" eval 'timeout -s KILL 5 touch "$W/m/later" 2>&1 | grep -q "Read-only file system"'
check "and says who writes now" until_true 10 grep -q "read-only from now on" "$log"
check "what it has cached is read on" grep -q first "$W/m/first"
check "the second one writes" eval 'echo b > "$W/inside/b"'
check "the first is unmounted, leaving what it had not sent" vol_unmount --no-drain "$W/m"
check "the second is unmounted" vol_unmount "$W/inside"
check "the store is clean" clonefs fsck --deep "$STORE"
tap_done
