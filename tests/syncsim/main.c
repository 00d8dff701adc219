/*
 * main.c - runs histories by the thousand, in batches, each batch in a child, so that even a crash of the node names its seed.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "logmsg.h"
#include "syncworld.h"

#define BATCH 20u
#define JOBS_MAX 64u

struct slot_state { uint64_t seed, passed, failed, steps, user_ops, crashes, virtual_ms, purged, restored, emptied, tombs_gone, copied; }; /* shared with the children */

struct run {
	uint64_t start, count;
	enum sync_break brk;
	bool trace, keep_going;
	unsigned jobs;
	uint64_t time_limit_s, crashed;
	struct slot_state *slots;
	pid_t pids[JOBS_MAX];
};

static uint64_t wall_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static int one(const struct run *r, uint64_t seed, struct slot_state *s)
{
	struct history_result h;
	int rc = history_run(seed, r->brk, r->trace, &h);

	s->steps += h.steps;
	s->user_ops += h.user_ops;
	s->crashes += h.crashes;
	s->virtual_ms += h.virtual_ms;
	s->purged += h.purged;
	s->tombs_gone += h.tombs_gone;
	s->copied += h.copied;
	s->restored += h.restored;
	s->emptied += h.emptied;
	s->passed += rc == 0;
	s->failed += rc != 0;
	if (rc)
		printf("seed %" PRIu64 " failed: %s\n  replay: syncsim --seed %" PRIu64 "%s%s --trace\n", seed, h.violation, seed, r->brk ? " --break " : "",
		       r->brk ? sync_break_names[r->brk] : "");
	fflush(stdout);
	return rc;
}

static uint64_t failures(const struct run *r)
{
	uint64_t n = r->crashed;

	for (unsigned j = 0; j < r->jobs; j++)
		n += r->slots[j].failed;
	return n;
}

static bool collect(struct run *r)
{
	int status;
	pid_t pid = wait(&status);

	if (pid < 0)
		return false;
	for (unsigned j = 0; j < r->jobs; j++) {
		if (r->pids[j] != pid)
			continue;
		r->pids[j] = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		r->crashed++;
		printf("seed %" PRIu64 " failed: the process died (%s %d)\n  replay: syncsim --seed %" PRIu64 " --trace\n", r->slots[j].seed,
		       WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), r->slots[j].seed);
		fflush(stdout);
	}
	return true;
}

static int run_all(struct run *r)
{
	uint64_t began = wall_s(), next = r->start;
	struct slot_state all = { 0 };

	r->slots = mmap(NULL, sizeof(*r->slots) * JOBS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->slots == MAP_FAILED)
		abort();
	while (next < r->start + r->count && (r->keep_going || !failures(r)) && (!r->time_limit_s || wall_s() - began < r->time_limit_s)) {
		uint64_t end = next + BATCH < r->start + r->count ? next + BATCH : r->start + r->count;
		unsigned j = 0;

		while (j < r->jobs && r->pids[j])
			j++;
		if (j == r->jobs) {
			collect(r);
			continue;
		}
		fflush(stdout);
		r->pids[j] = fork();
		if (r->pids[j] < 0)
			abort();
		if (r->pids[j] == 0) {
			for (; next < end; next++) {
				r->slots[j].seed = next;
				if (one(r, next, &r->slots[j]) && !r->keep_going)
					break;
			}
			exit(0);
		}
		next = end;
	}
	while (collect(r))
		;
	for (unsigned j = 0; j < r->jobs; j++) {
		all.passed += r->slots[j].passed;
		all.steps += r->slots[j].steps;
		all.user_ops += r->slots[j].user_ops;
		all.crashes += r->slots[j].crashes;
		all.virtual_ms += r->slots[j].virtual_ms;
		all.purged += r->slots[j].purged;
		all.copied += r->slots[j].copied;
		all.tombs_gone += r->slots[j].tombs_gone;
		all.restored += r->slots[j].restored;
		all.emptied += r->slots[j].emptied;
	}
	printf("%" PRIu64 " steps, %" PRIu64 " doings of users, %" PRIu64 " crashes, %" PRIu64 " s of virtual time, %" PRIu64 " purged, %" PRIu64 " restored, %" PRIu64 " trees emptied, %" PRIu64 " deletions forgotten, %" PRIu64 " bytes of published copies\n%" PRIu64 " passed, %" PRIu64 " failed\n",
	       all.steps, all.user_ops, all.crashes, all.virtual_ms / 1000, all.purged, all.restored, all.emptied, all.tombs_gone, all.copied, all.passed, failures(r));
	return failures(r) ? 1 : 0;
}

