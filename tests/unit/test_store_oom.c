/*
 * test_store_oom.c - the Nth allocation fails, for every N: every store and layer says so, keeps what it had, tears nothing,
 * and goes on. Allocation is interposed, which sanitizers do themselves: under those the same calls run without failures.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../lib/dir_fixture.h"

static atomic_long fail_in; /* 0 = never, 1 = the next one */
static atomic_long failed;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERPOSED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSED 0
#endif
#endif
#ifndef INTERPOSED
#define INTERPOSED 1
#endif

#if INTERPOSED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static bool fails(void)
{
	if (atomic_load(&fail_in) == 0 || atomic_fetch_sub(&fail_in, 1) != 1)
		return false;
	atomic_fetch_add(&failed, 1);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}
#endif

struct stack { /* of layers, by name */
	const char *name;
	bool dir;
	const char *rules; /* NULL: no fault layer */
	bool delay;
};

static const struct stack stacks[] = {
	{ "mem", false, NULL, false }, { "dir", true, NULL, false }, { "fault on mem", false, "", false },
	{ "delay on mem", false, NULL, true }, { "late writes", false, "write:late/*:late:delay=1", false },
	{ "fault on delay on dir", true, "*:none:503", true },
};

static int open_stack(const struct stack *k, struct store **ret)
{
	struct store *s, *top_store;
	int rc = k->dir ? store_dir_open(root, "threads=2", &s) : store_mem_open(2, &s);

	if (!rc && k->delay) {
		rc = store_delay_open(s, 0, 0, &top_store);
		if (rc)
			store_close(s);
		else
			s = top_store;
	}
	if (!rc && k->rules != NULL) {
		rc = store_fault_open(s, k->rules, 1, &top_store);
		if (rc)
			store_close(s);
		else
			s = top_store;
	}
	if (!rc)
		*ret = s;
	return rc;
}

static const char *const contents[] = { "the first content", "the second" };

static int step_put(struct store *s)
{
	struct store_req r;
	int rc = store_put(s, "dir/key", contents[1], strlen(contents[1]), false, &r);

	store_req_reset(&r);
	return rc;
}

static int step_create(struct store *s)
{
	struct store_req r;
	int rc = store_put(s, "other/key", contents[1], strlen(contents[1]), true, &r);

	store_req_reset(&r);
	/* A trial before may have made it. */
	return rc == ERR_PRECONDITION ? 0 : rc;
}

static int step_late(struct store *s)
{
	struct store_req r;
	int rc = store_put(s, "late/key", contents[1], strlen(contents[1]), true, &r);

	store_req_reset(&r);
	return rc == ERR_UNAVAILABLE || rc == ERR_PRECONDITION ? 0 : rc;
}

static int step_get(struct store *s)
{
	struct store_req r;
	int rc = store_get(s, "fixed/3", &r);

	if (rc == 0 && (r.data_len != 1 || r.data[0] != '3'))
		fail_msg("GET under a failed allocation gave %zu wrong bytes", r.data_len);
	if (rc != 0 && (r.data != NULL || r.data_len != 0))
		fail_msg("GET failed, and gave %zu bytes", r.data_len);
	store_req_reset(&r);
	return rc;
}

static int step_list(struct store *s)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_LIST);
	r.key = "fixed/";
	rc = store_call(s, &r);
	/* Part of a listing must never pass for all of it. */
	if (rc == 0 && (r.entry_count != 40 || r.truncated))
		fail_msg("LIST under a failed allocation gave %zu entries", r.entry_count);
	store_req_reset(&r);
	return rc;
}

static int step_list_rolled(struct store *s)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_LIST);
	r.key = "";
	r.delimiter = "/";
	rc = store_call(s, &r);
	if (rc == 0 && (r.entry_count < 2 || strcmp(r.entries[0].key, "dir/") != 0 || strcmp(r.entries[1].key, "fixed/") != 0))
		fail_msg("LIST under a failed allocation gave %zu prefixes", r.entry_count);
	store_req_reset(&r);
	return rc;
}

static int step_copy(struct store *s)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_COPY);
	r.source_key = "dir/key";
	r.key = "copy/key";
	rc = store_call(s, &r);
	store_req_reset(&r);
	return rc;
}

static int step_delete(struct store *s)
{
	return store_delete(s, "copy/key");
}

static const struct { const char *name; int (*run)(struct store *s); } steps[] = {
	{ "put", step_put }, { "create", step_create }, { "late", step_late }, { "get", step_get }, { "list", step_list },
	{ "list rolled up", step_list_rolled }, { "copy", step_copy }, { "delete", step_delete },
};

static void fill(struct store *s)
{
	for (int i = 0; i < 40; i++) {
		char key[32], text[2] = { (char)('0' + i % 10), '\0' };

		snprintf(key, sizeof(key), "fixed/%d", i);
		put(s, key, text);
	}
	put(s, "dir/key", contents[0]);
}

static void check_whole(struct store *s)
{
	struct store_req r;

	assert_int_equal(store_get(s, "dir/key", &r), 0);
	assert_true((r.data_len == strlen(contents[0]) && memcmp(r.data, contents[0], r.data_len) == 0) ||
		    (r.data_len == strlen(contents[1]) && memcmp(r.data, contents[1], r.data_len) == 0));
	store_req_reset(&r);
}

static void test_requests(void **state)
{
	(void)state;
	for (size_t k = 0; k < CL_ARRAY_LEN(stacks); k++) {
		struct store *s;
		long before = atomic_load(&failed), hit;

		assert_int_equal(open_stack(&stacks[k], &s), 0);
		fill(s);
		for (size_t i = 0; i < CL_ARRAY_LEN(steps); i++)
			for (long n = 1;; n++) {
				int rc;

				hit = atomic_load(&failed);
				atomic_store(&fail_in, n);
				rc = steps[i].run(s);
				atomic_store(&fail_in, 0);
				if (rc != 0 && rc != -ENOMEM)
					fail_msg("%s, %s, allocation %ld: %s (%s)", stacks[k].name, steps[i].name, n, err_text(rc), err_last());
				check_whole(s);
				if (atomic_load(&failed) == hit) {
					assert_int_equal(rc, 0);
					break;
				}
			}
		if (INTERPOSED)
			assert_true(atomic_load(&failed) > before + 5);
		assert_int_equal(step_put(s), 0);
		assert_int_equal(step_list(s), 0);
		expect(s, "dir/key", contents[1]);
		store_close(s);
	}
}

static void test_opening(void **state)
{
	(void)state;
	for (size_t k = 0; k < CL_ARRAY_LEN(stacks); k++) {
		long hit;

		for (long n = 1;; n++) {
			struct store *s = NULL;
			int rc;

			err_clear();
			hit = atomic_load(&failed);
			atomic_store(&fail_in, n);
			rc = open_stack(&stacks[k], &s);
			atomic_store(&fail_in, 0);
			if (rc == 0)
				store_close(s);
			else if (s != NULL || err_last()[0] == '\0')
				fail_msg("%s, allocation %ld: no clean failure", stacks[k].name, n);
			if (atomic_load(&failed) == hit) {
				assert_int_equal(rc, 0);
				break;
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opening, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
