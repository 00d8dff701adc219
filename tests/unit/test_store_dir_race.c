/*
 * test_store_dir_race.c - several processes on one directory store, and writers killed at any moment.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../lib/dir_fixture.h"
#include "hash.h"

/* --- several processes --- */

#define WRITERS 6
#define SWAPS 15

static int swap_once(struct store *s)
{
	char etag[STORE_ETAG_MAX], text[16] = "";
	struct store_req r;
	struct iovec iov = { .iov_base = text };
	int rc;

	if (store_get(s, "counter", &r))
		return -EIO;
	snprintf(text, sizeof(text), "%.*s", (int)r.data_len, (const char *)r.data);
	memcpy(etag, r.etag, sizeof(etag));
	store_req_reset(&r);
	snprintf(text, sizeof(text), "%d", atoi(text) + 1);
	iov.iov_len = strlen(text);
	store_req_init(&r, STORE_PUT);
	r.key = "counter";
	r.body = &iov;
	r.body_count = 1;
	r.if_match = etag;
	rc = store_call(s, &r);
	store_req_reset(&r);
	return rc;
}

/* Adds to one number by compare-and-swap, and makes as many of a set of names as it can. Exits with the number of names won. */
static void contender(void)
{
	struct store *s = open_store();
	int won = 0;

	for (int done = 0; done < SWAPS;) {
		int rc = swap_once(s);

		if (rc != 0 && rc != ERR_PRECONDITION)
			_exit(200);
		done += rc == 0;
	}
	for (int i = 0; i < 40; i++) {
		char key[32];

		snprintf(key, sizeof(key), "race/%d/claim", i);
		won += try_put(s, key, "mine", true) == 0;
	}
	store_close(s);
	_exit(won);
}

static void test_processes(void **state)
{
	char want[16];
	struct store *s = open_store();
	int won = 0;

	(void)state;
	put(s, "counter", "0");
	store_close(s);
	for (int i = 0; i < WRITERS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			contender();
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 40);
		won += WEXITSTATUS(status);
	}
	assert_int_equal(won, 40);
	s = open_store();
	snprintf(want, sizeof(want), "%d", WRITERS * SWAPS);
	expect(s, "counter", want);
	store_close(s);
}

/* Directories come and go under writers and deleters: nothing that was put and not deleted is lost, nothing fails. */
static void comings_and_goings(unsigned id)
{
	struct store *s = open_store();
	char key[64], keep[64];

	for (int i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "come/go/deep/%u", id);
		snprintf(keep, sizeof(keep), "come/go/keep-%u/%d", id, i);
		if (try_put(s, key, "x", i % 2) || (i % 10 == 0 && try_put(s, keep, "kept", true)) || store_delete(s, key)) {
			fprintf(stderr, "%s\n", err_last());
			_exit(1);
		}
	}
	store_close(s);
	_exit(0);
}

static void test_comings_and_goings(void **state)
{
	struct store *s;
	int n = 0;

	(void)state;
	s = open_store();
	put(s, "other", "x");
	store_close(s);
	for (unsigned i = 0; i < 4; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			comings_and_goings(i);
	}
	for (int i = 0; i < 4; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	s = open_store();
	assert_int_equal(store_list_all(s, "come/", NULL, count_one, &n), 0);
	assert_int_equal(n, 4 * 6);
	store_close(s);
}

/* --- killed writers --- */

#define BODY_BYTES 100000
#define KILLS 40

/* A body whose every part says what the whole must be: a number, repeated; the last 8 bytes are the hash of the rest. */
static void make_body(uint8_t *p, uint64_t number)
{
	uint64_t hash;

	for (size_t i = 0; i + 8 <= BODY_BYTES; i += 8)
		memcpy(p + i, &number, 8);
	hash = hash_xxh3(p, BODY_BYTES - 8, 1);
	memcpy(p + BODY_BYTES - 8, &hash, 8);
}

static uint64_t body_number(const uint8_t *p, size_t len)
{
	uint64_t number, hash;

	assert_int_equal(len, BODY_BYTES);
	memcpy(&number, p, 8);
	memcpy(&hash, p + BODY_BYTES - 8, 8);
	assert_int_equal(hash, hash_xxh3(p, BODY_BYTES - 8, 1));
	return number;
}

/* Writes until it is killed: creates, replaces and swaps; tells each number on the pipe once its PUT was acknowledged. */
static void doomed(int pipe_fd, uint64_t first)
{
	static uint8_t body[BODY_BYTES];
	struct store *s = open_store();
	char key[64];

	for (uint64_t i = first;; i++) {
		struct store_req r;

		make_body(body, i);
		snprintf(key, sizeof(key), "log/%llu/%llu", (unsigned long long)(i / 16), (unsigned long long)i);
		if (store_put(s, key, body, sizeof(body), true, &r))
			_exit(1);
		store_req_reset(&r);
		if (store_put(s, "latest", body, sizeof(body), false, &r))
			_exit(2);
		store_req_reset(&r);
		if (write(pipe_fd, &i, sizeof(i)) != sizeof(i))
			_exit(3);
	}
}

static void check_survivors(uint64_t acknowledged)
{
	struct store *s = open_store();
	struct store_req r;
	char key[64];

	if (acknowledged > 0) {
		assert_int_equal(store_get(s, "latest", &r), 0);
		assert_true(body_number(r.data, r.data_len) >= acknowledged);
		store_req_reset(&r);
	}
	/* Every acknowledged one is there and whole; the one that was under way is whole or not there. */
	for (uint64_t i = acknowledged > 20 ? acknowledged - 20 : 1; i <= acknowledged + 1; i++) {
		snprintf(key, sizeof(key), "log/%llu/%llu", (unsigned long long)(i / 16), (unsigned long long)i);
		if (store_get(s, key, &r) == 0)
			assert_int_equal(body_number(r.data, r.data_len), i);
		else if (i <= acknowledged || r.result != -ENOENT)
			fail_msg("%s", err_last());
		store_req_reset(&r);
	}
	store_close(s);
}

static void test_killed_writers(void **state)
{
	struct timespec pause = { 0 };
	uint64_t acknowledged = 0;

	(void)state;
	srand(42);
	for (int round = 0; round < KILLS; round++) {
		uint64_t i, next = acknowledged + 1;
		int fds[2], status;
		struct store_req r;
		struct store *s;
		char key[64];
		pid_t pid;

		/* What was under way may have been created, unacknowledged; so in several rounds in a row. */
		s = open_store();
		for (bool made = true; made; next += made) {
			snprintf(key, sizeof(key), "log/%llu/%llu", (unsigned long long)(next / 16), (unsigned long long)next);
			made = store_get(s, key, &r) == 0;
			store_req_reset(&r);
		}
		store_close(s);
		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			doomed(fds[1], next);
		close(fds[1]);
		pause.tv_nsec = (3 + rand() % 30) * 1000000L + rand() % 1000000;
		/* In half of the rounds it has come to something, however slow the disk; in the others it may be cut off early. */
		if (round % 2 && read(fds[0], &i, sizeof(i)) == sizeof(i))
			acknowledged = i;
		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(fds[0], &i, sizeof(i)) == sizeof(i))
			acknowledged = i;
		close(fds[0]);
		check_survivors(acknowledged);
		assert_int_equal(leftovers(), 0); /* opening cleaned up */
	}
	assert_true(acknowledged >= KILLS / 2); /* else it tried nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comings_and_goings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_writers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
