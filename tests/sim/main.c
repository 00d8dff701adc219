/*
 * main.c - runs histories by the thousand, each in a child of its own batch, so that even a crash of the engine names its seed.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "logmsg.h"
#include "session.h"

#define BATCH 50u

#if defined(__SANITIZE_ADDRESS__)
/* What a killed coroutine had allocated is never freed; that is the price of dying at any point. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:detect_stack_use_after_return=0";
}
#endif
#define JOBS_MAX 64u

struct slot_state { /* shared with the children */
	uint64_t seed, passed, failed, ops, acks, opens, events, virtual_s;
	bool busy;
};

struct run {
	uint64_t start, count, next;
	const char *scenario;
	enum sim_break brk;
	bool verbose, twice, keep_going;
	unsigned jobs;
	uint64_t time_limit_s;
	struct slot_state *slots;
	pid_t pids[JOBS_MAX];
	uint64_t crashed;
};

static uint64_t wall_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static void print_replay(const struct run *r, uint64_t seed)
{
	printf("  replay: sim --seed %" PRIu64 "%s%s%s%s --verbose\n", seed, r->scenario ? " --scenario " : "",
	       r->scenario ? r->scenario : "", r->brk ? " --break " : "", r->brk ? sim_break_names[r->brk] : "");
}

static int one(struct run *r, uint64_t seed, struct slot_state *s)
{
	struct result a, b;
	int rc = scenario_run(seed, r->scenario, r->brk, r->verbose, &a);

	if (rc == 0 && r->twice) {
		scenario_run(seed, r->scenario, r->brk, false, &b);
		if (a.event_hash != b.event_hash) {
			snprintf(a.violation, sizeof a.violation, "the same seed gave two histories (%016" PRIx64 ", %016" PRIx64 ")",
				 a.event_hash, b.event_hash);
			rc = 1;
		}
	}
	s->ops += a.ops;
	s->acks += a.acks;
	s->opens += a.opens;
	s->events += a.events;
	s->virtual_s += a.virtual_ns / SIM_S;
	if (rc == 0) {
		s->passed++;
		return 0;
	}
	s->failed++;
	printf("seed %" PRIu64 " failed: %s\n", seed, a.violation);
	print_replay(r, seed);
	fflush(stdout);
	return 1;
}

static void batch(struct run *r, struct slot_state *s, uint64_t from, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		s->seed = from + i;
		if (one(r, from + i, s) && !r->keep_going)
			break;
	}
	exit(0);
}

/* Waits for one child; false when none is left. */
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
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			r->crashed++;
			printf("seed %" PRIu64 " failed: the process died (%s %d)\n", r->slots[j].seed, WIFSIGNALED(status) ? "signal" : "status",
			       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			print_replay(r, r->slots[j].seed);
			fflush(stdout);
		}
	}
	return true;
}

static uint64_t failures(const struct run *r)
{
	uint64_t n = r->crashed;

	for (unsigned j = 0; j < r->jobs; j++)
		n += r->slots[j].failed;
	return n;
}

