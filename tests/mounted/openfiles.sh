#!/bin/bash
# Very many files open at once on one mount (PROCESSES with EACH, 30,000 in all): writes through them, some unlinked while open; the daemon keeps few descriptors; it is
# killed, and after the next mount every file is what it was, and what had no name is gone.
# timeout: 300
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

PROCESSES=${PROCESSES:-2}
EACH=${EACH:-15000}
FILES=$((PROCESSES * EACH))
FEW=400 # CACHE_OPEN_MAX and what a daemon has besides
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
[ "$(ulimit -H -n)" = unlimited ] || [ "$(ulimit -H -n)" -ge $((EACH + 64)) ] || skip_all "host: no process may have $EACH files open"

holders=()
end_holders() {
	local h
	for h in "${holders[@]}"; do
		kill -KILL "$h" 2> /dev/null
		{ wait "$h"; } 2> /dev/null
	done
	holders=()
}
cleanup_hooks+=(end_holders)
hold() { # N: the Nth process
	mkdir "$W/m/d$1"
	: > "$W/held$1"
	"$TOOLS/manyopen" hold "$W/m/d$1" "$EACH" > "$W/held$1" 2> "$W/held.err$1" & holders+=($!)
}
# All hold, or one failed.
held() {
	local h
	[ "$(cat "$W"/held[0-9]* | wc -l)" -eq "$PROCESSES" ] && return
	for h in "${holders[@]}"; do kill -0 "$h" || return 0; done
	return 1
}
descriptors() { find "/proc/$1/fd" -type l | wc -l; }
inodes() { clonefs stat --get inodes "$W/m"; }
has_inodes() { [ "$(inodes)" -eq "$1" ]; }

check "format" clonefs format "$STORE"
check "mount" vol_mount a "$W/m"
pid=$(mount_pid "$W/m")
for round in 1 2; do
	for ((i = 1; i <= PROCESSES; i++)); do hold $i; done
	until_true 200 held
	is "$(cat "$W"/held.err*)" "" "$FILES files open, a part written and unlinked (round $round)"
	n=$(descriptors "$pid")
	[ "$n" -lt $FEW ]
	ok $? "the daemon has few descriptors" "$n"
	echo "# $n descriptors, $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") KiB"
	is "$(inodes)" $((FILES + PROCESSES + 1)) "all are there, with a name or without"
	if [ $round -eq 1 ]; then
		check "the daemon is killed" vol_kill "$W/m"
		end_holders
		check "mount again" vol_mount a "$W/m"
		pid=$(mount_pid "$W/m")
	else
		end_holders
	fi
	for ((i = 1; i <= PROCESSES; i++)); do
		check "nothing is lost" "$TOOLS/manyopen" check "$W/m/d$i" "$EACH"
	done
	check "what had no name is reaped" until_true 60 has_inodes $((FILES - PROCESSES * ((EACH + 3) / 4) + PROCESSES + 1))
	rm -r "$W"/m/d*
done
check "nothing is left" until_true 60 has_inodes 1
check "unmount" vol_unmount "$W/m"
check "the store is sound" clonefs fsck --deep "$STORE"
tap_done
