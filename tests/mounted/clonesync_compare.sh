#!/bin/bash
# clonesync diff, of two members of which one sends slowly (--limit-rate), and of whom the other dies meanwhile; clonesync join of a third.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh
SLOW=$([ -n "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ] && echo 60 || echo 30)

members_net 3 || skip_all "host: no network namespaces with a bridge can be made (root and ip are needed)"
command -v jq >/dev/null || skip_all "jq is not installed"
clonesync keygen -o "$KEY"
differ() { clonesync diff -s "$W/state-$1" "${@:2}" > "$W/out" 2> "$W/err"; } # MEMBER [ARGUMENT...]

refuses "diff where none runs" "no clonesync runs" 4 clonesync diff -s "$W/state-0"
refuses "diff of two members" "--help" 2 clonesync diff -s "$W/state-0" a b
mkdir -p "$W/tree-0/d"
for n in 1 2 3; do echo "$n" > "$W/tree-0/d/$n"; done
member_start 0 --limit-rate 1M
ok $? "one that sends a mebibyte a second" "$(tail -n 5 "$W/log-0")"
refuses "alone it can compare with nobody" "no other member is known" 5 clonesync diff -s "$W/state-0"
member_start 1
ok $? "another" "$(tail -n 5 "$W/log-1")"
check "they are the same" settled $SLOW 0 1
differ 1
is "$? $(cat "$W/out")" "0 m0: identical" "and diff says so"
differ 0 m1
is "$? $(cat "$W/out")" "0 m1: identical" "of one that is named, too"
refuses "a member that is none" "no other member m7" 2 clonesync diff -s "$W/state-0" m7

# --- what is on its way shows, and comes no faster than it may
head -c 6291456 /dev/urandom > "$W/tree-0/big"$'\302\233'
began=$(date +%s%N)
check "a big file is on its way" until_true $SLOW sh -c '[ "$("$1" status --json -s "$2" | jq .wanted)" = 1 ]' - "$CLONESYNC" "$W/state-1"
differ 1 --json
is "$? $(jq -c '.[0] | [.name, .identical, .differing, .to_come_here, .to_come_there, .paths[0].how, .paths[0].path_hex]' "$W/out")" \
	'1 ["m0",false,0,1,0,"to come here","626967c29b"]' "the one says what is to come" "$(cat "$W/out" "$W/err")"
differ 1
is "$? $(tail -n 1 "$W/out")" "1   to come here   big\\302\\233" "in words as well, which no terminal obeys"
differ 0
is "$? $(cat "$W/out")" "1 m1: 0 paths differ, 0 are still to come here, 1 there" "the other how many"
echo small > "$W/tree-1/other-way"
check "what goes the other way does not wait for it" until_true 3 test -s "$W/tree-0/other-way"
check "some of it is there" until_true $SLOW sh -c '[ "$("$1" status --json -s "$2" | jq .fetched_bytes)" -ge 2000000 ]' - "$CLONESYNC" "$W/state-1"
member_kill 1
member_start 1
ok $? "who is killed then, starts again" "$(tail -n 5 "$W/log-1")"
check "it comes" settled 60 0 1
[ "$(get 1 fetched_bytes)" -le 5000000 ] && [ -z "$(ls "$W/tree-1/.clonesync/tmp")" ]
ok $? "and goes on with what it had" "$(get 1 fetched_bytes) bytes; $(ls "$W/tree-1/.clonesync/tmp")"
took=$((($(date +%s%N) - began) / 1000000))
[ $took -ge 5000 ]
ok $? "no faster than a mebibyte a second" "6 MiB in $took ms"
differ 1
is "$? $(cat "$W/out")" "0 m0: identical" "then nothing differs"

# --- who is away
member_end 1
is $? 0 "the other goes"
check "and is away" until_true $SLOW peers_are 0 0
refuses "it is not compared with" "m1 is not up" 5 clonesync diff -s "$W/state-0" m1

# --- a third one joins, from the slow one at first
join() { ns 2 timeout 100 "$CLONESYNC" join "$W/tree-2" -k "$KEY" -s "$W/state-2" -l ":$PORT" -p "10.77.0.1:$PORT" -n m2 "$@"; }
mkdir "$W/tree-2"
echo mine > "$W/tree-2/mine"
refuses "a directory with something in it is not joined" "tree-2 is not empty .mine.*clonesync run" 4 join
is "$(ls -A "$W/tree-2")" mine "nor touched"
rm "$W/tree-2/mine"
refuses "nobody is to be joined" "--peer" 2 clonesync join "$W/tree-2" -k "$KEY" -s "$W/state-2" -l 127.0.0.1:0
join --timeout 3 > "$W/out" 2> "$W/err"
is "$? $(grep -c "not the same in time" "$W/err")" "5 1" "it is not ready before it is the same" "$(cat "$W/out" "$W/err")"
member_start 1
join --json > "$W/out" 2> "$W/err"
is "$? $(jq -r .root "$W/out")" "0 $(get 0 root)" "the same call goes on, and ends with the cluster's root" "$(cat "$W/out" "$W/err")"
check "then all of it is there" same_trees 0 2
[ "$(jq .members "$W/out")" -ge 1 ] && [ ! -e "$W/state-2/joining" ]
ok $? "and it is said from how many" "$(cat "$W/out")"
refuses "it does not join again" "not empty" 4 join
member_start 2
ok $? "it runs from there" "$(tail -n 5 "$W/log-2")"
check "all three are the same" settled 60 0 1 2
tap_done
