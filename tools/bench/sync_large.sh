# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run, lib.sh and sync_rig.sh
# sync_large.sh - sections syncbig and syncmillion: one big file, and a large tree. Sourced after sync_rig.sh and sync_peers.sh.

SYNC_BIG_MB=${BENCH_SYNC_BIG:-4000}
SYNC_FILES=${BENCH_SYNC_FILES:-1000000}

# ------------------------------------------------------------------- one big file

big_key() { echo "a file of $SYNC_BIG_MB MB, 1 of 2 to the other, $(delay_words), MB/s"; }
big_one() { # SIDE
	local start end
	! is_absent "$1" || return 0
	case $1 in
	clonesync | rsync)
		sync_up "$1" 2 || return 0
		start=$(now)
		# It appears as a whole: what is measured is not how fast it is written here.
		mv "$W/big" "$("tree_$1" 0)/big" && "give_$1" && settle_"$1" 2 || return 1
		end=$(now)
		measured "$(big_key)" "$1" "$(calc "$SYNC_BIG_MB / ($end - $start)")"
		cmp "$("tree_$1" 0)/big" "$("tree_$1" 1)/big" || return 1
		mv "$("tree_$1" 0)/big" "$W/big"
		sync_down
		;;
	iperf3)
		wants iperf3 iperf3 > "$W/why" || { unmeasured "" iperf3 "$(cat "$W/why")"; return 0; }
		ip netns exec "$NET-1" iperf3 -s -1 > "$W/iperf3.log" 2>&1 &
		pids+=($!)
		until_true 5 grep -q listening "$W/iperf3.log"
		ip netns exec "$NET-0" iperf3 -c 10.77.0.2 -t "$IPERF_SECONDS" -J > "$W/iperf3.json" || { cat "$W/iperf3.log"; return 1; }
		measured "$(big_key)" iperf3 "$(jq '.end.sum_received.bits_per_second / 8e6' "$W/iperf3.json")"
		;;
	disk)
		start=$(now)
		dd if="$W/big" of="$W/copy" bs=1M conv=fsync status=none || return 1
		measured "$(big_key)" disk "$(calc "$SYNC_BIG_MB / ($(now) - $start)")"
		rm -f "$W/copy"
		;;
	esac
}
IPERF_SECONDS=5
big_is_there() { [ "$(stat -c %s "$1" 2> /dev/null)" = $((SYNC_BIG_MB * 1000000)) ]; }
give_clonesync() { until_true "$SYNC_PATIENCE" big_is_there "$W/tree-1/big"; }

# rsync alone, to its daemon, synced at the end: what a copy of one file to one other machine takes.
start_rsync() {
	wants rsync rsync || return 1
	nodes_up "$1" || return 1
	rsync_daemon 1
	until_true 5 rsync_answers
}
rsync_answers() { (in_node 0 rsync n1::tree/) > /dev/null 2>&1; }
tree_rsync() { echo "$W/p/tree-$1"; }
give_rsync() { (in_node 0 rsync --archive --whole-file --fsync "$W/p/tree-0/big" n1::tree/); }
settle_rsync() { :; }
stop_rsync() { nodes_down; }

section_syncbig() {
	local ms
	rig_start
	head -c $((SYNC_BIG_MB * 1000000)) /dev/urandom > "$W/big" || die "no space for a file of $SYNC_BIG_MB MB below $W"
	for ms in $SYNC_DELAYS; do
		rig_delay "$ms"
		each_round big_one clonesync iperf3 rsync disk
		row "$(big_key)" clonesync iperf3 '>' 0.8
		row "$(big_key)" clonesync rsync '>' -
		row "$(big_key)" clonesync disk '>' -
	done
	rig_delay 0
	rm -f "$W/big"
}

# ------------------------------------------------------------------- a large tree

