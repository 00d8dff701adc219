/*
 * aiotest.c - direct writes that nobody waits for (io_submit), beside what the kernel remembers of the file.
 *
 * usage: aiotest sync FILE dsync|sync|rwf   one write of a page at the file's beginning, through O_DSYNC, O_SYNC or RWF_DSYNC; returns when it is complete
 *        aiotest pages FILE SECONDS         all pages are written in rounds while threads read them through the page cache: then both have the same
 *        aiotest times FILE SECONDS         a page is written while a thread stats the file: then stat tells the time that the file system has
 * Exit: 0, 1 (not so: says what), 2 (usage, or it could not be tried).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 64u
#define READERS 3u

static const char *path;
static atomic_bool stop;
static aio_context_t aio;

static int cannot(const char *what)
{
	fprintf(stderr, "aiotest: %s: cannot %s: %s\n", path, what, strerror(errno));
	exit(2);
}

static int open_file(int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		cannot("open it");
	return fd;
}

static uint8_t *aligned(size_t n)
{
	void *p;

	if (posix_memalign(&p, PAGE, n))
		cannot("allocate memory");
	memset(p, 0, n);
	return p;
}

/* Submits a write of each of count pages, and waits for all. */
static void write_pages(int fd, uint8_t *pages, unsigned count, int rw_flags)
{
	struct iocb cb[PAGES] = { { 0 } }, *list[PAGES];
	struct io_event e[PAGES];
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++) {
		list[i] = &cb[i];
		cb[i].aio_fildes = (uint32_t)fd;
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_buf = (uint64_t)(uintptr_t)(pages + (size_t)i * PAGE);
		cb[i].aio_nbytes = PAGE;
		cb[i].aio_offset = (int64_t)i * PAGE;
		cb[i].aio_rw_flags = rw_flags;
	}
	for (unsigned sent = 0; sent < count;) {
		long n = syscall(SYS_io_submit, aio, (long)(count - sent), list + sent);

		if (n <= 0)
			cannot("submit a write");
		sent += (unsigned)n;
	}
	while (done < count) {
		long n = syscall(SYS_io_getevents, aio, 1L, (long)(count - done), e, NULL);

		if (n < 0 && errno != EINTR)
			cannot("wait for a write");
		for (long i = 0; i < n; i++) {
			if (e[i].res != PAGE) {
				fprintf(stderr, "aiotest: %s: a write ended with %lld\n", path, (long long)e[i].res);
				exit(2);
			}
		}
		done += n > 0 ? (unsigned)n : 0;
	}
}

static int write_synced(const char *how)
{
	int fd = open_file(O_RDWR | O_DIRECT | (strcmp(how, "dsync") == 0 ? O_DSYNC : strcmp(how, "sync") == 0 ? O_SYNC : 0));
	uint8_t *page = aligned(PAGE);

	memset(page, 'y', PAGE);
	write_pages(fd, page, 1, strcmp(how, "rwf") == 0 ? RWF_DSYNC : 0);
	free(page);
	close(fd);
	return 0;
}

static void *read_pages(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	int fd = open_file(O_RDONLY);
	uint8_t b[PAGE];

	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (!stop)
		if (pread(fd, b, sizeof b, (off_t)((unsigned)rand_r(&seed) % PAGES) * PAGE) < 0)
			cannot("read it");
	close(fd);
	return NULL;
}

static void *stat_it(void *arg)
{
	struct statx st;

	(void)arg;
	while (!stop)
		if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &st))
			cannot("stat it");
	return NULL;
}

static void start(pthread_t *t, unsigned count, void *(*run)(void *), unsigned round)
{
	stop = false;
	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&t[i], NULL, run, (void *)(uintptr_t)(i + READERS * round)))
			cannot("start a thread");
}

static void end(pthread_t *t, unsigned count)
{
	stop = true;
	for (unsigned i = 0; i < count; i++)
		pthread_join(t[i], NULL);
}

static int pages_are_so(int cached, int direct, uint8_t *page, unsigned round)
{
	uint32_t was, is;
	uint8_t b[PAGE];

	for (unsigned i = 0; i < PAGES; i++) {
		if (pread(cached, b, PAGE, (off_t)i * PAGE) != PAGE || pread(direct, page, PAGE, (off_t)i * PAGE) != PAGE)
			cannot("read it");
		memcpy(&was, b, sizeof was);
		memcpy(&is, page, sizeof is);
		if (was != round || is != round) {
			printf("page %u: %u was written, the page cache has %u, a direct read %u\n", i, round, was, is);
			return 1;
		}
	}
	return 0;
}

static int pages(time_t until)
{
	int direct = open_file(O_RDWR | O_DIRECT), cached = open_file(O_RDONLY), rc = 0;
	uint8_t *all = aligned(PAGES * PAGE), *page = aligned(PAGE);
	pthread_t t[READERS];
	uint32_t round = 0;

	(void)posix_fadvise(cached, 0, 0, POSIX_FADV_RANDOM);
	while (!rc && time(NULL) < until) {
		round++;
		start(t, READERS, read_pages, round);
		for (unsigned i = 0; i < PAGES; i++)
			memcpy(all + (size_t)i * PAGE, &round, sizeof round);
		write_pages(direct, all, PAGES, 0);
		end(t, READERS);
		rc = pages_are_so(cached, direct, page, round);
	}
	printf("%u rounds\n", round);
	free(all);
	free(page);
	close(direct);
	close(cached);
	return rc;
}

static int times(time_t until)
{
	int fd = open_file(O_RDWR | O_DIRECT), rc = 0;
	uint8_t *page = aligned(PAGE);
	struct statx told, real;
	pthread_t t;
	uint32_t round = 0;

	while (!rc && time(NULL) < until) {
		round++;
		start(&t, 1, stat_it, 0);
		memcpy(page, &round, sizeof round);
		write_pages(fd, page, 1, 0);
		end(&t, 1);
		if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &told) || statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &real))
			cannot("stat it");
		rc = told.stx_mtime.tv_sec != real.stx_mtime.tv_sec || told.stx_mtime.tv_nsec != real.stx_mtime.tv_nsec;
		if (rc)
			printf("after write %u stat tells a time of %lld.%09u, and it is %lld.%09u\n", round, (long long)told.stx_mtime.tv_sec, told.stx_mtime.tv_nsec,
			       (long long)real.stx_mtime.tv_sec, real.stx_mtime.tv_nsec);
	}
	printf("%u writes\n", round);
	free(page);
	close(fd);
	return rc;
}

int main(int argc, char **argv)
{
	int rc = 2;

	if (argc == 4) {
		path = argv[2];
		if (syscall(SYS_io_setup, PAGES, &aio))
			cannot("set asynchronous I/O up");
		if (strcmp(argv[1], "sync") == 0)
			rc = write_synced(argv[3]);
		else if (strcmp(argv[1], "pages") == 0)
			rc = pages(time(NULL) + atoi(argv[3]));
		else if (strcmp(argv[1], "times") == 0)
			rc = times(time(NULL) + atoi(argv[3]));
	}
	if (rc == 2)
		fputs("usage: aiotest sync FILE dsync|sync|rwf | pages FILE SECONDS | times FILE SECONDS\n", stderr);
	return rc;
}
