# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run, lib.sh and sync_rig.sh
# sync_peers.sh - the others that clonesync is measured beside. Sourced after sync_rig.sh.
#
# Each has the settings that its own documentation has for speed, short of those it warns of for the data's sake:
#   csync2      without TLS; `csync2 -x` at once behind the upload, where one would have cron do it. sqlite as by default (-A loses the database in a crash).
#   lsyncd      rsync without a checksum of deltas (whole_file) to rsync's daemon, so no ssh; its delay at the least, 1 s (15 by default)
#   syncthing   no discovery, relays, NAT or low priority; the watcher's delay at the least, 1 s (10 by default)
#   glusterfs   replica on as many bricks, the settings group "metadata-cache"; written through the FUSE mount of the first node
# Of all but clonesync a file counts from when it is visible whole. Packages of the group "bench"; nothing of them is part of Clonelove.
#
# Each node is a namespace of mounts in its network namespace, held by a process of ours: names of nodes (n0, n1 ...) are in its /etc/hosts. What runs there
# is ended by the list of processes of that network namespace, which is of this run's making.

node_pids=()

# make_on SIDE FILES BYTES DIR: the files, as a user of the side writes them; prints what syncfiles does.
make_on() {
	local side=$1
	shift
	if declare -F "make_$side" > /dev/null; then "make_$side" "$@"; else "$B/syncfiles" make "$@"; fi
}

