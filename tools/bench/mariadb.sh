# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# mariadb.sh - section mariadb: sysbench, and what a commit costs in requests.

doublewrite=ON
# InnoDB's defaults but for the size of its log (that of db_init); no binary log, as MariaDB has it by default.
db_options() {
	printf '%s\n' --no-defaults --datadir="$DB_DIR" --socket="$DB_RUN/sock" --pid-file="$DB_RUN/pid" --log-error="$DB_RUN/error.log" \
		--skip-networking --user="$DB_USER" --innodb-log-file-size=48M --innodb-doublewrite=$doublewrite --tmpdir="$DB_RUN" --max-connections=64
}
sb() { # WORKLOAD ARGUMENTS...
	local workload=$1
	shift
	sysbench "$workload" --mysql-socket="$DB_RUN/sock" --mysql-user=root --mysql-db=sb --tables=4 --table-size=50000 "$@"
}
db_at() { # SIDE
	DB_DIR=$(dir_of "$1")/mysql
	DB_RUN=$W/run-${1%%,*}
}
db_prepare() {
	db_at "$1"
	chmod 755 "$(dir_of "$1")"
	{ db_init && db_start && db_client -e "CREATE DATABASE sb" && sb oltp_read_write prepare > "$W/prepare.log" 2>&1 && db_stop; } && return
	db_stop
	case $1 in ext4 | clonefs) die "MariaDB on $1: $(tail -n 3 "$W/prepare.log")" ;; esac
	unmeasured "" "$1" "MariaDB could not be prepared there: $(tail -n 1 "$W/prepare.log" | cut -c 1-150)"
	return 1
}
sysbench_one() { # SIDE WORKLOAD THREADS
	local puts n
	case $1 in clonefs*) puts=$(requests put) ;; esac
	sb "$2" --threads="$3" --time="$BENCH_SECONDS" run > "$W/sysbench" 2>&1 || { tail -n 3 "$W/sysbench" >&2; return 1; }
	measured "$2, $3 threads, tps" "$1" "$(sed -n 's/.*transactions:.*(\([0-9.]*\) per sec.*/\1/p' "$W/sysbench")"
	n=$(sed -n 's/.*transactions: *\([0-9]*\) .*/\1/p' "$W/sysbench")
	case $1 in *durability=store) measured "$2, $3 threads, PUTs per transaction" "$1" "$(calc "($(requests put) - $puts) / $n")" ;; esac
}
mariadb_one() {
	local workload threads
	db_at "$1"
	doublewrite=ON
	case $1 in
	"clonefs, doublewrite off") doublewrite=OFF ;;
	"clonefs, durability=store") vol_down && vol_up durability=store ;;
	esac
	db_start || return 1
	for workload in oltp_read_write oltp_write_only; do
		for threads in 4 16; do sysbench_one "$1" $workload $threads || return 1; done
	done
	db_stop
	[ "$1" != "clonefs, durability=store" ] || { vol_down && vol_up; }
}
section_mariadb() {
	local workload threads k s3backer=()
	vol_fresh
	db_prepare ext4
	db_prepare clonefs
	! { peer_start s3backer && db_prepare s3backer; } || s3backer=(s3backer)
	each_round mariadb_one ext4 clonefs "clonefs, doublewrite off" "clonefs, durability=store" "${s3backer[@]}"
	for workload in oltp_read_write oltp_write_only; do
		for threads in 4 16; do
			k="$workload, $threads threads, tps"
			row "$k" clonefs ext4 '>' 0.9
			row "$k" "clonefs, doublewrite off" ext4 '>' 1.1
			row "$k" "clonefs, durability=store" s3backer '>' 5
			row "$k" "clonefs, durability=store" ext4 '>' -
			row "$workload, $threads threads, PUTs per transaction" "clonefs, durability=store" - '<' -
		done
	done
	peers_stop
	vol_gone
	rm -rf "$ext4/mysql"
}
