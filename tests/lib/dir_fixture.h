/*
 * dir_fixture.h - a directory store for a test: setup makes a fresh directory, teardown removes it. For cmocka tests, included by
 * each of the directory store's; all static.
 */
#ifndef CLONELOVE_DIR_FIXTURE_H
#define CLONELOVE_DIR_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends.h"
#include "compiler.h"
#include "dir.h"
#include "err.h"

static char top[320]; /* a fresh directory for each test */
static char root[340];/* the store in it */

CL_UNUSED static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

CL_UNUSED static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(top, sizeof(top), "%.280s/clonelove-dir-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(top) == NULL)
		return -1;
	snprintf(root, sizeof(root), "%s/store", top);
	return 0;
}

CL_UNUSED static int teardown(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *store_threads; /* the stores' options */

CL_UNUSED static struct store *open_store(void)
{
	struct store *s;

	if (store_dir_open(root, store_threads, &s))
		fail_msg("%s", err_last());
	return s;
}

CL_UNUSED static const char *path_of(const char *name)
{
	static char path[8][700];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", root, name);
	return p;
}

CL_UNUSED static void put(struct store *s, const char *key, const char *text)
{
	struct store_req r;

	if (store_put(s, key, text, strlen(text), false, &r))
		fail_msg("%s", err_last());
	store_req_reset(&r);
}

CL_UNUSED static int try_put(struct store *s, const char *key, const char *text, bool create)
{
	struct store_req r;
	int rc = store_put(s, key, text, strlen(text), create, &r);

	store_req_reset(&r);
	return rc;
}

CL_UNUSED static void expect(struct store *s, const char *key, const char *text)
{
	struct store_req r;

	if (store_get(s, key, &r))
		fail_msg("%s", err_last());
	assert_int_equal(r.data_len, strlen(text));
	assert_memory_equal(r.data, text, strlen(text));
	store_req_reset(&r);
}

CL_UNUSED static void etag_of(struct store *s, const char *key, char *ret)
{
	struct store_req r;

	store_req_init(&r, STORE_HEAD);
	r.key = key;
	assert_int_equal(store_call(s, &r), 0);
	memcpy(ret, r.etag, STORE_ETAG_MAX);
	store_req_reset(&r);
}

/* The names in the store's own directory that are not locks. */
CL_UNUSED static int leftovers(void)
{
	char command[700];
	FILE *f;
	int n;

	snprintf(command, sizeof(command), "find %s/" DIR_OWN " -name 'tmp.*' 2>/dev/null | wc -l", root);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	pclose(f);
	return n;
}

CL_UNUSED static int count_one(void *user, const struct store_entry *e)
{
	(void)e;
	++*(int *)user;
	return 0;
}

#endif
