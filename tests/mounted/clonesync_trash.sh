#!/bin/bash
# Two members: what one deletes is in the trash of the other, is listed, comes back on both, or goes for good; and a directory that is emptied is not a deletion
# until somebody says so.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/members.sh
SLOW=$([ -n "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ] && echo 60 || echo 30)

members_net 2 || skip_all "host: no network namespaces with a bridge can be made (root and ip are needed)"
command -v jq >/dev/null || skip_all "jq is not installed"
trash() { clonesync trash "$@" -d "$W/tree-1"; }
item_of() { trash list --json | jq -r --arg p "$1" 'map(select(.path == $p)) | .[0].item'; }

clonesync keygen -o "$KEY"
refuses "there is no trash where nothing is kept" "does clonesync keep this directory" 4 clonesync trash list -d "$W"
[ ! -e "$W/.clonesync" ]
ok $? "and none is made by asking"
for n in 0 1; do
	member_start $n
	ok $? "member $n starts" "$(tail -n 5 "$W/log-$n")"
done
mkdir -p "$W/tree-0/uploads/2026"
echo photo > "$W/tree-0/uploads/2026/photo.jpg"
chmod 640 "$W/tree-0/uploads/2026/photo.jpg"
odd="uploads/"$'bell\a \377'
long=uploads/$(printf 'l%.0s' {1..255})
echo odd > "$W/tree-0/$odd"
echo long > "$W/tree-0/$long"
echo stays > "$W/tree-0/stays"
check "files on both" settled $SLOW 0 1
is "$(trash list)" "" "nothing is in the trash"

# --- deleted on 0: in the trash of 1
rm -r "$W/tree-0/uploads"
check "they are deleted on both" settled $SLOW 0 1
is "$(trash list --json | jq length)" 3 "three items on the other" "$(trash list)"
is "$(clonesync trash list -d "$W/tree-0")" "" "none where they were deleted"
photo=$(item_of uploads/2026/photo.jpg)
is "$(trash list --json | jq -r --arg i "$photo" '.[] | select(.item == $i) | "\(.why) \(.kind) \(.bytes)"')" "deletion file 6" "with cause, kind and size"
[ "$(($(date +%s) - $(date -d "$(trash list --json | jq -r '.[0].when')" +%s)))" -lt 100 ]
ok $? "and when" "$(trash list)"
is "$(trash list --json | jq -r '.[] | select(.path == null) | .path_hex')" "$(printf %s "$odd" | od -An -tx1 | tr -d ' \n')" "a path that is no UTF-8, in hexadecimal"
trash list | grep -qF 'uploads/bell\007 '
ok $? "and one for people"
is "$(trash list --json | jq -r '.[] | select(.bytes == 5) | .path')" "$long" "a name of 255 bytes, whole"

# --- restored
is "$(trash restore "$photo")" uploads/2026/photo.jpg "restore says where it is"
check "it is on both again" settled $SLOW 0 1
is "$(cat "$W/tree-0/uploads/2026/photo.jpg") $(stat -c %a "$W/tree-0/uploads/2026/photo.jpg")" "photo 640" "as it was"
refuses "it is in the trash no more" "there is no $photo" 4 trash restore "$photo"
echo mine > "$W/tree-1/$long"
check "something new at a path" settled $SLOW 0 1
item=$(item_of "$long")
refuses "restoring overwrites nothing" "left alone" 1 trash restore "$item"
is "$(cat "$W/tree-1/$long")" mine "it is still there"
is "$(trash restore "$item" --to "$W/tree-1/elsewhere/long")" elsewhere/long "to another path"
check "and that is on both" settled $SLOW 0 1
is "$(cat "$W/tree-0/elsewhere/long")" long "with its bytes"

# --- what lost a conflict
cut_off 1
echo "of 0" > "$W/tree-0/stays"
sleep 0.1
echo "of 1, later" > "$W/tree-1/stays"
heal 1
check "healed" settled 60 0 1
is "$(clonesync trash list --json -d "$W/tree-0" | jq -r '.[0] | "\(.path) \(.why)"')" "stays conflict" "what lost is in the trash of who had it"
is "$(clonesync trash restore "$(clonesync trash list --json -d "$W/tree-0" | jq -r '.[0].item')" --to lost -d "$W/tree-0")" lost "and comes back beside it"
check "on both" settled $SLOW 0 1
is "$(cat "$W/tree-1/lost")" "of 0" "with its bytes"

# --- for good
refuses "of what is not there" "there is no x-1" 4 trash purge x-1
refuses "of nothing" "which item" 2 trash purge
refuses "nothing but its own" "there is no ../token" 4 trash purge ../token
check "purge" trash purge "$(trash list --json | jq -r '.[0].item')"
is "$(trash list)" "" "the last item is gone"
rm "$W/tree-0/lost"
check "one more" settled $SLOW 0 1
check "purge --all" trash purge --all
is "$(trash list)" "" "all gone"

# --- much is missing at once
mkdir "$W/tree-0/many"
for i in {1..150}; do echo "$i" > "$W/tree-0/many/$i"; done
check "many files" settled $SLOW 0 1
refuses "nothing is missing" "has not halted" 1 clonesync missing --deleted 00000001 -s "$W/state-1"
refuses "what about it?" "--restore" 2 clonesync missing -s "$W/state-1"
question() { clonesync status --json -s "$W/state-1" | jq -r .question; }
member_end 1
rm -r "$W/tree-1/many"
member_start 1
check "most of the tree is gone when it starts: it halts" until_true $SLOW state_is 1 halted
clonesync status -s "$W/state-1" | grep -qE "^state      halted: [0-9]+ of [0-9]+ paths are missing at once"
ok $? "and says why" "$(clonesync status -s "$W/state-1")"
is "$(find "$W/tree-0/many" -type f | wc -l)" 150 "nobody was told"
asked=$(question)
refuses "another question" "not what is asked" 1 clonesync missing --deleted 00000001 -s "$W/state-1"
check "missing --restore" clonesync missing --restore "$asked" -s "$W/state-1"
check "brings them back" settled 60 0 1
is "$(find "$W/tree-1/many" -type f | wc -l)" 150 "all"
member_end 1
rm -r "$W/tree-1/many"
member_start 1
check "once more" until_true $SLOW state_is 1 halted
refuses "what was asked before" "not what is asked" 1 clonesync missing --deleted "$asked" -s "$W/state-1"
check "missing --deleted" clonesync missing --deleted "$(question)" -s "$W/state-1"
check "deletes them everywhere" settled 60 0 1
[ ! -e "$W/tree-0/many" ]
ok $? "they are gone"
is "$(clonesync trash list --json -d "$W/tree-0" | jq '[.[] | select(.path | startswith("many/"))] | length')" 150 "and in the trash"
for n in 0 1; do
	member_end $n
	is $? 0 "$n ends in order"
done
bad=$(grep -iE "LeakSanitizer|error: " "$W"/log-[01] | grep -v "paths are missing at once")
is "$bad" "" "nothing in their logs is an error but the halts"
tap_done
