/* test_health.c - checks: what a row of results makes of a member, and real ones of what takes connections, answers, answers badly, and is not there. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "compiler.h"
#include "health.h"

#define LIMIT_S 60

static void test_judge(void **state CL_UNUSED)
{
	static const struct { const char *results, *health; } rows[] = { /* + good, - failed; u unknown, U up, D down */
		{ "+++", "uUU" }, { "--+-", "uuuu" }, { "---+-++", "uuDDDDU" }, { "++--+---", "uUUUUUUD" }, { "+-+-+-+-", "uuuuuuuu" },
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(rows); i++) {
		enum cluster_health h = CLUSTER_UNKNOWN;
		int in_a_row = 0;

		for (size_t j = 0; rows[i].results[j]; j++) {
			h = health_judge(h, rows[i].results[j] == '+', &in_a_row);
			assert_int_equal("uUD"[h], rows[i].health[j]);
		}
	}
}

/* Answers each connection with a line, and closes it. */
struct server { int fd; const char *answer; pthread_t thread; unsigned port; };

static void *serve(void *user)
{
	struct server *s = user;
	char request[4096];
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		if (recv(fd, request, sizeof(request), 0) > 0)
			(void)!write(fd, s->answer, strlen(s->answer));
		close(fd);
	}
	return NULL;
}

static void start(struct server *s, const char *answer)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	s->answer = answer;
	s->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, len) == 0 && listen(s->fd, 16) == 0 && getsockname(s->fd, (struct sockaddr *)&a, &len) == 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static void until(struct health *h, const char *member, enum cluster_health want, char *ret_why)
{
	time_t end = time(NULL) + LIMIT_S;

	while (h->sees(h, member, ret_why) != want) {
		assert_true(time(NULL) < end);
		usleep(50000);
	}
}

static void test_real(void **state CL_UNUSED)
{
	struct health_target t[] = {
		{ "good", "127.0.0.1", "www.example.org", "/up", 0, CLUSTER_HTTP }, { "bad", "127.0.0.1", "www.example.org", "", 0, CLUSTER_HTTP },
		{ "tcp", "127.0.0.1", "www.example.org", "", 0, CLUSTER_TCP }, { "gone", "127.0.0.1", "www.example.org", "", 1, CLUSTER_TCP },
		{ "plain", "127.0.0.1", "www.example.org", "", 0, CLUSTER_HTTPS },
	};
	struct server good, bad;
	struct health *h;
	char why[128];

	start(&good, "HTTP/1.0 302 Found\r\nLocation: http://nowhere.invalid/\r\nContent-Length: 0\r\n\r\n");
	start(&bad, "HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n");
	t[0].port = t[2].port = t[4].port = good.port;
	t[1].port = bad.port;
	assert_int_equal(health_open(&h), 0);
	assert_int_equal(h->sees(h, "good", why), CLUSTER_UNKNOWN);
	assert_int_equal(h->watch(h, t, CL_ARRAY_LEN(t)), 0);
	until(h, "good", CLUSTER_UP, why);
	assert_string_equal(why, "");
	until(h, "tcp", CLUSTER_UP, why);
	until(h, "bad", CLUSTER_DOWN, why);
	assert_string_equal(why, "HTTP status 503");
	until(h, "gone", CLUSTER_DOWN, why);
	assert_true(why[0]);
	until(h, "plain", CLUSTER_DOWN, why); /* no TLS there */
	assert_int_equal(h->watch(h, t, 1), 0); /* the others are forgotten, what is known of this one stays */
	assert_int_equal(h->sees(h, "bad", why), CLUSTER_UNKNOWN);
	assert_int_equal(h->sees(h, "good", why), CLUSTER_UP);
	health_close(h);
	stop(&good);
	stop(&bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_judge), cmocka_unit_test(test_real) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
