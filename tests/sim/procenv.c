/*
 * procenv.c - clocks, randomness and executor of a simulated process.
 *
 * Jobs of a lane start after a random delay, so in any order, except EXEC_SYNC:
 * one at a time, in the order they came.
 */
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* 2026-01-01, so that times look like times. */
#define REAL_BASE_NS 1767225600000000000ull
#define BOOT_BASE_NS 3600000000000ull

static uint64_t env_boot(struct env *e)
{
	struct proc *p = CL_CONTAINER_OF(e, struct proc, env);
	uint64_t lost = p->w->brk == BREAK_CLOCK_STOPS ? p->frozen_total_ns : 0;

	return BOOT_BASE_NS * (p->n->index + 1) + p->w->now_ns - lost;
}

static uint64_t env_real(struct env *e)
{
	struct proc *p = CL_CONTAINER_OF(e, struct proc, env);

	return REAL_BASE_NS + p->w->now_ns + (uint64_t)p->n->skew_ns;
}

static void env_random(struct env *e, void *buf, size_t len)
{
	rng_fill(&CL_CONTAINER_OF(e, struct proc, env)->rng, buf, len);
}

static void run_job(void *arg)
{
	struct job *j = arg;

	j->run(j);
}

static void run_sync(void *arg)
{
	struct proc *p = coro_proc();
	struct job *j = arg;

	if (p->sync_running) { /* its turn comes when the one before it ended */
		world_at(p->w, p, rng_below(&p->w->rng, 200 * SIM_US) + 1, 'S', run_sync, j);
		return;
	}
	p->sync_running = true;
	j->run(j);
	p->sync_running = false;
}

static uint64_t lane_delay(struct proc *p, enum exec_lane lane)
{
	struct rng *r = &p->w->rng;

	if (lane == EXEC_SYNC)
		return 5 * SIM_US;
	if (lane == EXEC_REPLY) /* a process that is slow between check and answer is what freezing is for */
		return rng_below(r, 500 * SIM_US);
	return rng_below(r, rng_permille(r, 20) ? 300 * SIM_MS : 3 * SIM_MS);
}

static void submit(struct proc *p, enum exec_lane lane, uint64_t delay_ns, struct job *j)
{
	if (p->dead)
		return;
	if (p->w->brk == BREAK_LOST_REPLY_JOB && lane == EXEC_REPLY && rng_permille(&p->w->rng, 30))
		return;
	world_at(p->w, p, delay_ns, (uint32_t)('0' + lane), lane == EXEC_SYNC ? run_sync : run_job, j);
}

static void exec_submit(struct exec *x, enum exec_lane lane, struct job *j)
{
	struct proc *p = CL_CONTAINER_OF(x, struct proc, exec);

	submit(p, lane, lane_delay(p, lane), j);
}

static void exec_submit_at(struct exec *x, enum exec_lane lane, uint64_t at_boot_ns, struct job *j)
{
	struct proc *p = CL_CONTAINER_OF(x, struct proc, exec);
	uint64_t now = env_boot(&p->env);

	submit(p, lane, (at_boot_ns > now ? at_boot_ns - now : 0) + rng_below(&p->w->rng, 200 * SIM_US), j);
}

static void exec_idle(struct exec *x)
{
	struct proc *p = CL_CONTAINER_OF(x, struct proc, exec);

	coro_sleep(SIM_MS + rng_below(&p->w->rng, SIM_MS));
}

void procenv_attach(struct proc *p)
{
	p->env = (struct env){ .boot_ns = env_boot, .real_ns = env_real, .random = env_random };
	p->exec = (struct exec){ .submit = exec_submit, .submit_at = exec_submit_at, .idle = exec_idle };
}
