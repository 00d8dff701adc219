#!/bin/bash
# fsck.clonefs against a volume with several epochs and checkpoints: clean when it is; and with each object in turn deleted, truncated,
# or changed in one byte, it says so. A mount then either refuses or serves exactly what was there: never a shorter history.
# timeout: 600
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

contents() { snapshot "$1"; (cd "$1" && find . -printf '%p %y %m %n %s %T@ %l\n' | sort | sha256sum); }
fsck_code() {
	clonefs fsck "$@" "$STORE" > "$W/out" 2>&1
	echo $?
}

# Three writers, one of which died, and checkpoints in between.
check "format" clonefs format "$STORE"
for life in 1 2 3; do
	check "mount $life" vol_mount "node$life" "$W/m" "takeover,checkpoint_size=1M,commit_interval=200ms"
	mkdir "$W/m/d$life"
	for i in 1 2 3 4 5 6 7 8; do
		for j in 1 2 3 4 5 6 7 8 9 10; do head -c $((RANDOM % 9000)) /dev/urandom > "$W/m/d$life/f$i.$j"; done
		clonefs sync "$W/m"
	done
	# Metadata that does not compress, so that checkpoints fall due: symbolic links with random targets.
	mkdir "$W/m/d$life/links"
	perl -e 'for $i (1 .. 2500) { symlink join("", map { chr(48 + int rand 75) } 1 .. 900), "$ARGV[0]/$i" or die $! }' "$W/m/d$life/links"
	clonefs sync "$W/m"
	until_true 20 sh -c "find '$W/store/manifests' -newer '$W/m/d$life/links/1' -type f 2>/dev/null | grep -q ."
	rm -f "$W/m/d$life/f1."*
	ln -s target "$W/m/d$life/link"
	setfattr -n user.x -v "$life" "$W/m/d$life" 2>/dev/null
	if [ $life -eq 2 ]; then
		clonefs sync "$W/m"
		vol_kill "$W/m"
	else
		check "unmount $life" clonefs unmount "$W/m"
	fi
done
check "read-only mount" vol_mount reader "$W/m" ro
contents "$W/m" > "$W/truth"
check "unmount" clonefs unmount "$W/m"
is "$(fsck_code)" 0 "clean"
is "$(fsck_code --deep)" 0 "clean, deep"
is "$(fsck_code -a)" 0 "clean, as at boot"
[ ! -s "$W/out" ]
ok $? "and silent then" "$(cat "$W/out")"
is "$(clonefs fsck --json --deep "$STORE" | jq -r '[.complete, .errors, .epoch > 2, .bytes_read > 100000] | map(tostring) | join(" ")')" "true 0 true true" "as JSON"
manifests=$(find "$W/store/manifests" -type f | wc -l)
[ "$manifests" -ge 2 ]
ok $? "the volume has checkpoints ($manifests)"

# What a mount makes of it: "same", "refused", or what differs.
mounts_as() {
	if ! vol_mount reader "$W/m" ro > "$W/mount.out" 2>&1; then
		[ "$(wc -l < "$W/mount.out")" -eq 1 ] && echo refused || cat "$W/mount.out"
		return
	fi
	contents "$W/m" > "$W/now" 2>/dev/null
	clonefs unmount "$W/m" > /dev/null 2>&1 || umount -l "$W/m"
	rm -rf "$W/cache-reader"
	if cmp -s "$W/truth" "$W/now"; then echo same; else diff "$W/truth" "$W/now" | head -n 5; fi
}

