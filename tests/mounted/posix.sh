#!/bin/bash
# POSIX: every assertion of posixtest on a mount and, in the same run, on ext4; random operations against a model; and that
# what is there outlives a remount, a killed mount, and the loss of the cache.
# timeout: 900
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root, and the test acts as several users"

# judge WHAT DIR ARGUMENTS...: one line for all of posixtest's assertions; those that fail are shown, and where it ended before its end.
judge() {
	local what=$1 code out why
	shift
	out=$("$TOOLS/posixtest" "$@" 2>&1)
	code=$?
	why=$(grep -A 2 -e '^not ok' -e '^Bail' -e 'ERROR:' <<< "$out")
	if ! grep -q '^1\.\.[0-9]' <<< "$out"; then
		why="IT ENDED EARLY, status $code, behind: $(grep '^ok' <<< "$out" | tail -n 1)
$why
$(tail -n 5 <<< "$out")"
		[ $code -ne 0 ] || code=1
	fi
	ok $code "$what: $(grep -c '^ok' <<< "$out") assertions" "$why
status $code"
}

run_posix() { # WHAT DIR [SUITES...]
	mkdir -p "$2"
	chmod 755 "$2"
	judge "$@"
}

# What a tree is: inode numbers, types, modes, owners, links, sizes, blocks, times to the nanosecond, targets, attributes, ACLs, contents.
signature() (
	cd "$1" || exit 1
	LC_ALL=C
	export LC_ALL
	find . -printf '%P %i %y %m %U %G %n %s %b %T@ %A@ %l\n' | sort
	find . -type f -exec sha256sum {} + | sort -k 2
	find . -print0 | sort -z | xargs -0 getfattr -hd -m - -e hex 2>/dev/null
	stat -c '%n %t %T' dev/*
)

make_tree() (
	cd "$1" || exit 1
	umask 022
	mkdir -p a/b/c dev empty
	chmod 2770 a/b
	chmod 1777 empty
	echo text > a/text
	ln a/text a/b/second
	ln -s ../text a/b/link
	ln -s "$(head -c 4095 /dev/zero | tr '\0' t)" long
	mkfifo -m 600 dev/fifo
	mknod dev/null c 1 3
	mknod dev/block b 7 1000
	head -c 3000000 /dev/urandom > big
	truncate -s 1G sparse
	dd if=/dev/urandom of=sparse bs=1000 count=3 seek=500000 conv=notrunc status=none
	printf x > "$(printf 'odd\n\t\\\377name')"
	printf x > "$(head -c 255 /dev/zero | tr '\0' n)"
	chown 123:456 a/text big
	chown -h 77:88 a/b/link
	chmod 6755 big
	setfattr -n user.one -v 1 a/text
	setfattr -n trusted.two -v "$(head -c 1000 /dev/zero | tr '\0' v)" a/b
	setfacl -m u:1234:rw -m g:4321:r a/b/c big
	setfacl -d -m u:1234:rwx a/b/c
	touch -d '1960-02-03 04:05:06.123456789 UTC' a/text
	touch -d '2100-01-01 00:00:00.000000001 UTC' big
	touch -h -d '2001-01-01 UTC' a/b/link
	for i in $(seq 300); do echo "$i" > "a/b/c/$i"; done
	rm a/b/c/1?
)

check "format" clonefs format "$STORE"
check "mount" vol_mount a "$W/m"
run_posix "posixtest on the mount" "$W/m/posix"

mkdir "$W/m/ground"
check "ground for a read-only mount" "$TOOLS/posixtest" --ground "$W/m/ground"
reference=
if truncate -s 3G "$W/ext4.img" 2>/dev/null && mkfs.ext4 -q -F -b 4096 -I 256 "$W/ext4.img" 2>/dev/null && mkdir "$W/ext4" &&
	mount -o loop "$W/ext4.img" "$W/ext4" 2>/dev/null; then
	reference="$W/ext4 ext4"
else
	reference="$W/plain $(stat -f -c %T "$W") (no ext4 can be mounted here)"
fi
run_posix "posixtest on ${reference#* }" "${reference%% *}/posix"
mkdir "${reference%% *}/ground"
check "ground there" "$TOOLS/posixtest" --ground "${reference%% *}/ground"
if [ "${reference#* }" = ext4 ]; then
	check "ext4 read-only" mount -o remount,ro "$W/ext4"
	judge "what a read-only mount refuses, on ext4" --readonly "$W/ext4/ground"
	check "ext4 read-write" mount -o remount,rw "$W/ext4"
fi

# --- random operations: several files at once, then again after each way to lose the mount
seeds="11 12 13"
count=2500
fsx() { "$TOOLS/fsxtest" "$@"; }
for s in $seeds; do fsx "$W/m/fsx$s" "$s" $count > "$W/fsx$s" 2>&1 & jobs[s]=$!; done
for s in $seeds; do
	wait "${jobs[s]}"
	ok $? "$count random operations, seed $s" "$(cat "$W/fsx$s")"
done
verify() { # WHAT
	local s
	for s in $seeds; do check "seed $s, $1" fsx --verify "$W/m/fsx$s" "$s" $count; done
}
check "and on ${reference#* }" fsx "${reference%% *}/fsx" 11 $count

mkdir "$W/m/tree"
make_tree "$W/m/tree"
signature "$W/m/tree" > "$W/before"
is "$(wc -l < "$W/before")" "$(signature "$W/m/tree" | wc -l)" "a tree of everything has a signature"
same() { signature "$W/m/tree" | diff "$W/before" - | head -20 | tee "$W/diff"; [ ! -s "$W/diff" ]; }

check "unmount" vol_unmount "$W/m"
check "mount read-only" vol_mount ro "$W/m" ro
judge "what a read-only mount refuses" --readonly "$W/m/ground"
check "the tree is the same there" same
check "unmount" vol_unmount "$W/m"
check "mount again" vol_mount a "$W/m"
check "the tree is the same after a remount" same
verify "after a remount"

# --- killed: what was fsynced is there
mkfifo "$W/tell"
fsx --until-told "$W/m/killed" 99 < "$W/tell" > "$W/told" 2>&1 &
killed=$!
exec 9> "$W/tell"
sleep 2
echo stop >&9
exec 9>&-
wait $killed
ok $? "random operations until told to stop, then fsync" "$(cat "$W/told")"
vol_kill "$W/m"
check "mount after a kill" vol_mount a "$W/m"
check "the tree is the same after a kill" same
verify "after a kill"
check "what was fsynced before the kill is there" fsx --verify "$W/m/killed" 99 "$(cat "$W/told")"

# --- another node, with an empty cache: everything comes from the store
check "sync" clonefs sync "$W/m"
vol_kill "$W/m"
check "takeover by another node" vol_mount b "$W/m" "" --takeover
check "the tree is the same on another node" same
verify "on another node"
check "and the last file" fsx --verify "$W/m/killed" 99 "$(cat "$W/told")"
run_posix "posixtest there, with durability=local still" "$W/m/posix" orphans data mmap rename
check "unmount" vol_unmount "$W/m"

check "mount with durability=store" vol_mount b "$W/m" durability=store
run_posix "posixtest with durability=store" "$W/m/posix" orphans special xattr acl
check "unmount" vol_unmount "$W/m"
check "the store is clean" clonefs fsck --deep "$STORE"
mountpoint -q "$W/ext4" && umount "$W/ext4"
tap_done
