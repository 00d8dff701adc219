/*
 * manyopen.c - very many files open at once on one mount.
 *
 *   manyopen hold DIR N    makes DIR/0 .. DIR/N-1 and keeps them all open; writes to some, unlinks every fourth, writes to and reads back
 *                          what is unlinked, syncs, prints "ready N DESCRIPTORS", and waits to be killed
 *   manyopen check DIR N   is what has a name what "hold" wrote, and nothing else there?
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG 70000u

static uint8_t data[BIG], back[BIG];

static void die(const char *what, unsigned long i)
{
	fprintf(stderr, "manyopen: %s %lu: %s\n", what, i, strerror(errno));
	exit(1);
}

static size_t length_of(unsigned long i)
{
	return i % 100 == 1 || i % 100 == 4 ? BIG : i % 10 < 5 ? 4096 : 0;
}

static void fill(unsigned long i, size_t len)
{
	uint32_t x = (uint32_t)i * 2654435761u + 1;

	for (size_t k = 0; k < len; k++) {
		x = x * 1103515245u + 12345u;
		data[k] = (uint8_t)(x >> 16);
	}
}

static bool unlinked(unsigned long i)
{
	return i % 4 == 0;
}

static void put(int fd, unsigned long i)
{
	size_t len = length_of(i);

	fill(i, len);
	if (len && pwrite(fd, data, len, 0) != (ssize_t)len)
		die("write of", i);
}

static void compare(int fd, unsigned long i)
{
	size_t len = length_of(i);

	fill(i, len);
	errno = 0;
	if (pread(fd, back, BIG, 0) != (ssize_t)len || memcmp(back, data, len) != 0)
		die("wrong bytes in", i);
}

static int hold(const char *dir, unsigned long n)
{
	struct rlimit r = { n + 64, n + 64 };
	int *fds = calloc(n, sizeof *fds);
	char name[32];
	int at = open(dir, O_RDONLY | O_DIRECTORY);

	if (!fds || at < 0 || setrlimit(RLIMIT_NOFILE, &r))
		die("no room for files:", n);
	for (unsigned long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%lu", i);
		fds[i] = openat(at, name, O_RDWR | O_CREAT | O_EXCL, 0644);
		if (fds[i] < 0)
			die("open of", i);
	}
	for (unsigned long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%lu", i);
		if (i % 8 < 4)
			put(fds[i], i);
		if (unlinked(i) && unlinkat(at, name, 0))
			die("unlink of", i);
		if (i % 8 >= 4)
			put(fds[i], i);
	}
	if (fsync(fds[n - 1]))
		die("fsync of", n - 1);
	for (unsigned long i = 0; i < n; i++) {
		struct stat st;

		if (unlinked(i) || i % 50 == 1)
			compare(fds[i], i);
		if (fstat(fds[i], &st) || st.st_nlink != !unlinked(i))
			die("links of", i);
	}
	printf("ready %lu %d\n", n, fds[n - 1]);
	fflush(stdout);
	pause();
	return 0;
}

static int check(const char *dir, unsigned long n)
{
	unsigned long found = 0, want = 0;
	char name[32];
	DIR *d = opendir(dir);

	if (!d)
		die("open of the directory", n);
	while (readdir(d))
		found++;
	for (unsigned long i = 0; i < n; i++) {
		int fd;

		if (unlinked(i))
			continue;
		want++;
		snprintf(name, sizeof name, "%lu", i);
		fd = openat(dirfd(d), name, O_RDONLY);
		if (fd < 0)
			die("open of", i);
		compare(fd, i);
		close(fd);
	}
	closedir(d);
	errno = 0;
	if (found != want + 2)
		die("names:", found);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long n = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

	if (n && strcmp(argv[1], "hold") == 0)
		return hold(argv[2], n);
	if (n && strcmp(argv[1], "check") == 0)
		return check(argv[2], n);
	fprintf(stderr, "usage: manyopen hold|check DIR N\n");
	return 2;
}
