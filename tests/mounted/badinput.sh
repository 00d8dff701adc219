#!/bin/bash
# Bad input: each is one clear line that names what to do, a non-zero exit, and nothing changed.
# timeout: 300
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

mkdir "$W/m" "$W/other"

# --- addresses and calls
refuses "an address of no known kind" "s3://.*file://" 2 clonefs format "ftp://x/y"
refuses "a relative file address" "absolute" 2 clonefs format "file://x/y"
refuses "an empty bucket" "bucket" 2 clonefs format "s3:///x"
refuses "no such command" "--help" 2 clonefs frobnicate
refuses "no such option" "--help" 2 clonefs format --frobnicate "$STORE"
refuses "too few arguments" "--help" 2 clonefs mount "$STORE"
refuses "a mount option that is not known" "frobnicate" 2 clonefs mount "$STORE" "$W/m" -o frobnicate
refuses "a mount option with a bad value" "cache_size" 2 clonefs mount "$STORE" "$W/m" -o cache_size=lots
refuses "a bad price" "price" 2 clonefs stat --price put=x "$STORE"
refuses "dump of what is no object" "object" 2 clonefs dump /etc/passwd
refuses "dump of a store" "stat" 2 clonefs dump "$STORE"

# --- no volume, two volumes
refuses "stat of an empty place" "format" 4 clonefs stat "$STORE"
refuses "mount of an empty place" "format" 4 vol_mount a "$W/m"
refuses "fsck of an empty place" "no volume" 8 clonefs fsck "$STORE"
check "format" clonefs format "$STORE"
before=$(snapshot "$W/store")
refuses "format over a volume" "volume" 4 clonefs format "$STORE"
is "$(snapshot "$W/store")" "$before" "the refused format changed nothing"

# --- mount points
refuses "a mount point that does not exist" "mkdir" 1 clonefs mount "$STORE" "$W/missing" -o "cache_dir=$W/c"
touch "$W/file"
refuses "a mount point that is a file" "directory" 1 clonefs mount "$STORE" "$W/file" -o "cache_dir=$W/c"
refuses "a DIR that is no mount" "not on a mounted" 1 clonefs stat "$W/other"
refuses "sync of a DIR that is no mount" "not on a mounted" 1 clonefs sync "$W/other"
refuses "unmount of a DIR that is no mount" "not on a mounted" 1 clonefs unmount "$W/other"

# --- no permission, no space, a cache on its own mount
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	mkdir -m 700 "$W/private"
	refuses "a mount point of somebody else" "permission|denied" 1 setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$CLONEFS" mount "$STORE" "$W/private" -o "cache_dir=$W/c"
	refuses "a cache directory that cannot be made" "denied" 1 setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$CLONEFS" mount "$STORE" "$W/other" -o "cache_dir=$W/private/c,control=/tmp/clonelove-test-$$.sock"
	mkdir "$W/tiny"
	if mount -t tmpfs -o size=256k tmpfs "$W/tiny" 2>/dev/null; then
		refuses "no space for the cache" "space" 1 clonefs mount "$STORE" "$W/other" -o "cache_dir=$W/tiny/c,node=t"
		umount "$W/tiny"
	else
		skip "no space for the cache" "host: no tmpfs can be mounted"
	fi
else
	skip "permissions" "host: not root"
fi
is "$(snapshot "$W/store" | grep -v epochs/ | grep -v log/ | grep -v heartbeat)" "$before" "refused mounts left the superblock alone"
check "the volume still mounts" vol_mount a "$W/m" takeover

# --- a mount that is in use
refuses "a mount point in use" "mounted" 3 clonefs mount "$STORE" "$W/m" -o "cache_dir=$W/c2,node=b"
refuses "a cache directory in use" "$W/cache-a" 1 clonefs mount "$STORE" "$W/other" -o "cache_dir=$W/cache-a,node=b,takeover"
refuses "a volume that has a live writer" "takeover" 3 vol_mount b "$W/other"
exec 5> "$W/m/open"
refuses "unmount while a file is open" "in use" 3 clonefs unmount "$W/m"
exec 5>&-
echo data > "$W/m/file"
head -c 3000000 /dev/urandom > "$W/m/big"
check "it still serves, and unmounts" clonefs unmount "$W/m"

