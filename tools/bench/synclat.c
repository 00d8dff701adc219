/*
 * synclat.c - how long until a change is on all others: synclat [-p] SAMPLES DIR DIR...
 *
 * The directories are one replicated directory as several members have it, all on this machine: one clock. SAMPLES times each a change is made in one of
 * them (each in turn) and timed, from before its first system call until all others show it whole:
 *   rename  a file of 4 KiB written under a temporary name and renamed into its place, as PHP does with uploads
 *   plain   a file of 4 KiB opened, written and closed
 *   move    a file renamed: its new name is there, whole, and the old one is not
 *   delete  a file deleted: its name is gone
 * Between two changes nothing happens for PAUSE_MS and up to as much again. The other directories are watched by inotify, so that waiting costs what is
 * measured next to nothing; with -p (for file systems that tell nothing of what others do) they are looked at all the time instead. Contents are compared to
 * the last byte. Prints "<kind> <p50> <p99> <most> <samples>" in ms. A change that is not everywhere within LOST_MS fails the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 4096, DIRS_MAX = 16, PAUSE_MS = 60, LOST_MS = 60000, LOOK_US = 100 };

static struct {
	int fd[DIRS_MAX], dirs, inotify;
	const char *at[DIRS_MAX];
	bool poll;
} m;

static void die(const char *what, int dir, const char *name)
{
	fprintf(stderr, "synclat: cannot %s %s/%s: %s\n", what, m.at[dir], name, strerror(errno));
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void pause_us(long us)
{
	nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

/* Of every file its own, and nothing that compresses. */
static void fill(unsigned char *buf, uint64_t n)
{
	for (size_t i = 0; i < FILE_BYTES; i++) {
		n = n * 6364136223846793005u + 1442695040888963407u;
		buf[i] = (unsigned char)(n >> 56);
	}
}

static void put(int dir, const char *name, uint64_t content)
{
	unsigned char buf[FILE_BYTES];
	int fd = openat(m.fd[dir], name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	fill(buf, content);
	if (fd < 0 || write(fd, buf, sizeof buf) != FILE_BYTES || close(fd))
		die("write", dir, name);
}

static bool is_whole(int dir, const char *name, uint64_t content)
{
	unsigned char got[FILE_BYTES + 1], want[FILE_BYTES];
	int fd = openat(m.fd[dir], name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got);

	if (fd >= 0)
		close(fd);
	fill(want, content);
	return n == FILE_BYTES && !memcmp(got, want, FILE_BYTES);
}

static bool is_gone(int dir, const char *name)
{
	struct stat st;

	return fstatat(m.fd[dir], name, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

/* Files are from-N, become to-N, and are deleted; those of `plain` are their own. */
enum kind { RENAME, PLAIN, MOVE, DELETE, KINDS };
static const char *const kinds[KINDS] = { "rename", "plain", "move", "delete" };

struct sample { enum kind kind; unsigned n; char from[32], to[32], plain[32]; };

static void do_it(const struct sample *s, int dir)
{
	char temp[40];

	switch (s->kind) {
	case RENAME:
		snprintf(temp, sizeof temp, "tmp-%u", s->n);
		put(dir, temp, s->n);
		if (renameat(m.fd[dir], temp, m.fd[dir], s->from))
			die("rename", dir, temp);
		break;
	case PLAIN:
		put(dir, s->plain, s->n + 1000000);
		break;
	case MOVE:
		if (renameat(m.fd[dir], s->from, m.fd[dir], s->to))
			die("rename", dir, s->from);
		break;
	default:
		if (unlinkat(m.fd[dir], s->to, 0))
			die("delete", dir, s->to);
	}
}

static bool is_there(const struct sample *s, int dir)
{
	switch (s->kind) {
	case RENAME: return is_whole(dir, s->from, s->n);
	case PLAIN: return is_whole(dir, s->plain, s->n + 1000000);
	case MOVE: return is_whole(dir, s->to, s->n) && is_gone(dir, s->from);
	default: return is_gone(dir, s->to);
	}
}

/* Waits until something may have changed. */
static void await(void)
{
	struct pollfd p = { .fd = m.inotify, .events = POLLIN };
	char buf[1 << 16];

	if (m.poll) {
		pause_us(LOOK_US);
		return;
	}
	if (poll(&p, 1, 1000) > 0)
		while (read(m.inotify, buf, sizeof buf) > 0)
			;
}

static double time_one(const struct sample *s, int dir)
{
	bool done[DIRS_MAX] = { false };
	double start, last;
	int left = m.dirs - 1;

	pause_us((PAUSE_MS + rand() % PAUSE_MS) * 1000L);
	start = last = now_ms();
	do_it(s, dir);
	while (left) {
		for (int i = 0; i < m.dirs; i++) {
			if (i == dir || done[i] || !is_there(s, i))
				continue;
			done[i] = true;
			left--;
		}
		last = now_ms();
		if (left && last - start > LOST_MS) {
			fprintf(stderr, "synclat: %s %u, made in %s: %d others do not show it after %d s\n", kinds[s->kind], s->n, m.at[dir], left, LOST_MS / 1000);
			exit(1);
		}
		if (left)
			await();
	}
	return last - start;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run(enum kind kind, unsigned samples)
{
	double *took = calloc(samples, sizeof *took);

	if (!took) {
		fprintf(stderr, "synclat: no memory\n");
		exit(1);
	}
	for (unsigned n = 0; n < samples; n++) {
		struct sample s = { .kind = kind, .n = n };

		snprintf(s.from, sizeof s.from, "from-%u", n);
		snprintf(s.to, sizeof s.to, "to-%u", n);
		snprintf(s.plain, sizeof s.plain, "plain-%u", n);
		took[n] = time_one(&s, (int)(n % (unsigned)m.dirs));
	}
	qsort(took, samples, sizeof *took, by_size);
	printf("%s %.3f %.3f %.3f %u\n", kinds[kind], took[(samples - 1) / 2], took[(samples * 99 + 99) / 100 - 1], took[samples - 1], samples);
	fflush(stdout);
	free(took);
}

int main(int argc, char **argv)
{
	unsigned samples;
	int at = 1;

	if (argc > at && !strcmp(argv[at], "-p")) {
		m.poll = true;
		at++;
	}
	samples = argc > at ? (unsigned)strtoul(argv[at++], NULL, 10) : 0;
	if (!samples || argc - at < 2 || argc - at > DIRS_MAX) {
		fprintf(stderr, "Usage: synclat [-p] SAMPLES DIR DIR...\n");
		return 2;
	}
	m.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	for (; at < argc; at++) {
		m.at[m.dirs] = argv[at];
		m.fd[m.dirs] = open(argv[at], O_RDONLY | O_DIRECTORY);
		if (m.fd[m.dirs] < 0 || m.inotify < 0 || inotify_add_watch(m.inotify, argv[at], IN_CREATE | IN_CLOSE_WRITE | IN_MOVE | IN_DELETE) < 0)
			die("watch", m.dirs, "");
		m.dirs++;
	}
	for (enum kind k = RENAME; k < KINDS; k++)
		run(k, samples);
	return 0;
}