# nodes_up COUNT [SETUP]: SETUP is what to mount in each before anything else, with $n for its number.
nodes_up() {
	local n setup=${2:-:}
	mkdir -p "$W/p"
	{ echo "127.0.0.1 localhost"; for ((n = 0; n < RIG_NODES; n++)); do echo "10.77.0.$((n + 1)) n$n"; done; } > "$W/p/hosts"
	for ((n = 0; n < $1; n++)); do
		mkdir -p "$W/p/tree-$n" "$W/p/$n"
		ip netns exec "$NET-$n" env n="$n" W="$W" bash -c "mount --bind $W/p/hosts /etc/hosts && { $setup; } && touch $W/p/$n/held && exec sleep infinity" &
		node_pids[n]=$!
		pids+=("${node_pids[n]}")
		until_true 10 test -e "$W/p/$n/held" || { echo "no namespace for node $n"; return 1; }
	done
}
# in_node N COMMAND...: it becomes the command.
in_node() {
	local n=$1
	shift
	exec nsenter -t "${node_pids[n]}" -m -n -- "$@"
}
nodes_down() {
	local n
	for ((n = 0; n < ${#node_pids[@]}; n++)); do net_killed "$n"; done
	for n in "${node_pids[@]}"; do wait "$n" 2> /dev/null; done
	ended "${node_pids[@]}"
	node_pids=()
	rm -rf --one-file-system "$W/p"
}
# net_killed N: every process in a network namespace of this run.
net_killed() {
	local p all
	all=$(ip netns pids "$NET-$1" 2> /dev/null)
	for p in $all; do kill -TERM "$p" 2> /dev/null; done
	[ -z "$all" ] || sleep 0.5
	for p in $(ip netns pids "$NET-$1" 2> /dev/null); do kill -KILL "$p" 2> /dev/null; done
	# shellcheck disable=SC2086
	gone $all
}
# At the end of the run, however it ends.
rig_gone() {
	local n
	for ((n = 0; n < RIG_NODES; n++)); do net_killed "$n"; done
}

wants() { # PROGRAM PACKAGE
	command -v "$1" > /dev/null || { echo "$1 is not installed (package $2)"; return 1; }
}
# answers COUNT: what is written on the first is on all others.
answers() {
	local n
	echo ready > "$W/p/tree-0/ready"
	for ((n = 1; n < $1; n++)); do until_true 90 cmp -s "$W/p/tree-0/ready" "$W/p/tree-$n/ready" || { echo "node $n does not get what node 0 has"; return 1; }; done
}

# ------------------------------------------------------------------- csync2

start_csync2() {
	local n
	wants csync2 csync2 || return 1
	# Trees have one path in its configuration, which all nodes share.
	mkdir -p "$W/csync2"
	nodes_up "$1" "mount --bind $W/p/tree-\$n $W/csync2" || return 1
	head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1 > "$W/p/key"
	chmod 600 "$W/p/key"
	for ((n = 0; n < $1; n++)); do
		mkdir -p "$W/p/$n/db"
		{
			echo "nossl * *;"
			echo "group bench {"
			echo "	host $(seq -s ' ' -f 'n%.0f' 0 $(($1 - 1)));"
			echo "	key $W/p/key; include $W/csync2; auto younger;"
			echo "}"
		} > "$W/p/$n/csync2.cfg"
		[ "$n" -gt 0 ] || continue
		(in_node "$n" env "CSYNC2_SYSTEM_DIR=$W/p/$n" csync2 -ii -N "n$n" -D "$W/p/$n/db") > "$W/p/$n/log" 2>&1 &
		disown "$!"
	done
	echo ready > "$W/p/tree-0/ready"
	sleep 0.5
	csync2_now
	answers "$1" || { tail -n 2 "$W/p/0/log"; return 1; }
}
csync2_now() { (in_node 0 env "CSYNC2_SYSTEM_DIR=$W/p/0" csync2 -x -N n0 -D "$W/p/0/db") >> "$W/p/0/log" 2>&1; }
make_csync2() {
	"$B/syncfiles" make "$@"
	csync2_now
}
tree_csync2() { echo "$W/p/tree-$1"; }
settle_csync2() { :; }
stop_csync2() { nodes_down; }

# ------------------------------------------------------------------- lsyncd with rsync's daemon

start_lsyncd() {
	local n
	wants lsyncd lsyncd && wants rsync rsync || return 1
	nodes_up "$1" || return 1
	{
		echo "settings { nodaemon = true, inotifyMode = 'CloseWrite or Modify', insist = true }"
		for ((n = 1; n < $1; n++)); do
			echo "sync { default.rsync, source = '$W/p/tree-0', target = 'n$n::tree', delay = 1, rsync = { archive = true, whole_file = true, compress = false } }"
		done
	} > "$W/p/lsyncd.lua"
	for ((n = 1; n < $1; n++)); do rsync_daemon "$n"; done
	sleep 0.5
	(in_node 0 lsyncd "$W/p/lsyncd.lua") > "$W/p/0/log" 2>&1 &
	disown "$!"
	answers "$1" || { tail -n 2 "$W/p/0/log"; return 1; }
}
rsync_daemon() { # N
	printf '%s\n' "use chroot = no" "uid = root" "gid = root" "log file = $W/p/$1/log" "[tree]" "path = $W/p/tree-$1" "read only = no" > "$W/p/$1/rsyncd.conf"
	(in_node "$1" rsync --daemon --no-detach "--config=$W/p/$1/rsyncd.conf") >> "$W/p/$1/log" 2>&1 &
	disown "$!"
}
tree_lsyncd() { echo "$W/p/tree-$1"; }
settle_lsyncd() { :; }
stop_lsyncd() { nodes_down; }

# ------------------------------------------------------------------- Syncthing

start_syncthing() {
	local n ids=()
	wants syncthing syncthing || return 1
	nodes_up "$1" || return 1
	for ((n = 0; n < $1; n++)); do
		mkdir -p "$W/p/tree-$n/.stfolder"
		(HOME=$W/p/$n syncthing generate --no-default-folder --home "$W/p/$n") > "$W/p/$n/log" 2>&1 || { tail -n 1 "$W/p/$n/log"; return 1; }
		ids[n]=$(HOME=$W/p/$n syncthing --home "$W/p/$n" --device-id)
	done
	for ((n = 0; n < $1; n++)); do
		syncthing_config "$n" "${ids[@]}" > "$W/p/$n/config.xml"
		(in_node "$n" env HOME="$W/p/$n" STNOUPGRADE=1 syncthing serve --home "$W/p/$n" --no-browser --no-restart) >> "$W/p/$n/log" 2>&1 &
		disown "$!"
	done
	answers "$1" || { tail -n 2 "$W/p/0/log"; return 1; }
}
syncthing_config() { # N ID...
	local n=$1 i
	shift
	echo '<configuration version="35">'
	echo "<folder id=\"bench\" path=\"$W/p/tree-$n\" type=\"sendreceive\" rescanIntervalS=\"3600\" fsWatcherEnabled=\"true\" fsWatcherDelayS=\"1\"><filesystemType>basic</filesystemType>"
	for i in "$@"; do echo "<device id=\"$i\"></device>"; done
	echo "<minDiskFree unit=\"%\">0</minDiskFree></folder>"
	for ((i = 0; i < $#; i++)); do echo "<device id=\"${*:i + 1:1}\" name=\"n$i\"><address>tcp://10.77.0.$((i + 1)):22000</address></device>"; done
	echo '<gui enabled="true"><address>127.0.0.1:8384</address></gui><options><listenAddress>tcp://0.0.0.0:22000</listenAddress>'
	echo '<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>'
	echo '<reconnectionIntervalS>1</reconnectionIntervalS><startBrowser>false</startBrowser><urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled><setLowPriority>false</setLowPriority></options></configuration>'
}
tree_syncthing() { echo "$W/p/tree-$1"; }
settle_syncthing() { :; }
stop_syncthing() { nodes_down; }

# ------------------------------------------------------------------- GlusterFS

start_glusterfs() {
	local n bricks=()
	wants glusterd glusterfs-server && wants glusterfs glusterfs-client || return 1
	# Each daemon's own state, logs and sockets.
	# shellcheck disable=SC2016
	nodes_up "$1" 'mkdir -p $W/p/$n/{lib,log,run,mnt} && cp -a /var/lib/glusterd/groups $W/p/$n/lib/ && mount --bind $W/p/$n/lib /var/lib/glusterd && mount --bind $W/p/$n/log /var/log/glusterfs && mount --bind $W/p/$n/run /run' || return 1
	for ((n = 0; n < $1; n++)); do
		mkdir -p "$W/p/tree-$n"
		bricks+=("n$n:$W/p/tree-$n")
		(in_node "$n" glusterd --no-daemon) > "$W/p/$n/out" 2>&1 &
		disown "$!"
	done
	for ((n = 0; n < $1; n++)); do until_true 30 gluster_in "$n" peer status || { echo "glusterd does not answer on node $n: $(tail -n 1 "$W/p/$n/log/glusterd.log")"; return 1; }; done
	for ((n = 1; n < $1; n++)); do gluster_in 0 peer probe "n$n" || return 1; done
	until_true 30 gluster_joined "$1" || { gluster_in 0 peer status; return 1; }
	gluster_in 0 volume create bench replica "$1" "${bricks[@]}" force && gluster_in 0 volume set bench group metadata-cache &&
		gluster_in 0 volume start bench || return 1
	(in_node 0 mount -t glusterfs n0:/bench "$W/p/0/mnt") || return 1
	until_true 30 gluster_writes "$1" || { echo "what is written is not on all bricks"; return 1; }
}
gluster_in() { # N COMMAND...
	local n=$1
	shift
	(in_node "$n" gluster --mode=script "$@")
}
gluster_joined() { [ "$(gluster_in 0 peer status | grep -c 'Peer in Cluster (Connected)')" -eq $(($1 - 1)) ]; }
gluster_writes() { # the client begins before it has reached all bricks
	local n
	echo ready > "$(tree_glusterfs 0)/ready"
	for ((n = 0; n < $1; n++)); do [ -s "$W/p/tree-$n/ready" ] || { rm -f "$(tree_glusterfs 0)/ready"; return 1; }; done
}
# The first node writes through its mount, which only its namespace has. Of the others the bricks are looked at.
tree_glusterfs() {
	if [ "$1" -eq 0 ]; then echo "/proc/${node_pids[0]}/root$W/p/0/mnt"; else echo "$W/p/tree-$1"; fi
}
settle_glusterfs() { :; }
stop_glusterfs() {
	[ -z "${node_pids[0]:-}" ] || (in_node 0 umount "$W/p/0/mnt") 2> /dev/null
	nodes_down
}

# ------------------------------------------------------------------- who they are

sync_versions() {
	echo "$(uname -sr); $(nproc) processors ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)); clonesync $(git rev-parse --short HEAD 2> /dev/null)$(git diff --quiet HEAD 2> /dev/null || echo ' and changes')"
	echo "csync2 $(version_of csync2); lsyncd $(version_of lsyncd); rsync $(version_of rsync); Syncthing $(version_of syncthing); GlusterFS $(version_of glusterfs-server); iperf3 $(version_of iperf3)"
}
