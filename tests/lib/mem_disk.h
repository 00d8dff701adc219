/*
 * mem_disk.h - a cache directory in memory (disk.h), for tests that need many: files of any size, holes cost nothing. Nothing fails but for
 * want of memory, syncs do nothing.
 *
 * Not thread-safe for one file beside its own rename or unlink; otherwise one lock.
 */
#ifndef CLONELOVE_TEST_MEM_DISK_H
#define CLONELOVE_TEST_MEM_DISK_H

#include "disk.h"

struct disk *mem_disk_new(void); /* NULL: no memory */
void mem_disk_free(struct disk *d); /* every file is closed */

/* Makes the file, or adds to it: len bytes at off. */
int mem_disk_put(struct disk *d, const char *name, uint64_t off, const void *data, size_t len);

#endif
