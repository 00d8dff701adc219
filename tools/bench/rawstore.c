/*
 * rawstore.c - what the store itself gives, as the project's client reaches it: rawstore ADDRESS MIB put|get|delete
 *
 * put writes MIB mebibytes from memory as objects of 8 MiB, four in flight, get reads them back the same way and compares, delete deletes them.
 * Prints "put <MB/s>" or "get <MB/s>", and "cpu <seconds of this process>".
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "err.h"
#include "store.h"

enum { OBJECT_BYTES = 8 << 20, FLIGHT = 4 };

static struct store *store;
static unsigned objects;
static uint8_t *body;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static unsigned next_object;
static int failed;

static int one(enum store_op op, unsigned n)
{
	struct store_req r;
	char key[64];
	int rc;

	snprintf(key, sizeof key, "bench-raw/%06u", n);
	if (op == STORE_DELETE)
		return store_delete(store, key);
	if (op == STORE_PUT)
		rc = store_put(store, key, body, OBJECT_BYTES, false, &r);
	else
		rc = store_get(store, key, &r);
	if (!rc && op == STORE_GET && (r.data_len != OBJECT_BYTES || memcmp(r.data, body, OBJECT_BYTES)))
		rc = ERR_CORRUPT;
	store_req_reset(&r);
	return rc;
}

static void *work(void *op)
{
	for (;;) {
		unsigned n;
		int rc;

		pthread_mutex_lock(&mu);
		n = next_object++;
		pthread_mutex_unlock(&mu);
		if (n >= objects)
			return NULL;
		rc = one(*(enum store_op *)op, n);
		if (rc) {
			fprintf(stderr, "rawstore: object %u: %s\n", n, err_last()[0] ? err_last() : err_text(rc));
			pthread_mutex_lock(&mu);
			failed = rc;
			pthread_mutex_unlock(&mu);
			return NULL;
		}
	}
}

static double cpu_seconds(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static int all(enum store_op op, const char *what)
{
	struct timespec a, b;
	struct rusage u0, u;
	pthread_t threads[FLIGHT];
	double s;

	getrusage(RUSAGE_SELF, &u0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < FLIGHT; i++)
		if (pthread_create(&threads[i], NULL, work, &op))
			abort();
	for (int i = 0; i < FLIGHT; i++)
		pthread_join(threads[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	getrusage(RUSAGE_SELF, &u);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	if (!failed && op != STORE_DELETE) {
		printf("%s %.1f\n", what, objects * (double)OBJECT_BYTES / 1e6 / s);
		printf("cpu %.2f\n", cpu_seconds(&u) - cpu_seconds(&u0));
	}
	return failed;
}

int main(int argc, char **argv)
{
	const char *what = argc == 4 ? argv[3] : "";
	enum store_op op = !strcmp(what, "put") ? STORE_PUT : !strcmp(what, "get") ? STORE_GET : STORE_DELETE;
	unsigned state = 1;
	int rc;

	if (op == STORE_DELETE && strcmp(what, "delete") != 0) {
		fprintf(stderr, "Usage: rawstore ADDRESS MIB put|get|delete\n");
		return 2;
	}
	objects = (unsigned)strtoul(argv[2], NULL, 10) / (OBJECT_BYTES >> 20);
	body = malloc(OBJECT_BYTES);
	if (!body)
		return 1;
	for (size_t i = 0; i < OBJECT_BYTES; i++) {
		state = state * 1664525 + 1013904223;
		body[i] = (uint8_t)(state >> 24);
	}
	rc = store_open(argv[1], NULL, &store);
	if (rc) {
		fprintf(stderr, "rawstore: %s\n", err_last()[0] ? err_last() : err_text(rc));
		return 1;
	}
	rc = all(op, what);
	store_close(store);
	free(body);
	return rc ? 1 : 0;
}
