#!/bin/bash
# Two machines on one volume: exactly one goes on. The other turns read-only, and what it had not sent is in its salvage.
# timeout: 300
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

state() { clonefs stat --get state "$1"; }
# write_file PATH TEXT: written and synced, or failed; never longer than 20 s
write_file() { timeout 20 bash -c 'printf "%s\n" "$2" > "$1" && sync "$1"' - "$1" "$2" 2>/dev/null; }

mkdir "$W/a" "$W/b" "$W/c"
check "format" clonefs format "$STORE"

# --- frozen, taken over, thawed
check "alpha mounts" vol_mount alpha "$W/a"
check "alpha writes" write_file "$W/a/before" one
check "alpha's writing is in the store" clonefs sync "$W/a"
refuses "beta is refused while alpha lives" "takeover" 3 vol_mount beta "$W/b"
# With a copy of alpha's cache directory it is not alpha, and needs no less to be told to take over.
cp -a "$W/cache-alpha" "$W/cache-beta"
refuses "so is it with a copy of its cache directory" "takeover" 3 vol_mount beta "$W/b"
rm -rf "$W/cache-beta"
alpha=$(mount_pid "$W/a")
# Acknowledged locally and, frozen at once, not sent: that is the tail which a takeover must put aside. The window is a second.
write_file "$W/a/tail" "not sent"
kill -STOP "$alpha"
check "beta takes over from the frozen alpha" vol_mount beta "$W/b" takeover
is "$(cat "$W/b/before")" one "beta has what was sent"
tail_lost=
[ -e "$W/b/tail" ] || tail_lost=1
check "beta writes" write_file "$W/b/beta" two
check "beta syncs" clonefs sync "$W/b"

kill -CONT "$alpha"
write_file "$W/a/late" "after the thaw"
ok $((! $?)) "a write of the thawed alpha is not acknowledged"
until_true 60 bash -c "[ \"\$($CLONEFS stat --get state '$W/a')\" = fenced ]"
ok $? "alpha knows that it is fenced" "$(state "$W/a")"
grep -q beta <<< "$(clonefs stat "$STORE" --get node)"
ok $? "the store names beta as the writer"
for i in 1 2 3; do
	write_file "$W/a/no$i" x && break
done
ok $((! $?)) "alpha stays read-only"
is "$(cat "$W/a/before")" one "alpha still reads what it has"
check "beta goes on" write_file "$W/b/beta2" three
check "and syncs" clonefs sync "$W/b"
[ ! -e "$W/b/late" ] && [ ! -e "$W/b/no1" ]
ok $? "nothing that alpha wrote after the takeover is in the volume"

# --- what alpha had not sent
clonefs unmount --no-drain "$W/a" > "$W/out" 2>&1 || umount -l "$W/a"
gone "$alpha"
clonefs unmount "$W/b"
check "alpha mounts again, after beta has left" vol_mount alpha "$W/a"
is "$(cat "$W/a/beta2")" three "it has beta's history"
clonefs salvage "$W/cache-alpha" --json > "$W/salvage.json"
if [ -n "$tail_lost" ]; then
	clonefs salvage "$W/cache-alpha" --list > "$W/salvage"
	grep -q '"name":"tail"' "$W/salvage"
	ok $? "the tail is in salvage" "$(cat "$W/salvage")"
	check "and can be extracted" clonefs salvage "$W/cache-alpha" --extract "$W/extracted"
	grep -rq "not sent" "$W/extracted"
	ok $? "with its bytes" "$(ls "$W/extracted")"
	grep -q "moved" "$W/salvage"
	ok $? "and is called moved"
else
	skip "the tail is in salvage" "host: the tail was sent before the freeze reached it"
fi
check "unmount" clonefs unmount "$W/a"
check "the volume is sound" clonefs fsck --deep "$STORE"

# --- racing takeovers: of many, exactly one serves in the end
check "gamma mounts" vol_mount gamma "$W/a"
for n in 1 2 3 4; do
	mkdir -p "$W/r$n"
	(vol_mount "racer$n" "$W/r$n" takeover > "$W/race$n" 2>&1; echo $? > "$W/code$n") &
done
wait
sleep 1
serving=0
who=
for n in 1 2 3 4; do
	if [ "$(cat "$W/code$n")" -eq 0 ] && write_file "$W/r$n/race" "$n"; then
		serving=$((serving + 1))
		who=$n
	fi
done
write_file "$W/a/race" gamma && serving=$((serving + 1))
is "$serving" 1 "of gamma and four racers one can write"
check "its writing reaches the store" clonefs sync "$W/r${who:-1}"
for d in a r1 r2 r3 r4; do
	pid=$(mount_pid "$W/$d") && pids+=("$pid")
	[ "$d" = "r$who" ] || ! mountpoint -q "$W/$d" || clonefs unmount --no-drain "$W/$d" > /dev/null 2>&1 || umount -l "$W/$d"
done
check "the winner unmounts" clonefs unmount "$W/r${who:-1}"
check "the volume is sound after the race" clonefs fsck --deep "$STORE"
check "and mounts" vol_mount last "$W/c"
is "$(cat "$W/c/race")" "$who" "with the winner's data"
check "unmount" clonefs unmount "$W/c"

# --- the same node again, without --takeover, after a crash
check "delta mounts" vol_mount delta "$W/c"
write_file "$W/c/crash" kept
vol_kill "$W/c"
check "delta comes back by itself" vol_mount delta "$W/c"
is "$(cat "$W/c/crash")" kept "with what it had acknowledged"
check "unmount" clonefs unmount "$W/c"
tap_done