static void run_all(struct run *r)
{
	uint64_t began = wall_s();

	r->slots = mmap(NULL, sizeof(*r->slots) * JOBS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->slots == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	for (r->next = r->start; r->next < r->start + r->count;) {
		unsigned j;
		uint64_t n = r->start + r->count - r->next < BATCH ? r->start + r->count - r->next : BATCH;

		if (r->time_limit_s && wall_s() - began >= r->time_limit_s)
			break;
		if (failures(r) && !r->keep_going)
			break;
		for (j = 0; j < r->jobs && r->pids[j]; j++)
			;
		if (j == r->jobs) {
			collect(r);
			continue;
		}
		fflush(stdout);
		r->pids[j] = fork();
		if (r->pids[j] < 0) {
			perror("fork");
			exit(2);
		}
		if (r->pids[j] == 0)
			batch(r, &r->slots[j], r->next, n);
		r->next += n;
	}
	while (collect(r))
		;
}

static int summary(struct run *r)
{
	struct slot_state all = { 0 };

	for (unsigned j = 0; j < r->jobs; j++) {
		all.passed += r->slots[j].passed;
		all.ops += r->slots[j].ops;
		all.acks += r->slots[j].acks;
		all.opens += r->slots[j].opens;
		all.events += r->slots[j].events;
		all.virtual_s += r->slots[j].virtual_s;
	}
	printf("%" PRIu64 " operations, %" PRIu64 " fsyncs acknowledged, %" PRIu64 " mounts, %" PRIu64 " events, %" PRIu64 " s of virtual time\n",
	       all.ops, all.acks, all.opens, all.events, all.virtual_s);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", all.passed, failures(r));
	return failures(r) ? 1 : 0;
}

/* The same seed must give the same history, event by event. */
static int check_twice(struct run *r)
{
	struct result a, b;

	for (uint64_t i = 0; i < 20; i++) {
		scenario_run(r->start + i, r->scenario, BREAK_NONE, false, &a);
		scenario_run(r->start + i, r->scenario, BREAK_NONE, false, &b);
		if (a.event_hash != b.event_hash || a.ops != b.ops || strcmp(a.violation, b.violation) != 0) {
			printf("not ok - seed %" PRIu64 " gave two different histories\n", r->start + i);
			return 1;
		}
	}
	printf("ok - the same seed gives the same history\n");
	return 0;
}

/* Every lie of the world must be found out within `count` seeds. */
static int check_breaks(struct run *r)
{
	int missed = check_twice(r);

	for (enum sim_break b = 1; b < BREAK_COUNT; b++) {
		struct result res;
		/* A stopping clock shows only when a machine freezes, is taken over, thaws and syncs within a lease. */
		uint64_t i, limit = b == BREAK_CLOCK_STOPS ? 4 * r->count : r->count;

		if (r->brk && b != r->brk)
			continue;
		for (i = 0; i < limit; i++)
			if (scenario_run(r->start + i, r->scenario ? r->scenario : b == BREAK_CLOCK_STOPS ? "freeze" : NULL, b, false, &res))
				break;
		if (i < limit)
			printf("ok - %s found by seed %" PRIu64 ": %.150s\n", sim_break_names[b], r->start + i, res.violation);
		else
			printf("not ok - %s was not found within %" PRIu64 " seeds\n", sim_break_names[b], limit);
		fflush(stdout);
		missed += i == limit;
	}
	return missed ? 1 : 0;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: sim [--seeds N] [--start S] [--seed S] [--scenario NAME] [--time-limit SEC] [--jobs N] [--break MODE]\n"
		"           [--file SEEDS] [--twice] [--keep-going] [--verbose] [--check-breaks] [--list-scenarios] [--list-breaks]\n"
		"           [--ace 2|3 [--part K/N]]\n"
		"Runs simulated histories of a volume and checks what it promises after each. --ace: all workloads of one and two\n"
		"operations, or of three, in batches; --part: the Kth of N parts of them.\n");
}

/* Replays the histories of a file: a scenario (or "any") and a seed per line, # begins a comment. */
static int run_file(struct run *r, const char *path)
{
	struct result res;
	char line[256], scenario[64];
	uint64_t seed, ran = 0, failed = 0;
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, " %63[a-z] %" SCNu64, scenario, &seed) != 2)
			continue;
		ran++;
		if (scenario_run(seed, strcmp(scenario, "any") ? scenario : NULL, BREAK_NONE, r->verbose, &res) == 0)
			continue;
		failed++;
		printf("seed %" PRIu64 " (%s) failed: %s\n", seed, scenario, res.violation);
	}
	fclose(f);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", ran - failed, failed);
	return failed || !ran ? 1 : 0;
}

