# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# large.sh - sections million and extents: how long a fresh machine takes to mount, and with how much memory.

rss_mb() { awk '/^RssAnon/ { print $2 / 1000 }' "/proc/$1/status"; }
large_one() {
	local start pid
	rm -rf "$cache"
	case $volume in file://*) forget "${volume#file://}" ;; esac
	start=$(now)
	vol_up
	measured "$large: mount on a fresh machine, s" clonefs "$(calc "$(now) - $start")"
	pid=$(mount_pid "$vol")
	command ls "$vol" > /dev/null
	measured "$large: fetched by the mount, MB" clonefs "$(calc "$(vol_stat | json bytes_received) / 1e6")"
	measured "$large: RssAnon after it, MB" clonefs "$(rss_mb "$pid")"
	start=$(now)
	command ls -lR "$vol" > /dev/null
	measured "$large: ls -lR, s" clonefs "$(calc "$(now) - $start")"
	measured "$large: RssAnon after ls -lR, MB" clonefs "$(rss_mb "$pid")"
	vol_down
}
large_volume() { # MOUNT-BAR VOLGEN-ARGUMENTS...: a volume of that many files and extents
	local start bar=$1
	shift
	vol_new
	start=$(now)
	"$B/volgen" "$volume" "$disk/volgen" "$@" || die "volgen failed"
	measured "$large: making it through the engine, s" clonefs "$(calc "$(now) - $start")"
	rm -rf "$disk/volgen"
	each_round large_one clonefs
	row "$large: making it through the engine, s" clonefs - '<' -
	row "$large: mount on a fresh machine, s" clonefs - '<' "$bar"
	row "$large: fetched by the mount, MB" clonefs - '<' -
	row "$large: RssAnon after it, MB" clonefs - '<' 300
	row "$large: ls -lR, s" clonefs - '<' -
	row "$large: RssAnon after ls -lR, MB" clonefs - '<' 300
	vol_delete
}
section_million() {
	large="$MILLION files, $((2 * MILLION)) extents"
	large_volume 5 "$MILLION" 2
}
# A database: few files, its pages written in random order.
section_extents() {
	large="64 files, $((64 * (EXTENTS / 64))) extents in random order"
	large_volume 15 64 $((EXTENTS / 64)) random
}
