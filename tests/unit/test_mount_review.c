/*
 * test_mount_review.c - what a mount must not do to others: to the files and sockets that stand where its own are to be. And how it ends while
 * reads wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends.h"
#include "control_internal.h"
#include "err.h"
#include "../lib/vol.h"

struct place { char dir[64], path[100], metrics[112]; };

static void set_up(struct place *p)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/test_mount_review.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/socket", p->dir);
	snprintf(p->metrics, sizeof(p->metrics), "unix:%s/metrics", p->dir);
}

static void tear_down(struct place *p)
{
	unlink(p->path);
	unlink(p->metrics + 5);
	assert_int_equal(rmdir(p->dir), 0);
}

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
}

static void assert_file(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, 8);
}

/* A socket that listens with room for so many who wait, or does not listen at all (backlog -1: as a dead mount leaves it). */
static int make_socket(const char *path, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void a_file_is_not_a_stale_socket(void **state)
{
	struct place p;
	int fd = -1;

	(void)state;
	set_up(&p);
	make_file(p.path);
	assert_int_not_equal(control_check(p.path, NULL), 0);
	assert_non_null(strstr(err_last(), "not a socket"));
	assert_file(p.path);
	assert_int_not_equal(ctlsock_listen(p.path, &fd), 0);
	assert_int_equal(fd, -1);
	assert_file(p.path);
	unlink(p.path);

	make_file(p.metrics + 5);
	assert_int_not_equal(control_check(p.path, p.metrics), 0);
	assert_file(p.metrics + 5);

	/* Nor is a link to one. */
	assert_int_equal(symlink(p.metrics + 5, p.path), 0);
	assert_int_not_equal(control_check(p.path, NULL), 0);
	assert_file(p.metrics + 5);
	tear_down(&p);
}

static void a_stale_socket_is_replaced(void **state)
{
	struct place p;
	int fd = -1;

	(void)state;
	set_up(&p);
	close(make_socket(p.path, 1));
	assert_int_equal(control_check(p.path, NULL), 0);
	close(make_socket(p.path, 1));
	assert_int_equal(ctlsock_listen(p.path, &fd), 0);
	close(fd);
	tear_down(&p);
}

/* A mount that is stopped, or has more callers than it can take, still has its socket. */
static void a_busy_socket_is_not_stale(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int owner, caller[16], n = 0, fd = -1;
	struct stat before, after;
	struct place p;

	(void)state;
	set_up(&p);
	owner = make_socket(p.path, 0);
	assert_int_equal(lstat(p.path, &before), 0);
	strcpy(a.sun_path, p.path);
	for (; n < 16; n++) {
		caller[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_true(caller[n] >= 0);
		if (connect(caller[n], (struct sockaddr *)&a, sizeof(a)) < 0)
			break;
	}
	assert_true(n < 16);
	alarm(10); /* one that waits for the other's attention waits for ever */
	assert_int_equal(ctlsock_listen(p.path, &fd), -EADDRINUSE);
	alarm(0);
	assert_int_equal(lstat(p.path, &after), 0);
	assert_true(before.st_ino == after.st_ino);
	for (int i = 0; i <= n; i++)
		close(caller[i]);
	close(owner);
	tear_down(&p);
}

/* ------------------------------------------------- reads that are parked when the volume ends */

#define READS 64
#define READ_BYTES 16384

struct parked_read {
	struct volume_wait w;
	struct volume *v;
	uint64_t ino, off;
	_Atomic bool over;
	uint8_t buf[READ_BYTES];
};

static void read_again(struct volume_wait *w, int rc)
{
	struct parked_read *r = CL_CONTAINER_OF(w, struct parked_read, w);
	size_t n;

	if (rc == 0)
		rc = volume_read(r->v, r->ino, r->off, READ_BYTES, r->buf, &n, w);
	if (rc != ERR_PARKED)
		r->over = true;
}

/* Fetches that end while the volume is being closed resume reads, which look at all that reading needs, until each has its answer. */
static void parked_reads_outlive_nothing_they_need(void **state)
{
	static struct parked_read reads[READS];
	static uint8_t data[READS * READ_BYTES];
	struct store *mem, *store;
	struct volume_options o;
	struct volume_attr a;
	struct vol t;
	char dir[64] = "/tmp/test_mount_review.XXXXXX", command[128], name[32];
	size_t n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_mem_open(0, &mem), 0);
	assert_int_equal(volume_format(mem, env_system(), false, 0), 0);
	assert_int_equal(store_fault_open(mem, "get:log/*:delay=3", 1, &store), 0);
	vol_options(&o, "a");
	for (int round = 0; round < 20; round++) {
		snprintf(command, sizeof(command), "rm -rf '%s/cache'; mkdir '%s/cache'", dir, dir);
		assert_int_equal(system(command), 0);
		snprintf(command, sizeof(command), "%s/cache", dir);
		assert_int_equal(vol_open(&t, store, command, &o), 0);
		if (round > 0) {
			assert_int_equal(volume_lookup(t.v, VOLUME_ROOT_INO, "file", 4, &a), 0);
			for (size_t i = 0; i < READS; i++) {
				reads[i].v = t.v;
				reads[i].w.resume = read_again;
				reads[i].ino = a.ino;
				reads[i].off = i * READ_BYTES;
				reads[i].over = false;
				if (volume_read(t.v, a.ino, reads[i].off, READ_BYTES, reads[i].buf, &n, &reads[i].w) != ERR_PARKED)
					reads[i].over = true;
			}
			usleep((unsigned)round * 200);
		} else {
			assert_int_equal(vol_put_file(&t, "file", data, sizeof(data)), 0);
			for (int i = 0; i < 200; i++) {
				snprintf(name, sizeof(name), "other%d", i);
				assert_int_equal(vol_put_file(&t, name, "x", 1), 0);
			}
		}
		assert_int_equal(vol_close(&t, true), 0);
		for (size_t i = 0; round && i < READS; i++)
			assert_true(reads[i].over);
	}
	store_close(store);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_not_a_stale_socket),
		cmocka_unit_test(a_stale_socket_is_replaced),
		cmocka_unit_test(a_busy_socket_is_not_stale),
		cmocka_unit_test(parked_reads_outlive_nothing_they_need),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
