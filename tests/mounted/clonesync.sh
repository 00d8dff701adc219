#!/bin/bash
# Three members of a cluster in network namespaces: files of all kinds, kills under load, a network that is cut, and the commands.
# timeout: 300
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh
SLOW=$([ -n "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ] && echo 60 || echo 30)

members_net 5 || skip_all "host: no network namespaces with a bridge can be made (root and ip are needed)"
command -v jq >/dev/null || skip_all "jq is not installed"

check "a key" clonesync keygen -o "$KEY"
is "$(stat -c %a "$KEY")" 600 "which is its owner's alone"
[ "$(clonesync keygen)" != "$(clonesync keygen)" ]
ok $? "no two keys are the same"

# --- one member begins, the others come
mkdir "$W/tree-0"
echo "there before" > "$W/tree-0/before"
for n in 0 1 2; do
	member_start $n
	ok $? "member $n starts" "$(tail -n 5 "$W/log-$n")"
done
check "what was there before is everywhere" settled $SLOW 0 1 2
for n in 0 1 2; do
	check "wait --in-sync at $n" timeout 20 "$CLONESYNC" wait --in-sync --timeout 15 -s "$W/state-$n"
	check "it knows the other two" until_true $SLOW sh -c '[ "$("$1" peers --json -s "$2" | jq "map(select(.up and .compared)) | length")" = 2 ]' - "$CLONESYNC" "$W/state-$n"
done
clonesync peers -s "$W/state-2" | grep -q "^m1 .*10\.77\.0\.2:$PORT"
ok $? "peers shows names and addresses" "$(clonesync peers -s "$W/state-2")"

# --- root's rights
want="chown dac_override dac_read_search fowner fsetid lease"
caps=$(sed -n 's/^CapEff:\t*//p' "/proc/${member_pids[0]}/status")
is "$caps $(sed -n 's/^CapBnd:\t*//p' "/proc/${member_pids[0]}/status")" "000000001000001f 000000001000001f" "it keeps no more of root's rights than $want"
grep -q "of root's rights it keeps CAP_CHOWN" "$W/log-0"
ok $? "and says so" "$(cat "$W/log-0")"

# --- all kinds of files, made on each
all_kinds() { # DIR
	mkdir -p "$1/deep/er" && chmod 750 "$1/deep" && : > "$1/empty" && echo small > "$1/small" || return
	head -c 100000 /dev/urandom > "$1/middle" && head -c 5000000 /dev/urandom > "$1/deep/er/big" || return
	truncate -s 3M "$1/sparse" && echo end >> "$1/sparse" || return
	echo x > "$1/"$'line\nfeed' && echo y > "$1/"$'\377\376' && echo z > "$1/$(printf 'n%.0s' {1..255})" || return
	echo owned > "$1/owned" && chown 1234:4321 "$1/owned" && chmod 2640 "$1/owned" || return
	ln -s small "$1/link" && ln -s /nowhere/at/all "$1/dangling" && ln -s deep "$1/to-dir" || return
	touch -d '2001-02-03 04:05:06.123456789' "$1/deep/old-as-can-be" && chmod 400 "$1/deep/old-as-can-be" || return
	[ -z "$xattrs" ] || setfattr -n user.colour -v blue "$1/small" || return
	[ -z "$acls" ] || setfacl -m u:1234:rwx "$1/middle"
}
: > "$W/tree-0/probe"
xattrs=$(setfattr -n user.a -v b "$W/tree-0/probe" 2>/dev/null && echo 1)
acls=$(setfacl -m u:1:r "$W/tree-0/probe" 2>/dev/null && echo 1)
[ -n "$xattrs" ] || skip "extended attributes" "host: there are none on $W"
[ -n "$acls" ] || skip "ACLs" "host: there are none on $W"
for n in 0 1 2; do
	mkdir "$W/tree-$n/from-$n"
	check "all kinds of files are made on $n" all_kinds "$W/tree-$n/from-$n"
done
check "they are the same on all: contents, modes, owners, times, attributes, targets" settled $SLOW 0 1 2
is "$(find "$W/tree-2" -path "$W/tree-2/.clonesync" -prune -o -type f -print | wc -l)" 35 "and all of them are there"
is "$(stat -c '%a %u:%g' "$W/tree-1/from-0/owned")" "2640 1234:4321" "an owner and a mode"
is "$(readlink "$W/tree-1/from-2/dangling")" /nowhere/at/all "a symbolic link"
is "$(stat -c %.9Y "$W/tree-0/from-1/deep/old-as-can-be")" "$(date -d '2001-02-03 04:05:06.123456789' +%s.%N)" "a time in nanoseconds"
mv "$W/tree-1/from-0" "$W/tree-1/moved"
rm -r "$W/tree-2/from-1"
chmod 600 "$W/tree-0/before"
check "a moved tree, a deleted one and a mode" settled $SLOW 0 1 2
[ -e "$W/tree-0/moved/deep/er/big" ] && [ ! -e "$W/tree-0/from-1" ]
ok $? "are on the others"

# --- killed and started again under load
load() { # N
	local i=0 d=$W/tree-$1/load
	mkdir -p "$d"
	while [ ! -e "$W/enough" ]; do
		i=$((i + 1))
		echo "$1 $i $RANDOM" > "$d/new-$1" && mv "$d/new-$1" "$d/file-$1-$((i % 50))"
		echo "common $1 $i" > "$d/common-$((i % 7))"
		[ $((i % 9)) -ne 0 ] || rm -f "$d/file-$1-$((RANDOM % 50))"
		[ $((i % 100)) -ne 0 ] || head -c 1000000 /dev/urandom > "$d/big-$1"
		sleep 0.01
	done
}
for n in 0 1 2; do
	load $n 2>/dev/null &
	pids+=("$!")
	loads[n]=$!
done
for n in 1 0; do
	sleep 1
	member_kill $n
	sleep 0.5
	member_start $n
	ok $? "killed under load, $n starts again" "$(tail -n 5 "$W/log-$n")"
done
sleep 1
touch "$W/enough"
wait "${loads[@]}"
check "what was written, renamed and deleted meanwhile ends the same" settled 60 0 1 2

# --- the network is cut, and both sides go on
echo agreed > "$W/tree-0/both"
check "a file that both sides will change" settled $SLOW 0 1 2
cut_off 2
echo "by 0" > "$W/tree-0/only-0"
echo "0 says" > "$W/tree-0/both"
rm "$W/tree-2/before"
member_end 2
is $? 0 "SIGTERM ends one in order"
echo "by 2" > "$W/tree-2/only-2"
sleep 0.1
echo "2 says, later" > "$W/tree-2/both"
member_start 2
ok $? "it starts where nobody can be reached" "$(tail -n 5 "$W/log-2")"
check "and says so" until_true $SLOW state_is 2 alone
refuses "wait does not call that in sync" "can be reached" 5 clonesync wait --in-sync --timeout 1 -s "$W/state-2"
check "those who see each other agree" settled $SLOW 0 1
is "$(cat "$W/tree-1/both")" "0 says" "on what was said there"
heal 2
check "healed, all are the same" settled 60 0 1 2
is "$(cat "$W/tree-0/both") $(cat "$W/tree-0/only-2") $(cat "$W/tree-2/only-0")" "2 says, later by 2 by 0" "with the edits of both sides, and the later of two"
[ ! -e "$W/tree-0/before" ]
ok $? "and the deletion"
grep -rqs "0 says" "$W"/tree-*/.clonesync/trash
ok $? "what lost is in the trash"

# --- paused
check "pause" clonesync pause -s "$W/state-1"
check "it has no peers" until_true 5 peers_are 1 0
# More who wait, and go away, than can wait at a time.
for i in $(seq 40); do
	timeout 0.3 "$CLONESYNC" wait --in-sync -s "$W/state-1" 2>> "$W/waits" &
	[ $((i % 10)) = 0 ] && wait $!
done
refuses "and it is not in sync while it has none" "paused" 5 clonesync wait --in-sync --timeout 1 -s "$W/state-1"
echo 1 > "$W/tree-0/while-paused"
check "the others go on" settled $SLOW 0 2
[ ! -e "$W/tree-1/while-paused" ]
ok $? "without it"
member_kill 1
member_start 1
check "killed, and started again, it is paused still" until_true $SLOW state_is 1 paused
[ ! -e "$W/tree-1/while-paused" ]
ok $? "and has heard nothing"
check "resume" clonesync resume -s "$W/state-1"
check "and it has what it missed" settled $SLOW 0 1 2
check "rescan" clonesync rescan -s "$W/state-1"
check "finds nothing new" settled $SLOW 0 1 2

# --- ignored paths: 1 leaves alone what its command line says
mkdir "$W/tree-0/d"
echo 1 > "$W/tree-0/d/x"
check "a directory" settled $SLOW 0 1 2
member_end 1
member_start 1 --ignore /cache/ --ignore '*.tmp' --ignore '!kept.tmp'
ok $? "one that ignores paths" "$(tail -n 5 "$W/log-1")"
mkdir "$W/tree-1/cache"
for f in cache/a d/half.tmp kept.tmp; do echo "by 1" > "$W/tree-1/$f"; done
echo "by 0" > "$W/tree-0/half.tmp"
check "what it does not ignore goes to all" until_true $SLOW [ -e "$W/tree-2/kept.tmp" ]
check "what the others have goes to others" until_true $SLOW [ -e "$W/tree-2/half.tmp" ]
check "and it is in sync" timeout 20 "$CLONESYNC" wait --in-sync --timeout 15 -s "$W/state-1"
check "all know the same" until_true $SLOW same_roots 0 1 2
[ ! -e "$W/tree-0/cache" ] && [ ! -e "$W/tree-2/d/half.tmp" ] && [ ! -e "$W/tree-1/half.tmp" ]
ok $? "what it ignores stays where it is" "$(ls "$W"/tree-[012])"
check "and makes no difference" clonesync diff -s "$W/state-0"
rm -r "$W/tree-0/d"
check "a directory in which it has such a file goes, and comes back" until_true $SLOW [ -d "$W/tree-1/d" -a ! -e "$W/tree-1/d/x" -a -d "$W/tree-2/d" -a ! -e "$W/tree-2/d/x" ]
is "$(cat "$W/tree-1/d/half.tmp")" "by 1" "with that file where it was"
member_end 1
member_start 1
ok $? "it ignores nothing any more" "$(tail -n 5 "$W/log-1")"
check "all are the same" settled $SLOW 0 1 2
is "$(cat "$W/tree-2/cache/a" "$W/tree-0/d/half.tmp" "$W/tree-1/half.tmp" | tr '\n' ' ')" "by 1 by 1 by 0 " "with all of it"

# --- what it tells
is "$(get 0 state) $(get 0 in_sync) $(get 0 members) $(get 0 wanted)" "in sync true 2 0" "status --json"
clonesync status -s "$W/state-0" > "$W/out" && grep -qx "state      in sync" "$W/out" && grep -qx "peers      2 up of 2" "$W/out"
ok $? "status" "$(cat "$W/out")"
member_end 0
member_start 0 --metrics 127.0.0.1:9200
ok $? "with metrics" "$(tail -n 5 "$W/log-0")"
check "all three" settled $SLOW 0 1 2
if command -v curl >/dev/null; then
	ns 0 curl -s --noproxy '*' http://127.0.0.1:9200/metrics > "$W/metrics"
	grep -qx "clonesync_in_sync 1" "$W/metrics" && grep -qx "clonesync_peers_up 2" "$W/metrics"
	ok $? "metrics" "$(cat "$W/metrics")"
	awk '/^#/ {next} !/^[a-z_]+({[^}]*})? [-+0-9.eInf]+$/ {print; bad = 1} END {exit bad}' "$W/metrics"
	ok $? "every line of them is of Prometheus' form"
else
	skip "metrics" "curl is not installed"
fi

# --- a new one, with files of its own: when wait returns, it has all that there is
mkdir -p "$W/tree-0/many" "$W/tree-3"
for ((i = 0; i < 200; i++)); do echo "$i $RANDOM" > "$W/tree-0/many/$i"; done
check "many files" settled $SLOW 0 1 2
echo "of the new one" > "$W/tree-3/new"
echo "differs" > "$W/tree-3/both"
member_start 3
ok $? "a fourth member starts" "$(tail -n 5 "$W/log-3")"
check "and waits until it is in sync" timeout 60 "$CLONESYNC" wait --in-sync --timeout 55 -s "$W/state-3"
(cd "$W/tree-0" && find . -path ./.clonesync -prune -o -type f -print0) | while IFS= read -r -d '' f; do
	cmp -s "$W/tree-0/$f" "$W/tree-3/$f" || echo "$f"
done > "$W/missing"
[ ! -s "$W/missing" ]
ok $? "then every file of the others is there" "$(head -n 5 "$W/missing")"
check "all four are the same" settled $SLOW 0 1 2 3
is "$(cat "$W/tree-1/new") $(cat "$W/tree-3/both")" "of the new one 2 says, later" "with what it brought, and without what the cluster had otherwise"
grep -qs differs "$W"/tree-3/.clonesync/trash/*
ok $? "which is in its trash"
member_end 3
is $? 0 "it goes"

# --- the disk of one is full, then gone
mkdir "$W/tree-3.old"
mv "$W/tree-3" "$W/tree-3.old/"
mkdir "$W/tree-3"
if mount -t tmpfs -o size=4m tmpfs "$W/tree-3"; then
	member_start 3
	ok $? "a member on a small disk" "$(tail -n 5 "$W/log-3")"
	check "has too little space, and says so" until_true $SLOW sh -c '"$1" status -s "$2" | grep -q "^error .*no space"' - "$CLONESYNC" "$W/state-3"
	check "the others do not mind" settled $SLOW 0 1 2
	mount -o remount,size=200m "$W/tree-3"
	check "given more, it has it all" settled 60 0 1 2 3
	check "and no error is left" until_true $SLOW error_is 3 ""
	nsenter -t "${member_pids[3]}" -m umount -l "$W/tree-3" # ip gives each a namespace of mounts as well
	umount -l "$W/tree-3"
	check "unmounted under it, it halts" until_true $SLOW state_is 3 halted
	refuses "and wait does not call that in sync" "halted" 5 clonesync wait --in-sync --timeout 1 -s "$W/state-3"
	echo "after that" > "$W/tree-0/later"
	check "and nothing is deleted anywhere" settled $SLOW 0 1 2
	[ -e "$W/tree-1/later" ] && [ -e "$W/tree-1/both" ] && [ -z "$(ls -A "$W/tree-3")" ]
	ok $? "nor made where the disk was" "$(ls -A "$W/tree-1" "$W/tree-3")"
	member_end 3
	is $? 0 "it ends in order"
else
	skip "a full disk" "host: no tmpfs can be mounted"
fi

# --- a stranger, with another key
mkdir "$W/stranger"
echo secret > "$W/stranger/file"
check "another key" clonesync keygen -o "$W/other.key"
ip netns exec "$NET-4" "$CLONESYNC" run "$W/stranger" -k "$W/other.key" -s "$W/state-4" -p "10.77.0.1:$PORT" -n stranger > "$W/log-4" 2>&1 &
member_pids[4]=$!
pids+=("$!")
check "is refused, and status says why" until_true 15 sh -c '"$1" status -s "$2" | grep "^refused .*key"' - "$CLONESYNC" "$W/state-4"
refuses "it is never in sync" "can be reached" 5 clonesync wait --in-sync --timeout 1 -s "$W/state-4"
[ ! -e "$W/tree-0/file" ] && [ ! -e "$W/stranger/only-0" ]
ok $? "and nothing goes to it or comes from it"
is "$(get 0 members)" 3 "it is no member"
# --- a member that is gone, and is forgotten
refuses "nobody forgets who is not there" "no member" 1 clonesync forget -s "$W/state-0" nobody
refuses "nor itself" "itself" 2 clonesync forget -s "$W/state-0" m0
refuses "one at a time" "too few" 2 clonesync forget -s "$W/state-0"
member_kill 2
check "forget" clonesync forget -s "$W/state-0" "10.77.0.3:$PORT"
check "the other hears of it" until_true $SLOW sh -c '[ "$("$1" peers --json -s "$2" | jq length)" = 3 ]' - "$CLONESYNC" "$W/state-1"
check "and needs it no more to be in sync" timeout 20 "$CLONESYNC" wait --in-sync --timeout 15 -s "$W/state-1"
member_start 2
check "it is told, when it comes back" until_true $SLOW sh -c '"$1" status -s "$2" | grep "^refused .*forgotten"' - "$CLONESYNC" "$W/state-2"
member_end 2
rm -r "$W/state-2" "$W/tree-2"
member_start 2
check "it joins as a new one" timeout 30 "$CLONESYNC" wait --in-sync --timeout 25 -s "$W/state-2"
check "and has it all" settled $SLOW 0 1 2
# --- more at once than is kept of what comes with its announcement: the sender waits, nothing is lost
mkdir "$W/much"
for ((i = 0; i < 3000; i++)); do echo "$i" > "$W/much/$i" && truncate -s 12000 "$W/much/$i" && echo "$RANDOM" >> "$W/much/$i"; done
mv "$W/much" "$W/tree-1/much"
check "3,000 files at once" settled 60 0 1 2
for n in 0 1 2 4; do
	member_end $n
	is $? 0 "$n ends in order"
done
bad=$(grep -iE "ERROR: |LeakSanitizer|error: " "$W"/log-[012])
is "$bad" "" "nothing in their logs is an error"
tap_done
