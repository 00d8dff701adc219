#!/bin/bash
# What is fetched, and what is not: sparse files stay sparse with the other members (fetched, gone on with after a kill, copied, changed), and what cannot be put in place is not fetched again.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh

members_net 2 || skip_all "host: no network namespaces with a bridge can be made (root and ip are needed)"
command -v jq >/dev/null || skip_all "jq is not installed"
clonesync keygen -o "$KEY"
kib() { du -k "$1" | cut -f 1; }
small() { [ "$(kib "$W/tree-$1/$2")" -le "$3" ]; } # MEMBER FILE KIB

member_start 0 --limit-rate 4M
ok $? "one member" "$(tail -n 5 "$W/log-0")"
member_start 1
ok $? "another" "$(tail -n 5 "$W/log-1")"

truncate -s 60000001 "$W/tree-0/hole"
check "a file that is one hole comes" settled 30 0 1
small 1 hole 64
ok $? "and is one hole" "$(kib "$W/tree-1/hole") KiB"
[ "$(get 1 fetched_bytes)" -le 1000000 ]
ok $? "of which nothing is fetched but its list" "$(get 1 fetched_bytes) bytes"

# A hole, bytes, a hole, bytes up to an end that is no block's
head -c 5000000 /dev/urandom > "$W/bytes"
dd if="$W/bytes" of="$W/new" bs=1M seek=10 conv=notrunc status=none
printf end | dd of="$W/new" bs=1 seek=60000000 conv=notrunc status=none
mv "$W/new" "$W/tree-0/mixed"
check "one with bytes between holes is on its way" until_true 20 sh -c '[ "$("$1" status --json -s "$2" | jq .fetched_bytes)" -ge 1000000 ]' - "$CLONESYNC" "$W/state-1"
member_kill 1
member_start 1
ok $? "who is killed then, starts again" "$(tail -n 5 "$W/log-1")"
check "it comes" settled 30 0 1
check "with the same bytes" cmp "$W/tree-0/mixed" "$W/tree-1/mixed"
small 1 mixed 5400
ok $? "and holes" "$(kib "$W/tree-1/mixed") KiB"

cp --sparse=always "$W/tree-0/mixed" "$W/tree-0/again"
check "the same content at another path comes" settled 30 0 1
check "with the same bytes, again" cmp "$W/tree-0/again" "$W/tree-1/again"
small 1 again 5400
ok $? "and holes, again" "$(kib "$W/tree-1/again") KiB"

fallocate -p -o 10485760 -l 4000000 "$W/tree-0/mixed"
check "what is punched out of it goes" settled 30 0 1
check "with the others as well" cmp "$W/tree-0/mixed" "$W/tree-1/mixed"
small 1 mixed 1400
ok $? "to the last block" "$(kib "$W/tree-1/mixed") KiB"

# Somebody has it open: it is fetched once, however often it is tried
head -c 1000000 /dev/urandom > "$W/tree-0/open"
check "a file comes" settled 30 0 1
exec 9<> "$W/tree-1/open"
before=$(get 1 fetched_bytes)
head -c 1000000 /dev/urandom > "$W/tree-0/open"
check "while somebody has it open its new content is fetched" until_true 20 sh -c '[ "$("$1" status --json -s "$2" | jq .fetched_bytes)" -ge "$3" ]' - "$CLONESYNC" "$W/state-1" $((before + 1000000))
sleep 3
is "$(get 1 fetched_bytes) $(get 1 wanted)" "$((before + 1000000)) 1" "once, and waits"
exec 9>&-
check "it is put in place when that is over" settled 20 0 1
is "$(get 1 fetched_bytes)" "$((before + 1000000))" "as it was fetched"
tap_done
