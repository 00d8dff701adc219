#!/bin/bash
# A write through O_DSYNC or O_SYNC returns when it is durable, as if fsync followed it, whether it went through the kernel's cache or around it:
# here with durability=store, where after the loss of the machine the store alone has to have it.
# timeout: 120
# sanitized: yes
# shellcheck disable=SC2016 # perl's own variables
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"

# writes FILE FLAG: one page, at an aligned address for O_DIRECT's sake.
writes() {
	perl -MFcntl=:DEFAULT -e 'my ($f, $flag) = @ARGV; sysopen(F, $f, O_WRONLY | $flag) or die "$f: $!";
		my $b = "y" x 8192; my $at = 4096 - unpack("Q", pack("p", $b)) % 4096;
		my $n = syswrite(F, $b, 4096, $at); die "write: $!" unless defined $n && $n == 4096' "$1" "$2"
}
flag() { perl -MFcntl=:DEFAULT -e 'print eval $ARGV[0]' "$1"; }

check "format" clonefs format "$STORE"
check "mount" vol_mount a "$W/m" "durability=store,commit_interval=1h,max_lag=1h"
kinds="O_WRONLY O_DSYNC O_SYNC O_DSYNC|O_DIRECT O_SYNC|O_DIRECT"
for k in $kinds; do head -c 4096 /dev/zero > "$W/m/${k//|/+}"; done
check "the files are in the store" clonefs sync "$W/m"
for k in O_DSYNC O_SYNC "O_DSYNC|O_DIRECT" "O_SYNC|O_DIRECT"; do
	before=$(clonefs stat --get lsn_store "$W/m")
	check "a write with $k" writes "$W/m/${k//|/+}" "$(flag "$k")"
	is "$(clonefs stat --get lag_bytes "$W/m")" 0 "leaves nothing that the store has not got"
	check "and the store got it" test "$(clonefs stat --get lsn_store "$W/m")" -gt "$before"
done
check "a write without waits for nothing" writes "$W/m/O_WRONLY" 0
check "and is not there yet" test "$(clonefs stat --get lag_bytes "$W/m")" -gt 0
check "the machine is lost" vol_kill "$W/m"
rm -rf "$W/cache-a"
check "another takes over" vol_mount b "$W/m" "" --takeover
for k in O_DSYNC O_SYNC "O_DSYNC|O_DIRECT" "O_SYNC|O_DIRECT"; do
	is "$(head -c 1 "$W/m/${k//|/+}")" y "$k: what was acknowledged is there"
done
check "unmount" vol_unmount "$W/m"
tap_done
