# shellcheck shell=bash
# lib.sh - the sides that tools/bench/run compares, and what is written down of them. Sourced after tests/lib/mounts.sh ($W, $BUILD, $STORE).
#
# Both sides have the same file system below them: an ext4 on a loop device holds the directory $ext4 and clonefs's cache directory.
# The store is on the disk of $W (file://), or a real S3 server with its data in memory (BENCH_S3=1).
#
# Files of $W: results (key|side|round|value), rows (key|side|against|better|bar, in the order of the table),
# absent (key or "", side, reason: what could not be measured).

ROUNDS=${BENCH_ROUNDS:-3}
BENCH_SECONDS=${BENCH_SECONDS:-15}
disk=$W/disk
ext4=$disk/ext4
vol=$W/vol
VOL_OPTIONS= # of every mount of clonefs
results=$W/results
round=1
vol_n=0

die() { echo "bench: $*" >&2; exit 1; }
note() { echo "# $*" >&2; }
now() { date +%s.%N; }
# calc EXPRESSION: a number
calc() { awk "BEGIN { printf \"%.4f\", $* }"; }
# ratio A B: A / B, nothing where B is not above 0
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.4f", a / b }'; }

# disk_start MIB: the image is written in full, so that ext4 below does not convert extents while it is measured.
disk_start() {
	local loop
	dd if=/dev/zero of="$W/disk.img" bs=8M count=$(($1 / 8)) oflag=direct conv=fsync status=none || die "no space for the disk image below $W"
	loop=$(losetup --find --show --direct-io=on "$W/disk.img" 2>/dev/null || losetup --find --show "$W/disk.img") || die "no loop device"
	mkdir -p "$disk"
	{ mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$loop" && mount -o noatime "$loop" "$disk"; } || die "cannot mount $loop"
	losetup --detach "$loop" # takes effect at the unmount
	mkdir -p "$ext4" "$disk/cache"
}

# A fresh volume at $vol
vol_fresh() { # [OPTIONS]
	vol_new
	vol_up "${1:-}"
}
vol_new() {
	vol_n=$((vol_n + 1))
	volume=$STORE/vol-$vol_n
	cache=$disk/cache/$vol_n
	clonefs format "$volume" > /dev/null || die "format failed"
}
# shellcheck disable=SC2120
vol_up() { # [OPTIONS]: the volume that there is
	local pid
	mkdir -p "$vol" "$cache"
	clonefs mount "$volume" "$vol" -o "allow_other,cache_dir=$cache,cache_size=${BENCH_CACHE:-1800M}${VOL_OPTIONS:+,$VOL_OPTIONS}${1:+,$1}" || die "mount failed"
	pid=$(mount_pid "$vol") && pids+=("$pid")
	[ "$VOL_OPTIONS" != io_uring ] || uring_check "$pid"
}
vol_down() { clonefs unmount "$vol" || die "unmount failed"; }
# Ends a volume and everything of it.
vol_gone() {
	vol_down
	vol_delete
}
vol_delete() {
	rm -rf "$cache"
	case $volume in file://*) rm -rf "${volume#file://}" ;; esac
}
vol_stat() { clonefs stat --json "$vol"; }
# json NAME: the value of the first line with that name
json() { sed -n "s/^ *\"$1\": \([0-9.]*\).*/\1/p" | head -n 1; }
# requests [NAME]: how many the mount has sent, of that method or of all
requests() {
	vol_stat | awk -v want="${1:-}" '
		/^ *"[a-z_]+": \{/ { at = $1; gsub(/[":]/, "", at) }
		/"requests": [0-9]/ { gsub(",", ""); if (want == "" || at == want) n += $2 }
		END { print n + 0 }'
}

# CPU seconds (user and system) that processes have used so far: cpu_of PID...
cpu_of() {
	local p
	for p in "$@"; do sed 's/.*) //' "/proc/$p/stat" 2>/dev/null; done |
		awk -v hz="$(getconf CLK_TCK)" '{ n += $12 + $13 } END { printf "%.2f", n / hz }'
}
# The processes of the S3 server, if one runs.
server_pids() { cat "$W"/s3/run/*.pid 2>/dev/null; }

# measured KEY SIDE VALUE
measured() {
	if [ -z "$3" ]; then
		case $2 in
		clone* | ext4 | raw) die "no figure for \"$1\" on $2" ;;
		*) unmeasured "$1" "$2" "it ran and gave no figure"; return ;;
		esac
	fi
	echo "$1|$2|$round|$3" >> "$results"
	note "$1: $2 $3"
}
# unmeasured KEY SIDE REASON: KEY may be "", for all of a side's
unmeasured() {
	echo "$1|$2|$3" >> "$W/absent"
	note "NOT MEASURED: ${1:-everything} on $2: $3"
}
# row KEY SIDE AGAINST BETTER BAR: a line of the table; BETTER is ">" (higher) or "<" (a time); AGAINST and BAR may be "-"
row() { echo "$1|$2|$3|$4|$5" >> "$W/rows"; }

# each_round COMMAND SIDE...: COMMAND SIDE for every side, the order turned each round
each_round() {
	local command=$1 side sides turned
	shift
	sides=("$@")
	for ((round = 1; round <= ROUNDS; round++)); do
		for side in "${sides[@]}"; do
			$command "$side" || die "$command $side failed"
			settle "$side"
		done
		turned=()
		for side in "${sides[@]}"; do turned=("$side" "${turned[@]}"); done
		sides=("${turned[@]}")
	done
	round=1
}
# Nothing of one side's is still being written when the other's turn comes.
settle() {
	case $1 in
	clonefs*) if mountpoint -q "$vol"; then clonefs sync "$vol" > /dev/null; fi ;;
	*) sync -f "$([ -d "$disk" ] && echo "$disk" || echo "$W")" ;;
	esac
}
dir_of() {
	case $1 in
	ext4) echo "$ext4" ;;
	clonefs*) echo "$vol" ;;
	*) echo "$W/peers/$1" ;;
	esac
}

# finish_section NAME: prints its table, and keeps its lines for the picture
finish_section() {
	echo
	echo "$1; load average $(cut -d' ' -f1-3 /proc/loadavg)"
	awk -F'|' -v section="$1" -v results="$results" -v absent="$W/absent" -f "$HERE/report.awk" "$W/rows" > "$W/section.tsv"
	awk -F'\t' -f "$HERE/table.awk" "$W/section.tsv"
	cat "$W/section.tsv" >> "$OUT/rows.tsv"
	awk -F'\t' -v title="$TITLE" -f "$HERE/picture.awk" "$OUT/rows.tsv" > "$OUT/ratios.svg"
	: > "$W/rows"
	: > "$W/absent"
	: > "$results"
}
