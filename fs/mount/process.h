/*
 * process.h - what the process of a mount does to itself and asks of the
 * machine before it serves.
 */
#ifndef CLONELOVE_PROCESS_H
#define CLONELOVE_PROCESS_H

#include "mount.h"

/* Before any thread: descriptors, core dumps, memory pressure, write-back flags, malloc. What is not permitted is left as it is. */
void process_harden(void);

/* The mount point: a directory, empty (or nonempty), not a clonefs mount already; a dead one there is detached. The cache directory
 * (which must exist): not inside the mount point. Messages say what to do. */
int process_check_mountpoint(const struct mount_config *c);
/* Makes path and what is missing above it (0700 for the last, 0755 above). */
int process_make_dirs(const char *path);
/* 16 bytes that stay with this cache directory on this machine, and that neither a copy of the directory nor an image of the machine has: a hash of /etc/machine-id
 * (else the host name), the firmware's ID of the machine where there is one, the directory's inode and time of birth. */
void process_machine_id(const char *cache_dir, uint8_t ret[16]);
/* Sends messages where the configuration says. background_dir: where a log is kept when there is no syslog. */
int process_open_log(const struct mount_config *c, const char *background_dir);

#endif
