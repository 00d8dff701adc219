/*
 * poison.c - damages files of a cache directory, as a bad disk or a careless hand might: poison DIR SEED [COUNT]. The seed decides. Each damage is
 * told on a line. What is in DIR's directories is left alone, and so is the lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/rng.h"

#define FILES_MAX 4096
#define RANGE_MAX 65536u

struct victim { char name[256]; uint64_t size; };

static struct victim files[FILES_MAX];
static size_t count;
static uint64_t seed;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "poison: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static uint64_t below(uint64_t n)
{
	return n ? rng_next(&seed) % n : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct victim *)a)->name, ((const struct victim *)b)->name);
}

static void collect(DIR *d)
{
	struct dirent *e;
	struct stat st;

	count = 0;
	rewinddir(d);
	while ((e = readdir(d)) && count < FILES_MAX) {
		if (!strcmp(e->d_name, "lock") || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		snprintf(files[count].name, sizeof files[count].name, "%s", e->d_name);
		files[count++].size = (uint64_t)st.st_size;
	}
	qsort(files, count, sizeof *files, by_name);
}

/* Headers, the log's records and data more often than where nothing is. */
static uint64_t offset_in(uint64_t size)
{
	static const uint64_t parts[] = { 0, 4096, 65536, 65536, 65536, 2162688, 2162688 };
	uint64_t off = parts[below(7)];

	if (size <= 2162688)
		return below(size + 1);
	off += off ? below(1u << (6 + below(14))) : below(200);
	return off < size ? off : size - 1;
}

static void transfer(int fd, bool in, uint8_t *p, size_t len, uint64_t off, const char *name)
{
	ssize_t n = in ? pread(fd, p, len, (off_t)off) : pwrite(fd, p, len, (off_t)off);

	if (n != (ssize_t)len)
		die(in ? "reading" : "writing", name);
}

static void damage_bytes(int dir, const struct victim *v)
{
	static const char *const ways[] = { "bits flip", "zeros", "noise" };
	static uint8_t b[RANGE_MAX];
	uint64_t off = offset_in(v->size), way = below(3);
	size_t len = (size_t)(1 + below(1u << below(17)));
	int fd = openat(dir, v->name, O_RDWR);

	if (fd < 0)
		die("opening", v->name);
	if (len > v->size - off)
		len = (size_t)(v->size - off);
	if (len > RANGE_MAX)
		len = RANGE_MAX;
	if (len == 0) {
		close(fd);
		return;
	}
	transfer(fd, true, b, len, off, v->name);
	for (size_t i = 0; i < len; i++)
		b[i] = way == 1 ? 0 : way == 2 ? (uint8_t)below(256) : b[i];
	for (unsigned k = 0; way == 0 && k < 3; k++)
		b[below(len)] ^= (uint8_t)(1u << below(8));
	transfer(fd, false, b, len, off, v->name);
	close(fd);
	printf("%s: %s, %zu bytes at %" PRIu64 "\n", v->name, ways[way], len, off);
}

static void exchange(int dir, const struct victim *v, const struct victim *o)
{
	if (renameat(dir, v->name, dir, "exchange") || renameat(dir, o->name, dir, v->name) || renameat(dir, "exchange", dir, o->name))
		die("exchanging", v->name);
	printf("%s and %s are exchanged\n", v->name, o->name);
}

static void damage(int dir)
{
	const struct victim *v = &files[below(count)], *o = &files[below(count)];
	uint64_t size = below(3) ? below(v->size + 1) : 0;

	switch (below(12)) {
	case 0: {
		int fd = openat(dir, v->name, O_RDWR);

		if (fd < 0 || ftruncate(fd, (off_t)size))
			die("cutting short", v->name);
		close(fd);
		printf("%s: cut short to %" PRIu64 "\n", v->name, size);
		break;
	}
	case 1:
		if (v != o)
			exchange(dir, v, o);
		break;
	case 2:
		if (unlinkat(dir, v->name, 0))
			die("removing", v->name);
		printf("%s: removed\n", v->name);
		break;
	default:
		damage_bytes(dir, v);
	}
}

int main(int argc, char **argv)
{
	DIR *d = argc == 3 || argc == 4 ? opendir(argv[1]) : NULL;
	unsigned long n = argc == 4 ? strtoul(argv[3], NULL, 10) : 3;

	if (!d) {
		fprintf(stderr, "usage: poison DIR SEED [COUNT]\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 10);
	while (n-- > 0) {
		collect(d);
		if (count)
			damage(dirfd(d));
	}
	closedir(d);
	return 0;
}
