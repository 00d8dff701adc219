/*
 * wedge.c - what a mount is asked while its store is away: writers that keep count of what was acknowledged, and probes that
 * measure how long reading, df and the control socket take.
 *
 *   wedge fill FILE MIB          a file for the probe to read
 *   wedge write DIR WRITERS [PAUSE_MS]
 *                                as many threads write, each in its own file or directory, fsync each time (and pause), until SIGTERM;
 *                                then a line "<writer> <acknowledged>" for each
 *   wedge check DIR              such lines on stdin: is all of it there?
 *   wedge probe DIR FILE SECONDS asks all the time, for that long; prints how often and how long. 1: an answer was wrong, or took
 *                                longer than BOUND_MS, which no human would take for an answer
 *   wedge ballast MIB            holds that much memory, locked, until SIGTERM
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "compiler.h"
#include "control.h"
#include "err.h"
#include "../lib/rng.h"

#define RECORD 16384u
#define SMALL 512u
#define FILL_WRITER 1000u
#define BOUND_MS 10000.0
#define WRITERS_MAX 256

static atomic_bool stop;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fill(uint8_t *b, size_t len, unsigned writer, uint64_t seq)
{
	uint64_t state = (uint64_t)writer << 40 ^ seq;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t x = rng_next(&state);

		memcpy(b + i, &x, 8);
	}
}

static int die(const char *what)
{
	fprintf(stderr, "wedge: %s: %s\n", what, strerror(errno));
	return 1;
}

static int fill_file(const char *path, uint64_t mib)
{
	static uint8_t b[RECORD];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return die(path);
	for (uint64_t seq = 0; seq < (mib << 20) / RECORD; seq++) {
		fill(b, RECORD, FILL_WRITER, seq);
		if (write(fd, b, RECORD) != (ssize_t)RECORD)
			return die(path);
	}
	return fsync(fd) || close(fd) ? die(path) : 0;
}

/* --- writers --- */

struct writer { pthread_t thread; const char *dir; unsigned n, pause_ms; uint64_t acked; int error; };

/* Even ones append to a file, odd ones make files. */
static void path_of(const struct writer *w, uint64_t seq, char *ret, size_t size)
{
	if (w->n % 2 == 0)
		snprintf(ret, size, "%s/w%u", w->dir, w->n);
	else
		snprintf(ret, size, "%s/d%u/%" PRIu64, w->dir, w->n, seq);
}

static bool write_one(struct writer *w, uint64_t seq)
{
	bool appends = w->n % 2 == 0;
	size_t len = appends ? RECORD : SMALL;
	uint8_t b[RECORD];
	char path[512];
	int fd;
	bool ok;

	path_of(w, seq, path, sizeof(path));
	fill(b, len, w->n, seq);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok = fd >= 0 && pwrite(fd, b, len, appends ? (off_t)(seq * RECORD) : 0) == (ssize_t)len && fsync(fd) == 0;
	if (!ok)
		w->error = errno;
	if (fd >= 0)
		close(fd);
	return ok;
}

static void *write_all(void *arg)
{
	struct writer *w = arg;
	char dir[512];

	snprintf(dir, sizeof(dir), "%s/d%u", w->dir, w->n);
	if (w->n % 2 && mkdir(dir, 0755) && errno != EEXIST)
		w->error = errno;
	while (!w->error && !atomic_load(&stop) && write_one(w, w->acked)) {
		w->acked++;
		usleep(w->pause_ms * 1000);
	}
	return NULL;
}

static void wait_for_end(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigwait(&set, &sig);
}

