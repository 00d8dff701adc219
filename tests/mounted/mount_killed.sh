#!/bin/bash
# clonefs mount is killed while the process it started is still at it: nothing is left that would mount later, unseen by anybody, or hold the
# caller's terminal.
# timeout: 120
# sanitized: yes
# shellcheck disable=SC2016 # eval expands
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"

type_of() { findmnt -n -o FSTYPE "$W/m"; }
children_of() { cat /proc/"$1"/task/"$1"/children 2>/dev/null; }

check "format" clonefs format "$STORE"
mkdir "$W/m"
CLONELOVE_FAULTS='*:*:delay=500' "$CLONEFS" mount "$STORE" "$W/m" -o "node=a,cache_dir=$W/cache-a,cache_size=1G" > "$W/out" 2>&1 & parent=$!
check "it starts a process" until_true 5 eval '[ -n "$(children_of $parent)" ]'
child=$(children_of $parent | tr -d " ")
pids+=("$child")
sleep 0.3
is "$(type_of)" "" "which is not done yet"
kill -KILL $parent
{ wait $parent; } 2>/dev/null
gone "$child"
check "it ends too" eval '! grep -qs "^State:.[^Z]" "/proc/$child/status"'
is "$(type_of)" "" "and nothing is mounted"

check "mount as it should be" vol_mount a "$W/m" "" --takeover
sleep 0.5
is "$(type_of)" fuse.clonefs "which outlives the command"
check "unmount" vol_unmount "$W/m"
tap_done
