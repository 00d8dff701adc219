/*
 * test_control.c - the control socket and the metrics of a mount, on a real volume over a slow store: answers, progress, nonsense,
 * peers that leave while they wait, and an end while somebody waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends.h"
#include "control.h"
#include "control_internal.h"
#include "err.h"
#include "../lib/vol.h"

struct fixture {
	struct store *store;
	struct vol vol;
	struct control *control;
	struct control_options o;
	char dir[64], path[100], metrics[100];
	_Atomic int stops; /* how often stop() was called; 100 more when it was to drain */
};

static void on_stop(void *user, bool drain)
{
	struct fixture *f = user;

	f->stops += drain ? 100 : 1;
}

/* rules: of s3/fault.h */
static void set_up(struct fixture *f, const char *rules)
{
	struct store *mem;
	struct volume_options o;

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/run/control", f->dir);
	snprintf(f->metrics, sizeof(f->metrics), "unix:%s/metrics", f->dir);
	assert_int_equal(store_mem_open(0, &mem), 0);
	assert_int_equal(volume_format(mem, env_system(), false, 0), 0);
	assert_int_equal(store_fault_open(mem, rules, 1, &f->store), 0);
	vol_options(&o, "tester");
	assert_int_equal(vol_open(&f->vol, f->store, f->dir, &o), 0);
	f->o = (struct control_options){ .path = f->path, .metrics = f->metrics, .address = "mem:", .mountpoint = "/nowhere/\"mount\"",
					 .volume = f->vol.v, .store = f->store, .stop = on_stop, .user = f };
	assert_int_equal(control_start(&f->o, &f->control), 0);
}

static void tear_down(struct fixture *f)
{
	char command[128];

	control_stop(f->control);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(access(f->metrics + 5, F_OK), -1);
	vol_close(&f->vol, true);
	store_close(f->store);
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct timeval limit = { .tv_sec = 20 };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void ask(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* One line without its newline; "" at the end of the connection. */
static void line_of(int fd, char *ret, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && read(fd, ret + n, 1) == 1 && ret[n] != '\n')
		n++;
	ret[n] = '\0';
}

static void tells_its_state(void **state CL_UNUSED)
{
	struct fixture f;
	struct json_object *o, *x;
	struct stat st;
	char line[8192];
	int fd;

	set_up(&f, "seed=1");
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = dial(f.path);
	ask(fd, "{\"do\":\"stat\"}\n");
	line_of(fd, line, sizeof(line));
	o = json_tokener_parse(line);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "node", &x));
	assert_string_equal(json_object_get_string(x), "tester");
	assert_true(json_object_object_get_ex(o, "mountpoint", &x));
	assert_string_equal(json_object_get_string(x), "/nowhere/\"mount\"");
	assert_true(json_object_object_get_ex(o, "state", &x));
	assert_string_equal(json_object_get_string(x), "serving");
	assert_true(json_object_object_get_ex(o, "epoch", &x));
	assert_int_equal(json_object_get_int(x), 1);
	json_object_put(o);
	close(fd);
	tear_down(&f);
}

static void sync_waits_and_shows_progress(void **state CL_UNUSED)
{
	static uint8_t data[100000];
	struct fixture f;
	struct volume_status st;
	char line[1024];
	int fd, progress = 0;

	set_up(&f, "put:log/*:delay=700");
	assert_int_equal(vol_put_file(&f.vol, "file", data, sizeof(data)), 0);
	fd = dial(f.path);
	ask(fd, "{\"do\":\"sync\"}\n{\"do\":\"stat\"}\n");
	for (line_of(fd, line, sizeof(line)); strstr(line, "progress"); line_of(fd, line, sizeof(line)))
		progress++;
	assert_non_null(strstr(line, "\"ok\":true"));
	assert_true(progress >= 2);
	volume_status(f.vol.v, &st);
	assert_int_equal(st.lag_bytes, 0);
	assert_int_equal(st.lsn, st.lsn_store);
	close(fd);
	tear_down(&f);
}

static void unmount_drains_first(void **state CL_UNUSED)
{
	struct fixture f;
	struct volume_status st;
	char line[1024];
	int fd;

	set_up(&f, "put:log/*:delay=300");
	assert_int_equal(vol_put_file(&f.vol, "file", "x", 1), 0);
	fd = dial(f.path);
	ask(fd, "{\"do\":\"unmount\",\"drain\":true}\n");
	do
		line_of(fd, line, sizeof(line));
	while (strstr(line, "progress"));
	assert_non_null(strstr(line, "\"ok\":true"));
	assert_int_equal(f.stops, 100);
	volume_status(f.vol.v, &st);
	assert_int_equal(st.lsn, st.lsn_store);
	ask(fd, "{\"do\":\"unmount\",\"drain\":false}\n");
	line_of(fd, line, sizeof(line));
	assert_non_null(strstr(line, "\"ok\":true"));
	assert_int_equal(f.stops, 101);
	close(fd);
	tear_down(&f);
}