# memory_of PID FIELD: bytes
memory_of() { awk -v f="$2:" '$1 == f { printf "%.0f", $2 * 1024 }' "/proc/$1/status"; }
large_tree() { echo "$SYNC_FILES files, 2 members"; }
same_root() { [ "$(get 0 in_sync) $(get 0 root) $(get 1 in_sync)" = "true $(get 1 root) true" ]; }
until_same() {
	local end=$((SECONDS + $1))
	until same_root; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.01
	done
}
million_memory() { # WHEN
	local pid=${member_pids[0]}
	measured "$(large_tree): memory $1, bytes each" clonesync "$(calc "($(memory_of "$pid" VmRSS) - $empty_rss) / $SYNC_FILES")"
	measured "$(large_tree): of that anonymous, $1, bytes each" clonesync "$(calc "($(memory_of "$pid" RssAnon) - $empty_anon) / $SYNC_FILES")"
}
# Of one processor.
million_idle() {
	local cpu
	cpu=$(cpu_of "${member_pids[0]}")
	sleep 30
	measured "$(large_tree): idle, % of a processor" clonesync "$(calc "($(cpu_of "${member_pids[0]}") - $cpu) / 30 * 100")"
}
million_restart() {
	local start
	member_end 0 || return 1
	ended "${member_pids[0]}"
	start=$(now)
	member_start 0 && clonesync wait --in-sync --timeout 600 -s "$W/state-0" || return 1
	measured "$(large_tree): from start to in sync, nothing changed, s" clonesync "$(calc "$(now) - $start")"
	until_same 60
}
# What was changed while one was away, from its return until both say that they hold the same.
million_compare() { # HOW-MANY
	local n start
	clonesync pause -s "$W/state-1" && until_true 10 peers_are 0 0 || return 1
	mkdir -p "$W/tree-0/changed-$round-$1"
	for ((n = 0; n < $1; n++)); do echo "$n" > "$W/tree-0/changed-$round-$1/$n"; done
	until_true 60 is_looked_at $((SYNC_FILES + $1)) || return 1
	start=$(now)
	clonesync resume -s "$W/state-1" && until_same 120 || return 1
	measured "$(large_tree): until the same again, $1 differences, ms" clonesync "$(calc "($(now) - $start) * 1000")"
}
is_looked_at() { [ "$(get 0 dirty)" = 0 ] && [ "$(get 0 records)" -ge "$1" ]; }
million_one() {
	local start
	million_idle
	million_restart || return 1
	million_memory "after a restart"
	start=$(now)
	clonesync diff -s "$W/state-0" > /dev/null || return 1
	measured "$(large_tree): clonesync diff, nothing differs, ms" clonesync "$(calc "($(now) - $start) * 1000")"
	million_compare 0 && million_compare 10 && million_compare 1000
}
section_syncmillion() {
	local start n
	rig_start
	sync_up clonesync 2 || return
	sleep 2
	empty_rss=$(memory_of "${member_pids[0]}" VmRSS)
	empty_anon=$(memory_of "${member_pids[0]}" RssAnon)
	sync_down
	"$B/syncfiles" make "$SYNC_FILES" 16 "$W/tree-0" > /dev/null && cp -a "$W/tree-0" "$W/tree-1" || die "no space for $SYNC_FILES files"
	start=$(now)
	sync_up clonesync 2 || return
	until_same 3600 || die "two equal trees of $SYNC_FILES files are not in sync: $(clonesync status -s "$W/state-0" | tr '\n' ' ')"
	measured "$(large_tree): two equal trees from nothing to in sync, s" clonesync "$(calc "$(now) - $start")"
	million_memory "once in sync"
	each_round million_one clonesync
	sync_down
	row "$(large_tree): two equal trees from nothing to in sync, s" clonesync - '<' -
	row "$(large_tree): memory once in sync, bytes each" clonesync - '<' 300
	row "$(large_tree): of that anonymous, once in sync, bytes each" clonesync - '<' -
	row "$(large_tree): memory after a restart, bytes each" clonesync - '<' 300
	row "$(large_tree): of that anonymous, after a restart, bytes each" clonesync - '<' -
	row "$(large_tree): idle, % of a processor" clonesync - '<' 1
	row "$(large_tree): from start to in sync, nothing changed, s" clonesync - '<' 10
	row "$(large_tree): clonesync diff, nothing differs, ms" clonesync - '<' -
	for n in 0 10 1000; do row "$(large_tree): until the same again, $n differences, ms" clonesync - '<' -; done
}
