/*
 * logmsg.c - messages for the operator.
 *
 * A message is one line made in a local buffer and handed over in one write,
 * so lines of several threads do not mix; settings are atomics. Control bytes
 * become '?': names from the store and from users end up in messages, and must
 * not forge a line or drive a terminal.
 */
#include "logmsg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define LINE_BYTES 2048

static _Atomic(const char *) log_program = "clonefs";
static atomic_int log_level = LOGMSG_NOTICE;
static atomic_int log_fd = 2;
static atomic_bool log_journal;

void logmsg_init(const char *program, enum logmsg_level level)
{
	atomic_store(&log_program, program);
	atomic_store(&log_level, (int)level);
	atomic_store(&log_journal, getenv("JOURNAL_STREAM") != NULL);
}

void logmsg_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

static void write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		/* There is nowhere left to report that reporting failed. */
		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

static size_t put_prefix(char *line, size_t size, enum logmsg_level level)
{
	/* syslog(3): LOG_ERR is 3, LOG_WARNING 4, LOG_NOTICE 5, LOG_INFO 6, LOG_DEBUG 7. */
	static const char *const word[] = { "error: ", "warning: ", "", "", "debug: " };
	unsigned i = level <= LOGMSG_DEBUG ? (unsigned)level : (unsigned)LOGMSG_DEBUG;
	int n;

	if (atomic_load(&log_journal))
		n = snprintf(line, size, "<%u>", 3 + i);
	else
		n = snprintf(line, size, "%s: %s", atomic_load(&log_program), word[i]);
	if (n < 0)
		return 0;
	return (size_t)n < size ? (size_t)n : size - 1;
}

void logmsg(enum logmsg_level level, const char *fmt, ...)
{
	char line[LINE_BYTES];
	int saved_errno = errno;
	size_t len, text;
	va_list ap;
	int n;

	if ((int)level > atomic_load(&log_level))
		return;
	/* One byte is kept for the newline. */
	len = text = put_prefix(line, sizeof(line) - 1, level);
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - 1 - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - 1 - len ? (size_t)n : sizeof(line) - 2 - len;
	line[len] = '\0';
	text_clean(line + text, '?');
	line[len++] = '\n';
	write_all(atomic_load(&log_fd), line, len);
	errno = saved_errno;
}
