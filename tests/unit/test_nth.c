/*
 * test_nth.c - the Nth allocation, call of the disk, or call of LMDB fails, for every N, in one fixed history of a volume: made by format, opened,
 * changed, synced, closed with its log unsent, opened again, sent with checkpoints, and recovered where nothing is cached.
 *
 * After the failure a call answers what it should, or an error with nothing done, or the volume has turned VOLUME_FAILED. Then it is closed and
 * opened as a restart would: what comes back is the state after some operation, none that an fsync acknowledged is missing, and everything goes on.
 *
 * One thread, virtual time (step.h): the Nth event is the same one each time. Allocation is interposed, which sanitizers do themselves: under those
 * that part is left out.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "../lib/fault_disk.h"
#include "../lib/fsmodel.h"
#include "../lib/mem_disk.h"
#include "../lib/step.h"
#include "backends.h"
#include "compiler.h"
#include "err.h"
#include "logmsg.h"
#include "object.h"

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

/* ---------------------------------------------------------------- what fails */

enum kind { NOTHING, ALLOCATION, MAP, DISK, DISK_FOR_GOOD };

static struct {
	enum kind kind;
	long in;    /* 1 = the next event */
	long count; /* events seen */
	bool fired;
	bool map;   /* it was MAP, also when it is over */
	int error;  /* MAP: LMDB's code */
} fault;
static _Thread_local bool armed; /* the volume's own calls, on the thread of the test */

static bool strikes(enum kind kind)
{
	if (!armed || fault.kind != kind)
		return false;
	fault.count++;
	if (fault.in <= 0 || --fault.in != 0)
		return false;
	fault.fired = true;
	return true;
}

#if INTERPOSED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static void *none(void)
{
	errno = ENOMEM;
	return NULL;
}

void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);
static long blocks; /* how many are in use */

static void *counted(void *p)
{
	if (p)
		__atomic_add_fetch(&blocks, 1, __ATOMIC_RELAXED);
	return p;
}

void *malloc(size_t n)
{
	return strikes(ALLOCATION) ? none() : counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return strikes(ALLOCATION) ? none() : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	if (strikes(ALLOCATION))
		return none();
	return p ? __libc_realloc(p, n) : counted(__libc_realloc(p, n));
}

void *aligned_alloc(size_t align, size_t n)
{
	return counted(__libc_memalign(align, n));
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	*ret = strikes(ALLOCATION) ? NULL : counted(__libc_memalign(align, n));
	return *ret ? 0 : ENOMEM;
}

void free(void *p)
{
	if (p)
		__atomic_sub_fetch(&blocks, 1, __ATOMIC_RELAXED);
	__libc_free(p);
}
#else
static long blocks;
#endif

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* A call of LMDB that fails does nothing. */
#define MAP_CALL(name, parameters, arguments)                                       \
	int name parameters                                                         \
	{                                                                           \
		static __typeof__(&name) real;                                      \
		if (!real)                                                          \
			real = REAL(name);                                          \
		return strikes(MAP) ? fault.error : real arguments;                 \
	}

MAP_CALL(mdb_env_create, (MDB_env **e), (e))
MAP_CALL(mdb_env_set_mapsize, (MDB_env *e, size_t n), (e, n))
MAP_CALL(mdb_env_open, (MDB_env *e, const char *p, unsigned f, mdb_mode_t m), (e, p, f, m))
MAP_CALL(mdb_txn_begin, (MDB_env *e, MDB_txn *p, unsigned f, MDB_txn **t), (e, p, f, t))
MAP_CALL(mdb_dbi_open, (MDB_txn *t, const char *n, unsigned f, MDB_dbi *d), (t, n, f, d))
MAP_CALL(mdb_cursor_open, (MDB_txn *t, MDB_dbi d, MDB_cursor **c), (t, d, c))
MAP_CALL(mdb_cursor_get, (MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op o), (c, k, v, o))
MAP_CALL(mdb_cursor_put, (MDB_cursor *c, MDB_val *k, MDB_val *v, unsigned f), (c, k, v, f))
MAP_CALL(mdb_cursor_del, (MDB_cursor *c, unsigned f), (c, f))

/* One that fails has ended the transaction all the same. */
int mdb_txn_commit(MDB_txn *t)
{
	static __typeof__(&mdb_txn_commit) real;

	if (!real)
		real = REAL(mdb_txn_commit);
	if (!strikes(MAP))
		return real(t);
	mdb_txn_abort(t);
	return fault.error;
}

/* ------------------------------------------------------------------ waiting */