static int write_until_told(const char *dir, unsigned count, unsigned pause_ms)
{
	static struct writer w[WRITERS_MAX];
	int bad = 0;

	if (count == 0 || count > WRITERS_MAX)
		return 2;
	for (unsigned i = 0; i < count; i++) {
		w[i] = (struct writer){ .dir = dir, .n = i, .pause_ms = pause_ms };
		if (pthread_create(&w[i].thread, NULL, write_all, &w[i]))
			return die("thread");
	}
	wait_for_end();
	atomic_store(&stop, true);
	for (unsigned i = 0; i < count; i++) {
		pthread_join(w[i].thread, NULL);
		printf("%u %" PRIu64 "\n", i, w[i].acked);
		if (w[i].error) {
			fprintf(stderr, "wedge: writer %u after %" PRIu64 ": %s\n", i, w[i].acked, strerror(w[i].error));
			bad = 1;
		}
	}
	return bad;
}

static bool check_one(const struct writer *w, uint64_t seq)
{
	bool appends = w->n % 2 == 0;
	size_t len = appends ? RECORD : SMALL;
	uint8_t want[RECORD], got[RECORD];
	char path[512];
	int fd;
	bool ok;

	path_of(w, seq, path, sizeof(path));
	fill(want, len, w->n, seq);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok = fd >= 0 && pread(fd, got, len, appends ? (off_t)(seq * RECORD) : 0) == (ssize_t)len && memcmp(want, got, len) == 0;
	if (!ok)
		fprintf(stderr, "wedge: %s: what was acknowledged as %" PRIu64 " of writer %u is not there\n", path, seq, w->n);
	if (fd >= 0)
		close(fd);
	return ok;
}

static int check_all(const char *dir)
{
	struct writer w = { .dir = dir };
	uint64_t acked, checked = 0;

	while (scanf("%u %" SCNu64, &w.n, &acked) == 2)
		for (uint64_t seq = 0; seq < acked; seq++, checked++)
			if (!check_one(&w, seq))
				return 1;
	printf("%" PRIu64 " acknowledged writes are there\n", checked);
	return checked ? 0 : 1;
}

/* --- probes --- */

struct probe {
	const char *name, *dir, *file;
	bool (*ask)(struct probe *p);
	double pause_ms, seconds;
	pthread_t thread;
	int fd;
	uint64_t rng;
	uint8_t *buf, *want;
	uint64_t file_records;
	double *took;
	size_t count, cap;
	bool failed;
};

static bool ask_read(struct probe *p)
{
	uint64_t seq = rng_below(&p->rng, p->file_records), at = rng_below(&p->rng, RECORD / 4096) * 4096;

	if (pread(p->fd, p->buf, 4096, (off_t)(seq * RECORD + at)) != 4096)
		return false;
	fill(p->want, RECORD, FILL_WRITER, seq);
	return memcmp(p->buf, p->want + at, 4096) == 0;
}

static bool ask_df(struct probe *p)
{
	struct statvfs st;

	return statvfs(p->dir, &st) == 0 && st.f_blocks > 0;
}

/* Not a name that the kernel knows: it asks the mount. */
static bool ask_lookup(struct probe *p)
{
	struct stat st;
	char path[512];

	snprintf(path, sizeof(path), "%s/none-%016" PRIx64, p->dir, rng_next(&p->rng));
	return stat(path, &st) < 0 && errno == ENOENT;
}

static bool ask_stat(struct probe *p)
{
	return control_call(p->dir, "{\"do\":\"stat\"}", NULL, NULL) == 0;
}

/* Beside them, what this machine takes to wake another thread and be woken by it: no mount has a part in that. */
static int ping[2], pong[2];

static void *answer_pings(void *arg)
{
	char c;

	while (read(ping[0], &c, 1) == 1 && write(pong[1], &c, 1) == 1)
		;
	return arg;
}

static bool ask_nobody(struct probe *p CL_UNUSED)
{
	char c = 0;

	return write(ping[1], &c, 1) == 1 && read(pong[0], &c, 1) == 1;
}

