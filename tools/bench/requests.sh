# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# requests.sh - section requests: what a volume asks of its store, idle and busy.

requests_busy() { # KEY COMMAND...: PUTs and bytes for each MB that the command has the volume write
	local key=$1 p b w before
	shift
	clonefs sync "$vol" > /dev/null
	before=$(vol_stat)
	p=$(requests put)
	"$@" > /dev/null 2>&1 || die "$* failed"
	clonefs sync "$vol" > /dev/null
	w=$(calc "($(vol_stat | json written_bytes) - $(json written_bytes <<< "$before")) / 1e6")
	b=$(calc "($(vol_stat | json bytes_sent) - $(json bytes_sent <<< "$before")) / 1e6")
	measured "$key: PUTs per MB written" clonefs "$(calc "($(requests put) - $p) / $w")"
	measured "$key: MB sent per MB written" clonefs "$(calc "$b / $w")"
}
requests_one() {
	local before start
	vol_fresh
	requests_busy "sequential write" dd if=/dev/urandom of="$vol/file" bs=1M count=256 conv=fsync
	requests_busy "4k random write + fsync" fio_run 49 --filename="$vol/file" --rw=randwrite --bs=4k --direct=1 --fsync=1 --time_based \
		--runtime="$FIO_SECONDS" --refill_buffers
	requests_busy "$FILES small files made and deleted" "$B/smallfiles" "$vol" "$FILES" 1
	sleep 5
	before=$(requests)
	p=$(requests put)
	start=$(now)
	sleep 60
	measured "requests per second of an idle volume" clonefs "$(calc "($(requests) - $before) / ($(now) - $start)")"
	measured "PUTs per second of an idle volume" clonefs "$(calc "($(requests put) - $p) / ($(now) - $start)")"
	vol_gone
}
section_requests() {
	local k
	each_round requests_one clonefs
	for k in "sequential write" "4k random write + fsync" "$FILES small files made and deleted"; do
		row "$k: PUTs per MB written" clonefs - '<' -
		row "$k: MB sent per MB written" clonefs - '<' -
	done
	row "requests per second of an idle volume" clonefs - '<' 0.2
	row "PUTs per second of an idle volume" clonefs - '<' -
}