static void refuses_nonsense(void **state CL_UNUSED)
{
	static const char *const wrong[] = { "\n", "x\n", "{}\n", "[]\n", "7\n", "null\n", "{\"do\":1}\n", "{\"do\":\"fly\"}\n", "{\"do\":{}}\n" };
	struct fixture f;
	char line[1024], *big = malloc(5000);
	int fd;

	set_up(&f, "seed=1");
	fd = dial(f.path);
	for (size_t i = 0; i < CL_ARRAY_LEN(wrong); i++) {
		ask(fd, wrong[i]);
		line_of(fd, line, sizeof(line));
		assert_non_null(strstr(line, "\"ok\":false"));
	}
	memset(big, 'y', 5000);
	assert_true(write(fd, big, 5000) > 0);
	line_of(fd, line, sizeof(line));
	assert_string_equal(line, ""); /* closed */
	close(fd);
	free(big);
	assert_int_equal(f.stops, 0);
	tear_down(&f);
}

/* More peers than are served; each leaves while its sync is under way; then the server ends with one still waiting. */
static void peers_leave(void **state CL_UNUSED)
{
	struct fixture f;
	int fds[40], last;
	char line[1024];

	set_up(&f, "put:log/*:delay=400");
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(vol_put_file(&f.vol, "file", "abc", 3), 0);
		for (size_t i = 0; i < CL_ARRAY_LEN(fds); i++) {
			fds[i] = dial(f.path);
			(void)!send(fds[i], "{\"do\":\"sync\"}\n", 14, MSG_NOSIGNAL);
		}
		usleep(50000 * round);
		for (size_t i = 0; i < CL_ARRAY_LEN(fds); i++)
			close(fds[i]);
	}
	usleep(300000);
	assert_int_equal(vol_put_file(&f.vol, "file", "abcd", 4), 0);
	last = dial(f.path);
	ask(last, "{\"do\":\"sync\"}\n");
	line_of(last, line, sizeof(line));
	assert_non_null(strstr(line, "progress"));
	tear_down(&f); /* the waiter is answered by volume_close, after the server is gone */
	line_of(last, line, sizeof(line));
	close(last);
}

static void one_socket_one_mount(void **state CL_UNUSED)
{
	struct fixture f;
	struct control *second;
	struct control_options o;
	int fd;

	set_up(&f, "seed=1");
	o = f.o;
	o.metrics = NULL;
	assert_int_equal(control_start(&o, &second), -EADDRINUSE);
	assert_non_null(strstr(err_last(), f.path));
	assert_int_equal(control_check(f.path, NULL), -EADDRINUSE);
	/* What a dead mount left is replaced. */
	control_stop(f.control);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		snprintf(a.sun_path, sizeof(a.sun_path), "%s", f.path);
		assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	}
	close(fd);
	assert_int_equal(control_check(f.path, f.metrics), 0);
	assert_int_equal(control_start(&f.o, &f.control), 0);
	tear_down(&f);
}

static void serves_metrics(void **state CL_UNUSED)
{
	struct fixture f;
	char text[65536];
	size_t n = 0;
	ssize_t got;
	int fd;

	set_up(&f, "seed=1");
	fd = dial(f.metrics + 5);
	ask(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	while (n + 1 < sizeof(text) && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(fd);
	assert_non_null(strstr(text, " 200 OK"));
	assert_non_null(strstr(text, "\nclonefs_lag_seconds "));
	assert_non_null(strstr(text, "mountpoint=\"/nowhere/\\\"mount\\\"\""));
	assert_non_null(strstr(text, "clonefs_state{state=\"serving\"} 1\n"));
	fd = dial(f.metrics + 5);
	ask(fd, "GET / HTTP/1.0\r\n\r\n");
	n = (size_t)read(fd, text, 200);
	text[n < 200 ? n : 200] = '\0';
	assert_non_null(strstr(text, " 404 "));
	close(fd);
	tear_down(&f);
}

static void metrics_stay_at_home(void **state CL_UNUSED)
{
	static const char *const wrong[] = { "0.0.0.0:9000", "9000", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", "[::]:9000", "example.org:80", "" };
	int fd;

	for (size_t i = 0; i < CL_ARRAY_LEN(wrong); i++) {
		assert_int_equal(metrics_listen(wrong[i], &fd), ERR_CONFIG);
		assert_non_null(strstr(err_last(), "loopback"));
	}
	assert_int_equal(metrics_listen("127.0.0.1:0", &fd), 0);
	close(fd);
}

static void asks_a_mount(void **state CL_UNUSED)
{
	/* What is no mount is said to be none; the rest of the client is tested with mounts. */
	assert_int_equal(control_call("/", "{\"do\":\"stat\"}", NULL, NULL), -ENOENT);
	assert_non_null(strstr(err_last(), "not on a mounted"));
	assert_int_equal(control_call("/does/not/exist", "{\"do\":\"stat\"}", NULL, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_its_state),      cmocka_unit_test(sync_waits_and_shows_progress), cmocka_unit_test(unmount_drains_first),
		cmocka_unit_test(refuses_nonsense),     cmocka_unit_test(peers_leave),                   cmocka_unit_test(one_socket_one_mount),
		cmocka_unit_test(serves_metrics),       cmocka_unit_test(metrics_stay_at_home),          cmocka_unit_test(asks_a_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
