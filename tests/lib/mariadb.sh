# shellcheck shell=bash
# mariadb.sh - a real MariaDB for quickstart and the crash tests: a data directory, a server on a unix socket, a loader that
# keeps a ledger of what was acknowledged, and the check of the one against the other.
#
# Set before use: DB_DIR (data directory), DB_RUN (socket, logs; not on the volume), LEDGER (the program of tests/tools/ledger.c).
# DB_DOUBLEWRITE=OFF where the test is about pages that the volume must keep whole by itself.

DB_USER=${DB_USER:-$(if [ "$(id -u)" -eq 0 ]; then echo mysql; else id -un; fi)}
DB_ROWS_PER_TRANSACTION=${DB_ROWS_PER_TRANSACTION:-5}
db_pid=
db_loaders=()

db_client() { mariadb --no-defaults --socket="$DB_RUN/sock" --user="$(id -un)" --batch --skip-column-names "$@"; }

# The settings of packaging/mariadb-clonefs.cnf, and small buffers.
db_options() {
	printf '%s\n' --no-defaults --datadir="$DB_DIR" --socket="$DB_RUN/sock" --pid-file="$DB_RUN/pid" --log-error="$DB_RUN/error.log" \
		--skip-networking --user="$DB_USER" --innodb-buffer-pool-size=64M --innodb-log-file-size=48M --innodb-flush-method=O_DIRECT \
		--innodb-flush-log-at-trx-commit=1 --sync-binlog=1 --innodb-doublewrite="${DB_DOUBLEWRITE:-ON}" --tmpdir="$DB_RUN" --max-connections=64
}

db_init() {
	local auth=(--auth-root-authentication-method=socket)
	mkdir -p "$DB_RUN" "$DB_DIR"
	if [ "$(id -u)" -eq 0 ]; then
		chown "$DB_USER" "$DB_RUN" "$DB_DIR"
	else
		auth+=(--auth-root-socket-user="$(id -un)")
	fi
	TMPDIR=$DB_RUN mariadb-install-db --no-defaults --datadir="$DB_DIR" --user="$DB_USER" --skip-test-db --innodb-log-file-size=48M --innodb-flush-method=O_DIRECT \
		"${auth[@]}" > "$DB_RUN/install.log" 2>&1 || {
		tail -n 20 "$DB_RUN/install.log" >&2
		return 1
	}
}

# Starts the server and waits until it answers a query (its crash recovery is part of that).
db_start() {
	local options n
	mkdir -p "$DB_RUN"
	[ "$(id -u)" -ne 0 ] || chown "$DB_USER" "$DB_RUN"
	mapfile -t options < <(db_options)
	rm -f "$DB_RUN/sock"
	mariadbd "${options[@]}" > "$DB_RUN/out.log" 2>&1 &
	db_pid=$!
	for ((n = 0; n < 1200; n++)); do
		[ "$(db_client -e 'SELECT 1' 2>/dev/null)" = 1 ] && return 0
		kill -0 "$db_pid" 2>/dev/null || break
		sleep 0.05
	done
	echo "MariaDB did not come up; the end of its log:" >&2
	tail -n 20 "$DB_RUN/error.log" >&2
	return 1
}

db_kill() {
	[ -n "$db_pid" ] || return 0
	kill -KILL "$db_pid" 2>/dev/null
	wait "$db_pid" 2>/dev/null
	db_pid=
}

db_stop() {
	[ -n "$db_pid" ] || return 0
	kill -TERM "$db_pid"
	wait "$db_pid" 2>/dev/null
	db_pid=
}

db_schema() {
	db_client -e "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.orders (client INT NOT NULL, seq INT NOT NULL, part INT NOT NULL,
		note VARCHAR(255) NOT NULL, PRIMARY KEY (client, seq, part)) ENGINE=InnoDB"
}

# The transactions of one client, as SQL: each inserts some rows, commits, and then says so.
db_transactions() { # client first-seq
	local client=$1 seq=$2 part sql
	while :; do
		sql="BEGIN;"
		for ((part = 1; part <= DB_ROWS_PER_TRANSACTION; part++)); do
			sql+="INSERT INTO shop.orders VALUES ($client,$seq,$part,REPEAT(MD5(CONCAT($client,'-',$seq,'-',$part)),4));"
		done
		echo "$sql COMMIT; SELECT $client, $seq;" || return
		seq=$((seq + 1))
	done 2>/dev/null
}

# Starts clients that load until the server dies or db_load_stop. A line of ledger-<client> is "<ns> <client> <seq>", on disk after
# the commit was acknowledged and before the next is sent.
db_load_start() { # ledger-dir clients
	local c first
	mkdir -p "$1"
	db_loaders=()
	for ((c = 1; c <= $2; c++)); do
		first=$(($(awk 'END {print $3 + 0}' "$1/ledger-$c" 2>/dev/null || echo 0) + 1))
		# Numbers that were sent and not acknowledged may be in the table all the same: go on well above.
		first=$((first + 1000))
		(exec 2>>"$1/errors"; db_transactions "$c" "$first" | db_client --unbuffered | "$LEDGER" "$1/ledger-$c") &
		db_loaders+=($!)
	done
}

db_load_stop() {
	local p
	for p in "${db_loaders[@]}"; do pkill -TERM -P "$p" 2>/dev/null; done
	wait "${db_loaders[@]}" 2>/dev/null
	db_loaders=()
}

# Waits for loaders that end because the server died.
db_load_wait() {
	wait "${db_loaders[@]}" 2>/dev/null
	db_loaders=()
}

db_ledger_count() { cat "$1"/ledger-* 2>/dev/null | wc -l; }

# Compares: every acknowledged transaction must be there, whole and with the right bytes. Prints "lost wrong first_lost_ns last_ack_ns".
db_verify() { # ledger-dir
	db_client -e "SELECT client, seq, COUNT(*), SUM(BINARY note = BINARY REPEAT(MD5(CONCAT(client,'-',seq,'-',part)),4)) FROM shop.orders GROUP BY client, seq" \
		> "$DB_RUN/table" || return 1
	db_compare "$1"
}

# The same with a table that was read already, in $DB_RUN/table.
db_compare() { # ledger-dir
	awk -v want="$DB_ROWS_PER_TRANSACTION" -v table="$DB_RUN/table" '
		FILENAME == table { rows[$1 " " $2] = $3; right[$1 " " $2] = $4; if ($3 != want || $4 != want) wrong++; next }
		{ if (last == "" || $1 > last) last = $1
		  if (!(($2 " " $3) in rows)) { lost++; if (first == "" || $1 < first) first = $1 } }
		END { printf "%d %d %s %s\n", lost, wrong, first == "" ? 0 : first, last == "" ? 0 : last }' \
		"$DB_RUN/table" <(cat "$1"/ledger-*)
}

# Forgets what was found lost, so that a later round does not count it again.
db_forget_lost() { # ledger-dir
	local f
	for f in "$1"/ledger-*; do
		awk -v table="$DB_RUN/table" 'FILENAME == table { rows[$1 " " $2] = 1; next } ($2 " " $3) in rows' "$DB_RUN/table" "$f" > "$f.new" && mv "$f.new" "$f"
	done
}

db_check_tables() {
	mariadb-check --no-defaults --socket="$DB_RUN/sock" --user="$(id -un)" --all-databases --extended --silent 2>&1
}
