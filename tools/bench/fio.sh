# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# fio.sh - sections fsync and cached: blocks.

# fio_run FIELD ARGUMENTS...: that field of fio's terse line (8 read IOPS, 7 read KB/s, 49 write IOPS, 48 write KB/s)
fio_run() {
	local field=$1
	shift
	fio --name=bench --output-format=terse --terse-version=3 --ioengine=psync --size=256M --thread --group_reporting "$@" |
		awk -F';' -v f="$field" 'NF > 49 { print $f }'
}

# fsync_run KEY SIDE ARGUMENTS...
fsync_run() {
	local key=$1 side=$2
	shift 2
	measured "4k direct random write + fsync, $key, IOPS" "$side" "$(fio_run 49 --rw=randwrite --bs=4k --direct=1 --fsync=1 --time_based \
		--runtime="$FIO_SECONDS" "$@")"
}
fsync_one() {
	local dir
	dir=$(dir_of "$1")
	fsync_run "1 job" "$1" --filename="$dir/fio"
	fsync_run "16 jobs, a file each" "$1" --numjobs=16 --directory="$dir" --size=16M
	fsync_run "16 jobs, one file" "$1" --numjobs=16 --filename="$dir/fio"
}
section_fsync() {
	local d n
	vol_fresh
	for d in "$ext4" "$vol"; do
		dd if=/dev/urandom of="$d/fio" bs=1M count=256 conv=fsync status=none
		# fio's own names of the files of its jobs, written beforehand: what is measured overwrites.
		for ((n = 0; n < 16; n++)); do dd if=/dev/urandom of="$d/bench.$n.0" bs=1M count=16 conv=fsync status=none; done
	done
	each_round fsync_one ext4 clonefs
	row "4k direct random write + fsync, 1 job, IOPS" clonefs ext4 '>' 0.85
	row "4k direct random write + fsync, 16 jobs, a file each, IOPS" clonefs ext4 '>' 1.5
	row "4k direct random write + fsync, 16 jobs, one file, IOPS" clonefs ext4 '>' 1.5
	rm "$ext4"/fio "$ext4"/bench.*
	vol_gone
}

cached_one() {
	local dir
	dir=$(dir_of "$1")
	cat "$dir/cached" > /dev/null
	measured "4k cached random read, IOPS" "$1" "$(fio_run 8 --filename="$dir/cached" --rw=randread --bs=4k --invalidate=0 --time_based --runtime="$FIO_SECONDS")"
	cat "$dir/cached" > /dev/null
	measured "1M cached sequential read, KB/s" "$1" "$(fio_run 7 --filename="$dir/cached" --rw=read --bs=1M --invalidate=0 --time_based --runtime="$FIO_SECONDS")"
}
section_cached() {
	local d sides=(ext4 clonefs) k
	vol_fresh
	! peer_start passthrough_hp || sides+=(passthrough_hp)
	for d in "${sides[@]}"; do dd if=/dev/urandom of="$(dir_of "$d")/cached" bs=1M count=256 conv=fsync status=none; done
	# Pages that a read brought are in larger folios than those a write left: all sides begin with none (passthrough_hp would drop its own at each open).
	echo 1 > /proc/sys/vm/drop_caches
	each_round cached_one "${sides[@]}"
	for k in "4k cached random read, IOPS" "1M cached sequential read, KB/s"; do
		row "$k" clonefs passthrough_hp '>' 0.95
		row "$k" clonefs ext4 '>' -
	done
	rm "$ext4/cached"
	peers_stop
	vol_gone
}
