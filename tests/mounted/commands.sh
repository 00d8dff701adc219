#!/bin/bash
# The commands on a mount: stat, sync, unmount, salvage, dump, metrics; mount.clonefs and fsck.clonefs as mount(8), umount(8) and
# fsck(8) call them, with an fstab; the installed files.
# timeout: 300
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

get() { clonefs stat --get "$1" "$W/m"; }

# --- format, stat of a store
is "$(clonefs format --json --compress 5 "$STORE" | jq -r '[.address, .compress, .fencing] | map(tostring) | join(" ")')" "$STORE 5 true" "format --json"
is "$(clonefs stat --get compress "$STORE")" 5 "stat of a fresh store"
refuses "an owner that is nobody" "no user nobody-here" 2 clonefs format --owner nobody-here "file://$W/owned"
refuses "a mode that is none" "octal" 2 clonefs format --mode 9 "file://$W/owned"
check "format --owner --mode" clonefs format --owner daemon:12345 --mode 2750 "file://$W/owned"
STORE=file://$W/owned check "mounted" vol_mount o "$W/o"
is "$(stat -c '%u %g %a' "$W/o")" "$(id -u daemon) 12345 2750" "the root directory is theirs"
check "unmount" vol_unmount "$W/o"
clonefs stat "$STORE" | grep -q "none yet"
ok $? "nobody has written it"

# --- stat of a mount
check "mount" vol_mount alpha "$W/m" "metrics=127.0.0.1:$((30000 + $$ % 20000)),control=$W/control.sock"
is "$(get state) $(get node) $(get epoch)" "serving alpha 1" "stat --get"
clonefs stat --json "$W/m" | jq -e '.lag_seconds >= 0 and .cache_budget_bytes == 1073741824 and .requests.put.requests > 0 and .address' > /dev/null
ok $? "stat --json"
clonefs stat "$W/m" | grep -q "^lag "
ok $? "stat, as text"
refuses "stat --get of what there is not" "no such value" 2 clonefs stat --get nonsense "$W/m"
mkdir "$W/m/below"
is "$(clonefs stat --get mountpoint "$W/m/below")" "$W/m" "stat of a directory below the mount"
is "$(clonefs stat --json "$W/m" | jq -c '[has("requests_usd_month"), .requests_usd_month, .storage_usd_month == 0]')" "[true,null,true]" \
	"what requests cost in a month is not told in the first minute"
is "$(get requests_usd_month)" null "nor to --get"
# A mount of a month, and what its socket would answer: 2,000 PUTs, 3,000 GETs, 3 GiB.
if command -v perl > /dev/null; then
	default=$(find /run/clonefs "${XDG_RUNTIME_DIR:-/run/clonefs}/clonefs" "/tmp/clonefs-$(id -u)" -lname "$W/control.sock" 2> /dev/null | head -n 1)
	rm -f "$default"
	perl -MIO::Socket::UNIX -e '
		my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 5) or die;
		my $a = "{\"ok\":true,\"mountpoint\":\"$ARGV[1]\",\"uptime_seconds\":2592000,\"segment_bytes\":3221225472," .
			"\"requests\":{\"put\":{\"requests\":2000},\"get\":{\"requests\":3000}}}\n";
		while (my $c = $s->accept) { readline $c; print $c $a; close $c }' "$default" "$W/m" &
	month=$!
	until_true 10 test -S "$default"
	is "$(clonefs stat --json --price put=5,get=1,storage=7 "$W/m" | jq -c '[.requests_usd_month == 13, .storage_usd_month == 21]')" "[true,true]" "prices of one's own, after a month"
	kill "$month"
	rm -f "$default"
	ln -s "$W/control.sock" "$default"
else
	skip "prices of one's own" "host: no perl"
fi

# --- sync
head -c 20000000 /dev/urandom > "$W/m/big"
check "sync" clonefs sync "$W/m"
is "$(get lag_bytes)" 0 "nothing is left to send"
[ "$(get lsn)" = "$(get lsn_store)" ]
ok $? "the store has every operation"
clonefs stat --get writer_state "$STORE" | grep -q alive
ok $? "the store says that the writer is alive"

