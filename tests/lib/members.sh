# shellcheck shell=bash
# members.sh - a cluster of clonesync in network namespaces on one bridge: source it after tap.sh and mounts.sh. Member n is in a namespace of its own, at
# 10.77.0.(n+1), its tree is $W/tree-n, its state $W/state-n. The bridge is in a namespace as well: with them everything is gone.

CLONESYNC=$BUILD/clonesync
PORT=7788
NET=clsync$$
KEY=$W/cluster.key
member_pids=()

clonesync() { "$CLONESYNC" "$@"; }
ns() { # MEMBER COMMAND...
	local n=$1
	shift
	ip netns exec "$NET-$n" "$@"
}

# members_net COUNT: 1 where this host cannot.
members_net() {
	local n
	[ "$(id -u)" -eq 0 ] && command -v ip >/dev/null || return 1
	ip netns add "$NET-hub" 2>/dev/null || return 1
	cleanup_hooks+=(members_gone)
	ns hub ip link add name bridge0 type bridge && ns hub ip link set bridge0 up || return 1
	for ((n = 0; n < $1; n++)); do
		ip netns add "$NET-$n" && ns hub ip link add name "p$n" type veth peer name eth0 netns "$NET-$n" &&
			ns hub ip link set "p$n" master bridge0 up && ns "$n" ip addr add "10.77.0.$((n + 1))/24" dev eth0 &&
			ns "$n" ip link set lo up && ns "$n" ip link set eth0 up || return 1
	done
}
members_gone() {
	local n
	for n in hub 0 1 2 3 4 5 6 7; do ip netns del "$NET-$n" 2>/dev/null; done
}

# member_start N [OPTION...] (ip becomes the program it is to execute: its process is the member; not to be called by check, whose shell would own it): calls member 0 unless it is that one. Returns when it is ready; 1 where it ends before.
member_start() {
	local n=$1 log=$W/log-$1 peer=()
	shift
	[ "$n" -eq 0 ] || peer=(-p "10.77.0.1:$PORT")
	mkdir -p "$W/tree-$n"
	ip netns exec "$NET-$n" "$CLONESYNC" run "$W/tree-$n" -k "$KEY" -s "$W/state-$n" -l ":$PORT" "${peer[@]}" -n "m$n" "$@" >> "$log" 2>&1 &
	member_pids[n]=$!
	pids+=("$!")
	until clonesync status -s "$W/state-$n" >/dev/null 2>&1; do
		kill -0 "${member_pids[n]}" 2>/dev/null || return 1
		sleep 0.05
	done
}
member_kill() { # N: as a machine's end is, for it
	kill -KILL "${member_pids[$1]}"
	wait "${member_pids[$1]}" 2>/dev/null
}
member_end() { # N: in order; its exit code
	kill -TERM "${member_pids[$1]}"
	wait "${member_pids[$1]}"
}
# get N FIELD: of its status
get() { clonesync status --json -s "$W/state-$1" | jq -r ".$2"; }
state_is() { [ "$(get "$1" state)" = "$2" ]; }
error_is() { [ "$(get "$1" error)" = "$2" ]; }
peers_are() { [ "$(get "$1" peers_up)" = "$2" ]; }
cut_off() { ns hub ip link set "p$1" down; }
heal() { ns hub ip link set "p$1" up; }

# All that is carried: names, kinds, modes, owners, targets, contents, times of what is no directory, attributes.
tree_of() { # N
	(cd "$W/tree-$1" || exit
	find . -path ./.clonesync -prune -o ! -name . -type d -printf '%P d %m %U:%G\n' -o ! -name . ! -type d -printf '%P %y %m %U:%G %T@ %l\n' | sort
	find . -path ./.clonesync -prune -o -type f -print0 | sort -z | xargs -0r sha256sum
	find . -path ./.clonesync -prune -o ! -type l -print0 | sort -z | xargs -0r getfattr -h -d -m '^(user\.|system\.posix)' -e hex -- 2>/dev/null)
}
same_trees() { # N...
	local first=$1 n
	shift
	tree_of "$first" > "$W/list-$first" 2>&1
	for n in "$@"; do
		tree_of "$n" > "$W/list-$n" 2>&1
		cmp -s "$W/list-$first" "$W/list-$n" || return 1
	done
}
# settled SECONDS N...: the trees are the same, and so the members say. Where they are not: what differs.
settled() {
	local seconds=$1 first=$2 n
	shift
	until_true "$seconds" same_trees "$@" || {
		for n in "${@:2}"; do diff "$W/list-$first" "$W/list-$n" | head -n 8; done
		for n in "$@"; do clonesync status -s "$W/state-$n"; tail -n 4 "$W/log-$n"; done
		return 1
	}
	until_true "$seconds" same_roots "$@" || { for n in "$@"; do clonesync status -s "$W/state-$n"; done; return 1; }
}
same_roots() {
	local n want
	want=$(get "$1" root)
	for n in "$@"; do [ "$(get "$n" in_sync) $(get "$n" root)" = "true $want" ] || return 1; done
}
