#!/bin/bash
# The daemon is killed while the store is away, its cache directory is damaged at random (SEED, ROUNDS), and mounted again: what the store had is
# there, to the byte; what it had not is there, or its loss is said; what is damaged under a mount is read right or not at all.
# timeout: 400
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

ROUNDS=${ROUNDS:-5}
SEED=${SEED:-$RANDOM}
RANDOM=$SEED
KEPT=8 # rounds whose files are looked at again and again
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
helpers=()
end_all() { [ ${#helpers[@]} -eq 0 ] || kill -KILL "${helpers[@]}" 2> /dev/null; }
cleanup_hooks+=(end_all)
get() { clonefs stat --get "$1" "$W/m"; }
told() { # was the operator told of a loss at this mount?
	[ "$(get lost_operations)" -gt 0 ] || get error | grep -q durable
}
# write DIR SECONDS: acknowledged writes of it, in DIR.acked
write() {
	local writer
	mkdir -p "$W/m/$1"
	"$TOOLS/wedge" write "$W/m/$1" 4 > "$W/$1.acked" 2> /dev/null & writer=$!
	helpers=("$writer")
	sleep "$2"
	[ -z "${3:-}" ] || "$3"
	kill -TERM "$writer" 2> /dev/null
	wait "$writer"
	helpers=()
}
stop() {
	local pid
	pid=$(mount_pid "$W/m")
	kill -KILL "$pid"
	gone "$pid"
}
# Every file can be read, and is right; or reading it is an error.
all_right() {
	local d out
	for d in "$@"; do
		out=$("$TOOLS/wedge" check "$W/m/$d" < "$W/$d.acked" 2>&1) || { echo "$out"; return 1; }
	done
}

check "format" clonefs format "$STORE"
mkdir "$W/m"
sent=()
lost=0
echo "# seed $SEED"
for ((round = 1; round <= ROUNDS; round++)); do
	echo "# round $round"
	vol_mount a "$W/m" "max_lag=5,log_file=$W/log" --takeover
	ok $? "mount"
	write "sent$round" 1
	sent+=("sent$round")
	check "the store has some" clonefs sync "$W/m"
	if [ $((round % 2)) -eq 0 ]; then
		"$TOOLS/poison" "$W/cache-a" $((SEED * 1000 + round)) 20 > "$W/done"
		sed 's/^/# live: /' "$W/done"
		check "damage under the mount shows in no byte" all_right "${sent[@]}"
	fi
	mv "$W/store" "$W/away"
	write "unsent$round" 1 stop
	umount -l "$W/m"
	mv "$W/away" "$W/store"
	"$TOOLS/poison" "$W/cache-a" $((SEED * 1000 + 500 + round)) $((RANDOM % 4 + 1)) > "$W/done"
	sed 's/^/# /' "$W/done"
	: > "$W/log"
	vol_mount a "$W/m" "max_lag=5,log_file=$W/log" --takeover
	ok $? "mount again"
	check "what the store had is there" all_right "${sent[@]}"
	if all_right "unsent$round" > "$W/why"; then
		pass "so is what it had not"
	else
		lost=$((lost + 1))
		told
		ok $? "what it had not is damaged, and that is said" "$(cat "$W/why")"
		check "in the log too" grep -qE "local disk|durable|salvage" "$W/log"
		check "salvage shows what is left" clonefs salvage "$W/cache-a"
	fi
	rm -rf "$W/m/unsent$round"
	if [ ${#sent[@]} -gt $KEPT ]; then
		rm -rf "$W/m/${sent[0]}"
		sent=("${sent[@]:1}")
	fi
	check "unmount" vol_unmount "$W/m"
done
echo "# unsent writes were lost in $lost of $ROUNDS rounds"
check "the store is sound" clonefs fsck --deep "$STORE"
tap_done
