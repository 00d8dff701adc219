/*
 * fault_disk.h - a layer over a disk for tests: the Nth call of a kind fails or tears, and a power loss takes back
 * what was not synced.
 *
 * Every write is remembered with the bytes it replaced until its file is synced; fault_disk_power_loss puts back a random choice of
 * them, whole or in part, the newest first. A write before a failed sync stays at risk for good, whatever later syncs say. Renames and
 * creations are taken back in part until the directory is synced.
 */
#ifndef CLONELOVE_TEST_FAULT_DISK_H
#define CLONELOVE_TEST_FAULT_DISK_H

#include <stdbool.h>

#include "disk.h"

enum fault_op { FAULT_OPEN = 1, FAULT_PREAD = 2, FAULT_PWRITE = 4, FAULT_SYNC = 8, FAULT_ALLOCATE = 16, FAULT_RENAME = 32,
		FAULT_SYNC_DIR = 64, FAULT_UNLINK = 128, FAULT_ANY = 255 };

/* Takes nothing over: below is closed by its owner, after fault_disk_close. */
struct disk *fault_disk_new(struct disk *below);
void fault_disk_close(struct disk *d);

/* From now on: `after` calls of the kinds go through, then `count` fail with rc (-errno). A write that fails was made in part. */
void fault_disk_fail(struct disk *d, unsigned ops, unsigned after, unsigned count, int rc);
/* Calls of these kinds since the last fault_disk_fail, failed ones included. */
unsigned fault_disk_calls(struct disk *d);
/* Syncs of files whose name begins with prefix wait, from now on, until it is NULL. The number of those that wait, and
 * of all with that prefix since the hold began, also after its end. */
void fault_disk_hold_syncs(struct disk *d, const char *prefix);
unsigned fault_disk_syncs_waiting(struct disk *d);
unsigned fault_disk_syncs_counted(struct disk *d);
/* Remember writes, for a power loss. Off at first. */
void fault_disk_record(struct disk *d, bool on);
/* No file may be open. 0 or -errno of what was needed to take back. */
int fault_disk_power_loss(struct disk *d, uint64_t seed);
/* Bytes of disk all files of the root directory take now. */
uint64_t fault_disk_usage(struct disk *d);
unsigned fault_disk_open_files(struct disk *d);
unsigned fault_disk_open_peak(struct disk *d);
/* How many files were written in full ahead of use. */
unsigned fault_disk_filled(struct disk *d);

#endif
