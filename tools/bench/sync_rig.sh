# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the variables of run, lib.sh, mounts.sh and members.sh
# sync_rig.sh - the machines that the replicator is measured on: namespaces of network on one bridge, as tests/lib/members.sh makes them, with delay or
# without, and a cluster of clonesync in them. Sourced after lib.sh, tests/lib/mounts.sh and tests/lib/members.sh.
#
# A side is a program that keeps directories the same: sides have start_SIDE COUNT, tree_SIDE N, settle_SIDE COUNT, stop_SIDE, all of them for sync_up and
# sync_down below; clonesync's are here, its peers' in sync_peers.sh. All trees lie on the one disk of $W.

RIG_NODES=5
rig_up=
delay_by=
delay_ms=0

# The network, made when the first section wants it.
rig_start() {
	[ -z "$rig_up" ] || return 0
	members_net $RIG_NODES || die "no network namespaces with a bridge can be made (root and ip are needed)"
	command -v jq > /dev/null || die "jq is not installed"
	cleanup_hooks=(rig_gone "${cleanup_hooks[@]}")
	rig_up=1
	"$CLONESYNC" keygen -o "$KEY" || die "no key"
	if ns hub tc qdisc add dev p0 root netem delay 1ms 2> /dev/null; then
		ns hub tc qdisc del dev p0 root
		delay_by=netem
	else
		delay_by=netdelay
	fi
}

# rig_delay MS: one way between any two nodes, by the kernel's netem where it has it, else by netdelay in the place of the bridge.
rig_delay() {
	local n
	[ "$1" != "$delay_ms" ] || return 0
	rig_undelay
	delay_ms=$1
	[ "$1" -gt 0 ] || return 0
	if [ $delay_by = netem ]; then
		# Of the two ends of a way one delays: what leaves the hub.
		for ((n = 0; n < RIG_NODES; n++)); do ns hub tc qdisc replace dev "p$n" root netem delay "${1}ms" limit 100000 || die "netem failed"; done
		return
	fi
	for ((n = 0; n < RIG_NODES; n++)); do ns hub ip link set "p$n" nomaster || die "cannot take p$n from the bridge"; done
	# ip becomes the program, so that $! is its.
	# shellcheck disable=SC2046
	ip netns exec "$NET-hub" "$B/netdelay" "$((delay_ms * 1000))" $(seq -f 'p%.0f' 0 $((RIG_NODES - 1))) > "$W/netdelay.out" 2>> "$W/netdelay.log" &
	delay_pid=$!
	pids+=("$delay_pid")
	until_true 5 grep -q ready "$W/netdelay.out" || die "netdelay failed: $(tail -n 1 "$W/netdelay.log")"
}
rig_undelay() {
	local n
	[ "$delay_ms" -gt 0 ] || return 0
	if [ $delay_by = netem ]; then
		for ((n = 0; n < RIG_NODES; n++)); do ns hub tc qdisc del dev "p$n" root; done
	else
		kill -TERM "$delay_pid"
		wait "$delay_pid" 2> /dev/null
		ended "$delay_pid"
		note "$(tail -n 1 "$W/netdelay.log")"
		for ((n = 0; n < RIG_NODES; n++)); do ns hub ip link set "p$n" master bridge0; done
	fi
	delay_ms=0
}
# What the table says of it.
delay_words() {
	if [ "$delay_ms" -eq 0 ]; then echo "no delay"; else echo "$delay_ms ms one way ($delay_by)"; fi
}

# ended PID...: is not to be killed in the end, when another may have its number.
ended() {
	local p q left=()
	for p in "${pids[@]}"; do
		for q in "$@"; do [ "$p" != "$q" ] || continue 2; done
		left+=("$p")
	done
	pids=("${left[@]}")
}

# sync_up SIDE COUNT: COUNT nodes with empty trees. Where it cannot: says why, writes it down for the table, and returns 1.
sync_up() {
	if ! "start_$1" "$2" > "$W/why" 2>&1; then
		[ "$1" != clonesync ] || { cat "$W/why" >&2; die "clonesync does not start"; }
		unmeasured "" "$1" "$(tail -n 2 "$W/why" | tr '\n|' '  ' | cut -c 1-200)"
		"stop_$1"
		return 1
	fi
	sync_side=$1
}
sync_down() {
	[ -z "$sync_side" ] || "stop_$sync_side"
	sync_side=
}
sync_side=
# The trees of COUNT nodes, one a line.
trees() { # SIDE COUNT
	local n
	for ((n = 0; n < $2; n++)); do "tree_$1" $n; done
}

# ------------------------------------------------------------------- clonesync

cluster_n=0
start_clonesync() {
	local n
	cluster_n=$1
	for ((n = 0; n < $1; n++)); do
		member_start "$n" || { tail -n 3 "$W/log-$n"; return 1; }
	done
	for ((n = 0; n < $1; n++)); do
		until_true 60 all_compared "$n" || { clonesync status -s "$W/state-$n"; return 1; }
	done
	settle_clonesync "$1"
}
all_compared() { [ "$(clonesync peers --json -s "$W/state-$1" | jq 'map(select(.up and .compared)) | length')" = $((cluster_n - 1)) ]; }
tree_clonesync() { echo "$W/tree-$1"; }
# Each says that all is on its disk, synced.
settle_clonesync() {
	local n waits=()
	for ((n = 0; n < $1; n++)); do
		clonesync wait --in-sync --timeout 600 -s "$W/state-$n" > /dev/null &
		waits+=($!)
	done
	wait "${waits[@]}"
}
stop_clonesync() {
	local n
	for ((n = 0; n < cluster_n; n++)); do
		[ -z "${member_pids[n]:-}" ] || { member_end "$n" || tail -n 3 "$W/log-$n" >&2; ended "${member_pids[n]}"; }
		rm -rf "$W/tree-$n" "$W/state-$n"
	done
	cluster_n=0
	member_pids=()
}
