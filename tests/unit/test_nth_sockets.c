/*
 * test_nth_sockets.c - the Nth call on a socket fails, is interrupted, or takes or brings a single byte, for every N: of the control socket, both
 * sides, and of the S3 backend.
 *
 * A signal (EINTR) and a short count change nothing. Whatever else fails, fails one request at most, with an error; the next one is answered, and no
 * descriptor is left. A request to the store is made again by itself, and succeeds.
 *
 * The calls are interposed, and only those of armed threads strike: this one, and the two that serve (each arms itself in a callback), not the test's own
 * HTTP server.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fake_s3.h"
#include "../lib/vol.h"
#include "backends.h"
#include "compiler.h"
#include "control.h"
#include "control_internal.h"
#include "err.h"

#define NTH_MAX 40 /* of one kind; polls have no end */
#define ONE_BYTE (-1)

enum what { SOCKET, CONNECT, BIND, LISTEN, ACCEPT, SEND, RECV, POLL };

/* Counted and struck under the lock: several threads are armed. */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct { enum what what; int how; long in; bool fired; } fault;
static _Thread_local bool armed;

/* 0: not this time. Else an errno, or ONE_BYTE. */
static int strikes(enum what what)
{
	int how = 0;

	if (!armed)
		return 0;
	pthread_mutex_lock(&mu);
	if (fault.in > 0 && fault.what == what && --fault.in == 0) {
		fault.fired = true;
		how = fault.how;
	}
	pthread_mutex_unlock(&mu);
	return how;
}

static void strike(enum what what, int how, long in)
{
	pthread_mutex_lock(&mu);
	fault.what = what;
	fault.how = how;
	fault.in = in;
	fault.fired = false;
	pthread_mutex_unlock(&mu);
}

/* Stops it; has it fired? */
static bool struck(void)
{
	bool fired;

	pthread_mutex_lock(&mu);
	fault.in = 0;
	fired = fault.fired;
	pthread_mutex_unlock(&mu);
	return fired;
}

static int failed(int how)
{
	errno = how;
	return -1;
}

#define CALL(type, name, what, parameters, arguments)                          \
	type name parameters                                                   \
	{                                                                      \
		static _Atomic(__typeof__(&name)) real;                        \
		int how = strikes(what);                                       \
		if (!real)                                                     \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);     \
		return how ? failed(how) : real arguments;                     \
	}

CALL(int, socket, SOCKET, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, connect, CONNECT, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(int, bind, BIND, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(int, listen, LISTEN, (int fd, int n), (fd, n))

/* A listener that could not be taken from must not be asked for again at once: that would be a loop without a pause. */
static struct { int fd; bool spins; } untaken = { -1, false };

int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
	static _Atomic(__typeof__(&accept4)) real;
	int how = strikes(ACCEPT);

	if (!real)
		real = (__typeof__(&accept4))dlsym(RTLD_NEXT, "accept4");
	if (how)
		untaken.fd = fd; /* on the server's thread, as its poll below */
	return how ? failed(how) : real(fd, a, n, flags);
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
	static _Atomic(__typeof__(&poll)) real;
	int how = strikes(POLL);

	if (!real)
		real = (__typeof__(&poll))dlsym(RTLD_NEXT, "poll");
	if (armed && untaken.fd >= 0) {
		for (nfds_t i = 0; i < n; i++)
			untaken.spins = untaken.spins || (fds[i].fd == untaken.fd && fds[i].events & POLLIN);
		untaken.fd = -1;
	}
	return how ? failed(how) : real(fds, n, ms);
}

/* One byte only, where there is one at all. */
#define DATA_CALL(name, what, parameters, fd, p, n, flags)                     \
	ssize_t name parameters                                                \
	{                                                                      \
		static _Atomic(__typeof__(&name)) real;                        \
		int how = strikes(what);                                       \
		if (!real)                                                     \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);     \
		return how > 0 ? failed(how) : real(fd, p, how == ONE_BYTE && n > 1 ? 1 : n, flags); \
	}

DATA_CALL(send, SEND, (int fd, const void *p, size_t n, int flags), fd, p, n, flags)
DATA_CALL(recv, RECV, (int fd, void *p, size_t n, int flags), fd, p, n, flags)

/* ----------------------------------------------------------------- control */

static struct {
	struct store *store;
	struct vol vol;
	struct control *control;
	char dir[64], path[CONTROL_PATH_MAX];
	unsigned stops, lines;
} f;

/* The client looks there for the mount. */
FILE *fopen(const char *path, const char *mode)
{
	static _Atomic(__typeof__(&fopen)) real;
	static char text[256];

	if (!real)
		real = (__typeof__(&fopen))dlsym(RTLD_NEXT, "fopen");
	if (strcmp(path, "/proc/self/mountinfo") != 0 || !f.dir[0])
		return real(path, mode);
	snprintf(text, sizeof(text), "1 1 0:1 / %s rw - fuse.clonefs x rw\n", f.dir);
	return fmemopen(text, strlen(text), "r");
}

