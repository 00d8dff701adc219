#!/bin/bash
# Random operations, each with its right outcome known: on files against a model in memory (fsxtest: alone, threads with locked
# ranges, threads that share pages; buffered, direct, mapped), on a tree against ext4 (treetest: several processes, as three users). In rounds; between them the mount
# is unmounted, killed or taken over by a node with an empty cache, and everything is compared. Caches are tiny in every other round.
#
#   RANDOM_SECONDS=45   about how long      RANDOM_SEED=N   where it starts (printed)      make check-random SECONDS=3600 SEED=N
# timeout: 400
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root, and the test acts as several users"
total=${RANDOM_SECONDS:-45}
seed=${RANDOM_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "# seed $seed"
round_seconds=$((total / 4))
[ "$round_seconds" -le 25 ] || round_seconds=25

reference=$W/plain
what="a directory of $(stat -f -c %T "$W") (no ext4 can be mounted here)"
if truncate -s 4G "$W/ext4.img" && mkfs.ext4 -q -F -b 4096 -I 256 "$W/ext4.img" 2>/dev/null && mkdir "$W/ext4" &&
	mount -o loop,noatime "$W/ext4.img" "$W/ext4" 2>/dev/null; then
	reference=$W/ext4/tree
	what=ext4
fi
echo "# the trusted side is $what"

node=a
volumes=0
# A fresh volume, and nothing remembered of the last one: a volume only grows, and an hour's would be large.
fresh() {
	rm -rf --one-file-system "$W/store" "$W"/cache-* "$reference" "$W"/model.*
	volumes=$((volumes + 1))
	clonefs format "$STORE" >/dev/null && options && vol_mount $node "$W/m" "$opts" && mkdir -m 755 "$W/m/files" "$W/m/tree" && mkdir -p "$reference" &&
		"$TOOLS/treetest" --start "$W/m/tree" "$reference" 1 0 >/dev/null
}
options() {
	opts=
	[ $((round % 2)) -ne 0 ] || opts=cache_size=64M
	[ $((round % 5)) -ne 3 ] || opts=${opts:+$opts,}durability=store
}
again() {
	options
	vol_mount $node "$W/m" "$opts" "$@"
}

# The four that run at once, in this round for so many seconds.
fsx() { "$TOOLS/fsxtest" --model "$W/model.$1" "${@:2}" "$W/m/files/$1" "$round_seed" 0; }
work() {
	local jobs=() names=(alone threads pages tree) i bad=0
	fsx alone --seconds "$1" > "$W/out.0" 2>&1 & jobs+=($!)
	fsx threads --threads 4 --seconds "$1" > "$W/out.1" 2>&1 & jobs+=($!)
	fsx pages --threads 3 --grain 1000 --seconds "$1" > "$W/out.2" 2>&1 & jobs+=($!)
	"$TOOLS/treetest" --processes 4 --seconds "$1" "$W/m/tree" "$reference" "$round_seed" 0 > "$W/out.3" 2>&1 & jobs+=($!)
	for i in 0 1 2 3; do
		wait "${jobs[i]}" || { bad=1; echo "${names[i]}: $(tail -n 60 "$W/out.$i")"; }
		done_ops=$((done_ops + $(grep -xE '[0-9]+' "$W/out.$i" | awk '{n += $1} END {print n + 0}')))
	done
	return $bad
}
same() {
	local f
	for f in alone threads pages; do fsx $f || return; done
	"$TOOLS/treetest" --verify "$W/m/tree" "$reference"
}
# What happens to the mount at the end of a round, by turns. What a kill loses is what nobody fsynced: so a sync goes before.
turn() {
	case $((round % 3)) in
	0) vol_unmount "$W/m" && again ;;
	1) clonefs sync "$W/m" && vol_kill "$W/m" && again ;;
	2)
		clonefs sync "$W/m" && vol_kill "$W/m" || return
		node=$([ $node = a ] && echo b || echo a)
		rm -rf --one-file-system "$W/cache-$node"
		again --takeover
		;;
	esac
}

round=0
end=$((SECONDS + total))
while :; do
	round_seed=$((seed + round))
	done_ops=0
	[ $((round % 9)) -ne 0 ] || fresh || { fail "a fresh volume"; break; }
	out=$(work $round_seconds; code=$?; echo "operations $done_ops"; exit $code)
	ok $? "round $round, seed $round_seed, ${opts:-defaults}: $(tail -n 1 <<< "$out") without a difference" "$out"
	[ "$tap_bad" -eq 0 ] || break
	turn > "$W/turn" 2>&1 # not in a subshell: it remembers node, options and processes
	ok $? "round $round: then $(case $((round % 3)) in 0) echo unmounted ;; 1) echo killed ;; *) echo taken over ;; esac), and mounted again" "$(cat "$W/turn")"
	check "round $round: everything is the same" same
	round=$((round + 1))
	[ "$tap_bad" -eq 0 ] || break
	if [ $((round % 9)) -eq 0 ] || [ $SECONDS -ge $end ]; then
		check "unmount" vol_unmount "$W/m"
		check "the store is clean" clonefs fsck --deep "$STORE"
		[ $SECONDS -lt $end ] || break
	fi
done
echo "# $round rounds, $volumes volumes"
mountpoint -q "$W/ext4" && umount "$W/ext4"
tap_done