static int parse_break(const char *name, enum sim_break *ret)
{
	for (enum sim_break b = 0; b < BREAK_COUNT; b++) {
		if (strcmp(sim_break_names[b], name) == 0) {
			*ret = b;
			return 0;
		}
	}
	fprintf(stderr, "sim: no such lie: %s (see --list-breaks)\n", name);
	return -1;
}

static void list_breaks(void)
{
	for (enum sim_break b = 0; b < BREAK_COUNT; b++)
		puts(sim_break_names[b]);
}

static void list_scenarios(void)
{
	for (unsigned i = 0; scenario_name(i); i++)
		puts(scenario_name(i));
	puts("ace2\nace3");
}

static bool scenario_exists(const char *name)
{
	for (unsigned i = 0; scenario_name(i); i++)
		if (strcmp(scenario_name(i), name) == 0)
			return true;
	if (ace_batches(name))
		return true;
	fprintf(stderr, "sim: no such scenario: %s (see --list-scenarios)\n", name);
	return false;
}

/* All batches of ace2 or ace3, or the Kth of N parts of them. */
static int plan_ace(struct run *r, const char *operations, const char *part)
{
	uint64_t k = 1, n = 1, all;

	r->scenario = !strcmp(operations, "2") ? "ace2" : !strcmp(operations, "3") ? "ace3" : NULL;
	if (!r->scenario || (part && (sscanf(part, "%" SCNu64 "/%" SCNu64, &k, &n) != 2 || k < 1 || k > n))) {
		fprintf(stderr, "sim: --ace is 2 or 3, --part K/N with K from 1 to N\n");
		return -1;
	}
	all = ace_batches(r->scenario);
	r->start = all * (k - 1) / n;
	r->count = all * k / n - r->start;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", 1, NULL, 'n' }, { "start", 1, NULL, 's' }, { "seed", 1, NULL, '1' }, { "scenario", 1, NULL, 'c' },
		{ "time-limit", 1, NULL, 't' }, { "jobs", 1, NULL, 'j' }, { "break", 1, NULL, 'b' }, { "twice", 0, NULL, '2' },
		{ "keep-going", 0, NULL, 'k' }, { "verbose", 0, NULL, 'v' }, { "check-breaks", 0, NULL, 'B' }, { "list-scenarios", 0, NULL, 'S' },
		{ "list-breaks", 0, NULL, 'L' }, { "file", 1, NULL, 'f' }, { "ace", 1, NULL, 'a' }, { "part", 1, NULL, 'p' },
		{ "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	struct run r = { .start = 1, .count = 200, .jobs = 1 };
	const char *file = NULL, *ace = NULL, *part = NULL;
	bool breaks = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'n': r.count = strtoull(optarg, NULL, 10); break;
		case 's': r.start = strtoull(optarg, NULL, 10); break;
		case '1': r.start = strtoull(optarg, NULL, 10); r.count = 1; break;
		case 'c': r.scenario = optarg; break;
		case 't': r.time_limit_s = strtoull(optarg, NULL, 10); break;
		case 'j': r.jobs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'b': if (parse_break(optarg, &r.brk)) return 2; break;
		case '2': r.twice = true; break;
		case 'k': r.keep_going = true; break;
		case 'v': r.verbose = true; break;
		case 'B': breaks = true; break;
		case 'f': file = optarg; break;
		case 'a': ace = optarg; break;
		case 'p': part = optarg; break;
		case 'S': list_scenarios(); return 0;
		case 'L': list_breaks(); return 0;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (ace && plan_ace(&r, ace, part))
		return 2;
	if (r.scenario && !scenario_exists(r.scenario))
		return 2;
	if (r.jobs < 1 || r.jobs > JOBS_MAX)
		r.jobs = 1;
	logmsg_init("sim", r.verbose ? LOGMSG_DEBUG : LOGMSG_ERROR);
	if (!r.verbose)
		logmsg_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	if (file)
		return run_file(&r, file);
	if (breaks)
		return check_breaks(&r);
	run_all(&r);
	return summary(&r);
}
