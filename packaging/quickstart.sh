#!/bin/bash
# quickstart.sh [--build DIR] [--store s3://BUCKET/PREFIX] [--max-lag S] [--seconds N] [--keep]
#
# The main job, with a real MariaDB: a database on a volume, its machine lost with everything on it, a fresh machine that takes
# over from the store alone, and the proof that what was acknowledged is there. Ends 0 only when it all holds.
set -u
cd "$(dirname "$0")/.." || exit 2

# A fresh volume belongs to root, and MariaDB runs as its own user: that takes root. The variables that reach S3 go along.
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo > /dev/null || { echo "quickstart.sh: run it as root (there is no sudo)" >&2; exit 1; }
	exec sudo --preserve-env="$(env | sed -n 's/^\(AWS_[A-Z0-9_]*\|TMPDIR\|CLONELOVE_FAULTS\)=.*/\1/p' | paste -sd, -)" HOME="$HOME" "$PWD/packaging/quickstart.sh" "$@"
fi

BUILD=build STORE='' MAX_LAG=5 SECONDS_OF_LOAD=8 KEEP='' CLIENTS=4
while [ $# -gt 0 ]; do
	case $1 in
	--build) BUILD=$2; shift ;;
	--store) STORE=$2; shift ;;
	--max-lag) MAX_LAG=$2; shift ;;
	--seconds) SECONDS_OF_LOAD=$2; shift ;;
	--keep) KEEP=1 ;;
	*) echo "quickstart.sh: unknown option $1" >&2; exit 2 ;;
	esac
	shift
done
CLONEFS=$(cd "$BUILD" && pwd)/clonefs || exit 2
LEDGER=$(dirname "$CLONEFS")/ledger
W=$(mktemp -d "${TMPDIR:-/tmp}/clonelove-quickstart.XXXXXX") && chmod 755 "$W" || exit 2
EMBEDDED=
if [ -z "$STORE" ]; then
	EMBEDDED=1 STORE=file://$W/store
else
	STORE=${STORE%/}/quickstart-$(date +%Y%m%d-%H%M%S)-$$
fi
DB_RUN=$W/run
# shellcheck source=tests/lib/mariadb.sh
. tests/lib/mariadb.sh

say() { printf '\n%s\n' "$1"; }
die() {
	printf '\nFAILED: %s\n' "$1" >&2
	exit 1
}
clonefs() { "$CLONEFS" "$@"; }
now() { date +%s.%N; }
ago() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}'; }

mount_pids=()
cleanup() {
	local code=$? p
	trap - EXIT INT TERM
	set +e
	db_kill
	db_load_stop
	for p in "${mount_pids[@]}"; do kill -KILL "$p" 2>/dev/null; done
	for p in "$W/old" "$W/new"; do
		umount -l "$p" 2>/dev/null || fusermount3 -uz "$p" 2>/dev/null
	done
	if [ -n "$KEEP" ]; then echo "Kept: $W"; else rm -rf --one-file-system "$W"; fi
	[ -n "$EMBEDDED" ] || echo "The volume stays at $STORE; delete it with any S3 tool when you are done with it."
	exit $code
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mount_as() { # node directory [arguments...]
	local node=$1 dir=$2 options
	shift 2
	mkdir -p "$dir"
	options=node=$node,cache_dir=$W/cache-$node,cache_size=2G,durability=local,max_lag=$MAX_LAG
	[ "$(id -u)" -ne 0 ] || options+=,allow_other
	clonefs mount "$STORE" "$dir" -o "$options" "$@" || return 1
	mount_pids+=("$(clonefs stat --get pid "$dir")")
}

say "1. A volume at $STORE"
clonefs format "$STORE" > /dev/null || die "formatting $STORE"
mount_as alpha "$W/old" || die "mounting $STORE"
echo "   formatted, and mounted on node alpha (durability=local, max_lag=$MAX_LAG s)"

say "2. MariaDB on it"
DB_DIR=$W/old/mysql
start=$(now)
db_init || die "mariadb-install-db"
db_start || die "starting MariaDB"
db_schema || die "making the table"
clonefs sync "$W/old" || die "clonefs sync"
echo "   initialised, started, and all of it in the store, in $(ago "$start") s"

say "3. $CLIENTS clients load rows, $DB_ROWS_PER_TRANSACTION to a transaction; every acknowledged commit goes to a ledger outside the volume"
db_load_start "$W/ledger" "$CLIENTS"
for ((i = 0; i < SECONDS_OF_LOAD; i++)); do
	sleep 1
	printf '   %6d commits acknowledged; the store is %6.3f s and %8d bytes behind\n' "$(db_ledger_count "$W/ledger")" \
		"$(clonefs stat --get lag_seconds "$W/old")" "$(clonefs stat --get lag_bytes "$W/old")"
done
[ "$(db_ledger_count "$W/ledger")" -gt 0 ] || die "no row was loaded: $(tail -n 3 "$W/ledger/errors")"

say "4. The machine dies: SIGKILL to MariaDB and to clonefs, its cache directory deleted"
killed=$(now)
kill -KILL "$db_pid" "${mount_pids[0]}"
db_kill
db_load_wait
umount -l "$W/old" 2>/dev/null || fusermount3 -uz "$W/old"
rm -rf --one-file-system "$W/cache-alpha" "$DB_RUN"
acked=$(db_ledger_count "$W/ledger")
echo "   $acked commits were acknowledged to that moment"

say "5. A fresh machine, beta, takes the volume over from the store and starts MariaDB"
fresh=$(now)
mount_as beta "$W/new" --takeover || die "the takeover"
echo "   mounted after $(ago "$fresh") s (the wait for the old writer's lease included)"
DB_DIR=$W/new/mysql
db_start || die "MariaDB's crash recovery"
rto=$(ago "$fresh")
echo "   MariaDB recovered and answers after $rto s"

say "6. What was acknowledged, against what is there"
read -r lost wrong first_lost _ < <(db_verify "$W/ledger") || die "reading the table"
[ "$wrong" -eq 0 ] || die "$wrong transactions are torn or hold wrong bytes"
tables=$(db_check_tables) || die "mysqlcheck: $tables"
[ -z "$tables" ] || die "mysqlcheck: $tables"
rpo=$(awk -v lost="$lost" -v first="$first_lost" -v kill="$killed" 'BEGIN {s = lost ? kill - first / 1e9 : 0; printf "%.2f", s < 0 ? 0 : s}')
echo "   $((acked - lost)) of $acked commits are there, whole; mysqlcheck finds nothing wrong"
db_stop
clonefs unmount "$W/new" || die "unmounting"
clonefs fsck --quiet "$STORE" || die "fsck.clonefs"

say "RPO: $lost commits ($((lost * DB_ROWS_PER_TRANSACTION)) rows) of the last $rpo s lost, of $MAX_LAG s allowed.  RTO: $rto s."
awk -v r="$rpo" -v m="$MAX_LAG" 'BEGIN {exit !(r <= m)}' || die "more than max_lag was lost"
