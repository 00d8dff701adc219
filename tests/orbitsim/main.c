/*
 * main.c - runs histories, in so many processes.
 *
 *   orbitsim [--seeds N] [--start N] [--jobs N] [--time-limit S]   so many, each from its seed
 *   orbitsim --seed N [--break NAME] [--trace]                     one of them
 *   orbitsim --check-breaks [--seeds N]                            each lie of the world must be found out within so many
 */
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
#include "orbit.h"

#define JOBS_MAX 64u

struct counts { uint64_t passed, failed, swaps, crashes, lates, past_two, leaders, calls; };

static uint64_t wall_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

static int one(uint64_t seed, enum orbit_break brk, bool trace, bool quiet, struct counts *c)
{
	struct world *w = malloc(sizeof(*w));
	int rc;

	if (!w)
		abort();
	rc = history_run(seed, brk, trace, w);
	c->passed += rc == 0;
	c->failed += rc != 0;
	c->swaps += w->swaps;
	c->crashes += w->crashes;
	c->lates += w->lates_landed;
	c->past_two += w->lates_past_two;
	c->leaders += w->leaders;
	c->calls += w->calls;
	if (rc && !quiet)
		printf("seed %" PRIu64 " failed: %s\n  replay: orbitsim --seed %" PRIu64 "%s%s --trace\n", seed, w->violation, seed, brk ? " --break " : "", brk ? orbit_break_names[brk] : "");
	fflush(stdout);
	free(w);
	return rc;
}

static int many(uint64_t start, uint64_t count, unsigned jobs, uint64_t limit_s)
{
	struct counts *c = mmap(NULL, sizeof(*c) * JOBS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), all = { 0 };
	uint64_t began = wall_s();
	int bad = 0, status;

	if (c == MAP_FAILED)
		abort();
	for (unsigned j = 0; j < jobs; j++) {
		pid_t pid = fork();

		if (pid < 0)
			abort();
		if (pid)
			continue;
		for (uint64_t s = start + j; s < start + count && (!limit_s || wall_s() - began < limit_s); s += jobs)
			one(s, ORBIT_BREAK_NONE, false, false, &c[j]);
		exit(0);
	}
	while (wait(&status) > 0)
		bad |= !WIFEXITED(status) || WEXITSTATUS(status);
	for (unsigned j = 0; j < jobs; j++) {
		all.passed += c[j].passed;
		all.failed += c[j].failed;
		all.swaps += c[j].swaps;
		all.crashes += c[j].crashes;
		all.lates += c[j].lates;
		all.past_two += c[j].past_two;
		all.leaders += c[j].leaders;
		all.calls += c[j].calls;
	}
	printf("%" PRIu64 " histories passed, %" PRIu64 " failed: %" PRIu64 " calls, %" PRIu64 " changes of the answers, %" PRIu64 " of leader, %" PRIu64 " crashes, %" PRIu64
	       " late effects that took effect, %" PRIu64 " changes of the answers that came behind two changes of leader\n",
	       all.passed, all.failed, all.calls, all.swaps, all.leaders, all.crashes, all.lates, all.past_two);
	if (bad)
		printf("a process died\n");
	return bad || all.failed || !all.passed;
}

static int check_breaks(uint64_t count)
{
	int missed = 0;

	for (int b = 1; b < ORBIT_BREAK_COUNT; b++) {
		struct counts c = { 0 };
		uint64_t seed = 1;

		while (seed <= count && one(seed, (enum orbit_break)b, false, true, &c) == 0)
			seed++;
		printf("%s: %s", orbit_break_names[b], seed <= count ? "found out" : "NOT found out");
		printf(seed <= count ? " by seed %" PRIu64 "\n" : " within %" PRIu64 " seeds\n", seed <= count ? seed : count);
		missed |= seed > count;
	}
	return missed;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seeds", 1, NULL, 'n' }, { "start", 1, NULL, 's' }, { "jobs", 1, NULL, 'j' }, { "time-limit", 1, NULL, 't' },
						 { "seed", 1, NULL, 'o' }, { "break", 1, NULL, 'b' }, { "trace", 0, NULL, 'v' }, { "check-breaks", 0, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	uint64_t count = 100, start = 1, limit_s = 0, seed = 0;
	unsigned jobs = 1, brk = 0;
	bool trace = false, breaks = false;
	struct counts c = { 0 };
	int o;

	logmsg_init("orbitsim", LOGMSG_ERROR);
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'n': count = strtoull(optarg, NULL, 10); break;
		case 's': start = strtoull(optarg, NULL, 10); break;
		case 'j': jobs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 't': limit_s = strtoull(optarg, NULL, 10); break;
		case 'o': seed = strtoull(optarg, NULL, 10); break;
		case 'v': trace = true; break;
		case 'c': breaks = true; break;
		case 'b':
			while (brk < ORBIT_BREAK_COUNT && strcmp(orbit_break_names[brk], optarg) != 0)
				brk++;
			break;
		default: return 2;
		}
	}
	if (brk >= ORBIT_BREAK_COUNT || !jobs || jobs > JOBS_MAX)
		return 2;
	if (breaks)
		return check_breaks(count);
	return seed ? one(seed, (enum orbit_break)brk, trace, false, &c) != 0 : many(start, count, jobs, limit_s);
}
