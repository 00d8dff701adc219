#!/bin/bash
# The disk of the cache directory is full, of other things: writers are held, reads, df and clonefs stat go on, it is said what to do, and with room
# again everything goes on by itself. Also when the daemon is killed in between, and mounted again on a full disk.
# timeout: 300
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

NAMES=20000
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
mkdir "$W/cache-a"
mount -t tmpfs -o size=160m tmpfs "$W/cache-a" || skip_all "host: no tmpfs can be mounted"
helpers=()
end_all() { [ ${#helpers[@]} -eq 0 ] || kill -KILL "${helpers[@]}" 2> /dev/null; }
cleanup_hooks+=(end_all)
get() { clonefs stat --get "$1" "$W/m"; }
is_state() { [ "$(get state)" = "$1" ]; }
settled() { is_state serving && [ "$(get lag_bytes)" -lt 1000000 ]; }
cache_mount() {
	clonefs mount "$STORE" "$W/m" -o "node=a,cache_dir=$W/cache-a,cache_size=80M,max_lag=5,log_file=$W/log,$MOUNT_OPTIONS" 2> "$W/mount.err" || return
	pids+=("$(mount_pid "$W/m")")
}
fill() {
	dd if=/dev/zero of="$W/cache-a/other" bs=64k 2> /dev/null
	dd if=/dev/zero of="$W/cache-a/more" bs=4k 2> /dev/null
	[ "$(df --output=avail "$W/cache-a" | tail -n 1)" -eq 0 ]
}
empty() { rm -f "$W/cache-a/other" "$W/cache-a/more"; }
names() { seq "$2" "$3" | (cd "$W/m/names" && xargs touch) 2> "$1"; } # messages, first, last
# The daemon answers, whatever it holds.
lives() {
	is "$(timeout 10 sha256sum < "$W/m/file")" "$sum" "what is cached can be read ($1)"
	check "df answers ($1)" timeout 10 df "$W/m"
	check "names can be listed ($1)" eval 'timeout 10 ls "$W/m/names" | tail -n 1'
	check "clonefs stat says what is full ($1)" until_true 60 eval 'timeout 10 "$CLONEFS" stat "$W/m" | grep -E "^state +held: .*disk.* full"'
}

check "format" clonefs format "$STORE"
mkdir "$W/m"
check "mount" cache_mount
mkdir "$W/m/names" "$W/m/w"
head -c 3000000 /dev/urandom > "$W/m/file"
sum=$(sha256sum < "$W/m/file")
check "a file is in the store" clonefs sync "$W/m"

check "the disk is full" fill
names "$W/names.err" 1 $NAMES & making=$!
"$TOOLS/wedge" write "$W/m/w" 4 > "$W/acked" 2> "$W/writers.err" & writers=$!
helpers+=("$making" "$writers")
check "writes are held" until_true 60 is_state held
lives first
check "the log says so" until_true 60 grep -q "writes are held: the disk of the cache directory is full" "$W/log"
sleep 6 # beyond max_lag
check "still" is_state held
empty
check "with room again they go on by themselves" until_true 60 is_state serving
wait $making
ok $? "no name failed" "$(cat "$W/names.err")"

check "full once more" fill
names "$W/names.err" $((NAMES + 1)) $((2 * NAMES)) & making=$!
helpers+=("$making")
check "writes are held again" until_true 60 is_state held
lives second
pid=$(mount_pid "$W/m")
kill -KILL "$pid"
gone "$pid"
kill -TERM "$writers" "$making"
umount -l "$W/m"
{ wait "$writers" "$making"; } 2> /dev/null
cache_mount
code=$?
echo "# mounting with a full disk: $code $(cat "$W/mount.err")"
if [ $code -ne 0 ]; then
	grep -qi "no space\|full" "$W/mount.err"
	ok $? "a mount on a full disk says why it fails" "$(cat "$W/mount.err")"
	empty
	check "mount again with room" cache_mount
else
	pass "a mount on a full disk works"
	empty
fi
check "nothing acknowledged is missing" eval '"$TOOLS/wedge" check "$W/m/w" < "$W/acked"'
[ "$(find "$W/m/names" -type f | wc -l)" -ge $NAMES ]
ok $? "nor is a name" "$(find "$W/m/names" -type f | wc -l)"
is "$(sha256sum < "$W/m/file")" "$sum" "nor a byte of the file"
is "$(get lost_operations)" 0 "nothing was lost"
check "it drains by itself" until_true 60 settled
check "unmount" vol_unmount "$W/m"
check "the store is sound" clonefs fsck --deep "$STORE"
tap_done
