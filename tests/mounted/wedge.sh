#!/bin/bash
# Wedge: a real S3 server hangs, then is gone, while 64 writers and a MariaDB with the packaged settings write, and the daemon has hardly any
# memory (a cgroup full of locked ballast, the cached file larger than what is left). Reading what is cached, lookups, df and clonefs stat answer all
# the time; nothing runs away, nothing dies; when the server is back everything goes on by itself, and nothing acknowledged is missing.
# OUTAGE=SECONDS sets its length; make check-wedge has a quarter of an hour.
# timeout: 300
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

OUTAGE=${OUTAGE:-36}
WRITERS=64
LIMIT_MIB=400
FREE_MIB=128    # of it, for the daemon beside what it holds before the outage
FILE_MIB=192    # to be read; with the rest, more than that
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
command -v mariadbd > /dev/null || skip_all "mariadb-server is not installed"
DB_RUN=$W/run
DB_DIR=$W/m/mysql
. tests/lib/mariadb.sh

# The packaged settings, and buffers for a small machine.
db_options() {
	printf '%s\n' --defaults-file="$PWD/packaging/mariadb-clonefs.cnf" --datadir="$DB_DIR" --socket="$DB_RUN/sock" --pid-file="$DB_RUN/pid" \
		--log-error="$DB_RUN/error.log" --skip-networking --user="$DB_USER" --innodb-buffer-pool-size=64M --innodb-log-file-size=48M \
		--tmpdir="$DB_RUN" --max-connections=64 ${DB_MORE:+"$DB_MORE"}
}

# --- a cgroup with little memory, of either version
cgroup_make() { # MIB
	local base=/sys/fs/cgroup limit=memory.max
	if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
		base=/sys/fs/cgroup/memory limit=memory.limit_in_bytes
	elif ! grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2> /dev/null; then
		return 1
	fi
	CGROUP=$base/clonelove-wedge-$$-$RANDOM
	mkdir "$CGROUP" 2> /dev/null && echo $(($1 << 20)) > "$CGROUP/$limit"
}
anon_mib() { awk '/^(rss|anon) / { print int($2 / 1048576) }' "$CGROUP/memory.stat"; }
helpers=()
end_all() {
	kill -KILL "${helpers[@]}" "${pids[@]}" 2> /dev/null
	db_kill
	db_load_stop
	gone "${pids[@]}" "${helpers[@]}"
	[ -z "${CGROUP:-}" ] || rmdir "$CGROUP" 2> /dev/null
}
cleanup_hooks+=(end_all)

cgroup_make $LIMIT_MIB || skip_all "host: no cgroup with a memory limit can be made"
s3_start || skip_all "host: no S3 server can be started"
STORE=s3://bucket/db
get() { clonefs stat --get "$1" "$W/m"; }
is_state() { [ "$(get state)" = "$1" ]; }
alive() { kill -0 "$1" 2> /dev/null; }

check "format" clonefs format "$STORE"
mkdir "$W/m"
(echo "$BASHPID" > "$CGROUP/cgroup.procs" && exec "$CLONEFS" mount "$STORE" "$W/m" \
	-o "node=a,cache_dir=$W/cache-a,cache_size=2G,max_lag=5,log_file=$W/log,$MOUNT_OPTIONS")
ok $? "mount, in a cgroup of $LIMIT_MIB MiB"
pid=$(mount_pid "$W/m")
pids+=("$pid")
check "a file to read" "$TOOLS/wedge" fill "$W/m/file" $FILE_MIB
check "is in the store" clonefs sync "$W/m"
check "mariadb-install-db" db_init
db_start
ok $? "MariaDB with the packaged settings"
db_schema
db_client -e "CREATE DATABASE ddl"
db_load_start "$W/ledger" 3
# Data definition holds the dictionary's latch while it writes; that InnoDB watches, where another one waits for it.
ddl() {
	local n=0
	while n=$((n + 1)); do echo "CREATE TABLE ddl.t$1_$n (a INT PRIMARY KEY) ENGINE=InnoDB; DROP TABLE ddl.t$1_$n; SELECT $n;" || return; done 2> /dev/null
}
mkfifo "$W/ddl1" "$W/ddl2"
for n in 1 2; do
	ddl $n > "$W/ddl$n" &
	helpers+=($!)
	db_client --unbuffered < "$W/ddl$n" > "$W/defined$n" 2>> "$W/ddl.err" &
	helpers+=($!)
