/*
 * secret.c - secrets in memory. libsodium's guarded allocations are locked,
 * marked MADV_DONTDUMP and wiped by sodium_free. Failing to lock (a low
 * RLIMIT_MEMLOCK) is not an error: it only weakens the protection from swap.
 */
#include "secret.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"

struct secret *secret_new(const char *p, size_t len)
{
	struct secret *s;

	if (len > SIZE_MAX / 4 || sodium_init() < 0)
		return NULL;
	/* sodium_malloc puts the end of the allocation at a page's end: round up, so that the struct stays aligned. */
	s = sodium_malloc((sizeof(*s) + len + 1 + 15) & ~(size_t)15);
	if (!s)
		return NULL;
	s->len = len;
	if (p)
		memcpy(s->text, p, len);
	else
		memset(s->text, 0, len);
	s->text[len] = '\0';
	return s;
}

void secret_free(struct secret *s)
{
	sodium_free(s);
}

int secret_read_fd(int fd, size_t max_bytes, struct secret **ret)
{
	struct secret *s = secret_new(NULL, max_bytes + 1);
	size_t n = 0;
	int rc = -ENOMEM;

	if (!s)
		return rc;
	while (n <= max_bytes) {
		ssize_t got = read(fd, s->text + n, max_bytes + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = -errno;
			goto fail;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > max_bytes) {
		rc = -EFBIG;
		goto fail;
	}
	s->text[n] = '\0';
	s->len = n;
	*ret = s;
	return 0;
fail:
	secret_free(s);
	return rc;
}

int secret_read_file(const char *path, size_t max_bytes, struct secret **ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = secret_read_fd(fd, max_bytes, ret);
	close(fd);
	return rc;
}

void secret_shield(const void *p, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p & ~(page - 1);
	uintptr_t to = ((uintptr_t)p + len + page - 1) & ~(page - 1);

	(void)madvise((void *)from, to - from, MADV_DONTDUMP); /* best effort: there is nothing else to be done */
}

static void wiping_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* Not realloc: that would free the old block without wiping it. */
static void *wiping_realloc(void *p, size_t size)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q;

	if (p && size <= old && size >= old / 2)
		return p;
	q = malloc(size ? size : 1);
	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, old < size ? old : size);
	wiping_free(p);
	return q;
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_rc;

static void curl_start(void)
{
	curl_rc = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup, calloc);
}

int secret_curl_init(void)
{
	pthread_once(&curl_once, curl_start);
	if (curl_rc != CURLE_OK)
		return err_set(-EIO, "cannot start libcurl: %s", curl_easy_strerror(curl_rc));
	return 0;
}
