# shellcheck shell=bash
# mounts.sh - clonefs volumes for mounted tests: source it after tap.sh.
# Needs BUILD. Everything is under $W; the exit trap unmounts and kills what was started here, by process ID.

: "${BUILD:?}"
CLONEFS=$BUILD/clonefs
TOOLS=$BUILD/tests/tools
LEDGER=$BUILD/ledger
W=$(mktemp -d "${TMPDIR:-/tmp}/clonelove-mounted.XXXXXX")
chmod 755 "$W"
STORE=${STORE:-file://$W/store}
MOUNT_OPTIONS=${MOUNT_OPTIONS:-allow_other}
pids=()

clonefs() { "$CLONEFS" "$@"; }

# The process that serves a mount point.
mount_pid() { clonefs stat --get pid "$1" 2>/dev/null; }

# vol_mount NODE DIR [OPTIONS [MORE ARGUMENTS...]]: mounts $STORE with a cache directory of the node's own; remembers the process.
vol_mount() {
	local node=$1 dir=$2 options=${3:-} code pid
	shift $(($# < 3 ? $# : 3))
	mkdir -p "$dir"
	clonefs mount "$STORE" "$dir" -o "node=$node,cache_dir=$W/cache-$node,cache_size=1G,$MOUNT_OPTIONS${options:+,$options}" "$@"
	code=$?
	[ $code -ne 0 ] || { pid=$(mount_pid "$dir") && pids+=("$pid"); }
	return $code
}

vol_unmount() { clonefs unmount "$@"; }

# vol_kill DIR: SIGKILL to the mount's process; the dead mount is taken away.
vol_kill() {
	local pid
	pid=$(mount_pid "$1") || return 1
	kill -KILL "$pid"
	gone "$pid"
	umount -l "$1"
}

# gone PID...: waits until they are. The first thread of a process can be a zombie while others of it still hold its locks.
gone() {
	local p n
	for p in "$@"; do
		for ((n = 0; n < 600; n++)); do
			[ -e "/proc/$p" ] && ! { grep -q '^State:.Z' "/proc/$p/status" && [ "$(ls "/proc/$p/task" | wc -l)" -le 1 ]; } 2>/dev/null || break
			sleep 0.05
		done
	done
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

cleanup_hooks=()
cleanup() {
	local code=$? m h
	trap - EXIT INT TERM
	set +e
	for h in "${cleanup_hooks[@]}"; do $h; done
	for m in "${pids[@]}"; do
		kill -CONT "$m" 2>/dev/null
		kill -KILL "$m" 2>/dev/null
	done
	while read -r _ m _; do
		case $m in "$W"/*) umount -l "$m" 2>/dev/null || fusermount3 -uz "$m" ;; esac
	done < <(tac /proc/mounts)
	rm -rf --one-file-system "$W"
	exit $code
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# s3_start: a real S3 server of this test's own with a bucket, and AWS's variables set to reach it; s3://bucket is the store's root.
# 1 where there is none on this host.
s3_start() {
	local line
	[ "$(id -u)" -eq 0 ] && command -v radosgw >/dev/null || return 1
	export S3_DIR=$W/s3 S3_PORT=$((20000 + RANDOM % 10000)) S3_TLS_PORT=
	mkdir -p "$S3_DIR"
	tests/lib/s3server.sh start > "$W/s3.env" 2> "$W/s3.err" || { cat "$W/s3.err" >&2; return 1; }
	cleanup_hooks+=(s3_stop)
	while read -r line; do export "${line?}"; done < "$W/s3.env"
	"$TOOLS/s3bucket" s3://bucket
}
s3_stop() { tests/lib/s3server.sh stop >/dev/null 2>&1; }

# refuses DESCRIPTION PATTERN CODE COMMAND...: it must fail with that exit code, say why in exactly one line on stderr that
# matches PATTERN (extended, any case), and print nothing else.
refuses() {
	local what=$1 pattern=$2 want=$3 code out err
	shift 3
	out=$("$@" 2>"$W/stderr" </dev/null)
	code=$?
	err=$(grep -v "warning: " "$W/stderr") # of the program's own log
	if [ $code -eq "$want" ] && [ "$(wc -l <<< "$err")" -eq 1 ] && grep -qiE -- "$pattern" <<< "$err" && [ -z "$out" ]; then
		pass "$what"
	else
		fail "$what" "command: $*
exit code $code, wanted $want
pattern: $pattern
stderr: $err
stdout: $out"
	fi
}

# Every file below a directory with its size and hash, to show that nothing changed.
snapshot() { (cd "$1" && find . -type f ! -path "./probe/*" ! -path "./.clonelove/*" -exec sha256sum {} + 2>/dev/null | sort -k 2); }