# --- damaged and newer objects, one at a time, each put right again
damage() { # description pattern file command
	local what=$1 pattern=$2 file=$3 cmd=$4
	cp -a "$W/store/$file" "$W/keep"
	eval "$cmd"
	before=$(snapshot "$W/store")
	refuses "mount with $what" "$pattern" 6 vol_mount a "$W/m"
	is "$(snapshot "$W/store")" "$before" "the refused mount changed nothing in the store ($what)"
	refuses_fsck "$what"
	cp -a "$W/keep" "$W/store/$file"
}
refuses_fsck() {
	local out code
	out=$(clonefs fsck "$STORE" 2>&1)
	code=$?
	[ $code -eq 4 ] || [ $code -eq 8 ]
	ok $? "fsck reports $1" "exit $code: $out"
}
slot=$(cd "$W/store" && find log -type f -size +1k | sort | head -n 1)
damage "a truncated log object" "damaged|corrupt" "$slot" 'truncate -s -100 "$W/store/$file"'
damage "a log object with a flipped bit in its footer" "damaged|corrupt" "$slot" \
	'printf X | dd of="$W/store/$file" bs=1 seek=$(($(stat -c %s "$W/store/$file") - 300)) conv=notrunc status=none'
damage "a missing log object" "missing|hole" "$slot" 'rm "$W/store/$file"'
damage "an empty log object" "damaged|corrupt" "$slot" ': > "$W/store/$file"'
damage "a corrupt superblock" "damaged|corrupt" volume 'printf XXXX | dd of="$W/store/volume" bs=1 seek=20 conv=notrunc status=none'
claim=$(cd "$W/store" && find epochs -type f | sort | tail -n 1)
damage "a corrupt claim" "damaged|corrupt" "$claim" 'printf XXXX | dd of="$W/store/$file" bs=1 seek=40 conv=notrunc status=none'
check "put right, it mounts" vol_mount a "$W/m"
is "$(cat "$W/m/file")" data "with its data"
check "and unmounts" clonefs unmount "$W/m"

# --- data that is damaged is EIO, never wrong bytes
big=$(cd "$W/store" && find log -type f -size +1000k | sort | tail -n 1)
cp -a "$W/store/$big" "$W/keep"
printf XXXXXXXX | dd of="$W/store/$big" bs=1 seek=200000 conv=notrunc status=none
rm -rf "$W/cache-a"
check "a damaged data block does not stop a mount" vol_mount a "$W/m"
cat "$W/m/big" > "$W/read" 2>"$W/stderr"
ok $((! $?)) "reading it fails" "read $(stat -c %s "$W/read") bytes"
grep -qi "input/output error" "$W/stderr"
ok $? "with EIO" "$(cat "$W/stderr")"
out=$(clonefs fsck --deep "$STORE")
is $? 4 "fsck --deep exits 4"
grep -q "$big" <<< "$out"
ok $? "and names the object" "$out"
cp -a "$W/keep" "$W/store/$big"
check "put right, it reads" cmp -n 3000000 "$W/m/big" "$W/m/big"
check "unmount" clonefs unmount "$W/m"

# --- a newer format: the version is the first number behind the magic of the superblock
cp -a "$W/store/volume" "$W/keep"
"$TOOLS/newer" "$W/store/volume"
refuses "a newer format: mount" "newer" 1 vol_mount a "$W/m"
refuses "a newer format: stat" "newer" 1 clonefs stat "$STORE"
refuses "a newer format: fsck" "newer" 8 clonefs fsck "$STORE"
cp -a "$W/keep" "$W/store/volume"

# --- a dead mount is named as such
check "mount" vol_mount a "$W/m"
pid=$(mount_pid "$W/m")
kill -KILL "$pid"
gone "$pid"
refuses "stat of a dead mount" "umount -l" 1 clonefs stat "$W/m"
refuses "mount over a dead mount" "umount -l" 3 vol_mount a "$W/m"
umount -l "$W/m"
check "the node that wrote it last comes back by itself" vol_mount a "$W/m"
check "unmount" clonefs unmount "$W/m"

# --- S3: server, keys, bucket, clock
if s3_start; then
	refuses "a missing bucket" "bucket" 1 clonefs format s3://no-such-bucket/x
	AWS_SECRET_ACCESS_KEY=wrong refuses "a wrong secret" "credential|key|denied|signature" 1 clonefs format s3://bucket/x
	AWS_ACCESS_KEY_ID=nobody refuses "a wrong key" "credential|key|denied" 1 clonefs format s3://bucket/x
	refuses "a server that is not there" "unavailable|connect|reach" 5 env AWS_ENDPOINT_URL_S3=http://127.0.0.1:1 "$CLONEFS" stat s3://bucket/x -o timeout_ms=2000
	check "format on S3" clonefs format s3://bucket/x
	refuses "format again on S3" "volume" 4 clonefs format s3://bucket/x
	refuses "a prefix without a volume" "format" 4 clonefs stat s3://bucket/y
else
	skip "S3: wrong keys, missing bucket" "host: no S3 server can be started"
fi
refuses "no credentials" "AWS_ACCESS_KEY_ID" 1 env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY HOME="$W" AWS_EC2_METADATA_DISABLED=true \
	"$CLONEFS" stat s3://bucket/x
tap_done
