/*
 * tree_posix_sync.c - one sync for many files.
 *
 * On clonefs one fsync covers all that was done before. On the file systems of disks it is syncfs(2), which starts all writes before it waits for any and commits the
 * journal once, where fsync pays for each file. It writes what others have dirtied, too: how much that is the kernel tells, and how fast the disk takes it was seen
 * before; what would take longer than a moment is refused, and so is a kernel that does not report failed writes there (before 5.8).
 *
 * A failure is told once to each open file, here the root: who comes later, about a file that was hit then, would not hear of it. So the first failure ends it for
 * good. Each file's own fsync tells what is wrong with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "tree_posix_impl.h"

#define XFS_MAGIC 0x58465342
#define RATE_BEGIN (200u << 20)  /* bytes a second: a slow SSD, or a disk that writes in order */
#define RATE_MIN (20u << 20)
#define WAIT_MOST_S 2u
#define SEEN_BYTES (16u << 20)   /* less tells nothing of the rate */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What waits to be written on this machine, on any disk: proc_vmstat(5). 0 where it is not told. */
static uint64_t dirty_bytes(void)
{
	static const char *const names[] = { "\nnr_dirty ", "\nnr_writeback " };
	uint64_t pages = 0;
	char text[8192];
	int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (size_t i = 0; i < 2; i++) {
		const char *at = strstr(text, names[i]);

		if (at)
			pages += strtoull(at + strlen(names[i]), NULL, 10);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int sync_fs(struct posix_tree *p)
{
	uint64_t waiting = dirty_bytes(), began = now_ns(), rate = atomic_load(&p->sync_rate), took;

	if (waiting > WAIT_MOST_S * rate) {
		/* By and by it is tried again: a disk that was slow once, as others were using it, is not so for ever. */
		atomic_store(&p->sync_rate, rate + rate / 64);
		return -EOPNOTSUPP;
	}
	if (syncfs(p->root)) {
		atomic_store(&p->sync_failed, true);
		return -EOPNOTSUPP;
	}
	took = now_ns() - began;
	if (waiting >= SEEN_BYTES) {
		uint64_t seen = waiting * 1000 / (took / 1000000 + 1);

		rate = (rate + seen) / 2;
		atomic_store(&p->sync_rate, rate < RATE_MIN ? RATE_MIN : rate);
	}
	/* Another one may have been told of a failure that was about ours. */
	return atomic_load(&p->sync_failed) ? -EOPNOTSUPP : 0;
}

static int posix_sync_all(struct tree *t)
{
	struct posix_tree *p = posix_of(t);

	if (p->sync == POSIX_SYNC_EACH || atomic_load(&p->sync_failed))
		return -EOPNOTSUPP;
	if (p->sync == POSIX_SYNC_FS)
		return sync_fs(p);
	if (fsync(p->root) == 0)
		return 0;
	atomic_store(&p->sync_failed, true);
	return -EOPNOTSUPP;
}

/* Does syncfs report what failed? */
static bool reports(void)
{
	struct utsname u;
	unsigned major, minor;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 8));
}

void posix_sync_functions(struct posix_tree *p, bool one)
{
	struct statfs fs;

	p->t.sync_all = posix_sync_all;
	atomic_init(&p->sync_rate, RATE_BEGIN);
	atomic_init(&p->sync_failed, false);
	p->sync = one ? POSIX_SYNC_ONE : POSIX_SYNC_EACH;
	if (!one && reports() && fstatfs(p->root, &fs) == 0 &&
	    (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == F2FS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC))
		p->sync = POSIX_SYNC_FS;
}