done
db_acked() { echo $(($(db_ledger_count "$W/ledger"))); }

mkdir "$W/m/w"
"$TOOLS/wedge" write "$W/m/w" $WRITERS > "$W/acked" 2> "$W/writers.err" &
writers=$!
sleep 3
ballast=$((LIMIT_MIB - FREE_MIB - $(anon_mib)))
echo "# the daemon holds $(anon_mib) MiB; $ballast MiB of ballast, $FREE_MIB MiB free for it and its files of $FILE_MIB MiB and more"
(echo "$BASHPID" > "$CGROUP/cgroup.procs" && exec "$TOOLS/wedge" ballast $ballast) > "$W/ballast" &
helpers+=("$!" "$writers")
check "the ballast is in" until_true 20 grep -q locked "$W/ballast"

# --- away: hangs first, then refuses connections
before=$(db_acked)
rgw=$(cat "$S3_DIR/run/client.rgw.pid")
kill -STOP "$rgw"
check "writes are held" until_true 60 is_state held
"$TOOLS/wedge" probe "$W/m" "$W/m/file" "$OUTAGE" > "$W/probe" 2>&1 &
probe=$!
helpers+=("$probe")
sleep $((OUTAGE / 2))
kill -KILL "$rgw"
wait "$probe"
ok $? "all the time cached reads, lookups, df and clonefs stat answer" "$(cat "$W/probe")"
sed 's/^/# /' "$W/probe"
echo "# $(get parked) requests wait, $(get lag_bytes) bytes are not in the store, lag $(get lag_seconds) s; the daemon has $(anon_mib) MiB with the ballast"
[ "$(get parked)" -ge $((WRITERS / 2)) ]
ok $? "the writers wait" "$(get parked) requests wait"
check "clonefs stat says so, and why" eval 'clonefs stat "$W/m" | grep -qE "^state +held: ."'
[ "$(awk -v o="$OUTAGE" -v l="$(get lag_seconds)" 'BEGIN { print l >= o }')" = 1 ]
ok $? "for as long as that" "lag $(get lag_seconds)"
is "$(mount_pid "$W/m")" "$pid" "the daemon lives"
check "MariaDB lives" alive "$db_pid"

# --- back
tests/lib/s3server.sh rgw-start
settled() { is_state serving && [ "$(get lag_seconds | cut -d. -f1)" -lt 5 ]; }
check "writes go on by themselves" until_true 120 settled
moves() { [ "$(db_acked)" -gt "$1" ]; }
check "MariaDB goes on by itself" until_true 60 moves $((before + 50))
defined=$(tail -n 1 "$W/defined1")
defines() { [ "$(tail -n 1 "$W/defined1")" -gt "$1" ]; }
check "and its data definition" until_true 60 defines "$defined"
sleep 1
kill -TERM "$writers"
wait "$writers"
ok $? "no writer saw an error" "$(cat "$W/writers.err")"
check "nothing of theirs is missing" eval '"$TOOLS/wedge" check "$W/m/w" < "$W/acked"'
db_load_stop
is "$(grep -v Terminated "$W/ledger/errors" 2> /dev/null)" "" "no client of MariaDB saw an error"
read -r lost wrong _ < <(db_verify "$W/ledger")
is "$lost $wrong" "0 0" "every acknowledged row is there, right"
is "$(cat "$W/ddl.err")" "" "nor did the one that defines tables"
grep -c "intentionally crash\|signal" "$DB_RUN/error.log" | grep -qx 0
ok $? "MariaDB did not crash" "$(tail -n 30 "$DB_RUN/error.log")"
db_stop
check "unmount" vol_unmount "$W/m"
check "the store is sound" clonefs fsck --deep "$STORE"
tap_done