int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	static _Atomic(__typeof__(&pthread_cond_wait)) real;

	if (step_is_mine()) {
		pthread_mutex_unlock(m);
		(void)step_once();
		pthread_mutex_lock(m);
		return 0;
	}
	if (!real)
		real = REAL(pthread_cond_wait);
	return real(c, m);
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
	static _Atomic(__typeof__(&nanosleep)) real;

	if (step_is_mine()) {
		step_sleep((uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec);
		return 0;
	}
	if (!real)
		real = REAL(nanosleep);
	return real(t, left);
}

/* ------------------------------------------------------------------ the world */

#define OPS 64u
#define HELD_STEPS 500u

struct entry { struct fsop op; struct fsop_result res; bool crash; };

static struct {
	struct store *mem, *store;
	struct disk *below, *disk;
	struct volume *v;
	struct volume_options o;
	struct fsmodel *m;
	struct entry list[4 * OPS];
	unsigned count;      /* operations that were answered with success, and ends */
	unsigned acked;      /* of them are durable */
	bool doubtful;       /* list[count]: was answered with an error by a volume that then failed */
	char meta[64];
	uint64_t seed;
} w;

static char where[128]; /* for messages */

static struct fsmodel *new_model(void)
{
	struct fsmodel_options o = { .opens = true };

	return fsmodel_new(&o);
}

/* fault_disk counts by itself: since the last fault_disk_fail. */
static void look(void)
{
	if (fault.kind == DISK || fault.kind == DISK_FOR_GOOD) {
		fault.count = (long)fault_disk_calls(w.disk);
		if (fault.in > 0 && fault.count >= fault.in)
			fault.fired = true;
	}
}

static void step(void)
{
	armed = true;
	(void)step_once();
	armed = false;
	look();
}

/* The failure is over: nothing may fail now. */
static void mend(void)
{
	fault.in = 0;
	fault.kind = NOTHING;
	fault_disk_fail(w.disk, 0, 0, 0, 0);
}

struct waiting { struct volume_wait w; bool resumed; int rc; };

static void resumed(struct volume_wait *x, int rc)
{
	struct waiting *p = CL_CONTAINER_OF(x, struct waiting, w);

	p->resumed = true;
	p->rc = rc;
}

static int wait_for(struct waiting *p)
{
	for (unsigned n = 0; !p->resumed; n++) {
		if (n == HELD_STEPS && fault.kind == DISK_FOR_GOOD)
			mend(); /* held as long as the disk takes nothing; then it must go on */
		if (n > 2 * HELD_STEPS)
			fail_msg("%s: a call is held for ever", where);
		step();
	}
	p->resumed = false;
	return p->rc;
}

/* An empty cache directory; the same call of the disk as before is to fail. */
static void fresh_disk(void)
{
	bool disk = fault.kind == DISK || fault.kind == DISK_FOR_GOOD;

	if (w.disk) {
		if (disk && !fault.fired)
			fault.in -= (long)fault_disk_calls(w.disk);
		fault_disk_close(w.disk);
		mem_disk_free(w.below);
	}
	w.below = mem_disk_new();
	w.disk = fault_disk_new(w.below);
	w.o.disk = w.disk;
	if (disk && fault.in > 0)
		fault_disk_fail(w.disk, FAULT_ANY, (unsigned)fault.in - 1, fault.kind == DISK ? 1 : 1000000, fault.error);
}

static int try_open(void)
{
	int rc;

	armed = true;
	rc = volume_open(&w.o, &w.v);
	armed = false;
	look();
	if (rc) {
		w.v = NULL;
		for (unsigned n = 0; n < 100000 && step_once(); n++) /* what is left of it ends by itself */
			;
	}
	return rc;
}

static int close_volume(bool drain)
{
	int rc;

	armed = true;
	rc = volume_close(w.v, drain, NULL, NULL);
	armed = false;
	look();
	w.v = NULL;
	while (step_once())
		;
	return rc;
}

static enum volume_state state_of(void)
{
	struct volume_status st;

	volume_status(w.v, &st);
	return st.state;
}

/* A failure that a reader met is seen by the next tick. */
static bool failed(void)
{
	for (int n = 0; n < 100 && fault.map && fault.fired; n++)
		step();
	return state_of() == VOLUME_FAILED;
}

static void quiet(void *user, const char *line)
{
	(void)user;
	(void)line;
}

static void tell(void *user, const char *line)
{
	(void)user;
	print_error("%s: differs: %s\n", where, line);
}

static void idle(void *user)
{
	(void)user;
	step();
}

