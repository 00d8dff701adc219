/*
 * main.c - the processes of treetest, its paths and its history.
 *
 *   treetest [--processes N] [--seconds N] [--start] A B SEED OPERATIONS
 *                             does the same in A and in B (as root): OPERATIONS by each process, or for so long. --start makes what has to be
 *                             there at first; without it A and B are as an earlier run left them. In the end both trees are compared whole
 *   treetest --verify A B     compares only
 *
 * Returns 0; 1 when A and B differ, with the operations before that; 2 when the test itself fails.
 */
#include "tree.h"

#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/fsuid.h>
#include <sys/wait.h>
#include <time.h>

#define HISTORY 40
#define PROCESSES_MAX 32
#define COMPARE_EVERY 400

static const struct { void (*fn)(void); unsigned weight; } ops[] = {
	{ do_open, 14 }, { do_mkdir, 8 }, { do_mknod, 4 }, { do_symlink, 5 }, { do_link, 6 }, { do_unlink, 7 }, { do_rmdir, 4 }, { do_rename, 12 },
	{ do_chmod, 6 }, { do_chown, 5 }, { do_utimes, 5 }, { do_truncate, 4 }, { do_setxattr, 5 }, { do_removexattr, 2 }, { do_setacl, 5 },
	{ do_readlink, 2 }, { do_stat, 3 }, { do_access, 4 }, { do_list, 3 }, { do_tmpfile, 2 }, { do_close, 3 }, { do_write, 10 }, { do_read, 6 },
	{ do_ftruncate, 4 }, { do_fchmod, 2 }, { do_fchown, 2 }, { do_fallocate, 4 }, { do_copy, 4 }, { do_map, 4 }, { do_fsync, 2 }, { do_at, 4 },
};

int tree_root[2];
const char *const tree_side[2] = { "tested", "trusted" };
long result[2];
struct slot slots[SLOTS];

static uint64_t state;
static unsigned long done_ops;
static unsigned process;
static char history[HISTORY][PATH_ROOM * 2];

size_t below(size_t n)
{
	return rng_below(&state, n);
}

bool chance(size_t one_in)
{
	return below(one_in) == 0;
}

void some_bytes(void *p, size_t len)
{
	uint64_t x = rng_next(&state);
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)((x + i / 8 + 1) * 0xd6e8feb86659fd93ull >> (i % 8 * 8));
}

const char *some_name(char *buf)
{
	snprintf(buf, PATH_ROOM, "p%u-%zu", process, below(8));
	return buf;
}

const char *some_path(char *buf)
{
	static const unsigned depths[] = { 1, 1, 1, 1, 1, 2, 2, 2, 3, 3 };
	unsigned depth = depths[below(COUNT(depths))];
	size_t n, where = below(4);

	n = (size_t)(where < 2 ? snprintf(buf, PATH_ROOM, "own%u", process) : snprintf(buf, PATH_ROOM, "shared%zu", where - 2));
	for (unsigned i = 0; i < depth; i++)
		n += (size_t)snprintf(buf + n, PATH_ROOM - n, "/p%u-%zu", process, below(8));
	if (chance(60))
		snprintf(buf + n, PATH_ROOM - n, "/");
	return buf;
}

mode_t some_mode(void)
{
	static const mode_t modes[] = { 0644, 0755, 0600, 0777, 0666, 0700, 01777, 02775, 06755, 0770, 0070, 0007, 0 };

	return chance(4) ? (mode_t)below(010000) : modes[below(COUNT(modes))];
}

/* ----------------------------------------------------------------- history */

void saying(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(history[done_ops % HISTORY], sizeof(history[0]), fmt, ap);
	va_end(ap);
}

void differ(const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	setfsuid(0);
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	flockfile(stdout);
	printf("# process %u, after %lu operations, the last ones:\n", process, done_ops);
	for (unsigned i = 1; i <= HISTORY; i++)
		if (history[(done_ops + i) % HISTORY][0])
			printf("#   %s\n", history[(done_ops + i) % HISTORY]);
	printf("# the sides differ: %s\n", why);
	fflush(stdout);
	_exit(1);
}

