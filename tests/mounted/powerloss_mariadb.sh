#!/bin/bash
# Real power loss under MariaDB, with the packaged settings and innodb_doublewrite=OFF: the guest of tests/lib/vm.sh runs it on a volume whose local log is on a disk
# that loses and tears what was not flushed; the power goes while pages are written. When the guest is back, before InnoDB's own recovery:
#   every page of every file is whole (innochecksum; there is no doublewrite buffer that could mend one), on the volume and, through this host, in the store;
# then MariaDB recovers, every commit that was acknowledged is there, CHECK TABLE is content, and it goes on.
# Two controls: the same load on the disk's own ext4 must leave a torn page; a page torn on purpose must be reported.
# ROUNDS=N sets the rounds (make check-powerloss ROUNDS=20), SEED=N what is lost.
# timeout: 900
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
. tests/lib/vm.sh
command -v mariadbd > /dev/null || skip_all "mariadb-server is not installed"
vm_needs

ROUNDS=${ROUNDS:-2}
CONTROL_ROUNDS=20 # at most; one or two are enough mostly
SEED=${SEED:-$RANDOM}
VM_MEMORY=768
CLIENTS=2
STORE=s3://bucket/db
DB_RUN=$W/run
DB_DIR=$W/host/mysql
LEDGER_DIR=$W/ledger
. tests/lib/mariadb.sh
. tests/lib/pages.sh
cleanup_hooks+=(db_kill)
db_options() {
	printf '%s\n' --defaults-file="$PWD/packaging/mariadb-clonefs.cnf" --datadir="$DB_DIR" --socket="$DB_RUN/sock" --pid-file="$DB_RUN/pid" \
		--log-error="$DB_RUN/error.log" --skip-networking --user="$DB_USER" --innodb-log-file-size=16M --tmpdir="$DB_RUN"
}

# load_and_cut: until the clients have had some commits acknowledged, and a moment longer.
load_and_cut() {
	vm_count_over 100 $'^ack\t' $((10 + RANDOM % 40))
	sleep 0.$((RANDOM % 10))
	vm_power_off
	awk -F '\t' '$1 == "ack" && $4 == "." && $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ { print 0, $2, $3 }' "$REPORTS" >> "$LEDGER_DIR/ledger-all"
}

vm_store
ok $? "a store"
check "format" clonefs format "$STORE"
check "mount" vol_mount host "$W/host"
check "mariadb-install-db" db_init
db_start
ok $? "MariaDB starts"
db_schema
check "tables" db_client -e "CREATE TABLE shop.pages (id INT PRIMARY KEY, n INT NOT NULL, pad VARCHAR(3000) NOT NULL) ENGINE=InnoDB;
	INSERT INTO shop.pages SELECT seq, 0, REPEAT(MD5(RAND()),90) FROM shop.seq_0_to_1999"
db_stop
mkdir -p "$W/plain" "$LEDGER_DIR"
cp -a "$DB_DIR" "$W/plain"
check "unmount" vol_unmount "$W/host"
check "a guest is made" vm_root mariadbd mariadb innochecksum
vm_accel
for image in volume plain; do truncate -s 1G "$W/$image.img"; done
check "a disk for the volume's log" mke2fs -q -F -t ext4 "$W/volume.img"
check "a disk with the database on it" mke2fs -q -F -t ext4 -d "$W/plain" "$W/plain.img"
echo "# seed $SEED, $VM_NAME"

# What the guest says in the beginning: the pages, the rows, the tables. 1 when it does not get up.
examine() { # description
	local pages lost wrong
	pages=$(vm_says 200 '^(pages:|failed:)')
	[[ $pages == *" 0 bad" ]] || { fail "$1: every page is whole: ${pages:-no answer}" "$(grep -E '^(bad|failed)' "$REPORTS"; tail -n 5 "$W/console" "$W/qemu.log")"; return 1; }
	pass "$1: every page is whole: $pages"
	[[ $(vm_says 200 '^(up|failed:)') == up ]] || { fail "$1: MariaDB recovers" "$(cat "$REPORTS"; tail -n 5 "$W/console")"; return 1; }
	pass "$1: MariaDB recovers"
	awk -F '\t' '$1 == "row" && $6 == "." { print $2, $3, $4, $5 }' OFS='\t' "$REPORTS" > "$DB_RUN/table"
	read -r lost wrong _ < <(DB_ROWS_PER_TRANSACTION=1 db_compare "$LEDGER_DIR")
	is "$lost $wrong" "0 0" "$1: the $(wc -l < "$LEDGER_DIR/ledger-all") commits acknowledged are there, right"
	is "$(grep -c $'\tcheck\tstatus\tOK' "$REPORTS")" 2 "$1: CHECK TABLE"
}

: > "$LEDGER_DIR/ledger-all"
for ((round = 1; round <= ROUNDS; round++)); do
	start=$(date +%s.%N)
	vm_power_on "$W/volume.img" $((SEED + round)) WORK=pages OPTIONS=cache_size=256M,max_lag=5 START=$((round * 100000)) CLIENTS=$CLIENTS
	examine "round $round" || break
	up=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}')
	load_and_cut
	echo "# round $round: back after $up s, $(grep -c $'^ack\t' "$REPORTS") commits acknowledged, $(cat "$W/disk.log")"
	mkdir -p "$W/ro"
	check "round $round: the store is read" clonefs mount "$STORE" "$W/ro" -o "ro,node=reader,cache_dir=$W/cache-reader,cache_size=256M"
	read -r files bad < <(bad_pages "$W/ro/mysql" 2> "$W/bad")
	is "$bad" 0 "round $round: in the store every page of $files files is whole"
	sed 's/^/# /' "$W/bad"
	clonefs unmount "$W/ro"
done
if [ "$tap_bad" -eq 0 ]; then
	vm_power_on "$W/volume.img" $((SEED + round)) WORK=pages OPTIONS=cache_size=256M,max_lag=5 START=$((round * 100000)) CLIENTS=$CLIENTS
	examine "at the end"
	vm_kill
fi
echo "# the disk lost or tore $lost_writes writes"

# --- would it have been seen?
torn=
for ((round = 1; round <= CONTROL_ROUNDS; round++)); do
	vm_power_on "$W/plain.img" $((SEED + round)) WORK=pages ON=disk START=$((round * 100000)) CLIENTS=$CLIENTS
	torn=$(vm_says 200 '^(bad|up|failed)')
	[ "$torn" = up ] || break
	load_and_cut
	echo "# ext4: $(cat "$W/disk.log")"
done
[[ $torn == bad* ]]
ok $? "the same on the disk's own ext4: after $((round - 1)) losses of power ${torn:-no answer}"
vm_kill

cp "$W/plain/mysql/shop/pages.ibd" "$W/one.ibd"
check "a file of whole pages" innochecksum "$W/one.ibd"
dd if=/dev/zero of="$W/one.ibd" bs=512 seek=$((10 * 32 + 16)) count=16 conv=notrunc status=none
! innochecksum "$W/one.ibd" > /dev/null 2>&1
ok $? "half of one of its pages lost: innochecksum says so"
tap_done
