#!/bin/bash
# Direct writes by io_submit, as databases and virtual machines make them: who asks for durability has it when the write is complete, and what the page cache and stat tell
# afterwards is what was written, whoever read beside it. (What the kernel would do with FUSE_ASYNC_DIO, which is why that is refused.)
# timeout: 120
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh

[ "$(id -u)" -eq 0 ] || skip_all "host: not root"

check "format" clonefs format "$STORE"
check "mount" vol_mount a "$W/m" "durability=store,commit_interval=1h,max_lag=1h"
head -c 262144 /dev/zero > "$W/m/file"
check "the file is in the store" clonefs sync "$W/m"
for how in dsync sync rwf; do
	before=$(clonefs stat --get lsn_store "$W/m")
	check "a write with $how" "$TOOLS/aiotest" sync "$W/m/file" $how
	is "$(clonefs stat --get lag_bytes "$W/m")" 0 "leaves nothing that the store has not got"
	check "and the store got it" test "$(clonefs stat --get lsn_store "$W/m")" -gt "$before"
done
check "unmount" vol_unmount "$W/m"
check "mounted with durability=local" vol_mount a "$W/m" ""
check "the page cache has what was written" "$TOOLS/aiotest" pages "$W/m/file" 8
check "stat tells the time of it" "$TOOLS/aiotest" times "$W/m/file" 4
check "unmount" vol_unmount "$W/m"
tap_done