static int compare(const struct fsmodel *m, void (*report)(void *user, const char *line))
{
	struct fsmodel_target t = FSMODEL_TARGET(w.v, idle, NULL);
	bool before;
	int rc;

	do {
		before = fault.fired;
		armed = true;
		rc = fsmodel_compare(m, &t, report, NULL);
		armed = false;
		look();
		if (rc && fault.fired && !before && fault.kind == DISK_FOR_GOOD)
			mend();
	} while (rc && fault.fired && !before && !failed()); /* a read that failed then: the next one does not */
	return rc;
}

/* The model after the first n of the list, and then a crash. */
static struct fsmodel *state_after(unsigned n)
{
	struct fsmodel *m = new_model();

	for (unsigned i = 0; i < n; i++) {
		if (w.list[i].crash)
			fsmodel_crash(m);
		else
			(void)fsmodel_apply(m, &w.list[i].op, &w.list[i].res);
	}
	fsmodel_crash(m);
	return m;
}

/* The volume was opened anew: which state has it? */
static void recovered(void)
{
	unsigned n = w.count + (w.doubtful ? 1 : 0);

	for (;; n--) {
		struct fsmodel *m = state_after(n);

		int rc = compare(m, quiet);

		if (rc && failed()) { /* that was the failure */
			mend();
			(void)close_volume(false);
			if (try_open())
				fail_msg("%s: it does not open again: %s", where, err_last());
			rc = compare(m, quiet);
		}
		if (rc == 0) {
			fsmodel_free(w.m);
			w.m = m;
			w.count = n;
			w.list[w.count++] = (struct entry){ .crash = true };
			w.acked = w.count;
			w.doubtful = false;
			return;
		}
		fsmodel_free(m);
		if (n == w.acked)
			break;
	}
	w.m = state_after(w.count);
	n = (unsigned)-compare(w.m, tell);
	fail_msg("%s: what came back is no state from %u to %u (%s)", where, w.acked, w.count, err_text(-(int)n));
}

/* The volume ended in whatever state: with nothing failing any more it comes back. */
static void restart(void)
{
	mend();
	if (w.v)
		(void)close_volume(false);
	if (try_open())
		fail_msg("%s: it does not open again: %s", where, err_last());
	recovered();
}

/* One random operation. */
static void one(void)
{
	struct fsmodel_target t = FSMODEL_TARGET(w.v, idle, NULL);
	struct waiting wait = { .w.resume = resumed };
	struct entry *e = &w.list[w.count];
	struct fsmodel *after;
	bool before = fault.fired;
	char text[400];
	int rc, want;

	memset(e, 0, sizeof *e);
	fsop_random(w.m, &w.seed, &e->op);
	do {
		armed = true;
		rc = fsop_run(&t, &e->op, &wait.w, &e->res);
		armed = false;
		look();
	} while (rc == ERR_PARKED && (rc = wait_for(&wait)) == 0);
	after = fsmodel_clone(w.m);
	want = fsmodel_apply(after, &e->op, &e->res);
	if (rc == want) {
		fsmodel_free(w.m);
		w.m = after;
		w.count += rc == 0;
		return;
	}
	fsmodel_free(after);
	fsop_print(&e->op, text, sizeof text);
	if (!fault.fired || rc == 0 || (before && !failed() && fault.kind != DISK_FOR_GOOD))
		fail_msg("%s: %s: %s, should be %s", where, text, err_text(rc), err_text(want));
	w.doubtful = want == 0 && failed();
	if (failed())
		restart();
}

static void durable(bool store)
{
	struct waiting wait = { .w.resume = resumed };
	bool before = fault.fired;
	int rc;

	armed = true;
	rc = store ? volume_sync(w.v, &wait.w) : volume_fsync(w.v, &wait.w);
	armed = false;
	look();
	if (rc == ERR_PARKED)
		rc = wait_for(&wait);
	if (rc == 0) {
		w.acked = w.count;
		return;
	}
	if (!fault.fired || (before && !failed() && fault.kind != DISK_FOR_GOOD))
		fail_msg("%s: %s: %s", where, store ? "sync" : "fsync", err_text(rc));
	if (failed())
		restart();
}

static void some(unsigned n)
{
	while (n-- > 0)
		one();
}

static void end_and_open(bool drain, bool fresh)
{
	int rc;

	if (fault.kind == DISK_FOR_GOOD && fault.fired)
		mend(); /* draining would wait for it */
	rc = close_volume(drain);
	if (rc == 0 && drain)
		w.acked = w.count;
	if (rc && !fault.fired)
		fail_msg("%s: close: %s", where, err_text(rc));
	if (fresh && rc == 0)
		fresh_disk();
	w.o.takeover = fresh; /* that it was released may be what failed */
	if (try_open()) {
		if (!fault.fired)
			fail_msg("%s: open: %s", where, err_last());
		restart();
		return;
	}
	if (fault.fired)
		mend();
	recovered();
}

