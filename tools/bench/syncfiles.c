/*
 * syncfiles.c - many files for a replicator, and when they are all there: syncfiles make|await|verify FILES BYTES DIR [SECONDS]
 *
 * FILES files of BYTES, PER_DIR to a directory, below DIR (made). The contents follow from a file's number and do not compress.
 *   make    writes them: open, write, close. Prints "<start> <end>", seconds of the wall clock, which all processes of this machine share.
 *   await   returns when all are there with all their bytes, and prints when that was. Each is looked at in the order of their making until it is there, so
 *           that waiting costs next to nothing beside what is measured. SECONDS (default 600): then it fails, and says how many are there.
 *   verify  reads them all; fails unless each byte is the one that was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PER_DIR = 1000, LOOK_MS = 2, PATH_BYTES = 64 };

static const char *root;
static unsigned long files, bytes;

static void die(const char *what, const char *path)
{
	fprintf(stderr, "syncfiles: cannot %s %s/%s: %s\n", what, root, path, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void path_of(unsigned long n, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "dir-%lu/file-%lu", n / PER_DIR, n);
}

/* xorshift64*: it must not be what is measured. */
static void fill(unsigned char *buf, unsigned long n)
{
	uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;

	for (unsigned long i = 0; i < bytes; i += 8) {
		uint64_t y;

		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		y = x * 0x2545f4914f6cdd1du;
		memcpy(buf + i, &y, bytes - i < 8 ? bytes - i : 8);
	}
}

static void make(unsigned char *buf)
{
	char path[PATH_BYTES];
	double start = now();

	for (unsigned long n = 0; n < files; n++) {
		int fd;

		if (n % PER_DIR == 0) {
			snprintf(path, sizeof path, "dir-%lu", n / PER_DIR);
			if (mkdir(path, 0755))
				die("make", path);
		}
		path_of(n, path);
		fill(buf, n);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0 || write(fd, buf, bytes) != (ssize_t)bytes || close(fd))
			die("write", path);
	}
	printf("%.6f %.6f\n", start, now());
}

static void await(double seconds)
{
	double until = now() + seconds;

	for (unsigned long n = 0; n < files; n++) {
		char path[PATH_BYTES];
		struct stat st;

		path_of(n, path);
		while (lstat(path, &st) || st.st_size != (off_t)bytes) {
			if (now() > until) {
				fprintf(stderr, "syncfiles: %s/%s is not there after %.0f s; %lu before it are\n", root, path, seconds, n);
				exit(1);
			}
			nanosleep(&(struct timespec){ 0, LOOK_MS * 1000000L }, NULL);
		}
	}
	printf("%.6f\n", now());
}

static void verify(unsigned char *want)
{
	unsigned char *got = malloc(bytes + 8);

	for (unsigned long n = 0; got && n < files; n++) {
		char path[PATH_BYTES];
		int fd;

		path_of(n, path);
		fill(want, n);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, got, bytes + 1) != (ssize_t)bytes)
			die("read all of", path);
		close(fd);
		if (memcmp(got, want, bytes)) {
			errno = EBADMSG;
			die("find what was written in", path);
		}
	}
	free(got);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned char *buf;

	files = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	root = argc > 4 ? argv[4] : NULL;
	if (!root || !files || argc > 6 || (strcmp(what, "make") && strcmp(what, "await") && strcmp(what, "verify"))) {
		fprintf(stderr, "Usage: syncfiles make|await|verify FILES BYTES DIR [SECONDS]\n");
		return 2;
	}
	if (*what == 'm' && mkdir(root, 0755) && errno != EEXIST)
		die("make", "");
	/* await may come before the directory does. */
	for (double until = now() + 60; chdir(root);) {
		if (errno != ENOENT || *what != 'a' || now() > until)
			die("go to", "");
		nanosleep(&(struct timespec){ 0, LOOK_MS * 1000000L }, NULL);
	}
	buf = malloc(bytes + 8);
	if (!buf)
		die("have memory for", "");
	if (*what == 'm')
		make(buf);
	else if (*what == 'a')
		await(argc > 5 ? strtod(argv[5], NULL) : 600);
	else
		verify(buf);
	free(buf);
	return 0;
}
