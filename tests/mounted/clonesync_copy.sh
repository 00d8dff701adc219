#!/bin/bash
# clonesync join --from: of a published copy that is partly stale, damaged, and full of strange keys, in a directory and on a real S3 server; the copy away, empty, refused; a kill on the way.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh

command -v jq >/dev/null || skip_all "jq is not installed"
T=$W/tree-0 C=$W/copy
port=
clonesync keygen -o "$KEY"
start() { # the member that is joined
	"$CLONESYNC" run "$T" -k "$KEY" -s "$W/state-0" -l 127.0.0.1:0 -n m0 >> "$W/log-0" 2>&1 &
	pids+=("$!")
	until_true 20 clonesync status -s "$W/state-0" && port=$(get 0 port)
}
# join N [OPTION...]: member n, into an empty directory
join() {
	mkdir -p "$W/tree-$1"
	timeout 100 "$CLONESYNC" join "$W/tree-$1" -k "$KEY" -s "$W/state-$1" -p "127.0.0.1:$port" -n "m$1" --json "${@:2}" > "$W/out" 2> "$W/err"
}
joined() { jq -r ".$1" "$W/out"; }
# same DESCRIPTION N: joined with success, and all is there that the other has. It is not waited for from then on.
same() {
	tree_of 0 > "$W/list-0" 2>&1
	tree_of "$2" > "$W/list-$2" 2>&1
	cmp -s "$W/list-0" "$W/list-$2" && [ "$(joined root)" = "$(get 0 root)" ]
	ok $? "$1" "$(diff "$W/list-0" "$W/list-$2" | head -n 8; cat "$W/out" "$W/err")"
	clonesync forget -s "$W/state-0" "m$2" > /dev/null
}
# What the copy is, to see that nobody changes it.
seen() { (cd "$C" && find . -printf '%P %y %m %T@ %C@\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

# --- the tree, of which a copy is made; then it goes on
mkdir -p "$T/d/e" "$T/it's 100% + a#b?c&d=é"
for n in {1..40}; do head -c $((1000 + n * 100)) /dev/urandom > "$T/d/f$n"; done
head -c 3145728 /dev/urandom > "$T/big"
cp "$T/big" "$T/log"
head -c 300000 /dev/urandom > "$T/it's 100% + a#b?c&d=é/name"$'\n'"of two lines"
echo deleted > "$T/d/e/deleted"
echo moved > "$T/d/moved"
ln -s ../big "$T/d/link"
ln "$T/d/f1" "$T/d/e/second-name"
: > "$T/empty"
chmod 600 "$T/d/f2"
cp -a "$T" "$C"
printf %0255d/%0255d/ 1 2 > "$W/deep"
deep=$(cat "$W/deep") # no key is that long
mkdir -p "$T/$deep"
echo "too long for a key" > "$T/$deep/file"
echo "no UTF-8" > "$T/d/"$'latin\351'
bytes=$(find "$C" -type f -size +0 -links 1 -printf '%s\n' | awk '{ s += $1 } END { print s }')
bytes=$((bytes + $(stat -c %s "$C/d/f1") - $(stat -c %s "$C/d/moved") - $(stat -c %s "$C/d/e/deleted") - 3145728)) # the big one is there twice, and copied here
rm -r "$T/d/e/deleted"
mv "$T/d/moved" "$T/d/is-here"
# What is not as it was: another content of the same size, a shorter one, a longer one, bytes that are damaged in the copy, a directory for a file, a file for a directory.
echo newer > "$T/d/f3"
printf x | dd of="$T/d/f4" bs=1 seek=7 conv=notrunc status=none
truncate -s 500 "$T/d/f5"
echo more >> "$T/log"
truncate -s 1000 "$C/d/f6"
echo more >> "$C/d/f7"
printf x | dd of="$C/big" bs=1 seek=1000000 conv=notrunc status=none
rm "$C/d/f8" && mkdir "$C/d/f8" && echo inside > "$C/d/f8/file"
rm "$C/d/f9" && mkfifo "$C/d/f9"
rm "$C/d/f10" && ln -s /etc/hostname "$C/d/f10"
# Keys that nobody may follow.
mkdir -p "$C/.clonesync/tmp" "$C/..." "$C/dir-marker"
echo evil | tee "$C/.clonesync/tmp/p-1-1-00" "$C/.clonesync/token" "$C/.../x" "$C/never-there" > "$C/dir-marker/x"
start
check "a member runs" clonesync wait --in-sync --timeout 20 -s "$W/state-0"
before=$(seen)
join 1 --from "file://$C"
is $? 0 "one joins from a copy that is not what it should be"
same "it has what the member has" 1
[ ! -e "$W/tree-1/never-there" ] && [ ! -e "$W/tree-1/d/e/deleted" ] && [ ! -e "$W/tree-1/d/moved" ] && [ ! -e "$W/tree-1/d/f8/file" ]
ok $? "and nothing else"
is "$(seen)" "$before" "the copy is as it was"
is "$(ls -A "$W/tree-1/.clonesync/tmp")" "" "nothing is left over"
of_copy=$(joined copy_bytes) of_members=$(joined fetched_bytes)
# Not of the copy: f3 to f10, a block of the big file, that with the end of the log, what has no key, what was moved.
[ "$of_copy" -ge $((bytes - 8 * 6000 - 2 * 131072)) ] && [ "$of_members" -le $((8 * 6000 + 4 * 131072 + 1000)) ]
ok $? "what was right in it came from there" "$of_copy bytes of the copy, $of_members of the member; $bytes are in it"

# --- where there is nothing to be had
mkdir "$W/nothing"
join 2 --from "file://$W/nothing"
is "$? $(joined copy_bytes) $(grep -c "there is nothing in the copy in file://$W/nothing" "$W/err")" "0 0 1" "an empty copy, which is said"
same "all comes from the member" 2
join 3 --from "file://$W/no/such"
is "$? $(joined copy_bytes) $(grep -c "no directory $W/no .*all is asked of the members" "$W/err")" "0 0 1" "no copy, which is said"
same "all comes from the member then, too" 3
refuses "an address that is none" "not a store's address: ftp://x" 2 clonesync join "$W/nothing" -k "$KEY" -s "$W/state-9" -p "127.0.0.1:$port" --from ftp://x
for fault in get:*:auth get:*:corrupt get:*:truncate '*:*:no-bucket'; do
	rm -rf --one-file-system "$W/tree-4" "$W/state-4"
	CLONELOVE_FAULTS=$fault join 4 --from "file://$C"
	is "$? $(grep -c "cannot be read: " "$W/err")" "0 $(case $fault in *auth | *bucket) echo 1 ;; *) echo 0 ;; esac)" "a copy that fails ($fault) keeps nobody from joining"
	same "and does no harm" 4
done

# --- a kill on the way
mkdir "$W/tree-5"
CLONELOVE_FAULTS='get:*:delay=100' "$CLONESYNC" join "$W/tree-5" -k "$KEY" -s "$W/state-5" -p "127.0.0.1:$port" -n m5 --from "file://$C" > "$W/out" 2> "$W/err" &
killed=$!
pids+=("$killed")
check "one begins, of a slow copy" until_true 20 sh -c 'ls "$1"/d/f2*' - "$W/tree-5"
kill -KILL "$killed"
wait "$killed" 2>/dev/null
[ -e "$W/state-5/joining" ]
ok $? "and is killed"
join 5 --from "file://$C"
is $? 0 "the same call goes on"
same "and ends with all of it" 5
is "$(ls -A "$W/tree-5/.clonesync/tmp")" "" "nothing is left over then, either"

# --- a real S3 server
if s3_start; then
	for key in big log d/f{3,4,6,7,20,30} "it's 100% + a#b?c&d=é/name"$'\n'"of two lines"; do
		"$TOOLS/s3tool" put s3://bucket/published "$key" "$C/$key" >/dev/null || break
	done
	ok $? "some of the copy is on an S3 server"
	join 6 --from s3://bucket/published
	is $? 0 "one joins from there"
	same "it has what the member has" 6
	# Both big ones but for the damaged block, f20, f30, what f7 was before it grew there, and the one with the strange name.
	[ "$(joined copy_bytes)" -eq $((2 * 3145728 - 131072 + 3000 + 4000 + 1700 + 300000)) ]
	ok $? "what was right in it came from there" "$(cat "$W/out")"
	AWS_SECRET_ACCESS_KEY=wrong join 7 --from s3://bucket/published
	is "$? $(joined copy_bytes) $(grep -c "the copy in s3://bucket/published cannot be read: " "$W/err")" "0 0 1" "a wrong secret is said, and keeps nobody from joining" "$(cat "$W/err")"
	grep -q wrong "$W/err" && fail "the secret is not said" || pass "the secret is not said"
	same "all comes from the member" 7
else
	skip "a copy on an S3 server" "host: no S3 server can be started"
fi
tap_done