/* The same seed gives the same history; every lie of the world is found out within `count` seeds. */
static int check_breaks(struct run *r)
{
	struct history_result a, b;
	int missed = 0;

	for (uint64_t i = 0; i < 10 && !missed; i++) {
		history_run(r->start + i, SYNC_BREAK_NONE, false, &a);
		history_run(r->start + i, SYNC_BREAK_NONE, false, &b);
		missed = a.hash != b.hash;
	}
	printf("%s - the same seed gives the same history\n", missed ? "not ok" : "ok");
	for (enum sync_break k = 1; k < SYNC_BREAK_COUNT; k++) {
		/* Trees vanish in few histories, to be asked about in fewer. Who syncs nothing is found out by one history in 140: the power must go just behind what a member took for safe, and alone had. */
		uint64_t i = 0, limit = 10 * r->count;

		if (r->brk && k != r->brk)
			continue;
		while (i < limit && !history_run(r->start + i, k, false, &a))
			i++;
		if (i < limit)
			printf("ok - %s found by seed %" PRIu64 ": %.150s\n", sync_break_names[k], r->start + i, a.violation);
		else
			printf("not ok - %s was not found within %" PRIu64 " seeds\n", sync_break_names[k], limit);
		fflush(stdout);
		missed += i == limit;
	}
	return missed ? 1 : 0;
}

/* Replays the seeds of a file, one a line, # begins a comment. */
static int run_file(const struct run *r, const char *path)
{
	struct slot_state s = { 0 };
	char line[256];
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof line, f)) {
		uint64_t seed;

		if (sscanf(line, " %" SCNu64, &seed) == 1)
			one(r, seed, &s);
	}
	fclose(f);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", s.passed, s.failed);
	return s.failed || !s.passed ? 1 : 0;
}

static int parse_break(const char *name, enum sync_break *ret)
{
	for (enum sync_break b = 0; b < SYNC_BREAK_COUNT; b++) {
		if (strcmp(sync_break_names[b], name) == 0) {
			*ret = b;
			return 0;
		}
	}
	fprintf(stderr, "syncsim: no such lie: %s\n", name);
	return -1;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: syncsim [--seeds N] [--start S] [--seed S] [--jobs N] [--time-limit SEC] [--break LIE] [--file SEEDS] [--keep-going]\n"
		"               [--trace] [--check-breaks] [--scenes] [--sweeps PART-OF-NAME]\n"
		"Runs simulated histories of a cluster of the replicator, and checks what it promises after each.\nLies:");
	for (enum sync_break b = 1; b < SYNC_BREAK_COUNT; b++)
		fprintf(f, " %s", sync_break_names[b]);
	fprintf(f, "\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", 1, NULL, 'n' }, { "start", 1, NULL, 's' }, { "seed", 1, NULL, '1' }, { "jobs", 1, NULL, 'j' }, { "time-limit", 1, NULL, 't' },
		{ "break", 1, NULL, 'b' }, { "file", 1, NULL, 'f' }, { "keep-going", 0, NULL, 'k' }, { "trace", 0, NULL, 'v' },
		{ "check-breaks", 0, NULL, 'B' }, { "scenes", 0, NULL, 'S' }, { "sweeps", 1, NULL, 'W' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	struct run r = { .start = 1, .count = 200, .jobs = 1 };
	const char *file = NULL, *sweeps = NULL;
	bool breaks = false, scenes = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'n': r.count = strtoull(optarg, NULL, 10); break;
		case 's': r.start = strtoull(optarg, NULL, 10); break;
		case '1': r.start = strtoull(optarg, NULL, 10); r.count = 1; break;
		case 'j': r.jobs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 't': r.time_limit_s = strtoull(optarg, NULL, 10); break;
		case 'b': if (parse_break(optarg, &r.brk)) return 2; break;
		case 'f': file = optarg; break;
		case 'k': r.keep_going = true; break;
		case 'v': r.trace = true; break;
		case 'B': breaks = true; break;
		case 'S': scenes = true; break;
		case 'W': sweeps = optarg; break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (r.jobs < 1 || r.jobs > JOBS_MAX)
		r.jobs = 1;
	logmsg_init("syncsim", LOGMSG_ERROR);
	if (!r.trace)
		logmsg_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	if (scenes)
		return scenes_run(r.trace);
	if (sweeps)
		return sweeps_run(r.start, sweeps, r.trace);
	if (file)
		return run_file(&r, file);
	return breaks ? check_breaks(&r) : run_all(&r);
}