# --- metrics
port=$((30000 + $$ % 20000))
curl -s --noproxy '*' "http://127.0.0.1:$port/metrics" > "$W/metrics"
ok $? "metrics answer"
for name in clonefs_info clonefs_lag_seconds clonefs_lag_bytes clonefs_lost_operations clonefs_trouble clonefs_cache_used_bytes clonefs_store_requests_total clonefs_store_latency_seconds_bucket; do
	grep -q "^${name}[ {]" "$W/metrics" || fail "metrics have $name"
done
awk '/^#/ {next} !/^[a-z_]+({[^}]*})? [-+0-9.eInf]+$/ {print; bad = 1} END {exit bad}' "$W/metrics"
ok $? "every line of them is of Prometheus' form"
grep -c '^# TYPE' "$W/metrics" | grep -qx "$(grep '^# TYPE' "$W/metrics" | sort -u | wc -l)"
ok $? "every family is declared once"
is "$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/")" 404 "anything else is 404"
mkdir "$W/m2"
refuses "metrics on a port that is taken" "choose another" 1 vol_mount other "$W/m2" "metrics=127.0.0.1:$port,takeover"
refuses "metrics beyond loopback" "loopback" 2 vol_mount other "$W/m2" "metrics=0.0.0.0:9,takeover"

# --- the control socket takes no nonsense, and many at a time
socket=$W/control.sock
if command -v perl > /dev/null && [ -n "$socket" ]; then
	perl -MIO::Socket::UNIX -e '
		my @c = map { IO::Socket::UNIX->new(Peer => $ARGV[0]) or die } 1 .. 10;
		my ($i, $bad) = (0, 0);
		for my $q ("x\n", "{}\n", "[1]\n", "{\"do\":7}\n", "{\"do\":\"nothing\"}\n", "\n", "null\n") {
			print { $c[$i] } $q; $c[$i]->flush; my $r = readline $c[$i]; $bad++ unless defined $r && $r =~ /"ok":false/; $i++;
		}
		print { $c[8] } "y" x 5000; $c[8]->flush; my $r = readline $c[8]; $bad++ if defined $r;
		print { $c[9] } "{\"do\":\"stat\"}\n{\"do\":\"sync\"}\n"; $c[9]->flush;
		$r = readline $c[9]; $bad++ unless $r =~ /"ok":true/;
		do { $r = readline $c[9] } while defined $r && $r =~ /progress/; $bad++ unless defined $r && $r =~ /"ok":true/;
		exit $bad' "$socket" 2> "$W/stderr"
	ok $? "the control socket refuses nonsense and goes on" "$(cat "$W/stderr")"
	is "$(stat -c %a "$socket")" 600 "it is its owner's alone"
else
	skip "the control socket refuses nonsense" "host: no perl"
fi
is "$(get state)" serving "and the mount serves, the refused takeovers notwithstanding"

# --- dump
slot=$(cd "$W/store" && find log -type f -size +2k | sort | head -n 1)
clonefs dump "$STORE/$slot" > "$W/dump1" && clonefs dump "$W/store/$slot" > "$W/dump2" && cmp -s "$W/dump1" "$W/dump2" && grep -q '^epoch: 1' "$W/dump1"
ok $? "dump, by address and by file"
clonefs dump --json "$STORE/$slot" | jq -e . > /dev/null
ok $? "dump --json"
cp "$W/store/volume" "$W/copy"
clonefs dump --key volume "$W/copy" | grep -q "^object: superblock"
ok $? "dump --key"
for k in volume heartbeat epochs/0000000001 log/0000000001/000000000000; do
	[ ! -e "$W/store/$k" ] || clonefs dump "$STORE/$k" > /dev/null || fail "dump $k"
done
refuses "dump of what there is not" "no such object" 1 clonefs dump "$STORE/log/0000000001/000000000999"

