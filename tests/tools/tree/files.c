/* files.c - treetest's operations on open files and directories: the slots. */
#include "tree.h"

#include <linux/falloc.h>
#include <sys/mman.h>

#define DATA_MAX 60000

static struct slot *some_slot(size_t *ret_number)
{
	*ret_number = below(SLOTS);
	return &slots[*ret_number];
}

static void close_slot(struct slot *k)
{
	for (int s = 0; s < 2; s++) {
		if (k->fd[s] >= 0 && close(k->fd[s]) < 0)
			differ("close on the %s side: %s", tree_side[s], strerror(errno));
		k->fd[s] = -1;
	}
}

void open_both(const int dir[2], const char *path, int flags, mode_t mode)
{
	struct slot fresh;
	size_t n;
	struct slot *k = some_slot(&n);

	for (int s = 0; s < 2; s++) {
		fresh.fd[s] = openat(dir[s], path, flags, mode);
		result[s] = fresh.fd[s] < 0 ? -errno : 0;
	}
	agree();
	if (fresh.fd[0] < 0)
		return;
	compare_fds(fresh.fd, "what was opened");
	if (chance(2)) {
		close_slot(k);
		*k = fresh;
	} else {
		close_slot(&fresh);
	}
}

void do_close(void)
{
	size_t n;
	struct slot *k = some_slot(&n);

	saying("close slot %zu", n);
	close_slot(k);
}

void do_write(void)
{
	static char data[DATA_MAX];
	size_t n, len = chance(2) ? below(200) : below(DATA_MAX);
	struct slot *k = some_slot(&n);
	off_t off = (off_t)below(chance(3) ? 200000 : 9000);

	some_bytes(data, len);
	saying("write %zu bytes at %lld of slot %zu", len, (long long)off, n);
	BOTH(pwrite(k->fd[s], data, len, off));
	agree();
	compare_fds(k->fd, "what was written");
}

void do_read(void)
{
	static char data[2][DATA_MAX];
	size_t n, len = below(DATA_MAX);
	struct slot *k = some_slot(&n);
	off_t off = (off_t)below(chance(3) ? 200000 : 9000);

	saying("read %zu bytes at %lld of slot %zu", len, (long long)off, n);
	BOTH(pread(k->fd[s], data[s], len, off));
	agree();
	if (result[0] > 0 && memcmp(data[0], data[1], (size_t)result[0]) != 0)
		differ("the bytes read");
	compare_fds(k->fd, "what was read");
}

void do_ftruncate(void)
{
	size_t n, size = chance(3) ? below(5000) : below(200000);
	struct slot *k = some_slot(&n);

	saying("ftruncate slot %zu to %zu", n, size);
	BOTH(ftruncate(k->fd[s], (off_t)size));
	agree();
	compare_fds(k->fd, "what was truncated");
}

void do_fchmod(void)
{
	mode_t mode = some_mode();
	size_t n;
	struct slot *k = some_slot(&n);

	saying("fchmod slot %zu to %o", n, mode);
	BOTH(fchmod(k->fd[s], mode));
	agree();
	compare_fds(k->fd, "whose mode was changed");
}

void do_fchown(void)
{
	static const unsigned ids[] = { 0, 5001, 5002, (unsigned)-1 };
	unsigned uid = ids[below(COUNT(ids))], gid = ids[below(COUNT(ids))];
	size_t n;
	struct slot *k = some_slot(&n);

	if (uid == (unsigned)-1 && gid == (unsigned)-1)
		uid = 0;
	saying("fchown slot %zu to %d:%d", n, (int)uid, (int)gid);
	BOTH(fchown(k->fd[s], uid, gid));
	agree();
	compare_fds(k->fd, "whose owner was changed");
}

void do_fallocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[below(COUNT(modes))];
	size_t n, off = below(100000), len = below(50000);
	struct slot *k = some_slot(&n);

	saying("fallocate slot %zu mode %d at %zu len %zu", n, mode, off, len);
	BOTH(fallocate(k->fd[s], mode, (off_t)off, (off_t)len));
	agree();
	compare_fds(k->fd, "what was allocated");
}

/* The call may copy less than was asked for: on each side until it is done, or fails. */
static long copy_all(int from, off_t off, int to, off_t to_off, size_t len)
{
	long done = 0;

	while ((size_t)done < len) {
		ssize_t n = copy_file_range(from, &off, to, &to_off, len - (size_t)done, 0);

		if (n < 0)
			return done ? done : -1;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

void do_copy(void)
{
	size_t a, b, len = 1 + below(60000);
	struct slot *from = some_slot(&a), *to = some_slot(&b);
	off_t off = (off_t)below(50000), to_off = (off_t)below(100000);

	saying("copy_file_range slot %zu at %lld to slot %zu at %lld len %zu", a, (long long)off, b, (long long)to_off, len);
	BOTH(copy_all(from->fd[s], off, to->fd[s], to_off, len));
	agree();
	compare_fds(to->fd, "what was copied to");
}

void do_map(void)
{
	static char data[DATA_MAX];
	struct stat st;
	size_t n, len;
	struct slot *k = some_slot(&n);
	bool store = chance(2), sync = chance(2);
	char *p[2];

	saying("mmap slot %zu%s", n, store ? ", and store" : "");
	if (fstat(k->fd[1], &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return;
	len = (size_t)st.st_size < DATA_MAX ? (size_t)st.st_size : DATA_MAX;
	for (int s = 0; s < 2; s++) {
		p[s] = mmap(NULL, len, PROT_READ | (store ? PROT_WRITE : 0), MAP_SHARED, k->fd[s], 0);
		result[s] = p[s] == MAP_FAILED ? -errno : 0;
	}
	agree();
	if (result[0] < 0)
		return;
	if (memcmp(p[0], p[1], len) != 0)
		differ("the mapped bytes of slot %zu", n);
	some_bytes(data, len);
	for (int s = 0; s < 2; s++) {
		if (store)
			memcpy(p[s] + len / 3, data, len / 2);
		if (store && sync && msync(p[s], len, MS_SYNC) < 0)
			differ("msync on the %s side: %s", tree_side[s], strerror(errno));
		munmap(p[s], len);
	}
	compare_fds(k->fd, "what was mapped");
}

void do_fsync(void)
{
	size_t n;
	struct slot *k = some_slot(&n);
	bool data = chance(2);

	saying("%s slot %zu", data ? "fdatasync" : "fsync", n);
	BOTH(data ? fdatasync(k->fd[s]) : fsync(k->fd[s]));
	agree();
}

/* Names in a directory that is open, wherever it is by now. */
void do_at(void)
{
	char name[PATH_ROOM];
	size_t n;
	struct slot *k = some_slot(&n);
	struct stat st;

	some_name(name);
	if (fstat(k->fd[1], &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	switch (below(4)) {
	case 0:
		saying("openat slot %zu %s", n, name);
		open_both(k->fd, name, O_RDWR | O_CREAT | O_NONBLOCK, 0644);
		break;
	case 1:
		saying("mkdirat slot %zu %s", n, name);
		BOTH(mkdirat(k->fd[s], name, 0755));
		agree();
		break;
	case 2:
		saying("unlinkat slot %zu %s", n, name);
		BOTH(unlinkat(k->fd[s], name, 0));
		agree();
		break;
	default:
		saying("list slot %zu", n);
		compare_list(k->fd, "a slot", NULL);
	}
	compare_fds(slots[n].fd, "the directory");
}
