#!/bin/bash
# InnoDB's page writes as they arrive: MariaDB with the packaged settings and innodb_doublewrite=OFF loads on a volume while strace shows what the daemon reads from the
# kernel. Each write into a file of pages must be direct, begin where a page begins and end where one ends: then a page is in one request, and so in one record, which
# is there whole or not at all. The log in the store must say the same: no piece of such a file begins or ends inside a page.
# The control is a buffered MariaDB (innodb_flush_method=fsync), whose writes the check must not take: the kernel ends a request behind a page of memory that it
# could fill only in part (fuse_fill_write_pages), so nothing is promised there; a write that begins inside a page shows it.
# timeout: 200
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
command -v mariadbd > /dev/null || skip_all "mariadb-server is not installed"
command -v strace > /dev/null || skip_all "strace is not installed"

PAGE=16384
DB_RUN=$W/run
DB_DIR=$W/m/mysql
. tests/lib/mariadb.sh
strace_pid=
end_all() {
	[ -z "$strace_pid" ] || kill -KILL "$strace_pid" 2> /dev/null
	db_kill
	db_load_stop
}
cleanup_hooks+=(end_all)
# The packaged settings, and a buffer pool that is written back at once.
db_options() {
	printf '%s\n' --defaults-file="$PWD/packaging/mariadb-clonefs.cnf" --datadir="$DB_DIR" --socket="$DB_RUN/sock" --pid-file="$DB_RUN/pid" \
		--log-error="$DB_RUN/error.log" --skip-networking --user="$DB_USER" --innodb-doublewrite=OFF --innodb-buffer-pool-size=16M --innodb-log-file-size=16M \
		--innodb-max-dirty-pages-pct=0 --innodb-max-dirty-pages-pct-lwm=0 --tmpdir="$DB_RUN" ${DB_MORE:+"$DB_MORE"}
}
db_status() { db_client -e "SHOW GLOBAL STATUS LIKE '$1'" | cut -f 2; }
# Nothing left to write, nothing on its way: InnoDB counts a page when it is sent, and the trace when it arrives.
written_back() { [ "$(db_status Innodb_buffer_pool_pages_dirty) $(db_status Innodb_data_pending_writes)" = "0 0" ]; }

# The requests of a trace: "inode offset length write_flags open_flags" of each FUSE_WRITE (struct fuse_in_header, fuse_write_in: <linux/fuse.h>).
writes_of() {
	awk '
		function byte(i) { return 16 * (index("0123456789abcdef", substr(s, 4 * i + 3, 1)) - 1) + index("0123456789abcdef", substr(s, 4 * i + 4, 1)) - 1 }
		function number(i, n,   x) { for (x = 0; n > 0; n--) x = 256 * x + byte(i + n - 1); return x }
		{ at = index($0, "\"\\x"); if (!at) next
		  s = substr($0, at + 1, 320)
		  if (length(s) < 320 || index(s, "\"") || number(4, 4) != 16) next
		  printf "%.0f %.0f %d %d %d\n", number(16, 8), number(48, 8), number(56, 4), number(60, 4), number(72, 4) }' "$1"
}
# Of them those into files of pages, as "pages requests not_whole not_direct".
judge() { # writes
	find "$DB_DIR" \( -name '*.ibd' -o -name 'ibdata*' -o -name 'undo*' \) -printf '%i %P\n' > "$W/inodes"
	awk -v page=$PAGE '
		FNR == NR { file[$1] = $2; next }
		!($1 in file) { next }
		{ n++; pages += $3 / page }
		$2 % page || $3 % page { if (!part++) print "# " file[$1] ": " $3 " bytes at " $2 > "/dev/stderr" }
		int($5 / 16384) % 2 == 0 || $4 % 2 { buffered++ }
		END { printf "%d %d %d %d\n", pages, n, part, buffered }' "$W/inodes" "$1"
}

trace_begin() {
	strace -f -qq -e trace=read,readv -e signal=none -xx -s 80 -o "$W/trace" -p "$(mount_pid "$W/m")" 2> "$W/strace.err" &
	strace_pid=$!
	until_true 10 grep -q "^TracerPid:.$strace_pid$" "/proc/$(mount_pid "$W/m")/status"
	ok $? "the daemon is traced" "$(cat "$W/strace.err")"
}
# What was read is in $W/writes.
trace_end() {
	kill -INT "$strace_pid"
	wait "$strace_pid" 2> /dev/null
	strace_pid=
	writes_of "$W/trace" > "$W/writes"
}

# load SECONDS: loads under strace; sets pages, requests, part, buffered, and flushed: what InnoDB says of pages.
load() {
	local before
	trace_begin
	until_true 30 written_back || fail "pages are written back before the load"
	before=$(db_status Innodb_pages_written)
	db_load_start "$W/ledger" 3
	sleep "$1"
	db_load_stop
	until_true 30 written_back || fail "pages are written back after the load"
	flushed=$(($(db_status Innodb_pages_written) - before))
	trace_end
	read -r pages requests part buffered < <(judge "$W/writes")
}

# odd_write FLAGS: in $n how many requests a write of 16 KiB is that begins inside a page of memory.
odd_write() {
	trace_begin
	dd if=/dev/zero of="$W/m/odd" bs=$PAGE count=1 seek=512 oflag="seek_bytes$1" status=none
	trace_end
	n=$(awk -v ino="$(stat -c %i "$W/m/odd")" '$1 == ino' "$W/writes" | wc -l)
	rm "$W/m/odd"
}

check "format" clonefs format "$STORE"
check "mount" vol_mount a "$W/m"
check "mariadb-install-db" db_init
db_start
ok $? "MariaDB with the packaged settings"
db_schema
load 8
[ "$flushed" -gt 100 ] && [ "$pages" -ge "$flushed" ]
ok $? "$pages pages arrived, of $flushed that InnoDB wrote"
is "$part" 0 "in $requests requests, none with a part of a page"
is "$buffered" 0 "each of them direct"
db_stop
check "in the store" clonefs sync "$W/m"

# What the log says of these files: pieces, each of a write, cut by later ones.
pieces=0 inside=0
for object in "$W"/store/log/*/*; do
	clonefs dump --json "$object" > "$W/dump" 2> /dev/null || { fail "dump $object"; break; }
	read -r n bad < <(jq -r '.. | objects | select(.table? == "extent" and .op == "put") | "\(.ino) \(.start) \(.len)"' "$W/dump" | awk -v page=$PAGE '
		FNR == NR { file[$1]; next } $1 in file { n++; if ($2 % page || $3 % page) bad++ } END { print n + 0, bad + 0 }' "$W/inodes" -)
	pieces=$((pieces + n)) inside=$((inside + bad))
done
[ $pieces -gt 100 ] && [ $inside -eq 0 ]
ok $? "the log in the store has $pieces pieces of them, $inside that begin or end inside a page"

DB_MORE=--innodb-flush-method=fsync
db_start
ok $? "MariaDB with buffered writes"
load 4
echo "# buffered: $pages pages in $requests requests, $part with a part of a page"
[ "$requests" -gt 0 ] && [ "$buffered" -eq "$requests" ]
ok $? "which the check does not take: of $requests requests $buffered are not direct"
db_stop

odd_write ,direct
is "$n" 1 "a direct write that begins inside a page of memory is one request"
odd_write ""
[ "$n" -gt 1 ]
ok $? "the same, buffered, is $n"
check "unmount" vol_unmount "$W/m"
tap_done
