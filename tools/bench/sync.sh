# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run, lib.sh and sync_rig.sh
# sync.sh - sections synclatency and syncsmall: the replicator beside others. Sourced after sync_rig.sh and sync_peers.sh.

SYNC_SAMPLES=${BENCH_SYNC_SAMPLES:-200}
SYNC_DELAYS=${BENCH_SYNC_DELAYS:-0 1 20}
SYNC_SMALL=${BENCH_SYNC_SMALL:-20000}
SYNC_PEERS=${BENCH_SYNC_PEERS-csync2 lsyncd syncthing glusterfs}

# ------------------------------------------------------------------- until a change is on all others

# With delay: what it takes beside the one crossing that nobody can do without.
latency_key() { # KIND PERCENTILE
	echo "4 KiB $1, 1 of $RIG_NODES to the others, $(delay_words), $2$([ "$delay_ms" -eq 0 ] || echo ' over a crossing'), ms"
}
latency_one() {
	local kind p50 p99 most trees=() t d=lat-$delay_ms-$round
	for t in $(trees "$1" $RIG_NODES); do trees+=("$t/$d"); done
	mkdir "${trees[0]}"
	until_true 60 test -d "${trees[-1]}" && settle_clonesync $RIG_NODES || return 1
	"$B/synclat" "$SYNC_SAMPLES" "${trees[@]}" > "$W/lat" || return 1
	while read -r kind p50 p99 most _; do
		measured "$(latency_key "$kind" p50)" "$1" "$(calc "$p50 - $delay_ms")"
		measured "$(latency_key "$kind" p99)" "$1" "$(calc "$p99 - $delay_ms")"
		note "$kind, $(delay_words): the longest took $most ms"
	done < "$W/lat"
}
section_synclatency() {
	local ms kind
	rig_start
	for ms in $SYNC_DELAYS; do
		rig_delay "$ms"
		sync_up clonesync $RIG_NODES || return
		each_round latency_one clonesync
		sync_down
		for kind in rename plain move delete; do
			row "$(latency_key "$kind" p50)" clonesync - '<' 20
			row "$(latency_key "$kind" p99)" clonesync - '<' 100
		done
	done
	rig_delay 0
}

# ------------------------------------------------------------------- many small files at once

SMALL_NODES=3
small_key() { echo "$SYNC_SMALL files of 10 KiB to each of $((SMALL_NODES - 1)) peers, $(delay_words), files/s"; }
small_one() { # SIDE
	local start end made trees=() waits=() n rc=0
	! is_absent "$1" || return 0
	sync_up "$1" $SMALL_NODES || return 0
	mapfile -t trees < <(trees "$1" $SMALL_NODES)
	for ((n = 1; n < SMALL_NODES; n++)); do
		"$B/syncfiles" await "$SYNC_SMALL" 10240 "${trees[n]}/drop" "$SYNC_PATIENCE" > "$W/there-$n" 2> "$W/late-$n" &
		waits+=($!)
	done
	read -r start made < <(make_on "$1" "$SYNC_SMALL" 10240 "${trees[0]}/drop")
	for n in "${waits[@]}"; do wait "$n" || rc=1; done
	settle_"$1" $SMALL_NODES || rc=1
	end=$(now)
	if [ $rc -ne 0 ] || [ -z "$made" ]; then
		cat "$W"/late-[0-9] >&2
		[ "$1" != clonesync ] || { for ((n = 0; n < SMALL_NODES; n++)); do clonesync status -s "$W/state-$n" >&2; done; return 1; }
		unmeasured "$(small_key)" "$1" "not all files arrived within $SYNC_PATIENCE s$(sed -n 's/.*; \([0-9]*\) before it are$/: \1 on one peer/p' "$W"/late-[0-9] | tr -d '\n')"
	else
		# What the peers say of being durable counts where they say it: else from when the last file is visible whole, which is kind to them.
		[ "$1" = clonesync ] || end=$(sort -n "$W"/there-[0-9] | tail -n 1)
		measured "$(small_key)" "$1" "$(calc "$SYNC_SMALL / ($end - $start)")"
		note "$1: written in $(calc "$made - $start") s, visible on all after $(calc "$(sort -n "$W"/there-[0-9] | tail -n 1) - $start") s, counted as done after $(calc "$end - $start") s"
		for ((n = 1; n < SMALL_NODES; n++)); do "$B/syncfiles" verify "$SYNC_SMALL" 10240 "${trees[n]}/drop" || return 1; done
	fi
	sync_down
}
is_absent() { grep -q "^|$1|" "$W/absent"; }
SYNC_PATIENCE=${BENCH_SYNC_PATIENCE:-300}
section_syncsmall() {
	local peer
	rig_start
	# shellcheck disable=SC2086
	each_round small_one clonesync $SYNC_PEERS
	row "$(small_key)" clonesync - '>' 3000
	for peer in $SYNC_PEERS; do
		case $peer in
		glusterfs) row "$(small_key)" clonesync "$peer" '>' 1 ;;
		*) row "$(small_key)" clonesync "$peer" '>' 10 ;;
		esac
	done
}