static void *probe_run(void *arg)
{
	struct probe *p = arg;
	double end = now_ms() + p->seconds * 1e3;

	while (!p->failed && p->count < p->cap && now_ms() < end) {
		struct timespec t = { 0, (long)(p->pause_ms * 1e6) };
		double start = now_ms();

		p->failed = !p->ask(p);
		if (p->failed)
			fprintf(stderr, "wedge: %s: a wrong answer (%s)\n", p->name, strerror(errno));
		p->took[p->count++] = now_ms() - start;
		nanosleep(&t, NULL);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int probe_prepare(struct probe *p, const char *dir, const char *file, double seconds)
{
	struct stat st;

	p->dir = dir;
	p->file = file;
	p->seconds = seconds;
	p->rng = (uint64_t)(uintptr_t)p;
	p->cap = (size_t)(seconds * 1e3 / p->pause_ms) + 16;
	p->took = calloc(p->cap, sizeof(*p->took));
	p->want = malloc(RECORD);
	p->fd = open(file, O_RDONLY | O_DIRECT | O_CLOEXEC); /* so that the mount answers, not the kernel's cache */
	if (!p->took || !p->want || posix_memalign((void **)&p->buf, 4096, 4096) || p->fd < 0 || fstat(p->fd, &st))
		return die(file);
	p->file_records = (uint64_t)st.st_size / RECORD;
	return p->file_records ? 0 : 1;
}

static int probe_all(const char *dir, const char *file, double seconds)
{
	static struct probe probes[] = {
		{ .name = "cached read", .ask = ask_read, .pause_ms = 5 }, { .name = "lookup", .ask = ask_lookup, .pause_ms = 20 },
		{ .name = "df", .ask = ask_df, .pause_ms = 20 }, { .name = "clonefs stat", .ask = ask_stat, .pause_ms = 50 },
		{ .name = "(no mount)", .ask = ask_nobody, .pause_ms = 5 },
	};
	pthread_t other;
	int bad = 0;

	if (pipe(ping) || pipe(pong) || pthread_create(&other, NULL, answer_pings, NULL))
		return die("pipe");

	for (size_t i = 0; i < CL_ARRAY_LEN(probes); i++)
		if (probe_prepare(&probes[i], dir, file, seconds))
			return 1;
	for (size_t i = 0; i < CL_ARRAY_LEN(probes); i++)
		if (pthread_create(&probes[i].thread, NULL, probe_run, &probes[i]))
			return die("thread");
	for (size_t i = 0; i < CL_ARRAY_LEN(probes); i++) {
		struct probe *p = &probes[i];
		size_t n;

		pthread_join(p->thread, NULL);
		n = p->count;
		qsort(p->took, n, sizeof(*p->took), by_size);
		bad |= p->failed || n == 0 || p->took[n - 1] > BOUND_MS;
		if (n)
			printf("%-12s %7zu times, ms: p50 %.2f  p99 %.2f  p99.9 %.2f  p100 %.2f\n", p->name, n, p->took[n / 2],
			       p->took[n * 99 / 100], p->took[n * 999 / 1000], p->took[n - 1]);
	}
	return bad;
}

static int ballast(uint64_t mib)
{
	void *p = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mlock(p, mib << 20))
		return die("ballast");
	printf("%" PRIu64 " MiB locked\n", mib);
	fflush(stdout);
	wait_for_end();
	return 0;
}

int main(int argc, char **argv)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (argc > 1 && (!strcmp(argv[1], "write") || !strcmp(argv[1], "ballast")))
		pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there are threads */
	if (argc == 4 && !strcmp(argv[1], "fill"))
		return fill_file(argv[2], strtoull(argv[3], NULL, 10));
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "write"))
		return write_until_told(argv[2], (unsigned)strtoul(argv[3], NULL, 10), argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0);
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check_all(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "probe"))
		return probe_all(argv[2], argv[3], strtod(argv[4], NULL));
	if (argc == 3 && !strcmp(argv[1], "ballast"))
		return ballast(strtoull(argv[2], NULL, 10));
	fprintf(stderr, "Usage: wedge fill FILE MIB | write DIR WRITERS | check DIR | probe DIR FILE SECONDS | ballast MIB\n");
	return 2;
}