/* On the server's thread. */
static void on_stop(void *user CL_UNUSED, bool drain CL_UNUSED)
{
	armed = true;
	f.stops++;
}

static int on_line(void *user CL_UNUSED, const char *line CL_UNUSED)
{
	f.lines++;
	return 0;
}

/* The volume opens and closes files meanwhile. */
static int sockets(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char to[64] = "";

		if (readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1) > 0 && strncmp(to, "socket:", 7) == 0)
			n++;
	}
	closedir(d);
	return n;
}

static int control_set_up(void **state CL_UNUSED)
{
	struct volume_options o;

	snprintf(f.dir, sizeof(f.dir), "/tmp/test_nth_sockets.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	setenv("XDG_RUNTIME_DIR", f.dir, 1);
	control_default_path(f.dir, f.path);
	assert_int_equal(store_mem_open(0, &f.store), 0);
	assert_int_equal(volume_format(f.store, env_system(), false, 0), 0);
	vol_options(&o, "tester");
	assert_int_equal(vol_open(&f.vol, f.store, f.dir, &o), 0);
	return 0;
}

static int control_tear_down(void **state CL_UNUSED)
{
	char command[128];

	vol_close(&f.vol, true);
	store_close(f.store);
	snprintf(command, sizeof(command), "rm -rf '%s'", f.dir);
	f.dir[0] = '\0';
	return system(command);
}

/* What a mount leaves that was killed. */
static void leave_stale_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(strlen(f.path) < sizeof(a.sun_path));
	memcpy(a.sun_path, f.path, strlen(f.path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

static int start(void)
{
	struct control_options o = { .path = f.path, .address = "mem:", .mountpoint = f.dir, .volume = f.vol.v, .store = f.store, .stop = on_stop };

	return control_start(&o, &f.control);
}

static int ask(const char *what)
{
	char request[64];

	snprintf(request, sizeof(request), "{\"do\":\"%s\",\"drain\":false}", what);
	return control_call(f.dir, request, on_line, NULL);
}

/* One mount's life with the Nth call failing. Returns whether there was an Nth; *ret_failed: how many of its requests failed. */
static bool control_life(enum what what, int how, long nth, unsigned *ret_failed)
{
	bool early = what == BIND || what == LISTEN || what == SOCKET || what == CONNECT, fired;
	int before = sockets(), rc;

	*ret_failed = 0;
	leave_stale_socket();
	assert_int_equal(vol_put_file(&f.vol, "file", "x", 1), 0);
	if (early)
		strike(what, how, nth);
	armed = true;
	rc = start();
	armed = false;
	*ret_failed += rc != 0;
	if (rc) { /* then it works the second time */
		assert_true(struck());
		assert_int_equal(start(), 0);
	}
	if (!early || !rc) {
		assert_int_equal(ask("unmount"), 0); /* arms the server */
		if (!early)
			strike(what, how, nth);
		armed = true;
		*ret_failed += ask("stat") != 0;
		*ret_failed += ask("sync") != 0;
		armed = false;
	}
	fired = struck();
	for (int i = 0; i < 3; i++) { /* whatever failed: it is served on */
		assert_int_equal(ask("stat"), 0);
		assert_int_equal(ask("sync"), 0);
	}
	control_stop(f.control);
	assert_int_equal(access(f.path, F_OK), -1);
	assert_int_equal(sockets(), before);
	return fired || rc;
}

static void control(enum what what, int how, unsigned failed_max)
{
	unsigned failures, times = 0;

	for (long nth = 1; nth <= NTH_MAX && control_life(what, how, nth, &failures); nth++) {
		times++;
		if (failures > failed_max)
			fail_msg("call %d, %d of its kind, %s: %u requests failed", (int)what, (int)nth, how == ONE_BYTE ? "one byte" : strerror(how), failures);
	}
	assert_true(times > 0);
}

static void control_is_interrupted(void **state CL_UNUSED)
{
	control(CONNECT, EINTR, 0);
	control(SEND, EINTR, 0);
	control(RECV, EINTR, 0);
	control(POLL, EINTR, 0);
	control(ACCEPT, EINTR, 0);
	control(SEND, ONE_BYTE, 0);
	control(RECV, ONE_BYTE, 0);
}

/* What the server meets and can put right itself: the peer waits in the queue. */
static void control_lacks_something(void **state CL_UNUSED)
{
	static const int lacks[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED };

	for (size_t i = 0; i < CL_ARRAY_LEN(lacks); i++)
		control(ACCEPT, lacks[i], 0);
	assert_false(untaken.spins);
	control(POLL, ENOMEM, 0);
}

static void control_fails(void **state CL_UNUSED)
{
	control(SOCKET, EMFILE, 1);
	control(CONNECT, ECONNREFUSED, 1);
	control(CONNECT, EAGAIN, 1);
	control(BIND, EACCES, 1);
	control(LISTEN, EADDRINUSE, 1);
	control(SEND, EPIPE, 1);
	control(SEND, ENOBUFS, 1);
	control(RECV, ECONNRESET, 1);
	control(RECV, ENOMEM, 1);
}

/* ---------------------------------------------------------------------- S3 */

static struct fake_s3 fake;
static struct store *s3;

static int s3_set_up(void **state CL_UNUSED)
{
	setenv("AWS_ACCESS_KEY_ID", "AKTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent/config", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials", 1);
	fake_s3_start(&fake);
	return 0;
}

static int s3_tear_down(void **state CL_UNUSED)
{
	unsigned bad = fake.bad_hash + fake.unsigned_requests;

	fake_s3_stop(&fake);
	assert_int_equal(bad, 0);
	return 0;
}

static void on_io_thread(struct store_req *r)
{
	armed = true;
	store_wait_done(r);
}

/* The thread that makes the requests arms itself. */
static void s3_open(void)
{
	char options[128];
	struct store_req r;

	snprintf(options, sizeof(options), "endpoint=http://127.0.0.1:%u,timeout_ms=30000,connections=1", http_double_port(fake.http));
	assert_int_equal(store_s3_open("s3://bucket/pre", options, &s3), 0);
	store_req_init(&r, STORE_HEAD);
	r.key = "nothing";
	r.done = on_io_thread;
	s3->submit(s3, &r);
	s3->wait(s3, &r);
	assert_int_equal(r.result, -ENOENT);
	store_req_reset(&r);
	fake_s3_clear(&fake);
}

static bool s3_life(enum what what, int how, long nth)
{
	static char big[300000];
	struct store_req r;
	unsigned bad = 0;
	bool fired;

	s3_open();
	if (what == SOCKET || what == CONNECT) /* the connection there is goes, and another is made */
		fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_DROP, .count = 1 });
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 251 + (size_t)nth);
	strike(what, how, nth);
	bad += store_put(s3, "small", "value", 5, false, &r) != 0;
	store_req_reset(&r);
	bad += store_put(s3, "big", big, sizeof(big), false, &r) != 0;
	store_req_reset(&r);
	bad += store_get(s3, "big", &r) != 0;
	bad += r.data_len != sizeof(big) || memcmp(r.data, big, sizeof(big)) != 0;
	store_req_reset(&r);
	store_req_init(&r, STORE_LIST);
	r.key = "";
	bad += store_call(s3, &r) != 0 || r.entry_count != 2;
	store_req_reset(&r);
	fired = struck();
	bad += store_get(s3, "small", &r) != 0 || r.data_len != 5 || memcmp(r.data, "value", 5) != 0;
	store_req_reset(&r);
	if (bad)
		fail_msg("call %d, %d of its kind, %s: %u of the requests went wrong", (int)what, (int)nth, how == ONE_BYTE ? "one byte" : strerror(how), bad);
	store_close(s3);
	return fired;
}

static void s3_goes_on(void **state CL_UNUSED)
{
	static const struct { enum what what; int how; } faults[] = {
		{ SEND, EINTR }, { SEND, ONE_BYTE }, { SEND, EPIPE }, { SEND, ECONNRESET }, { SEND, ENOBUFS },
		{ RECV, EINTR }, { RECV, ONE_BYTE }, { RECV, ECONNRESET }, { RECV, ENOMEM }, { RECV, ETIMEDOUT },
		{ POLL, EINTR }, { POLL, ENOMEM }, { SOCKET, EMFILE }, { SOCKET, ENOBUFS }, { CONNECT, ECONNREFUSED }, { CONNECT, EADDRNOTAVAIL },
		{ CONNECT, ENETUNREACH },
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(faults); i++) {
		long nth = 1;

		while (nth <= NTH_MAX && s3_life(faults[i].what, faults[i].how, nth))
			nth++;
		if (nth == 1)
			fail_msg("fault %d never struck", (int)i);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest of_control[] = {
		cmocka_unit_test(control_is_interrupted),
		cmocka_unit_test(control_lacks_something),
		cmocka_unit_test(control_fails),
	};
	const struct CMUnitTest of_s3[] = { cmocka_unit_test(s3_goes_on) };
	int bad;

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	bad = cmocka_run_group_tests(of_control, control_set_up, control_tear_down);
	return bad + cmocka_run_group_tests(of_s3, s3_set_up, s3_tear_down);
}
