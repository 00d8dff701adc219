/*
 * volgen.c - makes a large volume for measuring mounts: volgen ADDRESS CACHE_DIR FILES EXTENTS [random]
 *
 * FILES files in directories of 1,000, each with EXTENTS writes of a few bytes, so that each is an extent of its own and next to nothing is
 * stored. Without `random` a file's writes are 1 MiB apart and follow the making of the file. With it all files are made first, and then
 * their pages of 16 KiB are written as a database does it, each once, in random order over all files: every cut and every run
 * then holds extents from everywhere, and neighbours in a file lie in different segments. What is written of a page is its
 * first bytes only: the map is that of a database whose pages are all there, the data is not.
 *
 * It goes through the engine, so the volume is as a mount would have left it. The volume exists (clonefs format), CACHE_DIR is empty or
 * missing. Everything is in the store when the program returns 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../tests/lib/vol.h"
#include "err.h"

enum { PER_DIR = 1000, APART = 1 << 20, PAGE = 16 << 10, SAY_EVERY = 1000000 };

static int write_one(struct vol *t, uint64_t ino, uint64_t off)
{
	static const char bytes[] = "a page's first bytes";
	int rc;

	VOL_CALL(rc, w, volume_write(t->v, ino, off, bytes, sizeof bytes, false, false, w));
	return rc;
}

static int make_file(struct vol *t, uint64_t dir, unsigned long n, unsigned long extents, uint64_t *ret_ino)
{
	static const struct volume_cred cred = { .umask = 022 };
	struct volume_attr a;
	char name[40];
	int rc, len = snprintf(name, sizeof name, "file-%lu", n);

	VOL_CALL(rc, w, volume_mknod(t->v, dir, name, (size_t)len, S_IFREG | 0644, 0, &cred, &a, w));
	for (unsigned long e = 0; !rc && e < extents; e++)
		rc = write_one(t, a.ino, (uint64_t)e * APART);
	if (!rc)
		*ret_ino = a.ino;
	return rc;
}

/* inos: of all files, where it is not NULL. */
static int make_all(struct vol *t, unsigned long files, unsigned long extents, uint64_t *inos)
{
	static const struct volume_cred cred = { .umask = 022 };
	struct volume_attr dir = { 0 };
	uint64_t ino;
	int rc = 0;

	for (unsigned long n = 0; !rc && n < files; n++) {
		if (n % PER_DIR == 0) {
			char name[40];
			int len = snprintf(name, sizeof name, "dir-%lu", n / PER_DIR);

			VOL_CALL(rc, w, volume_mknod(t->v, VOLUME_ROOT_INO, name, (size_t)len, S_IFDIR | 0755, 0, &cred, &dir, w));
		}
		if (!rc)
			rc = make_file(t, dir.ino, n, extents, &ino);
		if (!rc && inos)
			inos[n] = ino;
		if (n % 100000 == 99999)
			fprintf(stderr, "volgen: %lu files\n", n + 1);
	}
	return rc;
}

/* xorshift64*: the same order every time. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1du;
}

static int write_shuffled(struct vol *t, const uint64_t *inos, unsigned long files, uint32_t *order, size_t pages)
{
	uint64_t state = 88172645463325252u;
	int rc = 0;

	for (size_t i = 0; i < pages; i++)
		order[i] = (uint32_t)i;
	for (size_t i = pages; i > 1; i--) {
		size_t j = (size_t)(next_random(&state) % i);
		uint32_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
	for (size_t i = 0; !rc && i < pages; i++) {
		rc = write_one(t, inos[order[i] % files], (uint64_t)(order[i] / files) * PAGE);
		if (i % SAY_EVERY == SAY_EVERY - 1)
			fprintf(stderr, "volgen: %zu pages\n", i + 1);
	}
	return rc;
}

static int make_random(struct vol *t, unsigned long files, unsigned long extents)
{
	size_t pages = files * extents;
	uint64_t *inos = calloc(files ? files : 1, sizeof *inos);
	uint32_t *order = calloc(pages ? pages : 1, sizeof *order);
	int rc = inos && order && pages <= UINT32_MAX ? make_all(t, files, 0, inos) : -ENOMEM;

	if (!rc)
		rc = write_shuffled(t, inos, files, order, pages);
	free(order);
	free(inos);
	return rc;
}

int main(int argc, char **argv)
{
	unsigned long files, extents;
	struct volume_options o;
	struct store *s;
	struct vol t;
	int rc, end;

	if (argc < 5 || argc > 6 || (argc == 6 && strcmp(argv[5], "random") != 0)) {
		fprintf(stderr, "Usage: volgen ADDRESS CACHE_DIR FILES EXTENTS [random]\n");
		return 2;
	}
	files = strtoul(argv[3], NULL, 10);
	extents = strtoul(argv[4], NULL, 10);
	rc = store_open(argv[1], NULL, &s);
	if (!rc) {
		vol_options(&o, "volgen");
		o.commit_interval_ms = 1000;
		o.max_lag_ms = UINT64_MAX;
		o.cache_bytes = (uint64_t)4 << 30;
		rc = vol_open(&t, s, argv[2], &o);
		if (!rc) {
			rc = argc == 6 ? make_random(&t, files, extents) : make_all(&t, files, extents, NULL);
			end = vol_close(&t, !rc);
			rc = rc ? rc : end;
		}
		store_close(s);
	}
	if (rc)
		fprintf(stderr, "volgen: %s\n", err_last()[0] ? err_last() : err_text(rc));
	return rc ? 1 : 0;
}
