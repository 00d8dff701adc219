#!/bin/bash
# Everything at once, on a mount with little cache, short cuts, small checkpoints and a store that is slow and fails now and then: files and names that
# change, data that has to be fetched again, waiting calls that are killed, stat, metrics, sync, another that takes the volume over, and every way to end
# in the middle of it. Made for the thread sanitizer, whose report of the mount's process fails the case; what is there afterwards is checked too.
# timeout: 300
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"

options="cache_size=64M,commit_interval=50ms,checkpoint_size=1M,max_lag=2,uploads=6,threads=4,metrics=unix:$W/metrics"
faults='seed=7 *:*:p=0.02:503 put:*:p=0.02:lost-reply get:*:p=0.02:short *:*:delay=2'
seeds="1 2 3"
operations=700

# Where nothing is mounted nothing can be written.
mkdir "$W/points"
mount -t tmpfs -o size=64k tmpfs "$W/points" || skip_all "host: no tmpfs can be mounted"
M=$W/points/m N=$W/points/n
mkdir "$M" "$N"
mount -o remount,ro "$W/points"

# Background loops until $W/stop is there.
others=()
loop() { # COMMAND...
	(until [ -e "$W/stop" ]; do "$@"; done > /dev/null 2>&1) &
	others+=($!)
}
end_loops() {
	touch "$W/stop"
	wait "${others[@]}" 2> /dev/null
	others=()
	rm "$W/stop"
}

# Names: two of these meet in one directory.
names() {
	local i=$RANDOM d=$M/names
	mkdir -p "$d/sub"
	echo "$i" > "$d/a$((i % 7))"
	ln -f "$d/a$((i % 7))" "$d/l$((i % 5))"
	mv "$d/a$((i % 7))" "$d/sub/b$((i % 3))"
	setfattr -n user.x -v "$i" "$d/sub/b$((i % 3))"
	ln -sfn "sub/b$((i % 3))" "$d/s"
	ls -la "$d" "$d/sub"
	rm -f "$d/l$((i % 5))"
	(exec 3> "$d/open$i"; rm "$d/open$i"; echo "$i" >&3)
}
reread() { # what the 64 MiB do not hold
	dd if="$M/big" bs=1M iflag=direct | cmp "$W/big"
}
killed() { # a call that may wait ends with its process
	timeout -s KILL 0.0$((RANDOM % 9 + 1)) dd if=/dev/zero of="$M/killed" bs=256k count=40 conv=fsync
}
watch() {
	clonefs stat "$M"
	curl -s --max-time 5 --unix-socket "$W/metrics" http://x/metrics
	df "$M"
}

# Opening asks once what the backend itself would ask again, and these faults lie above the backend: where the store was away, again, as a service would be
# started again.
mounts() { # NODE MOUNTPOINT OPTIONS [ARG...]
	local i rc
	for i in 1 2 3 4 5 6 7 8 9; do
		vol_mount "$@" 2> "$W/mount.err" && return 0
		rc=$?
		grep -q 'the store is unavailable' "$W/mount.err" || break
	done
	cat "$W/mount.err" >&2
	return $rc
}

check "format" clonefs format "$STORE"
export CLONELOVE_FAULTS=$faults
check "mount" mounts a "$M" "$options"
head -c 90000000 /dev/urandom > "$W/big"
cp "$W/big" "$M/big"

loop names
loop names
loop reread
loop killed
loop watch
loop clonefs sync "$M"
for s in $seeds; do "$TOOLS/fsxtest" "$M/fsx$s" "$s" $operations > "$W/fsx$s" 2>&1 & jobs[s]=$!; done
for s in $seeds; do
	wait "${jobs[s]}"
	ok $? "$operations random operations, seed $s" "$(cat "$W/fsx$s")"
done

verify() {
	for s in $seeds; do check "seed $s, $1" "$TOOLS/fsxtest" --verify "$M/fsx$s" "$s" $operations; done
	check "and what is large" cmp "$W/big" "$M/big"
}
pid=$(mount_pid "$M")
kill -TERM "$pid"
gone "$pid"
end_loops
check "SIGTERM under load ends it" eval '! mountpoint -q "$M"'
check "mount again" mounts a "$M" "$options"
verify "after SIGTERM"

loop names
loop killed
loop watch
sleep 1
check "the process is killed under load" vol_kill "$M"
end_loops
check "mount again" mounts a "$M" "$options"
verify "after SIGKILL"

loop names
loop reread
loop watch
sleep 1
check "another takes it over under load" mounts b "$N" "" --takeover
end_loops
check "and has all of it" cmp "$W/big" "$N/big"
check "the first is unmounted" vol_unmount --no-drain "$M"
check "the second too" vol_unmount "$N"
unset CLONELOVE_FAULTS
check "the store is clean" clonefs fsck --deep "$STORE"
tap_done
