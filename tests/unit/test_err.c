/* test_err.c - codes, texts and messages; and the operator's log. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "err.h"
#include "logmsg.h"

static void test_codes(void **state)
{
	(void)state;
	assert_int_equal(err_errno(0), 0);
	assert_int_equal(err_errno(-ENOENT), ENOENT);
	assert_int_equal(err_errno(ERR_FENCED), EROFS);
	assert_int_equal(err_errno(ERR_READ_ONLY), EROFS);
	assert_int_equal(err_errno(ERR_CORRUPT), EIO);
	assert_int_equal(err_errno(ERR_VOLUME_EXISTS), EEXIST);
	assert_int_equal(err_errno(ERR_CONFIG), EINVAL);
	/* Whatever comes, it is an errno that the kernel takes. */
	for (int code = -20000; code < 100; code++)
		if (code != 0)
			assert_in_range(err_errno(code), 1, 4095);
	assert_int_equal(err_errno(-2147483647 - 1), EIO);
}

static void test_texts(void **state)
{
	(void)state;
	assert_string_equal(err_text(0), "success");
	assert_string_equal(err_text(-ENOENT), "no such file or directory");
	assert_string_equal(err_text(-ENOSPC), "no space left on device");
	assert_string_equal(err_text(-EIO), "input/output error");
	/* Every private code has a text of its own. */
	for (int code = ERR_PARKED; code >= ERR_NO_NAMES; code--) {
		const char *text = err_text(code);

		assert_true(text[0] != '\0' && strcmp(text, "unknown error") != 0);
		for (int other = ERR_PARKED; other > code; other--)
			assert_string_not_equal(text, err_text(other));
	}
	for (int code = -20000; code < 20000; code++)
		assert_true(err_text(code) != NULL && err_text(code)[0] != '\0');
	for (int code = -1; code > -134; code--) {
		const char *text = err_text(code);

		assert_false(isupper((unsigned char)text[0]) && islower((unsigned char)text[1]));
	}
}

static void test_message(void **state)
{
	char longest[3000];

	(void)state;
	err_clear();
	assert_string_equal(err_last(), "");
	assert_int_equal(err_set(-EIO, "cannot read %s: %d", "x", 5), -EIO);
	assert_string_equal(err_last(), "cannot read x: 5");
	/* A message may quote the one before. */
	assert_int_equal(err_set(ERR_CORRUPT, "mount: %s", err_last()), ERR_CORRUPT);
	assert_string_equal(err_last(), "mount: cannot read x: 5");
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	err_set(-EIO, "%s", longest);
	assert_int_equal(strlen(err_last()), 1023);
	err_clear();
	assert_string_equal(err_last(), "");
}

static void *other_thread(void *arg)
{
	(void)arg;
	if (err_last()[0] != '\0')
		return (void *)1;
	err_set(-EIO, "theirs");
	return strcmp(err_last(), "theirs") == 0 ? NULL : (void *)1;
}

static void test_threads(void **state)
{
	pthread_t thread;
	void *bad;

	(void)state;
	err_set(-EIO, "ours");
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, &bad), 0);
	assert_null(bad);
	assert_string_equal(err_last(), "ours");
}

/* What one message writes. */
static const char *logged(enum logmsg_level level, const char *text)
{
	static char out[4096];
	int fds[2];
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	logmsg_set_fd(fds[1]);
	errno = 77;
	logmsg(level, "%s", text);
	assert_int_equal(errno, 77);
	close(fds[1]);
	n = read(fds[0], out, sizeof(out) - 1);
	close(fds[0]);
	logmsg_set_fd(2);
	assert_true(n >= 0);
	out[n] = '\0';
	return out;
}

static void test_log(void **state)
{
	char longest[5000];
	const char *line;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	logmsg_init("prog", LOGMSG_NOTICE);
	assert_string_equal(logged(LOGMSG_NOTICE, "hello"), "prog: hello\n");
	assert_string_equal(logged(LOGMSG_ERROR, "hello"), "prog: error: hello\n");
	assert_string_equal(logged(LOGMSG_INFO, "hello"), "");
	/* Nobody forges a line of ours or drives the terminal. */
	assert_string_equal(logged(LOGMSG_WARNING, "a\nprog: b\x1b[0m\x7f"), "prog: warning: a?prog: b?[0m?\n");
	assert_string_equal(logged(LOGMSG_NOTICE, "\xc3\xa9"), "prog: \xc3\xa9\n");
	setenv("JOURNAL_STREAM", "8:1234", 1);
	logmsg_init("prog", LOGMSG_DEBUG);
	assert_string_equal(logged(LOGMSG_ERROR, "hello"), "<3>hello\n");
	assert_string_equal(logged(LOGMSG_WARNING, "hello"), "<4>hello\n");
	assert_string_equal(logged(LOGMSG_NOTICE, "hello"), "<5>hello\n");
	assert_string_equal(logged(LOGMSG_INFO, "hello"), "<6>hello\n");
	assert_string_equal(logged(LOGMSG_DEBUG, "hello"), "<7>hello\n");
	unsetenv("JOURNAL_STREAM");
	logmsg_init("prog", LOGMSG_NOTICE);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	line = logged(LOGMSG_NOTICE, longest);
	assert_in_range(strlen(line), 1000, 2048);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes), cmocka_unit_test(test_texts), cmocka_unit_test(test_message),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
