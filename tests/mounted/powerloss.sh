#!/bin/bash
# Real power loss: a guest under QEMU mounts a volume (its store is outside of it, on this host's loopback) and works on it; its disk really loses, tears
# and reorders what the guest had not flushed (tests/tools/losedisk). The power goes, mostly around a flush; the guest boots on what is left. Then:
#   V5  everything that an fsync acknowledged is there, and of the rest a prefix (crashwork in the guest, against this host's list of acknowledgements);
#   V1  before it comes back, the store alone, seen from this host: a prefix, and at most max_lag of acknowledged work is missing.
# At the end a clonefs whose fdatasync does nothing must be found out, and this host takes the volume over.
# ROUNDS=N sets the rounds (make check-powerloss ROUNDS=100), SEED=N what is done and lost.
# timeout: 600
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/vm.sh
vm_needs

ROUNDS=${ROUNDS:-4}
SEED=${SEED:-$RANDOM}
MAX_LAG=5
IMAGE=$W/disk.img
STORE=s3://bucket/db
options=cache_size=256M,max_lag=$MAX_LAG
acked=0

acks() { grep -c '^ack' "$REPORTS"; }
last_acked() { sed -n 's/^ack \([0-9]*\) .*/\1/p' "$REPORTS" | tail -n 1; }
# power_on [WORD...]: boots; what the guest found is in $answer.
power_on() {
	vm_power_on "$IMAGE" $((SEED + round)) WORK=files "OPTIONS=$options" "SEED=$SEED" "ACKED=$acked" "$@"
	answer=$(vm_says 200 '^(found|lost|wrong|failed)')
}
power_off() {
	vm_power_off
	cat "$REPORTS" >> "$W/history"
	acked=$(last_acked)
}

# What the store alone has: found K, and how many seconds of acknowledged work are missing.
check_store() { # description mounted
	local found lag
	found=$("$TOOLS/crashwork" "$2" "$SEED" "$acked" 2>&1)
	[[ $found =~ ^(found|lost)\ ([0-9]+)$ ]] || { fail "$1: a prefix" "$found"; return; }
	found=${BASH_REMATCH[2]}
	pass "$1: a prefix, of $acked operations acknowledged the first $found"
	lag=$(awk -v k="$found" '$1 == "ack" { last = $3; if (first == "" && $2 > k) first = $3 } END { printf "%.2f", first == "" ? 0 : (last - first) / 1e9 }' "$W/history")
	awk -v l="$lag" -v m="$MAX_LAG" 'BEGIN {exit !(l <= m)}'
	ok $? "$1: $lag s of acknowledged work missing, of $MAX_LAG s allowed"
}

vm_store
ok $? "a store"
check "format" clonefs format "$STORE"
check "a guest is made" vm_root
vm_accel
truncate -s 1G "$IMAGE"
check "and its disk" mke2fs -q -F -t ext4 "$IMAGE"
echo "# seed $SEED, $VM_NAME"

: > "$W/history"
for ((round = 1; round <= ROUNDS; round++)); do
	start=$(date +%s.%N)
	power_on
	case $answer in
	found*) pass "round $round, V5: the $acked operations acknowledged are there (and $((${answer#found } - acked)) more)" ;;
	*) fail "round $round, V5: the $acked operations acknowledged are there" "${answer:-no answer}
$(tail -n 5 "$W/console" "$W/qemu.log")"; break ;;
	esac
	up=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}')
	vm_count_over 100 '^ack' $((20 + RANDOM % 100))
	power_off
	[ -n "$acked" ] || { fail "round $round: work was acknowledged" "$(tail -n 5 "$W/console" "$W/qemu.log")"; break; }
	echo "# round $round: back after $up s, $(acks) fsyncs acknowledged, $(cat "$W/disk.log")"
	mkdir -p "$W/ro"
	check "round $round: the store is read" clonefs mount "$STORE" "$W/ro" -o "ro,node=reader,cache_dir=$W/cache-reader,cache_size=256M"
	check_store "round $round, V1" "$W/ro"
	clonefs unmount "$W/ro"
done
echo "# the disk lost or tore $lost_writes writes"

# A clonefs that does not sync: what it acknowledged must be missing.
if [ "$tap_bad" -eq 0 ]; then
	round=1000000
	options+=,commit_interval=3
	power_on NOSYNC=1
	[[ $answer == found* ]]
	ok $? "once more, with a clonefs that does not sync" "$answer"
	vm_count_over 100 '^ack' 100
	vm_power_off
	acked=$(last_acked)
	acked=${acked:-0}
	power_on
	[[ $answer == lost* ]]
	ok $? "which is found out: of $acked acknowledged ${answer:-no answer}"
	vm_kill
fi

check "another machine takes over" vol_mount other "$W/other" "" --takeover
mountpoint -q "$W/other" && [[ $("$TOOLS/crashwork" "$W/other" "$SEED" "$acked") =~ ^(found|lost)\  ]]
ok $? "and has a prefix"
check "unmount" vol_unmount "$W/other"
check "the volume is sound, every byte" clonefs fsck --deep "$STORE"
tap_done
