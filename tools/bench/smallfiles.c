/*
 * smallfiles.c - times what many small files cost: smallfiles DIR FILES CLIENTS
 *
 * FILES files of 4 KiB are created, stat'ed, read, listed, renamed and deleted by CLIENTS processes, each in a directory of its
 * own below DIR. A phase begins when all clients are ready for it and ends when the last is through. Prints "<phase> <seconds>".
 * No file is synced; what is read must be what was written, or the program fails.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 4096, CLIENTS_MAX = 64 };

static const char *at;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "smallfiles: %s %s/%s: %s\n", what, at, name, strerror(errno));
	_exit(1);
}

static void fill(char *buf, unsigned n)
{
	memset(buf, (int)('a' + n % 26), FILE_BYTES);
	memcpy(buf, &n, sizeof n);
}

static void name_of(char name[32], unsigned n, const char *suffix)
{
	snprintf(name, 32, "file-%07u%s", n, suffix);
}

static void create_one(unsigned n)
{
	char name[32], buf[FILE_BYTES];
	int fd;

	name_of(name, n, "");
	fill(buf, n);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, buf, sizeof buf) != FILE_BYTES || close(fd))
		die("cannot create", name);
}

static void stat_one(unsigned n)
{
	char name[32];
	struct stat st;

	name_of(name, n, "");
	if (lstat(name, &st) || st.st_size != FILE_BYTES)
		die("cannot stat", name);
}

static void read_one(unsigned n)
{
	char name[32], buf[FILE_BYTES], want[FILE_BYTES];
	int fd;

	name_of(name, n, "");
	fill(want, n);
	fd = open(name, O_RDONLY);
	if (fd < 0 || read(fd, buf, sizeof buf) != FILE_BYTES || close(fd))
		die("cannot read", name);
	if (memcmp(buf, want, sizeof buf)) {
		errno = EBADMSG;
		die("wrong bytes in", name);
	}
}

static void rename_one(unsigned n)
{
	char from[32], to[32];

	name_of(from, n, "");
	name_of(to, n, ".new");
	if (rename(from, to))
		die("cannot rename", from);
}

static void delete_one(unsigned n)
{
	char name[32];

	name_of(name, n, ".new");
	if (unlink(name))
		die("cannot delete", name);
}

/* As ls -l does it: the names, then each one's attributes. */
static void list(unsigned want)
{
	DIR *d = opendir(".");
	struct dirent *e;
	struct stat st;
	unsigned n = 0;

	if (!d)
		die("cannot open", ".");
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (lstat(e->d_name, &st))
			die("cannot stat", e->d_name);
		n++;
	}
	closedir(d);
	if (n != want) {
		errno = EBADMSG;
		die("wrong number of names in", ".");
	}
}

static const struct { const char *name; void (*one)(unsigned n); } phases[] = {
	{ "create", create_one }, { "stat", stat_one }, { "read", read_one },
	{ "list", NULL }, { "rename", rename_one }, { "delete", delete_one },
};
enum { PHASES = sizeof phases / sizeof phases[0] };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What the processes share. Each client notes its own times: on a busy machine one that watched would be late for both ends. */
struct shared {
	pthread_barrier_t barrier;
	double start[PHASES][CLIENTS_MAX], end[PHASES][CLIENTS_MAX];
};

static void client(unsigned me, unsigned files, struct shared *s)
{
	char dir[32];

	snprintf(dir, sizeof dir, "client-%u", me);
	if (mkdir(dir, 0755) || chdir(dir))
		die("cannot make", dir);
	for (unsigned p = 0; p < PHASES; p++) {
		pthread_barrier_wait(&s->barrier);
		s->start[p][me] = now();
		if (!phases[p].one)
			list(files);
		for (unsigned n = 0; phases[p].one && n < files; n++)
			phases[p].one(n);
		s->end[p][me] = now();
		pthread_barrier_wait(&s->barrier);
	}
	if (chdir("..") || rmdir(dir))
		die("cannot remove", dir);
	_exit(0);
}

/* From the first client's start to the last one's end. */
static double took(const struct shared *s, unsigned phase, unsigned clients)
{
	double a = s->start[phase][0], b = s->end[phase][0];

	for (unsigned i = 1; i < clients; i++) {
		a = s->start[phase][i] < a ? s->start[phase][i] : a;
		b = s->end[phase][i] > b ? s->end[phase][i] : b;
	}
	return b - a;
}

/* A client that fails leaves the others at a barrier: they are ended then. */
static void watch(unsigned clients)
{
	int status;

	for (unsigned i = 0; i < clients; i++) {
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			kill(0, SIGTERM);
			_exit(1);
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned files = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	unsigned clients = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	pthread_barrierattr_t attr;
	struct shared *s;
	int status;
	pid_t pid;

	if (argc != 4 || clients < 1 || clients > CLIENTS_MAX || files < clients) {
		fprintf(stderr, "Usage: smallfiles DIR FILES CLIENTS\n");
		return 2;
	}
	at = argv[1];
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED || chdir(at)) {
		fprintf(stderr, "smallfiles: %s: %s\n", at, strerror(errno));
		return 1;
	}
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->barrier, &attr, clients + 1);
	setpgid(0, 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		for (unsigned i = 0; i < clients; i++) {
			pid_t c = fork();

			if (c < 0)
				die("cannot start client in", "");
			if (!c)
				client(i, files / clients, s);
		}
		watch(clients);
	}
	for (unsigned p = 0; p < PHASES; p++) {
		pthread_barrier_wait(&s->barrier);
		pthread_barrier_wait(&s->barrier);
		printf("%s %.6f\n", phases[p].name, took(s, p, clients));
		fflush(stdout);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
