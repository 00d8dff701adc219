/* test_replica_published.c - a published copy that is there, away, slow, and closed while it is asked. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends.h"
#include "err.h"
#include "logmsg.h"
#include "published.h"

#define SECOND 1000000000ull

static uint64_t clock_ns;
static uint64_t boot_ns(struct env *e) { (void)e; return clock_ns; }
static struct env env = { boot_ns, boot_ns, NULL };

static struct store *store; /* with its faults */
static struct published *p;

static void begin(const char *faults)
{
	struct store *mem;
	struct store_req r;

	clock_ns = 1000 * SECOND;
	assert_int_equal(store_mem_open(0, &mem), 0);
	assert_int_equal(store_put(mem, "d/file", "0123456789", 10, false, &r), 0);
	store_req_reset(&r);
	assert_int_equal(store_fault_open(mem, faults, 1, &store), 0);
	assert_int_equal(published_new(store, &env, &p), 0);
}

static void end(void)
{
	published_close(p);
	p = NULL;
}

struct asked { struct node_published g; pthread_mutex_t mu; pthread_cond_t cond; bool over; };

static void over(void *user, struct node_published *g)
{
	struct asked *a = user;

	assert_ptr_equal(g, &a->g);
	pthread_mutex_lock(&a->mu);
	assert_false(a->over);
	a->over = true;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->mu);
}

static void ask(struct asked *a, const char *path, uint64_t offset, uint32_t length)
{
	memset(a, 0, sizeof *a);
	pthread_mutex_init(&a->mu, NULL);
	pthread_cond_init(&a->cond, NULL);
	a->g.path = path;
	a->g.offset = offset;
	a->g.length = length;
	published_get(p, &a->g, over, a);
}

static int wait_for(struct asked *a)
{
	pthread_mutex_lock(&a->mu);
	while (!a->over)
		pthread_cond_wait(&a->cond, &a->mu);
	pthread_mutex_unlock(&a->mu);
	free(a->g.bytes);
	return a->g.rc;
}

static int get(const char *path, uint64_t offset, uint32_t length, const char *want)
{
	struct asked a;

	ask(&a, path, offset, length);
	pthread_mutex_lock(&a.mu);
	while (!a.over)
		pthread_cond_wait(&a.cond, &a.mu);
	pthread_mutex_unlock(&a.mu);
	if (!a.g.rc && want) {
		assert_int_equal(a.g.len, strlen(want));
		assert_memory_equal(a.g.bytes, want, a.g.len);
	}
	return wait_for(&a);
}

static uint64_t gets(void)
{
	struct store_counters c;

	store->counters(store, &c);
	return c.requests[STORE_GET];
}

static void what_is_there(void **state)
{
	char deep[STORE_KEY_MAX + 2];

	(void)state;
	memset(deep, 'x', sizeof deep - 1);
	deep[sizeof deep - 1] = '\0';
	begin("");
	assert_int_equal(get("d/file", 0, 10, "0123456789"), 0);
	assert_int_equal(get("d/file", 3, 4, "3456"), 0);
	assert_int_equal(get("d/file", 8, 100, "89"), 0);
	assert_int_equal(get("d/file", 10, 5, ""), 0);
	assert_int_equal(get("d/file", 1ull << 40, 5, ""), 0);
	/* None of these is a failure of the store. */
	clock_ns += 100 * SECOND;
	assert_int_equal(get("d", 0, 10, NULL), -ENOENT);
	assert_int_equal(get(deep, 0, 10, NULL), -EINVAL);
	assert_int_equal(get("d/\xe9", 0, 10, NULL), -EINVAL);
	assert_int_equal(get("d/file", 0, 2, "01"), 0);
	end();
}

/* It is left alone for longer each time; then, as if nothing had been. */
static void away(void **state)
{
	static const uint64_t pauses[] = { 30, 60, 120, 240, 480, 600, 600 };

	(void)state;
	begin("get:*:auth:count=8");
	for (size_t i = 0; i < CL_ARRAY_LEN(pauses); i++) {
		assert_int_equal(get("d/file", 0, 10, NULL), ERR_AUTH);
		assert_int_equal(get("d/file", 0, 10, NULL), ERR_UNAVAILABLE);
		clock_ns += pauses[i] * SECOND - 1;
		assert_int_equal(get("d/file", 0, 10, NULL), ERR_UNAVAILABLE);
		clock_ns++;
	}
	assert_int_equal(get("d/file", 0, 10, NULL), ERR_AUTH);
	clock_ns += 600 * SECOND;
	assert_int_equal(get("d/file", 0, 10, "0123456789"), 0);
	assert_int_equal(gets(), 1); /* that got through the faults: the others were not asked */
	end();
	begin("get:*:auth:count=1 get:*:503:after=1:count=1");
	assert_int_equal(get("d/file", 0, 10, NULL), ERR_AUTH);
	clock_ns += 30 * SECOND;
	assert_int_equal(get("d/file", 0, 10, "0123456789"), 0);
	clock_ns += 6 * SECOND;
	assert_int_equal(get("d/file", 0, 10, NULL), ERR_UNAVAILABLE);
	clock_ns += 30 * SECOND; /* and not the sixty that would have been next */
	assert_int_equal(get("d/file", 0, 10, "0123456789"), 0);
	end();
}

/* Where others were had a moment ago, it is one object that cannot be had. */
static void one_object(void **state)
{
	(void)state;
	begin("get:locked:auth");
	assert_int_equal(get("d/file", 0, 1, "0"), 0);
	clock_ns += SECOND;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(get("locked", 0, 10, NULL), ERR_AUTH);
	assert_int_equal(get("d/file", 0, 1, "0"), 0);
	end();
}

static void *cancel(void *arg)
{
	(void)arg;
	published_cancel(p);
	return NULL;
}

static void closed_while_asked(void **state)
{
	struct asked a[8];
	pthread_t t;

	(void)state;
	begin("get:*:stall");
	for (size_t i = 0; i < CL_ARRAY_LEN(a) / 2; i++)
		ask(&a[i], "d/file", i, 5);
	assert_int_equal(pthread_create(&t, NULL, cancel, NULL), 0);
	for (size_t i = CL_ARRAY_LEN(a) / 2; i < CL_ARRAY_LEN(a); i++)
		ask(&a[i], "d/file", i, 5);
	for (size_t i = 0; i < CL_ARRAY_LEN(a); i++)
		assert_int_equal(wait_for(&a[i]), -ECANCELED);
	pthread_join(t, NULL);
	assert_int_equal(get("d/file", 0, 1, NULL), -ECANCELED);
	end();
}

static void opened(void **state)
{
	(void)state;
	assert_int_equal(published_open("ftp://x", &env, &p), ERR_CONFIG);
	assert_true(published_open("file:///no/such/directory", &env, &p) != 0);
	assert_int_equal(published_open("file:///var/tmp", &env, &p), 0);
	assert_int_equal(get("no such file at all", 0, 1, NULL), -ENOENT);
	end();
	published_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there),
		cmocka_unit_test(away),
		cmocka_unit_test(one_object),
		cmocka_unit_test(closed_while_asked),
		cmocka_unit_test(opened),
	};

	logmsg_init("test", (enum logmsg_level)-1); /* what it is to say is no failure here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
