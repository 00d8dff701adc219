#!/bin/bash
# A file system that is mounted in the tree is not entered: it holds nothing up, nothing of it is carried, and the directory that it is mounted on stays.
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
sub=$W/tree-1/d/sub
mkdir -p "$W/tree-0/d/sub"
echo x > "$W/tree-0/d/x"
member_start 0
ok $? "one member" "$(tail -n 5 "$W/log-0")"
member_start 1
ok $? "another" "$(tail -n 5 "$W/log-1")"
check "they are the same" settled 30 0 1
member_end 1
ok $? "the other ends"
mount -t tmpfs -o mode=0701 none "$sub"
ok $? "something is mounted in its tree"
cleanup_hooks+=(unmounted)
unmounted() { umount "$sub" 2>/dev/null; }
echo inner > "$sub/inner"
member_start 1
ok $? "it starts again" "$(tail -n 5 "$W/log-1")"
echo news > "$W/tree-1/news"
check "what is beside that is carried at once" until_true 10 test -s "$W/tree-0/news"
is "$(get 1 state) $(get 1 error) $(stat -c %a "$W/tree-0/d/sub") $(ls "$W/tree-0/d/sub")" "in sync  755 " "nothing fails, and nothing of it is carried" "$(clonesync status -s "$W/state-1")"
rm -r "$W/tree-0/d"
check "deleted elsewhere, it comes back there" until_true 20 test -d "$W/tree-0/d/sub"
check "with nothing else" until_true 20 test ! -e "$W/tree-1/d/x"
check "and nothing is still to come" until_true 20 sh -c '[ "$("$1" status --json -s "$2" | jq .wanted)" = 0 ]' - "$CLONESYNC" "$W/state-1"
is "$(ls "$W/tree-0/d" "$sub" | tr '\n' ' ')" "$W/tree-0/d: sub  $sub: inner " "what is mounted is as it was"
member_end 1
ok $? "it ends"
umount "$sub"
member_start 1
ok $? "without the mount" "$(tail -n 5 "$W/log-1")"
check "they are the same" settled 30 0 1
tap_done
