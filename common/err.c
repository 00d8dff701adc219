/*
 * err.c - the table of error codes, and one message per thread.
 *
 * The message lives in thread-local storage: nothing is shared, so nothing is
 * locked. The texts of the system's own errnos are made once, lower-cased,
 * because strerror's are capitalised and not all of its kin are thread-safe.
 */
#include "err.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 1024

static const struct {
	int code;
	int parent; /* what a system call would return */
	const char *text;
} table[] = {
	{ ERR_PARKED, EAGAIN, "the answer comes later" },
	{ ERR_PRECONDITION, EEXIST, "precondition failed" },
	{ ERR_CORRUPT, EIO, "data is corrupt" },
	{ ERR_DAMAGED, EIO, "the volume is damaged: an object is missing" },
	{ ERR_FENCED, EROFS, "another writer took the volume over" },
	{ ERR_NEWER_FORMAT, EOPNOTSUPP, "written by a newer version of this program" },
	{ ERR_NOT_A_VOLUME, ENOENT, "not a volume" },
	{ ERR_VOLUME_EXISTS, EEXIST, "there is a volume already" },
	{ ERR_VOLUME_BUSY, EBUSY, "the volume is in use" },
	{ ERR_AUTH, EACCES, "the store refused the credentials" },
	{ ERR_NO_BUCKET, ENOENT, "no such bucket" },
	{ ERR_CLOCK_SKEW, EACCES, "the clock differs too much from the store's" },
	{ ERR_UNAVAILABLE, EIO, "the store is unavailable" },
	{ ERR_UNSUPPORTED, EOPNOTSUPP, "the store does not support this" },
	{ ERR_NO_FENCING, EOPNOTSUPP, "the store ignores If-None-Match" },
	{ ERR_CONFIG, EINVAL, "bad configuration" },
	{ ERR_CRASHED, EIO, "the simulated machine crashed" },
	{ ERR_READ_ONLY, EROFS, "the volume is read-only" },
	{ ERR_NO_NAMES, EIO, "the name service does not answer (see nsswitch.conf): owners are not known" },
};

#define SYSTEM_CODES 256
#define SYSTEM_TEXT_BYTES 64

static char system_text[SYSTEM_CODES][SYSTEM_TEXT_BYTES];
static pthread_once_t system_text_once = PTHREAD_ONCE_INIT;
static _Thread_local char message[MESSAGE_BYTES];

static void system_text_fill(void)
{
	for (int i = 1; i < SYSTEM_CODES; i++) {
		const char *s = strerrordesc_np(i);
		char *t = system_text[i];

		if (s == NULL) {
			snprintf(t, SYSTEM_TEXT_BYTES, "error %d", i);
			continue;
		}
		snprintf(t, SYSTEM_TEXT_BYTES, "%s", s);
		/* "RFS specific error" keeps its name, "No such file" becomes ours. */
		if (!isupper((unsigned char)t[1]))
			t[0] = (char)tolower((unsigned char)t[0]);
	}
}

int err_errno(int code)
{
	if (code == 0)
		return 0;
	for (size_t i = 0; i < CL_ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].parent;
	/* The kernel takes errnos up to 4095; anything else is a code nobody told us of. */
	if (code < 0 && code > -4096)
		return -code;
	return EIO;
}

const char *err_text(int code)
{
	if (code == 0)
		return "success";
	for (size_t i = 0; i < CL_ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].text;
	if (code < 0 && code > -SYSTEM_CODES) {
		pthread_once(&system_text_once, system_text_fill);
		return system_text[-code];
	}
	return "unknown error";
}

int err_set(int code, const char *fmt, ...)
{
	/* The arguments may point into the old message: err_set(rc, "%s: %s", what, err_last()). */
	char text[MESSAGE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	memcpy(message, text, strlen(text) + 1);
	return code;
}

const char *err_last(void)
{
	return message;
}

void err_clear(void)
{
	message[0] = '\0';
}
