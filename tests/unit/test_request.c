/*
 * test_request.c - a request that parks is answered exactly once, whenever resume() comes. libfuse's calls and the engine are this test's own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "session_impl.h"

/* Stands behind fuse_req_t. */
struct fake_req {
	struct session *s;
	struct fuse_ctx ctx;
	pthread_mutex_t mu;
	fuse_interrupt_func_t func;
	void *data;
	int answers, code;
};

static struct fake_req *fake(fuse_req_t req)
{
	return (struct fake_req *)(void *)req;
}

void *fuse_req_userdata(fuse_req_t req)
{
	return fake(req)->s;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &fake(req)->ctx;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	__atomic_add_fetch(&fake(req)->answers, 1, __ATOMIC_SEQ_CST);
	fake(req)->code = err;
	return 0;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	pthread_mutex_lock(&fake(req)->mu);
	fake(req)->func = func;
	fake(req)->data = data;
	pthread_mutex_unlock(&fake(req)->mu);
}

static void interrupt(struct fake_req *f)
{
	pthread_mutex_lock(&f->mu);
	if (f->func)
		f->func((fuse_req_t)(void *)f, f->data);
	pthread_mutex_unlock(&f->mu);
}

void reply_error(fuse_req_t req, const char *what, uint64_t ino, int rc)
{
	(void)what;
	(void)ino;
	fuse_reply_err(req, err_errno(rc));
}

/* --- the engine: parks a request so many times, resumes it as the case says */

enum when { LATER, AT_ONCE, FROM_A_THREAD };
static enum when when;
static unsigned parks_left, runs;
static struct volume_wait *parked;
static char seen_name[64], seen_data[64];
static pthread_t resumer;

static void *resume_thread(void *arg)
{
	struct volume_wait *w = arg;

	w->resume(w, 0);
	return NULL;
}

static int run(struct request *q)
{
	runs++;
	if (q->name)
		snprintf(seen_name, sizeof(seen_name), "%s>%s", q->name, q->name2 ? q->name2 : "");
	if (q->data)
		snprintf(seen_data, sizeof(seen_data), "%.*s", (int)q->data_len, (const char *)q->data);
	if (parks_left == 0) {
		fuse_reply_err(q->req, 0);
		return 0;
	}
	parks_left--;
	parked = &q->wait;
	if (when == AT_ONCE)
		q->wait.resume(&q->wait, 0);
	else if (when == FROM_A_THREAD && pthread_create(&resumer, NULL, resume_thread, &q->wait) != 0)
		abort();
	return ERR_PARKED;
}

static int run_refused(struct request *q)
{
	(void)q;
	return -ENOSPC;
}

static struct session session;
static struct fake_req req;

static int setup(void **state)
{
	(void)state;
	memset(&session, 0, sizeof(session));
	memset(&req, 0, sizeof(req));
	pthread_mutex_init(&session.parked_mu, NULL);
	pthread_mutex_init(&req.mu, NULL);
	session.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	req.s = &session;
	when = LATER;
	parks_left = runs = 0;
	parked = NULL;
	seen_name[0] = seen_data[0] = '\0';
	return session.event_fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	close(session.event_fd);
	return session.parked != NULL || atomic_load(&session.interrupted) != 0;
}

static struct request *make(int (*fn)(struct request *))
{
	struct request *q = request_new((fuse_req_t)(void *)&req, "test", fn, 5);

	assert_non_null(q);
	return q;
}

static void answered_at_once(void **state)
{
	(void)state;
	request_start(make(run));
	assert_int_equal(req.answers, 1);
	assert_int_equal(req.code, 0);
	request_start(make(run_refused));
	assert_int_equal(req.answers, 2);
	assert_int_equal(req.code, ENOSPC);
}

static void parked_thrice(void **state)
{
	(void)state;
	parks_left = 3;
	request_start(make(run));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(req.answers, 0);
		assert_non_null(session.parked);
		parked->resume(parked, 0);
	}
	assert_int_equal(req.answers, 1);
	assert_int_equal(runs, 4);
}

static void resumed_before_it_was_parked(void **state)
{
	(void)state;
	parks_left = 3;
	when = AT_ONCE;
	request_start(make(run));
	assert_int_equal(req.answers, 1);
	assert_int_equal(runs, 4);
}

static void arguments_are_copied(void **state)
{
	char name[16] = "from", name2[16] = "to", data[16] = "bytes";
	struct request *q = make(run);

	(void)state;
	parks_left = 2;
	q->name = name;
	q->name2 = name2;
	q->data = data;
	q->data_len = 5;
	request_start(q);
	/* The receive buffer is used for the next request. */
	memset(name, 'x', sizeof(name));
	memset(name2, 'x', sizeof(name2));
	memset(data, 'x', sizeof(data));
	for (int i = 0; i < 2; i++) {
		seen_name[0] = seen_data[0] = '\0';
		parked->resume(parked, 0);
		assert_string_equal(seen_name, "from>to");
		assert_string_equal(seen_data, "bytes");
	}
	assert_int_equal(req.answers, 1);
}

static void refused_while_parked(void **state)
{
	(void)state;
	parks_left = 1;
	request_start(make(run));
	parked->resume(parked, ERR_READ_ONLY);
	assert_int_equal(req.answers, 1);
	assert_int_equal(req.code, EROFS);
	assert_int_equal(runs, 1);
}

static void fsync_is_done_when_resumed(void **state)
{
	struct request *q = make(run);

	(void)state;
	q->done_on_resume = true;
	parks_left = 1;
	request_start(q);
	parked->resume(parked, 0);
	assert_int_equal(req.answers, 1);
	assert_int_equal(req.code, 0);
	assert_int_equal(runs, 1);
	/* The same when the answer was faster than the parking. */
	q = make(run);
	q->done_on_resume = true;
	when = AT_ONCE;
	parks_left = 1;
	request_start(q);
	assert_int_equal(req.answers, 2);
	assert_int_equal(runs, 2);
}

/* This process has no SIGKILL pending: an interrupted request waits on. */
static void a_signal_alone_ends_nothing(void **state)
{
	uint64_t n;

	(void)state;
	req.ctx.pid = getpid();
	parks_left = 1;
	request_start(make(run));
	interrupt(&req);
	assert_int_equal(read(session.event_fd, &n, sizeof(n)), sizeof(n));
	assert_true(request_reap_killed(&session));
	assert_int_equal(req.answers, 0);
	parked->resume(parked, 0);
	assert_int_equal(req.answers, 1);
	assert_false(request_reap_killed(&session));
	/* A late signal finds nobody. */
	interrupt(&req);
	assert_int_equal(atomic_load(&session.interrupted), 0);
}

/* resume() races with parking, and signals with both. */
static void races(void **state)
{
	uint64_t seed = 7;

	(void)state;
	when = FROM_A_THREAD;
	req.ctx.pid = getpid();
	for (int i = 0; i < 3000; i++) {
		int before = __atomic_load_n(&req.answers, __ATOMIC_SEQ_CST);

		parks_left = 1;
		request_start(make(run));
		if (rng_below(&seed, 2))
			interrupt(&req);
		if (rng_below(&seed, 4) == 0)
			request_reap_killed(&session);
		pthread_join(resumer, NULL);
		assert_int_equal(__atomic_load_n(&req.answers, __ATOMIC_SEQ_CST), before + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answered_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(parked_thrice, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_before_it_was_parked, setup, teardown),
		cmocka_unit_test_setup_teardown(arguments_are_copied, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_while_parked, setup, teardown),
		cmocka_unit_test_setup_teardown(fsync_is_done_when_resumed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_alone_ends_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(races, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