void cannot(const char *what)
{
	printf("# process %u: %s: %s\n", process, what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

static const char *text_of(long r, char *buf)
{
	if (r < 0)
		return strerrorname_np((int)-r);
	snprintf(buf, 32, "%ld", r);
	return buf;
}

void agree(void)
{
	char a[32], b[32];

	if (result[1] == -ENOSPC || result[1] == -ENOMEM || result[1] == -EIO)
		errno = (int)-result[1], cannot("the trusted side");
	if (result[0] != result[1])
		differ("%s gave %s, %s gave %s", tree_side[0], text_of(result[0], a), tree_side[1], text_of(result[1], b));
}

/* --------------------------------------------------------------- processes */

/* Root, or one of two users, each of a group of the same number. */
static void become(unsigned who)
{
	gid_t gid = who ? 5000 + who : 0;
	uid_t uid = who ? 5000 + who : 0;

	setfsgid(gid);
	setfsuid(uid);
}

static void one(void)
{
	unsigned total = 0, i;
	size_t pick;

	for (i = 0; i < COUNT(ops); i++)
		total += ops[i].weight;
	pick = below(total);
	for (i = 0; pick >= ops[i].weight; i++)
		pick -= ops[i].weight;
	umask(chance(3) ? 077 : chance(2) ? 022 : 0);
	become(chance(3) ? 1 + (unsigned)below(2) : 0);
	history[done_ops % HISTORY][0] = '\0';
	ops[i].fn();
	become(0);
	done_ops++;
}

static void compare_own(void)
{
	char prefix[32], own[32];

	snprintf(prefix, sizeof(prefix), "p%u-", process);
	snprintf(own, sizeof(own), "own%u", process);
	compare_tree(own, NULL);
	compare_tree("shared0", prefix);
	compare_tree("shared1", prefix);
}

static void run_process(unsigned n, uint64_t seed, unsigned long count, time_t seconds)
{
	time_t end = time(NULL) + seconds;

	process = n;
	state = seed + n * 7919;
	for (int i = 0; i < SLOTS; i++)
		slots[i].fd[0] = slots[i].fd[1] = -1;
	if (setgroups(0, NULL) < 0)
		cannot("setgroups");
	while (seconds ? time(NULL) < end : done_ops < count) {
		one();
		if (done_ops % COMPARE_EVERY == 0)
			compare_own();
	}
	compare_own();
	printf("%lu\n", done_ops);
	fflush(stdout);
	_exit(0);
}

static void make_start(unsigned processes)
{
	char name[32];

	umask(0);
	for (unsigned i = 0; i < processes + 2; i++) {
		snprintf(name, sizeof(name), i < 2 ? "shared%u" : "own%u", i < 2 ? i : i - 2);
		BOTH(mkdirat(tree_root[s], name, i == 1 ? 01777 : 0777));
		if (result[0] < 0 || result[1] < 0)
			cannot(name);
	}
}

/* The first that fails ends the others. */
static int wait_all(const pid_t *pids, unsigned n)
{
	int status, code = 0;

	for (unsigned left = n; left > 0; left--) {
		if (wait(&status) < 0)
			return 2;
		if (status != 0 && code == 0) {
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
			for (unsigned i = 0; i < n; i++)
				kill(pids[i], SIGTERM);
		}
	}
	return code;
}

static int run_all(unsigned processes, uint64_t seed, unsigned long count, time_t seconds)
{
	pid_t pids[PROCESSES_MAX];

	fflush(stdout);
	for (unsigned i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			cannot("fork");
		if (pids[i] == 0)
			run_process(i, seed * 1000003 + 1, count, seconds);
	}
	return wait_all(pids, processes);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "verify", no_argument, NULL, 'v' }, { "start", no_argument, NULL, 'i' }, { "processes", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 's' }, { 0 },
	};
	bool verify = false, start = false;
	unsigned processes = 4;
	time_t seconds = 0;
	int c, code = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'v': verify = true; break;
		case 'i': start = true; break;
		case 'p': processes = (unsigned)strtoul(optarg, NULL, 0); break;
		case 's': seconds = (time_t)strtoul(optarg, NULL, 0); break;
		default: return 2;
		}
	if (argc - optind != (verify ? 2 : 4) || processes < 1 || processes > PROCESSES_MAX) {
		fprintf(stderr, "usage: treetest [--processes N] [--seconds N] [--start] A B SEED OPERATIONS | treetest --verify A B\n");
		return 2;
	}
	for (int s = 0; s < 2; s++) {
		tree_root[s] = open(argv[optind + s], O_RDONLY | O_DIRECTORY);
		if (tree_root[s] < 0)
			cannot(argv[optind + s]);
	}
	if (start)
		make_start(processes);
	if (!verify)
		code = run_all(processes, strtoull(argv[optind + 2], NULL, 0), strtoul(argv[optind + 3], NULL, 0), seconds);
	saying("the whole tree is compared");
	if (code == 0)
		compare_tree(".", NULL);
	return code;
}
