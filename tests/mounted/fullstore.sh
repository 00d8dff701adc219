#!/bin/bash
# The store is full: a directory on a full disk, a real S3 server with a quota. Writers are held, what is to be
# done is said, reads go on, and once there is room everything goes on by itself, with nothing lost. A mount is refused meanwhile, and says why.
# timeout: 400
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
helpers=()
end_all() { [ ${#helpers[@]} -eq 0 ] || kill -KILL "${helpers[@]}" 2> /dev/null; }
cleanup_hooks+=(end_all)
get() { clonefs stat --get "$1" "$W/m"; }
is_state() { [ "$(get state)" = "$1" ]; }
settled() { is_state serving && [ "$(get lag_bytes)" -lt 1000000 ]; }

# With a pause: a quick machine would write gigabytes until a quota is seen, and more than the small disk below has room for in the end.
# full NAME FILL EMPTY [killed]: a volume in $STORE, whose store FILL makes full, and EMPTY makes room in.
full() {
	local what=$1 fill=$2 empty=$3 writers sum pid
	check "$what: format" clonefs format "$STORE"
	mkdir -p "$W/m"
	check "mount" vol_mount a "$W/m" "max_lag=3,log_file=$W/log"
	mkdir "$W/m/w"
	head -c 3000000 /dev/urandom > "$W/m/file"
	sum=$(sha256sum < "$W/m/file")
	check "a file is in the store" clonefs sync "$W/m"
	check "the store is full" "$fill"
	"$TOOLS/wedge" write "$W/m/w" 4 20 > "$W/acked" 2> "$W/writers.err" & writers=$!
	helpers=("$writers")
	check "writes are held" until_true 90 is_state held
	check "clonefs stat says what is full, and what to do" until_true 60 eval 'clonefs stat "$W/m" | grep -E "^state +held: the store is full: make room there, or raise its quota"'
	check "so does the log" until_true 10 grep -q "error: .*the store is full: make room there" "$W/log"
	is "$(timeout 10 sha256sum < "$W/m/file")" "$sum" "what is cached can be read"
	check "df answers" timeout 10 df "$W/m"
	sleep 2
	check "it is held still" is_state held
	if [ -n "${4:-}" ]; then
		pid=$(mount_pid "$W/m")
		kill -KILL "$pid"
		gone "$pid"
		kill -TERM "$writers"
		umount -l "$W/m"
		{ wait "$writers"; } 2> /dev/null
		refuses "a mount says why it cannot be" "no space left|quota|full" 1 vol_mount a "$W/m" ""
		"$empty"
		check "mount with room again" vol_mount a "$W/m" ""
	else
		"$empty"
		check "with room again writes go on by themselves" until_true 90 settled
		sleep 1
		kill -TERM "$writers"
		wait "$writers"
		ok $? "no writer saw an error" "$(cat "$W/writers.err")"
	fi
	check "nothing acknowledged is missing" eval '"$TOOLS/wedge" check "$W/m/w" < "$W/acked"'
	is "$(sha256sum < "$W/m/file")" "$sum" "nor a byte of the file"
	check "unmount" vol_unmount "$W/m"
	check "the store is sound" clonefs fsck --deep "$STORE"
	rm -rf "$W/cache-a" "$W/log"
	helpers=()
}

mkdir "$W/disk"
if mount -t tmpfs -o size=400m tmpfs "$W/disk"; then
	fill_disk() {
		dd if=/dev/zero of="$W/disk/other" bs=64k 2> /dev/null
		dd if=/dev/zero of="$W/disk/more" bs=4k 2> /dev/null
		[ "$(df --output=avail "$W/disk" | tail -n 1)" -eq 0 ]
	}
	empty_disk() { rm -f "$W/disk/other" "$W/disk/more"; }
	STORE=file://$W/disk/store
	full "a directory" fill_disk empty_disk
	rm -r "$W/disk/store"
	STORE=file://$W/disk/killed
	full "a directory, and the daemon is killed" fill_disk empty_disk killed
else
	skip "a directory" "host: no tmpfs can be mounted"
fi

if s3_start; then
	quota() { radosgw-admin -c "$S3_DIR/ceph.conf" -n client.rgw quota "$@" --quota-scope=bucket --bucket=bucket >> "$W/quota.out" 2>&1; }
	fill_bucket() { quota set --max-objects=1 && quota enable; }
	empty_bucket() { quota disable; }
	STORE=s3://bucket/db
	full "an S3 server's quota" fill_bucket empty_bucket
else
	skip "an S3 server's quota" "host: no S3 server can be started"
fi
tap_done
