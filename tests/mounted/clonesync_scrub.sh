#!/bin/bash
# Rot below the file system: a member whose tree is on a disk of its own (a loop device) reads what it holds again, finds what was changed there, and has it again from the other; never the other from it.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh
SLOW=$([ -n "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ] && echo 60 || echo 30)

members_net 2 || skip_all "host: no network namespaces with a bridge can be made (root and ip are needed)"
command -v jq >/dev/null || skip_all "jq is not installed"
command -v filefrag >/dev/null || skip_all "filefrag is not installed (e2fsprogs)"
mkdir "$W/tree-1"
truncate -s 64M "$W/disk" && mkfs.ext4 -q -b 4096 "$W/disk" && mount -o loop "$W/disk" "$W/tree-1" 2>/dev/null || skip_all "host: no loop device can be mounted"

# rot FILE: one byte of it is another on the disk of member 1
rot() {
	local block
	sync "$W/tree-1/$1"
	block=$(filefrag -e -b4096 "$W/tree-1/$1" | awk '/^ *0:/ { sub(/\.\..*/, "", $4); print $4 }')
	[ -n "$block" ] && printf '\377\000\377\001' | dd of="$W/disk" bs=1 seek=$((block * 4096 + 1000)) conv=notrunc status=none
}
number_is() { [ "$(get 1 "$1")" = "$2" ]; }
same() { cmp -s "$W/tree-0/$1" "$W/tree-1/$1"; }

clonesync keygen -o "$KEY"
for rate in 0 10X -5 on; do
	refuses "a rate of $rate" "scrub_rate" 2 clonesync run "$W/tree-1" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 "--scrub-rate=$rate"
done
for n in 0 1; do
	member_start $n --scrub-rate 200M
	ok $? "member $n starts" "$(tail -n 5 "$W/log-$n")"
done
mkdir "$W/tree-0/d"
head -c 700000 /dev/urandom > "$W/tree-0/d/big"
head -c 5000 /dev/urandom > "$W/tree-0/small"
check "files on both" settled $SLOW 0 1
sums=$(cd "$W/tree-0" && sha256sum d/big small)
sleep 0.1 # no record is young
check "a scrub" clonesync scrub -s "$W/state-1"
check "ends" until_true $SLOW number_is last_scrub.files 2
is "$(get 1 last_scrub.bytes) $(get 1 last_scrub.rotten) $(get 1 rotten_found)" "705000 0 0" "it read all, and nothing was rotten"

stat0=$(stat -c '%i %s %y %z' "$W/tree-1/d/big")
rot d/big && rot small
ok $? "bytes change on its disk"
is "$(stat -c '%i %s %y %z' "$W/tree-1/d/big")" "$stat0" "which no stat shows"
before=$(get 1 fetched_bytes)
check "a scrub" clonesync scrub -s "$W/state-1"
check "finds both, and restores them" until_true $SLOW number_is rotten_restored 2
is "$(get 1 rotten_found) $(get 1 rotten)" "2 0" "none is left"
[ $(($(get 1 fetched_bytes) - before)) -le $((131072 + 5000)) ]
ok $? "one block of the big one was fetched, not all of it" "$before, now $(get 1 fetched_bytes)"
is "$(cd "$W/tree-1" && echo 3 > /proc/sys/vm/drop_caches; sha256sum d/big small)" "$sums" "they are what was written, on the disk too"
is "$(cd "$W/tree-0" && sha256sum d/big small)" "$sums" "and so they are where they came from"
is "$(clonesync trash list --json -d "$W/tree-1" | jq -c 'map([.path, .why]) | sort')" '[["d/big","rot"],["small","rot"]]' "what was rotten is in the trash"
is "$(clonesync trash list --json -d "$W/tree-0" | jq length)" 0 "of that member alone"
grep -q "d/big is rotten" "$W/log-1" && grep -q "d/big is restored" "$W/log-1"
ok $? "the log says so" "$(tail -n 5 "$W/log-1")"
clonesync status -s "$W/state-1" | grep -q "^scrub .* 2 files read, .* 2 rotten"
ok $? "and so does status" "$(clonesync status -s "$W/state-1")"

# --- nobody is there who has it
member_end 0
rot small
check "a scrub, alone" clonesync scrub -s "$W/state-1"
check "finds it" until_true $SLOW number_is rotten 1
clonesync status -s "$W/state-1" | grep -q "^rotten  *1 files"
ok $? "status says so" "$(clonesync status -s "$W/state-1")"
chmod 600 "$W/tree-1/small"
member_start 0 --scrub-rate off
ok $? "the other comes back" "$(tail -n 5 "$W/log-0")"
is "$(get 0 scrub_rate)" 0 "and reads nothing again by itself"
check "and has it" until_true $SLOW number_is rotten 0
check "the same on both" settled $SLOW 0 1
is "$(cd "$W/tree-1" && sha256sum d/big small)" "$sums" "as it was written"
is "$(cd "$W/tree-0" && sha256sum d/big small)" "$sums" "there, too"

for n in 0 1; do
	member_end $n
	is $? 0 "member $n ends in order"
done

# --- on clonefs it would fetch the volume
if [ -c /dev/fuse ] && clonefs format "$STORE" >/dev/null && vol_mount a "$W/volume"; then
	"$CLONESYNC" run "$W/volume" -k "$KEY" -s "$W/state-v" -l 127.0.0.1:0 >> "$W/log-v" 2>&1 &
	pids+=("$!")
	volume=$!
	check "one that keeps a clonefs volume starts" until_true $SLOW clonesync status -s "$W/state-v"
	is "$(clonesync status --json -s "$W/state-v" | jq .scrub_rate)" 0 "it reads nothing again by itself"
	kill -TERM "$volume"
	wait "$volume"
	is $? 0 "it ends in order"
	check "the volume is unmounted" vol_unmount "$W/volume"
else
	skip "off on clonefs" "host: no /dev/fuse"
fi
tap_done