# --- unmount, drained and not
check "unmount" clonefs unmount "$W/m"
is "$(clonefs stat --get writer_state "$STORE")" released "the writer said good-bye"
check "mount" vol_mount alpha "$W/m" commit_interval=60,max_lag=60
echo kept > "$W/m/unsent" && sync "$W/m/unsent"
check "unmount --no-drain" clonefs unmount --no-drain "$W/m"
clonefs salvage --json "$W/cache-alpha" | jq -e '[.segments[].operations] | add >= 1' > /dev/null
ok $? "the rest is in the local log"
find "$W/cache-alpha" -type f -exec sha256sum {} + | sort > "$W/before"
clonefs salvage --extract "$W/extracted" "$W/cache-alpha" > /dev/null
ok $? "salvage --extract"
grep -rqx kept "$W/extracted"
ok $? "has the data"
jq -e '.names[] | select(.name == "unsent")' "$W/extracted/manifest.json" > /dev/null
ok $? "and the name"
refuses "salvage over a directory that exists" "does not exist yet" 1 clonefs salvage --extract "$W/extracted" "$W/cache-alpha"
find "$W/cache-alpha" -type f -exec sha256sum {} + | sort | cmp -s - "$W/before"
ok $? "salvage changed nothing"
check "mount" vol_mount alpha "$W/m"
is "$(cat "$W/m/unsent")" kept "the same node sends it"
check "unmount" clonefs unmount "$W/m"
is "$(clonefs salvage "$W/cache-alpha")" "nothing to salvage" "and nothing is left"

# --- in the foreground; ended by a signal
mkdir -p "$W/m"
"$CLONEFS" mount -f "$STORE" "$W/m" -o "node=alpha,cache_dir=$W/cache-alpha,cache_size=1G,$MOUNT_OPTIONS" 2> "$W/stderr" &
fg=$!
pids+=("$fg")
check "mount -f serves" until_true 20 mountpoint -q "$W/m"
is "$(until_true 10 mount_pid "$W/m"; mount_pid "$W/m")" "$fg" "by the process itself"
echo more > "$W/m/more"
kill -TERM "$fg"
wait "$fg"
ok $? "SIGTERM ends it well" "$(cat "$W/stderr")"
! mountpoint -q "$W/m"
ok $? "unmounted"
is "$(clonefs stat --get writer_state "$STORE")" released "and drained"

# --- read-only
check "mount -o ro" vol_mount reader "$W/m" ro
is "$(get state)" read-only "says so"
touch "$W/m/x" 2>/dev/null
ok $((! $?)) "and means it"
check "sync of a read-only mount is nothing" clonefs sync "$W/m"
check "unmount" clonefs unmount "$W/m"
is "$(clonefs stat --get node "$STORE")" alpha "it claimed nothing"

# --- make install, and mount(8), umount(8), fsck(8) with an fstab
installed=$W/root
check "make install" make -s --no-print-directory BUILD="$BUILD" DESTDIR="$installed" PREFIX=/usr install
for f in bin/clonefs sbin/mount.clonefs sbin/fsck.clonefs share/man/man1/clonefs.1 share/man/man5/clonefs.5 share/man/man8/mount.clonefs.8 \
	share/man/man8/fsck.clonefs.8 lib/systemd/system/clonefs@.service share/bash-completion/completions/clonefs; do
	[ -e "$installed/usr/$f" ] || fail "installed: $f"
done
for p in mount fsck; do
	"$installed/usr/sbin/$p.clonefs" --help > "$W/out" && grep -q "^Usage: $p.clonefs" "$W/out"
	ok $? "$p.clonefs --help"
done
helper=$installed/usr/sbin/mount.clonefs
"$helper" "$STORE" "$W/m" -f -o defaults,_netdev,nofail,noatime,x-systemd.automount
is $? 0 "mount.clonefs -f checks options and mounts nothing"
"$helper" "$STORE" "$W/m" -f -o colour=red 2> /dev/null
is $? 1 "a wrong option is exit 1"
"$helper" "$STORE" "$W/m" -s -f -o colour=red,cache_size=1G
is $? 0 "but not with -s"
"$helper" "file://$W/nothing" "$W/m" -o "retry=0,cache_dir=$W/c" 2> /dev/null
is $? 32 "a failed mount is exit 32"