# Every object, or (FULL unset) a spread of those of the log and all others.
mapfile -t objects < <(cd "$W/store" && find . -type f ! -path './.clonelove/*' | sed 's,^\./,,' | sort | awk -v full="${FULL:-}" '!/^log/ || full || NR % 8 == 0')
unseen='' wrong='' seals=0
for o in "${objects[@]}"; do
	f=$W/store/$o
	cp -a "$f" "$W/keep"
	for how in delete truncate flip; do
		case $how in
		delete) rm "$f" ;;
		truncate) truncate -s $(($(stat -c %s "$W/keep") * 2 / 3)) "$f" ;;
		flip) byte=$((RANDOM * 32768 + RANDOM)); byte=$((byte % $(stat -c %s "$W/keep")))
			old=$(od -An -tu1 -j $byte -N 1 "$f"); printf "\\x$(printf %x $(((old + 1) % 256)))" | dd of="$f" bs=1 seek=$byte conv=notrunc status=none ;;
		esac
		code=$(fsck_code --deep)
		got=$(mounts_as)
		case $how.$o in
		# Harmless to lose: a checkpoint is a shortcut, the heartbeat a courtesy, and some parts belong to no manifest any more.
		delete.manifests/* | delete.heartbeat) [ "$code" -eq 0 ] || [ "$code" -eq 4 ] ;;
		*.runs/*) [ "$code" -eq 4 ] || { [ "$code" -eq 0 ] && ! grep -q "${o#runs/}" <<< "$(cat "$W/parts" 2>/dev/null)"; } ;;
		# A byte of a compressed frame may carry bits that mean nothing: unseen is right where every file still hashes to the same.
		flip.log/*) [ "$code" -eq 4 ] || [ "$code" -eq 8 ] || { [ "$code" -eq 0 ] && [ "$got" = same ]; } ;;
		*) [ "$code" -eq 4 ] || [ "$code" -eq 8 ] ;;
		esac || unseen+="$how $o: exit $code; $(head -n 3 "$W/out")"$'\n'
		# Data that cannot be read shows as a file whose hash is missing; anything else that differs is another history.
		if [ "$got" != same ] && [ "$got" != refused ] && grep -q '^>' <<< "$got"; then wrong+="$how $o: $got"$'\n'; fi
		cp -a "$W/keep" "$f"
	done
done
[ -z "$unseen" ]
ok $? "${#objects[@]} objects deleted, truncated, changed: fsck sees each" "$unseen"
[ -z "$wrong" ]
ok $? "and no mount ever served something else" "$wrong"
is "$(fsck_code --deep)" 0 "put right, it is clean again"

# --- garbage
mkdir -p "$W/store/probe" "$W/store/runs"
echo x > "$W/store/probe/left"
echo x > "$W/store/runs/00112233445566778899aabbccddeeff"
echo x > "$W/store/runs/ffeeddccbbaa99887766554433221100"
touch -d '2 days ago' "$W/store/probe/left" "$W/store/runs/00112233445566778899aabbccddeeff"
is "$(fsck_code)" 0 "garbage is a note"
[ -e "$W/store/probe/left" ]
ok $? "and nothing is changed without --repair"
is "$(fsck_code -n --repair)" 0 "-n wins"
[ -e "$W/store/probe/left" ]
ok $? "and changes nothing"
is "$(fsck_code --repair)" 1 "--repair exits 1"
[ ! -e "$W/store/probe/left" ] && [ ! -e "$W/store/runs/00112233445566778899aabbccddeeff" ]
ok $? "what was old is gone"
[ -e "$W/store/runs/ffeeddccbbaa99887766554433221100" ]
ok $? "a part that is new stays: its manifest may be on the way"
is "$(fsck_code --deep)" 0 "clean"
check "mounts" vol_mount last "$W/m"
contents "$W/m" > "$W/now"
check "with all its data" cmp "$W/truth" "$W/now"
is "$(fsck_code)" 0 "fsck beside a writer"
check "unmount" clonefs unmount "$W/m"

# --- an interrupt
timeout -s INT 0.05 "$CLONEFS" fsck --deep "$STORE" > "$W/out" 2>&1
code=$?
[ $code -eq 32 ] || [ $code -eq 124 ] || [ $code -eq 0 ]
ok $? "interrupted: exit 32, or done by then" "exit $code"
tap_done
