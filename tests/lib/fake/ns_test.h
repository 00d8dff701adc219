/*
 * ns_test.h - what the tests of the operations share: the engine in memory and the shortest way to do things on it. Included once, by a test.
 */
#ifndef CLONELOVE_NS_TEST_H
#define CLONELOVE_NS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#include "fake_engine.c"
#include "../rng.h"

#define MIB (1u << 20)

static const struct volume_cred cred = { 1000, 100, 022 };

static CL_UNUSED struct volume *fresh(void)
{
	struct fake_options o = { .keep_changes = true };
	struct volume *v;

	assert_int_equal(fake_open(&o, &v), 0);
	return v;
}

static CL_UNUSED void finish(struct volume *v)
{
	fake_run(v);
	assert_int_equal(fake_check(v), 0);
	assert_int_equal(fake_check_replay(v), 0);
	fake_close(v);
}

static CL_UNUSED uint64_t make(struct volume *v, uint64_t dir, const char *name, uint32_t mode)
{
	struct volume_attr a;

	assert_int_equal(volume_mknod(v, dir, name, strlen(name), mode, 0, &cred, &a, NULL), 0);
	return a.ino;
}

static CL_UNUSED void put(struct volume *v, uint64_t ino, uint64_t off, const void *p, size_t len)
{
	assert_int_equal(volume_write(v, ino, off, p, len, false, false, NULL), 0);
}

static CL_UNUSED struct volume_attr attr(struct volume *v, uint64_t ino)
{
	struct volume_attr a;

	assert_int_equal(volume_getattr(v, ino, &a), 0);
	return a;
}

static CL_UNUSED unsigned extents(struct volume *v, uint64_t ino)
{
	uint64_t at = 0;
	struct extent e;
	unsigned n = 0;

	while (meta_extent_find(v->meta, ino, at, &e) == 0) {
		at = e.start + e.len;
		n++;
	}
	return n;
}

struct answer { struct volume_wait w; bool done; int rc; };

static CL_UNUSED void answered(struct volume_wait *w, int rc)
{
	struct answer *a = CL_CONTAINER_OF(w, struct answer, w);

	assert_false(a->done);
	a->done = true;
	a->rc = rc;
}

/* A name and its length. */
#define LIT(s) (s), (sizeof(s) - 1)

/* A file of n extents of 4 KiB with holes between. */
static CL_UNUSED uint64_t holey(struct volume *v, const char *name, unsigned n)
{
	uint64_t f = make(v, 1, name, S_IFREG | 0644);
	static uint8_t page[4096] = { 1 };

	for (unsigned k = 0; k < n; k++)
		put(v, f, k * 8192ull, page, sizeof page);
	assert_int_equal(extents(v, f), n);
	return f;
}

#endif