# The helpers must be where mount(8) looks: an overlay on /sbin in a mount namespace of our own.
fstab_test() {
	mkdir -p "$W/overlay" && mount -t tmpfs tmpfs "$W/overlay" && mkdir "$W/overlay/u" "$W/overlay/w" &&
		mount -t overlay overlay -o "lowerdir=$(realpath /sbin),upperdir=$W/overlay/u,workdir=$W/overlay/w" "$(realpath /sbin)" || return 77
	ln -s "$CLONEFS" "$(realpath /sbin)/mount.clonefs" && ln -s "$CLONEFS" "$(realpath /sbin)/fsck.clonefs" || return 77
	echo "$STORE $W/m clonefs _netdev,nofail,node=alpha,cache_dir=$W/cache-alpha,cache_size=1G,durability=local,max_lag=5 0 0" > "$W/fstab"
	mount -a -T "$W/fstab" || return 1
	mountpoint -q "$W/m" || return 2
	[ "$(cat "$W/m/unsent")" = kept ] || return 3
	findmnt -n -o FSTYPE "$W/m" | grep -q '^fuse.clonefs$' || return 4
	mount -a -T "$W/fstab" || return 5 # again: nothing to do
	[ "$(grep -c " $W/m " /proc/mounts)" -eq 1 ] || return 6
	local pid
	pid=$(mount_pid "$W/m") || return 7
	echo fstab > "$W/m/fstab" || return 8
	umount "$W/m" || return 9
	gone "$pid"
	[ "$(clonefs stat --get writer_state "$STORE")" = released ] || return 10
	FSTAB_FILE=$W/fstab fsck -T -t clonefs "$STORE" > /dev/null || return 11
	mount -t clonefs "$STORE" "$W/m" -o "node=alpha,cache_dir=$W/cache-alpha,cache_size=1G,ro" || return 12
	[ "$(cat "$W/m/fstab")" = fstab ] || return 13
	pid=$(mount_pid "$W/m")
	umount "$W/m" || return 14
	gone "$pid"
}
if [ "$(id -u)" -eq 0 ] && unshare -m true 2> /dev/null; then
	export -f fstab_test mount_pid gone clonefs
	export W STORE CLONEFS
	unshare -m --propagation private bash -c 'set -u; fstab_test' > "$W/out" 2>&1
	code=$?
	if [ $code -eq 77 ]; then
		skip "mount -a with an fstab" "host: no overlay can be mounted"
	else
		ok $code "mount -a with an fstab, umount, fsck(8), mount -t clonefs" "$(cat "$W/out")"
	fi
else
	skip "mount -a with an fstab" "host: not root"
fi
check "the volume is sound" clonefs fsck --deep "$STORE"

# ------------------------------------------------------------------- nobody waits in silence

# A node that was killed may have acknowledged from its lease for some seconds: the one who takes over waits them out, and says so to a terminal only.
STORE=file://$W/lease
clonefs format "$STORE" > /dev/null
vol_mount first "$W/first" && echo kept > "$W/first/file" && sync "$W/first/file"
vol_kill "$W/first"
mkdir -p "$W/second"
script -qec "$CLONEFS mount $STORE $W/second --takeover -o node=second,cache_dir=$W/cache-second,cache_size=1G" "$W/typescript" > /dev/null 2>&1 < /dev/null
pids+=("$(mount_pid "$W/second")")
grep -q "mounting $STORE: waiting until the last writer's lease has run out [0-9]* s" "$W/typescript"
ok $? "a mount that waits says for what on a terminal" "$(cat -v "$W/typescript")"
vol_unmount "$W/second" > /dev/null

# tells WHAT FAULTS COMMAND...: on a terminal it says WHAT, with the seconds, while the store lets it wait.
tells() {
	local what=$1 faults=$2
	shift 2
	CLONELOVE_FAULTS=$faults script -qec "$CLONEFS $*" "$W/typescript" > /dev/null 2>&1 < /dev/null
	grep -q "$what.* 1 s" "$W/typescript"
	ok $? "clonefs $1 says on a terminal what it waits for" "$(cat -v "$W/typescript")"
}
tells "looking into the store" "list:*:delay=1300" stat "$STORE"
tells "building the map" "list:*:delay=1300" fsck "$STORE"
tells "reading from the store" "get:*:delay=1300" dump "$STORE/volume"
tells "making a volume" "put:probe/*:delay=1300" format "file://$W/slow"
is "$(CLONELOVE_FAULTS="list:*:delay=1300" clonefs stat "$STORE" 2>&1 > /dev/null | grep -v "faults injected")" "" "and nothing where there is no terminal"

tap_done
