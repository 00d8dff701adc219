# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# stream.sh - section stream: large files, and what they cost in CPU time.

STREAM_MB=512
# A figure of the streams: run SIDE KEY PID COMMAND... times the command, in MB/s, and its CPU time: the client's (the command itself), that of
# process PID (the daemon; 0: none) and of the S3 server. What kernel threads do for a side (ext4's writeback, the loop device) is not counted.
timed() {
	local side=$1 key=$2 pid=$3 start d s c end
	shift 3
	d=$(cpu_of "$pid")
	# shellcheck disable=SC2046
	s=$(cpu_of $(server_pids))
	start=$(now)
	TIMEFORMAT='%U %S'
	c=$({ time "$@" > "$W/out" 2>&1; } 2>&1) || die "$* failed: $(tail -n 1 "$W/out")"
	end=$(now)
	measured "$key, MB/s" "$side" "$(calc "$STREAM_MB * 1.048576 / ($end - $start)")"
	cpu "$side" "$key" client "$(awk '{ print $1 + $2 }' <<< "$c")"
	[ "$pid" = 0 ] || cpu "$side" "$key" daemon "$(calc "$(cpu_of "$pid") - $d")"
	# shellcheck disable=SC2046
	[ -z "${BENCH_S3:-}" ] || cpu "$side" "$key" "S3 server" "$(calc "$(cpu_of $(server_pids)) - $s")"
}
cpu() { measured "$2, CPU s/GB, $3" "$1" "$(calc "$4 / ($STREAM_MB * 1.048576e-3)")"; }
write_stream() { dd if="$W/random" of="$1" bs=1M conv=fsync; }
write_through() { write_stream "$1" && clonefs sync "$vol"; }
read_stream() { dd if="$1" of=/dev/null bs=1M; }
forget() { find "$@" -type f -exec dd if={} iflag=nocache count=0 status=none \; ; }

WRITE="1M sequential write + fsync"
THROUGH="sequential write until in the store"
COLD="cold sequential read"
stream_one() {
	case $1 in
	ext4)
		timed ext4 "$WRITE" 0 write_stream "$ext4/stream"
		sync -f "$disk"
		forget "$ext4/stream"
		timed ext4 "$COLD" 0 read_stream "$ext4/stream"
		rm "$ext4/stream"
		;;
	raw) raw_one ;;
	clonefs)
		vol_fresh
		timed clonefs "$WRITE" "$(mount_pid "$vol")" write_stream "$vol/stream"
		clonefs sync "$vol" > /dev/null
		timed clonefs "$THROUGH" "$(mount_pid "$vol")" write_through "$vol/stream2"
		vol_down
		rm -rf "$cache"
		case $volume in file://*) forget "${volume#file://}" ;; esac
		vol_up
		timed clonefs "$COLD" "$(mount_pid "$vol")" read_stream "$vol/stream"
		vol_gone
		;;
	esac
}
# rawstore says its own rates and CPU time for each direction; the server's is read around each.
raw_one() {
	local op key s out
	for op in put get delete; do
		case $op in put) key=$THROUGH ;; *) key=$COLD ;; esac
		# shellcheck disable=SC2046
		s=$(cpu_of $(server_pids))
		# As cold as the volume's objects are when they are read.
		case $op,$STORE in get,file://*) forget "${STORE#file://}/raw" ;; esac
		out=$("$B/rawstore" "$STORE/raw" $STREAM_MB $op) || return 1
		[ $op != delete ] || return 0
		measured "$key, MB/s" raw "$(sed -n "s/^$op //p" <<< "$out")"
		cpu raw "$key" daemon "$(sed -n 's/^cpu //p' <<< "$out")"
		# shellcheck disable=SC2046
		[ -z "${BENCH_S3:-}" ] || cpu raw "$key" "S3 server" "$(calc "$(cpu_of $(server_pids)) - $s")"
	done
}
section_stream() {
	local k
	head -c ${STREAM_MB}M /dev/urandom > "$W/random"
	each_round stream_one ext4 clonefs raw
	row "$WRITE, MB/s" clonefs ext4 '>' -
	row "$THROUGH, MB/s" clonefs raw '>' 0.9
	row "$COLD, MB/s" clonefs raw '>' 0.6
	row "$COLD, MB/s" clonefs ext4 '>' -
	for k in "$WRITE" "$THROUGH" "$COLD"; do
		row "$k, CPU s/GB, client" clonefs "$([ "$k" = "$THROUGH" ] && echo - || echo ext4)" '<' -
		row "$k, CPU s/GB, daemon" clonefs "$([ "$k" = "$WRITE" ] && echo - || echo raw)" '<' -
		[ -z "${BENCH_S3:-}" ] || row "$k, CPU s/GB, S3 server" clonefs "$([ "$k" = "$WRITE" ] && echo - || echo raw)" '<' -
	done
	rm "$W/random"
}