static void history(void)
{
	if (try_open()) {
		if (!fault.fired)
			fail_msg("%s: open: %s", where, err_last());
		restart();
	}
	some(OPS / 4);
	durable(false);
	some(OPS / 8);
	durable(true);
	some(OPS / 4);
	durable(false);
	some(2);
	end_and_open(false, false); /* the local log has the rest */
	some(OPS / 4);
	durable(true);
	for (unsigned n = 0; n < 300; n++) /* a checkpoint */
		step();
	some(2);
	end_and_open(true, true); /* the store has it all */
	if (failed())
		restart();
	mend();
	if (compare(w.m, tell))
		fail_msg("%s: what is there is wrong", where);
	some(2);
	durable(true);
	assert_int_equal(close_volume(true), 0);
}

static void set_up(uint64_t seed)
{
	memset(&w, 0, sizeof w);
	step_reset();
	assert_int_equal(store_mem_open(1, &w.mem), 0);
	w.store = step_store(w.mem);
	strcpy(w.meta, "/dev/shm/test_nth.XXXXXX");
	assert_non_null(mkdtemp(w.meta));
	assert_int_equal(volume_format(w.store, step_env(), false, 1), 0);
	w.o = (struct volume_options){ .store = w.store, .env = step_env(), .exec = step_exec(), .meta_dir = w.meta, .node = "a",
				       .durability = seed % 2 ? VOLUME_DURABILITY_LOCAL : VOLUME_DURABILITY_STORE, .max_lag_ms = 5000, .commit_interval_ms = 1000,
				       .cache_bytes = 64u << 20, .uploads = 2, .checkpoint_bytes = 1 };
	fresh_disk();
	w.m = new_model();
	w.seed = seed;
}

static void tear_down(void)
{
	fsmodel_free(w.m);
	w.m = NULL;
	fault_disk_close(w.disk);
	mem_disk_free(w.below);
	store_close(w.store);
	store_close(w.mem);
	rmdir(w.meta);
}

/* One history with the Nth event failing; true when there were so many. Nothing of it is left in memory. */
static bool run(enum kind kind, int error, long n, const char *what, uint64_t seed)
{
	long before = __atomic_load_n(&blocks, __ATOMIC_RELAXED), after;

	memset(&fault, 0, sizeof fault);
	fault.kind = kind;
	fault.map = kind == MAP;
	fault.in = n;
	fault.error = error;
	snprintf(where, sizeof where, "seed %d, %s %ld, %s", (int)seed, what, n, kind == MAP ? mdb_strerror(error) : err_text(error));
	set_up(seed);
	history();
	tear_down();
	after = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
	if (after > before && kind != NOTHING)
		fail_msg("%s: %ld blocks of memory are left", where, after - before);
	return fault.fired;
}

/* For every N there is. */
static void every(enum kind kind, int error, const char *what, uint64_t seed)
{
	long n = 1;

	(void)run(NOTHING, 0, 0, "nothing", seed); /* what is made once and kept is there from now on */
	while (run(kind, error, n, what, seed))
		n++;
	print_message("seed %d, %s, %s: %ld failures, one at a time\n", (int)seed, what, kind == MAP ? mdb_strerror(error) : err_text(error), n - 1);
	assert_true(n > 50);
}

/* Odd seeds are of durability=local, even ones of durability=store. */
static void test_allocation(void **state)
{
	(void)state;
	if (!INTERPOSED) {
		print_message("allocations are a sanitizer's own here\n");
		return;
	}
	every(ALLOCATION, -ENOMEM, "allocation", 1);
	every(ALLOCATION, -ENOMEM, "allocation", 2);
}

static void test_map(void **state)
{
	(void)state;
	every(MAP, MDB_MAP_FULL, "call of LMDB", 1);
	every(MAP, EIO, "call of LMDB", 2);
}

static void test_disk(void **state)
{
	(void)state;
	every(DISK, -EIO, "call of the disk", 1);
	every(DISK, -ENOSPC, "call of the disk", 2);
	every(DISK_FOR_GOOD, -ENOSPC, "call of the disk and all after it", 1);
	every(DISK_FOR_GOOD, -EIO, "call of the disk and all after it", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_allocation),
	};

	logmsg_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
