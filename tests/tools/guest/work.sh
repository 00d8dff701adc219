#!/bin/bash
# work.sh - what the guest of tests/lib/vm.sh does. Its words are the kernel's:
#   WORK=files    mounts the volume, and is crashwork on it (SEED, ACKED)
#   WORK=pages    mounts the volume, checks every page of the database on it, starts MariaDB, says what the table has, and loads (START, CLIENTS)
#   ON=disk       WORK=pages on the disk's own ext4 in the volume's place
#   OPTIONS=      of the mount; NOSYNC=1: of a clonefs whose fdatasync does nothing
# What it says goes to fd 3, a line at a time.
export PATH=/bin HOME=/
exec 3> "$REPORT"
. /pages.sh

say() { echo "$*" >&3; }
give_up() { say "failed: $*"; exit 1; }

mount_volume() {
	LD_PRELOAD=${NOSYNC:+/bin/nosync.so} clonefs mount s3://bucket/db /vol -o "node=guest,cache_dir=/disk/cache,$OPTIONS" || give_up "mounting the volume"
}

# Before InnoDB's own recovery has written anything: is there a page that is torn?
check_pages() {
	local files bad
	read -r files bad < <(bad_pages "$dir" 2>&3)
	say "pages: $files files, $bad bad"
	[ "$bad" = 0 ]
}

client() { mariadb --no-defaults --socket=/run/sock --user=root --batch --skip-column-names "$@"; }

# The packaged settings, without the doublewrite buffer; a buffer pool that holds little and is written back at once, so that pages are always on their way.
database() {
	local n
	rm -f /run/sock
	mariadbd --defaults-file=/etc/clonefs.cnf --datadir="$dir" --socket=/run/sock --pid-file=/run/pid --log-error=/run/error.log --skip-networking --user=root \
		--innodb-doublewrite=OFF --innodb-buffer-pool-size=16M --innodb-log-file-size=16M --innodb-max-dirty-pages-pct=0 --innodb-max-dirty-pages-pct-lwm=0 --tmpdir=/tmp &
	for ((n = 0; n < 600; n++)); do
		client -e 'SELECT 1' > /dev/null 2>&1 && return
		kill -0 $! 2>/dev/null || break
		sleep 0.2
	done
	while read -r n; do say "log: $n"; done < /run/error.log
	give_up "starting MariaDB"
}

# Each transaction has a row of its own, and changes four pages somewhere; then it says so.
transactions() { # client
	local seq=$START
	while :; do
		echo "BEGIN; INSERT INTO shop.orders VALUES ($1,$seq,1,REPEAT(MD5('$1-$seq-1'),4));
UPDATE shop.pages SET n=n+1, pad=REPEAT(MD5(RAND()),90) WHERE id IN ($((RANDOM % 2000)),$((RANDOM % 2000)),$((RANDOM % 2000)),$((RANDOM % 2000)));
COMMIT; SELECT 'ack', $1, $seq, '.';"
		seq=$((seq + 1))
	done
}

pages() {
	local c
	dir=/$ON/mysql
	check_pages || exit 1
	database
	client -e "SELECT 'row', client, seq, COUNT(*), SUM(BINARY note = BINARY REPEAT(MD5(CONCAT(client,'-',seq,'-',part)),4)), '.' FROM shop.orders GROUP BY client, seq;
		CHECK TABLE shop.orders, shop.pages EXTENDED" >&3 || give_up "reading the tables"
	say up
	for ((c = 1; c <= CLIENTS; c++)); do transactions $c | client --unbuffered >&3 & done
	wait
}

ON=${ON:-vol}
[ "$ON" = disk ] || mount_volume
case $WORK in
files) exec crashwork /vol "$SEED" "$ACKED" go >&3 ;;
pages) pages ;;
esac
