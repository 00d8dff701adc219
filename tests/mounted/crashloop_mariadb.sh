#!/bin/bash
# The crash loop: MariaDB with sysbench and loaders with a ledger under way; SIGKILL to server and clonefs, the cache wiped, another
# node takes over; every acknowledged row is checked against the ledger, every table with CHECK TABLE.
# Without InnoDB's doublewrite buffer: the volume keeps pages whole by itself, so before InnoDB's own recovery the checksum of each must be right.
# durability=local: what is lost was acknowledged in the last max_lag. durability=store: nothing is lost. And the same on a real S3 server.
# ROUNDS=N sets the rounds of each.
# timeout: 900
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
command -v mariadbd > /dev/null || skip_all "mariadb-server is not installed"

ROUNDS=${ROUNDS:-4}
MAX_LAG=5
DB_RUN=$W/run
LEDGER_DIR=$W/ledger
DB_DOUBLEWRITE=OFF
sysbench_pid=
. tests/lib/mariadb.sh
. tests/lib/pages.sh
stop_db() {
	[ -z "$sysbench_pid" ] || kill -KILL "$sysbench_pid" 2>/dev/null
	db_kill
	db_load_stop
}
cleanup_hooks+=(stop_db)

sysbench_() { sysbench --db-driver=mysql --mysql-socket="$DB_RUN/sock" --mysql-user="$(id -un)" --mysql-db=bench --tables=2 --table-size=2000 "$@"; }
sysbench_start() {
	sysbench_ --threads=2 --time=3600 --mysql-ignore-errors=all oltp_read_write run > "$W/sysbench.log" 2>&1 &
	sysbench_pid=$!
}
sysbench_kill() {
	kill -KILL "$sysbench_pid" 2>/dev/null
	wait "$sysbench_pid" 2>/dev/null
	sysbench_pid=
}

# One life: load, die, be replaced. $1 name of the round, $2 durability, $3 this node's mount, $4 next node, $5 its mount
life() {
	local what=$1 durability=$2 old=$3 next=$4 new=$5 killed lost wrong first acked pid lag start out files bad
	db_load_start "$LEDGER_DIR" 3
	sysbench_start
	sleep $((2 + RANDOM % 3)).$((RANDOM % 10))
	acked=$(db_ledger_count "$LEDGER_DIR")
	pid=$(mount_pid "$old")
	killed=$(date +%s.%N)
	# Not at the same instant, and not always in the same order: the database may go on for a moment on a dead mount, or the mount without it.
	if [ $((RANDOM % 2)) -eq 0 ]; then kill -KILL "$pid" "$db_pid"; else kill -KILL "$db_pid" "$pid"; fi
	db_kill
	db_load_wait
	sysbench_kill
	gone "$pid"
	umount -l "$old"
	rm -rf --one-file-system "$W/cache-${old##*/}" "$DB_RUN"
	start=$(date +%s.%N)
	check "$what: $next takes over" vol_mount "$next" "$new" "durability=$durability,max_lag=$MAX_LAG" --takeover || return
	DB_DIR=$new/mysql
	read -r files bad < <(bad_pages "$DB_DIR" 2> "$W/bad")
	[ "$files" -gt 2 ] && [ "$bad" -eq 0 ]
	ok $? "$what: every page of $files files is whole" "$(cat "$W/bad")"
	check_start "$what" || return
	echo "# $what: $(db_ledger_count "$LEDGER_DIR") commits acknowledged ($acked before the kill), back after $(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}') s"
	read -r lost wrong first _ < <(db_verify "$LEDGER_DIR") || { fail "$what: reading the table"; return; }
	is "$wrong" 0 "$what: no transaction is torn or wrong"
	lag=$(awk -v l="$lost" -v f="$first" -v k="$killed" 'BEGIN {s = l ? k - f / 1e9 : 0; printf "%.2f", s}')
	if [ "$durability" = store ]; then
		is "$lost" 0 "$what: every acknowledged row is there"
	else
		awk -v l="$lag" -v m="$MAX_LAG" 'BEGIN {exit !(l <= m)}'
		ok $? "$what: $lost commits of the last $lag s lost, of $MAX_LAG s allowed"
		db_forget_lost "$LEDGER_DIR"
	fi
	out=$(db_check_tables)
	[ -z "$out" ]
	ok $? "$what: CHECK TABLE" "$out"
}

check_start() {
	if db_start 2> "$W/start.err"; then
		pass "$1: MariaDB recovers"
	else
		fail "$1: MariaDB recovers" "$(cat "$W/start.err")"
		return 1
	fi
}

loop() { # name durability rounds
	local name=$1 durability=$2 rounds=$3 n
	rm -rf "$LEDGER_DIR" "$DB_RUN"
	DB_DIR=$W/$name-0/mysql
	check "$name: format" clonefs format "$STORE"
	check "$name: mount" vol_mount "$name-0" "$W/$name-0" "durability=$durability,max_lag=$MAX_LAG"
	check "$name: mariadb-install-db" db_init
	check_start "$name" || return
	db_schema
	db_client -e "CREATE DATABASE bench"
	check "$name: sysbench prepare" sysbench_ oltp_read_write prepare
	for ((n = 1; n <= rounds; n++)); do
		life "$name round $n" "$durability" "$W/$name-$((n - 1))" "$name-$n" "$W/$name-$n"
	done
	db_stop
	check "$name: unmount" clonefs unmount "$W/$name-$rounds"
	check "$name: the volume is sound, every byte" clonefs fsck --deep "$STORE"
}

STORE=file://$W/store-local
loop local local "$ROUNDS"
STORE=file://$W/store-store
loop store store "$ROUNDS"
if s3_start; then
	STORE=s3://bucket/db
	loop s3 store $(((ROUNDS + 1) / 2))
else
	skip "on a real S3 server" "host: no S3 server can be started"
fi
tap_done
